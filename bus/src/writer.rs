//! The writer runtime: collect a batch → commit it on a blocking thread → acknowledge.
//!
//! For the one worker that stores. Batches adapt: small soon after the first row when idle, as
//! large as the limits while a commit runs. The writer says where each input continues, because
//! its checkpoint and not the durable's is the truth: on every (re)opening the durable is moved there.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use schemas::Rejection;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::commit::{Collecting, Committed, commit, finished};
use crate::context::{CONNECTION_INTERVAL, Context, DurableState, StreamState};
use crate::dead;
use crate::delivery::{AckHandle, Delivery};
use crate::epoch::Life;
use crate::error::chain;
use crate::flight::{Flight, settle};
use crate::hole::{self, Hole};
use crate::journal::Journal;
use crate::pull::Lost;
use crate::source::{self, Input};
use crate::stage::went_back;
use crate::unreadable;

/// One delivered message with the input it came from.
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub delivery: Delivery,
    /// Index into [`Writer::inputs`].
    pub input: usize,
    /// The epoch of the stream it came from.
    pub epoch: Arc<str>,
}

/// A worker that stores batches.
pub trait Writer: Send + 'static {
    /// Configuration section, span and CLI name.
    const NAME: &'static str;

    /// What it reads.
    fn inputs() -> Vec<Input>;

    /// The sequence beyond which the stream must begin, because the writer has more of it than it has: it was taken from
    /// an older copy, or lost its last moments with the machine's power. What it holds is then deleted, and what is
    /// published from here on is not taken for known.
    fn ahead_of(&self, input: usize, stream: &StreamState) -> Option<u64>;

    /// The stream sequence at which an input continues, from the writer's own checkpoint. Blocking; runs on its own
    /// thread, and may take as long as it needs to get what the stream no longer has from elsewhere. `durable`: how
    /// far it was read, if it is there.
    ///
    /// # Errors
    /// When the writer cannot go on with this stream.
    fn resume(
        &mut self,
        input: usize,
        stream: &StreamState,
        durable: Option<&DurableState>,
    ) -> anyhow::Result<u64>;

    /// Stores a batch in one transaction. Blocking; runs on its own thread.
    ///
    /// # Errors
    /// When nothing was stored.
    fn commit(&mut self, batch: &[Received]) -> Result<Unstored, CommitFailure>;

    /// A file of its own beside the store, in which the runtime notes what is being committed: a batch that ends the
    /// process is then taken apart, and what ends it alone, again and again, becomes a dead letter. None: not noted.
    fn journal(&self) -> Option<PathBuf> {
        None
    }

    /// A message that `commit` returned is a dead letter now.
    fn buried(&mut self, received: &Received);

    /// The lowest sequence of an input that was not processed although a later one was.
    fn hole(&self, input: usize, epoch: &str) -> Option<u64>;

    /// These sequences are not in the stream any more: nobody will ever deliver them.
    fn gone(&mut self, input: usize, epoch: &str, sequences: RangeInclusive<u64>);
}

/// The messages of a batch that were not stored with the others, by index.
#[derive(Debug, Default)]
pub struct Unstored {
    /// They can never be stored: dead letters.
    pub rejected: Vec<(usize, Rejection)>,
    /// They wait for a message of another input: delivered again after [`DEFERRED`].
    pub deferred: Vec<usize>,
}

/// A deferred message comes again after this time. How many there are at a time is bounded by the durable.
const DEFERRED: Duration = Duration::from_secs(1);

/// Why a batch was not stored.
#[derive(Debug)]
pub enum CommitFailure {
    /// The same batch may succeed later; it is kept and tried again.
    Retry(anyhow::Error),
    /// The writer cannot go on without a restart.
    Fatal(anyhow::Error),
    /// The same, and perhaps because of this batch: after the restart it is suspected as one that ended the process.
    Broken(anyhow::Error),
}

