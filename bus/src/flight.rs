//! One flight: publish, await every PubAck, then acknowledge what it came from.
//!
//! With the end of `stage.rs` and `writer.rs` this is the only code that acknowledges. A flight
//! that cannot be published within the retry policy sends its messages back for redelivery;
//! what it may already have published is deduplicated by whoever stores it.

use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, context::PublishErrorKind};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use schemas::headers;
use tokio::time::Instant;

use crate::context::{ACK_TIMEOUT, Context};
use crate::dead::Addressed;
use crate::delivery::{AckHandle, Delivery};
use crate::error::{Source, chain};
use crate::outbox::{BATCH_BYTES_MAX, Batch, Notice, Single};
use crate::publish::answer;
use crate::retry::Policy;

/// A flight of so many messages starts at once.
const MESSAGES_MAX: usize = 512;

/// One message to publish.
#[derive(Debug, Clone)]
struct Outgoing {
    subject: Subject,
    headers: HeaderMap,
    payload: Bytes,
    /// Whether it counts as published only when a stream has it.
    stored: bool,
}

/// Messages to publish and the messages to settle once all of them are stored.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    outgoing: Vec<Outgoing>,
    acks: Vec<AckHandle>,
    terms: Vec<AckHandle>,
    events: u64,
    dead: usize,
    single_bytes: usize,
}

impl Flight {
    /// Adds a batch of canonical events.
    pub(crate) fn batch(&mut self, batch: Batch, epoch: &str) {
        let mut map = HeaderMap::new();
        map.insert(headers::CONTENT_TYPE, headers::NDJSON);
        map.insert(headers::ORIGINS, batch.origins.to_string());
        map.insert(headers::COUNT, batch.count.to_string());
        map.insert(headers::EPOCH, epoch);
        self.events += batch.count;
        self.outgoing.push(Outgoing {
            subject: Subject::from_static(batch.subject),
            headers: map,
            payload: Bytes::from(batch.lines),
            stored: true,
        });
    }

    /// Adds the one message that `stage` made from a message of the stream with `epoch`.
    pub(crate) fn single(&mut self, stage: &str, epoch: &str, delivery: &Delivery, single: Single) {
        let sequence = delivery.sequence();
        let mut map = HeaderMap::new();
        map.insert(
            async_nats::header::NATS_MESSAGE_ID,
            format!("{stage}:{epoch}:{sequence}"),
        );
        map.insert(headers::CONTENT_TYPE, headers::NDJSON);
        for name in [headers::ORIGINS, headers::EPOCH] {
            if let Some(value) = delivery.header(name) {
                map.insert(name, value);
            }
        }
        map.insert(headers::EVENTS_SEQUENCE, sequence.to_string());
        map.insert(headers::EVENTS_EPOCH, epoch);
        self.single_bytes += single.payload.len();
        self.outgoing.push(Outgoing {
            subject: Subject::from_static(single.subject),
            headers: map,
            payload: single.payload,
            stored: true,
        });
    }

    /// Adds a message that has its id.
    pub(crate) fn notice(&mut self, notice: Notice) {
        let mut map = HeaderMap::new();
        map.insert(async_nats::header::NATS_MESSAGE_ID, notice.id);
        self.single_bytes += notice.payload.len();
        self.outgoing.push(Outgoing {
            subject: notice.subject.into(),
            headers: map,
            payload: notice.payload,
            stored: notice.stored,
        });
    }

    /// Whether it is time to start without waiting for more.
    pub(crate) fn is_due(&self) -> bool {
        self.single_bytes >= BATCH_BYTES_MAX || self.outgoing.len() >= MESSAGES_MAX
    }

    /// Adds a dead letter.
    pub(crate) fn dead(&mut self, letter: Addressed) {
        self.dead += 1;
        self.outgoing.push(Outgoing {
            subject: letter.subject.into(),
            headers: letter.headers,
            payload: letter.payload,
            stored: true,
        });
    }

    /// Gives every message without an id one of its own, so that publishing it again stores it once.
    pub(crate) fn number(&mut self, prefix: &str) {
        for (at, outgoing) in self.outgoing.iter_mut().enumerate() {
            if outgoing
                .headers
                .get(async_nats::header::NATS_MESSAGE_ID)
                .is_none()
            {
                outgoing
                    .headers
                    .insert(async_nats::header::NATS_MESSAGE_ID, format!("{prefix}:{at}"));
            }
        }
    }

    /// This message is done once the flight has landed.
    pub(crate) fn ack(&mut self, handle: AckHandle) {
        self.acks.push(handle);
    }

    /// This message's dead letter is in the flight: no redelivery once it has landed.
    pub(crate) fn term(&mut self, handle: AckHandle) {
        self.terms.push(handle);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.terms.is_empty() && self.outgoing.is_empty()
    }

