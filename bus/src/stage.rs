//! The stage runtime: fetch → process → publish → await PubAcks → acknowledge, in that order.
//!
//! Any number of copies share one durable. A stage keeps no state that a crash can lose: what it
//! has not published is not acknowledged, so it comes again. Deliberately absent: acknowledging
//! before publishing, and per-message requests of any kind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use futures_util::FutureExt;
use schemas::{Reason, Rejection};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::context::Context;
use crate::dead;
use crate::delivery::{ATTEMPTS_MAX, AckHandle, Delivery, Failure};
use crate::epoch::Life;
use crate::flight::{Flight, settle};
use crate::outbox::Outbox;
use crate::pull::Lost;
use crate::source::{self, Input, Source};
use crate::suspect::{self, BEGUN_MAX, SUSPECT_ATTEMPTS, Suspects};
use crate::topology::HEADROOM_BYTES;
use crate::unreadable;

/// A worker that turns each message into others.
pub trait Stage: Send + Sized + 'static {
    /// Durable, configuration section, span and CLI name.
    const NAME: &'static str;
    /// Its configuration section.
    type Config;

    /// What it reads.
    fn input() -> Input;

    /// Prepares it.
    ///
    /// # Errors
    /// When its configuration cannot work.
    fn start(config: Self::Config, context: &Context) -> anyhow::Result<Self>;

    /// Processes one message. A pure function of the message wherever possible.
    ///
    /// # Errors
    /// See [`Failure`]. What the message put into the outbox is taken back.
    fn process(&mut self, message: &Delivery, out: &mut Outbox) -> Result<(), Failure>;
}

/// How a stage batches.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// A batch waits at most this long for more.
    pub linger_milliseconds: u32,
    /// Batches on their way at the same time; when all are, no more is read.
    pub flights_max: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            linger_milliseconds: 20,
            flights_max: 8,
        }
    }
}

/// Messages taken from the client's buffer at once.
const CHUNK_MESSAGES: usize = 512;

/// Runs a stage until the process is to end.
///
/// # Errors
/// When the stage cannot start or says that it cannot go on.
pub async fn run<S: Stage>(config: S::Config, batch: BatchConfig, context: Context) -> anyhow::Result<()> {
    let stage = S::start(config, &context)?;
    let message_bytes_max = context.max_payload_bytes().saturating_sub(HEADROOM_BYTES);
    let mut runner = Runner {
        stage,
        outbox: Outbox::new(message_bytes_max),
        flight: Flight::default(),
        flights: JoinSet::new(),
        flown: 0,
        epoch: String::new(),
        newest: 0,
        linger: Duration::from_millis(batch.linger_milliseconds.into()),
        flights_max: batch.flights_max.max(1),
        suspects: Suspects::new(&context, S::input()),
        context,
    };
    let context = runner.context.clone();
    tokio::spawn(unreadable::watch(context.clone(), S::input(), S::NAME));
    while let Some(source) = source::persist(&context, || source::open(&context, S::input())).await {
        runner.epoch.clone_from(&source.state.epoch);
        runner.newest = 0;
        let lost = runner.drive(source).await?;
        // Before another epoch may be opened: what was collected belongs to this one.
        runner.launch();
        if let Some(lost) = lost {
            tracing::warn!(worker = S::NAME, reason = %lost, "input lost; opening it again");
        }
    }
    runner.land_all().await;
    Ok(())
}

struct Runner<S> {
    stage: S,
    outbox: Outbox,
    flight: Flight,
    flights: JoinSet<bool>,
    flown: u64,
    epoch: String,
    newest: u64,
    linger: Duration,
    flights_max: usize,
    suspects: Suspects,
    context: Context,
}

