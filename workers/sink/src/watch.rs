//! What nobody who reads a stream would notice: INGEST made anew, durables made anew, messages that were acknowledged
//! and ended nowhere, the database file taken away.
//!
//! Whatever EVENTS or DEAD lost, INGEST still has: it is trimmed only behind what is stored. So where messages are
//! missing, worker ingest reads INGEST again; the origins that are stored already are left out, as always.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bus::{Context, StreamState, topology};
use schemas::Time;
use schemas::alert::{Alert, Severity};
use tokio::sync::mpsc;

use crate::accounting::figures;
use crate::anchor;
use crate::guard::Guard;
use crate::incidents::{DURABLE_RECREATED, INGEST_REREAD, Incident, STREAM_OLDER, STREAM_RECREATED, counted};
use crate::memory::{self, Fact};
use crate::resume::older_stream;
use crate::trim::{blocking, now_microseconds};
use crate::{Monitor, RangeSet};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(3);
/// Messages are missing when they are at so many looks in a row.
const MISSING_LOOKS: u32 = 2;

/// Looks every few seconds.
pub(crate) struct Watcher {
    monitor: Arc<Monitor>,
    guard: Guard,
    alerts: mpsc::Sender<Alert>,
    /// INGEST when it was last seen: its epoch, its last sequence.
    ingest: Option<(String, u64)>,
    /// What is missing, and at how many looks it was.
    missing: (Vec<RangeInclusive<u64>>, u32),
    /// The epoch of INGEST that was read again, and what was missing then: once is enough.
    reread: (String, RangeSet),
}

impl Watcher {
    pub(crate) fn new(guard: Guard, monitor: Arc<Monitor>, alerts: mpsc::Sender<Alert>) -> Self {
        Self {
            guard,
            monitor,
            alerts,
            ingest: None,
            missing: (Vec::new(), 0),
            reread: (String::new(), RangeSet::new()),
        }
    }

