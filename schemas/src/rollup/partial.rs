//! A partial: the aggregates of some rows, by series and bucket; written as NDJSON, one aggregate a line.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Aggregate, MINUTE_MICROSECONDS, Measured};
use crate::{Kind, LineError, Text, Time, read_lines, with_kind};

/// Source, and only tag, of the series into which those past a limit are folded.
pub const OTHER: &str = "__other__";

/// A series in one bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// Whose it is.
    pub tenant: String,
    /// What was measured.
    pub name: String,
    /// Labels in canonical form: sorted, compact JSON.
    pub tags: String,
    /// Who sent it.
    pub source: String,
    /// The bucket's start.
    pub bucket: Time,
}

impl SeriesKey {
    /// The same series in the bucket of this width, in microseconds, that contains this one's start.
    #[must_use]
    pub fn in_bucket_of(mut self, width_microseconds: i64) -> Self {
        self.bucket = start(self.bucket, width_microseconds);
        self
    }

    /// The series that stands for those past a limit.
    #[must_use]
    pub fn as_other(mut self) -> Self {
        self.tags = format!("{{\"{OTHER}\":\"true\"}}");
        self.source = OTHER.to_owned();
        self
    }
}

fn start(time: Time, width_microseconds: i64) -> Time {
    Time(time.0 - time.0.rem_euclid(width_microseconds))
}

/// Why an EVENTS or a ROLLUP message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartialError {
    /// The subject of an EVENTS message names no kind.
    #[error("its subject names no kind this version knows")]
    Kind,
    /// A line is not what it should be.
    #[error("not canonical")]
    Line(#[from] LineError),
}

/// Aggregates by series and bucket, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Partial(BTreeMap<SeriesKey, Aggregate>);

/// One line of a partial.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    tenant: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    tags: &'a RawValue,
    #[serde(borrow)]
    source: Text<'a>,
    bucket: Time,
    // Not flattened: that would buffer the numbers, and lose those beyond 64 bits.
    values: Aggregate,
}

/// Rows of one shape in one minute: the first of them, and an aggregate for each measure.
type Group<'r, T> = (&'r T, Vec<Option<Aggregate>>);

/// Folds rows into buckets of a minute. Only these rows: the caller leaves out what must not count.
pub fn fold<'r, T: Measured + 'r>(rows: impl IntoIterator<Item = &'r T>) -> Partial {
    let mut groups: HashMap<_, Group<'r, T>> = HashMap::new();
    for row in rows {
        let at = row.at();
        let bucket = start(at.time, MINUTE_MICROSECONDS).0;
        let key = (bucket, row.tenant(), row.source(), row.shape());
        let (_, slots) = groups.entry(key).or_insert_with(|| (row, Vec::new()));
        row.measure(|number, value| {
            if slots.len() <= number {
                slots.resize(number + 1, None);
            }
            match &mut slots[number] {
                Some(aggregate) => aggregate.add(value, at),
                empty => *empty = Some(Aggregate::of(value, at)),
            }
        });
    }
    let mut partial = Partial::default();
    for ((bucket, tenant, source, _), (row, slots)) in groups {
        let series = row.series();
        for (name, aggregate) in series.names.into_iter().zip(slots) {
            let Some(aggregate) = aggregate else { continue };
            let key = SeriesKey {
                tenant: tenant.to_owned(),
                name,
                tags: series.tags.clone(),
                source: source.to_owned(),
                bucket: Time(bucket),
            };
            partial.add(key, &aggregate);
        }
    }
    partial
}

impl Partial {
    /// Folds the payload of one EVENTS message.
    ///
    /// # Errors
    /// See [`PartialError`].
    pub fn of_events(subject: &str, payload: &[u8]) -> Result<Self, PartialError> {
        let kind = subject.rsplit('.').next().and_then(Kind::parse);
        Ok(with_kind!(kind.ok_or(PartialError::Kind)?, T => fold(&read_lines::<T<'_>>(payload)?)))
    }

    /// Reads what [`Partial::to_ndjson`] wrote.
    ///
    /// # Errors
    /// The first line that is something else.
    pub fn read(payload: &[u8]) -> Result<Self, PartialError> {
        let mut partial = Partial::default();
        for line in read_lines::<Line<'_>>(payload)? {
            let key = SeriesKey {
                tenant: line.tenant.to_string(),
                name: line.name.to_string(),
                tags: line.tags.get().to_owned(),
                source: line.source.to_string(),
                bucket: line.bucket,
            };
            partial.add(key, &line.values);
        }
        Ok(partial)
    }

    /// One aggregate a line, by series and bucket: equal partials are written alike.
    pub fn to_ndjson(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * 256);
        for (key, values) in &self.0 {
            // Canonical tags are JSON, and writing to memory cannot fail; never leave half a line behind anyway.
            let start = out.len();
            let written = serde_json::from_str(&key.tags).and_then(|tags| {
                let line = Line {
                    tenant: key.tenant.as_str().into(),
                    name: key.name.as_str().into(),
                    tags,
                    source: key.source.as_str().into(),
                    bucket: key.bucket,
                    values: values.clone(),
                };
                serde_json::to_writer(&mut out, &line)
            });
            debug_assert!(written.is_ok(), "{written:?}");
            match written {
                Ok(()) => out.push(b'\n'),
                Err(_) => out.truncate(start),
            }
        }
        out
    }

    /// Adds one aggregate.
    pub fn add(&mut self, key: SeriesKey, aggregate: &Aggregate) {
        self.0
            .entry(key)
            .and_modify(|held| held.merge(aggregate))
            .or_insert_with(|| aggregate.clone());
    }

    /// Adds another partial.
    pub fn merge(&mut self, other: Partial) {
        for (key, aggregate) in other.0 {
            self.add(key, &aggregate);
        }
    }

    /// The same aggregates under other keys; those that come to share one are merged.
    #[must_use]
    pub fn map_keys(self, mut key: impl FnMut(SeriesKey) -> SeriesKey) -> Self {
        let mut mapped = Partial::default();
        for (old, aggregate) in self.0 {
            mapped.add(key(old), &aggregate);
        }
        mapped
    }

    /// Every aggregate, by series and bucket.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&SeriesKey, &Aggregate)> {
        self.0.iter()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
