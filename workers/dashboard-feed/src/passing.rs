//! What passes on the bus: heartbeats always, events and alerts while somebody listens.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use bus::{Live, LiveMessage};
use schemas::alert::Severity;
use schemas::live::{self, Alert, Body, Sample, cut};
use schemas::{Kind, headers, subjects};
use serde::Deserialize;
use tokio::select;

use crate::asking::cut_alert;
use crate::feed::{Feed, lock, now_ms, paced};
use crate::traffic::Traffic;

/// Between two messages of samples or alerts.
const PACE: Duration = Duration::from_millis(250);
/// Samples in one message.
const SAMPLES_MAX: usize = 4;
/// Alerts in one message.
const ALERTS_MAX: usize = 10;
/// A longer line is not read for a sample.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Before a failed subscription is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the heartbeats of all workers.
pub(crate) async fn heartbeats(feed: Arc<Feed>) {
    while let Some(mut passing) = subscribe(&feed, bus::heartbeat::SUBJECTS).await {
        match bus::heartbeat::present(&feed.context).await {
            Ok(present) => {
                let mut copies = lock(&feed.copies);
                for (beat, stored_ms) in present {
                    copies.hear(beat, stored_ms);
                }
            }
            // Everybody is heard of within a few seconds.
            Err(error) => tracing::debug!(error = bus::chain(&error), "present heartbeats not read"),
        }
        while let Some(message) = passing.next().await {
            let mut copies = lock(&feed.copies);
            match serde_json::from_slice(message.payload()) {
                Ok(beat) => copies.hear(beat, now_ms()),
                Err(_) => copies.leave(message.subject().trim_start_matches("$KV.workers.")),
            }
        }
    }
}

/// Counts events by the headers of their messages, and tells a few of them.
pub(crate) async fn events(feed: Arc<Feed>) {
    *lock(&feed.traffic) = Traffic::listening_from(now_ms());
    let mut ticks = paced(PACE);
    let mut samples = Vec::new();
    while let Some(mut passing) = subscribe(&feed, subjects::EVENTS_ALL).await {
        loop {
            select! {
                message = passing.next() => {
                    let Some(message) = message else { break };
                    count(&feed, &message, &mut samples);
                }
                _ = ticks.tick(), if !samples.is_empty() => {
                    feed.tell(live::EVENT, Body::Events(std::mem::take(&mut samples))).await;
                }
            }
        }
    }
}

fn count(feed: &Feed, message: &LiveMessage, samples: &mut Vec<Sample>) {
    let name = message.subject().rsplit('.').next().unwrap_or_default();
    let Some(kind) = Kind::parse(name) else { return };
    let events = message
        .header(headers::COUNT)
        .and_then(|count| count.parse().ok());
    lock(&feed.traffic).add(now_ms(), kind, events.unwrap_or(0));
    if samples.len() < SAMPLES_MAX {
        samples.extend(sample(kind, message.payload()));
    }
}

/// The first event of a message, by what people call it.
fn sample(kind: Kind, ndjson: &[u8]) -> Option<Sample> {
    #[derive(Deserialize)]
    struct Named<'e> {
        #[serde(borrow)]
        name: Option<Cow<'e, str>>,
        #[serde(borrow)]
        model: Option<Cow<'e, str>>,
        #[serde(borrow)]
        channel: Option<Cow<'e, str>>,
        #[serde(borrow)]
        session: Option<Cow<'e, str>>,
        #[serde(borrow)]
        work_item: Option<Cow<'e, str>>,
        #[serde(borrow)]
        source: Option<Cow<'e, str>>,
    }
    let searched = &ndjson[..ndjson.len().min(LINE_BYTES_MAX)];
    let end = searched.iter().position(|byte| *byte == b'\n');
    let line = &searched[..end.unwrap_or(searched.len())];
    let event: Named<'_> = serde_json::from_slice(line).ok()?;
    let name = match kind {
        Kind::Metric | Kind::Event | Kind::Step => event.name,
        Kind::Usage => event.model,
        Kind::Message => event.channel,
        Kind::Session => event.session,
        Kind::WorkItem => event.work_item,
    };
    Some(Sample {
        at_ms: now_ms(),
        kind: kind.as_str().to_owned(),
        name: cut(&name.unwrap_or_default()),
        source: cut(event.source.as_deref().unwrap_or(subjects::UNKNOWN_SOURCE)),
    })
}

/// Tells alerts as they are raised, and that the sink has new ones.
pub(crate) async fn alerts(feed: Arc<Feed>) {
    let mut ticks = paced(PACE);
    let mut raised: Vec<Alert> = Vec::new();
    while let Some(mut passing) = subscribe(&feed, "alerts.>").await {
        loop {
            select! {
                message = passing.next() => {
                    let Some(message) = message else { break };
                    feed.alerted.notify_one();
                    if let Ok(alert) = serde_json::from_slice(message.payload()) {
                        keep_worst(&mut raised, cut_alert(&alert));
                    }
                }
                _ = ticks.tick(), if !raised.is_empty() => {
                    feed.tell(live::ALERT, Body::Alerts(std::mem::take(&mut raised))).await;
                }
            }
        }
    }
}

/// Adds an alert; when there are too many, the mildest goes, and of those the oldest.
fn keep_worst(raised: &mut Vec<Alert>, alert: Alert) {
    raised.push(alert);
    raised.sort_by_key(|alert| Reverse((severity(&alert.severity), alert.last_ms)));
    raised.truncate(ALERTS_MAX);
}

/// How bad it is, in rising order.
fn severity(name: &str) -> Option<usize> {
    Severity::NAMES.iter().position(|known| *known == name)
}

/// Tries until it works; none when the process is to end.
async fn subscribe(feed: &Feed, subject: &str) -> Option<Live> {
    while !feed.context.shutdown().is_cancelled() {
        match feed.context.subscribe(subject).await {
            Ok(passing) => return Some(passing),
            Err(error) => tracing::debug!(error = bus::chain(&error), "not subscribed"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_mild_alerts_does_not_keep_out_a_worse_one() {
        let alert = |severity: &str, last_ms| Alert {
            severity: severity.into(),
            last_ms,
            ..Alert::default()
        };
        let mut raised = Vec::new();
        for last_ms in 0..40 {
            keep_worst(&mut raised, alert("info", last_ms));
        }
        keep_worst(&mut raised, alert("critical", 7));
        keep_worst(&mut raised, alert("warning", 50));
        let kept: Vec<_> = raised
            .iter()
            .map(|alert| (alert.severity.as_str(), alert.last_ms))
            .collect();
        assert_eq!(kept[..3], [("critical", 7), ("warning", 50), ("info", 39)]);
        assert_eq!(kept.len(), ALERTS_MAX);
    }

    #[test]
    fn a_sample_is_the_first_event_by_what_people_call_it() {
        let line = br#"{"name":"x","source":"a","value":1}
{"name":"y"}"#;
        let found = sample(Kind::Metric, line).unwrap();
        assert_eq!((found.name.as_str(), found.source.as_str()), ("x", "a"));
        let found = sample(Kind::Usage, br#"{"model":"m\u0041"}"#).unwrap();
        assert_eq!((found.name.as_str(), found.source.as_str()), ("mA", "unknown"));
        let task = br#"{"work_item":"w","session":"s","state":"done"}"#;
        assert_eq!(sample(Kind::WorkItem, task).unwrap().name, "w");
        assert_eq!(sample(Kind::Session, task).unwrap().name, "s");
        assert_eq!(sample(Kind::Metric, b"no JSON"), None);
        assert_eq!(sample(Kind::Metric, &[b' '; 100_000]), None);
    }
}
