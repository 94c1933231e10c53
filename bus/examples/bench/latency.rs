//! From publish to queryable: how long until a SELECT counts an event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::load::publish_steadily;
use crate::report::Latency;
use crate::world::{Programs, World};

const SECONDS: u64 = 10;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// For the last event to come out.
const TIMEOUT: Duration = Duration::from_secs(60);

/// With all workers running, at a steady rate.
pub async fn measure(programs: &Programs, per_second: f64) -> anyhow::Result<Latency> {
    let world = World::new().await?;
    let _process = world.run(&programs.aiai, &programs.workers).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let url = world.server.url().to_owned();
    let publisher = tokio::spawn(publish_steadily(url, per_second, stop.clone()));
    let mut looks = Looks::default();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(SECONDS) {
        looks.look(&world).await?;
    }
    stop.store(true, Ordering::Relaxed);
    let sent = publisher.await??;
    let last = sent.iter().map(|(sequence, _)| *sequence).max().unwrap_or(0);
    let stopped = Instant::now();
    while looks.visible < last {
        ensure!(
            stopped.elapsed() < TIMEOUT,
            "{} of {last} queryable",
            looks.visible
        );
        looks.look(&world).await?;
    }
    let mut times: Vec<f64> = sent
        .iter()
        .filter_map(|(sequence, at)| Some(looks.first_seen(*sequence)?.duration_since(*at)))
        .map(|took| took.as_secs_f64() * 1000.0)
        .collect();
    times.sort_by(f64::total_cmp);
    ensure!(!times.is_empty(), "nothing was published");
    let quantile = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    Ok(Latency {
        per_second,
        events: times.len(),
        p50_milliseconds: quantile(50),
        p99_milliseconds: quantile(99),
    })
}

/// Up to which INGEST sequence everything was queryable, and when that was first seen.
#[derive(Default)]
struct Looks {
    visible: u64,
    seen: BTreeMap<u64, Instant>,
}

impl Looks {
    /// Counts what came behind the last look; only where that leaves no hole it has become visible.
    async fn look(&mut self, world: &World) -> anyhow::Result<()> {
        let from = self.visible;
        let sql = format!(
            "SELECT (CASE WHEN coalesce(max(o), {from}) - {from} = count(*) THEN count(*) ELSE 0 END)::UBIGINT AS n
             FROM (SELECT DISTINCT origin AS o FROM (SELECT origin FROM metric WHERE origin > {from}))"
        );
        let more = world.ask(&sql).await?;
        if more > 0 {
            self.visible += more;
            self.seen.insert(self.visible, Instant::now());
        }
        tokio::time::sleep(LOOK).await;
        Ok(())
    }

    fn first_seen(&self, sequence: u64) -> Option<Instant> {
        self.seen.range(sequence..).next().map(|(_, at)| *at)
    }
}
