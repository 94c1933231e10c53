//! Publishers: as fast as acknowledgements come, or at a steady rate.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, context::PublishAckFuture};
use bus::Bytes;

/// One event.
pub const EVENT: &str = r#"{"name":"queue.depth","value":42.5,"source":"agent-7","tags":{"region":"fsn1","model":"opus"},"session":"s-123456","timestamp":"2026-11-20T07:00:00.123Z"}"#;
/// PubAcks awaited at the same time, and the bytes they stand for.
const WINDOW: usize = 4000;
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// A message of so many events: one object, or an array.
pub fn message(events: u64) -> Bytes {
    if events == 1 {
        return Bytes::from_static(EVENT.as_bytes());
    }
    let mut text = String::from("[");
    for at in 0..events {
        let written = write!(text, "{}{EVENT}", if at == 0 { "" } else { "," });
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    Bytes::from(text + "]")
}

pub async fn connect(url: &str) -> anyhow::Result<jetstream::Context> {
    let client = async_nats::ConnectOptions::new()
        .client_capacity(8192)
        .connect(url)
        .await?;
    Ok(jetstream::ContextBuilder::new()
        .max_ack_inflight(WINDOW * 2)
        .ack_timeout(Duration::from_secs(30))
        .build(client))
}

/// Publishes with a window of pending acknowledgements.
pub async fn publish(url: String, messages: u64, payload: Bytes) -> anyhow::Result<()> {
    let jetstream = connect(&url).await?;
    let window = WINDOW.min(WINDOW_BYTES / payload.len()).max(16);
    let mut pending: VecDeque<PublishAckFuture> = VecDeque::with_capacity(window);
    for _ in 0..messages {
        if pending.len() >= window
            && let Some(oldest) = pending.pop_front()
        {
            oldest.await?;
        }
        pending.push_back(jetstream.publish("ingest.metric", payload.clone()).await?);
    }
    for ack in pending {
        ack.await?;
    }
    Ok(())
}

/// Publishes single events at a steady rate until told to stop; says at which moment each sequence was sent.
///
/// What is due within a millisecond is sent together. The moment counts from before the publish.
pub async fn publish_steadily(
    url: String,
    per_second: f64,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<(u64, Instant)>> {
    let jetstream = connect(&url).await?;
    let mut sent = Vec::new();
    let mut pending: VecDeque<(PublishAckFuture, Instant)> = VecDeque::new();
    let started = Instant::now();
    let mut due = 0.0;
    while !stop.load(Ordering::Relaxed) {
        let goal = started.elapsed().as_secs_f64() * per_second;
        while due < goal {
            let at = Instant::now();
            let ack = jetstream.publish("ingest.metric", message(1)).await?;
            pending.push_back((ack, at));
            due += 1.0;
        }
        while pending.len() >= WINDOW
            && let Some((ack, at)) = pending.pop_front()
        {
            sent.push((ack.await?.sequence, at));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for (ack, at) in pending {
        sent.push((ack.await?.sequence, at));
    }
    Ok(sent)
}
