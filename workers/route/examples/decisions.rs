//! How long the own work of a decision takes: read, decide, write. For scripts/bench.
//!
//! `cargo run --release -p route --example decisions`

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::{Duration, Instant};

use route::{Health, Models, decide};
use schemas::price::{self, PriceTable};
use schemas::route::Request;

const ROUNDS: u32 = 100_000;
const TARGET: Duration = Duration::from_micros(100);

fn main() -> anyhow::Result<()> {
    let models = Models::parse(route::models::BUILT_IN_NAME, route::models::BUILT_IN)?;
    let prices = PriceTable::parse(price::BUILT_IN_NAME, price::BUILT_IN)?;
    let body = br#"{"task_complexity":"simple","tokens_in":2000,"tokens_out":500,"needs":["tools"]}"#;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        let request = Request::read(body).map_err(anyhow::Error::msg)?;
        let choice = decide(&request, &models, &prices, |_| Health::Well)
            .map_err(|refusal| anyhow::anyhow!("refused: {refusal:?}"))?;
        std::hint::black_box(serde_json::to_vec(&choice.decision)?);
    }
    let each = started.elapsed() / ROUNDS;
    println!(
        "  route.decide, own work {:>10.1} µs            (target: at most {} µs)",
        each.as_secs_f64() * 1e6,
        TARGET.as_micros()
    );
    Ok(())
}
