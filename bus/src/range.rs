//! Reading a part of a stream once more, without a durable: nothing is acknowledged, nobody is disturbed.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::context::Context;
use crate::delivery::{Delivery, Place};
use crate::error::{Error, Result};

/// Messages and bytes asked for at once.
const PULL_MESSAGES: usize = 500;
const PULL_BYTES: usize = 8 * 1024 * 1024;
/// The server says that often that it is there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// What comes no more within this time is lost: with its server, or removed from the stream meanwhile.
const SILENCE: Duration = Duration::from_secs(10);
/// The server forgets a reader that went away.
const INACTIVE: Duration = Duration::from_secs(30);

/// The messages of a stream between two sequences, both included, in order. Complete or an error: a message that
/// was lost on the way is noticed. Sequences that the stream no longer has are passed over.
pub struct Range {
    what: String,
    messages: pull::Stream,
    /// How many are still to come, also behind `last`.
    pending: u64,
    delivered: u64,
    last: u64,
}

/// The newest message on a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// The body.
    pub payload: Bytes,
}

impl Context {
    /// Opens the messages of `stream` from `first` to `last`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn range(&self, stream: &str, first: u64, last: u64) -> Result<Range> {
        self.open_range(stream, first, last, false).await
    }

    /// The same without bodies.
    pub(crate) async fn range_of_headers(&self, stream: &str, first: u64, last: u64) -> Result<Range> {
        self.open_range(stream, first, last, true).await
    }

    async fn open_range(&self, stream: &str, first: u64, last: u64, headers_only: bool) -> Result<Range> {
        let what = format!("reading {stream} from {first} to {last}");
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: first.max(1),
            },
            ack_policy: AckPolicy::None,
            headers_only,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let handle = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(|error| Error::jetstream(what.clone(), error))?;
        let consumer = handle
            .create_consumer(config)
            .await
            .map_err(|error| Error::jetstream(what.clone(), error))?;
        let pending = consumer.cached_info().num_pending;
        let messages = consumer
            .stream()
            .max_messages_per_batch(PULL_MESSAGES)
            .max_bytes_per_batch(PULL_BYTES)
            .expires(Duration::from_secs(30))
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| Error::jetstream(what.clone(), error))?;
        Ok(Range {
            what,
            messages,
            pending,
            delivered: 0,
            last,
        })
    }

    /// The first message of `stream` between two sequences that has all these headers.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn find_by_headers(
        &self,
        stream: &str,
        first: u64,
        last: u64,
        wanted: &[(&str, String)],
    ) -> Result<Option<u64>> {
        let mut range = self.range_of_headers(stream, first, last).await?;
        while let Some(message) = range.next().await? {
            if wanted
                .iter()
                .all(|(name, value)| message.header(name) == Some(value))
            {
                return Ok(Some(message.sequence()));
            }
        }
        Ok(None)
    }

    /// The newest message of `stream` on a subject, if there is one.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn newest(&self, stream: &str, subject: &str) -> Result<Option<Newest>> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound;
        let what = || format!("reading the newest message on {subject}");
        let handle = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        match handle.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(Newest {
                sequence: message.sequence,
                payload: message.payload,
            })),
            Err(error) if error.kind() == NoMessageFound => Ok(None),
            Err(error) => Err(Error::jetstream(what(), error)),
        }
    }
}

impl std::fmt::Debug for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Range");
        shown
            .field("what", &self.what)
            .field("delivered", &self.delivered);
        shown.finish_non_exhaustive()
    }
}

impl Range {
    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// When the server does not answer, or something was lost on the way: read the range again.
    pub async fn next(&mut self) -> Result<Option<Delivery>> {
        if self.pending == 0 {
            return Ok(None);
        }
        let failed = |problem: String| Error::jetstream(self.what.clone(), problem);
        match tokio::time::timeout(SILENCE, self.messages.next()).await {
            Ok(Some(Ok(message))) => self.check(message),
            Ok(Some(Err(error))) => Err(failed(error.to_string())),
            Ok(None) => Err(failed("the subscription ended".to_owned())),
            Err(_) => Err(failed(format!("nothing came for {} s", SILENCE.as_secs()))),
        }
    }

    fn check(&mut self, message: async_nats::jetstream::Message) -> Result<Option<Delivery>> {
        let place = message.reply.as_ref().and_then(|reply| Place::read(reply));
        let (number, pending) = place.map_or((0, 0), |place| (place.delivery, place.pending));
        self.delivered += 1;
        if number != self.delivered {
            let problem = format!("message {} was lost on the way", self.delivered);
            return Err(Error::jetstream(self.what.clone(), problem));
        }
        let delivery = Delivery::new(message.message).filter(|delivery| delivery.sequence() <= self.last);
        let is_last = delivery
            .as_ref()
            .is_none_or(|delivery| delivery.sequence() == self.last);
        self.pending = if is_last { 0 } else { pending };
        Ok(delivery)
    }
}
