//! A month of cost by model and hour, as `aiai metrics` asks for it, from a database filled for the purpose.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bus::testing::TestServer;

use crate::{report::median, start};

const TIMES: usize = 9;
/// For the sink to open the database.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Hours, and models in the database that example `month` of crate sink writes.
const ROWS: usize = 720 * 20;

/// Milliseconds, the median of some.
pub async fn measure(binary: &Path, month: &Path) -> anyhow::Result<f64> {
    let data = tempfile::tempdir()?;
    let filled = Command::new(month)
        .arg(data.path().join("aiai.duckdb"))
        .status()?;
    ensure!(filled.success(), "{} failed", month.display());
    let server = TestServer::start().await?;
    crate::connect(&server).await?;
    let _sink = start(binary, data.path(), &["run", "sink", "--nats-url", server.url()])?;
    let ask = || {
        let mut command = Command::new(binary);
        command
            .current_dir(data.path())
            .args(["metrics", "usage.cost_usd", "--agg", "sum", "--by", "model"])
            .args([
                "--interval",
                "1h",
                "--since",
                "31d",
                "-o",
                "ndjson",
                "--nats-url",
                server.url(),
            ]);
        let started = Instant::now();
        let output = command.output()?;
        anyhow::Ok((output, started.elapsed()))
    };
    let started = Instant::now();
    while !ask()?.0.status.success() {
        ensure!(started.elapsed() < START_TIMEOUT, "the sink does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let (output, took) = ask()?;
        let rows = std::str::from_utf8(&output.stdout)
            .context("text")?
            .lines()
            .count();
        ensure!(rows == ROWS, "{rows} rows instead of {ROWS}");
        times.push(took.as_secs_f64() * 1000.0);
    }
    Ok(median(&times))
}
