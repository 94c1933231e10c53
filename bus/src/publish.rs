//! Publishing single messages: acknowledged, pipelined, or live.

use async_nats::header::{HeaderName, HeaderValue};
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use tokio::time::Instant;

use crate::context::{ACK_TIMEOUT, CONNECTION_INTERVAL, Context};
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

    /// Publishes one message with headers into a stream, once, and waits for its acknowledgement: for who tells the
    /// sender at once what became of it. `message_id` makes trying again safe.
    ///
    /// # Errors
    /// [`Error::NotStored`]: the server says no. [`Error::NotAcknowledged`]: the message may or may not be stored.
    pub async fn publish_message(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: Bytes,
        message_id: Option<&str>,
    ) -> Result<Stored> {
        let mut message = PublishMessage::build().payload(payload);
        for (name, value) in headers {
            let header = name.parse::<HeaderName>().ok().zip(value.parse::<HeaderValue>().ok());
            let (name, value) = header.ok_or_else(|| Error::NotStored {
                subject: subject.to_owned(),
                reason: format!("its header {name} cannot be written"),
            })?;
            message = message.header(name, value);
        }
        if let Some(id) = message_id {
            message = message.message_id(id);
        }
        let connects = self.connections();
        let mut deadline = Instant::now() + ACK_TIMEOUT;
        let sent = match self.jetstream().send_publish(subject.to_owned(), message).await {
            Ok(future) => answer(self, connects, &mut deadline, future).await,
            Err(error) => Err(error),
        };
        let ack = sent.map_err(|error| unsuccessful(subject, error))?;
        Ok(Stored {
            stream: ack.stream,
            sequence: ack.sequence,
            duplicate: ack.duplicate,
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

/// Tells a refusal, after which the message is not stored, from silence.
fn unsuccessful(subject: &str, error: PublishError) -> Error {
    let subject = subject.to_owned();
    let said = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<jetstream::Error>());
    let reason = match (error.kind(), said) {
        (_, Some(said)) => said.to_string(),
        (PublishErrorKind::StreamNotFound, None) => "no stream takes it".to_owned(),
        (PublishErrorKind::MaxPayloadExceeded, None) => "it is larger than the server's max_payload".to_owned(),
        _ => {
            return Error::NotAcknowledged {
                subject,
                source: error.into(),
            };
        }
    };
    Error::NotStored { subject, reason }
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

/// The answer to a message, until the deadline; which has come when the connection is another one, because no answer
/// comes on that to what was sent on this.
pub(crate) async fn answer(
    context: &Context,
    connects: u64,
    deadline: &mut Instant,
    future: PublishAckFuture,
) -> std::result::Result<PublishAck, PublishError> {
    let mut future = std::pin::pin!(future.into_future());
    loop {
        let look = (Instant::now() + CONNECTION_INTERVAL).min(*deadline);
        if let Ok(answer) = tokio::time::timeout_at(look, &mut future).await {
            return answer;
        }
        if Instant::now() >= *deadline {
            return Err(PublishErrorKind::TimedOut.into());
        }
        if context.connections() != connects {
            *deadline = Instant::now();
        }
    }
}
