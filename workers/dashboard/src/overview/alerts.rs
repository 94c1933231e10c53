//! What rules found.

use askama::Template;
use schemas::live::Alert;

use crate::{
    format::{Amount, age, clock, count},
    picture::{Known, worst_first},
    queries::QueryError,
};

/// Shows all of them.
pub(crate) const ALERTS_QUERY: &str = "aiai query 'SELECT * FROM alert ORDER BY last_ts DESC'";
/// Alerts shown at most.
const ALERTS_MAX: usize = 10;

/// Alerts of this time are shown.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The worst alerts of the last day.
#[derive(Template)]
#[template(path = "overview/alerts.html")]
pub(crate) struct Alerts {
    rows: Vec<Row>,
    /// How many more there are at least: the feed tells a bounded number.
    omitted: usize,
    /// Whether the sink's list is known, so that an empty one means something.
    known: bool,
    problem: Option<QueryError>,
}

struct Row {
    class: &'static str,
    severity: String,
    rule: String,
    key: String,
    message: String,
    count: Amount,
    age: String,
    time: String,
}

/// The alerts that are known: stored ones, and those raised since. The worst first, then the newest.
pub(super) fn all(known: &Known) -> Vec<&Alert> {
    let stored = known
        .overview
        .iter()
        .flat_map(|overview| overview.alerts.value.iter().flatten());
    let is_stored = |raised: &Alert| {
        let same = |other: &Alert| other.rule == raised.rule && other.key == raised.key;
        stored
            .clone()
            .any(|other| same(other) && other.last_ms >= raised.last_ms)
    };
    let since = known.now_ms().saturating_sub(DAY_MS);
    let raised = known.raised.iter().filter(|alert| !is_stored(alert));
    let mut alerts: Vec<&Alert> = raised
        .chain(stored.clone())
        .filter(|alert| alert.last_ms >= since)
        .collect();
    alerts.sort_by_key(|alert| worst_first(alert));
    alerts
}

impl Alerts {
    /// From what the feed said.
    pub(crate) fn new(known: &Known) -> Self {
        let alerts = all(known);
        let answer = known.overview.as_ref().map(|overview| &overview.alerts);
        let rows = alerts.iter().take(ALERTS_MAX);
        Self {
            rows: rows.map(|alert| Row::new(alert, known.now_ms())).collect(),
            omitted: alerts.len().saturating_sub(ALERTS_MAX),
            known: known.knows_alerts(),
            problem: answer
                .and_then(|answer| answer.problem.as_ref())
                .map(QueryError::of_sink),
        }
    }
}

impl Row {
    fn new(alert: &Alert, now_ms: i64) -> Self {
        Self {
            class: match alert.severity.as_str() {
                "critical" => "wrong",
                "warning" => "attention",
                _ => "",
            },
            severity: alert.severity.clone(),
            rule: alert.rule.clone(),
            key: alert.key.clone(),
            message: alert.message.clone(),
            count: count(alert.count),
            age: age(now_ms.saturating_sub(alert.last_ms)),
            time: clock(alert.last_ms, now_ms),
        }
    }
}
