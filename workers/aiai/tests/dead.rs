//! Dead letters as an operator meets them: listed, read, replayed, dropped, and never twice.

mod harness;

use std::time::Duration;

use harness::process::{self, Output};
use harness::wire::{Message, Wire};
use harness::{World, rows, until};
use rustix::process::Signal;
use serde_json::{Value, json};

fn dead(world: &World, arguments: &[&str]) -> Output {
    process::run(world.cli(&[&["dead"], arguments].concat()))
}

/// The rows of a command that must work.
fn told(world: &World, arguments: &[&str]) -> Vec<Value> {
    let output = dead(world, arguments);
    assert!(output.ok(), "aiai dead {arguments:?}: {output:?}");
    rows(&output.stdout)
}

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["id"].to_string()).collect()
}

/// A letter's columns, from the table.
fn state(world: &World, id: &str) -> Value {
    let sql = format!("SELECT state, payload IS NULL AS emptied FROM dead WHERE dead_seq = {id}");
    world.query(&sql).remove(0)
}

/// What this version rejects, and a later one could take: a time that had not come. With what must stay as it was.
fn early(source: &str, payload_bytes: usize) -> Message {
    let ahead = milliseconds_ahead(4000);
    let padding = "x".repeat(payload_bytes);
    let json = format!(r#"{{"name":"early","source":"{source}","timestamp":{ahead},"data":"{padding}"}}"#);
    let mut message = Message::new("ingest.acme.event", json);
    message.headers = vec![
        "traceparent: 00-0af7651916cd43dd-01".into(),
        format!("Nats-Msg-Id: {source}"),
    ];
    message
}

/// Milliseconds since 1970, so many seconds from now.
fn milliseconds_ahead(seconds: u64) -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (since.expect("after 1970") + Duration::from_secs(seconds)).as_millis()
}

#[test]
fn the_usual_cycle() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    wire.store(&[
        Message::new("ingest.metric", r#"{"name":"x","vlaue":1,"source":"me"}"#),
        Message::new("ingest.metric", b"\x00\xff\xfe".to_vec()),
        early("soon", 10),
        early("large", 200_000),
    ]);
    world.settled(4);
    let (mistake, binary) = look(&world);
    nothing_unasked(&world);
    replay_what_fails_again(&world);
    // Of no use to anybody.
    assert_eq!(dead(&world, &["drop", &mistake]).code, Some(2));
    let dropped = told(&world, &["drop", &mistake, &binary, "--yes"]);
    assert!(
        dropped.iter().all(|row| row["result"] == "dropped"),
        "{dropped:?}"
    );
    assert_eq!(
        state(&world, &mistake),
        json!({"state": "dropped", "emptied": true})
    );
    let gone = told(&world, &["replay", &mistake, "--yes"]);
    assert_eq!(gone[0]["result"], "skipped");
    let states = "SELECT state, count(*) AS n FROM dead GROUP BY ALL ORDER BY state";
    let counted = |state: &str| json!({"state": state, "n": 2});
    assert_eq!(world.query(states), ["dropped", "open", "replayed"].map(counted));
    until("the page to know", Duration::from_secs(10), || {
        (world.overview()["dead_open"] == 2).then_some(())
    });
    let ledger = world.settled(6);
    assert_eq!(
        (ledger.dead, ledger.missing),
        (6, 0),
        "a note changes no sum: {ledger:?}"
    );
    world.stop(Signal::TERM);
}

