//! The backstop: messages of which only an advisory of the server knows become dead letters.
//!
//! Reads ADVISORY. An advisory is done with when its message is accounted for: its origin is stored or dead, its
//! aggregates are merged, or there is a dead letter of its stage. What is not, once everything was read that EVENTS
//! and DEAD held when it was first looked at, is made a dead letter. Nearly all are about messages that workers have
//! dead-lettered themselves: those cost a look into a set in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Advisory, Context, Delivery, Failure, Input, Job, Report, topology};
use tokio::sync::Mutex;

use crate::{Monitor, RangeSet, Source};

/// Advisories looked at in the same moment, waiting ones included.
pub(crate) const CONCURRENCY: usize = 64;
/// What is known is read again after this time.
const KNOWN_AGE_MAX: Duration = Duration::from_millis(250);

/// The reader.
pub(crate) struct Advisories {
    context: Context,
    monitor: Arc<Monitor>,
    known: Mutex<Option<(Instant, Arc<Known>)>>,
}

/// Which INGEST messages of the present epoch are stored or dead.
struct Known {
    accounted: RangeSet,
}

/// What was to be read before anything is said to be missing: epoch and sequence of EVENTS and of DEAD.
struct Goal {
    events: (String, u64),
    dead: (String, u64),
}

impl Advisories {
    pub(crate) fn new(context: Context, monitor: Arc<Monitor>) -> Self {
        Self {
            context,
            monitor,
            known: Mutex::default(),
        }
    }

    async fn is_accounted(&self, advisory: &Advisory) -> anyhow::Result<bool> {
        let sequence = advisory.stream_seq;
        if advisory.stream == topology::INGEST {
            return Ok(self.known().await?.accounted.contains(sequence));
        }
        let epoch = self.context.stream_state(&advisory.stream).await?.epoch;
        let (stream, stage) = (advisory.stream.clone(), advisory.consumer.clone());
        self.ask(move |monitor| monitor.is_accounted(&stream, &epoch, sequence, &stage))
            .await
    }

    async fn known(&self) -> anyhow::Result<Arc<Known>> {
        // Held over the reading: those who ask meanwhile get the same.
        let mut known = self.known.lock().await;
        if let Some((at, known)) = known.as_ref()
            && at.elapsed() < KNOWN_AGE_MAX
        {
            return Ok(known.clone());
        }
        let epoch = self.context.stream_state(topology::INGEST).await?.epoch;
        let accounted = self.ask(move |monitor| monitor.accounted(&epoch)).await?;
        let fresh = Arc::new(Known { accounted });
        *known = Some((Instant::now(), fresh.clone()));
        Ok(fresh)
    }

    async fn goal(&self) -> anyhow::Result<Goal> {
        let events = self.context.stream_state(topology::EVENTS).await?;
        let dead = self.context.stream_state(topology::DEAD).await?;
        Ok(Goal {
            events: (events.epoch, events.last_sequence),
            dead: (dead.epoch, dead.last_sequence),
        })
    }

    async fn is_reached(&self, goal: &Goal) -> anyhow::Result<bool> {
        let (events, dead) = (goal.events.clone(), goal.dead.clone());
        self.ask(move |monitor| {
            Ok(monitor.checkpoint(Source::Events, &events.0)? >= events.1
                && monitor.checkpoint(Source::Dead, &dead.0)? >= dead.1)
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Monitor) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let monitor = self.monitor.clone();
        tokio::task::spawn_blocking(move || read(&monitor)).await?
    }

    /// Waits until the message is accounted for, or makes its dead letter.
    async fn settle(&self, advisory: &Advisory) -> anyhow::Result<()> {
        if self.is_accounted(advisory).await? {
            return Ok(());
        }
        let goal = self.goal().await?;
        loop {
            // In this order: what is reached now was looked for after it.
            let is_reached = self.is_reached(&goal).await?;
            tokio::time::sleep(KNOWN_AGE_MAX).await;
            if self.is_accounted(advisory).await? {
                return Ok(());
            }
            if is_reached {
                break;
            }
        }
        let (stream, sequence) = (&advisory.stream, advisory.stream_seq);
        if self.context.recover(advisory).await? {
            tracing::warn!(
                worker = "sink",
                stream,
                sequence,
                durable = advisory.consumer,
                "nobody gets this message any more, and nobody had processed it: it is a dead letter now"
            );
        } else {
            tracing::error!(
                worker = "sink",
                stream,
                sequence,
                durable = advisory.consumer,
                "nobody gets this message any more, nobody had processed it, and the stream no longer has it"
            );
        }
        Ok(())
    }
}

impl Job for Advisories {
    const NAME: &'static str = "advisories";

    fn input() -> Input {
        Input::new(topology::ADVISORY, "sink")
    }

    async fn run(&self, job: &Delivery) -> Result<Report, Failure> {
        // The sink itself goes by its own checkpoints, whatever its durables say.
        let advisory = Advisory::read(job).filter(|advisory| {
            advisory.consumer != "sink" && self.context.is_durable(&advisory.stream, &advisory.consumer)
        });
        if let Some(advisory) = advisory {
            let settled = self.settle(&advisory).await;
            settled.map_err(|error| Failure::Retry {
                after: Duration::from_secs(5),
                reason: format!("{error:#}"),
            })?;
        }
        Ok(Report::default())
    }
}
