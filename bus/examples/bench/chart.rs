//! A month of cost by model and hour, as `aiai metrics` asks for it, from a database filled for the purpose.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::report::median;
use crate::world::{Process, Programs, World};

const TIMES: usize = 9;
/// For the sink to open the database.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Hours, and models in the database that example `month` of crate sink writes.
const ROWS: usize = 720 * 20;

/// Milliseconds, the median of some.
pub async fn measure(programs: &Programs) -> anyhow::Result<f64> {
    let world = World::new().await?;
    let (data, url) = (world.data.path(), world.server.url());
    let filled = Command::new(&programs.month)
        .arg(data.join("aiai.duckdb"))
        .status()?;
    ensure!(filled.success(), "{} failed", programs.month.display());
    let _sink = Process::start(&programs.aiai, data, &["run", "sink", "--nats-url", url])?;
    let ask = || {
        let mut command = Command::new(&programs.aiai);
        command
            .current_dir(data)
            .args(["metrics", "usage.cost_usd", "--agg", "sum", "--by", "model"])
            .args([
                "--interval",
                "1h",
                "--since",
                "31d",
                "-o",
                "ndjson",
                "--nats-url",
                url,
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
