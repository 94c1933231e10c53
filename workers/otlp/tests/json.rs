//! OTLP's JSON as SDKs in many languages write it: whatever can be read is stored, whatever cannot is named.

mod common;

use common::{NOW, items};
use otlp::{Encoding, Signal, map_bytes};
use schemas::Kind;
use serde_json::{Value, json};

const AT: &str = "1763600000000000000";

fn metric(name: &str, data: &Value) -> Value {
    let mut metric = data.clone();
    metric["name"] = json!(name);
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})
}

fn mapped(signal: Signal, request: &Value) -> Result<otlp::map::Mapped, String> {
    map_bytes(signal, Encoding::Json, request.to_string().as_bytes(), NOW)
}

/// Spellings that protobuf's mapping to JSON allows, with what they mean.
#[test]
fn numbers_come_as_text_and_null_is_nothing() {
    let points = [
        (json!({"asDouble": 1.5}), 1.5),
        (json!({"asDouble": "1.5"}), 1.5),
        (json!({"asDouble": 3}), 3.0),
        (json!({"asInt": "7"}), 7.0),
        (json!({"asInt": 7}), 7.0),
        (json!({"asInt": 7.0}), 7.0),
        (json!({"asInt": "-7", "flags": "0", "attributes": null}), -7.0),
        (
            json!({"asInt": null, "asDouble": "1e3", "exemplars": [{"spanId": "no hex"}]}),
            1000.0,
        ),
        (
            json!({"asInt": 1, "attributes": [{"key": "a", "value": {"doubleValue": "NaN"}}]}),
            1.0,
        ),
        (
            json!({"asInt": 1, "attributes": [{"key": "a", "value": null}, {"key": "b"}], "new": [{}]}),
            1.0,
        ),
    ];
    for (mut point, value) in points {
        for time in [json!(AT), json!(1_763_600_000_000_000_000_u64)] {
            point["timeUnixNano"] = time;
            for data in [
                json!({"gauge": {"dataPoints": [point]}}),
                json!({"sum": {"dataPoints": [point], "aggregationTemporality": "AGGREGATION_TEMPORALITY_DELTA",
                    "isMonotonic": null}}),
                json!({"sum": {"dataPoints": [point], "aggregationTemporality": 2, "isMonotonic": true}, "gauge": null}),
            ] {
                let mapped = mapped(Signal::Metrics, &metric("m", &data)).expect("a request");
                assert_eq!(mapped.rejected, 0, "{data}: {}", mapped.reason());
                let found = items(mapped);
                assert_eq!((found.len(), found[0].0), (1, Kind::Metric), "{data}");
                assert_eq!(found[0].1["value"], json!(value), "{data}");
            }
        }
    }
}

fn histogram(sum: &Value) -> Value {
    let point = json!({"timeUnixNano": AT, "count": "3", "sum": sum, "min": "NaN", "max": null,
        "bucketCounts": ["1", 1, "1"], "explicitBounds": ["1", 2.5]});
    metric(
        "h",
        &json!({"histogram": {"dataPoints": [point], "aggregationTemporality": 1}}),
    )
}

#[test]
fn a_histogram_is_stored_or_counted_as_rejected() {
    for sum in [json!("0.5"), json!(0.5), json!(null)] {
        let mapped = mapped(Signal::Metrics, &histogram(&sum)).expect("a request");
        assert_eq!(mapped.rejected, 0, "{sum}: {}", mapped.reason());
        let found = items(mapped);
        assert_eq!(found.len(), 1, "{sum}");
        assert_eq!(found[0].1["distribution"]["counts"], json!([1, 1, 1]), "{sum}");
        assert_eq!(found[0].1["distribution"]["bounds"], json!([1.0, 2.5]), "{sum}");
    }
    for sum in [json!("NaN"), json!("Infinity")] {
        let mapped = mapped(Signal::Metrics, &histogram(&sum)).expect("a request");
        assert_eq!(mapped.rejected, 1, "{sum}");
        assert!(mapped.reason().contains("finite"), "{}", mapped.reason());
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let gauge = |point: Value| metric("m", &json!({"gauge": {"dataPoints": [{"asInt": 1}, point]}}));
    let place = "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[1]";
    for (request, at, problem) in [
        (
            gauge(json!({"timeUnixNano": "-1"})),
            ".timeUnixNano",
            "-1 is not from 0 to",
        ),
        (
            gauge(json!({"timeUnixNano": "soon"})),
            ".timeUnixNano",
            "\"soon\" is not a number",
        ),
        (
            gauge(json!({"asInt": 1.5})),
            ".asInt",
            "1.5 is not a whole number",
        ),
        (
            gauge(json!({"asDouble": "inf"})),
            ".asDouble",
            "\"inf\" is not a number",
        ),
        (
            gauge(json!({"asDouble": [1]})),
            ".asDouble",
            "invalid type: sequence",
        ),
        (
            gauge(json!({"attributes": {}})),
            ".attributes",
            "expected an array",
        ),
    ] {
        let error = mapped(Signal::Metrics, &request).expect_err("is refused");
        let wanted = format!("{place}{at}: ");
        assert!(error.contains(&wanted) && error.contains(problem), "{error}");
    }
    let span = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]});
    let error = mapped(Signal::Traces, &span).expect_err("is refused");
    assert!(
        error.contains("spans[0].traceId: \"xyz\" is not an id in hexadecimal"),
        "{error}"
    );
}

#[test]
fn a_metric_without_data_that_is_known_is_counted() {
    let mapped = mapped(
        Signal::Metrics,
        &metric("m", &json!({"newKind": {"dataPoints": [{}]}})),
    )
    .expect("a request");
    assert_eq!(mapped.rejected, 1);
    assert!(
        mapped.reason().contains("metric `m`: has no data"),
        "{}",
        mapped.reason()
    );
}

#[test]
fn spans_and_records_take_the_same_spellings() {
    let any = json!([{"key": "d", "value": {"doubleValue": "1.5"}}, {"key": "n", "value": {"doubleValue": "-Infinity"}},
        {"key": "l", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"bytesValue": "AQI="}, {}]}}}]);
    let span = json!({"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "parentSpanId": "", "name": "s",
        "kind": "SPAN_KIND_CLIENT", "startTimeUnixNano": AT, "endTimeUnixNano": 1_763_600_000_100_000_000_u64,
        "attributes": any, "status": {"code": "STATUS_CODE_ERROR"}, "events": null});
    let request =
        json!({"resourceSpans": [{"resource": null, "scopeSpans": [{"scope": {}, "spans": [span]}]}]});
    let step = items(mapped(Signal::Traces, &request).expect("a request"))
        .remove(0)
        .1;
    assert_eq!(step["trace_id"], "5b8efff798038103d269b633813fc60c");
    assert_eq!(step["status"], "error");
    assert_eq!(step["attributes"]["d"], json!(1.5));
    let record = json!({"timeUnixNano": AT, "severityNumber": "SEVERITY_NUMBER_WARN", "body": {"stringValue": "b"}, "attributes": any});
    let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record, {"body": null}]}]}]});
    let events = items(mapped(Signal::Logs, &request).expect("a request"));
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].1["data"]["body"], "b");
}
