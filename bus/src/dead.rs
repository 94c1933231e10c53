//! Dead letters: the original message with the reason in its headers.
//!
//! A dead letter carries everything needed to understand and replay it. Its `Nats-Msg-Id` is the
//! sender's own: a predictable one would let others suppress it; the sink leaves out repeats. Headers that steer
//! JetStream (`Nats-*`), and an agent's that look like ours (`Aiai-*`), are kept under `Aiai-Original-…`, so that they do not act again.
//! Only that its message was a replay itself is said as it was.

use async_nats::HeaderMap;
use bytes::Bytes;
use schemas::{Rejection, Time, headers};

use crate::delivery::Delivery;
use crate::outbox::DeadLetter;

/// A header's value may be this long; the rest is cut off.
const HEADER_BYTES_MAX: usize = 1024;

/// Original headers copied to the dead letter of a single item, in bytes.
const ITEM_HEADER_BYTES_MAX: usize = 2048;

/// A dead letter ready to be published.
#[derive(Debug)]
pub(crate) struct Addressed {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// The last token of a subject.
pub(crate) fn kind_of(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or(subject)
}

/// A dead letter for the whole message.
pub(crate) fn whole(delivery: &Delivery, rejection: Rejection) -> DeadLetter {
    DeadLetter {
        kind: kind_of(delivery.subject()).to_owned(),
        payload: delivery.payload().clone(),
        index: None,
        rejection,
    }
}

/// Addresses a dead letter of `stage` for a message of the stream with `epoch`.
pub(crate) fn address(stage: &str, epoch: &str, delivery: &Delivery, letter: DeadLetter) -> Addressed {
    let original = Original {
        subject: delivery.subject(),
        sequence: delivery.sequence(),
        stored_microseconds: delivery.stored_microseconds(),
        headers: delivery.header_map(),
    };
    address_original(stage, epoch, &original, letter)
}

/// The message a dead letter is about.
#[derive(Debug)]
pub(crate) struct Original<'a> {
    pub(crate) subject: &'a str,
    pub(crate) sequence: u64,
    pub(crate) stored_microseconds: i64,
    pub(crate) headers: Option<&'a HeaderMap>,
}

/// The same for a message that nobody delivered.
pub(crate) fn address_original(
    stage: &str,
    epoch: &str,
    original: &Original<'_>,
    letter: DeadLetter,
) -> Addressed {
    let mut map = HeaderMap::new();
    let from_agent = original.subject.starts_with("ingest.");
    let carried = || crate::delivery::pairs(original.headers);
    let bytes: usize = carried().map(|(name, value)| name.len() + value.len()).sum();
    // One message may have thousands of bad items: large headers are not copied to each.
    let copied = letter.index.is_none() || bytes <= ITEM_HEADER_BYTES_MAX;
    if !copied {
        map.insert("Aiai-Original-Headers", format!("left out, {bytes} bytes"));
    }
    for (name, value) in carried().filter(|_| copied) {
        let reserved = name.starts_with("Nats-") || (from_agent && name.starts_with("Aiai-"));
        let name = if reserved && !says_replay(name, value) {
            format!("{}{name}", headers::ORIGINAL_PREFIX)
        } else {
            name.to_owned()
        };
        map.append(name, value);
    }
    let origin = original.sequence;
    let stored = Time(original.stored_microseconds).to_string();
    let rejection = &letter.rejection;
    for (name, value) in [
        (headers::STAGE, stage),
        (headers::KIND, letter.kind.as_str()),
        (headers::REASON, rejection.reason.as_str()),
        (headers::PLACE, &printable(&rejection.place)),
        (headers::PROBLEM, &printable(&rejection.problem)),
        (headers::FIX, &printable(&rejection.fix)),
        (headers::SUBJECT, original.subject),
        (headers::STORED, stored.as_str()),
    ] {
        map.insert(name, value);
    }
    // A whole batch keeps its own origins and their epoch: they are what the ledger counts.
    if from_agent || carried().all(|(name, _)| name != headers::ORIGINS) {
        map.insert(headers::ORIGIN, origin.to_string());
        map.insert(headers::EPOCH, epoch);
    }
    // What a stage makes of an EVENTS message, the sink can make of its dead letter.
    if original.subject.starts_with("events.") {
        map.insert(headers::EVENTS_SEQUENCE, origin.to_string());
        map.insert(headers::EVENTS_EPOCH, epoch);
    }
    if let Some(index) = letter.index {
        map.insert(headers::INDEX, index.to_string());
    }
    Addressed {
        subject: format!("dead.{stage}.{}", letter.kind),
        headers: map,
        payload: letter.payload,
    }
}

/// Whether a header says that its message is a replay: its letter says so, too, and thus nothing is replayed for ever.
fn says_replay(name: &str, value: &str) -> bool {
    match name {
        headers::REPLAY_OF => value.parse::<u64>().is_ok(),
        headers::REPLAY_COUNT => value.parse::<u8>().is_ok(),
        _ => false,
    }
}

/// Header values are one line of bounded length; a cut falls between characters.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(HEADER_BYTES_MAX));
    for character in text.chars() {
        if line.len() + character.len_utf8() > HEADER_BYTES_MAX {
            line.push('…');
            break;
        }
        line.push(if character.is_control() { ' ' } else { character });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_one_bounded_line() {
        assert_eq!(printable("a\r\nb\tc"), "a  b c");
        let long = printable(&"ä".repeat(5000));
        assert!(long.len() <= HEADER_BYTES_MAX + 3 && long.ends_with('…'));
    }

    #[test]
    fn the_kind_is_the_last_token() {
        assert_eq!(kind_of("ingest.acme.usage"), "usage");
        assert_eq!(kind_of("ingest.metric"), "metric");
    }
}
