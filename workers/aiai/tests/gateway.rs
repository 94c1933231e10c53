//! What is published by HTTP is in the database, by the real executable.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::{World, http_get, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Status and body.
fn post(address: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sends");
    stream.write_all(body.as_bytes()).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    (status.expect("a status"), serde_json::from_str(body).expect("JSON"))
}

#[test]
fn what_is_posted_is_in_the_database() {
    let mut world = World::start();
    let address = world.gateway.clone();
    until("readiness", TIMEOUT, || (http_get(&address, "/ready").0 == 200).then_some(()));
    let json = "Content-Type: application/json\r\n";
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let mut origins = Vec::new();
    for (path, headers, body, items) in [
        ("/v1/metrics", format!("{json}{trace}"), r#"{"name":"depth","value":4}"#, 1),
        ("/v1/metrics/batch", json.into(), r#"[{"name":"depth","value":5},{"name":"depth","value":6}]"#, 2),
        ("/v1/usage", json.into(), r#"{"model":"opus","tokens_in":12,"source":"me"}"#, 1),
        ("/v1/steps", json.into(), r#"{"name":"plan","operation":"invoke_agent"}"#, 1),
        ("/v1/messages", json.into(), r#"{"body":"hello","channel":"c"}"#, 1),
        ("/v1/sessions", json.into(), r#"{"session":"s","state":"started"}"#, 1),
        ("/v1/work-items", format!("{json}Aiai-Tenant: acme\r\n"), r#"{"work_item":"w","state":"open"}"#, 1),
        (
            "/v1/events",
            "Content-Type: application/cloudevents+json\r\n".into(),
            r#"{"specversion":"1.0","id":"1","source":"ci","type":"built"}"#,
            1,
        ),
    ] {
        let (status, answer) = post(&address, path, &headers, body);
        assert_eq!((status, &answer["accepted"]), (202, &json!(items)), "{path}: {answer}");
        origins.push(answer["origin"].as_u64().expect("an origin"));
    }
    let (status, problem) = post(&address, "/v1/metrics", json, r#"[{"name":"depth","value":7},{"name":"depth"}]"#);
    assert_eq!((status, &problem["errors"][0]["index"]), (422, &json!(1)), "{problem}");
    world.settled(*origins.last().expect("some"));
    let of = |sql: &str| world.query(sql);
    assert_eq!(
        of("SELECT value, trace_id, origin FROM metric WHERE name = 'depth' ORDER BY value"),
        [
            json!({"value": 4.0, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "origin": origins[0]}),
            json!({"value": 5.0, "trace_id": null, "origin": origins[1]}),
            json!({"value": 6.0, "trace_id": null, "origin": origins[1]}),
        ]
    );
    assert_eq!(of("SELECT model, tokens_in FROM usage"), [json!({"model": "opus", "tokens_in": 12})]);
    assert_eq!(of("SELECT name, operation FROM step"), [json!({"name": "plan", "operation": "invoke_agent"})]);
    assert_eq!(of("SELECT body, channel FROM message"), [json!({"body": "hello", "channel": "c"})]);
    assert_eq!(of("SELECT session, state FROM session"), [json!({"session": "s", "state": "started"})]);
    assert_eq!(
        of("SELECT work_item, state, tenant FROM work_item"),
        [json!({"work_item": "w", "state": "open", "tenant": "acme"})]
    );
    assert_eq!(
        of("SELECT name, source FROM event WHERE source = 'ci'"),
        [json!({"name": "built", "source": "ci"})]
    );
    world.stop(Signal::TERM);
}
