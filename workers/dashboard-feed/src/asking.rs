//! What the sink is asked: one feed asks, however many dashboards there are.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bytes, Error};
use schemas::ledger::Report;
use schemas::live::{Alert, Answer, ArchiveState, Problem, cut};
use schemas::overview::{NodeVitals, Overview};
use schemas::query::{self, Line, OVERVIEW_SUBJECT};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::feed::{Feed, now_ms, paced};

/// An answer takes milliseconds; a sink that is catching up may take longer.
const TIMEOUT: Duration = Duration::from_secs(4);
/// While an answer is awaited, what is known is told this often.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two questions for alerts, unless one was raised.
const ALERTS_EVERY: Duration = Duration::from_secs(5);
/// After an alert was raised the sink gets this long to store it.
const ALERTS_AFTER: Duration = Duration::from_millis(500);
/// Alerts of this time are told.
const ALERTS_MS: i64 = 24 * 3600 * 1000;
/// A rule that found something within this time is told before anything else: views judge by it.
const JUDGED_MS: i64 = 15 * 60_000;
/// The worst alerts of the day: as many as a page shows.
const WORST_MAX: u64 = 10;
/// Alerts told at most.
const ALERTS_MAX: u64 = 40;
/// Between two questions for the archive.
const ARCHIVE_EVERY: Duration = Duration::from_secs(10);
/// Between two questions for the ledger.
const LEDGER_EVERY: Duration = Duration::from_secs(2);
/// Of the ledger: missing messages, ranges of them and earlier epochs told.
const MISSING_MAX: usize = 10;
const RANGES_MAX: usize = 20;
const EARLIER_MAX: usize = 5;
/// Machines told of at most.
const NODES_MAX: usize = 16;

/// Asks for the first page's figures and tells them.
pub(crate) async fn overview(feed: Arc<Feed>) {
    let mut ticks = paced(feed.refresh);
    loop {
        ticks.tick().await;
        let mut question = pin!(ask(&feed, OVERVIEW_SUBJECT, Bytes::new()));
        let answer = loop {
            match timeout(PATIENCE, &mut question).await {
                Ok(answer) => break answer,
                Err(_) => feed.tell_overview().await,
            }
        };
        let answer = answer.and_then(|body| {
            let overview: Result<Overview, _> = serde_json::from_slice(&body);
            overview
                .map(bounded)
                .map_err(|error| Problem::Failed(cut(&error.to_string())))
        });
        feed.update_overview(|overview| {
            if overview.sink.problem.is_some() && answer.is_ok() {
                feed.alerted.notify_one();
            }
            report(overview.sink.problem.as_ref(), answer.as_ref().err());
            note(&mut overview.sink, answer);
        });
        feed.tell_overview().await;
    }
}

/// Asks for the worst alerts, now and then and soon after one was raised.
pub(crate) async fn alerts(feed: Arc<Feed>) {
    loop {
        let answer = rows::<Alert>(&feed, worst_alerts(now_ms())).await;
        let answer = answer.map(|alerts| alerts.iter().map(cut_alert).collect());
        feed.update_overview(|overview| note(&mut overview.alerts, answer));
        if timeout(ALERTS_EVERY, feed.alerted.notified()).await.is_ok() {
            tokio::time::sleep(ALERTS_AFTER).await;
        }
    }
}

/// First the newest of each rule that found something just now, then the worst of the day, then others; in each
/// part the worst first, then the newest. So neither many mild alerts nor many of one rule push out another rule's.
fn worst_alerts(now_ms: i64) -> String {
    let since = |ms: i64| format!("make_timestamp({})", (now_ms - ms) * 1000);
    let (day, judged) = (since(ALERTS_MS), since(JUDGED_MS));
    format!(
        "SELECT rule, severity, key, message, count, epoch_ms(first_ts) AS first_ms, epoch_ms(last_ts) AS last_ms \
         FROM (SELECT *, CASE severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END AS mildness, \
             row_number() OVER (PARTITION BY rule, severity ORDER BY last_ts DESC) AS of_rule, \
             row_number() OVER (ORDER BY mildness, last_ts DESC) AS of_all \
           FROM alert WHERE last_ts >= {day}) \
         ORDER BY CASE WHEN of_rule = 1 AND last_ts >= {judged} AND severity <> 'info' THEN 0 \
             WHEN of_all <= {WORST_MAX} THEN 1 ELSE 2 END, mildness, last_ts DESC LIMIT {ALERTS_MAX}"
    )
}

