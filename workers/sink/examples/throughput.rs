//! How fast events get into the database: canonical lines parsed, appended and committed on one thread, without NATS.
//!
//! `cargo run --release -p sink --example throughput [rows]` prints a table for several sizes of transactions;
//! `throughput --rate ROWS EVENT` prints the rate of that event with large transactions, for scripts/bench.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::Instant;

use schemas::{Decoded, Incoming, Time, decode};
use sink::{Headers, Settings, Source, Store, StoredMessage};

const ROWS_A_MESSAGE: u64 = 2000;
/// The default of `sink.commit.rows_max`.
const ROWS_A_TRANSACTION: u64 = 100_000;
const EPOCH: &str = "01JD00000000000000000000A1";
const EVENT: &str = r#"{"timestamp":"2026-11-20T11:59:07.123456Z","source":"agent/claude-7","name":"request.latency_ms","value":417.25,"tags":{"region":"eu-west-1","model":"abc"}}"#;

/// A message of EVENTS: headers, and lines.
type Message = (Vec<(String, String)>, Vec<u8>);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, rows, event] = arguments.as_slice()
        && flag == "--rate"
    {
        let messages = messages(rows.parse()?, event)?;
        println!("{:.0}", measure(&messages, ROWS_A_TRANSACTION)?);
        return Ok(());
    }
    let rows: u64 = arguments.first().map_or(Ok(1_000_000), |rows| rows.parse())?;
    let messages = messages(rows, EVENT)?;
    let bytes: usize = messages.iter().map(|(_, lines)| lines.len()).sum();
    println!(
        "{rows} rows in messages of {ROWS_A_MESSAGE}, {} bytes a row",
        bytes as u64 / rows
    );
    for rows_a_transaction in [2_000, 20_000, 100_000] {
        let rate = measure(&messages, rows_a_transaction)?;
        println!("{rows_a_transaction:>7} rows a transaction: {rate:>9.0} rows/s");
    }
    Ok(())
}

/// Rows a second.
fn measure(messages: &[Message], rows_a_transaction: u64) -> anyhow::Result<f64> {
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
                payload,
                stored: Time(1_795_176_000_000_000),
            })
            .collect();
        let outcome = store.commit(&batch)?;
        anyhow::ensure!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
    }
    let rows = messages.len() as u64 * ROWS_A_MESSAGE;
    Ok(rows as f64 / start.elapsed().as_secs_f64())
}

/// As ingest writes them.
fn messages(rows: u64, event: &str) -> anyhow::Result<Vec<Message>> {
    (0..rows / ROWS_A_MESSAGE)
        .map(|number| message(number, event))
        .collect()
}

fn message(number: u64, event: &str) -> anyhow::Result<Message> {
    let first = number * ROWS_A_MESSAGE + 1;
    let last = first + ROWS_A_MESSAGE - 1;
    let mut lines = Vec::new();
    for origin in first..=last {
        let incoming = Incoming {
            subject: "ingest.metric",
            content_type: None,
            trace_parent: None,
            cloud_event: None,
            payload: event.as_bytes(),
            origin,
            stored: Time(1_795_176_000_000_000),
        };
        let mut refused = None;
        decode(&incoming, |decoded| match decoded {
            Decoded::Item { item, .. } => item.write_line(&mut lines),
            Decoded::Rejected { rejection, .. } => refused = Some(rejection),
        });
        anyhow::ensure!(refused.is_none(), "the event was refused: {refused:?}");
    }
    let header = |name: &str, value: String| (name.to_owned(), value);
    let headers = vec![
        header("Aiai-Epoch", EPOCH.to_owned()),
        header("Aiai-Origins", format!("{first}-{last}")),
        header("Aiai-Count", ROWS_A_MESSAGE.to_string()),
    ];
    Ok((headers, lines))
}
