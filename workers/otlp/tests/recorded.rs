//! What real SDKs and instrumentations sent, recorded in November 2026 against a model endpoint of our own
//! (`fixtures/README.md`), becomes the right items.

mod common;

use common::{items, mapped, of};
use otlp::Signal;
use schemas::Kind;
use serde_json::{Value, json};

fn traces(bytes: &[u8]) -> Vec<(Kind, Value)> {
    let mapped = mapped(Signal::Traces, bytes);
    assert_eq!((mapped.rejected, mapped.cuts.0), (0, 0), "{}", mapped.reason());
    items(mapped)
}

/// Chosen members of an item.
fn part(item: &Value, members: &[&str]) -> Value {
    members
        .iter()
        .map(|name| ((*name).to_owned(), item[*name].clone()))
        .collect()
}

const COUNTS: [&str; 8] = [
    "model",
    "tokens_in",
    "tokens_out",
    "tokens_cache_read",
    "tokens_cache_write",
    "tokens_reasoning",
    "status",
    "source",
];

fn counts(item: &Value) -> Value {
    let Value::Object(mut members) = part(item, &COUNTS) else {
        panic!("{item}")
    };
    members.retain(|_, value| !value.is_null());
    Value::Object(members)
}

#[test]
fn openai_through_openinference() {
    let items = traces(include_bytes!("fixtures/openinference_openai.traces.pb"));
    assert_eq!(of(Kind::Step, &items).len(), 3);
    let calls: Vec<_> = of(Kind::Usage, &items).into_iter().map(counts).collect();
    let source = "agent-openinference_openai";
    assert_eq!(
        calls,
        [
            json!({"model": "gpt-4o-mini-2024-07-18", "tokens_in": 1200, "tokens_out": 300, "tokens_cache_read": 1024,
                "tokens_reasoning": 128, "status": "ok", "source": source}),
            json!({"model": "text-embedding-3-small", "tokens_in": 8, "status": "ok", "source": source}),
            json!({"model": "limited", "status": "rate_limited", "source": source}),
        ]
    );
}

#[test]
fn openai_through_openllmetry() {
    let items = traces(include_bytes!("fixtures/traceloop_openai.traces.pb"));
    let calls: Vec<_> = of(Kind::Usage, &items).into_iter().map(counts).collect();
    let source = "agent-traceloop_openai";
    assert_eq!(
        calls,
        [
            json!({"model": "gpt-4o-mini-2024-07-18", "tokens_in": 1200, "tokens_out": 300, "tokens_cache_read": 1024,
                "tokens_reasoning": 128, "status": "ok", "source": source}),
            json!({"model": "text-embedding-3-small", "tokens_in": 8, "tokens_cache_read": 0, "status": "ok",
                "source": source}),
            json!({"model": "limited", "status": "rate_limited", "source": source}),
        ]
    );
    let steps = of(Kind::Step, &items);
    assert_eq!(
        part(steps[2], &["operation", "status", "error"]),
        json!({"operation": "chat", "status": "error", "error": "Error code: 429 - slow down"})
    );
}

#[test]
fn a_call_that_the_sdk_and_an_instrumentation_tell_of_is_one_call() {
    let wanted = json!({"model": "claude-sonnet-4-5-20250929", "tokens_in": 180, "tokens_out": 50,
        "tokens_cache_read": 60, "tokens_cache_write": 20, "status": "ok"});
    for (bytes, source) in [
        // One span within the other.
        (
            &include_bytes!("fixtures/openinference_anthropic.traces.pb")[..],
            "agent-openinference_anthropic",
        ),
        // Side by side, in traces of their own.
        (
            &include_bytes!("fixtures/traceloop_anthropic.traces.pb")[..],
            "agent-traceloop_anthropic",
        ),
    ] {
        let items = traces(bytes);
        assert_eq!(of(Kind::Step, &items).len(), 2);
        let calls: Vec<_> = of(Kind::Usage, &items).into_iter().map(counts).collect();
        let mut wanted = wanted.clone();
        wanted["source"] = json!(source);
        assert_eq!(calls, [wanted]);
    }
}

