//! What is known at one moment, and how it looks.

use std::{collections::VecDeque, sync::Arc};

use schemas::live::{Alert, Body, Message, Overview, Pipeline, Sample, Snapshot};
use tokio::time::Instant;

use crate::{queries::QueryError, regions::Regions};

/// Events kept of those that passed.
const SAMPLES_MAX: usize = 12;
/// Alerts kept of those that were raised.
const RAISED_MAX: usize = 10;

/// What the feed said, and whether it still says something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The first page's picture; none before the first snapshot.
    pub(crate) overview: Option<Arc<Overview>>,
    /// Streams and workers; none before the first snapshot.
    pub(crate) pipeline: Option<Arc<Pipeline>>,
    /// Events that passed, newest first.
    pub(crate) samples: VecDeque<Sample>,
    /// Alerts as they were raised, newest first.
    pub(crate) raised: VecDeque<Alert>,
    /// Why there is nothing new.
    pub(crate) problem: Option<QueryError>,
    /// When something was last heard or tried.
    pub(crate) tried_at: Option<Instant>,
    /// The feed's clock when it was last heard.
    pub(crate) feed_ms: i64,
    /// When a feed was last heard.
    pub(crate) heard_at: Option<Instant>,
    /// When it last said something of streams and workers.
    pub(crate) pipeline_heard_at: Option<Instant>,
    /// The feed that is followed.
    pub(crate) feed: String,
    /// Its newest message.
    pub(crate) sequence: u64,
}

impl Known {
    /// Begins anew with what a feed says.
    pub(crate) fn begin(&mut self, snapshot: Snapshot) {
        self.feed = snapshot.feed;
        self.sequence = snapshot.sequence;
        self.overview = Some(Arc::new(snapshot.overview));
        self.pipeline = Some(Arc::new(snapshot.pipeline));
        self.pipeline_heard_at = Some(Instant::now());
        self.heard(snapshot.at_ms);
    }

    /// Whether a message is of the feed that is followed, and new.
    pub(crate) fn follows(&self, message: &Message) -> bool {
        message.feed == self.feed && message.sequence > self.sequence
    }

    /// Takes in a message of that feed.
    pub(crate) fn take(&mut self, message: Message) {
        self.sequence = message.sequence;
        self.heard(message.at_ms);
        match message.body {
            Body::Beat {} => {}
            Body::Overview(overview) => self.overview = Some(overview.into()),
            Body::Pipeline(pipeline) => {
                self.pipeline = Some(pipeline.into());
                self.pipeline_heard_at = self.heard_at;
            }
            Body::Alerts(alerts) => keep(&mut self.raised, alerts, RAISED_MAX),
            Body::Events(samples) => keep(&mut self.samples, samples, SAMPLES_MAX),
        }
    }

    /// There is nothing new, and this is why.
    pub(crate) fn fail(&mut self, problem: QueryError) {
        self.problem = Some(problem);
    }

    fn heard(&mut self, feed_ms: i64) {
        self.problem = None;
        self.feed_ms = feed_ms;
        self.heard_at = Some(Instant::now());
    }

    /// The feed's clock now.
    pub(crate) fn now_ms(&self) -> i64 {
        self.feed_ms
            .saturating_add(elapsed_ms(self.heard_at).cast_signed())
    }

    /// How old the sink's numbers are; none if there are none.
    pub(crate) fn sink_age_ms(&self) -> Option<u64> {
        let answered_ms = self.overview.as_ref()?.sink.answered_ms?;
        u64::try_from(self.now_ms().saturating_sub(answered_ms))
            .ok()
            .or(Some(0))
    }

    /// How old the pipeline's numbers are; none if there are none.
    pub(crate) fn pipeline_age_ms(&self) -> Option<u64> {
        let streams = &self.pipeline.as_ref()?.streams;
        (!streams.is_empty()).then(|| elapsed_ms(self.pipeline_heard_at))
    }

    /// How long ago anything was heard of a feed; none if never.
    pub(crate) fn feed_age_ms(&self) -> Option<u64> {
        self.heard_at.map(|at| elapsed_ms(Some(at)))
    }
}

fn elapsed_ms(since: Option<Instant>) -> u64 {
    since.map_or(0, |at| at.elapsed().as_millis().try_into().unwrap_or(u64::MAX))
}

/// Puts the newest first.
fn keep<T>(kept: &mut VecDeque<T>, new: Vec<T>, max: usize) {
    for item in new {
        kept.push_front(item);
    }
    kept.truncate(max);
}

/// What is known, as HTML.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// Counts the pictures since the start of the process.
    pub(crate) sequence: u64,
    /// What was known.
    pub(crate) known: Known,
    /// All of it, as HTML.
    pub(crate) regions: Regions,
}

impl Picture {
    /// Renders every region.
    ///
    /// # Errors
    /// See [`Regions::render`].
    pub(crate) fn render(known: Known) -> askama::Result<Self> {
        Ok(Self {
            sequence: 0,
            regions: Regions::render(&known)?,
            known,
        })
    }
}