impl<S: Stage> Runner<S> {
    /// Works until the input is lost (`Some`) or the process is to end (`None`).
    async fn drive(&mut self, source: Source) -> anyhow::Result<Option<Lost>> {
        let mut life = Life::new(S::input().stream, &source.state);
        let mut pull = source.pull;
        let shutdown = self.context.shutdown().clone();
        let mut deadline = Instant::now();
        loop {
            let waiting = !self.flight.is_empty();
            let room = self.flights.len() < self.flights_max;
            if waiting && room && (self.is_due() || deadline <= Instant::now()) {
                self.launch();
                continue;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(result) = self.flights.join_next(), if !self.flights.is_empty() => landed(result),
                () = tokio::time::sleep_until(deadline), if waiting && room => {}
                chunk = pull.chunk(CHUNK_MESSAGES), if room => {
                    let chunk = match chunk {
                        Ok(chunk) => chunk,
                        Err(lost) => return Ok(Some(lost)),
                    };
                    if !waiting {
                        deadline = Instant::now() + self.linger;
                    }
                    if !life.goes_on(&self.context).await {
                        return Ok(Some(Lost::Anew));
                    }
                    if let Some(lost) = self.take(chunk).await? {
                        return Ok(Some(lost));
                    }
                }
            }
        }
        // Finish what the client already holds: otherwise it waits for its redelivery.
        while let Some(Ok(chunk)) = pull.chunk(CHUNK_MESSAGES).now_or_never() {
            if !life.goes_on(&self.context).await || self.take(chunk).await?.is_some() {
                break;
            }
            self.launch();
        }
        Ok(None)
    }

    /// Processes a chunk; a delivery that goes back ends it.
    async fn take(&mut self, chunk: Vec<async_nats::Message>) -> anyhow::Result<Option<Lost>> {
        self.context.count(|counters| &counters.received, chunk.len());
        let mut backlog = 0;
        let mut suspects = Vec::new();
        for message in chunk {
            let Some(delivery) = Delivery::new(message) else {
                tracing::warn!(
                    worker = S::NAME,
                    "a message without a stream reply was left alone"
                );
                continue;
            };
            if went_back(&delivery, &mut self.newest) {
                return Ok(Some(Lost::Anew));
            }
            backlog = delivery.backlog();
            if delivery.attempt() >= SUSPECT_ATTEMPTS {
                suspects.push(delivery);
                continue;
            }
            self.process(&delivery).await?;
        }
        if !suspects.is_empty() {
            self.process_suspects(suspects).await?;
        }
        self.context.counters().backlog.store(backlog, Relaxed);
        Ok(None)
    }

    /// What was delivered often may be what ends this process: see [`suspect`].
    async fn process_suspects(&mut self, suspects: Vec<Delivery>) -> anyhow::Result<()> {
        let epoch = self.epoch.clone();
        let notes = self.suspects.clone();
        let sorted = notes.sort(&epoch, suspects).await;
        if !sorted.together.is_empty() {
            notes.begin_together(&epoch, &sorted.together).await;
            for delivery in &sorted.together {
                self.process(delivery).await?;
            }
            notes.end_together(&epoch).await;
        }
        for (delivery, begun) in sorted.alone {
            let result = if begun >= BEGUN_MAX {
                let rejection = suspect::killed(S::NAME, begun);
                Err(Failure::Reject { rejection })
            } else {
                notes.begin_alone(&epoch, delivery.sequence(), begun + 1).await;
                let result = self.attempt(&delivery);
                notes.end_alone(&epoch, delivery.sequence()).await;
                result
            };
            self.conclude(&delivery, result).await?;
        }
        Ok(())
    }

    async fn process(&mut self, delivery: &Delivery) -> anyhow::Result<()> {
        let result = self.attempt(delivery);
        self.conclude(delivery, result).await
    }

    /// Calls the stage. Of what failed, nothing is left in the outbox.
    fn attempt(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        let dead_before = self.outbox.dead_count();
        let stage = &mut self.stage;
        let outbox = &mut self.outbox;
        let result = catch_unwind(AssertUnwindSafe(|| stage.process(delivery, outbox)))
            .unwrap_or_else(|_| {
                Err(Failure::Reject {
                    rejection: panicked(S::NAME),
                })
            })
            .and_then(|()| {
                self.outbox
                    .seal(delivery.sequence())
                    .map_err(|rejection| Failure::Reject { rejection })
            });
        if result.is_err() {
            self.outbox.roll_back(dead_before);
        }
        result
    }

