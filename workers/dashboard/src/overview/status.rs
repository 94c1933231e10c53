//! Is anything wrong? The verdict at the top of the page.
//!
//! It is announced by screen readers when it changes, so its words hold still while nothing changes: no ages, no counts that tick.

use askama::Template;
use schemas::overview::{Ledger, Overview};

use super::{trouble, unknown};
use crate::{
    format::{grouped, minute},
    picture::Known,
    queries::QueryError,
};

/// No new event for this long is worth a word.
const QUIET_MS: i64 = 60_000;
/// Messages waiting while nothing newer than this is stored are stuck or far behind.
const BEHIND_MS: i64 = 15_000;

/// How bad it is, in rising order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Everything published is accounted for.
    #[default]
    Ok,
    /// Nothing has been published yet.
    Waiting,
    /// Not everything is known yet.
    Asking,
    /// Somebody should look when they have a moment.
    Attention,
    /// The promise is broken or cannot be checked.
    Wrong,
}

impl Level {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Waiting | Self::Asking => "waiting",
            Self::Attention => "attention",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) level: Level,
    pub(crate) problem: String,
    pub(crate) fix: &'static str,
    /// A command to run, shown as code; empty when there is none.
    pub(crate) command: String,
}

impl Reason {
    fn of_error(problem: &QueryError) -> Self {
        Self {
            level: Level::Wrong,
            problem: problem.to_string(),
            fix: problem.fix(),
            command: problem.command().to_owned(),
        }
    }
}

/// The verdict with its reasons, the worst first.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(path = "overview/status.html")]
pub(crate) struct Status {
    /// The worst of the reasons' levels.
    pub(crate) level: Level,
    pub(crate) headline: &'static str,
    pub(crate) reasons: Vec<Reason>,
}

/// Judges what is known.
pub(crate) fn judge(known: &Known) -> Status {
    let mut reasons: Vec<Reason> = known.problem.iter().map(Reason::of_error).collect();
    match &known.overview {
        Some(overview) => {
            let sink = overview.sink.problem.as_ref().map(QueryError::of_sink);
            reasons.extend(sink.as_ref().map(Reason::of_error));
            if let Some(overview) = &overview.sink.value {
                reasons.extend(accounting(&overview.ledger));
                reasons.extend(letters(overview.dead_open));
                reasons.extend(flow(overview));
            }
            reasons.extend(trouble::alerts(known));
            reasons.extend(unknown::reasons(overview, known));
        }
        None if reasons.is_empty() => reasons.push(Reason {
            level: Level::Attention,
            problem: "no live numbers yet".to_owned(),
            fix: "this page fills in by itself when they come",
            command: String::new(),
        }),
        None => {}
    }
    if let Some(pipeline) = known.pipeline.as_deref().filter(|_| known.problem.is_none()) {
        reasons.extend(trouble::workers(pipeline));
        reasons.extend(trouble::streams(pipeline));
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.level));

    let levels = reasons.iter().map(|reason| reason.level);
    let level = levels.max().unwrap_or(Level::Ok);
    Status {
        level,
        headline: match level {
            Level::Ok => "All is well",
            Level::Waiting => "Ready, waiting for the first event",
            Level::Asking => "Still asking",
            Level::Attention => "Worth a look",
            Level::Wrong => "Something is wrong",
        },
        reasons,
    }
}

/// Does the sum of the ledger balance, and is every message where it should be?
fn accounting(ledger: &Ledger) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let parts = [ledger.stored, ledger.dead, ledger.pending, ledger.missing];
    if parts.into_iter().map(u128::from).sum::<u128>() != u128::from(ledger.published) {
        reasons.push(Reason {
            level: Level::Attention,
            problem: "the ledger does not add up".to_owned(),
            fix: "it was read while numbers moved if this goes away by itself; otherwise look at the log of worker sink",
            command: String::new(),
        });
    }
    if ledger.missing > 0 {
        reasons.push(Reason {
            level: Level::Wrong,
            problem: format!(
                "{} missing: published, but neither stored, rejected nor pending",
                messages(ledger.missing)
            ),
            fix: "look at the logs of workers ingest and sink",
            command: String::new(),
        });
    }
    reasons
}

/// Dead letters that wait for somebody to replay or drop them.
fn letters(open: u64) -> Option<Reason> {
    let count = match open {
        0 => return None,
        1 => "1 dead letter".to_owned(),
        _ => format!("{} dead letters", grouped(open)),
    };
    Some(Reason {
        level: Level::Attention,
        problem: format!("{count}: rejected, kept with the reason, and neither replayed nor dropped yet"),
        fix: "read why:",
        command: "aiai dead list".to_owned(),
    })
}

/// Do events arrive, and do they get through?
fn flow(overview: &Overview) -> Option<Reason> {
    let ledger = &overview.ledger;
    let Some(newest_ms) = overview.newest_event_ms else {
        return Some(match ledger.pending {
            0 if ledger.published == 0 => Reason {
                level: Level::Waiting,
                problem: "nothing has been published yet".to_owned(),
                fix: "publish something:",
                command: HELLO.to_owned(),
            },
            0 => return None,
            _ => Reason {
                level: Level::Attention,
                problem: "messages are waiting and none is stored yet".to_owned(),
                fix: "if this lasts, start the worker:",
                command: "aiai run ingest".to_owned(),
            },
        });
    };
    let quiet_ms = overview.at_ms.saturating_sub(newest_ms);
    if ledger.pending > 0 && quiet_ms > BEHIND_MS {
        return Some(Reason {
            level: Level::Attention,
            problem: format!(
                "messages are waiting, and the newest one stored is of {} UTC",
                minute(newest_ms)
            ),
            fix: "it is catching up, or no worker takes them:",
            command: "aiai run ingest".to_owned(),
        });
    }
    (quiet_ms > QUIET_MS).then(|| Reason {
        level: Level::Attention,
        problem: format!("no event has arrived since {} UTC", minute(newest_ms)),
        fix: "check the agents, or publish one yourself:",
        command: HELLO.to_owned(),
    })
}

