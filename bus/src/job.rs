//! The job runtime: take a message → carry it out, however long it takes → publish the report → acknowledge.
//!
//! For work that waits for other things than NATS: files, the network. While a job runs the server is told so,
//! thus nobody else gets it; a copy that dies has its jobs delivered to another. A job may therefore be carried
//! out twice, and must leave the same behind.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use futures_util::StreamExt;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::dead;
use crate::delivery::{ATTEMPTS_MAX, AckHandle, Delivery, Failure};
use crate::epoch::Life;
use crate::error::chain;
use crate::flight::{Flight, settle};
use crate::outbox::Notice;
use crate::source::{self, Input};
use crate::stage::{exhausted, panicked};
use crate::suspect::{self, JOB_BEGUN_MAX, SUSPECT_ATTEMPTS, Suspects};
use crate::unreadable;

/// Between two words to the server that a job is still being carried out: a third of the shortest wait for an
/// acknowledgement in the topology.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// A worker that carries out jobs.
pub trait Job: Send + Sync + 'static {
    /// Named as the stage in dead letters.
    const NAME: &'static str;

    /// What it reads.
    fn input() -> Input;

    /// Carries out one job. Dropped where it waits when the process is to end; the job then comes again.
    ///
    /// # Errors
    /// See [`Failure`]: a job that asks for a retry is a dead letter after [`ATTEMPTS_MAX`].
    fn run(&self, job: &Delivery) -> impl Future<Output = Result<Report, Failure>> + Send;
}

/// What came of a job: published before the job is acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages, with ids that are the same whenever the job is carried out again.
    pub notices: Vec<Notice>,
}

/// Runs up to `concurrency` jobs at the same time, until the process is to end.
///
/// # Errors
/// When a job says that the worker cannot go on.
pub async fn run<J: Job>(job: J, concurrency: usize, context: Context) -> anyhow::Result<()> {
    let job = Arc::new(job);
    let mut input = J::input();
    // What is fetched and not begun would look like being worked on.
    input.pull_messages = input.pull_messages.min(concurrency.max(1));
    tokio::spawn(unreadable::watch(context.clone(), input, J::NAME));
    let suspects = Suspects::new(&context, input);
    while let Some(source) = source::persist(&context, || source::open(&context, input)).await {
        let epoch: Arc<str> = source.state.epoch.as_str().into();
        let mut messages = std::pin::pin!(source.pull.stream());
        let mut life = Life::new(input.stream, &source.state);
        let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
        loop {
            let room = running.len() < concurrency.max(1);
            tokio::select! {
                biased;
                () = context.shutdown().cancelled() => break,
                Some(done) = running.join_next(), if !running.is_empty() => done??,
                message = messages.next(), if room => match message {
                    Some(Ok(_)) if !life.goes_on(&context).await => break,
                    Some(Ok(message)) => {
                        context.count(|counters| &counters.received, 1);
                        if let Some(delivery) = Delivery::new(message) {
                            running.spawn(carry_out(job.clone(), delivery, epoch.clone(), suspects.clone(), context.clone()));
                        }
                    }
                    Some(Err(error)) => {
                        tracing::warn!(worker = J::NAME, reason = chain(&error), "input lost; opening it again");
                        break;
                    }
                    None => break,
                }
            }
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
    }
    context.flush().await;
    Ok(())
}

/// Runs a job, telling the server that it is in work. None: the process is to end.
async fn attempt<J: Job>(
    job: &J,
    delivery: &Delivery,
    handles: &[AckHandle],
    context: &Context,
) -> Option<Result<Report, Failure>> {
    let attempted = std::panic::AssertUnwindSafe(job.run(delivery));
    let mut attempted = std::pin::pin!(futures_util::FutureExt::catch_unwind(attempted));
    let result = loop {
        tokio::select! {
            result = &mut attempted => break result,
            () = context.shutdown().cancelled() => return None,
            () = tokio::time::sleep(PROGRESS_INTERVAL) => settle(context, handles, AckKind::Progress).await,
        }
    };
    Some(result.unwrap_or_else(|_| {
        Err(Failure::Reject {
            rejection: panicked(J::NAME),
        })
    }))
}

/// One job, from its delivery to its acknowledgement.
async fn carry_out<J: Job>(
    job: Arc<J>,
    delivery: Delivery,
    epoch: Arc<str>,
    suspects: Suspects,
    context: Context,
) -> anyhow::Result<()> {
    let Some(handle) = delivery.ack_handle() else {
        return Ok(());
    };
    let handles = [handle.clone()];
    context
        .counters()
        .backlog
        .store(delivery.backlog(), std::sync::atomic::Ordering::Relaxed);
    let is_suspect = delivery.attempt() >= SUSPECT_ATTEMPTS;
    let begun = match is_suspect {
        true => suspects.begun(&epoch, delivery.sequence()).await,
        false => 0,
    };
    let result = if begun >= JOB_BEGUN_MAX {
        let rejection = suspect::killed(J::NAME, begun);
        Some(Err(Failure::Reject { rejection }))
    } else {
        if is_suspect {
            suspects.begin_alone(&epoch, delivery.sequence(), begun + 1).await;
        }
        let result = attempt(&*job, &delivery, &handles, &context).await;
        if is_suspect {
            suspects.end_alone(&epoch, delivery.sequence()).await;
        }
        result
    };
    let Some(result) = result else {
        settle(&context, &handles, AckKind::Nak(None)).await;
        return Ok(());
    };
    let mut flight = Flight::default();
    let rejection = match result {
        Ok(report) => {
            report
                .notices
                .into_iter()
                .for_each(|notice| flight.notice(notice));
            flight.ack(handle);
            flight.fly(context).await;
            return Ok(());
        }
        Err(Failure::Fatal(error)) => return Err(error),
        Err(Failure::Reject { rejection }) => rejection,
        Err(Failure::Retry { after, reason }) => {
            let failures = suspects.failed(&epoch, &delivery).await;
            if failures < ATTEMPTS_MAX {
                tracing::warn!(
                    worker = J::NAME,
                    sequence = delivery.sequence(),
                    reason,
                    "a job is tried again later"
                );
                context.count(|counters| &counters.retried, 1);
                settle(&context, &handles, AckKind::Nak(Some(after))).await;
                return Ok(());
            }
            exhausted(failures, &reason)
        }
    };
    let letter = dead::whole(&delivery, rejection);
    flight.dead(dead::address(J::NAME, &epoch, &delivery, letter));
    flight.number(&format!("{}:{}", context.instance(), delivery.sequence()));
    flight.term(handle);
    flight.fly(context).await;
    Ok(())
}
