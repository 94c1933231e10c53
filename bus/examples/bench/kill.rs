//! Recovery: `kill -9` of all workers under load, started again at once; until what was acknowledged before is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::load::publish_steadily;
use crate::world::{Programs, World};

const KILLS: usize = 3;
const PER_SECOND: f64 = 5000.0;
/// Of load before each kill.
const BEFORE: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Seconds, one for each kill.
pub async fn measure(programs: &Programs) -> anyhow::Result<Vec<f64>> {
    let world = World::new().await?;
    let mut process = world.run(&programs.aiai, &programs.workers).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let url = world.server.url().to_owned();
    let publisher = tokio::spawn(publish_steadily(url, PER_SECOND, stop.clone()));
    let mut times = Vec::new();
    for _ in 0..KILLS {
        tokio::time::sleep(BEFORE).await;
        let last = world
            .context
            .stream_state(bus::topology::INGEST)
            .await?
            .last_sequence;
        process.0.kill()?;
        let killed = Instant::now();
        process.0.wait()?;
        process = world.run(&programs.aiai, &programs.workers).await?;
        let sql = format!("SELECT count(DISTINCT origin) AS n FROM metric WHERE origin <= {last}");
        while world.ask(&sql).await? < last {
            ensure!(killed.elapsed() < TIMEOUT, "not recovered after {TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        times.push(killed.elapsed().as_secs_f64());
    }
    stop.store(true, Ordering::Relaxed);
    publisher.await??;
    Ok(times)
}
