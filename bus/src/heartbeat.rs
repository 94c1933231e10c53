//! Heartbeats: every worker says in the bucket `workers` that it lives, and publishes its own
//! figures as metrics through `ingest.metric`, like any agent.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::context::{Context, Counters};
use crate::error::chain;

/// Between two heartbeats.
pub const HEARTBEAT_SECONDS: u64 = 5;
/// Where heartbeats pass, for [`Context::subscribe`]: `$KV.workers.<worker>.<instance>`. An empty body: it left.
pub const SUBJECTS: &str = "$KV.workers.>";
/// A copy that was not heard of for so long is gone.
pub const SILENCE_SECONDS: u64 = crate::topology::HEARTBEAT_TTL_SECONDS;
/// The stream below the bucket.
const STREAM: &str = "KV_workers";
/// Heartbeats between two publications of the worker's own metrics.
const METRICS_EVERY: u64 = 6;

/// What a worker says about itself, under the key `<worker>.<instance>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The worker's name.
    pub worker: String,
    /// This copy: a ULID.
    pub instance: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// aiai's version.
    pub version: String,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What hinders it.
    pub trouble: Option<String>,
    /// Messages; see [`Counters`].
    pub received: u64,
    /// Messages; see [`Counters`].
    pub acked: u64,
    /// Messages; see [`Counters`].
    pub retried: u64,
    /// Messages; see [`Counters`].
    pub dead: u64,
    /// Messages; see [`Counters`].
    pub published: u64,
    /// Events; see [`Counters`].
    pub events: u64,
    /// Messages; see [`Counters`].
    pub backlog: u64,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// This machine's name; `unknown-host` when it has none.
#[must_use]
pub fn host() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown-host".into())
}

/// The heartbeats that are known now, of all workers, with when they were stored (milliseconds since 1970).
///
/// # Errors
/// When the server does not answer.
pub async fn present(context: &Context) -> crate::Result<Vec<(Heartbeat, i64)>> {
    // Of a bucket's stream: it has no epoch.
    let last = context.stream_figures(STREAM).await?.last_sequence;
    let mut beats = Vec::new();
    if last > 0 {
        let mut range = context.range(STREAM, 1, last).await?;
        while let Some(message) = range.next().await? {
            if let Ok(beat) = serde_json::from_slice(message.payload()) {
                beats.push((beat, message.stored_microseconds() / 1000));
            }
        }
    }
    Ok(beats)
}

/// A heartbeat with the figures of now.
#[must_use]
pub fn current(context: &Context, started_ms: u64) -> Heartbeat {
    let Counters {
        received,
        acked,
        retried,
        dead,
        published,
        events,
        backlog,
    } = context.counters();
    Heartbeat {
        worker: context.worker().to_owned(),
        instance: context.instance().to_owned(),
        host: host(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms,
        at_ms: now_ms(),
        trouble: context.trouble(),
        received: received.load(Relaxed),
        acked: acked.load(Relaxed),
        retried: retried.load(Relaxed),
        dead: dead.load(Relaxed),
        published: published.load(Relaxed),
        events: events.load(Relaxed),
        backlog: backlog.load(Relaxed),
    }
}

/// The worker's figures as one array for `ingest.metric`: cumulative since its start.
fn metrics(beat: &Heartbeat) -> Bytes {
    let tags = serde_json::json!({"worker": beat.worker, "instance": beat.instance, "host": beat.host});
    let figures = [
        ("received", beat.received, "cumulative"),
        ("acked", beat.acked, "cumulative"),
        ("retried", beat.retried, "cumulative"),
        ("dead", beat.dead, "cumulative"),
        ("published", beat.published, "cumulative"),
        ("events", beat.events, "cumulative"),
        ("backlog", beat.backlog, "gauge"),
    ];
    let items: Vec<_> = figures
        .iter()
        .map(|(name, value, metric_type)| {
            serde_json::json!({
                "name": format!("aiai.worker.{name}"), "value": value, "metric_type": metric_type,
                "source": format!("aiai/{}", beat.worker), "tags": tags,
            })
        })
        .collect();
    Bytes::from(serde_json::to_vec(&items).unwrap_or_default())
}

/// Beats until the process is to end, then takes the heartbeat back.
pub async fn run(context: Context) {
    let started_ms = now_ms();
    let key = format!("{}.{}", context.worker(), context.instance());
    let mut ticks = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut bucket = None;
    for beat_number in 0_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = context.shutdown().cancelled() => break,
        }
        let beat = current(&context, started_ms);
        if bucket.is_none() {
            bucket = crate::claim::bucket(&context).await.ok();
        }
        if let Some(store) = &bucket {
            let json = Bytes::from(serde_json::to_vec(&beat).unwrap_or_default());
            if let Err(error) = store.put(key.as_str(), json).await {
                tracing::debug!(
                    worker = context.worker(),
                    error = chain(&error),
                    "heartbeat not stored"
                );
                bucket = None;
            }
        }
        if beat_number % METRICS_EVERY == 1
            && let Err(error) = context.publish("ingest.metric", metrics(&beat)).await
        {
            tracing::debug!(
                worker = context.worker(),
                error = chain(&error),
                "own metrics not published"
            );
        }
    }
    if let Some(store) = bucket {
        let _ = tokio::time::timeout(Duration::from_millis(500), store.purge(key.as_str())).await;
    }
}
