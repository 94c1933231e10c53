//! `aiai usage`: what model calls cost, from the rollups: sums are those of the rows, to the last digit.

use std::process::ExitCode;

use jiff::Timestamp;
use schemas::query;

use super::period::Interval;
use super::query::print_rows;
use super::sql;
use crate::cli::{self, UsageBy};
use crate::config::Config;
use crate::failure::Usage;

/// More groups than anybody reads.
const ROWS_MAX: u64 = 10_000;

/// Asks and prints.
pub async fn usage(config: &Config, options: &cli::UsageOptions) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now().as_second();
    let (since, until) = (
        options.since.seconds(now),
        options.until.map_or(now, |until| until.seconds(now)),
    );
    if since >= until {
        return Err(Usage("--since is not before --until; nothing lies between".into()).into());
    }
    let context = super::connect(config).await?;
    let request = query::Request {
        sql: select(options.by, since, until, now),
        rows_max: Some(ROWS_MAX),
        timeout_seconds: None,
    };
    if print_rows(&context, &request, options.output, "--rows").await? == 0 {
        crate::output::say("no model call in this time; --since asks for more");
    }
    Ok(ExitCode::SUCCESS)
}

/// How old the oldest of it is decides which rollups are still kept.
fn select(by: UsageBy, since: i64, until: i64, now: i64) -> String {
    let finest = Interval::for_sum(now - since);
    let (name, key, order) = match by {
        UsageBy::Model => (
            "model",
            sql::tag("model"),
            "cost_usd DESC NULLS LAST, calls DESC, 1",
        ),
        UsageBy::Provider => (
            "provider",
            sql::tag("provider"),
            "cost_usd DESC NULLS LAST, calls DESC, 1",
        ),
        UsageBy::Agent => (
            "agent",
            sql::tag("agent"),
            "cost_usd DESC NULLS LAST, calls DESC, 1",
        ),
        UsageBy::Complexity => (
            "task_complexity",
            sql::tag("task_complexity"),
            "cost_usd DESC NULLS LAST, calls DESC, 1",
        ),
        UsageBy::Status => ("status", sql::tag("status"), "calls DESC, 1"),
        UsageBy::Day => ("day", "date_trunc('day', bucket)::DATE".into(), "1"),
        UsageBy::Hour => ("hour", "date_trunc('hour', bucket)".into(), "1"),
    };
    let interval = if by == UsageBy::Hour {
        finest.min(Interval::Hour)
    } else {
        finest
    };
    let exact = |name: &str| format!("coalesce(sum(total) FILTER (name = 'usage.{name}'), 0)::HUGEINT");
    let from = format!("{} AND {}", interval.rows(), interval.condition(since, until));
    let spread = sql::merged(
        &format!("{key} AS {name}"),
        name,
        &format!("{from} AND name = 'usage.latency_ms'"),
    );
    format!(
        "SELECT sums.*, round(quantile_of(hist, 0.5), 3) AS latency_ms_p50, \
            round(quantile_of(hist, 0.95), 3) AS latency_ms_p95 \
         FROM (SELECT {key} AS {name}, {calls} AS calls, {errors} AS errors, \
            {tokens_in} - {cache_read} - {cache_write} AS tokens_fresh, {cache_read} AS tokens_cache_read, \
            {cache_write} AS tokens_cache_write, {tokens_out} AS tokens_out, {reasoning} AS tokens_reasoning, \
            sum(total) FILTER (name = 'usage.cost_usd') AS cost_usd, \
            {calls} - coalesce(sum(count) FILTER (name = 'usage.cost_usd'), 0)::HUGEINT AS unpriced \
            FROM {from} AND name LIKE 'usage.%' GROUP BY ALL) AS sums \
         LEFT JOIN ({spread}) AS spread ON sums.{name} IS NOT DISTINCT FROM spread.{name} \
         ORDER BY {order}",
        calls = exact("requests"),
        errors = exact("errors"),
        tokens_in = exact("tokens_in"),
        tokens_out = exact("tokens_out"),
        cache_read = exact("tokens_cache_read"),
        cache_write = exact("tokens_cache_write"),
        reasoning = exact("tokens_reasoning"),
    )
}
