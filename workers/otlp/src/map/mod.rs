//! From OTLP to the kinds of aiai: pure functions of a request (and of [`Recent`], see there).
//!
//! Invariants: whatever the bytes, nothing panics, and every line written is one that `schemas::decode` accepts;
//! what cannot be made one is rejected with its place and its fix, and counted. What is too long is cut, with a mark.
//! The same request always gives the same lines.
//!
//! Deliberately absent: clocks (the caller says what time it is), I/O, links between requests other than `Recent`.

mod batch;
mod claude;
mod cut;
mod facts;
mod genai;
mod log;
mod metric;
mod operation;
mod origin;
mod points;
mod reported;
mod span;
mod tags;
mod tokens;
mod value;
mod wrappers;
mod write;

use schemas::{Time, limits};

pub use batch::{Batch, MESSAGE_BYTES, Message};
pub use cut::Cuts;
pub(crate) use cut::cut;
pub use log::logs;
pub use metric::metrics;

pub use schemas::Kind;
pub use span::traces;
pub use wrappers::Recent;

/// Reasons told in an answer; further ones are counted.
const REASONS: usize = 3;

/// What became of a request.
#[derive(Debug, Default)]
pub struct Mapped {
    /// What is to be published.
    pub batch: Batch,
    /// Spans, log records or data points that cannot be stored.
    pub rejected: u64,
    /// Data points that say themselves that they have no value.
    pub without_value: u64,
    /// Texts, attributes and tags cut or left out.
    pub cuts: Cuts,
    reasons: Vec<String>,
}

impl Mapped {
    /// Leaves one out.
    fn reject(&mut self, place: &str, name: &str, problem: &str, fix: &str) {
        self.rejected += 1;
        if self.reasons.len() < REASONS {
            let name = cut::cut(name, 64, &mut Cuts::default());
            self.reasons.push(format!("{place} `{name}`: {problem}; {fix}"));
        }
    }

    /// Why something was rejected: the first few reasons. Empty if nothing was.
    pub fn reason(&self) -> String {
        let mut text = self.reasons.join(" | ");
        let more = self.rejected - self.reasons.len() as u64;
        if more > 0 {
            text.push_str(&format!(" | and {more} more"));
        }
        text
    }
}

/// Nanoseconds since 1970 as OTLP has them; 0 stands for none.
fn time(nanos: u64) -> Option<Time> {
    let micros = i64::try_from(nanos / 1000).ok()?;
    (nanos > 0).then_some(Time(micros))
}

/// Why a time cannot be stored, if so.
fn too_far_ahead(time: Option<Time>, now: Time) -> bool {
    time.is_some_and(|time| time.0.saturating_sub(now.0) > limits::TIMESTAMP_AHEAD_SECONDS * 1_000_000)
}

const AHEAD: &str = "its time is more than an hour ahead";
const SET_CLOCK: &str = "set the sender's clock";
