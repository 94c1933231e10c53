//! Rollups: from the events of one EVENTS message to one partial aggregate, and how aggregates merge.
//!
//! Invariants: the fold is a pure function of the rows it is given; merging is commutative and associative
//! (counts, minima, maxima and exact totals to the last bit, sums of doubles to their rounding), so that batches,
//! order and lateness of events never change a number. A partial is written in one order only.
//!
//! A row measures what [`Measured`] says: a metric itself; a model call `usage.requests`, `usage.cost_usd` and
//! so on; an event `event.count`; a step `step.count`, `step.errors` and `step.duration_ms`; messages, sessions and tasks
//! their counts. A metric's distribution counts every bucket at its middle. The value measured is what was sent, also for `cumulative` metrics: of those
//! `last`, `min` and `max` mean something, `sum` does not.
//!
//! Deliberately absent: limits on the number of series. They hold where partials are merged.

mod aggregate;
mod measure;
mod partial;
mod recost;
mod sketch;

pub use aggregate::{Aggregate, At, Value};
pub use measure::{Measured, Series};
pub use partial::{OTHER, Partial, PartialError, SeriesKey, fold};
pub use recost::{COST, CostChange};
pub use sketch::{ERROR_MAX, Sketch};

/// A minute in microseconds: the width of a partial's buckets.
pub const MINUTE_MICROSECONDS: i64 = 60_000_000;
/// An hour in microseconds.
pub const HOUR_MICROSECONDS: i64 = 60 * MINUTE_MICROSECONDS;
/// A day in microseconds.
pub const DAY_MICROSECONDS: i64 = 24 * HOUR_MICROSECONDS;
