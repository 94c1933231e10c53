//! Publishing single messages: acknowledged, pipelined, or live.

use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;

use crate::context::Context;
use crate::error::{Error, Result};

/// Where an acknowledged message ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The stream.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Already there under the same `Nats-Msg-Id`.
    pub duplicate: bool,
}

impl Context {
    /// Publishes one message into a stream and waits for its acknowledgement.
    ///
    /// # Errors
    /// [`Error::NotAcknowledged`]: the message may or may not be stored.
    pub async fn publish(&self, subject: &str, payload: Bytes) -> Result<Stored> {
        self.publish_pipelined(subject, payload, None).await?.wait().await
    }

    /// Sends one message into a stream; the answer waits in [`PendingAck`].
    ///
    /// A message sent again under the same id within the stream's duplicate window is stored once.
    ///
    /// # Errors
    /// When it could not be sent.
    pub async fn publish_pipelined(
        &self,
        subject: &str,
        payload: Bytes,
        message_id: Option<&str>,
    ) -> Result<PendingAck> {
        let mut message = PublishMessage::build().payload(payload);
        if let Some(id) = message_id {
            message = message.message_id(id);
        }
        let future = self
            .jetstream()
            .send_publish(subject.to_owned(), message)
            .await
            .map_err(|error| Error::NotAcknowledged {
                subject: subject.to_owned(),
                source: error.into(),
            })?;
        Ok(PendingAck {
            subject: subject.to_owned(),
            future,
        })
    }

    /// Publishes one message into a stream, provided that `expected_sequence` is still the stream's newest on this
    /// subject (0: there is none). `None`: somebody else was faster. Of two who try, one wins: no lease is needed.
    ///
    /// # Errors
    /// [`Error::NotAcknowledged`]: the message may or may not be stored; look at the newest one.
    pub async fn publish_expecting(
        &self,
        subject: &str,
        payload: Bytes,
        expected_sequence: u64,
    ) -> Result<Option<Stored>> {
        let failed = |error: jetstream::context::PublishError| Error::NotAcknowledged {
            subject: subject.to_owned(),
            source: error.into(),
        };
        let message = PublishMessage::build()
            .payload(payload)
            .expected_last_subject_sequence(expected_sequence);
        let sent = self.jetstream().send_publish(subject.to_owned(), message).await;
        match sent.map_err(failed)?.await {
            Ok(ack) => Ok(Some(Stored {
                stream: ack.stream,
                sequence: ack.sequence,
                duplicate: ack.duplicate,
            })),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Publishes without waiting and without a stream: for live messages nobody must have.
    ///
    /// # Errors
    /// When the connection's buffer is gone.
    pub async fn publish_live(&self, subject: &str, payload: Bytes) -> Result<()> {
        self.client()
            .publish(subject.to_owned(), payload)
            .await
            .map_err(|error| Error::NotAcknowledged {
                subject: subject.to_owned(),
                source: error.into(),
            })
    }
}

/// The acknowledgement of one published message, still on its way.
#[derive(Debug)]
pub struct PendingAck {
    subject: String,
    future: jetstream::context::PublishAckFuture,
}

impl PendingAck {
    /// Waits for it.
    ///
    /// # Errors
    /// [`Error::NotAcknowledged`]: the message may or may not be stored.
    pub async fn wait(self) -> Result<Stored> {
        let ack = self.future.await.map_err(|error| Error::NotAcknowledged {
            subject: self.subject,
            source: error.into(),
        })?;
        Ok(Stored {
            stream: ack.stream,
            sequence: ack.sequence,
            duplicate: ack.duplicate,
        })
    }
}
