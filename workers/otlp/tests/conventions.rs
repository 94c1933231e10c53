//! Conventions of which no exporter was recorded: the Vercel AI SDK, older names, Claude Code.

mod common;

use common::{NOW, items, of};
use otlp::{Encoding, Signal, map_bytes};
use schemas::Kind;
use serde_json::{Value, json};

/// A value as OTLP's JSON has it: 64-bit integers as texts.
fn value(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({"stringValue": text}),
        Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
        Value::Number(number) => json!({"doubleValue": number}),
        other => panic!("{other}"),
    }
}

fn attributes(pairs: &Value) -> Value {
    let pairs = pairs.as_object().expect("attributes").iter();
    pairs
        .map(|(key, of)| json!({"key": key, "value": value(of)}))
        .collect()
}

fn span(id: u8, parent: u8, pairs: &Value) -> Value {
    let parent = if parent == 0 {
        String::new()
    } else {
        format!("{parent:016x}")
    };
    json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{id:016x}"), "parentSpanId": parent,
        "name": "a span", "kind": 3, "startTimeUnixNano": "1763600000000000000",
        "endTimeUnixNano": "1763600001500000000", "attributes": attributes(pairs), "unknownField": [1],
    })
}

fn traces(spans: &[Value]) -> Vec<(Kind, Value)> {
    let request = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
    let mapped = map_bytes(
        Signal::Traces,
        Encoding::Json,
        request.to_string().as_bytes(),
        NOW,
    )
    .expect("a request");
    assert_eq!(mapped.rejected, 0, "{}", mapped.reason());
    items(mapped)
}

fn calls(spans: &[Value]) -> Vec<Value> {
    let items = traces(spans);
    of(Kind::Usage, &items).into_iter().cloned().collect()
}

#[test]
fn older_names_are_read() {
    let calls = calls(&[span(
        1,
        0,
        &json!({
            "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4", "llm.request.type": "chat",
            "gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.completion_tokens": 5, "gen_ai.usage.cost": 0.0123,
        }),
    )]);
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(
        (
            &call["model"],
            &call["provider"],
            &call["tokens_in"],
            &call["tokens_out"],
            &call["latency_ms"]
        ),
        (
            &json!("gpt-4"),
            &json!("openai"),
            &json!(10),
            &json!(5),
            &json!(1500.0)
        )
    );
    assert_eq!(
        (&call["cost_usd"], &call["cost_source"]),
        (&json!(0.0123), &json!("provider"))
    );
}

