//! Planning: looks at EVENTS, the newest job and the sink every few seconds, and publishes the next job.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use bus::{Bytes, Context, StreamState, topology};
use schemas::archive::{COVERAGE_SUBJECT, Coverage, CoverageRequest, JOB_SUBJECT, Job};

use crate::Config;
use crate::plan::{self, Candidate, Known};

/// The sink answers at once, or is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Jobs planned in one round at most: others want to look, too.
const JOBS_PER_ROUND: usize = 64;
/// A job takes at most this share of EVENTS: the stream must never be full before anything is planned.
const STREAM_SHARE: u64 = 16;

/// Under which the worker's health names what planning waits for.
const ABOUT: &str = "plan";

/// A round that failed is tried again so soon, and is trouble when so many failed in a row.
const SOON: Duration = Duration::from_millis(500);
const FAILURES_MIN: u32 = 10;

/// Plans until the process is to end. A round that fails is tried again by the next.
pub(crate) async fn run(config: &Config, context: &Context) {
    let seconds = (config.job_seconds / 10).clamp(1, 10);
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds.into()));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut lost_until = 0;
    let mut failed = 0;
    loop {
        tokio::select! {
            // When everything starts at once, the sink may answer a moment later.
            () = tokio::time::sleep(SOON), if (1..FAILURES_MIN).contains(&failed) => {}
            _ = ticks.tick() => {}
            () = context.shutdown().cancelled() => return,
        }
        let planned = tokio::select! {
            planned = round(config, context, &mut lost_until) => planned,
            () = context.shutdown().cancelled() => return,
        };
        failed = if planned.is_err() { failed + 1 } else { 0 };
        let trouble = planned
            .err()
            .filter(|_| failed >= FAILURES_MIN)
            .map(|error| format!("nothing is planned: {error:#}"));
        if let Some(trouble) = &trouble {
            tracing::debug!(worker = "archive", trouble, "planning");
        }
        context.set_trouble_about(ABOUT, trouble);
    }
}

async fn round(config: &Config, context: &Context, lost_until: &mut u64) -> anyhow::Result<()> {
    let stream = context.stream_state(topology::EVENTS).await?;
    let request = CoverageRequest {
        epoch: stream.epoch.clone(),
        first: 1,
        last: 0,
    };
    let coverage = ask(context, &request).await?;
    let (archived, _) = coverage.ranges().map_err(anyhow::Error::msg)?;
    let share = u64::from(context.streams_config().events_max_megabytes) / STREAM_SHARE;
    let job_bytes = config.job_megabytes.min(share).max(1) * 1024 * 1024;
    let messages = plan::messages_for(job_bytes, stream.bytes, stream.messages, config.job_messages_max);
    for _ in 0..JOBS_PER_ROUND {
        let newest = context.newest(topology::ARCHIVE, JOB_SUBJECT).await?;
        let job = match &newest {
            Some(newest) => Some(Job::read(&newest.payload).map_err(|problem| unreadable(&problem))?),
            None => None,
        };
        let known = Known {
            epoch: &stream.epoch,
            stream_first: stream.first_sequence,
            newest: job.as_ref(),
            checkpoint: coverage.checkpoint,
            archived: archived.clone(),
            messages,
        };
        let Some(next) = plan::next(&known) else { break };
        if !next.is_full && !is_old(config, context, &stream, next.first).await? {
            break;
        }
        say_lost(&next, lost_until);
        let job = Job {
            epoch: stream.epoch.clone(),
            first: next.first,
            last: next.last,
        };
        let body = Bytes::from(serde_json::to_vec(&job)?);
        let fence = newest.map_or(0, |newest| newest.sequence);
        if context
            .publish_expecting(JOB_SUBJECT, body, fence)
            .await?
            .is_none()
        {
            tracing::debug!(worker = "archive", "another copy has planned the job");
        }
    }
    Ok(())
}

fn unreadable(problem: &str) -> anyhow::Error {
    anyhow!(
        "the newest message on {JOB_SUBJECT} is not a job ({problem}): find out who published it, then delete it from \
         ARCHIVE"
    )
}

/// Whether a message waits for long enough.
async fn is_old(
    config: &Config,
    context: &Context,
    stream: &StreamState,
    sequence: u64,
) -> anyhow::Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    let only = StreamState {
        first_sequence: sequence,
        last_sequence: sequence,
        ..stream.clone()
    };
    let before = now - i64::from(config.job_seconds) * 1_000_000;
    Ok(context.sequence_at(&only, topology::EVENTS, before).await? > sequence)
}

fn say_lost(next: &Candidate, lost_until: &mut u64) {
    let Some((from, to)) = next.lost.filter(|(_, to)| to > lost_until) else {
        return;
    };
    *lost_until = to;
    tracing::error!(
        worker = "archive",
        from,
        to,
        "EVENTS was purged by hand before these messages were archived; their rows are only in the database, \
         and stay there"
    );
}

/// Asks the sink.
pub(crate) async fn ask(context: &Context, request: &CoverageRequest) -> anyhow::Result<Coverage> {
    let body = Bytes::from(serde_json::to_vec(request)?);
    let answer = context
        .request(COVERAGE_SUBJECT, "sink", body, ANSWER_TIMEOUT)
        .await?;
    serde_json::from_slice(&answer).context("the sink's answer cannot be read: run the same aiai everywhere")
}