    /// Publishes and settles; says whether it landed. What cannot be published is sent back.
    pub(crate) async fn fly(self, context: Context) -> bool {
        match publish(&context, &self.outgoing, [&self.acks, &self.terms]).await {
            Ok(()) => {
                context.set_trouble(None);
                context.count(|counters| &counters.published, self.outgoing.len());
                context.count(
                    |counters| &counters.events,
                    usize::try_from(self.events).unwrap_or(usize::MAX),
                );
                context.count(|counters| &counters.dead, self.dead);
                settle(&context, &self.acks, AckKind::Ack).await;
                settle(&context, &self.terms, AckKind::Term).await;
                context.count(|counters| &counters.acked, self.acks.len() + self.terms.len());
                true
            }
            Err(error) => {
                let text = chain(&*error);
                tracing::warn!(
                    worker = context.worker(),
                    messages = self.acks.len(),
                    error = text,
                    "cannot publish; the messages go back to their stream and come again"
                );
                context.set_trouble(Some(format!("cannot publish: {text}")));
                let again = AckKind::Nak(Some(std::time::Duration::from_secs(2)));
                settle(&context, &self.acks, again).await;
                settle(&context, &self.terms, again).await;
                context.count(|counters| &counters.retried, self.acks.len() + self.terms.len());
                false
            }
        }
    }
}

/// Sends one acknowledgement for each handle. A lost one only means a redelivery.
pub(crate) async fn settle(context: &Context, handles: &[AckHandle], kind: AckKind) {
    let payload = Bytes::from(kind);
    for handle in handles {
        if let Err(error) = context
            .client()
            .publish(handle.reply.clone(), payload.clone())
            .await
        {
            tracing::debug!(worker = context.worker(), %error, "acknowledgement not sent; expect a redelivery");
            return;
        }
    }
}

/// Publishes all and awaits all PubAcks, retrying those that failed.
async fn publish(context: &Context, outgoing: &[Outgoing], held: [&[AckHandle]; 2]) -> Result<(), Source> {
    let mut open: Vec<usize> = (0..outgoing.len()).collect();
    let mut delays = Policy::PUBLISH.delays();
    loop {
        let Err(error) = holding(context, held, attempt(context, outgoing, &mut open)).await else {
            return Ok(());
        };
        if error.kind() == PublishErrorKind::MaxPayloadExceeded {
            return Err(error.into());
        }
        let Some(delay) = delays.next() else {
            return Err(error.into());
        };
        tracing::debug!(
            worker = context.worker(),
            open = open.len(),
            error = chain(&error),
            "publishing again"
        );
        context.set_trouble(Some(format!("waiting to publish: {}", chain(&error))));
        // We still hold them: no redelivery to others meanwhile.
        for handles in held {
            settle(context, handles, AckKind::Progress).await;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = context.shutdown().cancelled() => tokio::time::sleep(delay.min(std::time::Duration::from_millis(200))).await,
        }
    }
}

/// Tells the server meanwhile, in good time, that we still hold the messages: no redelivery to others.
async fn holding<T>(context: &Context, held: [&[AckHandle]; 2], work: impl Future<Output = T>) -> T {
    let interval =
        std::time::Duration::from_secs(context.streams_config().ack_wait_seconds.max(1).into()) / 2;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(interval) => {
                for handles in held {
                    settle(context, handles, AckKind::Progress).await;
                }
            }
        }
    }
}

/// One attempt at everything still open; the acknowledged ones leave `open`.
async fn attempt(
    context: &Context,
    outgoing: &[Outgoing],
    open: &mut Vec<usize>,
) -> Result<(), PublishError> {
    let connects = context.connections();
    let mut waiting: Vec<(usize, PublishAckFuture)> = Vec::with_capacity(open.len());
    let mut failed = None;
    // First those that no stream has to store: the acknowledgement of a later one says that the server has them.
    open.sort_by_key(|at| outgoing[*at].stored);
    for at in std::mem::take(open) {
        let message = &outgoing[at];
        if !message.stored {
            // Without a reply: whoever listens there acknowledges nothing.
            let (subject, headers) = (message.subject.clone(), message.headers.clone());
            let sent = context
                .client()
                .publish_with_headers(subject, headers, message.payload.clone());
            if sent.await.is_err() {
                open.push(at);
                failed = Some(PublishErrorKind::Other.into());
            }
            continue;
        }
        let publish = PublishMessage::build()
            .payload(message.payload.clone())
            .headers(message.headers.clone());
        match context
            .jetstream()
            .send_publish(message.subject.clone(), publish)
            .await
        {
            Ok(future) => waiting.push((at, future)),
            Err(error) => {
                open.push(at);
                failed = Some(error);
            }
        }
    }
    // One deadline for all: each of them waits for as long again, one after another, if it may.
    let mut deadline = Instant::now() + ACK_TIMEOUT;
    for (at, future) in waiting {
        match answer(context, connects, &mut deadline, future).await {
            Ok(_) => {}
            Err(error) => {
                open.push(at);
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
