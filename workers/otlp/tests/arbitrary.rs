//! Whatever the bytes: no panic, and every line written is one that worker ingest accepts.

mod common;

use common::{NOW, items};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use otlp::{Encoding, Signal, map_bytes};
use proptest::prelude::*;
use prost::Message;
use schemas::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;

const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];
const ENCODINGS: [Encoding; 2] = [Encoding::Protobuf, Encoding::Json];

const RECORDED: [(Signal, &[u8]); 5] = [
    (Signal::Traces, include_bytes!("fixtures/python.traces.pb")),
    (
        Signal::Traces,
        include_bytes!("fixtures/traceloop_openai.traces.pb"),
    ),
    (
        Signal::Metrics,
        include_bytes!("fixtures/python_delta.metrics.pb"),
    ),
    (
        Signal::Metrics,
        include_bytes!("fixtures/python_cumulative.metrics.pb"),
    ),
    (Signal::Logs, include_bytes!("fixtures/python.logs.pb")),
];

/// The same request as JSON.
fn json(signal: Signal, body: &[u8]) -> Vec<u8> {
    fn again<T: Message + Default + Serialize + DeserializeOwned>(body: &[u8]) -> Vec<u8> {
        serde_json::to_vec(&T::decode(body).expect("protobuf")).expect("JSON")
    }
    match signal {
        Signal::Traces => again::<ExportTraceServiceRequest>(body),
        Signal::Metrics => again::<ExportMetricsServiceRequest>(body),
        Signal::Logs => again::<ExportLogsServiceRequest>(body),
    }
}

/// Maps what can be decoded, and has worker ingest read it.
fn survives(signal: Signal, encoding: Encoding, body: &[u8]) {
    if let Ok(mapped) = map_bytes(signal, encoding, body, NOW) {
        items(mapped);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes(body in prop::collection::vec(any::<u8>(), 0..512)) {
        for signal in SIGNALS {
            for encoding in ENCODINGS {
                survives(signal, encoding, &body);
            }
        }
    }

    #[test]
    fn damaged_requests(which in 0..RECORDED.len(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let (signal, body) = RECORDED[which];
        for (encoding, mut body) in [(Encoding::Protobuf, body.to_vec()), (Encoding::Json, json(signal, body))] {
            for (place, byte) in &changes {
                let place = place % body.len();
                body[place] = *byte;
            }
            survives(signal, encoding, &body);
        }
    }

    #[test]
    fn spans_of_any_shape(name in ".{0,300}", key in ".{0,300}", text in ".{0,2000}", depth in 0_usize..60, number in any::<f64>(), ends in any::<u64>()) {
        let mut value = Value::StringValue(text.clone());
        for level in 0..depth {
            let inner = AnyValue { value: Some(value) };
            value = if level % 2 == 0 {
                Value::ArrayValue(ArrayValue { values: vec![inner] })
            } else {
                Value::KvlistValue(KeyValueList { values: vec![KeyValue { key: key.clone(), value: Some(inner), ..Default::default() }] })
            };
        }
        let attributes = vec![attribute(&key, value), attribute("gen_ai.usage.cost", Value::DoubleValue(number)),
            attribute("gen_ai.operation.name", Value::StringValue("chat".into())),
            attribute("gen_ai.request.model", Value::StringValue(text)),
            attribute("gen_ai.usage.input_tokens", Value::DoubleValue(number))];
        let span = Span { name, attributes, end_time_unix_nano: ends, ..span() };
        survives(Signal::Traces, Encoding::Protobuf, &request(vec![span]));
    }
}

#[test]
fn json_is_read_as_protobuf_is() {
    for (signal, body) in RECORDED {
        let from = |encoding, body: &[u8]| items(map_bytes(signal, encoding, body, NOW).expect("a request"));
        assert_eq!(
            from(Encoding::Json, &json(signal, body)),
            from(Encoding::Protobuf, body)
        );
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "a".into(),
        start_time_unix_nano: 1_763_600_000_000_000_000,
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans {
        spans,
        ..Default::default()
    }];
    let resource_spans = vec![ResourceSpans {
        scope_spans,
        ..Default::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[test]
fn what_is_huge_is_cut_and_counted() {
    let long = "x".repeat(10 << 20);
    let million = (0..1_000_000)
        .map(|at| attribute(&at.to_string(), Value::IntValue(at)))
        .collect();
    for span in [
        Span {
            name: long.clone(),
            ..span()
        },
        Span {
            attributes: vec![attribute(&long, Value::BoolValue(true))],
            ..span()
        },
        Span {
            attributes: vec![attribute("a", Value::StringValue(long.clone()))],
            ..span()
        },
        Span {
            attributes: vec![attribute("a", Value::StringValue("\u{1}".repeat(1 << 20)))],
            ..span()
        },
        Span {
            attributes: vec![attribute("a", Value::BytesValue(long.into_bytes()))],
            ..span()
        },
        Span {
            attributes: million,
            ..span()
        },
    ] {
        let mapped =
            map_bytes(Signal::Traces, Encoding::Protobuf, &request(vec![span]), NOW).expect("a request");
        assert!(mapped.cuts.0 > 0);
        let items = items(mapped);
        let [(Kind::Step, step)] = &items[..] else {
            panic!("{} items", items.len())
        };
        assert!(step.to_string().contains("[cut]") || step.to_string().contains("left_out"));
        assert!(step.to_string().len() < 400_000);
    }
}

#[test]
fn what_cannot_be_stored_is_rejected_with_its_reason_and_the_rest_is_kept() {
    let spans = vec![
        span(),
        Span {
            name: " ".into(),
            ..span()
        },
        Span {
            trace_id: vec![0; 16],
            ..span()
        },
        Span {
            span_id: vec![1; 7],
            ..span()
        },
        Span {
            end_time_unix_nano: 1,
            ..span()
        },
        Span {
            start_time_unix_nano: (NOW.0 as u64 + 7_200_000_000) * 1000,
            ..span()
        },
    ];
    let mapped = map_bytes(Signal::Traces, Encoding::Protobuf, &request(spans), NOW).expect("a request");
    assert_eq!(mapped.rejected, 5);
    let reason = mapped.reason();
    for text in ["it has no name; name it", "trace id", "span id", "and 2 more"] {
        assert!(reason.contains(text), "{reason}");
    }
    assert_eq!(items(mapped).len(), 1);
}
