//! Trimming: the streams forget what is durable here, and nothing else.
//!
//! INGEST goes as soon as every message up to a sequence is stored or dead in the database, and nobody may send it
//! again any more: a restarted nats-server knows the ids of those messages only that it still has.
//! EVENTS, ROLLUP, ALERTS, ARCHIVE and DEAD stay `retain_hours` longer, unless they fill up; EVENTS until the
//! aggregates made of it are published and its files are written, ALERTS until its webhooks are called, too. The
//! newest archive job always stays: it fences the next one. Rules that lag further behind than that miss events: an
//! alert a day late is none. The sink alone does this.

use std::sync::Arc;
use std::time::Duration;

use bus::{Context, StreamState, topology};
use schemas::archive::JOB_SUBJECT;

use crate::anchor;
use crate::config::TrimConfig;
use crate::{Monitor, RangeSet, Source};

const MICROSECONDS_PER_HOUR: i64 = 3_600_000_000;

/// INGEST keeps what is durable for the sake of its ids up to this part of its size: the rest is for a backlog.
const INGEST_SHARE: u64 = 4;

/// Messages that INGEST lost, looked at in one round; the next begins behind them.
const GONE_MAX: usize = 64;

/// Trims until the process is to end. A round that fails is tried again by the next.
pub(crate) async fn run(config: TrimConfig, monitor: Arc<Monitor>, limits: Limits, context: Context) {
    let mut ticks = tokio::time::interval(Duration::from_secs(config.interval_seconds.max(1).into()));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = context.shutdown().cancelled() => return,
        }
        if let Err(error) = round(&config, &monitor, &limits, &context).await {
            tracing::debug!(
                worker = "sink",
                error = format!("{error:#}"),
                "streams not trimmed this time"
            );
        }
    }
}

/// Limits of the streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) duplicate_window_microseconds: i64,
    pub(crate) ingest_bytes: u64,
    pub(crate) events_bytes: u64,
    pub(crate) rollup_bytes: u64,
    pub(crate) alerts_bytes: u64,
    pub(crate) dead_bytes: u64,
    pub(crate) archive_bytes: u64,
}

async fn round(
    config: &TrimConfig,
    monitor: &Arc<Monitor>,
    limits: &Limits,
    context: &Context,
) -> anyhow::Result<()> {
    let ingest = context.stream_state(topology::INGEST).await?;
    let acknowledged = context.durable_state(topology::INGEST, "ingest").await?.ack_floor;
    let epoch = ingest.epoch.clone();
    if let Some(problem) = anchor::problem(monitor, context, &ingest).await? {
        anyhow::bail!(problem);
    }
    let accounted = blocking(monitor, move |monitor| monitor.accounted(&epoch)).await?;
    let watermark = accounted_up_to(context, &accounted, &ingest, acknowledged).await?;

    let advisories = context.stream_state(topology::ADVISORY).await?;
    let handled = context.durable_state(topology::ADVISORY, "sink").await?.ack_floor;
    trim(context, topology::ADVISORY, &advisories, handled + 1).await?;

    let now = now_microseconds();
    let mut below = watermark.min(acknowledged) + 1;
    if ingest.bytes < limits.ingest_bytes / INGEST_SHARE {
        let window = now - limits.duplicate_window_microseconds;
        below = below.min(context.sequence_at(&ingest, topology::INGEST, window).await?);
    }
    trim(context, topology::INGEST, &ingest, below).await?;

    let before = now - i64::from(config.retain_hours) * MICROSECONDS_PER_HOUR;
    for (name, source, limit) in [
        (topology::EVENTS, Source::Events, limits.events_bytes),
        (topology::ROLLUP, Source::Rollup, limits.rollup_bytes),
        (topology::ALERTS, Source::Alerts, limits.alerts_bytes),
        (topology::DEAD, Source::Dead, limits.dead_bytes),
        (topology::ARCHIVE, Source::Archive, limits.archive_bytes),
    ] {
        let state = context.stream_state(name).await?;
        if state.messages == 0 {
            continue;
        }
        let durable = durable(monitor, context, source, &state).await?;
        let full = state.bytes > limit / 100 * u64::from(config.full_percent);
        let old = if full {
            middle(&state)
        } else {
            context.sequence_at(&state, name, before).await?
        };
        trim(context, name, &state, old.min(durable + 1)).await?;
    }
    Ok(())
}

