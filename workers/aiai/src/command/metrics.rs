//! `aiai metrics`: what was measured, over time, from the rollups.

use std::process::ExitCode;

use jiff::Timestamp;
use schemas::query;

use super::period::Interval;
use super::query::print_rows;
use super::sql;
use crate::cli::{self, Aggregate};
use crate::config::Config;

/// More than anybody reads, less than the sink allows.
const ROWS_MAX: u64 = 100_000;

/// The latest value of several rows, whatever the order of their arrival.
const LATEST: &str = "arg_max(last, (last_ts, last_origin, last_idx))";

/// Asks and prints.
pub async fn metrics(config: &Config, options: &cli::Metrics) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now().as_second();
    let sql = match &options.name {
        Some(name) => series(name, options, now),
        None => names(options, now),
    };
    let context = super::connect(config).await?;
    let request = query::Request {
        sql,
        rows_max: Some(ROWS_MAX),
        timeout_seconds: None,
    };
    if print_rows(&context, &request, options.output, "--rows").await? == 0 {
        match &options.name {
            Some(name) if quantile(options.agg).is_some() => crate::output::say(&format!(
                "no quantiles of {name} in this time: only values of metric_type histogram and durations keep their \
                 distribution; --agg avg, min, max work with all"
            )),
            Some(name) => crate::output::say(&format!(
                "no values of {name} in this time; `aiai metrics` lists what there is, --since asks for more"
            )),
            None => crate::output::say("nothing was measured in this time; --since asks for more"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A condition on a tag, or on what every series has.
fn condition((key, value): &(String, String)) -> String {
    format!("{} = {}", column(key), sql::literal(value))
}

fn column(key: &str) -> String {
    match key {
        "source" | "tenant" => key.to_owned(),
        tag => sql::tag(tag),
    }
}

/// Names with how often and when last they were measured.
fn names(options: &cli::Metrics, now: i64) -> String {
    let since = options.since.seconds(now);
    let interval = Interval::for_sum(now - since);
    let conditions: Vec<_> = std::iter::once(interval.condition(since, now))
        .chain(options.conditions.iter().map(condition))
        .collect();
    format!(
        "SELECT name, sum(count)::UBIGINT AS count, count(DISTINCT (tenant, source, tags::VARCHAR)) AS series, \
         max(last_ts) AS last FROM {} AND {} GROUP BY name ORDER BY name",
        interval.rows(),
        conditions.join(" AND ")
    )
}

/// One value for each bucket and group.
fn series(name: &str, options: &cli::Metrics, now: i64) -> String {
    let since = options.since.seconds(now);
    let interval = options
        .interval
        .unwrap_or_else(|| Interval::for_chart(now - since));
    let conditions: Vec<_> = [
        format!("name = {}", sql::literal(name)),
        interval.condition(since, now),
    ]
    .into_iter()
    .chain(options.conditions.iter().map(condition))
    .collect();
    let from = format!("{} AND {}", interval.rows(), conditions.join(" AND "));
    let bucket = format!("{} AS bucket", interval.bucket());
    let columns = options
        .by
        .iter()
        .map(|key| format!("{} AS {}", column(key), sql::name(key)));
    let columns = std::iter::once(bucket)
        .chain(columns)
        .collect::<Vec<_>>()
        .join(", ");
    let keys = options.by.iter().map(|key| sql::name(key));
    let keys = std::iter::once("bucket".to_owned())
        .chain(keys)
        .collect::<Vec<_>>()
        .join(", ");
    let value = aggregate(options.agg, name, interval);
    if let Some(share) = quantile(options.agg) {
        let merged = sql::merged(&columns, &keys, &from);
        return format!("SELECT {keys}, quantile_of(hist, {share}) AS {value} FROM ({merged}) ORDER BY ALL");
    }
    // Growth of each series from one bucket to the next; a running total that fell began anew.
    let from = if options.agg == Aggregate::Rate {
        format!(
            "(SELECT *, last - coalesce(lag(last) OVER (PARTITION BY tenant, source, tags ORDER BY bucket), min) \
             AS grown FROM (SELECT tenant, source, tags, bucket, sum(sum) AS sum, min(min) AS min, {LATEST} AS last \
             FROM {from} GROUP BY tenant, source, tags, bucket))"
        )
    } else {
        from
    };
    format!("SELECT {columns}, {value} FROM {from} GROUP BY ALL ORDER BY ALL")
}

const fn quantile(agg: Aggregate) -> Option<&'static str> {
    match agg {
        Aggregate::P50 => Some("0.5"),
        Aggregate::P95 => Some("0.95"),
        Aggregate::P99 => Some("0.99"),
        _ => None,
    }
}

/// The SQL of the value with its name; of a quantile only the name.
fn aggregate(agg: Aggregate, name: &str, interval: Interval) -> String {
    match agg {
        Aggregate::Avg => "sum(sum) / sum(count) AS avg".into(),
        // The exact sum too, where there is one.
        Aggregate::Sum => {
            "sum(sum) AS sum, CASE WHEN count(total) = count(*) THEN sum(total) END AS total".into()
        }
        Aggregate::Min => "min(min) AS min".into(),
        Aggregate::Max => "max(max) AS max".into(),
        Aggregate::Count => "sum(count)::UBIGINT AS count".into(),
        Aggregate::Last => format!("{LATEST} AS last"),
        Aggregate::Rate => format!(
            "CASE WHEN (SELECT max(metric_type) = 'cumulative' FROM metric WHERE name = {}) \
             THEN sum(CASE WHEN grown < 0 THEN last ELSE grown END) ELSE sum(sum) END / {} AS rate",
            sql::literal(name),
            interval.seconds()
        ),
        Aggregate::P50 => "p50".into(),
        Aggregate::P95 => "p95".into(),
        Aggregate::P99 => "p99".into(),
    }
}