    /// Looks until the process is to end.
    ///
    /// # Errors
    /// When nothing more may be stored.
    pub(crate) async fn run(mut self, context: &Context) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = context.shutdown().cancelled() => return Ok(()),
            }
            self.monitor.check(&self.guard)?;
            let looked = match self.look_at_ingest(context).await {
                Ok(Some(older)) => bail!(older),
                Ok(None) => self.look_at_durables(context).await,
                Err(error) => Err(error),
            };
            let looked = match looked {
                Ok(()) => self.look_for_missing(context).await,
                Err(error) => Err(error),
            };
            if let Err(error) = looked {
                tracing::debug!(
                    worker = "sink",
                    error = format!("{error:#}"),
                    "not looked at this time"
                );
                // What was deleted is made again, also where no worker reads it.
                let _ = context.ensure_topology().await;
            }
        }
    }

    /// Tells of a new INGEST. Some: it is older than the database.
    async fn look_at_ingest(&mut self, context: &Context) -> anyhow::Result<Option<String>> {
        let name = memory::epoch_of(topology::INGEST);
        let known = self.recall(&name).await?;
        // Before the stream is asked, so that it cannot be ahead of it.
        let accounted = match &known {
            Some(epoch) => {
                let epoch = epoch.clone();
                blocking(&self.monitor, move |monitor| monitor.accounted(&epoch)).await?
            }
            None => RangeSet::new(),
        };
        let state = context.stream_state(topology::INGEST).await?;
        let seen = self.ingest.replace((state.epoch.clone(), state.last_sequence));
        let Some(known) = known else {
            self.note((name, state.epoch), None).await?;
            return Ok(None);
        };
        if known == state.epoch {
            return match accounted.last().filter(|stored| *stored > state.last_sequence) {
                Some(stored) => self.move_ingest(context, &state, stored).await,
                None => self.look_at_history(context, &state).await,
            };
        }
        let lost = match seen.filter(|(epoch, _)| *epoch == known) {
            Some((_, last)) => match last - accounted.count_up_to(last) {
                0 => "every message of it that was seen is stored or a dead letter".to_owned(),
                lost => format!(
                    "{} that had become neither rows nor dead letters when it was last seen may have gone with it, `aiai \
                     ledger` tells",
                    counted(lost)
                ),
            },
            None => format!(
                "what it held and was not accounted for went with it ({} messages were)",
                accounted.count()
            ),
        };
        let incident = Incident {
            rule: STREAM_RECREATED,
            severity: Severity::Warning,
            key: topology::INGEST.to_owned(),
            message: format!(
                "the stream INGEST was made anew (epoch {} after {known}): {lost}; going on with the new one",
                state.epoch
            ),
        };
        self.note((name, state.epoch), Some(incident)).await?;
        Ok(None)
    }

    /// INGEST is long enough; whether it is the same.
    async fn look_at_history(
        &self,
        context: &Context,
        state: &StreamState,
    ) -> anyhow::Result<Option<String>> {
        let problem = anchor::problem(&self.monitor, context, state).await?;
        if problem.is_none() {
            anchor::drop_at(&self.monitor, context, state).await?;
        }
        Ok(problem)
    }

    /// INGEST ended before what is stored of it. Where nothing was published since, it holds nothing that is not stored:
    /// it is emptied and goes on behind that. Otherwise new messages have the numbers of stored ones, and nobody can
    /// tell which are which: see `older_stream`.
    async fn move_ingest(
        &mut self,
        context: &Context,
        state: &StreamState,
        stored: u64,
    ) -> anyhow::Result<Option<String>> {
        let (last, name) = (state.last_sequence, topology::INGEST);
        let newest = self.monitor.newest_ms().unwrap_or(0);
        let published_since = context.sequence_at(state, name, (newest + 1) * 1000).await?;
        let held = state.first_sequence.max(1)..=last;
        let epoch = state.epoch.clone();
        let accounted = blocking(&self.monitor, move |monitor| monitor.accounted(&epoch)).await?;
        if published_since <= last || !(held.is_empty() || accounted.gaps(&held).is_empty()) {
            return Ok(Some(older_stream(name, last, stored, "the database")));
        }
        let purged = context.trim(name, stored + 1).await?;
        let lost = match purged.saturating_sub(state.messages) {
            0 => String::new(),
            lost => format!("; {} published at that very moment went with it", counted(lost)),
        };
        let incident = Incident {
            rule: STREAM_OLDER,
            severity: if lost.is_empty() {
                Severity::Warning
            } else {
                Severity::Critical
            },
            key: name.to_owned(),
            message: format!(
                "the stream INGEST ended at message {last} and the database has {stored} of it: NATS lost its last moments, or \
                 was restored from an older copy; everything in it was stored, so it was emptied and goes on at {}{lost}",
                stored + 1
            ),
        };
        self.note((memory::epoch_of(name), state.epoch.clone()), Some(incident))
            .await?;
        Ok(None)
    }

    /// Tells of durables that were made anew. Not of the sink's own, which it moves itself.
    async fn look_at_durables(&mut self, context: &Context) -> anyhow::Result<()> {
        for (stream, durable) in context.durables() {
            if durable == "sink" {
                continue;
            }
            let fact = self.making(context, stream, &durable).await?;
            let known = self.recall(&fact.0).await?;
            if known.as_ref() == Some(&fact.1) {
                continue;
            }
            let epoch = |value: &str| value.split_once(' ').map(|(epoch, _)| epoch.to_owned());
            // With its stream, it is the stream's news.
            let is_alone = known.is_some_and(|known| epoch(&known) == epoch(&fact.1));
            let state = context.stream_state(stream).await?;
            let incident = Incident {
                rule: DURABLE_RECREATED,
                severity: Severity::Warning,
                key: format!("{stream}/{durable}"),
                message: format!(
                    "the durable {stream}/{durable} was made anew: its worker reads what {stream} still has again \
                     (messages {} to {}); what was done before is known and not counted twice",
                    state.first_sequence, state.last_sequence
                ),
            };
            self.note(fact, is_alone.then_some(incident)).await?;
        }
        Ok(())
    }

    /// When a durable was made, in which life of its stream.
    async fn making(&self, context: &Context, stream: &str, durable: &str) -> anyhow::Result<Fact> {
        let state = context.stream_state(stream).await?;
        let made = context.durable_state(stream, durable).await?.created;
        Ok((
            memory::making_of(stream, durable),
            format!("{} {made}", state.epoch),
        ))
    }

    /// Has INGEST read again where messages were acknowledged and are nowhere.
    async fn look_for_missing(&mut self, context: &Context) -> anyhow::Result<()> {
        // An empty stream that never had a message begins at 0.
        let first = context
            .stream_state(topology::INGEST)
            .await?
            .first_sequence
            .max(1);
        let figures = figures(context).await?;
        let epoch = figures.epoch.clone();
        let missing = blocking(&self.monitor, move |monitor| monitor.missing(&figures, first)).await?;
        let looks = if missing == self.missing.0 {
            self.missing.1 + 1
        } else {
            1
        };
        self.missing = (missing, looks);
        if self.reread.0 != epoch {
            self.reread = (epoch, RangeSet::new());
        }
        let missing = &self.missing.0;
        let is_known = missing.iter().all(|range| self.reread.1.gaps(range).is_empty());
        if looks < MISSING_LOOKS || is_known {
            return Ok(());
        }
        for range in missing {
            self.reread.1.insert(range.clone());
        }
        let count: u64 = missing.iter().map(|range| range.end() - range.start() + 1).sum();
        let from = missing.first().map_or(first, |range| *range.start());
        let incident = Incident {
            rule: INGEST_REREAD,
            severity: Severity::Warning,
            key: topology::INGEST.to_owned(),
            message: format!(
                "INGEST is read again from message {first} on: of what was acknowledged there, {} (from {from} on) had \
                 become neither rows nor dead letters",
                counted(count)
            ),
        };
        context.restart_durable(topology::INGEST, "ingest").await?;
        let fact = self.making(context, topology::INGEST, "ingest").await?;
        self.note(fact, Some(incident)).await
    }

    async fn recall(&self, name: &str) -> anyhow::Result<Option<String>> {
        let name = name.to_owned();
        blocking(&self.monitor, move |monitor| monitor.recall(&name)).await
    }

    async fn note(&self, fact: Fact, incident: Option<Incident>) -> anyhow::Result<()> {
        let remember = move |monitor: &Monitor| {
            let now = Time(now_microseconds());
            monitor.remember(&[fact], incident.as_slice(), now)
        };
        for found in blocking(&self.monitor, remember).await? {
            // It is in the table whatever happens; full means that as many are being told of.
            let _ = self.alerts.try_send(found.alert());
        }
        Ok(())
    }
}
