//! Validation of a single event, as worker ingest does it: `cargo bench --workspace --bench validation`.
//!
//! Prints first what each case allocates. The target is a microsecond for a metric, and no allocation.

#![allow(missing_docs, reason = "criterion's macros make functions without any")]

use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, criterion_group, criterion_main};
use schemas::{Decoded, Incoming, Time, decode};

const CASES: [(&str, &str, &str); 5] = [
    (
        "metric",
        "ingest.metric",
        r#"{"name":"queue.depth","value":42.5}"#,
    ),
    (
        "metric with everything",
        "ingest.metric",
        r#"{"name":"queue.depth","value":42.5,"source":"agent-7","tags":{"region":"fsn1","model":"opus"},"session":"s-123456","timestamp":"2026-11-20T07:00:00.123Z"}"#,
    ),
    (
        "metric with a distribution",
        "ingest.metric",
        r#"{"name":"latency","metric_type":"histogram","distribution":{"count":6,"sum":700,"bounds":[5,10,25,50,100,250,500],"counts":[0,1,1,1,1,1,1,0]}}"#,
    ),
    (
        "usage",
        "ingest.usage",
        r#"{"model":"opus","provider":"anthropic","tokens_in":1200,"tokens_out":80,"latency_ms":812.5}"#,
    ),
    (
        "step",
        "ingest.step",
        r#"{"name":"chat opus","span_id":"00f067aa0ba902b7","operation":"chat","start":1795158000123,"end":1795158000923,"attributes":{"gen_ai.request.model":"opus"}}"#,
    ),
];

fn check(subject: &str, payload: &str) {
    let incoming = Incoming {
        subject,
        content_type: None,
        trace_parent: None,
        cloud_event: None,
        payload: payload.as_bytes(),
        origin: 123_456,
        stored: Time(1_795_158_001_000_000),
    };
    decode(black_box(&incoming), |decoded| {
        assert!(matches!(black_box(decoded), Decoded::Item { .. }));
    });
}

fn validation(criterion: &mut Criterion) {
    for (name, subject, payload) in CASES {
        let allocated = allocation_counter::measure(|| check(subject, payload));
        let line = format!(
            "{name}: {} allocations, {} bytes\n",
            allocated.count_total, allocated.bytes_total
        );
        // Nobody reads it where it cannot be written.
        let _ = std::io::stdout().write_all(line.as_bytes());
        criterion.bench_function(name, |bencher| bencher.iter(|| check(subject, payload)));
    }
}

criterion_group!(benches, validation);
criterion_main!(benches);
