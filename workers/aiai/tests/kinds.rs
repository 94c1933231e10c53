//! Every kind over a real nats-server into DuckDB: from each tenant, with each header that means something, and through
//! the archive's files and back.

mod harness;

use std::time::Duration;

use harness::wire::{Message, Wire};
use harness::{World, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(60);
const KINDS: [&str; 7] = [
    "metric",
    "event",
    "usage",
    "step",
    "message",
    "session",
    "work_item",
];
const COMMON: &str =
    r#""timestamp":"2026-11-20T07:00:00.000250Z","source":"s","tags":{"a":"b"},"trace_id":"t""#;

/// One event of each kind: its own fields, the columns to ask for, and what must be in them.
fn cases() -> Vec<(&'static str, String, &'static str, Value)> {
    vec![
        (
            "metric",
            r#""name":"latency","metric_type":"histogram","distribution":{"count":3,"sum":6,"bounds":[1,2],"counts":[1,1,1]}"#.into(),
            "name, value, metric_type, distribution->>'$.count' AS n",
            json!({"name": "latency", "value": 2.0, "metric_type": "histogram", "n": "3"}),
        ),
        ("event", r#""name":"built","data":[1]"#.into(), "name, data->>0 AS n", json!({"name": "built", "n": "1"})),
        (
            "usage",
            r#""model":"m","tokens_in":7"#.into(),
            "model, tokens_in, cost_source",
            json!({"model": "m", "tokens_in": 7, "cost_source": "unpriced"}),
        ),
        (
            "step",
            r#""name":"plan","span_id":"i","parent_id":"p","operation":"chat","start":"2026-11-20T07:00:00.000250Z","end":1795158000250,"status":"error","error":"e","attributes":{"k":[true]}"#.into(),
            r#"name, span_id, parent_id, operation, epoch_us(start)::BIGINT AS start, epoch_us("end")::BIGINT AS stop, status, error, attributes->>'$.k[0]' AS k"#,
            json!({"name": "plan", "span_id": "i", "parent_id": "p", "operation": "chat", "start": 1_795_158_000_000_250_i64,
                "stop": 1_795_158_000_250_000_i64, "status": "error", "error": "e", "k": "true"}),
        ),
        (
            "message",
            r#""body":"b\n☕","channel":"c","from":"f","to":"g""#.into(),
            r#"body, channel, "from" AS sender, "to" AS recipient"#,
            json!({"body": "b\n☕", "channel": "c", "sender": "f", "recipient": "g"}),
        ),
        (
            "session",
            r#""session":"s-1","state":"ended","title":"t","data":{"x":1}"#.into(),
            "session, state, title, data->>'$.x' AS x",
            json!({"session": "s-1", "state": "ended", "title": "t", "x": "1"}),
        ),
        (
            "work_item",
            r#""work_item":"w-1","state":"blocked","title":"t","project":"p","assignee":"a","parent":"w-0","data":null"#.into(),
            "work_item, state, title, project, assignee, parent, data",
            json!({"work_item": "w-1", "state": "blocked", "title": "t", "project": "p", "assignee": "a", "parent": "w-0", "data": null}),
        ),
    ]
}

/// Waits until a statement gives these rows.
fn gives(world: &World, sql: &str, wanted: &[Value]) {
    let mut found = Vec::new();
    let deadline = std::time::Instant::now() + TIMEOUT;
    while found != wanted {
        assert!(
            std::time::Instant::now() < deadline,
            "{sql}\n gives {found:?}\n not   {wanted:?}"
        );
        found = world.query(sql);
    }
}

#[test]
fn every_kind_of_every_tenant_reaches_its_table_and_its_file_and_comes_back() {
    let settings = [
        "archive.job_seconds=1",
        "sink.retain.interval_seconds=1",
        "node.interval_seconds=3600",
    ];
    let mut world = World::start_with(&settings);
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let messages = cases().into_iter().flat_map(|(kind, own, ..)| {
        let payload = format!("{{{own},{COMMON}}}");
        [
            Message::new(&format!("ingest.{kind}"), payload.clone()),
            Message::new(&format!("ingest.acme.{kind}"), format!("[{payload},{payload}]")),
        ]
    });
    let messages: Vec<Message> = messages.collect();
    let published = wire.store(&messages).len() as u64;
    world.settled(published);
    check_rows(&world);
    let names = [
        "latency",
        "event.count",
        "usage.requests",
        "step.count",
        "step.duration_ms",
        "message.count",
        "session.count",
        "work_item.count",
    ];
    for name in names {
        // Every event counts once, the three observations of a distribution each.
        let count = if name == "latency" { 9 } else { 3 };
        let sql = format!("SELECT sum(count)::BIGINT AS n FROM rollup_1m WHERE name = '{name}'");
        gives(&world, &sql, &[json!({"n": count})]);
    }
    let p50 = "SELECT round(quantile_of(hist, 0.5), 1) AS p FROM rollup_1m WHERE name = 'latency' AND tenant = 'acme'";
    gives(&world, p50, &[json!({"p": 1.4})]);

    // In files, a database that begins anew gets everything back from them alone.
    let archived = "SELECT count(*)::BIGINT AS n FROM (SELECT DISTINCT kind FROM archive_file)";
    gives(&world, archived, &[json!({"n": 7})]);
    until("everything to be archived", TIMEOUT, || {
        let rows = KINDS
            .map(|kind| format!("(SELECT count(*) FROM {kind})"))
            .join(" + ");
        let sql = format!("SELECT (SELECT sum(rows) FROM archive_file) = {rows} AS all");
        (world.query(&sql)[0]["all"] == json!(true)).then_some(())
    });
    world.stop(Signal::TERM);
    for file in ["aiai.duckdb", "aiai.duckdb.wal"] {
        let _ = std::fs::remove_file(world.data().join(file));
    }
    std::fs::remove_dir_all(world.data().join("nats")).expect("the streams go, too");
    world.restart();
    check_rows(&world);
}

fn check_rows(world: &World) {
    for (kind, _, columns, wanted) in cases() {
        let sql = format!(
            "SELECT tenant, idx, epoch_us(ts)::BIGINT AS at, source, tags->>'a' AS a, trace_id, {columns} FROM {kind}_all ORDER BY tenant, idx"
        );
        let rows: Vec<Value> = [("acme", 0), ("acme", 1), ("default", 0)]
            .into_iter()
            .map(|(tenant, idx)| {
                let mut row = json!({"tenant": tenant, "idx": idx, "at": 1_795_158_000_000_250_i64, "source": "s", "a": "b", "trace_id": "t"});
                row.as_object_mut().expect("an object").extend(wanted.as_object().expect("an object").clone());
                row
            })
            .collect();
        gives(world, &sql, &rows);
    }
}

#[test]
fn headers_say_who_what_and_whether_it_came_before() {
    let world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let with = |subject: &str, headers: &[&str], payload: &str| Message {
        headers: headers.iter().map(|header| (*header).to_owned()).collect(),
        ..Message::new(subject, payload)
    };
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let step = with("ingest.step", &[trace, "Nats-Msg-Id: retry-1"], r#"{"name":"a"}"#);
    let attributes = [
        "ce-specversion: 1.0",
        "CE-Id: 7",
        "ce-source: /ci",
        "ce-type: build.finished",
        "Content-Type: text/plain",
    ];
    let envelope = r#"{"specversion":"1.0","id":"8","source":"/cd","type":"t","data":{"session":"s","state":"started"}}"#;
    let batch = r#"[{"specversion":"1.0","id":"9","source":"/cd","type":"deployed"},{"specversion":"1.0","id":"10","source":"/cd"}]"#;
    let sequences = wire.store(&[
        step.clone(),
        step,
        with("ingest.acme.event", &attributes, "done"),
        with(
            "ingest.session",
            &["content-type: application/cloudevents+json"],
            envelope,
        ),
        with(
            "ingest.event",
            &["Content-Type: application/cloudevents-batch+json"],
            batch,
        ),
    ]);
    assert_eq!(
        sequences[0], sequences[1],
        "a publisher's retry is the same message"
    );
    let ledger = world.settled(4);
    assert_eq!(ledger.published - ledger.stored, 0, "{ledger:?}");
    gives(
        &world,
        "SELECT name, trace_id FROM step",
        &[json!({"name": "a", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})],
    );
    gives(
        &world,
        "SELECT tenant, name, source, data->>'$' AS data, tags->>'ce_id' AS id FROM event ORDER BY tenant",
        &[
            json!({"tenant": "acme", "name": "build.finished", "source": "/ci", "data": "done", "id": "7"}),
            json!({"tenant": "default", "name": "deployed", "source": "/cd", "data": null, "id": "9"}),
        ],
    );
    gives(
        &world,
        "SELECT source, session, state FROM session",
        &[json!({"source": "/cd", "session": "s", "state": "started"})],
    );
    gives(
        &world,
        "SELECT reason, place, idx FROM dead",
        &[json!({"reason": "missing_field", "place": "[1].type", "idx": 1})],
    );
}
