//! Measures writing files on one thread: canonical events in, Parquet files out.
//!
//! `cargo run --release --workspace --example archive_throughput -- [rows] [folder]` prints one JSON object.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program to measure with"
)]

use std::time::Instant;

use archive::{Folder, Message, Part, Stamp};
use schemas::Time;

/// Events in one message of EVENTS.
const BATCH: u64 = 500;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows: u64 = arguments.next().map_or(1_000_000, |rows| rows.parse().unwrap());
    let folder = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let root = folder.join(format!("aiai-archive-{}", std::process::id()));
    let payloads: Vec<(&str, Vec<u8>)> = (0..rows / BATCH).map(message).collect();
    let json_bytes: usize = payloads.iter().map(|(_, payload)| payload.len()).sum();
    let started = Instant::now();
    let archive = Folder::new(&root, "throughput");
    let (mut written, mut files, mut bytes) = (0, 0, 0);
    let mut part = Part::new("01JD00000000000000000000B1", 1);
    let mut take = |part: Part, last| {
        for draft in part.write(last, &archive).unwrap() {
            let file = draft.put_in_place().unwrap();
            (written, files, bytes) = (written + file.rows, files + 1, bytes + file.bytes);
        }
    };
    for (sequence, (subject, payload)) in (1..).zip(&payloads) {
        if part.is_full() {
            let next = Part::new("01JD00000000000000000000B1", sequence);
            take(std::mem::replace(&mut part, next), sequence - 1);
        }
        let stamp = Stamp {
            ingest_epoch: "01JD00000000000000000000A1",
            events_epoch: "01JD00000000000000000000B1",
            sequence,
            stored: Time(1_795_176_000_000_000 + sequence as i64),
        };
        let message = Message {
            stamp,
            subject,
            payload,
            repeated: None,
        };
        part.add(&message).unwrap();
    }
    take(part, rows / BATCH);
    let seconds = started.elapsed().as_secs_f64();
    std::fs::remove_dir_all(&root).unwrap();
    println!(
        "{{\"archive_rows\":{written},\"archive_seconds\":{seconds:.3},\"archive_rows_per_second\":{:.0},\
         \"archive_json_bytes\":{json_bytes},\"archive_file_bytes\":{bytes},\"archive_files\":{files}}}",
        written as f64 / seconds
    );
}

/// Metrics, and a call in every fourth message; times grow, with a little disorder.
fn message(at: u64) -> (&'static str, Vec<u8>) {
    let mut lines = String::new();
    let is_usage = at % 4 == 3;
    for index in 0..BATCH {
        let origin = at * BATCH + index + 1;
        let random = |of: u64, below: u64| mixed(origin * 8 + of) % below;
        let time = Time(1_795_170_000_000_000 + (origin as i64) * 900 + random(0, 100_000) as i64);
        let head = format!(
            "{{\"o\":{origin},\"i\":0,\"tenant\":\"default\",\"timestamp\":\"{time}\",\"source\":\"agent-{}\"",
            random(1, 40)
        );
        let own = if is_usage {
            format!(
                "\"model\":\"model-{}\",\"provider\":\"p\",\"tokens_in\":{},\"tokens_out\":{},\"cost_usd\":0.{:09},\
                 \"cost_source\":\"provider\",\"latency_ms\":{}.25,\"status\":\"ok\"",
                random(2, 5),
                random(3, 9000),
                random(4, 700),
                random(5, 100_000_000),
                random(6, 3000)
            )
        } else {
            format!(
                "\"name\":\"queue.depth.{}\",\"value\":{}.5,\"metric_type\":\"gauge\",\"tags\":{{\"region\":\"eu-{}\",\
                 \"pod\":\"p{}\"}}",
                random(2, 30),
                random(3, 1_000_000_000),
                random(4, 3),
                random(5, 200)
            )
        };
        lines.push_str(&format!("{head},{own},\"v\":1}}\n"));
    }
    let subject = if is_usage { "events.usage" } else { "events.metric" };
    (subject, lines.into_bytes())
}

/// Looks random, and is the same every time.
fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