/// Up to where every message of INGEST is stored or dead, or gone: what was taken out of it will never be stored. The
/// ledger names it as missing.
async fn accounted_up_to(
    context: &Context,
    accounted: &RangeSet,
    ingest: &StreamState,
    acknowledged: u64,
) -> anyhow::Result<u64> {
    let mut next = accounted.first_absent(ingest.first_sequence.max(1));
    for _ in 0..GONE_MAX {
        let is_settled = next <= acknowledged && context.placed(topology::INGEST, next).await?.is_none();
        if !is_settled {
            break;
        }
        next = accounted.first_absent(next + 1);
    }
    Ok(next - 1)
}

/// Up to where webhooks were called. Their durable reads alerts only: where none waits, what follows the last one
/// holds none.
async fn called(context: &Context, state: &StreamState) -> anyhow::Result<u64> {
    let durable = context.durable_state(topology::ALERTS, "webhook").await?;
    let idle = durable.pending == 0 && durable.ack_pending == 0;
    Ok(if idle {
        state.last_sequence
    } else {
        durable.ack_floor
    })
}

/// Up to which sequence a stream is durable elsewhere, and needed by nobody.
async fn durable(
    monitor: &Arc<Monitor>,
    context: &Context,
    source: Source,
    state: &StreamState,
) -> anyhow::Result<u64> {
    let (epoch, first) = (state.epoch.clone(), state.first_sequence);
    let (checkpoint, archived) = blocking(monitor, move |monitor| {
        let checkpoint = monitor.checkpoint(source, &epoch)?;
        Ok((
            checkpoint,
            monitor.first_unarchived(&epoch, first)?.saturating_sub(1),
        ))
    })
    .await?;
    Ok(match source {
        Source::Events => {
            let rolled_up = context.durable_state(topology::EVENTS, "rollup").await?.ack_floor;
            checkpoint.min(rolled_up).min(archived)
        }
        Source::Archive => {
            let done = context
                .durable_state(topology::ARCHIVE, "archive")
                .await?
                .ack_floor;
            let newest = context.newest(topology::ARCHIVE, JOB_SUBJECT).await?;
            let fence = newest.map_or(u64::MAX, |newest| newest.sequence);
            checkpoint.min(done).min(fence - 1)
        }
        Source::Alerts => checkpoint.min(called(context, state).await?),
        _ => checkpoint,
    })
}

/// A full stream loses its older half, as far as that is durable.
const fn middle(state: &StreamState) -> u64 {
    state.first_sequence + (state.last_sequence - state.first_sequence).div_ceil(2)
}

async fn trim(context: &Context, name: &str, state: &StreamState, below: u64) -> anyhow::Result<()> {
    if below > state.first_sequence && state.messages > 0 {
        let purged = context.trim(name, below).await?;
        tracing::debug!(worker = "sink", stream = name, below, purged, "trimmed");
    }
    Ok(())
}

pub(crate) async fn blocking<T: Send + 'static>(
    monitor: &Arc<Monitor>,
    read: impl FnOnce(&Monitor) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let monitor = monitor.clone();
    tokio::task::spawn_blocking(move || read(&monitor)).await?
}

/// Microseconds since 1970.
pub(crate) fn now_microseconds() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_stream_loses_its_older_half() {
        let state = |first_sequence, last_sequence| StreamState {
            epoch: String::new(),
            first_sequence,
            last_sequence,
            messages: last_sequence - first_sequence + 1,
            bytes: 0,
        };
        assert_eq!(middle(&state(1, 100)), 51);
        assert_eq!(middle(&state(7, 7)), 7);
        assert_eq!(middle(&state(7, 8)), 8);
    }
}
