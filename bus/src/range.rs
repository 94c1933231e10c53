//! Reading a part of a stream once more, without a durable: nothing is acknowledged, nobody is disturbed.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::context::Context;
use crate::delivery::Delivery;
use crate::error::{Error, Result};

/// Messages and bytes asked for at once.
const FETCH_MESSAGES: usize = 500;
const FETCH_BYTES: usize = 8 * 1024 * 1024;
/// The server forgets a reader that went away.
const INACTIVE: Duration = Duration::from_secs(30);

/// The messages of a stream between two sequences, both included, in order. Complete or an error: a message that
/// was lost on the way is noticed. Sequences that the stream no longer has are passed over.
pub struct Range {
    what: String,
    consumer: PullConsumer,
    batch: pull::Batch,
    fetched: usize,
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
        let batch = fetch(&consumer, &what).await?;
        Ok(Range {
            what,
            consumer,
            batch,
            fetched: 0,
            delivered: 0,
            last,
        })
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

async fn fetch(consumer: &PullConsumer, what: &str) -> Result<pull::Batch> {
    let fetched = consumer
        .fetch()
        .max_messages(FETCH_MESSAGES)
        .max_bytes(FETCH_BYTES)
        .messages()
        .await;
    fetched.map_err(|error| Error::jetstream(what.to_owned(), error))
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
        loop {
            match self.batch.next().await {
                Some(Ok(message)) => {
                    self.fetched += 1;
                    return self.check(message);
                }
                Some(Err(error)) => return Err(Error::jetstream(self.what.clone(), error.to_string())),
                None if self.fetched == 0 => return Ok(None),
                None => {
                    self.fetched = 0;
                    self.batch = fetch(&self.consumer, &self.what).await?;
                }
            }
        }
    }

    fn check(&mut self, message: async_nats::jetstream::Message) -> Result<Option<Delivery>> {
        let number = message
            .info()
            .map(|info| info.consumer_sequence)
            .unwrap_or_default();
        self.delivered += 1;
        if number != self.delivered {
            let problem = format!("message {} was lost on the way", self.delivered);
            return Err(Error::jetstream(self.what.clone(), problem));
        }
        Ok(Delivery::new(message).filter(|delivery| delivery.sequence() <= self.last))
    }
}
