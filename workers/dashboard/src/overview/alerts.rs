//! What rules found.

use askama::Template;
use schemas::live::Alert;

use crate::{
    format::{Amount, age, clock, count},
    picture::Known,
    queries::QueryError,
};

/// Alerts shown at most.
const ALERTS_MAX: usize = 10;

/// The newest alerts of the last day.
#[derive(Template)]
#[template(path = "overview/alerts.html")]
pub(crate) struct Alerts {
    rows: Vec<Row>,
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

impl Alerts {
    /// The sink's list; before it, what was raised since.
    pub(crate) fn new(known: &Known) -> Self {
        let answer = known.overview.as_ref().map(|overview| &overview.alerts);
        let stored = answer.and_then(|answer| answer.value.as_ref());
        let listed = |alert: &&Alert| {
            let mut stored = stored.into_iter().flatten();
            !stored.any(|other| other.rule == alert.rule && other.key == alert.key)
        };
        let raised = known.raised.iter().filter(listed);
        let rows = raised.chain(stored.into_iter().flatten()).take(ALERTS_MAX);
        Self {
            rows: rows.map(|alert| Row::new(alert, known.now_ms())).collect(),
            known: stored.is_some(),
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