    /// Does with a message what its result says.
    async fn conclude(&mut self, delivery: &Delivery, result: Result<(), Failure>) -> anyhow::Result<()> {
        let Some(handle) = delivery.ack_handle() else {
            return Ok(());
        };
        let letters_due = self.outbox.dead_count() > 0;
        match result {
            Ok(()) => {
                if let Some(single) = self.outbox.take_single() {
                    self.flight.single(S::NAME, &self.epoch, delivery, single);
                }
                for notice in self.outbox.take_notices() {
                    self.flight.notice(notice);
                }
                self.flight.ack(handle);
            }
            Err(Failure::Reject { rejection }) => self.bury(delivery, handle, rejection),
            Err(Failure::Retry { after, reason }) => {
                let failures = self.suspects.failed(&self.epoch, delivery).await;
                if failures >= ATTEMPTS_MAX {
                    self.bury(delivery, handle, exhausted(failures, &reason));
                    return Ok(());
                }
                tracing::debug!(
                    worker = S::NAME,
                    sequence = delivery.sequence(),
                    reason,
                    "trying a message again later"
                );
                self.context.count(|counters| &counters.retried, 1);
                settle(&self.context, &[handle], AckKind::Nak(Some(after))).await;
            }
            Err(Failure::Fatal(error)) => return Err(error),
        }
        if letters_due {
            for letter in self.outbox.take_dead() {
                self.flight
                    .dead(dead::address(S::NAME, &self.epoch, delivery, letter));
            }
        }
        if self.is_due() {
            self.make_room().await;
            self.launch();
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.outbox.is_due() || self.flight.is_due()
    }

    fn bury(&mut self, delivery: &Delivery, handle: AckHandle, rejection: Rejection) {
        let letter = dead::whole(delivery, rejection);
        self.flight
            .dead(dead::address(S::NAME, &self.epoch, delivery, letter));
        self.flight.term(handle);
    }

    /// Sends off everything collected.
    fn launch(&mut self) {
        let mut flight = std::mem::take(&mut self.flight);
        for batch in self.outbox.take() {
            flight.batch(batch, &self.epoch);
        }
        if flight.is_empty() {
            return;
        }
        flight.number(&format!("{}:{}", self.context.instance(), self.flown));
        self.flown += 1;
        self.flights.spawn(flight.fly(self.context.clone()));
    }

    /// Waits until another flight may start.
    async fn make_room(&mut self) {
        while self.flights.len() >= self.flights_max {
            if let Some(result) = self.flights.join_next().await {
                landed(result);
            }
        }
    }

    async fn land_all(&mut self) {
        self.launch();
        while let Some(result) = self.flights.join_next().await {
            landed(result);
        }
        self.context.flush().await;
    }
}

fn landed(result: Result<bool, tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!(%error, "a flight ended abnormally; its messages come again");
    }
}

/// First deliveries come in order. One that goes back means that the stream or durable was made anew
/// under us, perhaps with another epoch: what is open must not be trusted with it.
pub(crate) const fn went_back(delivery: &Delivery, newest: &mut u64) -> bool {
    if delivery.attempt() > 1 {
        return false;
    }
    let back = delivery.sequence() <= *newest;
    *newest = delivery.sequence();
    back
}

pub(crate) fn exhausted(attempts: u64, reason: &str) -> Rejection {
    Rejection {
        reason: Reason::RetriesExhausted,
        place: "payload".into(),
        problem: format!("failed {attempts} deliveries, the last with: {reason}"),
        fix: "remove the cause, then see `aiai dead replay`".into(),
    }
}

pub(crate) fn panicked(stage: &str) -> Rejection {
    Rejection {
        reason: Reason::WorkerPanicked,
        place: "payload".into(),
        problem: format!("worker {stage} panicked on it"),
        fix: "this is a defect of aiai: please report it with this message; replay it after an update".into(),
    }
}
