//! The worker: the database core on the bus.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use bus::{CommitFailure, Context, Delivery, DurableState, Input, Received, StreamState, Unstored, topology};
use schemas::alert::{self, Alert, Match};
use schemas::{Reason, Rejection, Time};
use tokio::sync::mpsc;

use crate::accounting::Accountant;
use crate::advisories::{self, Advisories};
use crate::anchor;
use crate::config::{AlertConfig, Config, DATABASE_FILE, RollupConfig};
use crate::guard::Guard;
use crate::resume::Resumption;
use crate::trim::now_microseconds;
use crate::watch::Watcher;
use crate::{Headers, Keeper, Monitor, Source, Store, StoredMessage, answers, keeping, rerate, trim};

/// Alerts of the sink's own on their way, and as many remembered as told.
const ALERTS_MAX: usize = 1024;

/// The sink with its database open.
pub struct Sink {
    config: Config,
    store: Store,
    monitor: Arc<Monitor>,
    keeper: Keeper,
    /// The archive's.
    folder: PathBuf,
}

/// In the order of [`Writer::inputs`](bus::Writer::inputs).
const SOURCES: [Source; 5] = [
    Source::Events,
    Source::Rollup,
    Source::Alerts,
    Source::Dead,
    Source::Archive,
];

impl Sink {
    /// Opens the database in the data folder, and shares the archive's folder with worker archive. Blocking.
    ///
    /// # Errors
    /// When the folder cannot be written or the file is in use, broken or too new.
    pub fn open(config: &Config, data: &Path, archive: &Path) -> anyhow::Result<Self> {
        let store = Store::open(&data.join(DATABASE_FILE), &config.settings(archive))?;
        let monitor = Monitor::open(&store, Time(now_microseconds()))?;
        let keeper = Keeper::open(&store, archive)?;
        let folder = std::path::absolute(archive)?;
        Ok(Self {
            config: config.clone(),
            keeper,
            folder,
            store,
            monitor: Arc::new(monitor),
        })
    }

    /// Stores and answers until the process is to end.
    ///
    /// # Errors
    /// When the database needs a restart, or the service cannot be registered.
    pub async fn run(self, context: Context) -> anyhow::Result<()> {
        let Self {
            config,
            store,
            monitor,
            keeper,
            folder,
        } = self;
        // Two databases on one durable would each get a part of the data.
        let claim = context.claim("sink", &store.id()?).await?;
        refuse_another_past(&monitor, &context).await?;
        let readers = (0..config.query.concurrency.max(1))
            .map(|_| store.reader())
            .collect::<anyhow::Result<Vec<_>>>()
            .context("no connections for queries")?;
        let accountant = Arc::new(Accountant::new(monitor.clone(), context.clone()));
        let mut endpoints = answers::endpoints(
            &config.query,
            readers,
            monitor.clone(),
            accountant.clone(),
            &context,
        );
        let keeper = Arc::new(Mutex::new(keeper));
        endpoints.push(rerate::endpoint(keeper.clone()));
        let trimming = trim::run(
            config.trim.clone(),
            monitor.clone(),
            limits(&context),
            context.clone(),
        );
        let monitor_of_advisories = monitor.clone();
        let (alerts, told) = mpsc::channel(ALERTS_MAX);
        let resumption = Resumption {
            folder,
            raw_days: config.retain.raw_days,
            guard: Guard::new(store.path()),
            shutdown: context.shutdown().clone(),
            opened: Vec::new(),
        };
        let watcher = Watcher::new(Guard::new(store.path()), monitor.clone(), alerts.clone());
        let writer = Writer {
            store,
            monitor,
            rollup: config.rollup.clone(),
            alert: config.alert.clone(),
            alerts: alerts.clone(),
            resumption,
        };
        let writing = bus::writer::run(writer, config.commit.clone(), context.clone());
        let serving = context.serve("query", "SQL and the overview, from DuckDB", endpoints);
        let serving = async { serving.await.map_err(anyhow::Error::from) };
        let trimming = to_the_end(trimming);
        let telling = to_the_end(tell(told, &context));
        let keeping = to_the_end(keeping::run(config.retain.clone(), keeper, context.clone()));
        let accounting = to_the_end(accountant.run());
        let advisories = Advisories::new(context.clone(), monitor_of_advisories);
        let recovering = bus::job::run(advisories, advisories::CONCURRENCY, context.clone());
        let watching = watcher.run(&context);
        let holding = async { claim.hold(&context).await.map_err(anyhow::Error::from) };
        tokio::try_join!(
            writing, serving, trimming, telling, keeping, accounting, recovering, watching, holding
        )
        .map(|_| ())
    }
}

