//! What is good goes to INGEST as it came, and is answered once it is there.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::Write as _;

use common::{Gateway, METRIC, with_tokens};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_an_array_and_lines_are_one_message_each() {
    let gateway = Gateway::start().await;
    let array = format!(" [{METRIC},\n {METRIC}] ");
    let lines = format!("{METRIC}\n{METRIC}\n{METRIC}\n");
    for (path, content_type, body, items) in [
        ("/v1/metrics", "application/json", METRIC, 1),
        ("/v1/metrics", "Application/JSON; charset=\"UTF-8\"", &array, 2),
        ("/v1/metrics/batch", "application/json", &array, 2),
        ("/v1/metrics/batch", "application/x-ndjson", &lines, 3),
        ("/v1/metrics", "application/jsonl", &lines, 3),
        ("/v1/events", "application/json", r#"{"name":"x","data":[1]}"#, 1),
        ("/v1/steps", "application/json", r#"{"name":"plan"}"#, 1),
        ("/v1/messages", "application/json", r#"{"body":"hello"}"#, 1),
        (
            "/v1/sessions",
            "application/json",
            r#"{"session":"s","state":"started"}"#,
            1,
        ),
        (
            "/v1/work-items",
            "application/json",
            r#"{"work_item":"w","state":"open"}"#,
            1,
        ),
        (
            "/v1/usage",
            "application/json",
            r#"{"model":"opus","tokens_in":3}"#,
            1,
        ),
    ] {
        let answer = gateway
            .send("POST", path, &[("Content-Type", content_type)], body.as_bytes())
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let origin = gateway.stored().await;
        assert_eq!(
            answer.json(),
            json!({"accepted": items, "origin": origin, "duplicate": false})
        );
        let message = gateway.message(origin).await;
        assert_eq!(message.payload(), body.as_bytes(), "as it came");
        let lines = (items == 3).then_some("application/x-ndjson");
        assert_eq!(message.header("Content-Type"), lines);
    }
    let subject = gateway.message(gateway.stored().await).await.subject().to_owned();
    assert_eq!(subject, "ingest.usage");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_is_stored_unpacked() {
    let gateway = Gateway::start().await;
    let body = METRIC.to_owned();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(body.as_bytes()).unwrap();
    let json = ("Content-Type", "application/json");
    for (encoding, packed) in [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(body.as_bytes(), 0).unwrap()),
        ("identity", body.clone().into_bytes()),
    ] {
        let headers = [json, ("Content-Encoding", encoding)];
        let answer = gateway.send("POST", "/v1/metrics", &headers, &packed).await;
        assert_eq!(answer.status, 202, "{encoding}: {answer:?}");
        let message = gateway.message(answer.json()["origin"].as_u64().unwrap()).await;
        assert_eq!(message.payload(), body.as_bytes());
        assert_eq!(message.header("Content-Encoding"), None);
    }
    // In pieces, without a length.
    let head = format!(
        "POST /v1/metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        gateway.address
    );
    let (one, other) = METRIC.split_at(20);
    let chunks = format!(
        "{:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\n\r\n",
        one.len(),
        other.len()
    );
    let answer = gateway.exchange(&[head.as_bytes(), chunks.as_bytes()]).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(gateway.message(4).await.payload(), METRIC.as_bytes());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_stored_once_for_each_path_and_tenant() {
    let gateway = Gateway::start().await;
    let send = async |path: &'static str, tenant: &'static str, body: &'static str| {
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", "k-1"),
            ("Aiai-Tenant", tenant),
        ];
        let answer = gateway.send("POST", path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()
    };
    let first = send("/v1/metrics", "acme", METRIC).await;
    assert_eq!(first, json!({"accepted": 1, "origin": 1, "duplicate": false}));
    let again = send("/v1/metrics", "acme", METRIC).await;
    assert_eq!(again, json!({"accepted": 1, "origin": 1, "duplicate": true}));
    assert_eq!(send("/v1/metrics", "other", METRIC).await["origin"], 2);
    assert_eq!(send("/v1/events", "acme", r#"{"name":"x"}"#).await["origin"], 3);
    assert_eq!(gateway.message(1).await.subject(), "ingest.acme.metric");
    assert_eq!(gateway.stored().await, 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_mean_something_travel_on() {
    let gateway = Gateway::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("Content-Type", "application/json"),
        ("traceparent", trace),
        ("X-Other", "stays"),
        ("Authorization", "Bearer not-asked-for"),
    ];
    let answer = gateway
        .send("POST", "/v1/metrics", &headers, METRIC.as_bytes())
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let message = gateway.message(1).await;
    assert_eq!(message.header("traceparent"), Some(trace));
    assert_eq!(
        message.header("x-other").or(message.header("authorization")),
        None
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_events_travel_as_they_came() {
    let gateway = Gateway::start().await;
    let event = r#"{"specversion":"1.0","id":"1","source":"ci","type":"build.finished","data":{"ok":true}}"#;
    let headers = [("Content-Type", "application/cloudevents+json; charset=utf-8")];
    let answer = gateway
        .send("POST", "/v1/events", &headers, event.as_bytes())
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let message = gateway.message(1).await;
    assert_eq!(
        message.header("Content-Type"),
        Some("application/cloudevents+json")
    );
    assert_eq!(message.payload(), event.as_bytes());
    let batch = format!("[{event},{event}]");
    let headers = [("Content-Type", "application/cloudevents-batch+json")];
    let answer = gateway
        .send("POST", "/v1/events", &headers, batch.as_bytes())
        .await;
    assert_eq!(answer.json()["accepted"], 2, "{answer:?}");
    let binary = [
        ("Content-Type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "ci"),
        ("ce-type", "build.finished"),
    ];
    let answer = gateway.send("POST", "/v1/events", &binary, b"any text").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let message = gateway.message(3).await;
    assert_eq!(message.header("ce-id"), Some("7"));
    assert_eq!(message.header("Content-Type"), Some("text/plain"));
    let answer = gateway
        .send("POST", "/v1/events", &binary[..4], b"any text")
        .await;
    assert_eq!(answer.problem(422, "one thing")["errors"][0]["place"], "type");
    let answer = gateway
        .send("POST", "/v1/metrics", &binary, METRIC.as_bytes())
        .await;
    answer.problem(415, "application/json");
    assert_eq!(gateway.stored().await, 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_the_tenant() {
    let config = with_tokens(&[("acme-0123456789ab", "acme"), ("other-0123456789a", "other")]);
    let gateway = Gateway::start_with(config, Default::default()).await;
    let json = ("Content-Type", "application/json");
    for wrong in ["", "Bearer nonsense", "Basic acme-0123456789ab"] {
        let answer = gateway
            .send(
                "POST",
                "/v1/metrics",
                &[json, ("Authorization", wrong)],
                METRIC.as_bytes(),
            )
            .await;
        answer.problem(401, "Authorization: Bearer");
        assert_eq!(answer.header("www-authenticate"), Some(r#"bearer realm="aiai""#));
    }
    assert_eq!(gateway.stored().await, 0);
    let headers = [
        json,
        ("Authorization", "Bearer acme-0123456789ab"),
        ("Aiai-Tenant", "other"),
    ];
    let answer = gateway
        .send("POST", "/v1/metrics", &headers, METRIC.as_bytes())
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(gateway.message(1).await.subject(), "ingest.acme.metric");
    for path in ["/health", "/metrics", "/openapi.json"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path} needs no token");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_about_itself() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.get("/health").await.json(), json!({"status": "ok"}));
    gateway.post("/v1/metrics", METRIC).await;
    gateway.post("/v1/metrics", "{}").await;
    let figures = gateway.get("/metrics").await;
    assert!(
        figures
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let text = String::from_utf8(figures.body).unwrap();
    for line in [
        "aiai_gateway_answers_total{status=\"202\"} 1\n",
        "aiai_gateway_answers_total{status=\"422\"} 1\n",
        "aiai_gateway_requests 0\n",
        "aiai_gateway_held_bytes 0\n",
        "aiai_events_total{worker=\"gateway\",instance=",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    // Nobody reads INGEST here.
    let ready = gateway.get("/ready").await;
    assert_eq!(
        (ready.status, ready.header("retry-after")),
        (503, Some("5")),
        "{ready:?}"
    );
    let missing = ready.json();
    assert_eq!(missing["ready"], false);
    assert_eq!(
        missing["missing"][0],
        json!({"problem": "no worker ingest lives", "fix": "aiai run ingest"})
    );
    let document = gateway.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    gateway.stop().await;
}