/// Model, tokens in and out, read from and written to a cache, reasoning, and the status of each call: sorted.
fn calls(bytes: &[u8]) -> Vec<Value> {
    let items = traces(bytes);
    let members = [
        "model",
        "tokens_in",
        "tokens_out",
        "tokens_cache_read",
        "tokens_cache_write",
        "tokens_reasoning",
        "status",
    ];
    let mut calls: Vec<Value> = of(Kind::Usage, &items)
        .into_iter()
        .map(|call| members.iter().map(|name| call[*name].clone()).collect())
        .collect();
    calls.sort_by_key(Value::to_string);
    calls
}

#[test]
fn litellm_with_what_the_provider_reported() {
    let bytes = include_bytes!("fixtures/litellm.traces.pb");
    assert_eq!(
        calls(bytes),
        [
            json!(["broken", null, null, null, null, null, "error"]),
            json!(["claude-sonnet-4-5", 182, 51, 61, 20, 0, "ok"]),
            json!(["claude-sonnet-4-5-20250929", 180, 50, 60, 20, 0, "ok"]),
            json!(["gemini-2.5-flash", 500, 270, 400, null, 200, "ok"]),
            json!(["gpt-4o-mini", 1201, 301, 1000, null, 120, "ok"]),
            json!(["gpt-4o-mini-2024-07-18", 1200, 300, 1024, null, 128, "ok"]),
            json!(["gpt-4o-mini-2024-07-18", 210, 20, 0, null, 0, "ok"]),
            json!(["gpt-5-mini", 1300, 400, 1100, null, 200, "ok"]),
            json!(["limited", null, null, null, null, null, "rate_limited"]),
            json!(["text-embedding-3-small", 8, 0, null, null, null, "ok"]),
        ]
    );
    let items = traces(bytes);
    let costs = of(Kind::Usage, &items).into_iter();
    let costs = costs.filter(|call| call["cost_source"] == "provider");
    assert_eq!(costs.count(), 8);
}

#[test]
fn langfuse_generations() {
    let bytes = include_bytes!("fixtures/langfuse.traces.pb");
    assert_eq!(
        calls(bytes),
        [
            json!(["gpt-4o-mini", 13, 5, 3, null, null, "ok"]),
            json!(["gpt-4o-mini-2024-07-18", 1200, 300, 1024, null, 128, "ok"]),
            json!(["gpt-4o-mini-2024-07-18", 1201, 301, 1000, null, 120, "ok"]),
            json!(["gpt-4o-mini-2024-07-18", 210, 20, 0, null, 0, "ok"]),
            json!(["gpt-5-mini", 1300, 400, 1100, null, 200, "ok"]),
            json!(["limited", null, null, null, null, null, "rate_limited"]),
            json!(["text-embedding-3-small", 8, null, null, null, null, "ok"]),
        ]
    );
    let items = traces(bytes);
    let manual = of(Kind::Usage, &items)
        .into_iter()
        .find(|call| call["tokens_in"] == 13);
    assert_eq!(manual.expect("a call")["cost_usd"], 0.003);
}

