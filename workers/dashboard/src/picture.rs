//! What is known at one moment, and how it looks.

use std::{cmp::Reverse, collections::VecDeque, sync::Arc};

use schemas::alert::Severity;
use schemas::live::{Alert, Body, Message, Overview, Pipeline, Sample, Snapshot};
use tokio::time::Instant;

use crate::{format, queries::QueryError, regions::Regions};

/// Events kept of those that passed.
const SAMPLES_MAX: usize = 12;
/// Alerts kept of those that were raised.
const RAISED_MAX: usize = 20;
/// Numbers older than this are not shown as live.
pub(crate) const STALE_AFTER_MS: u64 = 5_000;
/// The feed asks for alerts every 5 s and waits 4 s for the answer: an older one is of before it was looked at.
const ALERTS_STALE_AFTER_MS: i64 = 12_000;

/// What the feed said, and whether it still says something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The first page's picture; none before the first snapshot.
    pub(crate) overview: Option<Arc<Overview>>,
    /// Streams and workers; none before the first snapshot.
    pub(crate) pipeline: Option<Arc<Pipeline>>,
    /// Events that passed, newest first.
    pub(crate) samples: VecDeque<Sample>,
    /// Alerts as they were raised, the worst first, then the newest.
    pub(crate) raised: Vec<Alert>,
    /// Why there is nothing new.
    pub(crate) problem: Option<QueryError>,
    /// When something was last heard or tried.
    pub(crate) tried_at: Option<Instant>,
    /// The feed's clock when it was last heard.
    pub(crate) feed_ms: i64,
    /// When a feed was last heard.
    pub(crate) heard_at: Option<Instant>,
    /// When it last said something of streams and workers.
    pub(crate) pipeline_heard_at: Option<Instant>,
    /// The feed that is followed.
    pub(crate) feed: String,
    /// Its newest message.
    pub(crate) sequence: u64,
}

impl Known {
    /// Begins anew with what a feed says.
    pub(crate) fn begin(&mut self, snapshot: Snapshot) {
        self.feed = snapshot.feed;
        self.sequence = snapshot.sequence;
        self.overview = Some(Arc::new(snapshot.overview));
        self.pipeline = Some(Arc::new(snapshot.pipeline));
        self.pipeline_heard_at = Some(Instant::now());
        self.heard(snapshot.at_ms);
    }

    /// Whether a message is of the feed that is followed, and new.
    pub(crate) fn follows(&self, message: &Message) -> bool {
        message.feed == self.feed && message.sequence > self.sequence
    }

    /// Takes in a message of that feed.
    pub(crate) fn take(&mut self, message: Message) {
        self.sequence = message.sequence;
        self.heard(message.at_ms);
        match message.body {
            Body::Beat {} => {}
            Body::Overview(overview) => self.overview = Some(overview.into()),
            Body::Pipeline(pipeline) => {
                self.pipeline = Some(pipeline.into());
                self.pipeline_heard_at = self.heard_at;
            }
            Body::Alerts(alerts) => self.raise(alerts),
            Body::Events(samples) => keep(&mut self.samples, samples, SAMPLES_MAX),
        }
    }

    /// There is nothing new, and this is why.
    pub(crate) fn fail(&mut self, problem: QueryError) {
        self.problem = Some(problem);
    }

    /// Keeps the newest of each rule and key; when there are too many, the mildest go, and of those the oldest.
    fn raise(&mut self, alerts: Vec<Alert>) {
        for alert in alerts {
            self.raised
                .retain(|kept| (&kept.rule, &kept.key) != (&alert.rule, &alert.key));
            self.raised.push(alert);
        }
        self.raised.sort_by_key(worst_first);
        self.raised.truncate(RAISED_MAX);
    }

    fn heard(&mut self, feed_ms: i64) {
        self.problem = None;
        self.feed_ms = feed_ms;
        self.heard_at = Some(Instant::now());
    }

    /// The feed's clock now.
    pub(crate) fn now_ms(&self) -> i64 {
        self.feed_ms
            .saturating_add(elapsed_ms(self.heard_at).cast_signed())
    }

    /// How old the sink's numbers are; none if there are none.
    pub(crate) fn sink_age_ms(&self) -> Option<u64> {
        let answered_ms = self.overview.as_ref()?.sink.answered_ms?;
        u64::try_from(self.now_ms().saturating_sub(answered_ms))
            .ok()
            .or(Some(0))
    }

    /// How old the sink's numbers are, in words, if they are too old to be shown as live.
    pub(crate) fn sink_stale(&self) -> Option<String> {
        self.sink_age_ms()
            .filter(|age_ms| *age_ms > STALE_AFTER_MS)
            .map(|age_ms| format::age(age_ms.cast_signed()))
    }

    /// Whether it is known which alerts there are now.
    pub(crate) fn knows_alerts(&self) -> bool {
        let answer = self.overview.as_ref().map(|overview| &overview.alerts);
        answer.is_some_and(|answer| {
            let age_ms = answer
                .answered_ms
                .map(|answered_ms| self.now_ms().saturating_sub(answered_ms));
            answer.value.is_some() && age_ms.is_none_or(|age_ms| age_ms <= ALERTS_STALE_AFTER_MS)
        })
    }

    /// How old the pipeline's numbers are; none if there are none.
    pub(crate) fn pipeline_age_ms(&self) -> Option<u64> {
        let streams = &self.pipeline.as_ref()?.streams;
        (!streams.is_empty()).then(|| elapsed_ms(self.pipeline_heard_at))
    }

    /// How long ago anything was heard of a feed; none if never.
    pub(crate) fn feed_age_ms(&self) -> Option<u64> {
        self.heard_at.map(|at| elapsed_ms(Some(at)))
    }
}

fn elapsed_ms(since: Option<Instant>) -> u64 {
    since.map_or(0, |at| at.elapsed().as_millis().try_into().unwrap_or(u64::MAX))
}

/// The order of alerts wherever there are several.
pub(crate) fn worst_first(alert: &Alert) -> Reverse<(Option<usize>, i64)> {
    let severity = Severity::NAMES.iter().position(|name| *name == alert.severity);
    Reverse((severity, alert.last_ms))
}

/// Puts the newest first.
fn keep<T>(kept: &mut VecDeque<T>, new: Vec<T>, max: usize) {
    for item in new {
        kept.push_front(item);
    }
    kept.truncate(max);
}

/// What is known, as HTML.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// Counts the pictures since the start of the process.
    pub(crate) sequence: u64,
    /// What was known.
    pub(crate) known: Known,
    /// All of it, as HTML.
    pub(crate) regions: Regions,
}

impl Picture {
    /// Renders every region.
    ///
    /// # Errors
    /// See [`Regions::render`].
    pub(crate) fn render(known: Known) -> askama::Result<Self> {
        Ok(Self {
            sequence: 0,
            regions: Regions::render(&known)?,
            known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_mild_alerts_does_not_push_out_a_worse_one() {
        let alert = |rule: &str, severity: &str, last_ms| Alert {
            rule: rule.into(),
            severity: severity.into(),
            last_ms,
            ..Alert::default()
        };
        let mut known = Known::default();
        known.raise(vec![alert("bad", "critical", 1), alert("bad", "critical", 2)]);
        for last_ms in 0..40 {
            known.raise(vec![alert(&format!("mild{last_ms}"), "info", last_ms)]);
        }
        assert_eq!(known.raised.len(), RAISED_MAX);
        assert_eq!(known.raised[0], alert("bad", "critical", 2));
        assert_eq!(known.raised[1], alert("mild39", "info", 39));
    }
}
