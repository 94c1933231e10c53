//! Which letters are replayed, where to, and with which headers. Pure.

use std::collections::BTreeMap;

use bus::topology::{ALERTS, ARCHIVE, EVENTS, INGEST, ROLLUP};
use schemas::{Reason, dead, headers};

use super::select::Letter;

/// Headers that say what an EVENTS message, or what was made of one, carries.
const OF_EVENTS: [&str; 3] = [headers::ORIGINS, headers::COUNT, headers::EPOCH];
/// Headers that say of which EVENTS message something was made.
const MADE_OF: [&str; 2] = [headers::EVENTS_SEQUENCE, headers::EVENTS_EPOCH];

/// What is to be done with a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Its message is published again, for the so-many-th time.
    Replay {
        /// The stream that takes it.
        stream: &'static str,
        /// From 1.
        count: u8,
    },
    /// It stays as it is, and why.
    Skip(String),
}

/// What was asked for, beside the letters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The letters were named by number.
    pub(super) by_number: bool,
    /// `--again`
    pub(super) again: bool,
}

/// Decides. `is_stored` says whether the events of the INGEST message are in the tables.
pub(super) fn step(letter: &Letter, asked: Asked, is_stored: bool) -> Step {
    match (stream(letter), hindrance(letter, asked, is_stored)) {
        (Ok(stream), None) => Step::Replay {
            stream,
            count: next_count(letter, asked.again),
        },
        (Err(why), _) | (_, Some(why)) => Step::Skip(why),
    }
}

/// Which replay of its message the next one is. One that was begun and not ended goes on, unless another is asked for.
fn next_count(letter: &Letter, again: bool) -> u8 {
    let begun = if again { letter.begun } else { 0 };
    letter
        .replay_count
        .max(letter.replayed)
        .max(begun)
        .saturating_add(1)
}

fn hindrance(letter: &Letter, asked: Asked, is_stored: bool) -> Option<String> {
    if letter.state == "dropped" {
        return Some("it was dropped, and its payload with it".into());
    }
    if letter.state == "replayed" && !asked.again {
        return Some("it was replayed before; --again replays it once more".into());
    }
    if letter.replay_count > 0 && !asked.by_number && !asked.again {
        let of = letter.replay_of.map(|of| format!(" of letter {of}"));
        return Some(format!(
            "its message is a replay{} itself and failed again; name it by its number, or --again",
            of.unwrap_or_default()
        ));
    }
    if next_count(letter, asked.again) > dead::REPLAYS_MAX {
        return Some(format!(
            "its message was replayed {} times; that is enough",
            dead::REPLAYS_MAX
        ));
    }
    (is_stored && letter.idx.is_none())
        .then(|| "its events are stored all the same: nothing is missing".into())
}

/// The stream that takes its message again; or why none does.
fn stream(letter: &Letter) -> Result<&'static str, String> {
    let subject = letter.subject.as_deref().unwrap_or_default();
    let is_publishable = subject.split('.').all(|token| {
        !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || "*>\u{fffd}".contains(c))
    });
    if !is_publishable {
        return Err("nobody can publish on its subject".into());
    }
    let from_sink = letter.stage == "sink";
    match subject.split('.').next().unwrap_or_default() {
        "ingest" => Ok(INGEST),
        "alerts" => Ok(ALERTS),
        "events" if from_sink => Ok(EVENTS),
        "rollup" if from_sink => Ok(ROLLUP),
        "matches" if from_sink => Ok(ALERTS),
        "archive" if from_sink => Ok(ARCHIVE),
        _ => Err(match letter.stage.as_str() {
            "rollup" => "the sink made its aggregates itself: nothing is missing".into(),
            "rules" => "its events are stored; an alert about them would come too late".into(),
            "route" => "its events are stored; only the look at failing models missed them".into(),
            "archive" => "its events stay in the database; the range is not archived any more".into(),
            stage => format!("only worker {stage} missed it; published again, everybody else had it twice"),
        }),
    }
}