/// The shortest thing one can publish.
pub(crate) const HELLO: &str = r#"aiai pub metric '{"name":"hello","value":1}'"#;

fn messages(number: u64) -> String {
    if number == 1 {
        "1 message".to_owned()
    } else {
        format!("{} messages", grouped(number))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::live;

    use super::*;
    use crate::queries::Asked;

    fn seen(overview: Overview) -> Known {
        let mut seen = live::Overview::default();
        seen.sink.value = Some(overview);
        seen.alerts.value = Some(vec![]);
        Known {
            overview: Some(Arc::new(seen)),
            ..Known::default()
        }
    }

    const NOW_MS: i64 = 1_795_176_000_000;

    fn with(ledger: Ledger, newest_age_ms: Option<i64>) -> Overview {
        let newest_event_ms = newest_age_ms.map(|age_ms| NOW_MS - age_ms);
        Overview {
            at_ms: NOW_MS,
            newest_event_ms,
            ledger,
            ..Overview::default()
        }
    }

    fn ledger(stored: u64, dead: u64, pending: u64, missing: u64) -> Ledger {
        let published = stored + dead + pending + missing;
        Ledger {
            published,
            stored,
            dead,
            pending,
            missing,
            ..Ledger::default()
        }
    }

    #[test]
    fn each_state_has_its_level() {
        for (overview, level, words) in [
            (with(ledger(5, 0, 1, 0), Some(100)), Level::Ok, ""),
            (
                with(ledger(0, 0, 0, 0), None),
                Level::Waiting,
                "nothing has been published",
            ),
            (
                with(ledger(0, 0, 1, 0), None),
                Level::Attention,
                "none is stored yet",
            ),
            (
                Overview {
                    dead_open: 1,
                    ..with(ledger(5, 1, 0, 0), Some(100))
                },
                Level::Attention,
                "1 dead letter",
            ),
            (with(ledger(5, 1, 0, 0), Some(100)), Level::Ok, ""),
            (
                with(ledger(5, 0, 0, 2), Some(100)),
                Level::Wrong,
                "2 messages missing",
            ),
            (
                with(ledger(5, 0, 1, 0), Some(16_000)),
                Level::Attention,
                "messages are waiting",
            ),
            (with(ledger(5, 0, 0, 0), Some(60_000)), Level::Ok, ""),
            (
                with(ledger(5, 0, 0, 0), Some(61_000)),
                Level::Attention,
                "no event has arrived since 11:58 UTC",
            ),
            (
                with(
                    Ledger {
                        published: 9,
                        ..ledger(5, 0, 0, 0)
                    },
                    Some(1),
                ),
                Level::Attention,
                "does not add up",
            ),
            (
                Overview {
                    dead_open: 1,
                    ..with(ledger(0, 1, 0, 0), None)
                },
                Level::Attention,
                "rejected",
            ),
        ] {
            let status = judge(&seen(overview));
            let problems: Vec<_> = status
                .reasons
                .iter()
                .map(|reason| reason.problem.as_str())
                .collect();
            assert_eq!(status.level, level, "{problems:?}");
            assert!(problems.join("; ").contains(words), "{problems:?}");
        }
    }

    #[test]
    fn no_answer_is_wrong_and_names_the_fix() {
        for (asked, command) in [
            (Asked::Sink, "aiai run sink"),
            (Asked::Feed, "aiai run dashboard-feed"),
        ] {
            let known = Known {
                problem: Some(QueryError::Unreachable(asked)),
                ..Known::default()
            };
            let status = judge(&known);
            assert_eq!(status.level, Level::Wrong);
            assert_eq!(status.reasons[0].command, command);
        }
        assert_eq!(judge(&Known::default()).level, Level::Attention);
    }

    #[test]
    fn a_sink_that_does_not_answer_is_told_by_the_feed() {
        let mut overview = live::Overview::default();
        overview.sink.problem = Some(live::Problem::Unreachable);
        let known = Known {
            overview: Some(Arc::new(overview)),
            ..Known::default()
        };
        assert_eq!(judge(&known).reasons[0].command, "aiai run sink");
    }

    #[test]
    fn the_worst_comes_first() {
        let status = judge(&seen(Overview {
            dead_open: 2,
            ..with(ledger(1, 2, 0, 3), Some(1))
        }));
        let levels: Vec<_> = status.reasons.iter().map(|reason| reason.level).collect();
        assert_eq!(levels, [Level::Wrong, Level::Attention]);
    }

    #[test]
    fn the_words_hold_still_while_time_passes() {
        let early = with(ledger(5, 0, 0, 0), Some(70_000));
        let late = Overview {
            at_ms: early.at_ms + 30_000,
            ..early.clone()
        };
        assert_eq!(judge(&seen(early)), judge(&seen(late)));
    }
}