#[test]
fn logfire_beside_the_sdk_of_anthropic() {
    let bytes = include_bytes!("fixtures/logfire.traces.pb");
    assert_eq!(
        calls(bytes),
        [
            json!(["broken", null, null, null, null, null, "error"]),
            json!(["broken", null, null, null, null, null, "error"]),
            json!(["claude-sonnet-4-5", 182, 51, 61, 20, null, "ok"]),
            json!(["claude-sonnet-4-5", 182, 51, 61, 20, null, "ok"]),
            json!(["claude-sonnet-4-5-20250929", 110, 25, 0, 0, null, "ok"]),
            json!(["claude-sonnet-4-5-20250929", 180, 50, 60, 20, null, "ok"]),
            json!(["gpt-4o-mini", 1201, 301, 1000, null, 120, "ok"]),
            json!(["gpt-4o-mini-2024-07-18", 1200, 300, 1024, null, 128, "ok"]),
            json!(["gpt-4o-mini-2024-07-18", 210, 20, 0, null, 0, "ok"]),
            json!(["gpt-5-mini", 1300, 400, 1100, null, 200, "ok"]),
            json!(["gpt-5-mini", 1301, 401, 1101, null, 201, "ok"]),
            json!(["limited", null, null, null, null, null, "rate_limited"]),
            json!(["limited", null, null, null, null, null, "rate_limited"]),
            json!(["limited-r", null, null, null, null, null, "rate_limited"]),
            json!(["text-embedding-3-small", 8, null, null, null, null, "ok"]),
        ]
    );
    let items = traces(bytes);
    let streamed = of(Kind::Usage, &items)
        .into_iter()
        .find(|call| call["tokens_in"] == 1201);
    let latency = streamed.expect("a call")["latency_ms"].as_f64();
    assert!((latency.expect("a latency") - 377.9).abs() < 0.1, "{latency:?}");
}

#[test]
fn calls_that_two_tell_of_in_traces_of_their_own() {
    assert_eq!(
        calls(include_bytes!("fixtures/traceloop_anthropic_errors.traces.pb")),
        [
            json!(["broken", null, null, null, null, null, "error"]),
            json!(["limited", null, null, null, null, null, "rate_limited"]),
        ]
    );
    let langchain = calls(include_bytes!("fixtures/openinference_langchain.traces.pb"));
    let inputs: Vec<_> = langchain.iter().map(|call| &call[1]).collect();
    assert_eq!(inputs, [182, 180], "{langchain:?}");
}

#[test]
fn thoughts_of_google() {
    assert_eq!(
        calls(include_bytes!("fixtures/traceloop_google.traces.pb")),
        [
            json!(["broken", null, null, null, null, null, "error"]),
            json!(["gemini-2.5-flash", 500, 270, 400, null, 200, "ok"]),
            json!(["gemini-2.5-flash", 501, 272, 401, null, 201, "ok"]),
            json!(["limited", null, null, null, null, null, "rate_limited"]),
        ]
    );
    assert_eq!(
        calls(include_bytes!("fixtures/pydantic_ai.traces.pb")),
        [
            json!(["gemini-2.5-flash", 500, 270, 400, null, 200, "ok"]),
            json!(["gemini-2.5-flash", 501, 272, 401, null, 201, "ok"]),
            json!(["gemini-2.5-flash", 510, 30, null, null, null, "ok"]),
            json!(["gemini-2.5-flash", 560, 40, 300, null, null, "ok"]),
        ]
    );
}

#[test]
fn a_framework_is_no_provider() {
    let items = traces(include_bytes!("fixtures/strands.traces.pb"));
    let calls = of(Kind::Usage, &items);
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|call| call["provider"].is_null()), "{calls:?}");
}

#[test]
fn spans_of_the_python_sdk() {
    let items = traces(include_bytes!("fixtures/python.traces.pb"));
    assert!(of(Kind::Usage, &items).is_empty());
    let steps = of(Kind::Step, &items);
    let (tool, work) = (steps[0], steps[1]);
    assert_eq!(
        part(
            tool,
            &[
                "name",
                "operation",
                "status",
                "error",
                "session",
                "source",
                "trace_id",
                "parent_id"
            ]
        ),
        json!({"name": "execute_tool search", "operation": "execute_tool", "status": "error",
            "error": "ValueError: bad tool", "session": "c1", "source": "agent-sdk",
            "trace_id": work["trace_id"], "parent_id": work["span_id"]})
    );
    assert_eq!(tool["start"], tool["timestamp"]);
    assert!(tool["start"].as_str() <= tool["end"].as_str());
    let attributes = &tool["attributes"];
    assert_eq!(attributes["gen_ai.tool.name"], "search");
    assert_eq!(attributes["resource"]["service.name"], "agent-sdk");
    assert_eq!(attributes["scope"], json!({"name": "app", "version": "1.0"}));
    assert_eq!(attributes["events"][0]["name"], "thought");
    assert_eq!(attributes["events"][0]["attributes"], json!({"n": 1}));
    assert_eq!(
        attributes["events"][1]["attributes"]["exception.message"],
        "bad tool"
    );
    let attributes = &work["attributes"];
    assert_eq!(
        part(attributes, &["nested", "n", "f", "ok"]),
        json!({"nested": ["a", "b"], "n": 5, "f": 1.5, "ok": true})
    );
}

