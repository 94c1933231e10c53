//! Fills a new database with the hourly rollups of 30 days and 1,000 series of model calls, for scripts/bench.
//!
//! `cargo run --release -p sink --example month FILE`

use std::path::PathBuf;

use anyhow::Context as _;
use duckdb::Connection;
use sink::{Settings, Store};

/// What a model call measures, with its distribution where there is one. Hours in the order in which they came.
const FILL: &str = "INSERT INTO rollup
    SELECT name, 'default', 'agent-' || series % 50,
        json_object('agent', 'agent-' || series % 50, 'model', 'model-' || series % 20, 'status', 'ok', 'team', series::VARCHAR),
        bucket, '1h', 60, 30.0, CASE WHEN name <> 'usage.latency_ms' THEN 30 + series END, 0.1, 2.0, 0.5, bucket, 1, 0,
        CASE WHEN name = 'usage.latency_ms'
            THEN map_from_entries(list_transform(range(12), lambda step: {'key': (40300 + series % 90 + step)::INTEGER, 'value': 5::UBIGINT})) END
    FROM (SELECT date_trunc('hour', now()::TIMESTAMP) - INTERVAL (719 - hour) HOUR AS bucket FROM range(720) t(hour)),
        range(1000) s(series),
        unnest(['usage.requests', 'usage.tokens_in', 'usage.cost_usd', 'usage.latency_ms']) n(name)
    ORDER BY bucket, series, name";

fn main() -> anyhow::Result<()> {
    let file = std::env::args()
        .nth(1)
        .map(PathBuf::from)
        .context("usage: month FILE")?;
    drop(Store::open(&file, &Settings::default())?);
    let connection = Connection::open(&file)?;
    connection.execute_batch(FILL)?;
    connection.execute_batch("CHECKPOINT")?;
    Ok(())
}
