//! Nanoseconds an event: `cargo test --release -p schemas --test speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use schemas::{Decoded, Incoming, Metric, Time, decode, read_lines};

const EVENT: &str = r#"{"name":"queue.depth","value":42.5,"source":"agent-7","tags":{"region":"fsn1","model":"opus"},"session":"s-123456","timestamp":"2026-11-20T07:00:00.123Z"}"#;
const EVENTS: usize = 100;
const ROUNDS: usize = 10_000;

#[test]
#[ignore = "measures; run it alone on a quiet machine"]
fn nanoseconds_an_event() {
    let mut out = Vec::new();
    let one = nanoseconds(EVENTS, || {
        out.clear();
        for _ in 0..EVENTS {
            write_all(EVENT.as_bytes(), &mut out);
        }
    });
    let parse = nanoseconds(EVENTS, || {
        for _ in 0..EVENTS {
            decode(&incoming(black_box(EVENT.as_bytes())), |decoded| {
                black_box(decoded);
            });
        }
    });
    let lines = [EVENT; EVENTS].join("\n");
    let line = nanoseconds(EVENTS, || {
        out.clear();
        write_all(lines.as_bytes(), &mut out);
    });
    let array = format!("[{}]", [EVENT; EVENTS].join(","));
    let element = nanoseconds(EVENTS, || {
        out.clear();
        write_all(array.as_bytes(), &mut out);
    });
    let read = nanoseconds(EVENTS, || {
        black_box(read_lines::<Metric<'_>>(black_box(&out)).unwrap());
    });
    println!(
        "decode {parse} ns, decode + write_line {one} ns, of an NDJSON line {line} ns, of an array's element {element} ns, read_lines {read} ns"
    );
    assert!(one < 5_000, "{one} ns an event is far over the 1000 ns aimed at");
}

fn incoming(payload: &[u8]) -> Incoming<'_> {
    Incoming {
        subject: "ingest.metric",
        content_type: None,
        trace_parent: None,
        cloud_event: None,
        payload,
        origin: 123_456,
        stored: Time(1_795_158_001_000_000),
    }
}

fn write_all(payload: &[u8], out: &mut Vec<u8>) {
    decode(&incoming(black_box(payload)), |decoded| match decoded {
        Decoded::Item { item, .. } => item.write_line(out),
        Decoded::Rejected { rejection, .. } => panic!("{rejection}"),
    });
}

/// The best of several runs, divided by the events of one call.
fn nanoseconds(events: usize, mut call: impl FnMut()) -> u128 {
    let mut run = || {
        let start = Instant::now();
        for _ in 0..ROUNDS / 10 {
            call();
        }
        start.elapsed().as_nanos() / (ROUNDS / 10 * events) as u128
    };
    (0..10).map(|_| run()).min().unwrap_or(0)
}
