//! What one commit wrote, counted for the live picture: by second, kind and source; usage by day; node samples.

use std::collections::{BTreeMap, HashMap};

use schemas::{CallStatus, Event, Kind, Message, Metric, Session, Step, Usage, WorkItem};
use serde::Deserialize;

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;
/// Sources which report a machine start with this; the host follows.
pub(crate) const NODE_SOURCE: &str = "node/";
/// Metrics of machines start with this.
pub(crate) const NODE_METRIC: &str = "node.";
/// Node samples kept of one commit; the newest messages come last, so the first ones are dropped beyond it.
const SAMPLES_MAX: usize = 50_000;

/// What was written by a commit. Only good for [`crate::Monitor::record`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Activity {
    /// By second of arrival and kind: events by source.
    pub(crate) counts: BTreeMap<(i64, Kind), HashMap<String, u64>>,
    /// Newest arrival, in microseconds.
    pub(crate) newest: Option<i64>,
    /// By day of the event (days since 1970).
    pub(crate) usage: BTreeMap<i64, UsageSum>,
    /// Measurements of machines.
    pub(crate) samples: Vec<NodeSample>,
}

/// Sums over model calls. They saturate instead of overflowing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UsageSum {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) unpriced: u64,
    pub(crate) cost_nanos: i64,
    pub(crate) tokens_in: u64,
    pub(crate) tokens_out: u64,
    pub(crate) tokens_cache_read: u64,
    pub(crate) tokens_reasoning: u64,
}

/// One measurement of a machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeSample {
    pub(crate) host: String,
    /// The metric's name without `node.`.
    pub(crate) name: String,
    pub(crate) value: f64,
    /// When it was measured, in microseconds.
    pub(crate) ts: i64,
    /// The file system, for metrics of disks.
    pub(crate) mount: Option<String>,
}

impl UsageSum {
    pub(crate) fn add(&mut self, other: &UsageSum) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
        self.cost_nanos = self.cost_nanos.saturating_add(other.cost_nanos);
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.tokens_cache_read = self.tokens_cache_read.saturating_add(other.tokens_cache_read);
        self.tokens_reasoning = self.tokens_reasoning.saturating_add(other.tokens_reasoning);
    }

    fn of(call: &Usage<'_>) -> Self {
        UsageSum {
            calls: 1,
            errors: u64::from(call.status.is_some_and(|status| status != CallStatus::Ok)),
            unpriced: u64::from(call.cost_usd.is_none()),
            cost_nanos: call.cost_usd.map_or(0, |cost| cost.0),
            tokens_in: call.tokens_in.unwrap_or(0),
            tokens_out: call.tokens_out.unwrap_or(0),
            tokens_cache_read: call.tokens_cache_read.unwrap_or(0),
            tokens_reasoning: call.tokens_reasoning.unwrap_or(0),
        }
    }
}

/// A row whose writing is noted.
pub(crate) trait Noted {
    const KIND: Kind;
    /// Who sent it.
    fn sender(&self) -> &str;
    /// Notes what is special about the kind.
    fn note(&self, _: &mut Activity) {}
}

macro_rules! noted {
    ($($name:ident)+) => {
        $(impl Noted for $name<'_> {
            const KIND: Kind = Kind::$name;

            fn sender(&self) -> &str {
                self.source.as_deref().unwrap_or_default()
            }
        })+
    };
}

noted!(Event Step Message Session WorkItem);

impl Noted for Metric<'_> {
    const KIND: Kind = Kind::Metric;

    fn sender(&self) -> &str {
        self.source.as_deref().unwrap_or_default()
    }

    fn note(&self, activity: &mut Activity) {
        let tags = self.tags.map(|tags| tags.get());
        let ts = self.timestamp.unwrap_or_default().0;
        if let Some(sample) = NodeSample::read(self.sender(), &self.name, self.value, ts, tags)
            && activity.samples.len() < SAMPLES_MAX
        {
            activity.samples.push(sample);
        }
    }
}

impl Noted for Usage<'_> {
    const KIND: Kind = Kind::Usage;

    fn sender(&self) -> &str {
        self.source.as_deref().unwrap_or_default()
    }

    fn note(&self, activity: &mut Activity) {
        let day = self.timestamp.unwrap_or_default().0.div_euclid(DAY);
        activity.usage.entry(day).or_default().add(&UsageSum::of(self));
    }
}

impl NodeSample {
    /// The sample, if this metric is one of a machine about itself.
    pub(crate) fn read(source: &str, name: &str, value: f64, ts: i64, tags: Option<&str>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Tags {
            mount: Option<String>,
        }
        let name = name.strip_prefix(NODE_METRIC)?;
        let host = source.strip_prefix(NODE_SOURCE)?;
        let is_disk = name.starts_with("disk_");
        let tags: Option<Tags> = tags
            .filter(|_| is_disk)
            .and_then(|tags| serde_json::from_str(tags).ok());
        Some(NodeSample {
            host: host.to_owned(),
            name: name.to_owned(),
            value,
            ts,
            mount: tags.and_then(|tags| tags.mount),
        })
    }
}

impl Activity {
    /// Adds what a later commit wrote.
    pub(crate) fn merge(&mut self, later: Activity) {
        for (at, sources) in later.counts {
            let by_source = self.counts.entry(at).or_default();
            for (source, count) in sources {
                add(by_source, Some((&source, count)));
            }
        }
        self.newest = self.newest.max(later.newest);
        for (day, sum) in later.usage {
            self.usage.entry(day).or_default().add(&sum);
        }
        let room = SAMPLES_MAX.saturating_sub(self.samples.len());
        self.samples.extend(later.samples.into_iter().take(room));
    }

    /// Notes rows of one message that arrived at `stored` (microseconds).
    pub(crate) fn note<'r, T: Noted + 'r>(&mut self, rows: impl Iterator<Item = &'r T> + Clone, stored: i64) {
        let by_source = self
            .counts
            .entry((stored.div_euclid(SECOND), T::KIND))
            .or_default();
        // Rows of one sender mostly come in a run: count the run, then look the sender up once.
        let mut run: Option<(&str, u64)> = None;
        for row in rows.clone() {
            let sender = row.sender();
            match &mut run {
                Some((known, count)) if *known == sender => *count += 1,
                _ => {
                    add(by_source, run.take());
                    run = Some((sender, 1));
                }
            }
        }
        add(by_source, run);
        for row in rows {
            self.newest = self.newest.max(Some(stored));
            row.note(self);
        }
    }
}

fn add(by_source: &mut HashMap<String, u64>, run: Option<(&str, u64)>) {
    let Some((source, count)) = run else { return };
    match by_source.get_mut(source) {
        Some(total) => *total += count,
        None => {
            by_source.insert(source.to_owned(), count);
        }
    }
}
