//! What changes in the aggregates when a call turns out to have cost something else.
//!
//! Counts and exact sums become what they would be had it been known. Smallest and largest only widen, and the latest stays
//! where two values share its place: they are no sums, and the rows they came from may be in files by now.

use super::{Aggregate, At, MINUTE_MICROSECONDS, Partial, SeriesKey, Value};
use crate::Money;

/// The measure that costs are added up in.
pub const COST: &str = "usage.cost_usd";

/// A call whose cost changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostChange<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// Who sent it.
    pub source: &'a str,
    /// The tags of its series, canonical.
    pub tags: &'a str,
    /// When and where it was sent.
    pub at: At,
    /// What it cost so far; none: it had no price.
    pub before: Option<Money>,
    /// What it costs now.
    pub after: Money,
}

impl Partial {
    /// Adds the difference that a call's new cost makes.
    pub fn note_cost(&mut self, change: &CostChange<'_>) {
        let key = SeriesKey {
            tenant: change.tenant.to_owned(),
            name: COST.to_owned(),
            tags: change.tags.to_owned(),
            source: change.source.to_owned(),
            bucket: change.at.time,
        };
        let difference = i128::from(change.after.0) - i128::from(change.before.map_or(0, |before| before.0));
        let mut delta = Aggregate::of(Value::Money(change.after), change.at);
        delta.count = u64::from(change.before.is_none());
        delta.sum -= Value::Money(change.before.unwrap_or_default()).as_f64();
        delta.total_nanos = Some(difference);
        self.add(key.in_bucket_of(MINUTE_MICROSECONDS), &delta);
    }
}
