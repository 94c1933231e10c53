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
    (
        status.expect("a status"),
        serde_json::from_str(body).expect("JSON"),
    )
}

const JSON: &str = "Content-Type: application/json\r\n";
const CLOUD_EVENT: &str = "Content-Type: application/cloudevents+json\r\n";
const OF_TENANT: &str = "Content-Type: application/json\r\nAiai-Tenant: acme\r\n";
const TRACED: &str = "Content-Type: application/json\r\n\
     traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";

/// Path, headers, body and how many items it holds.
const POSTS: &[(&str, &str, &str, u64)] = &[
    ("/v1/metrics", TRACED, r#"{"name":"depth","value":4}"#, 1),
    (
        "/v1/metrics/batch",
        JSON,
        r#"[{"name":"depth","value":5},{"name":"depth","value":6}]"#,
        2,
    ),
    (
        "/v1/usage",
        JSON,
        r#"{"model":"opus","tokens_in":12,"source":"me"}"#,
        1,
    ),
    (
        "/v1/steps",
        JSON,
        r#"{"name":"plan","operation":"invoke_agent"}"#,
        1,
    ),
    ("/v1/messages", JSON, r#"{"body":"hello","channel":"c"}"#, 1),
    ("/v1/sessions", JSON, r#"{"session":"s","state":"started"}"#, 1),
    (
        "/v1/work-items",
        OF_TENANT,
        r#"{"work_item":"w","state":"open"}"#,
        1,
    ),
    (
        "/v1/events",
        CLOUD_EVENT,
        r#"{"specversion":"1.0","id":"1","source":"ci","type":"built"}"#,
        1,
    ),
];

/// A query and its rows, for what `POSTS` stores in other tables than `metric`.
fn stored() -> Vec<(&'static str, Value)> {
    vec![
        (
            "SELECT model, tokens_in FROM usage",
            json!([{"model": "opus", "tokens_in": 12}]),
        ),
        (
            "SELECT name, operation FROM step",
            json!([{"name": "plan", "operation": "invoke_agent"}]),
        ),
        (
            "SELECT body, channel FROM message",
            json!([{"body": "hello", "channel": "c"}]),
        ),
        (
            "SELECT session, state FROM session",
            json!([{"session": "s", "state": "started"}]),
        ),
        (
            "SELECT work_item, state, tenant FROM work_item",
            json!([{"work_item": "w", "state": "open", "tenant": "acme"}]),
        ),
        (
            "SELECT name, source FROM event WHERE source = 'ci'",
            json!([{"name": "built", "source": "ci"}]),
        ),
    ]
}

#[test]
fn what_is_posted_is_in_the_database() {
    let mut world = World::start();
    let address = world.gateway.clone();
    until("readiness", TIMEOUT, || {
        (http_get(&address, "/ready").0 == 200).then_some(())
    });
    let mut origins = Vec::new();
    for &(path, headers, body, items) in POSTS {
        let (status, answer) = post(&address, path, headers, body);
        assert_eq!(
            (status, &answer["accepted"]),
            (202, &json!(items)),
            "{path}: {answer}"
        );
        origins.push(answer["origin"].as_u64().expect("an origin"));
    }
    let one_bad = r#"[{"name":"depth","value":7},{"name":"depth"}]"#;
    let (status, problem) = post(&address, "/v1/metrics", JSON, one_bad);
    assert_eq!(
        (status, &problem["errors"][0]["index"]),
        (422, &json!(1)),
        "{problem}"
    );
    world.settled(*origins.last().expect("some"));
    assert_eq!(
        world.query("SELECT value, trace_id, origin FROM metric WHERE name = 'depth' ORDER BY value"),
        [
            json!({"value": 4.0, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "origin": origins[0]}),
            json!({"value": 5.0, "trace_id": null, "origin": origins[1]}),
            json!({"value": 6.0, "trace_id": null, "origin": origins[1]}),
        ]
    );
    for (sql, rows) in stored() {
        assert_eq!(json!(world.query(sql)), rows, "{sql}");
    }
    world.stop(Signal::TERM);
}