/// Fails when the database and INGEST do not continue each other; what cannot be looked at now is looked
/// at later.
async fn refuse_another_past(monitor: &Arc<Monitor>, context: &Context) -> anyhow::Result<()> {
    match anchor::problem_at_start(monitor, context).await {
        Ok(None) => {}
        Ok(Some(problem)) => anyhow::bail!(problem),
        Err(error) => tracing::warn!(
            worker = "sink",
            error = format!("{error:#}"),
            "INGEST not looked at before the start; the next look is in some seconds"
        ),
    }
    Ok(())
}

/// What ends only with the process, and never with an error.
async fn to_the_end(work: impl Future<Output = ()>) -> anyhow::Result<()> {
    work.await;
    Ok(())
}

/// Tells of alerts of the sink's own; each copy of an alert has the same id, so that ALERTS stores it once.
async fn tell(mut alerts: mpsc::Receiver<Alert>, context: &Context) {
    let mut told = BTreeSet::new();
    loop {
        let alert = tokio::select! {
            alert = alerts.recv() => alert,
            () = context.shutdown().cancelled() => return,
        };
        let Some(alert) = alert else { return };
        if told.contains(&alert.id) {
            continue;
        }
        let subject = alert::subject(alert.severity, &alert.rule);
        let Ok(body) = serde_json::to_vec(&alert) else {
            continue;
        };
        let sent = match context
            .publish_pipelined(&subject, body.into(), Some(&alert.id))
            .await
        {
            Ok(pending) => pending.wait().await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(_) => {
                while told.len() >= ALERTS_MAX {
                    told.pop_first();
                }
                told.insert(alert.id);
            }
            Err(error) => {
                let error = bus::chain(&error);
                tracing::warn!(
                    worker = "sink",
                    id = alert.id,
                    error,
                    "alert not told; the next cause for it tells it"
                );
            }
        }
    }
}

fn limits(context: &Context) -> trim::Limits {
    let streams = context.streams_config();
    let bytes = |megabytes: u32| u64::from(megabytes) * 1024 * 1024;
    trim::Limits {
        duplicate_window_microseconds: i64::from(streams.duplicate_window_seconds) * 1_000_000,
        ingest_bytes: bytes(streams.ingest_max_megabytes),
        events_bytes: bytes(streams.events_max_megabytes),
        rollup_bytes: bytes(streams.rollup_max_megabytes),
        alerts_bytes: bytes(streams.alerts_max_megabytes),
        dead_bytes: bytes(streams.dead_max_megabytes),
        archive_bytes: bytes(streams.archive_max_megabytes),
    }
}

struct Writer {
    store: Store,
    monitor: Arc<Monitor>,
    rollup: RollupConfig,
    alert: AlertConfig,
    alerts: mpsc::Sender<Alert>,
    resumption: Resumption,
}

impl Writer {
    /// They are in the table whatever happens; a full channel means that as many are being told of.
    fn tell(&self, found: &[Match]) {
        for found in found {
            let _ = self.alerts.try_send(found.alert());
        }
    }
}

impl bus::Writer for Writer {
    const NAME: &'static str = "sink";

    fn inputs() -> Vec<Input> {
        [
            topology::EVENTS,
            topology::ROLLUP,
            topology::ALERTS,
            topology::DEAD,
            topology::ARCHIVE,
        ]
        .map(|stream| Input::new(stream, Self::NAME))
        .into()
    }

