//! Pulling from a durable: bounded requests, each watched by heartbeats.
//!
//! The client library has a stream for this. It copies a context for every message, which was a twelfth of what
//! ingest and the sink cost, and takes a stored message whose headers begin with a status for a word of the
//! server. Here a message is what names its place in a stream, and everything else is the server's. Whatever else
//! goes wrong with a request ends in silence; silence ends the pull, and its owner opens it again.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::{Client, HeaderMap, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::Instant;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::source::Input;

/// A request ends after this time, and is replaced by another.
const EXPIRES: Duration = Duration::from_secs(30);
/// So often the server says that a request without messages still stands.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Two heartbeats are missing.
const SILENCE: Duration = Duration::from_secs(11);
/// So often it is seen whether the connection is a new one: the server has forgotten our requests then.
const LOOK: Duration = Duration::from_millis(250);

/// Why a pull ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// By the operator, or with its stream.
    #[error("the durable was deleted")]
    Deleted,
    /// Nothing answers for the stream.
    #[error("no server answers for the stream")]
    NoResponders,
    /// The server cannot do what was asked.
    #[error("the server refuses the request")]
    Refused,
    /// Neither messages nor heartbeats.
    #[error("nothing came from the server, not even a heartbeat")]
    Silent,
    /// The connection was given up.
    #[error("the subscription ended")]
    Ended,
    /// Sequences went back.
    #[error("its messages start anew")]
    Anew,
}

/// An open pull.
pub(crate) struct Pull {
    client: Client,
    subscriber: Subscriber,
    inbox: Subject,
    next: Subject,
    request: Bytes,
    input: Input,
    /// Asked for and neither delivered nor given back.
    messages: usize,
    bytes: usize,
    /// How often the client had connected when we last asked.
    connects: u64,
    heard: Instant,
    /// Why it ended, to be told after the messages that came before.
    lost: Option<Lost>,
}

impl Pull {
    /// Opens one.
    pub(crate) async fn open(context: &Context, input: Input) -> Result<Self> {
        let what = || format!("opening durable {}/{}", input.stream, input.durable);
        let request = serde_json::to_vec(&pull::BatchConfig {
            batch: input.pull_messages,
            max_bytes: input.pull_bytes,
            expires: Some(EXPIRES),
            idle_heartbeat: HEARTBEAT,
            ..pull::BatchConfig::default()
        })
        .map_err(|error| Error::jetstream(what(), error))?;
        let client = context.client().clone();
        let inbox = Subject::from(client.new_inbox());
        let subscriber = client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        Ok(Self {
            next: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", input.stream, input.durable).into(),
            request: request.into(),
            messages: 0,
            bytes: 0,
            connects: client.statistics().connects.load(Relaxed),
            heard: Instant::now(),
            lost: None,
            client,
            subscriber,
            inbox,
            input,
        })
    }

    /// The next messages: waits for one, takes as many more as are there. Nothing is lost when it is dropped.
    pub(crate) async fn chunk(&mut self, messages_max: usize) -> Result<Vec<Message>, Lost> {
        let first = self.wait().await?;
        let mut chunk = Vec::with_capacity(messages_max.min(64));
        chunk.push(first);
        while chunk.len() < messages_max {
            match self.subscriber.next().now_or_never() {
                // The next wait says what ended it.
                None | Some(None) => break,
                Some(Some(message)) => match self.take(message) {
                    Ok(message) => chunk.extend(message),
                    Err(lost) => {
                        self.lost = Some(lost);
                        break;
                    }
                },
            }
        }
        Ok(chunk)
    }

    /// One after the other.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Message, Lost>> + Send {
        futures_util::stream::unfold(self, |mut pull| async move {
            let message = pull.wait().await;
            Some((message, pull))
        })
    }

    async fn wait(&mut self) -> Result<Message, Lost> {
        if let Some(lost) = self.lost.take() {
            return Err(lost);
        }
        loop {
            if self.messages <= self.input.pull_messages / 2 || self.bytes <= self.input.pull_bytes / 2 {
                self.ask().await?;
            }
            match tokio::time::timeout(LOOK, self.subscriber.next()).await {
                Ok(Some(message)) => {
                    if let Some(message) = self.take(message)? {
                        return Ok(message);
                    }
                }
                Ok(None) => return Err(Lost::Ended),
                Err(_) => self.listen()?,
            }
        }
    }

    /// Another request, beside what is left of the one before.
    async fn ask(&mut self) -> Result<(), Lost> {
        self.client
            .publish_with_reply(self.next.clone(), self.inbox.clone(), self.request.clone())
            .await
            .map_err(|_| Lost::Ended)?;
        self.messages += self.input.pull_messages;
        self.bytes += self.input.pull_bytes;
        Ok(())
    }

    /// Nothing came for a moment.
    fn listen(&mut self) -> Result<(), Lost> {
        let connects = self.client.statistics().connects.load(Relaxed);
        if connects != self.connects {
            self.connects = connects;
            (self.messages, self.bytes) = (0, 0);
            self.heard = Instant::now();
        }
        if self.heard.elapsed() > SILENCE {
            return Err(Lost::Silent);
        }
        Ok(())
    }

    /// A message of the stream; or notes what the server says.
    fn take(&mut self, message: Message) -> Result<Option<Message>, Lost> {
        self.heard = Instant::now();
        if is_delivery(&message) {
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(message.length);
            return Ok(Some(message));
        }
        match message.status {
            None | Some(StatusCode::IDLE_HEARTBEAT) => return Ok(None),
            Some(StatusCode::NO_RESPONDERS) => return Err(Lost::NoResponders),
            Some(_) => {}
        }
        let description = message.description.as_deref().unwrap_or_default();
        if description.eq_ignore_ascii_case("Consumer Deleted") {
            return Err(Lost::Deleted);
        }
        if description == "Consumer is push based" || description.starts_with("Exceeded MaxRequest") {
            return Err(Lost::Refused);
        }
        // The end of a request: what it did not use.
        let left = |name: &str, all: usize| {
            let value = message.headers.as_ref().and_then(|map: &HeaderMap| map.get(name));
            value.and_then(|value| value.as_str().parse().ok()).unwrap_or(all)
        };
        let messages = left("Nats-Pending-Messages", self.input.pull_messages);
        let bytes = left("Nats-Pending-Bytes", self.input.pull_bytes);
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(None)
    }
}

/// Whether it is a message of a stream, whatever its headers say.
fn is_delivery(message: &Message) -> bool {
    let reply = message.reply.as_ref();
    reply.is_some_and(|reply| reply.starts_with(crate::delivery::ACK_PREFIX))
}