/// How a writer batches.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommitConfig {
    /// An idle writer commits this long after the first row.
    pub flush_milliseconds: u32,
    /// Rows in one transaction at most (a single message may exceed it).
    pub rows_max: u64,
    /// Bytes of messages in one transaction at most (a single message may exceed it).
    pub bytes_max: usize,
}

impl Default for CommitConfig {
    fn default() -> Self {
        Self {
            flush_milliseconds: 100,
            rows_max: 50_000,
            bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// Between two looks for holes. One that is there at two looks is looked at closely.
const HOLES_INTERVAL: Duration = Duration::from_secs(5);

type Inputs = SelectAll<futures_util::stream::BoxStream<'static, (usize, Result<async_nats::Message, Lost>)>>;

/// Runs a writer until the process is to end.
///
/// # Errors
/// When the writer's thread dies.
pub async fn run<W: Writer>(writer: W, config: CommitConfig, context: Context) -> anyhow::Result<()> {
    let mut runner = Runner {
        journal: Journal::open(writer.journal().as_deref()),
        writer: Some(writer),
        config,
        context: context.clone(),
        epochs: Vec::new(),
        lives: Vec::new(),
        newest: Vec::new(),
        holes: Vec::new(),
        connects: 0,
        flown: 0,
    };
    for input in W::inputs() {
        tokio::spawn(unreadable::watch(context.clone(), input, W::NAME));
    }
    while !context.shutdown().is_cancelled() {
        let writer = runner
            .writer
            .take()
            .ok_or_else(|| anyhow::anyhow!("the writer is gone"))?;
        runner.connects = context.connections();
        let Some((mut inputs, writer, lives)) = open_all(&context, writer, &mut runner.journal).await? else {
            break;
        };
        runner.writer = Some(writer);
        runner.newest = vec![0; lives.len()];
        runner.holes = vec![None; lives.len()];
        (runner.epochs, runner.lives) = lives.into_iter().unzip();
        if let Some(lost) = runner.drive(&mut inputs).await? {
            tracing::warn!(worker = W::NAME, reason = lost, "input lost; opening it again");
        }
    }
    context.flush().await;
    Ok(())
}

/// An input's epoch, and what watches over it.
type Opened = (Arc<str>, Life);

/// Opens all inputs at the writer's positions; `None` when the process is to end.
async fn open_all<W: Writer>(
    context: &Context,
    mut writer: W,
    journal: &mut Journal,
) -> anyhow::Result<Option<(Inputs, W, Vec<Opened>)>> {
    let mut inputs = Inputs::new();
    let mut lives = Vec::new();
    for (at, input) in W::inputs().into_iter().enumerate() {
        let source = loop {
            let look = || context.stream_state(input.stream);
            let Some(state) = source::persist(context, look).await else {
                return Ok(None);
            };
            if let Some(known) = writer.ahead_of(at, &state) {
                let move_on = || context.trim(input.stream, known + 1);
                if source::persist(context, move_on).await.is_none() {
                    return Ok(None);
                }
                continue;
            }
            let durable = context.durable_state(input.stream, input.durable).await.ok();
            let epoch = state.epoch.clone();
            let resuming = tokio::task::spawn_blocking(move || {
                let sequence = writer.resume(at, &state, durable.as_ref());
                (writer, sequence)
            });
            let (same, sequence) = resuming.await?;
            writer = same;
            let sequence = sequence?;
            journal.resumed(at, &epoch, sequence);
            let open = || async {
                source::rewind(context, input, sequence).await?;
                source::open(context, input).await
            };
            match source::persist(context, open).await {
                None => return Ok(None),
                // Made anew meanwhile: the position is not one of this epoch.
                Some(source) if source.state.epoch != epoch => {}
                Some(source) => break source,
            }
        };
        let life = Life::new(input.stream, &source.state);
        lives.push((Arc::from(source.state.epoch.as_str()), life));
        inputs.push(source.pull.stream().map(move |message| (at, message)).boxed());
    }
    Ok(Some((inputs, writer, lives)))
}

struct Runner<W> {
    writer: Option<W>,
    config: CommitConfig,
    context: Context,
    epochs: Vec<Arc<str>>,
    lives: Vec<Life>,
    newest: Vec<u64>,
    /// The holes of each input at the last look.
    holes: Vec<Option<u64>>,
    journal: Journal,
    /// How often the connection had been made when the inputs were opened.
    connects: u64,
    flown: u64,
}

impl<W: Writer> Runner<W> {
    /// Works until an input is lost (`Some`) or the process is to end (`None`).
    async fn drive(&mut self, inputs: &mut Inputs) -> anyhow::Result<Option<String>> {
        let flush = Duration::from_millis(self.config.flush_milliseconds.into());
        let shutdown = self.context.shutdown().clone();
        let mut collecting = Collecting::default();
        let mut deadline = Instant::now();
        let mut commit: Option<tokio::task::JoinHandle<Committed<W>>> = None;
        let mut lost = None;
        let mut looks = tokio::time::interval(HOLES_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = tokio::time::interval(CONNECTION_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while lost.is_none() {
            let full =
                collecting.is_full(&self.config) || collecting.messages.len() >= self.journal.messages_max();
            let some = !collecting.messages.is_empty();
            if commit.is_none() && some && (full || deadline <= Instant::now()) {
                commit = Some(self.start_commit(std::mem::take(&mut collecting))?);
                continue;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                done = finished(&mut commit), if commit.is_some() => { commit = None; self.finish(done?).await?; }
                () = tokio::time::sleep_until(deadline), if some && commit.is_none() => {}
                // What was on its way on the old connection would come again only after the durable's long wait.
                _ = ticks.tick() => if self.context.connections() != self.connects {
                    lost = Some("the connection is another one".into());
                },
                _ = looks.tick(), if commit.is_none() => lost = self.step_over_holes().await,
                message = inputs.next(), if !full => match message {
                    Some((input, Ok(_))) if !self.lives[input].goes_on(&self.context).await => {
                        lost = Some(format!("{} is not what it was", W::inputs()[input].stream));
                    }
                    Some((input, Ok(message))) => {
                        if !some { deadline = Instant::now() + flush; }
                        if !self.receive(&mut collecting, input, message) {
                            lost = Some("its messages start anew".into());
                        }
                    }
                    Some((_, Err(error))) => lost = Some(chain(&error)),
                    None => lost = Some("the subscription ended".into()),
                }
            }
        }
        // What was collected is stored even when the input is lost: it would only come again.
        if let Some(handle) = commit {
            let done = handle.await?;
            self.finish(done).await?;
        }
        if !collecting.messages.is_empty() {
            let done = self.start_commit(collecting)?.await?;
            self.finish(done).await?;
        }
        Ok(lost)
    }

    /// Looks at holes that stay. `Some`: an input must be opened again to have its message.
    async fn step_over_holes(&mut self) -> Option<String> {
        let Some(writer) = &mut self.writer else {
            return None;
        };
        for (at, input) in W::inputs().into_iter().enumerate() {
            let epoch = self.epochs[at].clone();
            let seen = std::mem::replace(&mut self.holes[at], writer.hole(at, &epoch));
            let Some(sequence) = self.holes[at].filter(|_| self.holes[at] == seen) else {
                continue;
            };
            match hole::look(&self.context, input, sequence).await {
                Ok(Hole::Waiting) => {}
                Ok(Hole::Gone(sequences)) => {
                    tracing::error!(
                        worker = W::NAME,
                        stream = input.stream,
                        from = sequences.start(),
                        to = sequences.end(),
                        "these messages were taken out of the stream before they were stored; going on without them"
                    );
                    self.journal.gone(at, &epoch, &sequences);
                    writer.gone(at, &epoch, sequences);
                }
                Ok(Hole::TakenAway) => {
                    return Some(format!(
                        "message {sequence} of {} was acknowledged by somebody else",
                        input.stream
                    ));
                }
                Err(error) => tracing::debug!(worker = W::NAME, error = chain(&error), "hole not looked at"),
            }
        }
        None
    }

    /// Takes a message; `false` when its input must be opened again.
    fn receive(&mut self, collecting: &mut Collecting, input: usize, message: async_nats::Message) -> bool {
        self.context.count(|counters| &counters.received, 1);
        if let Some(delivery) = Delivery::new(message) {
            if went_back(&delivery, &mut self.newest[input]) {
                return false;
            }
            if input == 0 {
                let backlog = &self.context.counters().backlog;
                backlog.store(delivery.backlog(), std::sync::atomic::Ordering::Relaxed);
            }
            collecting.push(Received {
                delivery,
                input,
                epoch: self.epochs[input].clone(),
            });
        }
        true
    }

    fn start_commit(&mut self, batch: Collecting) -> anyhow::Result<tokio::task::JoinHandle<Committed<W>>> {
        let writer = self
            .writer
            .take()
            .ok_or_else(|| anyhow::anyhow!("a commit is already running"))?;
        let context = self.context.clone();
        let guilty = self.journal.begin(&batch.messages, &W::inputs());
        Ok(tokio::task::spawn_blocking(move || match guilty {
            None => commit(writer, batch, &context),
            Some(rejection) => Committed {
                writer,
                batch,
                unstored: Ok(Unstored {
                    rejected: vec![(0, rejection)],
                    ..Unstored::default()
                }),
                // Until its dead letter is stored.
                is_suspect: true,
            },
        }))
    }

    /// Acknowledges a committed batch.
    async fn finish(&mut self, done: Committed<W>) -> anyhow::Result<()> {
        let mut writer = done.writer;
        if !done.is_suspect {
            self.journal.end(&done.batch.messages, done.unstored.is_ok());
        }
        let unstored = match done.unstored {
            Ok(unstored) => unstored,
            Err(Some(error)) => return Err(error),
            Err(None) => {
                self.writer = Some(writer);
                return Ok(());
            }
        };
        self.context.count(
            |counters| &counters.events,
            usize::try_from(done.batch.rows).unwrap_or(usize::MAX),
        );
        let mut acks: Vec<AckHandle> = Vec::with_capacity(done.batch.messages.len());
        let mut flight = Flight::default();
        let number = self.flown;
        self.flown += 1;
        let mut buried = Vec::new();
        let mut again = Vec::new();
        let mut rejected = unstored.rejected.into_iter().peekable();
        let mut deferred = unstored.deferred.into_iter().peekable();
        for (at, received) in done.batch.messages.iter().enumerate() {
            let Some(handle) = received.delivery.ack_handle() else {
                continue;
            };
            if let Some((_, rejection)) = rejected.next_if(|(index, _)| *index == at) {
                let letter = dead::whole(&received.delivery, rejection);
                flight.dead(dead::address(
                    W::NAME,
                    &received.epoch,
                    &received.delivery,
                    letter,
                ));
                flight.term(handle);
                buried.push(received);
            } else if deferred.next_if_eq(&at).is_some() {
                again.push(handle);
            } else {
                acks.push(handle);
            }
        }
        settle(&self.context, &acks, AckKind::Ack).await;
        self.context.count(|counters| &counters.acked, acks.len());
        settle(&self.context, &again, AckKind::Nak(Some(DEFERRED))).await;
        flight.number(&format!("{}:{number}", self.context.instance()));
        if !flight.is_empty() && flight.fly(self.context.clone()).await {
            buried.into_iter().for_each(|received| writer.buried(received));
            self.journal.end(&done.batch.messages, true);
        }
        self.writer = Some(writer);
        Ok(())
    }
}