/// Asks what the archive holds.
pub(crate) async fn archive(feed: Arc<Feed>) {
    let mut ticks = paced(ARCHIVE_EVERY);
    loop {
        ticks.tick().await;
        let sql = "SELECT state, count(*) AS files, sum(rows)::UBIGINT AS rows, sum(bytes)::UBIGINT AS bytes \
                   FROM archive_file GROUP BY state ORDER BY state LIMIT 8";
        let answer = rows::<ArchiveState>(&feed, sql.to_owned()).await;
        feed.update_pipeline(|pipeline| note(&mut pipeline.archive, answer));
    }
}

/// Asks for the ledger by kind.
pub(crate) async fn ledger(feed: Arc<Feed>) {
    let mut ticks = paced(LEDGER_EVERY);
    loop {
        ticks.tick().await;
        let answer = ask(&feed, query::LEDGER_SUBJECT, Bytes::new()).await;
        let answer = answer.and_then(|body| {
            let report: Result<Report, _> = serde_json::from_slice(&body);
            report
                .map(first_few)
                .map_err(|error| Problem::Failed(cut(&error.to_string())))
        });
        feed.update_pipeline(|pipeline| note(&mut pipeline.ledger, answer));
    }
}

fn first_few(mut report: Report) -> Report {
    let listed = report.earlier.len();
    report.earlier.truncate(EARLIER_MAX);
    report.earlier_omitted += (listed - report.earlier.len()) as u64;
    for epoch in std::iter::once(&mut report.current).chain(&mut report.earlier) {
        epoch.missing_messages.truncate(MISSING_MAX);
        let left_out = epoch.missing_ranges.iter().skip(RANGES_MAX);
        epoch.missing_omitted += left_out.map(|(first, last)| last - first + 1).sum::<u64>();
        epoch.missing_ranges.truncate(RANGES_MAX);
    }
    report
}

/// Bounds the texts of an alert.
pub(crate) fn cut_alert(alert: &Alert) -> Alert {
    Alert {
        rule: cut(&alert.rule),
        severity: cut(&alert.severity),
        key: cut(&alert.key),
        message: cut(&alert.message),
        count: alert.count,
        first_ms: alert.first_ms,
        last_ms: alert.last_ms,
    }
}

async fn ask(feed: &Feed, subject: &str, body: Bytes) -> Result<Bytes, Problem> {
    let answer = feed.context.request(subject, "sink", body, TIMEOUT).await;
    answer.map_err(|error| match error {
        Error::NoResponders { .. } => Problem::Unreachable,
        Error::RequestTimeout { .. } => Problem::Timeout,
        other => Problem::Failed(cut(&bus::chain(&other))),
    })
}

/// The rows of a query.
async fn rows<T: DeserializeOwned>(feed: &Feed, sql: String) -> Result<Vec<T>, Problem> {
    let request = query::Request {
        sql,
        rows_max: None,
        timeout_seconds: Some(TIMEOUT.as_secs() as u32),
    };
    let body = serde_json::to_vec(&request).unwrap_or_default();
    let answer = ask(feed, query::SUBJECT, Bytes::from(body)).await?;
    let unreadable = |error: &dyn std::fmt::Display| Problem::Failed(cut(&error.to_string()));
    let text = std::str::from_utf8(&answer).map_err(|error| unreadable(&error))?;
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Line::Row(row) = query::line(line).map_err(|error| unreadable(&error))? {
            rows.push(serde_json::from_str(row).map_err(|error| unreadable(&error))?);
        }
    }
    Ok(rows)
}

fn note<T>(known: &mut Answer<T>, answer: Result<T, Problem>) {
    match answer {
        Ok(value) => {
            *known = Answer {
                value: Some(value),
                answered_ms: Some(now_ms()),
                problem: None,
            };
        }
        Err(problem) => known.problem = Some(problem),
    }
}

/// Logs when the sink stops and starts answering, not at every question.
fn report(before: Option<&Problem>, now: Option<&Problem>) {
    match (before, now) {
        (before, Some(problem)) if before != Some(problem) => {
            tracing::warn!(?problem, "the sink does not answer query.overview");
        }
        (Some(_), None) => tracing::info!("the sink answers again"),
        _ => {}
    }
}

/// Few machines, and percentages as precise as they are drawn.
fn bounded(mut overview: Overview) -> Overview {
    overview.nodes.truncate(NODES_MAX);
    for NodeVitals {
        cpu_history,
        memory_history,
        ..
    } in &mut overview.nodes
    {
        for value in cpu_history.iter_mut().chain(memory_history).flatten() {
            *value = (*value * 10.0).round() / 10.0;
        }
    }
    overview
}
