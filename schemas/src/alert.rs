//! What rules find: matches for the database, alerts for people and webhooks.
//!
//! A match is a *delta*: how many events of one EVENTS message matched a rule, for one key in one window. Deltas of
//! the same rule, tenant, key and window add up, in any order and however the events were batched. Everything but
//! the count also holds when an event is counted twice, so that leaving out origins is a matter of the count alone.

mod counts;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::choice::choice;
use crate::{LineError, read_lines};

pub use counts::{OriginCounts, OriginCountsError};

/// First token of alerts: `alerts.<severity>.<rule>`.
pub const ALERTS: &str = "alerts";
/// What rules found in one EVENTS message, one [`Match`] a line.
pub const MATCHES_SUBJECT: &str = "matches.events";
/// Stands for all keys past the limit of one message.
pub const OTHER_KEY: &str = "__other__";
/// An event this much older than its arrival is counted, but nobody is told.
pub const TELL_WITHIN_MS: i64 = 3_600_000;
/// Rule of the sink: series past the limit are added up as one.
pub const SERIES_RULE: &str = "rollup_series";
/// Rule of worker route: a rule that cannot be evaluated on some event.
pub const FAILED_RULE: &str = "rule_failed";

choice! {
    /// How bad it is.
    pub enum Severity {
        /// Worth knowing.
        Info = "info",
        /// Worth a look today.
        Warning = "warning",
        /// Worth a look now.
        Critical = "critical",
    }
}

/// What one EVENTS message adds to one alert.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The rule's name: one token of a subject.
    pub rule: String,
    /// The rule's severity.
    pub severity: Severity,
    /// What the rule tells apart, e.g. a source; [`OTHER_KEY`] past the limit.
    pub key: String,
    /// Whose events.
    pub tenant: String,
    /// Start of the window, in milliseconds since 1970: a multiple of its width.
    pub window_start_ms: i64,
    /// Width of the window.
    pub window_seconds: u32,
    /// Events that matched: as many as `origins` counts.
    pub count: u64,
    /// When the first of them happened, in milliseconds since 1970.
    pub first_ms: i64,
    /// When the last of them happened, in milliseconds since 1970.
    pub last_ms: i64,
    /// The rule's message about the first of them.
    pub message: String,
    /// The first of them, if it is not too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Box<RawValue>>,
    /// How many events of which INGEST message; nothing for what no event caused.
    #[serde(default, skip_serializing_if = "OriginCounts::is_empty")]
    pub origins: OriginCounts,
}

/// An alert as it is told: once for each rule, tenant, key and window.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// The same for every telling of the same alert.
    pub id: String,
    /// The rule's name.
    pub rule: String,
    /// The rule's severity.
    pub severity: Severity,
    /// What the rule tells apart, e.g. a source.
    pub key: String,
    /// Whose events.
    pub tenant: String,
    /// Start of the window, in milliseconds since 1970.
    pub window_start_ms: i64,
    /// Width of the window.
    pub window_seconds: u32,
    /// Events that had matched when it was told; the view `alert` has how many did in the end.
    pub count: u64,
    /// When the first of them happened, in milliseconds since 1970.
    pub first_ms: i64,
    /// When the last of them happened, in milliseconds since 1970.
    pub last_ms: i64,
    /// The rule's message about the first of them.
    pub message: String,
    /// The first of them, if it is not too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Box<RawValue>>,
}

/// Why what rules found cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// A line is no match.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Its numbers contradict each other.
    #[error("line {line}: count is {count}, its origins count {origins}")]
    Count {
        /// The line, from 1.
        line: usize,
        /// What it says.
        count: u64,
        /// What its origins add up to.
        origins: u64,
    },
}

/// `alerts.<severity>.<rule>`.
#[must_use]
pub fn subject(severity: Severity, rule: &str) -> String {
    format!("{ALERTS}.{}.{rule}", severity.as_str())
}

/// The rule that an alert's subject names.
#[must_use]
pub fn rule_of(subject: &str) -> Option<&str> {
    subject
        .strip_prefix(ALERTS)?
        .strip_prefix('.')?
        .split_once('.')
        .map(|(_, rule)| rule)
}

/// Start of the window of this width that a time is in, both in milliseconds since 1970.
#[must_use]
pub const fn window_start(time_ms: i64, window_seconds: u32) -> i64 {
    time_ms - time_ms.rem_euclid(window_seconds as i64 * 1000)
}

impl Match {
    /// What makes two matches the same alert.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = hash(&[&self.tenant, &self.key]);
        format!("alert:{}:{hash:016x}:{}", self.rule, self.window_start_ms)
    }

    /// As it is told.
    #[must_use]
    pub fn alert(&self) -> Alert {
        Alert {
            id: self.id(),
            rule: self.rule.clone(),
            severity: self.severity,
            key: self.key.clone(),
            tenant: self.tenant.clone(),
            window_start_ms: self.window_start_ms,
            window_seconds: self.window_seconds,
            count: self.count,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            message: self.message.clone(),
            sample: self.sample.clone(),
        }
    }

    /// Adds another match of the same alert. The earlier one's message and sample stay.
    pub fn merge(&mut self, other: Match) {
        self.count = self.count.saturating_add(other.count);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.origins.merge(&other.origins);
        if other.first_ms < self.first_ms {
            self.first_ms = other.first_ms;
            self.message = other.message;
            self.sample = other.sample;
        }
    }
}

/// One match a line.
#[must_use]
pub fn to_ndjson(matches: &[Match]) -> Vec<u8> {
    let mut out = Vec::with_capacity(matches.len() * 512);
    for found in matches {
        let start = out.len();
        // Writing to memory cannot fail; never leave half a line behind anyway.
        let written = serde_json::to_writer(&mut out, found);
        debug_assert!(written.is_ok(), "{written:?}");
        match written {
            Ok(()) => out.push(b'\n'),
            Err(_) => out.truncate(start),
        }
    }
    out
}

/// Reads what [`to_ndjson`] wrote.
///
/// # Errors
/// The first line that is something else.
pub fn read(payload: &[u8]) -> Result<Vec<Match>, MatchError> {
    let matches: Vec<Match> = read_lines(payload)?;
    for (found, line) in matches.iter().zip(1..) {
        let origins = found.origins.total();
        if origins != found.count {
            let count = found.count;
            return Err(MatchError::Count { line, count, origins });
        }
    }
    Ok(matches)
}

/// FNV-1a, 64 bits: every copy of a worker must come to the same id. A byte no text contains separates the parts.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