/// Lists and shows; gives the numbers of the mistake and of what is no text.
fn look(world: &World) -> (String, String) {
    let all = told(world, &["list"]);
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(
        ids(&told(
            world,
            &["list", "--reason", "bad_time", "--tenant", "acme"]
        ))
        .len(),
        2
    );
    let mine = told(
        world,
        &[
            "list", "--source", "me", "--stage", "ingest", "--kind", "metric", "--since", "1h",
        ],
    );
    assert_eq!(mine[0]["place"], "vlaue");
    assert_eq!(told(world, &["list", "--until", "1h"]), Vec::<Value>::new());
    let mistake = mine[0]["id"].to_string();

    let shown = dead(world, &["show", &mistake]).stdout;
    assert!(
        shown.contains("did you mean `value`?") && shown.contains(r#""vlaue":1"#),
        "{shown}"
    );
    let raw = dead(world, &["show", &mistake, "--payload"]).stdout;
    assert_eq!(raw, r#"{"name":"x","vlaue":1,"source":"me"}"#);
    let binary =
        world.query("SELECT dead_seq FROM dead WHERE reason LIKE 'invalid%'")[0]["dead_seq"].to_string();
    let json: Value =
        serde_json::from_str(&dead(world, &["show", &binary, "-o", "json"]).stdout).expect("JSON");
    assert_eq!(json["payload_base64"], "AP/+");
    assert_eq!(dead(world, &["show", "999"]).code, Some(4));
    (mistake, binary)
}

fn nothing_unasked(world: &World) {
    // Nothing is done unasked.
    let dry = told(world, &["replay", "--reason", "bad_time", "--dry-run"]);
    assert!(dry.iter().all(|row| row["result"] == "would_replay"), "{dry:?}");
    let refused = dead(world, &["replay", "--reason", "bad_time"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("2 dead letters: 2 would be replayed"),
        "{refused:?}"
    );
    assert!(
        refused.stderr.contains("dead replay --reason bad_time"),
        "{refused:?}"
    );
    assert_eq!(dead(world, &["replay"]).code, Some(2));
}

fn replay_what_fails_again(world: &World) {
    // The time has not come; what is sent is what came, and it fails again.
    let replayed = told(
        world,
        &["replay", "--reason", "bad_time", "--yes", "--rate", "1000"],
    );
    assert!(
        replayed
            .iter()
            .all(|row| row["result"] == "replayed" && row["stream"] == "INGEST"),
        "{replayed:?}"
    );
    world.settled(6);
    let again = told(world, &["list", "--reason", "bad_time"]);
    assert_eq!(
        again.len(),
        2,
        "the replays' letters are the open ones: {again:?}"
    );
    assert_eq!(again[0]["replay_count"], 1);
    let twins =
        "SELECT count(DISTINCT payload) AS n, count(*) AS letters FROM dead WHERE reason = 'bad_time'";
    assert_eq!(
        world.query(twins),
        [json!({"n": 2, "letters": 4})],
        "byte for byte"
    );
    let header = "SELECT DISTINCT headers->>'traceparent' AS t, (headers->>'Aiai-Original-Nats-Msg-Id') LIKE 'replay:%' AS own \
                  FROM dead WHERE replay_of IS NOT NULL";
    assert_eq!(
        world.query(header),
        [json!({"t": "00-0af7651916cd43dd-01", "own": true})]
    );
    let skipped = told(world, &["replay", "--reason", "bad_time", "--yes"]);
    assert!(
        skipped.iter().all(|row| row["result"] == "skipped"),
        "no loop: {skipped:?}"
    );
}

#[test]
fn a_cause_that_is_gone_lets_the_replay_through_and_a_message_comes_back_as_it_was() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    // As an older version with fewer fields would have rejected it; nearly as large as a message may be.
    let padding = "y".repeat(250_000);
    let event = format!(r#"{{"name":"back","source":"s","data":"{padding}"}}"#);
    let mut letter = Message::new("dead.ingest.event", event);
    letter.headers = [
        "Aiai-Stage: ingest",
        "Aiai-Kind: event",
        "Aiai-Reason: unknown_field",
        "Aiai-Place: data",
        "Aiai-Problem: is not a field of event",
        "Aiai-Fix: remove it",
        "Aiai-Subject: ingest.event",
        "Aiai-Stored: 2026-11-01T00:00:00.000001Z",
        "X-Team: a",
        "Aiai-Original-Nats-Msg-Id: old",
    ]
    .map(str::to_owned)
    .into();
    wire.store(&[letter]);
    let listed = until("the letter", Duration::from_secs(20), || {
        Some(told(&world, &["list"])).filter(|rows| rows.len() == 1)
    });
    let id = ids(&listed).remove(0);
    let replayed = told(&world, &["replay", &id, "--yes"]);
    assert_eq!(replayed[0]["result"], "replayed");
    world.settled(1);
    let row =
        "SELECT source, strlen(data::VARCHAR) AS bytes, ts::VARCHAR AS ts FROM event WHERE name = 'back'";
    let stored = json!({"source": "s", "bytes": 250_002, "ts": "2026-11-01 00:00:00.000001"});
    assert_eq!(world.query(row), [stored], "the time is when it came first");
    assert_eq!(state(&world, &id)["state"], "replayed");
    let shown = dead(&world, &["show", &id]).stdout;
    assert!(shown.contains("replayed, INGEST sequence"), "{shown}");

    // Once more only on demand, and under another id: it is there twice then, as asked.
    assert_eq!(told(&world, &["replay", &id, "--yes"])[0]["result"], "skipped");
    assert_eq!(
        told(&world, &["replay", &id, "--yes", "--again"])[0]["result"],
        "replayed"
    );
    world.settled(2);
    assert_eq!(
        world.query("SELECT count(*) AS n FROM event WHERE name = 'back'"),
        [json!({"n": 2})]
    );
    for _ in 0..3 {
        told(&world, &["replay", &id, "--yes", "--again"]);
    }
    let last = told(&world, &["replay", &id, "--yes", "--again"]);
    assert_eq!(last[0]["result"], "skipped", "five times are enough: {last:?}");
    world.stop(Signal::TERM);
}

/// A letter, and what a replay of it leaves that was killed between its message and its last note.
fn interrupted(world: &mut World, wire: &mut Wire) -> (String, Message, u64) {
    wire.store(&[Message::new("ingest.metric", r#"{"name":"x"}"#)]);
    world.settled(1);
    let id = ids(&told(world, &["list"])).remove(0);
    let epoch = world.query("SELECT dead_epoch FROM dead")[0]["dead_epoch"]
        .as_str()
        .expect("an epoch")
        .to_owned();
    let begun = Message::new(
        "dead.note.replaying",
        format!(r#"{{"epoch":"{epoch}","letters":[{{"letter":{id},"count":1}}]}}"#),
    );
    let mut message = Message::new("ingest.metric", r#"{"name":"x"}"#);
    message.headers = vec![
        format!("Nats-Msg-Id: replay:{epoch}:{id}:1"),
        format!("Aiai-Replay-Of: {id}"),
        "Aiai-Replay-Count: 1".into(),
    ];
    wire.store(std::slice::from_ref(&begun));
    let sequence = wire.store(&[message])[0];
    world.settled(2);
    (id, begun, sequence)
}

/// Waits until the server has forgotten ids as old as those it knows now.
fn ids_forgotten(wire: &mut Wire) {
    let mut probe = Message::new("ingest.metric", r#"{"name":"probe","value":1}"#);
    probe.headers = vec!["Nats-Msg-Id: probe".into()];
    let first = wire.store(std::slice::from_ref(&probe))[0];
    until("an id to be forgotten", Duration::from_secs(20), || {
        (wire.store(std::slice::from_ref(&probe))[0] != first).then_some(())
    });
}

#[test]
fn a_replay_that_was_interrupted_is_finished_and_not_repeated() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let (id, _, sequence) = interrupted(&mut world, &mut wire);
    let finished = told(&world, &["replay", &id, "--yes"]);
    assert_eq!(
        (&finished[0]["result"], finished[0]["sequence"].as_u64()),
        (&json!("replayed"), Some(sequence))
    );
    assert_eq!(state(&world, &id)["state"], "replayed");
    let letters = world.query("SELECT replay_of FROM dead ORDER BY dead_seq");
    assert_eq!(letters.len(), 2, "one replay, one letter of it: {letters:?}");
    world.stop(Signal::TERM);
}

#[test]
fn a_replay_interrupted_twice_is_found_when_its_id_protects_no_more() {
    let mut world = World::start_with(&["streams.duplicate_window_seconds=2"]);
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let (id, begun, sequence) = interrupted(&mut world, &mut wire);
    ids_forgotten(&mut wire);
    wire.store(&[begun]);
    // No setting: whoever replays may have another configuration than the server's.
    let finished = told(&world, &["replay", &id, "--yes"]);
    assert_eq!(
        (&finished[0]["result"], finished[0]["sequence"].as_u64()),
        (&json!("replayed"), Some(sequence))
    );
    let letters = world.query("SELECT replay_of FROM dead ORDER BY dead_seq");
    assert_eq!(letters.len(), 2, "one replay, one letter of it: {letters:?}");
    world.stop(Signal::TERM);
}

#[test]
fn where_nothing_tells_what_became_of_a_replay_one_is_made_on_demand() {
    let mut world = World::start_with(&["streams.duplicate_window_seconds=1"]);
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let (id, ..) = interrupted(&mut world, &mut wire);
    ids_forgotten(&mut wire);
    let purged = wire.ask("$JS.API.STREAM.PURGE.INGEST", "").expect("an answer");
    assert_eq!(purged["success"], true, "{purged}");
    let refused = dead(&world, &["replay", &id, "--yes"]);
    assert!(
        refused.code == Some(1) && refused.stdout.contains("--again"),
        "{refused:?}"
    );
    let asked = told(&world, &["replay", &id, "--yes", "--again"]);
    assert_eq!(asked[0]["result"], "replayed", "{asked:?}");
    world.stop(Signal::TERM);
}
