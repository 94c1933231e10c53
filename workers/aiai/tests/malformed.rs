//! Malformed messages among good ones: every good one is stored, every bad one becomes a dead letter
//! that says what is wrong and keeps what came, and the ledger balances.

mod harness;

use std::collections::HashMap;

use harness::World;
use harness::wire::{Message, Wire};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Every case is sent so often, between good messages.
const ROUNDS: usize = 4;

/// A dead letter that must come of a message.
struct Letter {
    /// Position of the bad item; none: the whole message.
    idx: Option<u32>,
    reason: &'static str,
    place: &'static str,
    /// A part of the advice.
    fix: &'static str,
    payload: Vec<u8>,
}

/// A message with something wrong in it.
struct Case {
    message: Message,
    letters: Vec<Letter>,
    /// Items that are good all the same.
    good: usize,
}

/// A message that is bad as a whole.
fn whole(
    subject: &str,
    payload: impl Into<Vec<u8>>,
    reason: &'static str,
    place: &'static str,
    fix: &'static str,
) -> Case {
    let payload = payload.into();
    Case {
        message: Message::new(subject, payload.clone()),
        letters: vec![Letter {
            idx: None,
            reason,
            place,
            fix,
            payload,
        }],
        good: 0,
    }
}

/// A message of several items with a bad one.
fn part(
    subject: &str,
    payload: &str,
    good: usize,
    letter: (u32, &'static str, &'static str, &'static str, &[u8]),
) -> Case {
    let (idx, reason, place, fix, item) = letter;
    Case {
        message: Message::new(subject, payload),
        letters: vec![Letter {
            idx: Some(idx),
            reason,
            place,
            fix,
            payload: item.to_vec(),
        }],
        good,
    }
}

fn cases() -> Vec<Case> {
    let large = format!(r#"{{"name":"large","data":"{}"}}"#, "x".repeat(300 * 1024));
    let deep = format!(r#"{{"name":"deep","data":{}{}}}"#, "[".repeat(70), "]".repeat(70));
    let mut cases = fields();
    cases.extend([
        whole(
            "ingest.metric",
            "",
            "empty_payload",
            "payload",
            "send one JSON object",
        ),
        whole(
            "ingest.metric",
            " \n ",
            "empty_payload",
            "payload",
            "send one JSON object",
        ),
        whole(
            "ingest.metric",
            "[]",
            "empty_array",
            "payload",
            "at least one object",
        ),
        whole(
            "ingest.metric",
            "42",
            "wrong_type",
            "payload",
            "send an object like",
        ),
        whole(
            "ingest.metric",
            "not json",
            "invalid_json",
            "payload",
            "let a JSON encoder write it",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","va"#,
            "truncated_json",
            "payload",
            "send the whole value",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":1} x"#,
            "trailing_data",
            "payload",
            "one object a line",
        ),
        whole(
            "ingest.metric",
            b"{\"name\":\"\xff\xfe\",\"value\":1}",
            "invalid_utf8",
            "payload",
            "encode the JSON as UTF-8",
        ),
        whole(
            "ingest.metric",
            b"\x00\x01\x02",
            "invalid_json",
            "payload",
            "let a JSON encoder write it",
        ),
        whole(
            "ingest.metrics",
            r#"{"name":"x","value":1}"#,
            "unknown_kind",
            "subject",
            "did you mean `metric`?",
        ),
        whole(
            "ingest.acme.trace",
            r#"{"name":"x"}"#,
            "unknown_kind",
            "subject",
            "metric, event, usage",
        ),
        whole(
            "ingest.a.b.metric",
            r#"{"name":"x","value":1}"#,
            "bad_subject",
            "subject",
            "ingest.<kind>",
        ),
        whole("ingest.event", large, "too_large", "data", "store it elsewhere"),
        whole("ingest.event", deep, "too_deep", "data", "flatten it"),
        part(
            "ingest.metric",
            r#"[{"name":"good","value":1}, {"name":"bad","value":"1"} ,{"name":"good","value":2}]"#,
            2,
            (
                1,
                "wrong_type",
                "[1].value",
                "remove the quotes",
                br#"{"name":"bad","value":"1"}"#,
            ),
        ),
        part(
            "ingest.acme.event",
            "{\"name\":\"good\"}\n{\"name\":\n{\"name\":\"good\"}\n",
            2,
            (
                1,
                "truncated_json",
                "line 2",
                "send the whole value",
                br#"{"name":"#,
            ),
        ),
    ]);
    let mut both = part(
        "ingest.usage",
        "{\"model\":\"good\"}\n\n{\"model\":\"\"}\n{\"model\":\"m\",\"tokens_in\":-1}\n{\"model\":\"good\"}",
        2,
        (
            1,
            "empty_name",
            "line 3: model",
            "give it a name",
            br#"{"model":""}"#,
        ),
    );
    both.letters.push(Letter {
        idx: Some(2),
        reason: "out_of_range",
        place: "line 4: tokens_in",
        fix: "a whole number from 0",
        payload: br#"{"model":"m","tokens_in":-1}"#.to_vec(),
    });
    cases.push(both);
    cases
}

/// One field each.
fn fields() -> Vec<Case> {
    vec![
        whole(
            "ingest.metric",
            r#"{"name":"x","valeu":1}"#,
            "unknown_field",
            "valeu",
            "did you mean `value`?",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":"12"}"#,
            "wrong_type",
            "value",
            "remove the quotes: 12",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":null}"#,
            "missing_field",
            "value",
            "a number",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x"}"#,
            "missing_field",
            "value",
            "add it, a number",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":NaN}"#,
            "not_finite",
            "value",
            "send a finite number",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":-Infinity}"#,
            "not_finite",
            "value",
            "send a finite number",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":1e999}"#,
            "out_of_range",
            "value",
            "a double can hold",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","name":"y","value":1}"#,
            "duplicate_field",
            "name",
            "send it once",
        ),
        whole(
            "ingest.metric",
            r#"{"name":" ","value":1}"#,
            "empty_name",
            "name",
            "give it a name",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":1,"tenant":"me"}"#,
            "output_only_field",
            "tenant",
            "",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":1,"tags":{"a":1}}"#,
            "wrong_type",
            "tags.a",
            "put it in quotes",
        ),
        whole(
            "ingest.metric",
            r#"{"name":"x","value":1,"metric_type":"guage"}"#,
            "unknown_value",
            "metric_type",
            "did you mean \"gauge\"?",
        ),
        whole(
            "ingest.event",
            r#"{"name":"x","timestamp":"yesterday"}"#,
            "bad_time",
            "timestamp",
            "RFC 3339",
        ),
        whole(
            "ingest.event",
            r#"{"name":"x","timestamp":1700000000}"#,
            "bad_time",
            "timestamp",
            "milliseconds",
        ),
        whole(
            "ingest.event",
            r#"{"name":"x","timestamp":"9999-01-01T00:00:00Z"}"#,
            "bad_time",
            "timestamp",
            "clock",
        ),
        whole(
            "ingest.usage",
            r#"{"model":"m","cost_usd":-0.01}"#,
            "out_of_range",
            "cost_usd",
            "",
        ),
        whole(
            "ingest.usage",
            r#"{"model":"m","tokens_in":1,"tokens_cache_read":2}"#,
            "inconsistent",
            "tokens_in",
            "counts are inclusive",
        ),
    ]
}

/// A letter as the table has it.
type Key = (u64, Option<u64>);

fn letters(world: &World) -> HashMap<Key, Value> {
    let sql = "SELECT origin, idx, stage, kind, reason, place, problem, fix, subject, hex(payload) AS payload, headers, \
               stored <= dead_at AS in_order FROM dead";
    let rows = world.query(sql);
    let count = rows.len();
    let by_key: HashMap<Key, Value> = rows
        .into_iter()
        .map(|row| {
            (
                (row["origin"].as_u64().expect("an origin"), row["idx"].as_u64()),
                row,
            )
        })
        .collect();
    assert_eq!(by_key.len(), count, "a dead letter was stored twice");
    by_key
}

fn check(letter: &Letter, row: &Value, subject: &str) {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("reason"), letter.reason, "{row}");
    assert_eq!(text("place"), letter.place, "{row}");
    assert!(text("fix").contains(letter.fix), "wanted {:?}: {row}", letter.fix);
    assert!(!text("problem").is_empty() && !text("fix").is_empty(), "{row}");
    assert_eq!(
        (text("stage").as_str(), text("subject").as_str()),
        ("ingest", subject)
    );
    assert_eq!(Some(text("kind").as_str()), subject.rsplit('.').next());
    assert_eq!(row["in_order"], true);
    let payload: String = letter.payload.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(text("payload"), payload, "{} {}", letter.reason, letter.place);
}

#[test]
fn bad_messages_stop_nobody_and_are_kept_with_their_reason() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let cases = cases();
    let (mut messages, mut good) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        for case in &cases {
            let number = round * 1000 + messages.len();
            messages.push(Message::new(
                "ingest.metric",
                format!(r#"{{"name":"good","value":{number}}}"#),
            ));
            messages.push(case.message.clone());
            good += 1 + case.good as u64;
        }
    }
    let sequences = wire.store(&messages);
    let ledger = world.settled(messages.len() as u64);
    let mut found = letters(&world);
    let mut dead_only = 0;
    for (at, case) in (0..ROUNDS).flat_map(|_| &cases).enumerate() {
        let origin = sequences[at * 2 + 1];
        for letter in &case.letters {
            let row = found.remove(&(origin, letter.idx.map(u64::from)));
            let row = row.unwrap_or_else(|| panic!("no dead letter for {} {}", letter.reason, letter.place));
            check(letter, &row, &case.message.subject);
        }
        dead_only += u64::from(case.good == 0);
    }
    assert!(found.is_empty(), "nobody sent these: {found:?}");
    assert_eq!(ledger.dead, dead_only, "{ledger:?}");
    assert!(ledger.stored >= (messages.len() as u64) - dead_only, "{ledger:?}");
    let stored = "SELECT (SELECT count(*) FROM metric WHERE name = 'good') + (SELECT count(*) FROM event WHERE name = 'good') \
                  + (SELECT count(*) FROM usage WHERE model = 'good') AS n, \
                  (SELECT count(*) FROM metric WHERE name NOT IN ('good') AND source NOT LIKE 'node/%') \
                  + (SELECT count(*) FROM event WHERE name <> 'good') + (SELECT count(*) FROM usage WHERE model <> 'good') AS others";
    assert_eq!(world.query(stored), [json!({"n": good, "others": 0})]);
    world.stop(Signal::TERM);
}

#[test]
fn a_dead_letter_keeps_the_headers_of_its_message() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let mut message = Message::new("ingest.metric", r#"{"name":"x"}"#);
    message.headers = [
        "traceparent: 00-0af7651916cd43dd-01",
        "X-Team: café",
        "Nats-Msg-Id: once",
    ]
    .map(str::to_owned)
    .into();
    let sequences = wire.store(&[message.clone(), message]);
    assert_eq!(sequences[0], sequences[1], "the second has the same id");
    let mut lines = Message::new("ingest.metric", r#"{"name":"one line","value":1}"#);
    lines.headers.push("Content-Type: application/x-ndjson".into());
    wire.store(&[lines]);
    world.settled(2);
    let rows = world.query("SELECT headers FROM dead");
    assert_eq!(rows.len(), 1);
    let headers = &rows[0]["headers"];
    assert_eq!(headers["traceparent"], "00-0af7651916cd43dd-01");
    assert_eq!(headers["X-Team"], "café");
    assert_eq!(headers["Aiai-Original-Nats-Msg-Id"], "once");
    assert_eq!(headers["Aiai-Origin"], sequences[0].to_string());
    world.stop(Signal::TERM);
}

#[test]
fn what_is_too_large_for_the_stream_is_refused_to_its_sender() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let large = Message::new("ingest.event", vec![b' '; 2 * 1024 * 1024]);
    let small = Message::new("ingest.event", r#"{"name":"small"}"#);
    let answers = wire.publish(&[large, small]).expect("answers");
    let refusal = answers[0].as_ref().expect_err("too large");
    assert!(
        refusal.contains("message size exceeds maximum allowed"),
        "{refusal}"
    );
    assert!(answers[1].is_ok());
    let ledger = world.settled(1);
    assert_eq!(ledger.dead, 0);
    assert_eq!(world.query("SELECT count(*) AS n FROM event"), [json!({"n": 1})]);
    world.stop(Signal::TERM);
}

#[test]
fn an_agent_cannot_write_the_books_by_its_headers() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let mut message = Message::new("ingest.metric", r#"{"name":"x"}"#);
    message.headers = [
        "Aiai-Origins: 5-900",
        "Aiai-Origin: 7",
        "Aiai-Index: 3",
        "Aiai-Stage: sink",
        "Aiai-Epoch: 00000000000000000000000000",
        "Nats-Expected-Stream: INGEST",
    ]
    .map(str::to_owned)
    .into();
    let mut good = message.clone();
    good.payload = br#"{"name":"x","value":1}"#.to_vec();
    let sequences = wire.store(&[message, good]);
    let ledger = world.settled(2);
    assert_eq!((ledger.dead, ledger.missing), (1, 0), "{ledger:?}");
    let rows = world.query("SELECT origin, idx, stage FROM dead");
    assert_eq!(
        rows,
        [json!({"origin": sequences[0], "idx": null, "stage": "ingest"})]
    );
    let rows = world.query("SELECT origin, idx FROM metric WHERE name = 'x'");
    assert_eq!(rows, [json!({"origin": sequences[1], "idx": 0})]);
    world.stop(Signal::TERM);
}
