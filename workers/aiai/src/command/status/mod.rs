//! `aiai status`: is anything wrong? One screen, and 3 if so.
//!
//! What is known is gathered here, judged in [`judge`] (pure), and written in [`text`] (pure). A part that cannot
//! be read is a finding, not the end: the rest is shown all the more.

mod judge;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use bus::heartbeat::Heartbeat;
use bus::{Context, StreamSurvey};
use jiff::Timestamp;
use schemas::overview::Overview;
use serde::{Deserialize, Serialize};

use super::{ledger, sql};
use crate::cli;
use crate::config::Config;
use crate::failure::UNHEALTHY;
use crate::output;
use crate::registry::WORKERS;
use judge::{Finding, Level};

/// Alerts older than this are history.
const ALERTS_SECONDS: i64 = 900;
/// For what is asked of the sink beside the overview.
const DETAILS_TIMEOUT: Duration = Duration::from_secs(5);

/// Dead letters of one reason.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
struct DeadReason {
    reason: String,
    letters: u64,
}

/// What a rule found lately.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
struct AlertLine {
    severity: String,
    rule: String,
    count: u64,
    last: String,
}

/// All that is known.
#[derive(Debug, Serialize)]
struct Facts {
    at_ms: i64,
    /// None: the sink does not answer, and why.
    #[serde(skip)]
    overview: Result<Overview, String>,
    workers: Vec<Heartbeat>,
    streams: Vec<StreamSurvey>,
    dead: Vec<DeadReason>,
    alerts: Vec<AlertLine>,
}

/// Gathers, judges, prints.
pub async fn status(config: &Config, options: &cli::Status) -> anyhow::Result<ExitCode> {
    let context = super::connect(config).await?;
    let facts = gather(&context).await?;
    let known: Vec<_> = WORKERS.iter().map(|worker| worker.name).collect();
    let findings = judge::findings(&facts, &known);
    let healthy = findings.iter().all(|finding| finding.level < Level::Wrong);
    if options.output == "json" {
        output::print(&(serde_json::to_string_pretty(&report(&facts, &findings, healthy))? + "\n"))?;
    } else {
        output::print(&text::screen(&facts, &findings, healthy))?;
    }
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNHEALTHY)
    })
}

async fn gather(context: &Context) -> anyhow::Result<Facts> {
    let (workers, streams, overview) =
        tokio::join!(context.heartbeats(), context.survey(), ledger::overview(context));
    let at = Timestamp::now();
    let overview = overview.map_err(|error| bus::chain(error.as_ref()));
    let (dead, alerts) = if overview.is_ok() {
        let details = async { tokio::join!(dead(context), alerts(context, at.as_second())) };
        tokio::time::timeout(DETAILS_TIMEOUT, details)
            .await
            .unwrap_or_default()
    } else {
        Default::default()
    };
    Ok(Facts {
        at_ms: at.as_millisecond(),
        overview,
        workers: workers?,
        streams: streams?,
        dead,
        alerts,
    })
}

/// The most frequent reasons. The ledger has the whole number; this is detail, and may fail.
async fn dead(context: &Context) -> Vec<DeadReason> {
    let select = "SELECT reason, count(*) AS letters FROM dead WHERE state = 'open' GROUP BY ALL ORDER BY letters DESC, reason LIMIT 3";
    detail(sql::rows(context, select).await)
}

/// Detail that may be missing: the rest of the screen is worth more than an error. The log says why.
fn detail<T>(asked: anyhow::Result<Vec<T>>) -> Vec<T> {
    asked.unwrap_or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "a part of the status could not be asked for"
        );
        Vec::new()
    })
}

/// What rules found in the last 15 minutes, the worst first.
async fn alerts(context: &Context, now: i64) -> Vec<AlertLine> {
    let select = format!(
        "SELECT severity, rule, sum(count)::UBIGINT AS count, max(last_ts)::VARCHAR AS last FROM alert \
         WHERE last_ts > make_timestamp({}) GROUP BY severity, rule \
         ORDER BY CASE severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, last DESC LIMIT 5",
        i128::from(now - ALERTS_SECONDS) * 1_000_000
    );
    detail(sql::rows(context, &select).await)
}

fn report(facts: &Facts, findings: &[Finding], healthy: bool) -> serde_json::Value {
    let overview = facts.overview.as_ref().ok();
    serde_json::json!({
        "healthy": healthy,
        "findings": findings,
        "at_ms": facts.at_ms,
        "ledger": overview.map(|overview| &overview.ledger),
        "per_second_now": overview.map(|overview| overview.rate.per_second_now),
        "newest_event_ms": overview.map(|overview| overview.newest_event_ms),
        "kinds_total": overview.map(|overview| &overview.kinds_total),
        "database": overview.map(|overview| &overview.database),
        "workers": facts.workers,
        "streams": facts.streams,
        "dead": facts.dead,
        "alerts": facts.alerts,
    })
}
