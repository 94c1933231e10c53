//! Advisories: the server's word that nobody will get a message of a durable any more.
//!
//! It is published once and carries no message. Nearly all of them are our own doing: a message whose dead letter is
//! stored is terminated. Whoever reads them looks whether the message is accounted for; if it is not, because
//! another client terminated it or somebody limited the deliveries of a durable, [`Context::recover`] makes the dead
//! letter that nobody made.

use async_nats::jetstream::stream::RawMessageErrorKind;
use schemas::{Reason, Rejection};
use serde::Deserialize;

use crate::context::Context;
use crate::dead::{self, Original};
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::outbox::DeadLetter;
use crate::unreadable;

/// Subjects of advisories about the durables of a stream.
pub(crate) fn subjects(stream: &str) -> [String; 2] {
    ["MAX_DELIVERIES", "MSG_TERMINATED"].map(|what| format!("$JS.EVENT.ADVISORY.CONSUMER.{what}.{stream}.*"))
}

/// One advisory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Advisory {
    /// The stream.
    pub stream: String,
    /// The durable of it.
    pub consumer: String,
    /// The message's sequence in the stream.
    pub stream_seq: u64,
    /// How often it was delivered.
    #[serde(default)]
    pub deliveries: u64,
    /// Which schema it has: what happened.
    #[serde(rename = "type")]
    kind: String,
}

impl Advisory {
    /// Reads one; none if it is something else.
    #[must_use]
    pub fn read(message: &Delivery) -> Option<Self> {
        serde_json::from_slice(message.payload()).ok()
    }

    /// What the dead letter says that nobody made.
    fn rejection(&self) -> Rejection {
        let Self { stream, consumer, .. } = self;
        if self.kind.ends_with("max_deliver") {
            return Rejection::new(
                Reason::MaxDeliveries,
                "payload",
                format!(
                    "the server gave up after {} deliveries: somebody limited those of durable {stream}/{consumer}",
                    self.deliveries
                ),
                "aiai topology apply, then replay the message",
            );
        }
        Rejection::new(
            Reason::Terminated,
            "payload",
            format!("somebody else than worker {consumer} ended its delivery before it was processed"),
            format!("find out who else reads durable {stream}/{consumer}, then replay the message"),
        )
    }
}

impl Context {
    /// Makes the dead letter of a message that only an advisory knows, from the stream itself, and waits for its
    /// acknowledgement. False: the stream no longer has it.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn recover(&self, advisory: &Advisory) -> Result<bool> {
        let Advisory {
            stream,
            consumer,
            stream_seq: sequence,
            ..
        } = advisory;
        let epoch = self.stream_state(stream).await?.epoch;
        if let Some(buried) =
            unreadable::bury_if_unreadable(self, stream, consumer, &epoch, *sequence).await?
        {
            return Ok(buried);
        }
        let what = || format!("reading message {sequence} of {stream}");
        let handle = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        let message = match handle.get_raw_message(*sequence).await {
            Ok(message) => message,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(false),
            Err(error) => return Err(Error::jetstream(what(), error)),
        };
        let nanoseconds = message.time.unix_timestamp_nanos();
        let original = Original {
            subject: &message.subject,
            sequence: *sequence,
            stored_microseconds: i64::try_from(nanoseconds / 1000).unwrap_or_default(),
            headers: Some(&message.headers),
        };
        let letter = DeadLetter {
            kind: dead::kind_of(&message.subject).to_owned(),
            payload: message.payload.clone(),
            index: None,
            rejection: advisory.rejection(),
        };
        let letter = dead::address_original(consumer, &epoch, &original, letter);
        let subject = letter.subject.clone();
        let failed = |source| Error::NotAcknowledged {
            subject: subject.clone(),
            source,
        };
        let ack = self
            .jetstream()
            .publish_with_headers(letter.subject.clone(), letter.headers, letter.payload)
            .await
            .map_err(|error| failed(error.into()))?;
        ack.await.map_err(|error| failed(error.into()))?;
        self.count(|counters| &counters.dead, 1);
        Ok(true)
    }
}
