//! What hinders workers and streams, and what rules found, as reasons of the verdict. The words hold still.

use std::collections::BTreeMap;

use schemas::live::{Alert, Overview, Pipeline, Stream};

use super::status::{Level, Reason};
use crate::picture::Known;

/// A reader whose oldest message waits longer is behind.
const BEHIND_SECONDS: f64 = 30.0;
/// A stream fuller than this is nearly full.
const FULL_SHARE: f64 = 0.9;
/// Alerts of this time belong to the verdict.
const RECENT_MS: i64 = 15 * 60_000;
/// Reasons of one sort at most.
const REASONS_MAX: usize = 4;

/// The worker that reads a durable: durables are mostly named like their worker.
pub(crate) fn reader(durable: &str) -> &str {
    match durable {
        "rules" | "webhook" => "route",
        other => other,
    }
}

/// Workers that say what hinders them.
pub(crate) fn workers(pipeline: &Pipeline) -> Vec<Reason> {
    let hindered = pipeline.workers.iter().filter_map(|copy| {
        let trouble = copy.trouble.as_ref()?;
        Some(Reason {
            level: Level::Attention,
            problem: format!(
                "worker {} on {} (pid {}) says: {trouble}",
                copy.worker, copy.host, copy.pid
            ),
            fix: "look at its log",
            command: String::new(),
        })
    });
    hindered.take(REASONS_MAX).collect()
}

/// Readers that are behind, and streams that will soon refuse messages.
pub(crate) fn streams(pipeline: &Pipeline) -> Vec<Reason> {
    let mut behind: BTreeMap<&str, &str> = BTreeMap::new();
    for stream in &pipeline.streams {
        for durable in &stream.durables {
            if durable.lag_seconds.is_some_and(|lag| lag > BEHIND_SECONDS) {
                behind.insert(reader(&durable.name), &stream.name);
            }
        }
    }
    let late = behind.into_iter().map(|(worker, stream)| {
        let runs = pipeline.workers.iter().any(|copy| copy.worker == worker);
        Reason {
            level: Level::Attention,
            problem: if runs {
                format!("worker {worker} is behind: messages of {stream} wait longer than 30 s")
            } else {
                format!("messages of {stream} wait, and no worker {worker} runs")
            },
            fix: if runs {
                "start another copy if it does not catch up:"
            } else {
                "start it:"
            },
            command: format!("aiai run {worker}"),
        }
    });
    let full = pipeline
        .streams
        .iter()
        .filter(|stream| share(stream) > FULL_SHARE);
    let full = full.map(|stream| Reason {
        level: Level::Wrong,
        problem: format!(
            "stream {} is nearly full; then publishers get errors",
            stream.name
        ),
        fix: "see on the page Pipeline which of its readers is behind, or raise its size in [streams]",
        command: String::new(),
    });
    late.take(REASONS_MAX).chain(full).collect()
}

/// The part of its size that a stream fills, 0 to 1.
pub(crate) fn share(stream: &Stream) -> f64 {
    stream
        .bytes_max
        .filter(|max| *max > 0)
        .map_or(0.0, |max| stream.bytes as f64 / max as f64)
}

/// Rules that found something just now.
pub(crate) fn alerts(overview: &Overview, known: &Known) -> Vec<Reason> {
    let stored = overview.alerts.value.iter().flatten();
    let since = known.now_ms().saturating_sub(RECENT_MS);
    let mut rules: BTreeMap<&str, &Alert> = BTreeMap::new();
    for alert in stored.chain(&known.raised).filter(|alert| alert.last_ms >= since) {
        if alert.severity != "info" {
            rules.insert(&alert.rule, alert);
        }
    }
    let reasons = rules.into_values().map(|alert| Reason {
        level: if alert.severity == "critical" {
            Level::Wrong
        } else {
            Level::Attention
        },
        problem: format!(
            "{} alert of rule {} in the last 15 minutes",
            alert.severity, alert.rule
        ),
        fix: "see Alerts below, or all of them:",
        command: format!(
            "aiai query \"SELECT * FROM alert WHERE rule = '{}' ORDER BY last_ts DESC\"",
            alert.rule.replace('\'', "''")
        ),
    });
    reasons.take(REASONS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use schemas::live::{Durable, Worker};

    use super::*;

    fn pipeline(lag_seconds: Option<f64>, bytes: u64, workers: Vec<Worker>) -> Pipeline {
        let durable = Durable {
            name: "rules".into(),
            lag_messages: 3,
            lag_seconds,
            ..Durable::default()
        };
        let stream = Stream {
            name: "EVENTS".into(),
            bytes,
            bytes_max: Some(100),
            durables: vec![durable],
            ..Stream::default()
        };
        Pipeline {
            streams: vec![stream],
            workers,
            ..Pipeline::default()
        }
    }

    #[test]
    fn a_late_reader_is_named_with_the_command_for_its_worker() {
        assert!(streams(&pipeline(Some(29.0), 0, vec![])).is_empty());
        let reasons = streams(&pipeline(Some(31.0), 0, vec![]));
        assert_eq!(reasons[0].command, "aiai run route");
        assert!(reasons[0].problem.contains("no worker route runs"));
        let copy = Worker {
            worker: "route".into(),
            trouble: Some("no models".into()),
            ..Worker::default()
        };
        let pipeline = pipeline(Some(31.0), 95, vec![copy]);
        let reasons = streams(&pipeline);
        assert!(reasons[0].problem.contains("is behind"));
        assert!(reasons[1].problem.contains("nearly full"));
        assert!(workers(&pipeline)[0].problem.contains("says: no models"));
    }

    #[test]
    fn recent_alerts_count_and_old_or_mild_ones_do_not() {
        let alert = |severity: &str, last_ms| Alert {
            rule: format!("r-{severity}-{last_ms}"),
            severity: severity.into(),
            last_ms,
            ..Alert::default()
        };
        let now = 10_000_000;
        let mut overview = Overview::default();
        overview.alerts.value = Some(vec![
            alert("warning", now),
            alert("info", now),
            alert("critical", now - RECENT_MS - 1),
        ]);
        let mut known = Known {
            feed_ms: now,
            ..Known::default()
        };
        assert_eq!(alerts(&overview, &known).len(), 1);
        known.raised.push_front(alert("critical", now));
        let levels: Vec<_> = alerts(&overview, &known)
            .iter()
            .map(|reason| reason.level)
            .collect();
        assert_eq!(levels, [Level::Wrong, Level::Attention]);
    }
}
