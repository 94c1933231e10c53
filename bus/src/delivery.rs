//! A message as a worker sees it: payload, headers and its place in the stream.

use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;

/// What the subject begins with on which a delivered message is acknowledged.
pub(crate) const ACK_PREFIX: &str = "$JS.ACK.";

/// One delivered message. Workers read it; only the runtime can acknowledge it.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
    place: Place,
}

/// What the reply subject says about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) attempt: u64,
    pub(crate) sequence: u64,
    /// Of this consumer's deliveries, from 1.
    pub(crate) delivery: u64,
    pub(crate) stored_microseconds: i64,
    /// Messages behind it.
    pub(crate) pending: u64,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<attempt>.<sequence>.<delivery>.<nanoseconds>.<pending>`, or the longer form of
    /// servers that say a domain and an account before the stream (ADR-15).
    pub(crate) fn read(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix(ACK_PREFIX)?;
        let mut tokens = [""; 10];
        let mut count = 0;
        for token in rest.split('.').take(tokens.len()) {
            tokens[count] = token;
            count += 1;
        }
        let at = match count {
            7 => 2,
            9.. => 4,
            _ => return None,
        };
        let number = |offset: usize| tokens[at + offset].parse::<u64>().ok();
        Some(Self {
            attempt: number(0)?,
            sequence: number(1)?,
            delivery: number(2)?,
            stored_microseconds: i64::try_from(number(3)? / 1000).ok()?,
            pending: number(4)?,
        })
    }
}

/// What acknowledges a message, kept after its payload has been let go.
#[derive(Debug, Clone)]
pub(crate) struct AckHandle {
    pub(crate) reply: Subject,
}

impl Delivery {
    /// Reads the stream sequence, attempt and time from the reply subject.
    pub(crate) fn new(message: Message) -> Option<Self> {
        let place = Place::read(message.reply.as_ref()?)?;
        Some(Self { message, place })
    }

    pub(crate) fn ack_handle(&self) -> Option<AckHandle> {
        Some(AckHandle {
            reply: self.message.reply.clone()?,
        })
    }

    /// The subject it was published on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// The body.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// The stream sequence.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.place.sequence
    }

    /// 1 for the first delivery.
    #[must_use]
    pub const fn attempt(&self) -> u64 {
        self.place.attempt
    }

    /// When NATS stored it, in microseconds since 1970.
    #[must_use]
    pub const fn stored_microseconds(&self) -> i64 {
        self.place.stored_microseconds
    }

    /// How many messages of the stream wait behind it for this durable.
    #[must_use]
    pub const fn backlog(&self) -> u64 {
        self.place.pending
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message
            .headers
            .as_ref()?
            .get(name)
            .map(|value| value.as_str())
    }

    /// All headers, in no particular order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.header_map())
    }

    pub(crate) fn header_map(&self) -> Option<&HeaderMap> {
        self.message.headers.as_ref()
    }

    /// Bytes it holds in memory, for limits.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.message.length
    }
}

/// Names and values, in no particular order.
pub(crate) fn pairs(headers: Option<&HeaderMap>) -> impl Iterator<Item = (&str, &str)> {
    headers.into_iter().flat_map(|headers| {
        headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str())))
    })
}

/// Why a stage could not process a message.
#[derive(Debug)]
pub enum Failure {
    /// Try again later: redelivered after the delay, dead-lettered after [`ATTEMPTS_MAX`].
    Retry {
        /// Not before.
        after: Duration,
        /// What is in the way.
        reason: String,
    },
    /// It can never succeed: dead letter, then term.
    Reject {
        /// The place, problem and fix.
        rejection: schemas::Rejection,
    },
    /// The worker itself cannot go on.
    Fatal(anyhow::Error),
}

/// After so many failed attempts a message that asks for a retry is dead-lettered.
pub const ATTEMPTS_MAX: u64 = 5;

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Retry {
            after: Duration::from_secs(1),
            reason: format!("{:#}", error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_knows_its_place_in_both_forms() {
        let place = Place {
            attempt: 2,
            sequence: 1001,
            delivery: 1007,
            stored_microseconds: 1_795_158_001_000_123,
            pending: 42,
        };
        let short = "$JS.ACK.INGEST.ingest.2.1001.1007.1795158001000123456.42";
        let long = "$JS.ACK._.hAsh.INGEST.ingest.2.1001.1007.1795158001000123456.42";
        assert_eq!(Place::read(short), Some(place));
        assert_eq!(Place::read(long), Some(place));
        assert_eq!(Place::read(&format!("{long}.token")), Some(place));
        for bad in [
            "_INBOX.1",
            "$JS.ACK.INGEST.ingest.2.1001",
            "$JS.ACK.INGEST.ingest.2.x.1007.1.42",
            "$JS.FC.INGEST.ingest.x",
        ] {
            assert_eq!(Place::read(bad), None, "{bad}");
        }
    }
}
