//! Is anything wrong? The verdict at the top of the page.
//!
//! It is announced by screen readers when it changes, so its words hold still while nothing changes: no ages, no counts that tick.

use askama::Template;
use schemas::overview::{Ledger, Overview};

use crate::{
    format::{grouped, minute},
    queries::QueryError,
};

/// No new event for this long is worth a word.
const QUIET_MS: i64 = 60_000;
/// Messages waiting while nothing newer than this is stored are stuck or far behind.
const BEHIND_MS: i64 = 15_000;

/// How bad it is, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Everything published is accounted for.
    Ok,
    /// Nothing has been published yet.
    Waiting,
    /// Somebody should look when they have a moment.
    Attention,
    /// The promise is broken or cannot be checked.
    Wrong,
}

impl Level {
    fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Waiting => "waiting",
            Self::Attention => "attention",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    level: Level,
    problem: String,
    fix: &'static str,
    /// A command to run, shown as code; empty when there is none.
    command: &'static str,
}

/// The verdict with its reasons, the worst first.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(path = "overview/status.html")]
pub(crate) struct Status {
    /// The worst of the reasons' levels.
    pub(crate) level: Level,
    headline: &'static str,
    reasons: Vec<Reason>,
}

/// Judges what is known: the last answer, and the problem if the last question got none.
pub(crate) fn judge(overview: Option<&Overview>, problem: Option<&QueryError>) -> Status {
    let mut reasons = Vec::new();
    match (overview, problem) {
        (_, Some(problem)) => reasons.push(Reason {
            level: Level::Wrong,
            problem: problem.to_string(),
            fix: problem.fix(),
            command: problem.command(),
        }),
        (None, None) => reasons.push(Reason {
            level: Level::Attention,
            problem: "the sink does not answer yet".to_owned(),
            fix: "this page fills in by itself when it does",
            command: "",
        }),
        (Some(_), None) => {}
    }
    if let Some(overview) = overview {
        reasons.extend(accounting(&overview.ledger));
        reasons.extend(flow(overview));
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.level));

    let level = reasons
        .iter()
        .map(|reason| reason.level)
        .max()
        .unwrap_or(Level::Ok);
    let headline = match level {
        Level::Ok => "All is well",
        Level::Waiting => "Ready, waiting for the first event",
        Level::Attention => "Worth a look",
        Level::Wrong => "Something is wrong",
    };
    Status {
        level,
        headline,
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
            command: "",
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
            command: "",
        });
    }
    if ledger.dead > 0 {
        reasons.push(Reason {
            level: Level::Attention,
            problem: format!(
                "{} rejected; nothing is lost, each is kept in stream DEAD with its reason",
                messages(ledger.dead)
            ),
            fix: "read why:",
            command: "aiai query \"SELECT place, problem, fix, payload FROM dead\"",
        });
    }
    reasons
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
                command: HELLO,
            },
            0 => return None,
            _ => Reason {
                level: Level::Attention,
                problem: "messages are waiting and none is stored yet".to_owned(),
                fix: "if this lasts, start the worker:",
                command: "aiai run ingest",
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
            command: "aiai run ingest",
        });
    }
    (quiet_ms > QUIET_MS).then(|| Reason {
        level: Level::Attention,
        problem: format!("no event has arrived since {} UTC", minute(newest_ms)),
        fix: "check the agents, or publish one yourself:",
        command: HELLO,
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
    use super::*;

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
                with(ledger(5, 1, 0, 0), Some(100)),
                Level::Attention,
                "1 message rejected",
            ),
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
            (with(ledger(0, 1, 0, 0), None), Level::Attention, "rejected"),
        ] {
            let status = judge(Some(&overview), None);
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
        let status = judge(None, Some(&QueryError::Unreachable));
        assert_eq!(status.level, Level::Wrong);
        assert_eq!(status.reasons[0].command, "aiai run sink");
        assert_eq!(judge(None, None).level, Level::Attention);
    }

    #[test]
    fn the_worst_comes_first() {
        let status = judge(Some(&with(ledger(1, 2, 0, 3), Some(1))), None);
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
        assert_eq!(judge(Some(&early), None), judge(Some(&late), None));
    }
}
