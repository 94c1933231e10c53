//! The bench: what the pipeline does against a bare relay and against its own limits, in one run on one machine.
//!
//! Publisher, relay and pipeline work on the same messages through a fresh nats-server each time. Rounds
//! alternate, medians are compared: claims are ratios, never times. Started by `scripts/bench`, which gives the
//! paths of the executables.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod backlog;
mod chart;
mod http;
mod idle;
mod kill;
mod latency;
mod load;
mod report;
mod rounds;
mod world;

use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use report::Figures;
use world::Programs;

/// Events in a message of the second comparison.
pub const BATCH_EVENTS: u64 = 100;

/// Rounds of batches over HTTP have so many times the events of one of single ones.
const HTTP_TIMES: u64 = 8;

/// What is measured, and how much of it.
struct Plan {
    programs: Programs,
    messages: u64,
    rounds: usize,
    backlog: u64,
    report: Option<PathBuf>,
}

impl Plan {
    fn read() -> anyhow::Result<Self> {
        let mut arguments = std::env::args().skip(1);
        let mut next = || arguments.next().context("see scripts/bench");
        let folder = PathBuf::from(next()?);
        let plan = Self {
            programs: Programs::find(&folder)?,
            messages: next()?.parse()?,
            rounds: next()?.parse()?,
            backlog: next()?.parse()?,
            report: arguments.next().map(PathBuf::from),
        };
        ensure!(
            plan.messages > 0 && plan.rounds > 0 && plan.backlog > 0,
            "at least one message, one round, and a backlog of one"
        );
        Ok(plan)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let plan = Plan::read()?;
    let programs = &plan.programs;
    let mut found = Figures {
        messages: plan.messages,
        backlog: plan.backlog,
        ..Figures::default()
    };
    for round in 1..=plan.rounds {
        let of = format!("round {round} of {}", plan.rounds);
        Box::pin(rounds::round(programs, plan.messages, &of, &mut found)).await?;
    }
    for round in 1..=plan.rounds {
        for way in [http::Way::Nats, http::Way::Http] {
            let rates = Box::pin(http::measure(programs, way, plan.messages * HTTP_TIMES)).await?;
            let (name, list) = match way {
                http::Way::Nats => ("NATS", &mut found.batches_by_nats),
                http::Way::Http => ("HTTP", &mut found.batches_by_http),
            };
            eprintln!(
                "round {round} of {}: batches by {name}: {:.0} events/s acknowledged, {:.0} stored",
                plan.rounds, rates.acknowledged, rates.stored
            );
            list.push(rates);
        }
    }
    eprintln!("the in-process limit for messages of {BATCH_EVENTS} events: parse and append on one thread");
    found.limit = rounds::limit(programs, plan.messages.max(1_000_000))?;
    let half = report::median(&found.pipeline) / 2.0;
    for per_second in [1000.0, half] {
        eprintln!("latency at {per_second:.0} events/s");
        let latency = Box::pin(latency::measure(programs, per_second)).await?;
        found.latencies.push(latency);
    }
    eprintln!("backlog of {} events", plan.backlog);
    found.drained = Box::pin(backlog::measure(programs, plan.backlog)).await?;
    eprintln!("recovery after kill -9");
    found.recovery = Box::pin(kill::measure(programs)).await?;
    eprintln!("chart: 30 days of hourly rollups of 1,000 series");
    found.chart_milliseconds = Box::pin(chart::measure(programs)).await?;
    eprintln!("idle: `aiai up` for {} s", idle::SECONDS);
    found.idle = idle::measure(programs).await?;
    found.print();
    if let Some(path) = &plan.report {
        let text = serde_json::to_string_pretty(&found.json())? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
