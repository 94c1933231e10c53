//! The ledger kept: looked at every few seconds and whenever somebody asks, by one at a time.
//!
//! It is in the sink because only the sink knows both sides. Nothing here is on the way of a message: NATS is asked
//! a bounded number of questions, each with a timeout, and the database is only read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bytes, Context, Endpoint, Gauge, topology};
use schemas::ledger::{Epoch, KindLine, Report};
use schemas::{Time, query};
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

use crate::attribution::Attribution;
use crate::ledger::{Account, Holes};
use crate::trim::now_microseconds;
use crate::{Monitor, StreamFigures};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Whoever asks gets a report of at most this age.
const AGE_MAX: Duration = Duration::from_millis(400);
/// `/metrics` leaves out what is older.
const GOOD_FOR: Duration = Duration::from_secs(15);
/// The server knows after this time at the latest that a message it stored waits for ingest.
const IDLE: Duration = Duration::from_secs(1);
/// A stream that grows while it is counted is counted again.
const TRIES: usize = 3;
/// Earlier epochs on `/metrics`.
const EARLIER_GAUGED: usize = 3;

/// Keeps the ledger.
pub(crate) struct Accountant {
    monitor: Arc<Monitor>,
    context: Context,
    /// Held over the work: those who ask meanwhile get the same report.
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    report: Option<(Instant, Arc<Report>)>,
    attribution: Attribution,
    idle: Idle,
    /// How far an epoch was last said to have got.
    remembered: (String, u64),
}

impl Accountant {
    pub(crate) fn new(monitor: Arc<Monitor>, context: Context) -> Self {
        Self {
            monitor,
            context,
            recent: Mutex::default(),
        }
    }

    /// Looks now and then, until the process is to end.
    pub(crate) async fn run(&self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missing_before = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.context.shutdown().cancelled() => return,
            }
            match self.report().await {
                Ok(report) => {
                    self.context.set_gauges(gauges(&report), GOOD_FOR);
                    tell(missing_before, &report.current);
                    missing_before = report.current.missing;
                }
                Err(error) => tracing::debug!(
                    worker = "sink",
                    error = format!("{error:#}"),
                    "the ledger could not be made up this time"
                ),
            }
        }
    }

    /// The ledger as it is now.
    pub(crate) async fn report(&self) -> anyhow::Result<Arc<Report>> {
        let mut recent = self.recent.lock().await;
        if let Some((at, report)) = &recent.report
            && at.elapsed() < AGE_MAX
        {
            return Ok(report.clone());
        }
        let report = Arc::new(self.make(&mut recent).await?);
        recent.report = Some((Instant::now(), report.clone()));
        Ok(report)
    }

    async fn make(&self, recent: &mut Recent) -> anyhow::Result<Report> {
        let mut tries = 1;
        loop {
            let (mut figures, idle) = read(&self.context).await?;
            recent.idle.settle(&mut figures, idle, IDLE);
            let monitor = self.monitor.clone();
            let accounts = tokio::task::spawn_blocking(move || monitor.accounts(&figures)).await??;
            let account = &accounts.current;
            let holes = account.holes();
            let (found, grew) = recent
                .attribution
                .find(&account.epoch, &holes, &self.context)
                .await;
            if !grew || tries >= TRIES {
                self.remember(account, &holes, recent).await?;
                return Ok(accounts.report(&holes, found, Time(now_microseconds())));
            }
            tries += 1;
        }
    }

    /// What is neither stored nor dead would be forgotten with its stream: how many there were is kept.
    async fn remember(&self, account: &Account, holes: &Holes, recent: &mut Recent) -> anyhow::Result<()> {
        let nothing_behind = account.stored.last().max(account.dead.last()) >= Some(holes.published);
        let now = (account.epoch.clone(), holes.published);
        if nothing_behind || holes.published == 0 || recent.remembered == now {
            return Ok(());
        }
        let (monitor, (epoch, published)) = (self.monitor.clone(), now.clone());
        tokio::task::spawn_blocking(move || monitor.note_published(&epoch, published)).await??;
        recent.remembered = now;
        Ok(())
    }
}

/// `query.ledger`.
pub(crate) fn endpoint(accountant: Arc<Accountant>) -> Endpoint {
    Endpoint {
        name: "ledger",
        subject: query::LEDGER_SUBJECT,
        concurrency: 16,
        handler: Arc::new(move |request| {
            let accountant = accountant.clone();
            Box::pin(async move {
                let report = accountant.report().await;
                match report.and_then(|report| Ok(serde_json::to_vec(report.as_ref())?)) {
                    Ok(body) => request.end(Bytes::from(body)).await,
                    Err(error) => request.fail(503, &format!("{error:#}")).await,
                }
            })
        }),
    }
}

/// What NATS says, in the order that keeps the ledger honest: the acknowledgements first, then what was made of them.
pub(crate) async fn figures(context: &Context) -> bus::Result<StreamFigures> {
    Ok(read(context).await?.0)
}

/// The same, and whether ingest had nothing to do.
async fn read(context: &Context) -> bus::Result<(StreamFigures, bool)> {
    let acknowledged = context.durable_state(topology::INGEST, "ingest").await?;
    let ingest = context.stream_state(topology::INGEST).await?;
    let events = context.stream_state(topology::EVENTS).await?;
    let dead = context.stream_state(topology::DEAD).await?;
    let figures = StreamFigures {
        epoch: ingest.epoch,
        last_sequence: ingest.last_sequence,
        ingest_ack_floor: acknowledged.ack_floor,
        events_epoch: events.epoch,
        events_last_sequence: events.last_sequence,
        dead_epoch: dead.epoch,
        dead_last_sequence: dead.last_sequence,
    };
    let idle = acknowledged.pending == 0 && acknowledged.ack_pending == 0;
    Ok((figures, idle))
}

