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

/// Messages that are bad as a whole: subject | reason | place | a part of the advice | payload.
const WHOLE: &str = r#"
ingest.metric     | unknown_field     | valeu         | did you mean `value`?     | {"name":"x","valeu":1}
ingest.metric     | wrong_type        | value         | remove the quotes: 12     | {"name":"x","value":"12"}
ingest.metric     | missing_field     | value         | send a number             | {"name":"x","value":null}
ingest.metric     | missing_field     | value         | add it, a number          | {"name":"x"}
ingest.metric     | not_finite        | value         | send a finite number      | {"name":"x","value":NaN}
ingest.metric     | not_finite        | value         | send a finite number      | {"name":"x","value":-Infinity}
ingest.metric     | out_of_range      | value         | a double can hold         | {"name":"x","value":1e999}
ingest.metric     | duplicate_field   | name          | send it once              | {"name":"x","name":"y","value":1}
ingest.metric     | empty_name        | name          | give it a name            | {"name":" ","value":1}
ingest.metric     | output_only_field | tenant        | remove it                 | {"name":"x","value":1,"tenant":"me"}
ingest.metric     | wrong_type        | tags.a        | put it in quotes          | {"name":"x","value":1,"tags":{"a":1}}
ingest.metric     | unknown_value     | metric_type   | did you mean "gauge"?     | {"name":"x","value":1,"metric_type":"guage"}
ingest.event      | bad_time          | timestamp     | RFC 3339                  | {"name":"x","timestamp":"yesterday"}
ingest.event      | bad_time          | timestamp     | send milliseconds         | {"name":"x","timestamp":1700000000}
ingest.event      | bad_time          | timestamp     | set the sender's clock    | {"name":"x","timestamp":"9999-01-01T00:00:00Z"}
ingest.usage      | out_of_range      | cost_usd      | what this call cost       | {"model":"m","cost_usd":-0.01}
ingest.usage      | inconsistent      | tokens_in     | counts are inclusive      | {"model":"m","tokens_in":1,"tokens_cache_read":2}
ingest.metric     | empty_payload     | payload       | send one JSON object      |
ingest.metric     | empty_array       | payload       | at least one object       | []
ingest.metric     | wrong_type        | payload       | send an object like       | 42
ingest.metric     | invalid_json      | payload       | let a JSON encoder write  | not json
ingest.metric     | truncated_json    | payload       | send the whole value      | {"name":"x","va
ingest.metric     | trailing_data     | payload       | one object a line         | {"name":"x","value":1} x
ingest.metrics    | unknown_kind      | subject       | did you mean `metric`?    | {"name":"x","value":1}
ingest.acme.trace | unknown_kind      | subject       | metric, event, usage      | {"name":"x"}
ingest.a.b.metric | bad_subject       | subject       | ingest.<kind>             | {"name":"x","value":1}
"#;

/// A message that is bad as a whole.
fn whole(
    subject: &str,
    reason: &'static str,
    place: &'static str,
    fix: &'static str,
    payload: &[u8],
) -> Case {
    let letter = Letter {
        idx: None,
        reason,
        place,
        fix,
        payload: payload.to_vec(),
    };
    Case {
        message: Message::new(subject, payload),
        letters: vec![letter],
        good: 0,
    }
}

/// One of several items, on its own.
fn item(idx: u32, reason: &'static str, place: &'static str, fix: &'static str, payload: &str) -> Letter {
    Letter {
        idx: Some(idx),
        reason,
        place,
        fix,
        payload: payload.into(),
    }
}

/// Two good items around bad ones.
fn between(subject: &str, payload: &str, letters: Vec<Letter>) -> Case {
    Case {
        message: Message::new(subject, payload),
        letters,
        good: 2,
    }
}

fn cases() -> Vec<Case> {
    let table = WHOLE.lines().filter(|line| !line.is_empty()).map(|line| {
        let columns: Vec<&'static str> = line.splitn(5, '|').map(str::trim).collect();
        whole(
            columns[0],
            columns[1],
            columns[2],
            columns[3],
            columns[4].as_bytes(),
        )
    });
    let large = format!(r#"{{"name":"large","data":"{}"}}"#, "x".repeat(300 * 1024));
    let deep = format!(r#"{{"name":"deep","data":{}{}}}"#, "[".repeat(70), "]".repeat(70));
    let broken = b"{\"name\":\"\xff\xfe\",\"value\":1}";
    let binary = b"\x00\x01\x02";
    let mut cases: Vec<Case> = table.collect();
    cases.extend([
        whole("ingest.metric", "invalid_utf8", "payload", "encode the JSON as UTF-8", broken),
        whole("ingest.metric", "invalid_json", "payload", "let a JSON encoder write it", binary),
        whole("ingest.metric", "empty_payload", "payload", "send one JSON object", b" \n "),
        whole("ingest.event", "too_large", "data", "store it elsewhere", large.as_bytes()),
        whole("ingest.event", "too_deep", "data", "flatten it", deep.as_bytes()),
        between(
            "ingest.metric",
            r#"[{"name":"good","value":1}, {"name":"x","value":"1"} ,{"name":"good","value":2}]"#,
            vec![item(1, "wrong_type", "[1].value", "remove the quotes", r#"{"name":"x","value":"1"}"#)],
        ),
        between(
            "ingest.acme.event",
            "{\"name\":\"good\"}\n{\"name\":\n{\"name\":\"good\"}\n",
            vec![item(1, "truncated_json", "line 2", "send the whole value", r#"{"name":"#)],
        ),
        between(
            "ingest.usage",
            "{\"model\":\"good\"}\n\n{\"model\":\"\"}\n{\"model\":\"m\",\"tokens_in\":-1}\n{\"model\":\"good\"}",
            vec![
                item(1, "empty_name", "line 3: model", "give it a name", r#"{"model":""}"#),
                item(2, "out_of_range", "line 4: tokens_in", "from 0", r#"{"model":"m","tokens_in":-1}"#),
            ],
        ),
    ]);
    cases
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
