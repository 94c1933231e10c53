//! What is wrong, from what is known. Pure.

use bus::heartbeat::{HEARTBEAT_SECONDS, Heartbeat};
use bus::{Held, StreamSurvey};
use serde::Serialize;

use super::Facts;
use crate::command::ledger;

/// Workers without which nothing is lost, late or unanswered.
const OPTIONAL: &[&str] = &["node", "dashboard", "dashboard-feed", "gateway", "otlp"];
/// A copy that missed two heartbeats is silent.
const SILENT_MS: i64 = 5 * 1000 * HEARTBEAT_SECONDS.cast_signed() / 2;
/// A stream as full as this refuses messages soon.
const FULL_PERCENT: u64 = 90;
/// A message that waits longer says that its reader is behind.
const BEHIND_MS: i64 = 60_000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Worth a look.
    Note,
    /// The promise is broken, soon will be, or cannot be checked.
    Wrong,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) problem: String,
    pub(super) fix: String,
}

fn wrong(problem: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding {
        level: Level::Wrong,
        problem: problem.into(),
        fix: fix.into(),
    }
}

fn note(problem: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding {
        level: Level::Note,
        ..wrong(problem, fix)
    }
}

/// All findings, the worst first.
pub(super) fn findings(facts: &Facts, known: &[&str]) -> Vec<Finding> {
    let mut all = workers(facts, known);
    match &facts.overview {
        Err(why) => all.push(wrong(format!("the sink does not answer: {why}"), "aiai run sink")),
        Ok(overview) => {
            all.extend(ledger::problem(&overview.ledger).map(|(problem, fix)| wrong(problem, fix)));
        }
    }
    for stream in &facts.streams {
        all.extend(fullness(stream));
        all.extend(behind(stream, facts.at_ms, known));
    }
    all.extend(dead(facts));
    all.extend(facts.alerts.iter().map(|alert| {
        let problem = format!(
            "{} alert of rule {} ({} times, last at {} UTC)",
            alert.severity, alert.rule, alert.count, alert.last
        );
        let fix = "aiai query 'FROM alert ORDER BY last_ts DESC LIMIT 20'";
        // As the page judges.
        if alert.severity == "critical" {
            wrong(problem, fix)
        } else {
            note(problem, fix)
        }
    }));
    all.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    all
}

/// How long ago a copy gave its last sign of life, if that is too long.
pub(super) fn silent_ms(beat: &Heartbeat, at_ms: i64) -> Option<i64> {
    let age_ms = at_ms.saturating_sub_unsigned(beat.at_ms);
    (age_ms > SILENT_MS).then_some(age_ms)
}

fn workers(facts: &Facts, known: &[&str]) -> Vec<Finding> {
    let mut all = Vec::new();
    for name in known.iter().filter(|name| !OPTIONAL.contains(name)) {
        let lives = |beat: &Heartbeat| beat.worker == *name && silent_ms(beat, facts.at_ms).is_none();
        if !facts.workers.iter().any(lives) {
            all.push(wrong(
                format!("no worker {name} lives"),
                format!("aiai run {name}"),
            ));
        }
    }
    for beat in &facts.workers {
        let copy = format!("worker {} ({}, pid {})", beat.worker, beat.host, beat.pid);
        if let Some(age_ms) = silent_ms(beat, facts.at_ms) {
            all.push(note(
                format!("{copy} has given no sign of life for {} s", age_ms / 1000),
                "it was killed or cannot reach NATS; if nobody restarts it, do",
            ));
        } else if let Some(trouble) = &beat.trouble {
            all.push(wrong(format!("{copy}: {trouble}"), "its log says more"));
        }
    }
    all
}

fn fullness(stream: &StreamSurvey) -> Option<Finding> {
    let name = stream.stream;
    let Some(held) = stream.held else {
        let problem = format!("there is no stream {name} on the server");
        return Some(wrong(problem, "aiai topology apply, or start aiai"));
    };
    let percent = full_percent(held)?;
    let key = format!("streams.{}_max_megabytes", name.to_lowercase());
    (percent >= FULL_PERCENT).then(|| {
        wrong(
            format!("stream {name} is {percent} % full; full, it refuses messages"),
            format!("see that its readers live; for more room raise {key} and run aiai topology apply"),
        )
    })
}

/// How much of its room a stream uses.
pub(super) fn full_percent(held: Held) -> Option<u64> {
    let max = u128::from(held.bytes_max?.max(1));
    u64::try_from(u128::from(held.bytes) * 100 / max).ok()
}

fn behind(stream: &StreamSurvey, at_ms: i64, known: &[&str]) -> Vec<Finding> {
    let readers = stream.readers.iter().filter_map(|reader| {
        let age_ms = at_ms.saturating_sub(reader.oldest_ms?);
        let durable = &reader.durable;
        let fix = if known.contains(&durable.as_str()) {
            format!("if this lasts, start another copy: aiai run {durable}")
        } else {
            "if this lasts, see that its worker lives: aiai run --list".to_owned()
        };
        (age_ms > BEHIND_MS).then(|| {
            let (waiting, seconds) = (reader.waiting.unwrap_or(0), age_ms / 1000);
            note(
                format!(
                    "{durable} is {seconds} s behind on {}: {waiting} messages wait",
                    stream.stream
                ),
                fix,
            )
        })
    });
    readers.collect()
}

fn dead(facts: &Facts) -> Option<Finding> {
    let open = facts.overview.as_ref().ok()?.dead_open;
    let reasons: Vec<_> = facts
        .dead
        .iter()
        .map(|reason| format!("{} {}", reason.letters, reason.reason))
        .collect();
    (open > 0 || !reasons.is_empty()).then(|| {
        note(
            format!("open dead letters: {open} ({})", reasons.join(", ")),
            "aiai dead list",
        )
    })
}