#[test]
fn agents_and_what_is_around_a_call_are_no_calls() {
    let tokens = json!({"gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5});
    let with = |more: Value| {
        let mut all = tokens.clone();
        all.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        all
    };
    let calls = calls(&[
        span(3, 2, &with(json!({"gen_ai.operation.name": "chat"}))),
        // Repeats its child's tokens, and names no operation.
        span(2, 1, &tokens),
        span(
            1,
            0,
            &with(json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a"})),
        ),
    ]);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["tags"]["span_id"], "0000000000000003");
}

#[test]
fn operations_of_litellm_and_others_are_calls() {
    let counted = json!({"gen_ai.system": "openai", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5, "gen_ai.usage.details.cached_tokens": 4, "gen_ai.cost.total_cost": 0.25});
    let count = |operation: &str, more: &Value| {
        let mut pairs = json!({"gen_ai.operation.name": operation});
        let members = pairs.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        calls(&[span(1, 0, &pairs)])
    };
    for operation in [
        "acompletion",
        "completion",
        "aembedding",
        "aresponses",
        "anthropic_messages",
        "atext_completion",
        "agenerate_content",
        "chat.completions",
    ] {
        let calls = count(operation, &counted);
        let [call] = &calls[..] else {
            panic!("{operation}: {calls:?}")
        };
        assert_eq!(
            (&call["tokens_in"], &call["tokens_cache_read"], &call["cost_usd"]),
            (&json!(10), &json!(4), &json!(0.25))
        );
        // One that failed has no tokens.
        assert_eq!(count(operation, &json!({"gen_ai.request.model": "m"})).len(), 1);
    }
    assert_eq!(count("something_new", &counted).len(), 1);
    assert!(count("something_new", &json!({"gen_ai.request.model": "m"})).is_empty());
    for operation in [
        "invoke_agent",
        "create_agent",
        "execute_tool",
        "invoke_workflow",
        "execute_event_loop_cycle",
    ] {
        assert!(count(operation, &counted).is_empty(), "{operation}");
    }
}

#[test]
fn calls_at_the_same_time_are_each_counted() {
    let scope = |name: &str, ids: [u8; 2]| {
        let call = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"});
        let spans = ids.map(|id| {
            let mut span = span(id, 0, &call);
            span["endTimeUnixNano"] = json!(1_763_600_001_000_000_000_u64 + u64::from(id) * 1_000_000);
            span
        });
        json!({"scope": {"name": name}, "spans": spans})
    };
    let request =
        json!({"resourceSpans": [{"scopeSpans": [scope("inner", [1, 2]), scope("outer", [3, 4])]}]});
    let mapped = map_bytes(
        Signal::Traces,
        Encoding::Json,
        request.to_string().as_bytes(),
        NOW,
    );
    assert_eq!(of(Kind::Usage, &items(mapped.expect("a request"))).len(), 2);
}

/// How many calls are counted of two that two instrumentations tell of, from and to so many milliseconds, the second one
/// with a response id of its own if that is given.
fn counted(times: [(u64, u64); 2], response: Option<&str>) -> usize {
    let scopes = times.into_iter().zip(1..).map(|((from, to), id)| {
        let mut pairs = json!({
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4",
            "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5,
        });
        if let Some(response) = response {
            pairs["gen_ai.response.id"] = json!(if id == 1 { "first" } else { response });
        }
        let mut span = span(id, 0, &pairs);
        let at = |milliseconds: u64| json!((1_763_600_000_000 + milliseconds) * 1_000_000);
        (span["startTimeUnixNano"], span["endTimeUnixNano"]) = (at(from), at(to));
        json!({"scope": {"name": format!("instrumentation {id}")}, "spans": [span]})
    });
    let request = json!({"resourceSpans": [{"scopeSpans": scopes.collect::<Vec<_>>()}]}).to_string();
    let mapped = map_bytes(Signal::Traces, Encoding::Json, request.as_bytes(), NOW).expect("a request");
    of(Kind::Usage, &items(mapped)).len()
}

#[test]
fn calls_alike_are_one_if_they_overlap_and_are_no_two_responses() {
    for (times, response, wanted) in [
        ([(10, 20), (5, 25)], None, 1),
        ([(5, 25), (10, 20)], None, 1),
        ([(10, 20), (5, 25)], Some("first"), 1),
        ([(10, 20), (5, 25)], Some("another"), 2),
        ([(10, 20), (10, 20)], Some("first"), 1),
        ([(10, 20), (10, 20)], None, 2),
        ([(10, 20), (15, 25)], None, 1),
        ([(10, 20), (30, 40)], None, 2),
    ] {
        assert_eq!(counted(times, response), wanted, "{times:?} {response:?}");
    }
}

#[test]
fn the_vercel_sdk_tells_of_anthropic_without_the_cache() {
    let outer = json!({"ai.operationId": "ai.generateText", "ai.model.id": "claude-sonnet-4-5",
        "ai.model.provider": "anthropic.messages", "ai.usage.inputTokens": 100, "ai.usage.outputTokens": 50});
    let inner = json!({"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "claude-sonnet-4-5",
        "ai.model.provider": "anthropic.messages", "gen_ai.system": "anthropic.messages",
        "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 50,
        "ai.usage.inputTokens": 100, "ai.usage.outputTokens": 50, "ai.usage.cachedInputTokens": 60,
        "ai.response.msToFirstChunk": 120.5});
    let calls = calls(&[span(2, 1, &inner), span(1, 0, &outer)]);
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(
        (
            &call["provider"],
            &call["tokens_in"],
            &call["tokens_cache_read"],
            &call["ttft_ms"]
        ),
        (&json!("anthropic"), &json!(160), &json!(60), &json!(120.5))
    );
}

#[test]
fn claude_code_tells_of_calls_and_sessions() {
    let record = |name: &str, more: Value| {
        let mut pairs = json!({"event.name": name, "session.id": "s1", "app.version": "2.1.0"});
        pairs
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        json!({"timeUnixNano": "1763600000000000000", "body": {"stringValue": format!("claude_code.{name}")},
            "attributes": attributes(&pairs)})
    };
    let request = json!({"resourceLogs": [{
        "resource": {"attributes": attributes(&json!({"service.name": "claude-code"}))},
        "scopeLogs": [{"scope": {"name": "com.anthropic.claude_code.events"}, "logRecords": [
            record("user_prompt", json!({"prompt_length": 12})),
            record("api_request", json!({"model": "claude-sonnet-4-5-20250929", "input_tokens": "10",
                "output_tokens": 200, "cache_read_tokens": 5000, "cache_creation_tokens": 300,
                "cost_usd": 0.0123, "duration_ms": "1500"})),
        ]}],
    }]});
    let mapped =
        map_bytes(Signal::Logs, Encoding::Json, request.to_string().as_bytes(), NOW).expect("a request");
    let items = items(mapped);
    assert_eq!(of(Kind::Event, &items).len(), 2);
    let calls = of(Kind::Usage, &items);
    assert_eq!(calls.len(), 1);
    for (member, wanted) in [
        ("model", json!("claude-sonnet-4-5-20250929")),
        ("provider", json!("anthropic")),
        ("tokens_in", json!(5310)),
        ("tokens_out", json!(200)),
        ("tokens_cache_read", json!(5000)),
        ("tokens_cache_write", json!(300)),
        ("cost_usd", json!(0.0123)),
        ("latency_ms", json!(1500.0)),
        ("session", json!("s1")),
        ("source", json!("claude-code")),
    ] {
        assert_eq!(calls[0][member], wanted, "{member}");
    }
    let sessions = of(Kind::Session, &items);
    assert_eq!(
        (sessions.len(), &sessions[0]["session"], &sessions[0]["state"]),
        (1, &json!("s1"), &json!("active"))
    );
}

#[test]
fn points_without_a_value_are_left_out_and_those_that_are_no_number_rejected() {
    let point = |more: Value| {
        let mut point = json!({"timeUnixNano": "1763600000000000000"});
        point
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        point
    };
    let request = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "g", "gauge": {"dataPoints": [point(json!({"asDouble": 1.5})), point(json!({"asInt": "7"})),
            point(json!({"flags": 1})), point(json!({"asDouble": "NaN"}))]}},
        {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [
            point(json!({"count": "3", "sum": 6.0, "bucketCounts": ["1", "2"], "explicitBounds": [1.0]})),
            point(json!({"count": "3", "bucketCounts": ["1"], "explicitBounds": [1.0]})),
            point(json!({"count": "2", "sum": 3.0}))]}},
        {"name": "s", "summary": {"dataPoints": [point(json!({"count": "4", "sum": 8.0,
            "quantileValues": [{"quantile": 0.5, "value": 2.0}]}))]}},
    ]}]}]});
    let mapped = map_bytes(
        Signal::Metrics,
        Encoding::Json,
        request.to_string().as_bytes(),
        NOW,
    )
    .expect("a request");
    assert_eq!(
        (mapped.rejected, mapped.without_value),
        (2, 1),
        "{}",
        mapped.reason()
    );
    let items = items(mapped);
    let shown: Vec<_> = items
        .iter()
        .map(|(_, item)| json!([item["name"], item["value"], item["tags"]]))
        .collect();
    assert_eq!(
        shown,
        [
            json!(["g", 1.5, null]),
            json!(["g", 7.0, null]),
            json!(["h", 2.0, null]),
            json!(["h", 1.5, null]),
            json!(["s", 2.0, {"quantile": "0.5"}]),
            json!(["s.count", 4.0, null]),
            json!(["s.sum", 8.0, null]),
        ]
    );
}