#[test]
fn metrics_of_the_python_sdk() {
    for (bytes, counter, histogram) in [
        (
            &include_bytes!("fixtures/python_cumulative.metrics.pb")[..],
            "cumulative",
            "cumulative",
        ),
        (
            &include_bytes!("fixtures/python_delta.metrics.pb")[..],
            "counter",
            "histogram",
        ),
    ] {
        let mapped = mapped(Signal::Metrics, bytes);
        assert_eq!(mapped.rejected, 0, "{}", mapped.reason());
        let mut items = items(mapped);
        for (_, item) in &mut items {
            // Which copy of the service it is matters for running totals only.
            let instance = item["tags"]
                .as_object_mut()
                .and_then(|tags| tags.remove("service.instance.id"));
            assert_eq!(instance.is_some(), item["metric_type"] == "cumulative", "{item}");
        }
        let metrics = of(Kind::Metric, &items);
        let metric = |name: &str| *metrics.iter().find(|metric| metric["name"] == name).expect(name);
        let shown = |name| part(metric(name), &["value", "metric_type", "tags", "source"]);
        assert_eq!(
            shown("jobs"),
            json!({"value": 3.0, "metric_type": counter, "tags": {"queue": "a", "n": "1"}, "source": "agent-sdk"})
        );
        assert_eq!(
            shown("open"),
            json!({"value": -2.0, "metric_type": "gauge", "tags": {"queue": "a"}, "source": "agent-sdk"})
        );
        assert_eq!(
            shown("depth"),
            json!({"value": 7.0, "metric_type": "gauge", "tags": {"queue": "a"}, "source": "agent-sdk"})
        );
        let latency = metric("latency");
        assert_eq!(latency["metric_type"], histogram);
        assert!((latency["value"].as_f64().expect("a mean") - 107.166).abs() < 0.001);
        let observed = &latency["distribution"];
        assert_eq!(
            part(observed, &["count", "sum", "min", "max"]),
            json!({"count": 3, "sum": 321.5, "min": 1.5, "max": 300.0})
        );
        let total = |counts: &Value| {
            counts
                .as_array()
                .expect("counts")
                .iter()
                .filter_map(Value::as_u64)
                .sum::<u64>()
        };
        assert_eq!(total(&observed["counts"]), 3);
        let exponential = &metric("exp.latency")["distribution"];
        assert_eq!(total(&exponential["positive"]["counts"]), 3);
        assert!(exponential["scale"].is_i64(), "{exponential}");
    }
}

#[test]
fn logs_of_the_python_sdk() {
    let mapped = mapped(Signal::Logs, include_bytes!("fixtures/python.logs.pb"));
    assert_eq!((mapped.rejected, mapped.cuts.0), (0, 0));
    let items = items(mapped);
    let [(Kind::Event, event)] = &items[..] else {
        panic!("{items:?}")
    };
    assert_eq!(
        part(event, &["name", "source"]),
        json!({"name": "app", "source": "agent-sdk"})
    );
    assert_eq!(event["trace_id"].as_str().expect("an id").len(), 32);
    let data = &event["data"];
    assert_eq!(
        part(data, &["body", "severity", "severity_number"]),
        json!({"body": "something odd", "severity": "WARN", "severity_number": 13})
    );
    assert_eq!(data["attributes"]["key"], "value");
    assert_eq!(data["span_id"].as_str().expect("an id").len(), 16);
}
