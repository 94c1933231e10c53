//! A backlog: everything published while no worker runs, and how fast it is stored then; bytes on disk.

use std::path::Path;
use std::time::{Duration, Instant};

use bus::topology::{EVENTS, INGEST};

use crate::load::{message, publish};
use crate::report::Drained;
use crate::rounds::rate;
use crate::world::{Programs, World};

/// To drain it.
const TIMEOUT: Duration = Duration::from_secs(300);

pub async fn measure(programs: &Programs, events: u64) -> anyhow::Result<Drained> {
    let world = World::new().await?;
    let url = world.server.url().to_owned();
    tokio::spawn(publish(url, events, message(1))).await??;
    let ingest_bytes = world.context.stream_state(INGEST).await?.bytes;
    let few = ["ingest", "sink"].map(str::to_owned);
    let started = Instant::now();
    let process = world.run(&programs.aiai, &few).await?;
    world.stored(events, TIMEOUT).await?;
    let elapsed = started.elapsed();
    let events_bytes = world.context.stream_state(EVENTS).await?.bytes;
    let memory_megabytes = process.memory_megabytes("VmHWM")?;
    // An orderly end folds the log into the file.
    process.end().await?;
    let million = |bytes: u64| rate(bytes, Duration::from_secs(1)) / rate(events, Duration::from_secs(1));
    Ok(Drained {
        per_second: rate(events, elapsed),
        memory_megabytes,
        ingest_megabytes_a_million: million(ingest_bytes),
        events_megabytes_a_million: million(events_bytes),
        database_megabytes_a_million: million(files(world.data.path())),
    })
}

/// Bytes of the database with its log.
fn files(folder: &Path) -> u64 {
    let bytes = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    bytes("aiai.duckdb") + bytes("aiai.duckdb.wal")
}
