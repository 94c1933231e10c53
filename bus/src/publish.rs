//! Publishing single messages: acknowledged, pipelined, or live.

use async_nats::header::{HeaderName, HeaderValue};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::retry::Policy;

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

    /// Publishes one message with headers into a stream, trying again under its id for some seconds.
    ///
    /// # Errors
    /// A header that cannot be sent, or [`Error::NotAcknowledged`]: the message may or may not be stored.
    pub async fn publish_with_headers(
        &self,
        subject: &str,
        map: &[(String, String)],
        payload: Bytes,
        message_id: &str,
    ) -> Result<Stored> {
        let mut headers = header_map(map).map_err(|name| {
            Error::jetstream(
                format!("sending a message on {subject}"),
                format!("its header {name} cannot be written"),
            )
        })?;
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
        let mut delays = Policy::PUBLISH.delays();
        loop {
            let message = PublishMessage::build()
                .payload(payload.clone())
                .headers(headers.clone());
            let sent = match self.jetstream().send_publish(subject.to_owned(), message).await {
                Ok(future) => future.await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(ack) => {
                    return Ok(Stored {
                        stream: ack.stream,
                        sequence: ack.sequence,
                        duplicate: ack.duplicate,
                    });
                }
                Err(error) => match delays.next() {
                    Some(delay) if error.kind() != PublishErrorKind::MaxPayloadExceeded => {
                        tokio::time::sleep(delay).await;
                    }
                    _ => {
                        return Err(Error::NotAcknowledged {
                            subject: subject.to_owned(),
                            source: error.into(),
                        });
                    }
                },
            }
        }
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

/// The headers as the client has them; or the name of one that cannot be sent.
fn header_map(from: &[(String, String)]) -> std::result::Result<HeaderMap, &str> {
    let mut map = HeaderMap::new();
    for (name, value) in from {
        let header = name
            .parse::<HeaderName>()
            .ok()
            .zip(value.parse::<HeaderValue>().ok());
        let (header, value) = header.ok_or(name.as_str())?;
        map.append(header, value);
    }
    Ok(map)
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
