//! A message as a worker sees it: payload, headers and its place in the stream.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;

/// One delivered message. Workers read it; only the runtime can acknowledge it.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
    sequence: u64,
    attempt: u64,
    stored_microseconds: i64,
    backlog: u64,
}

/// What acknowledges a message, kept after its payload has been let go.
#[derive(Debug, Clone)]
pub(crate) struct AckHandle {
    pub(crate) reply: Subject,
}

impl Delivery {
    /// Reads the stream sequence, attempt and time from the reply subject.
    pub(crate) fn new(message: Message) -> Option<Self> {
        let info = message.info().ok()?;
        let nanoseconds = info.published.unix_timestamp_nanos();
        let stored_microseconds = i64::try_from(nanoseconds / 1_000).ok()?;
        let (sequence, attempt, backlog) = (
            info.stream_sequence,
            u64::try_from(info.delivered).unwrap_or(1),
            info.pending,
        );
        Some(Self {
            sequence,
            attempt,
            stored_microseconds,
            backlog,
            message,
        })
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
        self.sequence
    }

    /// 1 for the first delivery.
    #[must_use]
    pub const fn attempt(&self) -> u64 {
        self.attempt
    }

    /// When NATS stored it, in microseconds since 1970.
    #[must_use]
    pub const fn stored_microseconds(&self) -> i64 {
        self.stored_microseconds
    }

    /// How many messages of the stream wait behind it for this durable.
    #[must_use]
    pub const fn backlog(&self) -> u64 {
        self.backlog
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
