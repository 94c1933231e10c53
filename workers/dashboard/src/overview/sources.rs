//! Who sends events.

use askama::Template;
use schemas::overview::Overview;

use super::status::HELLO;
use crate::format::{Amount, age, clock, count};

/// Rows shown at most, whatever the sink answers.
const SOURCES_MAX: usize = 20;

/// The busiest sources of the last 15 minutes.
#[derive(Template)]
#[template(path = "overview/sources.html")]
pub(crate) struct Sources {
    rows: Vec<SourceRow>,
    omitted: Option<Amount>,
    hello: &'static str,
}

struct SourceRow {
    source: String,
    events: Amount,
    /// Part of the busiest source's events, 0 to 100.
    share: f64,
    age: String,
    time: String,
}

impl Sources {
    /// From the sink's answer.
    pub(crate) fn new(overview: &Overview) -> Self {
        let busiest = overview
            .sources
            .iter()
            .map(|source| source.events_15m)
            .max()
            .unwrap_or(0)
            .max(1);
        let rows = overview.sources.iter().take(SOURCES_MAX).map(|source| SourceRow {
            source: source.source.clone(),
            events: count(source.events_15m),
            share: (source.events_15m as f64 / busiest as f64 * 1000.0).round() / 10.0,
            age: age(overview.at_ms.saturating_sub(source.last_seen_ms)),
            time: clock(source.last_seen_ms, overview.at_ms),
        });
        let cut = overview.sources.len().saturating_sub(SOURCES_MAX) as u64;
        let omitted = overview.sources_omitted.saturating_add(cut);
        Self {
            rows: rows.collect(),
            omitted: (omitted > 0).then(|| count(omitted)),
            hello: HELLO,
        }
    }
}
