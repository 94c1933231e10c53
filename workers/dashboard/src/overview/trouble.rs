//! What hinders workers and streams, and what rules found, as reasons of the verdict. The words hold still.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use schemas::live::{Alert, Pipeline, Stream};

use super::alerts::{self, ALERTS_QUERY};
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
    cut(hindered.collect(), |more| Reason {
        problem: format!("and {more} more workers are hindered"),
        fix: "see the page Pipeline",
        ..Reason::default()
    })
}

/// The worst reasons of one sort; if some are left out, how many, with a level of their own.
fn cut(mut reasons: Vec<Reason>, more: impl FnOnce(usize) -> Reason) -> Vec<Reason> {
    reasons.sort_by_key(|reason| Reverse(reason.level));
    let left_out = reasons.split_off(reasons.len().min(REASONS_MAX));
    if let Some(worst) = left_out.first() {
        reasons.push(Reason {
            level: worst.level,
            ..more(left_out.len())
        });
    }
    reasons
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
    let late = cut(late.collect(), |more| Reason {
        problem: format!("and {more} more workers are behind or do not run"),
        fix: "see the page Pipeline",
        ..Reason::default()
    });
    late.into_iter().chain(full).collect()
}

/// The part of its size that a stream fills, 0 to 1.
pub(crate) fn share(stream: &Stream) -> f64 {
    stream
        .bytes_max
        .filter(|max| *max > 0)
        .map_or(0.0, |max| stream.bytes as f64 / max as f64)
}

/// Rules that found something just now.
pub(crate) fn alerts(known: &Known) -> Vec<Reason> {
    let since = known.now_ms().saturating_sub(RECENT_MS);
    let told = alerts::all(known).into_iter();
    let judged = told.filter(|alert| alert.last_ms >= since && alert.severity != "info");
    let mut rules: BTreeMap<&str, &Alert> = BTreeMap::new();
    for alert in judged {
        // The worst of a rule comes first.
        rules.entry(&alert.rule).or_insert(alert);
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
    cut(reasons.collect(), |more| Reason {
        problem: format!("and alerts of {more} more rules in the last 15 minutes"),
        fix: "see all of them:",
        command: ALERTS_QUERY.to_owned(),
        ..Reason::default()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::live::{Durable, Overview, Worker};

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

    const NOW: i64 = 10_000_000;

    fn alert(rule: &str, severity: &str, last_ms: i64) -> Alert {
        Alert {
            rule: rule.into(),
            severity: severity.into(),
            last_ms,
            ..Alert::default()
        }
    }

    fn told(stored: Vec<Alert>) -> Known {
        let mut overview = Overview::default();
        overview.alerts.value = Some(stored);
        Known {
            overview: Some(Arc::new(overview)),
            feed_ms: NOW,
            ..Known::default()
        }
    }

    #[test]
    fn recent_alerts_count_and_old_or_mild_ones_do_not() {
        let mut known = told(vec![
            alert("a", "warning", NOW),
            alert("b", "info", NOW),
            alert("c", "critical", NOW - RECENT_MS - 1),
        ]);
        assert_eq!(alerts(&known).len(), 1);
        // Stored long ago, and raised again: that one counts.
        known.raised.push(alert("c", "critical", NOW));
        let levels: Vec<_> = alerts(&known).iter().map(|reason| reason.level).collect();
        assert_eq!(levels, [Level::Wrong, Level::Attention]);
    }

    #[test]
    fn a_critical_alert_is_named_first_whatever_its_rule_is_called() {
        let mut stored: Vec<_> = (0..6).map(|n| alert(&format!("a{n}"), "warning", NOW)).collect();
        stored.push(alert("zebra", "warning", NOW));
        stored.push(alert("zebra", "critical", NOW - 1000));
        let reasons = alerts(&told(stored));
        assert!(reasons[0].problem.contains("critical alert of rule zebra"));
        assert_eq!(reasons[0].level, Level::Wrong);
        assert_eq!(reasons.len(), REASONS_MAX + 1);
        assert!(reasons[4].problem.contains("alerts of 3 more rules"));
        assert_eq!(reasons[4].level, Level::Attention);
    }

    #[test]
    fn many_hindered_workers_are_cut_and_counted() {
        let copy = Worker {
            trouble: Some("no models".into()),
            ..Worker::default()
        };
        let reasons = workers(&pipeline(None, 0, vec![copy; 6]));
        assert!(reasons[4].problem.contains("2 more workers"));
        assert_eq!(reasons.len(), 5);
    }
}
