//! What OpenTelemetry SDKs send is in the database, by the real executable.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use harness::World;
use rustix::process::Signal;
use serde_json::json;

/// Sends what an SDK sent; the status.
fn send(world: &World, path: &str, recorded: &str) -> u16 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../otlp/tests/fixtures");
    let body = std::fs::read(folder.join(recorded)).expect("a fixture");
    let mut stream = TcpStream::connect(&world.otlp).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {}\r\n\r\n",
        world.otlp,
        body.len()
    )
    .expect("sends");
    stream.write_all(&body).expect("sends");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let head = String::from_utf8_lossy(&answer);
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status")
}

#[test]
fn what_sdks_send_is_in_the_database_once() {
    let mut world = World::start();
    for _ in 0..2 {
        // The second time as after a lost answer.
        for (path, recorded) in [
            ("/v1/traces", "python.traces.pb"),
            ("/v1/traces", "traceloop_openai.traces.pb"),
            ("/v1/metrics", "python_delta.metrics.pb"),
            ("/v1/logs", "python.logs.pb"),
        ] {
            assert_eq!(send(&world, path, recorded), 200, "{recorded}");
        }
    }
    // Steps twice, usage, metrics, an event: messages of one kind each.
    world.settled(5);
    assert_eq!(
        world.query("SELECT name, operation, status, session, source FROM step WHERE source = 'agent-sdk' ORDER BY name"),
        [
            json!({"name": "execute_tool search", "operation": "execute_tool", "status": "error", "session": "c1",
                "source": "agent-sdk"}),
            json!({"name": "work", "operation": null, "status": "ok", "session": null, "source": "agent-sdk"}),
        ]
    );
    let joined = "SELECT parent.name FROM step child JOIN step parent ON child.parent_id = parent.span_id \
                  WHERE child.name = 'execute_tool search'";
    assert_eq!(world.query(joined), [json!({"name": "work"})]);
    assert_eq!(
        world.query(
            "SELECT model, tokens_in, tokens_out, tokens_cache_read, status FROM usage ORDER BY model"
        ),
        [
            json!({"model": "gpt-4o-mini-2024-07-18", "tokens_in": 1200, "tokens_out": 300, "tokens_cache_read": 1024,
                "status": "ok"}),
            json!({"model": "limited", "tokens_in": null, "tokens_out": null, "tokens_cache_read": null,
                "status": "rate_limited"}),
            json!({"model": "text-embedding-3-small", "tokens_in": 8, "tokens_out": null, "tokens_cache_read": 0,
                "status": "ok"}),
        ]
    );
    let sums = "SELECT name, value, metric_type, (distribution->>'count')::INTEGER AS observed FROM metric \
                WHERE source = 'agent-sdk' AND name IN ('jobs', 'latency', 'exp.latency') ORDER BY name";
    let mean = 321.5 / 3.0;
    assert_eq!(
        world.query(sums),
        [
            json!({"name": "exp.latency", "value": mean, "metric_type": "histogram", "observed": 3}),
            json!({"name": "jobs", "value": 3.0, "metric_type": "counter", "observed": null}),
            json!({"name": "latency", "value": mean, "metric_type": "histogram", "observed": 3}),
        ]
    );
    assert_eq!(
        world.query("SELECT name, data->>'body' AS body FROM event WHERE source = 'agent-sdk'"),
        [json!({"name": "app", "body": "something odd"})]
    );
    world.stop(Signal::TERM);
}
