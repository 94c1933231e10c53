//! How fast one core is from the bytes of a request to canonical events: decode, map, write; then what worker ingest
//! does with the messages. Run with `cargo run --release --workspace --example speed`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use otlp::{Encoding, Signal, map_bytes};
use prost::Message as _;
use schemas::{Decoded, Incoming, Time, decode};

const SPANS: usize = 512;
const NOW: Time = Time(1_900_000_000_000_000);
const RUN: Duration = Duration::from_secs(3);

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    for (what, share) in [
        ("one span in ten a model call", 10),
        ("every span a model call", 1),
    ] {
        let body = request(share);
        let (mut map, mut ingest, mut requests) = (Duration::ZERO, Duration::ZERO, 0_u32);
        let mut events = Vec::new();
        while map + ingest < RUN {
            let started = Instant::now();
            let mapped =
                map_bytes(Signal::Traces, Encoding::Protobuf, &body, NOW).map_err(std::io::Error::other)?;
            let between = Instant::now();
            events.clear();
            for (kind, _, message) in mapped.batch.into_messages() {
                canonical(&schemas::subjects::ingest(kind), &message.lines, &mut events);
            }
            map += between - started;
            ingest += between.elapsed();
            requests += 1;
        }
        let spans = f64::from(requests) * SPANS as f64;
        let rate = |time: Duration| spans / time.as_secs_f64();
        writeln!(
            out,
            "{what}: {} bytes a span; decode, map and write {:.0} spans/s; ingest {:.0}; both {:.0}",
            body.len() / SPANS,
            rate(map),
            rate(ingest),
            rate(map + ingest),
        )?;
    }
    Ok(())
}

fn canonical(subject: &str, lines: &[u8], events: &mut Vec<u8>) {
    let incoming = Incoming {
        subject,
        content_type: Some(schemas::headers::NDJSON),
        trace_parent: None,
        cloud_event: None,
        payload: lines,
        origin: 1,
        stored: NOW,
    };
    decode(&incoming, |decoded| {
        if let Decoded::Item { item, .. } = decoded {
            item.write_line(events);
        }
    });
}

/// As an SDK sends it: twelve attributes a span.
fn request(share: usize) -> Vec<u8> {
    let span = |number: usize| {
        let is_call = number.is_multiple_of(share);
        let mut attributes = vec![
            text(
                "gen_ai.operation.name",
                if is_call { "chat" } else { "execute_tool" },
            ),
            text("gen_ai.agent.name", "researcher"),
            text("gen_ai.conversation.id", "conv-0123456789"),
            text("server.address", "api.openai.com"),
            integer("server.port", 443),
            text("gen_ai.tool.name", "search"),
        ];
        if is_call {
            attributes.extend([
                text("gen_ai.provider.name", "openai"),
                text("gen_ai.request.model", "gpt-4o-mini"),
                text("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
                integer("gen_ai.usage.input_tokens", 1200),
                integer("gen_ai.usage.output_tokens", 300),
                integer("gen_ai.usage.cache_read.input_tokens", 1024),
            ]);
        } else {
            attributes
                .extend((0..6).map(|at| text(&format!("app.attribute.{at}"), "a value of some length")));
        }
        let start = 1_763_600_000_000_000_000 + number as u64 * 1_000_000;
        Span {
            trace_id: (number as u128 / 16 + 1).to_be_bytes().into(),
            span_id: (number as u64 + 1).to_be_bytes().into(),
            parent_span_id: (number as u64 + 100_000).to_be_bytes().into(),
            name: "chat gpt-4o-mini".into(),
            kind: 3,
            start_time_unix_nano: start,
            end_time_unix_nano: start + 250_000_000,
            attributes,
            ..Span::default()
        }
    };
    let scope = InstrumentationScope {
        name: "app".into(),
        version: "1.0".into(),
        ..Default::default()
    };
    let resource = Resource {
        attributes: vec![
            text("service.name", "agent"),
            text("telemetry.sdk.language", "python"),
        ],
        ..Default::default()
    };
    let spans = (0..SPANS).map(span).collect();
    let scope_spans = vec![ScopeSpans {
        scope: Some(scope),
        spans,
        ..Default::default()
    }];
    let resource_spans = vec![ResourceSpans {
        resource: Some(resource),
        scope_spans,
        ..Default::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn integer(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}