#[cfg(test)]
mod tests {
    use bus::ReaderSurvey;
    use schemas::overview::{Ledger, Overview};

    use super::*;
    use crate::command::status::{AlertLine, DeadReason};

    const NOW_MS: i64 = 1_795_176_000_000;
    const KNOWN: [&str; 3] = ["sink", "ingest", "node"];

    fn beat(worker: &str, age_ms: u64, trouble: Option<&str>) -> Heartbeat {
        Heartbeat {
            worker: worker.into(),
            instance: "01".into(),
            host: "here".into(),
            pid: 7,
            version: "0".into(),
            started_ms: 0,
            at_ms: NOW_MS.unsigned_abs() - age_ms,
            trouble: trouble.map(str::to_owned),
            received: 0,
            acked: 0,
            retried: 0,
            dead: 0,
            published: 0,
            events: 0,
            backlog: 0,
        }
    }

    fn stream(bytes: u64, waiting: u64, age_ms: i64) -> StreamSurvey {
        StreamSurvey {
            stream: "EVENTS",
            held: Some(Held {
                messages: 5,
                bytes,
                bytes_max: Some(100),
            }),
            readers: vec![ReaderSurvey {
                durable: "ingest".into(),
                waiting: Some(waiting),
                oldest_ms: (waiting > 0).then_some(NOW_MS - age_ms),
            }],
        }
    }

    fn well() -> Facts {
        Facts {
            at_ms: NOW_MS,
            overview: Ok(Overview::default()),
            workers: vec![beat("sink", 0, None), beat("ingest", 4000, None)],
            streams: vec![stream(89, 3, 59_000)],
            dead: Vec::new(),
            alerts: Vec::new(),
        }
    }

    fn found(facts: &Facts) -> Vec<(Level, String)> {
        let all = findings(facts, &KNOWN).into_iter();
        all.map(|finding| {
            assert!(!finding.fix.is_empty(), "{}", finding.problem);
            (finding.level, finding.problem)
        })
        .collect()
    }

    #[test]
    fn all_well_and_without_optional_workers() {
        assert_eq!(found(&well()), []);
    }

    /// What changes a well system, how bad that is, and words of the finding.
    type Case = (fn(&mut Facts), Level, &'static str);

    fn judged(cases: &[Case]) {
        for (change, level, words) in cases {
            let mut facts = well();
            change(&mut facts);
            let found = found(&facts);
            assert_eq!(
                found.first().map(|(level, _)| *level),
                Some(*level),
                "{words}: {found:?}"
            );
            assert!(
                found.iter().any(|(_, problem)| problem.contains(words)),
                "{words}: {found:?}"
            );
        }
    }

    #[test]
    fn workers_that_are_not_there_or_in_trouble() {
        judged(&[
            (
                |facts| drop(facts.workers.remove(1)),
                Level::Wrong,
                "no worker ingest lives",
            ),
            (
                |facts| facts.workers[1].at_ms -= 20_000,
                Level::Wrong,
                "no worker ingest lives",
            ),
            (
                |facts| facts.workers.push(beat("ingest", 13_000, None)),
                Level::Note,
                "no sign of life for 13 s",
            ),
            (
                |facts| facts.workers[0].trouble = Some("disk full".into()),
                Level::Wrong,
                "disk full",
            ),
        ]);
    }

    #[test]
    fn streams_that_are_full_absent_or_not_read() {
        judged(&[
            (
                |facts| facts.streams = vec![stream(90, 0, 0)],
                Level::Wrong,
                "EVENTS is 90 % full",
            ),
            (
                |facts| facts.streams = vec![stream(0, 9, 61_000)],
                Level::Note,
                "ingest is 61 s behind on EVENTS: 9",
            ),
            (
                |facts| facts.streams[0].held = None,
                Level::Wrong,
                "no stream EVENTS",
            ),
        ]);
    }

    #[test]
    fn what_the_database_says() {
        fn alert(severity: &str) -> AlertLine {
            AlertLine {
                severity: severity.into(),
                rule: "too_dear".into(),
                count: 2,
                last: "12:00".into(),
            }
        }
        fn ledger(facts: &mut Facts, missing: u64, dead: u64) {
            let ledger = Ledger {
                published: missing + dead,
                missing,
                dead,
                ..Ledger::default()
            };
            facts.overview = Ok(Overview {
                ledger,
                ..Overview::default()
            });
        }
        judged(&[
            (
                |facts| facts.overview = Err("nobody answers".into()),
                Level::Wrong,
                "the sink does not answer: nobody answers",
            ),
            (
                |facts| ledger(facts, 2, 0),
                Level::Wrong,
                "2 messages are missing",
            ),
            (
                |facts| {
                    facts.overview = Ok(Overview {
                        dead_open: 4,
                        ..Overview::default()
                    });
                },
                Level::Note,
                "open dead letters: 4",
            ),
            (
                |facts| {
                    facts.dead = vec![DeadReason {
                        reason: "unknown_field".into(),
                        letters: 3,
                    }];
                },
                Level::Note,
                "3 unknown_field",
            ),
            (
                |facts| facts.alerts = vec![alert("warning")],
                Level::Note,
                "warning alert of rule too_dear (2 times",
            ),
            (
                |facts| facts.alerts = vec![alert("critical")],
                Level::Wrong,
                "critical alert of rule too_dear (2 times",
            ),
        ]);
    }
}