    fn ahead_of(&self, input: usize, stream: &StreamState) -> Option<u64> {
        self.resumption.ahead_of(&self.store, SOURCES[input], stream)
    }

    fn resume(
        &mut self,
        input: usize,
        stream: &StreamState,
        durable: Option<&DurableState>,
    ) -> anyhow::Result<u64> {
        let resumed = self
            .resumption
            .resume(&mut self.store, SOURCES[input], stream, durable)?;
        self.monitor.note(&resumed.activity);
        self.tell(&resumed.alerts);
        Ok(resumed.sequence)
    }

    fn commit(&mut self, batch: &[Received]) -> Result<Unstored, CommitFailure> {
        let headers: Vec<_> = batch
            .iter()
            .map(|received| DeliveryHeaders(&received.delivery))
            .collect();
        let messages: Vec<_> = batch
            .iter()
            .zip(&headers)
            .map(|(received, headers)| StoredMessage {
                source: SOURCES[received.input],
                stream_epoch: &received.epoch,
                sequence: received.delivery.sequence(),
                subject: received.delivery.subject(),
                headers,
                payload: received.delivery.payload(),
                stored: Time(received.delivery.stored_microseconds()),
            })
            .collect();
        let guarded = self.resumption.guard.check(self.store.connection());
        guarded.map_err(CommitFailure::Fatal)?;
        for received in batch {
            let reach = received.delivery.sequence() + received.delivery.backlog();
            self.resumption.saw(SOURCES[received.input], reach);
        }
        let outcome = self.store.commit(&messages).map_err(|error| {
            let (retry, broken) = (error.retry, error.broken);
            let error = anyhow::Error::new(error);
            match (retry, broken) {
                (true, _) => CommitFailure::Retry(error),
                (false, true) => CommitFailure::Broken(error),
                (false, false) => CommitFailure::Fatal(error),
            }
        })?;
        self.monitor.record(&outcome);
        self.tell(&outcome.alerts);
        if outcome.gone > 0 {
            tracing::info!(
                worker = "sink",
                messages = outcome.gone,
                "partials and alerts of events that went with EVENTS before they were stored are passed over"
            );
        }
        let maintained = self
            .store
            .maintain(&self.rollup, &self.alert, Time(now_microseconds()));
        if let Err(error) = maintained {
            // What was committed stays so; the next round tries again.
            tracing::warn!(
                worker = "sink",
                error = format!("{error:#}"),
                "rollups or alerts not folded"
            );
        }
        let rejected = outcome.rejected.into_iter().map(|rejected| {
            let fix = match SOURCES[batch[rejected.index].input] {
                Source::Alerts => "only worker route writes to matches.>: find out who published it",
                Source::Rollup => "only worker rollup writes to rollup.>: find out who published it",
                Source::Archive => "only worker archive writes to archive.>: find out who published it",
                _ => "only worker ingest writes to events.>: find out who published it",
            };
            let rejection = Rejection::new(Reason::MalformedBatch, "payload", rejected.reason, fix);
            (rejected.index, rejection)
        });
        Ok(Unstored {
            rejected: rejected.collect(),
            deferred: outcome.deferred,
        })
    }

    fn journal(&self) -> Option<PathBuf> {
        let mut name = self.store.path().as_os_str().to_owned();
        name.push(".committing");
        Some(name.into())
    }

    fn buried(&mut self, received: &Received) {
        self.store.settle(
            SOURCES[received.input],
            &received.epoch,
            received.delivery.sequence(),
        );
    }

    fn hole(&self, input: usize, epoch: &str) -> Option<u64> {
        self.store.hole(SOURCES[input], epoch)
    }

    fn gone(&mut self, input: usize, epoch: &str, sequences: RangeInclusive<u64>) {
        self.store.give_up(SOURCES[input], epoch, sequences);
    }
}

struct DeliveryHeaders<'a>(&'a Delivery);

impl Headers for DeliveryHeaders<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, &str)) {
        self.0.headers().for_each(|(name, value)| visit(name, value));
    }
}
