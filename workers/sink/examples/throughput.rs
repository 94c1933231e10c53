//! How fast metric rows get into the database: parse, append and commit on one thread.
//!
//! `cargo run --release -p sink --example throughput [rows]`

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::fmt::Write;
use std::time::Instant;

use schemas::Time;
use sink::{Headers, Settings, Source, Store, StoredMessage};

const ROWS_A_MESSAGE: u64 = 2000;
const EPOCH: &str = "01JD00000000000000000000A1";

fn main() -> anyhow::Result<()> {
    let rows: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |rows| rows.parse())?;
    let messages: Vec<(Vec<(String, String)>, String)> = (0..rows / ROWS_A_MESSAGE).map(message).collect();
    let bytes: usize = messages.iter().map(|(_, payload)| payload.len()).sum();
    println!(
        "{rows} rows in messages of {ROWS_A_MESSAGE}, {} bytes a row",
        bytes as u64 / rows
    );
    for rows_a_transaction in [2_000, 20_000, 100_000] {
        let folder = tempfile::tempdir()?;
        let mut store = Store::open(&folder.path().join("aiai.duckdb"), &Settings::default())?;
        let start = Instant::now();
        let per_commit = usize::try_from(rows_a_transaction / ROWS_A_MESSAGE)?;
        for (part, sequence) in messages.chunks(per_commit).zip((1..).step_by(per_commit)) {
            let batch: Vec<StoredMessage<'_>> = part
                .iter()
                .zip(sequence..)
                .map(|((headers, payload), sequence)| StoredMessage {
                    source: Source::Events,
                    stream_epoch: EPOCH,
                    sequence,
                    subject: "events.metric",
                    headers: headers as &dyn Headers,
                    payload: payload.as_bytes(),
                    stored: Time(1_795_176_000_000_000),
                })
                .collect();
            let outcome = store.commit(&batch)?;
            anyhow::ensure!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{rows_a_transaction:>7} rows a transaction: {:>9.0} rows/s",
            rows as f64 / seconds
        );
    }
    Ok(())
}

fn message(number: u64) -> (Vec<(String, String)>, String) {
    let first = number * ROWS_A_MESSAGE + 1;
    let last = first + ROWS_A_MESSAGE - 1;
    let mut payload = String::new();
    for origin in first..=last {
        let written = writeln!(
            payload,
            "{{\"o\":{origin},\"i\":0,\"tenant\":\"default\",\"timestamp\":\"2026-11-20T11:59:{:02}.{:06}Z\",\
             \"source\":\"agent/claude-{}\",\"name\":\"request.latency_ms\",\"value\":{}.25,\"metric_type\":\"gauge\",\
             \"tags\":{{\"region\":\"eu-west-1\",\"model\":\"abc\"}},\"v\":1}}",
            origin % 60,
            origin % 1_000_000,
            origin % 7,
            origin % 1000
        );
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    let header = |name: &str, value: String| (name.to_owned(), value);
    let headers = vec![
        header("Aiai-Epoch", EPOCH.to_owned()),
        header("Aiai-Origins", format!("{first}-{last}")),
        header("Aiai-Count", ROWS_A_MESSAGE.to_string()),
    ];
    (headers, payload)
}