/// Ingest without work is done with all that was published a while ago, though its floor may be lower: behind the
/// last acknowledged message there may have been some that were deleted.
#[derive(Debug, Default)]
struct Idle {
    /// Epoch and last sequence of INGEST while ingest was idle, and when that was.
    seen: Option<(String, u64, Instant)>,
}

impl Idle {
    /// Raises the floor to what was published when ingest was idle before, if it still is. The server counts what it
    /// stores a moment later as pending: `wait` is longer than that moment.
    fn settle(&mut self, figures: &mut StreamFigures, idle: bool, wait: Duration) {
        let same = self
            .seen
            .take()
            .filter(|(epoch, ..)| idle && *epoch == figures.epoch);
        let now = (figures.epoch.clone(), figures.last_sequence, Instant::now());
        self.seen = match same {
            Some((epoch, last, at)) if at.elapsed() < wait => Some((epoch, last, at)),
            Some((_, last, _)) => {
                figures.ingest_ack_floor = figures.ingest_ack_floor.max(last);
                Some(now)
            }
            None => idle.then_some(now),
        };
    }
}

/// Logs when messages are found to be missing, once.
fn tell(before: u64, epoch: &Epoch) {
    if epoch.missing > before {
        tracing::error!(
            worker = "sink",
            missing = epoch.missing,
            sequences = epoch.missing_text(),
            epoch = epoch.epoch,
            "messages of INGEST are missing: acknowledged, and neither stored nor dead; see `aiai ledger`"
        );
    }
}

/// A figure of a line of the ledger.
type Figure = fn(&KindLine) -> u64;

/// Name, help and figure of the gauges that every kind of every epoch has.
const FIGURES: [(&str, &str, Figure); 7] = [
    (
        "aiai_ledger_published",
        "INGEST messages published, by epoch and kind: the sum of stored, dead, pending and missing.",
        |line| line.published,
    ),
    ("aiai_ledger_stored", "INGEST messages in the database.", |line| {
        line.stored
    }),
    ("aiai_ledger_dead", "INGEST messages rejected whole.", |line| {
        line.dead
    }),
    ("aiai_ledger_pending", "INGEST messages on their way.", |line| {
        line.pending
    }),
    (
        "aiai_ledger_missing",
        "INGEST messages lost: must be 0.",
        |line| line.missing,
    ),
    (
        "aiai_ledger_duplicates",
        "INGEST messages delivered twice and stored once.",
        |line| line.duplicates,
    ),
    (
        "aiai_ledger_items_dead",
        "Single items of INGEST messages that were rejected.",
        |line| line.items_dead,
    ),
];

/// The report as Prometheus has it: a series for each kind of each epoch.
fn gauges(report: &Report) -> Vec<Gauge> {
    let epochs = || std::iter::once(&report.current).chain(report.earlier.iter().take(EARLIER_GAUGED));
    let series = |figure: &dyn Fn(&KindLine) -> Option<u64>| {
        let lines = epochs().flat_map(|epoch| epoch.kinds.iter().map(move |line| (epoch, line)));
        lines
            .filter_map(|(epoch, line)| {
                let labels = vec![("epoch", epoch.epoch.clone()), ("kind", line.kind.clone())];
                Some((labels, figure(line)?))
            })
            .collect::<Vec<_>>()
    };
    let mut gauges: Vec<Gauge> = FIGURES
        .into_iter()
        .map(|(name, help, figure)| Gauge {
            name,
            help,
            series: series(&|line| Some(figure(line))),
        })
        .collect();
    gauges.push(Gauge {
        name: "aiai_ledger_events_stored",
        help: "Events in the database.",
        series: series(&|line| line.events_stored),
    });
    gauges.push(Gauge {
        name: "aiai_ledger_balances",
        help: "1 when the sums of an epoch are right and nothing of it is missing.",
        series: epochs()
            .map(|epoch| {
                let labels = vec![("epoch", epoch.epoch.clone())];
                (labels, u64::from(epoch.balances()))
            })
            .collect(),
    });
    gauges.push(Gauge {
        name: "aiai_ledger_updated_seconds",
        help: "When these figures were made, seconds since 1970.",
        series: vec![(Vec::new(), (report.at_ms / 1000).unsigned_abs())],
    });
    gauges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor_after(idle: &mut Idle, is_idle: bool, last_sequence: u64, wait: Duration) -> u64 {
        let mut figures = StreamFigures {
            ingest_ack_floor: 5,
            last_sequence,
            ..StreamFigures::default()
        };
        idle.settle(&mut figures, is_idle, wait);
        figures.ingest_ack_floor
    }

    #[test]
    fn an_idle_ingest_is_done_with_what_was_there_a_while_ago() {
        let mut idle = Idle::default();
        let long = Duration::from_secs(3600);
        assert_eq!(floor_after(&mut idle, true, 7, Duration::ZERO), 5, "seen once");
        assert_eq!(floor_after(&mut idle, true, 8, long), 5, "too short ago");
        assert_eq!(floor_after(&mut idle, true, 9, Duration::ZERO), 7);
        assert_eq!(floor_after(&mut idle, false, 9, Duration::ZERO), 5, "it works");
        assert_eq!(
            floor_after(&mut idle, true, 9, Duration::ZERO),
            5,
            "and is idle again"
        );
        let mut anew = StreamFigures {
            epoch: "J".into(),
            last_sequence: 2,
            ..StreamFigures::default()
        };
        idle.settle(&mut anew, true, Duration::ZERO);
        assert_eq!(anew.ingest_ack_floor, 0, "another stream");
    }
}
