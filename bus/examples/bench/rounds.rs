//! The comparisons: a bare relay, ingest and sink, all workers, and messages of many events against one thread.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_nats::jetstream::{self, consumer::PullConsumer};
use futures_util::StreamExt;

use crate::BATCH_EVENTS;
use crate::load::{EVENT, message, publish};
use crate::report::{Cost, Figures};
use crate::world::{Programs, World};

/// A round that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(180);
/// A round of messages of many events has so many times the events of one of single ones.
const BATCHED_TIMES: u64 = 4;

/// One of each.
pub async fn round(programs: &Programs, messages: u64, of: &str, found: &mut Figures) -> anyhow::Result<()> {
    let few = ["ingest", "sink"].map(str::to_owned);
    let said = |what: &str, rate: f64| eprintln!("{of}: {what}: {rate:.0} events/s");
    found.relay.push(Box::pin(relay(messages)).await?);
    said("bare relay", found.relay[found.relay.len() - 1]);
    let (rate, cost) = Box::pin(pipeline(programs, messages, 1, &few)).await?;
    said("ingest and sink", rate);
    found.pipeline.push(rate);
    found.cost = cost;
    let (rate, cost) = Box::pin(pipeline(programs, messages, 1, &programs.workers)).await?;
    said("all workers", rate);
    found.all_workers.push(rate);
    found.memory_megabytes = found.memory_megabytes.max(cost.memory_megabytes);
    let batches = (messages * BATCHED_TIMES / BATCH_EVENTS).max(1);
    let (rate, cost) = Box::pin(pipeline(programs, batches, BATCH_EVENTS, &few)).await?;
    said("messages of many events", rate);
    found.batched.push(rate);
    found.memory_megabytes = found.memory_megabytes.max(cost.memory_megabytes);
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
pub fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// Pulls and acknowledges each message, nothing else. Messages a second.
async fn relay(messages: u64) -> anyhow::Result<f64> {
    let world = World::new().await?;
    let client = async_nats::ConnectOptions::new()
        .subscription_capacity(64 * 1024)
        .client_capacity(8192)
        .connect(world.server.url())
        .await?;
    let consumer: PullConsumer = jetstream::new(client.clone())
        .get_consumer_from_stream("ingest", "INGEST")
        .await?;
    let mut pulled = consumer
        .stream()
        .max_messages_per_batch(2000)
        .expires(Duration::from_secs(30))
        .heartbeat(Duration::from_secs(5))
        .messages()
        .await?;
    let started = Instant::now();
    let publisher = tokio::spawn(publish(world.server.url().to_owned(), messages, message(1)));
    for _ in 0..messages {
        let message = tokio::time::timeout(TIMEOUT, pulled.next())
            .await?
            .context("the subscription ended")??;
        message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
    }
    client.flush().await?;
    publisher.await??;
    Ok(rate(messages, started.elapsed()))
}

/// Until every event is a row. Events a second, and what a event cost the process.
async fn pipeline(
    programs: &Programs,
    messages: u64,
    events: u64,
    workers: &[String],
) -> anyhow::Result<(f64, Cost)> {
    let world = World::new().await?;
    let process = world.run(&programs.aiai, workers).await?;
    let rows = messages * events;
    let processor = process.processor_seconds()?;
    let started = Instant::now();
    let url = world.server.url().to_owned();
    tokio::spawn(publish(url, messages, message(events))).await??;
    world.stored(rows, TIMEOUT).await?;
    let elapsed = started.elapsed();
    #[allow(clippy::cast_precision_loss)]
    let cost = Cost {
        microseconds_an_event: (process.processor_seconds()? - processor) * 1e6 / rows as f64,
        memory_megabytes: process.memory_megabytes("VmHWM")?,
    };
    Ok((rate(rows, elapsed), cost))
}

/// Events a second that one thread parses, appends and commits, without NATS.
pub fn limit(programs: &Programs, events: u64) -> anyhow::Result<f64> {
    let output = Command::new(&programs.throughput)
        .args(["--rate", &events.to_string(), EVENT])
        .output()?;
    ensure!(
        output.status.success(),
        "{} failed: {}",
        programs.throughput.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::str::from_utf8(&output.stdout)?;
    text.trim().parse().with_context(|| format!("not a rate: {text}"))
}
