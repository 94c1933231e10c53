//! What is kept of the values of one series in one bucket.

use serde::{Deserialize, Serialize};

use super::Sketch;
use crate::{Distribution, Money, Time};

/// When and where a value was sent: orders the values of a series whatever the order of their arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// When it happened.
    pub time: Time,
    /// Sequence in INGEST of the message that carried it.
    pub origin: u64,
    /// Position in that message.
    pub index: u32,
}

/// One value measured, or many at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'v> {
    /// A whole number, added up exactly.
    Whole(u64),
    /// US dollars, added up exactly.
    Money(Money),
    /// A number.
    Number(f64),
    /// A number whose distribution matters.
    Spread(f64),
    /// Many numbers of which only the distribution is known; at least one.
    Many(&'v Distribution),
}

impl Value<'_> {
    /// As a double; never -0, so that a minimum does not depend on order.
    pub(super) fn as_f64(self) -> f64 {
        let value = match self {
            Value::Whole(count) => count as f64,
            Value::Money(money) => money.0 as f64 / Money::NANOS_PER_DOLLAR as f64,
            Value::Number(value) | Value::Spread(value) => value,
            Value::Many(distribution) => distribution.mean(),
        };
        value + 0.0
    }

    /// In thousand-millionths, where exact.
    fn as_nanos(self) -> Option<i128> {
        match self {
            Value::Whole(count) => Some(i128::from(count) * i128::from(Money::NANOS_PER_DOLLAR)),
            Value::Money(money) => Some(money.0.into()),
            Value::Number(_) | Value::Spread(_) | Value::Many(_) => None,
        }
    }
}

/// Values of one series in one bucket, folded. In JSON: the fields of a partial's line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// How many values.
    pub count: u64,
    /// Their sum, rounded as doubles are.
    pub sum: f64,
    /// Their exact sum in thousand-millionths; absent where values are not exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_nanos: Option<i128>,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The latest, by [`At`].
    pub last: f64,
    /// When the latest happened.
    pub last_ts: Time,
    /// Sequence in INGEST of the message that carried the latest.
    pub last_origin: u64,
    /// The latest one's position in that message.
    pub last_idx: u32,
    /// Their distribution; absent where it is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hist: Option<Sketch>,
}

impl Aggregate {
    /// Of one value.
    pub fn of(value: Value<'_>, at: At) -> Self {
        if let Value::Many(distribution) = value {
            return Self::of_many(distribution, at);
        }
        let number = value.as_f64();
        let hist = matches!(value, Value::Spread(_)).then(|| {
            let mut sketch = Sketch::default();
            sketch.add(number);
            sketch
        });
        Aggregate {
            count: 1,
            sum: number,
            total_nanos: value.as_nanos(),
            min: number,
            max: number,
            last: number,
            last_ts: at.time,
            last_origin: at.origin,
            last_idx: at.index,
            hist,
        }
    }

    /// Of many values: every bucket counts at its middle; the latest is their mean.
    fn of_many(distribution: &Distribution, at: At) -> Self {
        let mut hist = Sketch::default();
        let (mut sum, mut min, mut max) = (0.0, f64::MAX, f64::MIN);
        for (middle, count) in distribution.middles() {
            // Never -0, so that a minimum does not depend on order.
            let middle = middle + 0.0;
            hist.add_many(middle, count);
            sum += middle * count as f64;
            (min, max) = (min.min(middle), max.max(middle));
        }
        let sum = distribution.sum.unwrap_or(sum).clamp(f64::MIN, f64::MAX);
        Aggregate {
            count: distribution.count,
            sum,
            total_nanos: None,
            min: distribution.min.unwrap_or(min) + 0.0,
            max: distribution.max.unwrap_or(max) + 0.0,
            last: sum / distribution.count.max(1) as f64,
            last_ts: at.time,
            last_origin: at.origin,
            last_idx: at.index,
            hist: Some(hist),
        }
    }

    /// Adds a value: the same as merging [`Aggregate::of`] it, without building that.
    pub fn add(&mut self, value: Value<'_>, at: At) {
        if let Value::Many(distribution) = value {
            return self.merge(&Self::of_many(distribution, at));
        }
        let number = value.as_f64();
        self.add_numbers(1, number, value.as_nanos());
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.see(number, at);
        if matches!(value, Value::Spread(_)) {
            self.hist.get_or_insert_default().add(number);
        }
    }

    /// Adds what another aggregate of the same series and bucket holds.
    pub fn merge(&mut self, other: &Aggregate) {
        self.add_numbers(other.count, other.sum, other.total_nanos);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.see(other.last, other.last_at());
        if let Some(hist) = &other.hist {
            self.hist.get_or_insert_default().merge(hist);
        }
    }

    /// A total stays only while all that was added has one; sums stay finite, as JSON needs them.
    fn add_numbers(&mut self, count: u64, sum: f64, total_nanos: Option<i128>) {
        self.count = self.count.saturating_add(count);
        self.sum = (self.sum + sum).clamp(f64::MIN, f64::MAX);
        self.total_nanos = self
            .total_nanos
            .zip(total_nanos)
            .map(|(total, more)| total.saturating_add(more));
    }

    fn see(&mut self, value: f64, at: At) {
        let held = self.last_at();
        if at > held || (at == held && value > self.last) {
            self.last = value;
            (self.last_ts, self.last_origin, self.last_idx) = (at.time, at.origin, at.index);
        }
    }

    /// Where the latest value is from.
    pub const fn last_at(&self) -> At {
        At {
            time: self.last_ts,
            origin: self.last_origin,
            index: self.last_idx,
        }
    }
}