/// The id under which a replay is published: the same when it is interrupted and tried again.
pub(super) fn message_id(letter: &Letter, count: u8) -> String {
    format!(
        "replay:{}:{}:{count}",
        letter.epoch.as_deref().unwrap_or("0"),
        letter.id
    )
}

/// The headers of its message as they were, without what would act on JetStream again, and what says that it is a replay.
pub(super) fn headers_of(
    letter: &Letter,
    of_letter: &BTreeMap<String, String>,
    stream: &str,
    count: u8,
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let is_batch = stream != INGEST && of_letter.contains_key(headers::ORIGINS);
    for (name, value) in of_letter {
        let kept = match name.strip_prefix(headers::ORIGINAL_PREFIX) {
            // Ours, not the sender's.
            Some("Headers" | "Headers-Base64") => None,
            Some(headers::REPLAY_OF | headers::REPLAY_COUNT | headers::STORED) => None,
            Some(original) if original.starts_with("Nats-") => None,
            Some(original) => Some(original),
            None if OF_EVENTS.contains(&name.as_str()) => is_batch.then_some(name.as_str()),
            None if MADE_OF.contains(&name.as_str()) => {
                (is_batch && stream != EVENTS).then_some(name.as_str())
            }
            None => (!name.starts_with("Aiai-") && !name.starts_with("Nats-")).then_some(name.as_str()),
        };
        all.extend(kept.map(|name| (name.to_owned(), value.clone())));
    }
    all.push((headers::REPLAY_OF.to_owned(), letter.id.to_string()));
    all.push((headers::REPLAY_COUNT.to_owned(), count.to_string()));
    // Where the time itself was the problem, what counts is when the replay comes.
    if stream == INGEST && letter.reason.as_deref() != Some(Reason::BadTime.as_str()) {
        let first = format!("{}{}", headers::ORIGINAL_PREFIX, headers::STORED);
        let was_replay = letter
            .replay_of
            .is_some()
            .then(|| of_letter.get(&first))
            .flatten();
        let stored = was_replay.or_else(|| of_letter.get(headers::STORED));
        all.extend(stored.map(|stored| (headers::STORED.to_owned(), stored.clone())));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(stage: &str, subject: &str) -> Letter {
        Letter {
            id: 17,
            epoch: Some("01JD".into()),
            stage: stage.into(),
            subject: Some(subject.into()),
            state: "open".into(),
            ..Letter::default()
        }
    }

    const FILTERED: Asked = Asked {
        by_number: false,
        again: false,
    };

    #[test]
    fn what_goes_where_and_what_nowhere() {
        for (stage, subject, stream) in [
            ("ingest", "ingest.acme.metric", Some(INGEST)),
            ("sink", "events.usage", Some(EVENTS)),
            ("sink", "rollup.partial", Some(ROLLUP)),
            ("webhook", "alerts.critical.x", Some(ALERTS)),
            ("rollup", "events.usage", None),
            ("rules", "events.usage", None),
            ("route", "events.usage", None),
            ("archive", "archive.job", None),
            ("failures", "events.usage", None),
            ("ingest", "ingest.a b", None),
            ("ingest", "ingest.\u{fffd}", None),
            ("ingest", "", None),
        ] {
            let planned = step(&letter(stage, subject), FILTERED, false);
            let wanted = stream.map(|stream| Step::Replay { stream, count: 1 });
            match wanted {
                Some(wanted) => assert_eq!(planned, wanted, "{stage} {subject}"),
                None => assert!(matches!(planned, Step::Skip(_)), "{stage} {subject}: {planned:?}"),
            }
        }
    }

    #[test]
    fn nothing_is_replayed_for_ever() {
        let count = |letter: &Letter, asked| match step(letter, asked, false) {
            Step::Replay { count, .. } => Some(count),
            Step::Skip(_) => None,
        };
        let by_number = Asked {
            by_number: true,
            ..FILTERED
        };
        let again = Asked {
            again: true,
            ..FILTERED
        };
        let failed_again = Letter {
            replay_of: Some(3),
            replay_count: 1,
            ..letter("ingest", "ingest.metric")
        };
        assert_eq!(count(&failed_again, FILTERED), None);
        assert_eq!(count(&failed_again, by_number), Some(2));
        assert_eq!(count(&failed_again, again), Some(2));
        let replayed = Letter {
            state: "replayed".into(),
            replayed: 1,
            ..letter("ingest", "ingest.metric")
        };
        assert_eq!(
            (count(&replayed, by_number), count(&replayed, again)),
            (None, Some(2))
        );
        let often = Letter {
            replay_count: 5,
            ..failed_again
        };
        assert_eq!((count(&often, by_number), count(&often, again)), (None, None));
        let dropped = Letter {
            state: "dropped".into(),
            ..replayed
        };
        assert_eq!(count(&dropped, again), None);
        let interrupted = Letter {
            begun: 1,
            ..letter("ingest", "ingest.metric")
        };
        assert_eq!(count(&interrupted, FILTERED), Some(1), "the same once more");
    }

    #[test]
    fn what_is_stored_all_the_same_is_not_replayed() {
        let whole = letter("ingest", "ingest.metric");
        assert!(matches!(step(&whole, FILTERED, true), Step::Skip(_)));
        let item = Letter {
            idx: Some(0),
            ..whole
        };
        assert!(matches!(step(&item, FILTERED, true), Step::Replay { .. }));
    }

    #[test]
    fn headers_are_the_senders_and_do_not_act_on_jetstream() {
        let of_letter: BTreeMap<String, String> = [
            ("traceparent", "00-ab"),
            ("Content-Type", "application/x-ndjson"),
            ("Aiai-Original-Nats-Msg-Id", "once"),
            ("Aiai-Original-Nats-Expected-Stream", "INGEST"),
            ("Aiai-Original-Aiai-Origins", "5-900"),
            ("Aiai-Original-Headers", "left out, 9000 bytes"),
            ("Aiai-Stage", "ingest"),
            ("Aiai-Origin", "7"),
            ("Aiai-Epoch", "01JD"),
            ("Aiai-Stored", "2026-11-20T07:00:00.000000Z"),
            ("Nats-Time-Stamp", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let of = |letter: &Letter| -> Vec<(String, String)> { headers_of(letter, &of_letter, INGEST, 2) };
        let text = |all: &[(String, String)]| -> Vec<String> {
            all.iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect()
        };
        let metric = letter("ingest", "ingest.metric");
        let wanted = [
            "Aiai-Origins: 5-900",
            "Content-Type: application/x-ndjson",
            "traceparent: 00-ab",
            "Aiai-Replay-Of: 17",
            "Aiai-Replay-Count: 2",
            "Aiai-Stored: 2026-11-20T07:00:00.000000Z",
        ];
        assert_eq!(text(&of(&metric)), wanted);
        let late = Letter {
            reason: Some("bad_time".into()),
            ..metric
        };
        assert_eq!(text(&of(&late)), wanted[..5]);
    }

    #[test]
    fn a_refused_batch_keeps_what_the_ledger_counts() {
        let of_letter: BTreeMap<String, String> = [
            ("Aiai-Origins", "5-6"),
            ("Aiai-Count", "2"),
            ("Aiai-Epoch", "01JD"),
            ("Aiai-Events-Sequence", "9"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let names = |stream| -> Vec<String> {
            let all = headers_of(&letter("sink", "x"), &of_letter, stream, 1);
            all.into_iter().map(|(name, _)| name).collect()
        };
        let replay = ["Aiai-Replay-Of", "Aiai-Replay-Count"];
        let batch = ["Aiai-Count", "Aiai-Epoch", "Aiai-Origins"];
        assert_eq!(names(EVENTS), [&batch[..], &replay].concat());
        let made = ["Aiai-Count", "Aiai-Epoch", "Aiai-Events-Sequence", "Aiai-Origins"];
        assert_eq!(names(ROLLUP), [&made[..], &replay].concat());
        assert_eq!(message_id(&letter("sink", "x"), 3), "replay:01JD:17:3");
    }
}
