//! What is stored, and what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;
use sink::{Settings, Source, Store};
use support::*;

#[test]
fn every_kind_is_stored_exactly_and_can_be_queried() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let usage = "{\"o\":3,\"i\":0,\"tenant\":\"acme\",\"timestamp\":\"2026-11-20T11:00:00.000000Z\",\"source\":\"a\",\
                 \"model\":\"m\",\"tokens_in\":1000000000000,\"cost_usd\":0.123456789,\"cost_source\":\"provider\",\
                 \"latency_ms\":1.5,\"status\":\"rate_limited\",\"v\":1}\n"
        .to_owned();
    let event = "{\"o\":4,\"i\":0,\"tenant\":\"default\",\"timestamp\":\"2026-11-20T11:00:00.000000Z\",\"source\":\"a\\nb\",\
                 \"name\":\"build\",\"data\":{\"n\":[1,2]},\"session\":\"s\",\"v\":1}\n"
        .to_owned();
    let outcome = commit(
        &mut store,
        &[
            &metrics(1, [1, 2]),
            &events(2, "usage", &[3].into_iter().collect(), &[usage]),
            &events(3, "event", &[4].into_iter().collect(), &[event]),
        ],
    );
    assert_eq!(
        (outcome.rows, outcome.duplicates, outcome.rejected.len()),
        (6, 0, 0)
    );
    assert_eq!(
        rows(
            &store,
            "SELECT ts, name, value, tags->>'region' AS region, session, v, origin, idx, stored FROM metric ORDER BY ALL LIMIT 1"
        ),
        [
            json!({"ts":"2026-11-20 11:59:59.5","name":"queue.depth","value":1.5,"region":"eu","session":null,"v":1,
                "origin":1,"idx":0,"stored":"2026-11-20 12:00:00"})
        ]
    );
    assert_eq!(
        rows(
            &store,
            "SELECT tenant, tokens_in, tokens_out, cost_usd::VARCHAR AS cost, latency_ms, status, tags FROM usage"
        ),
        [
            json!({"tenant":"acme","tokens_in":1_000_000_000_000_i64,"tokens_out":null,"cost":"0.123456789",
                "latency_ms":1.5,"status":"rate_limited","tags":null})
        ]
    );
    assert_eq!(
        rows(
            &store,
            "SELECT source, data->'n'->>1 AS second, session FROM event"
        ),
        [json!({"source":"a\nb","second":"2","session":"s"})]
    );
    assert_eq!(
        rows(&store, "SELECT stream, seq, beyond FROM checkpoint"),
        [json!({"stream":"EVENTS","seq":3,"beyond":""})]
    );
    assert_eq!(
        rows(&store, "SELECT outcome, ranges FROM origin_sets ORDER BY outcome"),
        [json!({"outcome":"stored","ranges":"1-4"})]
    );
    assert_eq!(
        rows(
            &store,
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'usage' AND column_name = 'latency_ms'"
        ),
        [json!({"comment":"milliseconds to the last token"})]
    );
}

#[test]
fn an_unreadable_message_is_refused_alone_until_it_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let bad = [
        (metrics(2, [2]).header("Aiai-Origins", "2-x"), "Aiai-Origins"),
        (
            metrics(3, [3]).header("Aiai-Count", "3"),
            "says 3, the payload has 2 lines",
        ),
        (metrics(4, [4]).header("Aiai-Epoch", "today"), "is not a ULID"),
        (
            metrics(5, [5]).header("Aiai-Origins", "50"),
            "line 1: o is not among",
        ),
        (
            events(
                6,
                "metric",
                &[6].into_iter().collect(),
                &["{\"o\":6\n".to_owned()],
            ),
            "line 1",
        ),
        (
            events(7, "steps", &[7].into_iter().collect(), &[metric_line(7, 0)]),
            "no kind this sink knows",
        ),
        (metrics(8, [8]).header("Aiai-Origins", ""), "is empty"),
        (
            metrics(9, [9]).header("Aiai-Origins", "1-18446744073709551615"),
            "over 2^63",
        ),
    ];
    let good = metrics(1, [1]);
    let mut batch = vec![&good];
    batch.extend(bad.iter().map(|(message, _)| message));
    let last = metrics(10, [10]);
    batch.push(&last);
    let outcome = commit(&mut store, &batch);
    assert_eq!(outcome.rows, 4);
    assert_eq!(outcome.rejected.len(), bad.len());
    for ((rejected, (_, reason)), index) in outcome.rejected.iter().zip(&bad).zip(1..) {
        assert_eq!(rejected.index, index);
        assert!(
            rejected.reason.contains(reason),
            "{} should say {reason}",
            rejected.reason
        );
    }
    assert_eq!(store.checkpoint(Source::Events, EVENTS_EPOCH), 1);
    (2..=9).for_each(|sequence| store.settle(Source::Events, EVENTS_EPOCH, sequence));
    commit(&mut store, &[]);
    drop(store);
    assert_eq!(open(folder.path()).checkpoint(Source::Events, EVENTS_EPOCH), 10);
}

#[test]
fn dead_letters_are_kept_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let anonymous = Message {
        headers: Vec::new(),
        ..dead(5, 1, None)
    };
    let three_lines = Message {
        payload: b"a\nb\nc\n".to_vec(),
        ..dead(6, 1, None)
    };
    let refused_events = three_lines
        .header("Aiai-Stage", "sink")
        .header("Aiai-Origins", "20-22");
    let refused_events = Message {
        headers: refused_events
            .headers
            .into_iter()
            .filter(|(name, _)| name != "Aiai-Origin")
            .collect(),
        ..refused_events
    };
    let first = [
        dead(1, 7, None),
        dead(2, 8, Some(0)),
        dead(3, 8, Some(1)),
        dead(4, 7, None),
        anonymous,
        refused_events,
    ];
    let outcome = commit(&mut store, &first.iter().collect::<Vec<_>>());
    assert_eq!(outcome.dead, 5, "origin 7 came twice");
    let outcome = commit(
        &mut store,
        &[&dead(7, 8, Some(1)), &dead(3, 8, Some(1)), &dead(8, 8, Some(2))],
    );
    assert_eq!((outcome.dead, outcome.skipped), (1, 1));
    assert_eq!(
        rows(&store, "SELECT stage, kind, reason, origin, idx, epoch, stored, headers->>'traceparent' AS trace, payload, dead_seq, dead_at
                      FROM dead ORDER BY dead_seq LIMIT 2"),
        [
            json!({"stage":"ingest","kind":"metric","reason":"unknown_field","origin":7,"idx":null,"epoch":1,
                   "stored":"2026-11-20 11:00:00.000001","trace":"00-ab","payload":"{\\x22nam\\x22:\\xFF}","dead_seq":1,
                   "dead_at":"2026-11-20 12:00:00"}),
            json!({"stage":"ingest","kind":"metric","reason":"unknown_field","origin":8,"idx":0,"epoch":1,
                   "stored":"2026-11-20 11:00:00.000001","trace":"00-ab","payload":"{\\x22nam\\x22:\\xFF}","dead_seq":2,
                   "dead_at":"2026-11-20 12:00:00"})
        ]
    );
    assert_eq!(
        rows(&store, "SELECT ranges FROM origin_sets WHERE outcome = 'dead'"),
        [json!({"ranges":"7-8,20-22"})]
    );
    assert_eq!(store.checkpoint(Source::Dead, DEAD_EPOCH), 8);
}

#[test]
fn epochs_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let other = "01JD00000000000000000000A2";
    commit(&mut store, &[&metrics(1, [1, 2])]);
    let outcome = commit(&mut store, &[&metrics(2, [1, 2]).header("Aiai-Epoch", other)]);
    assert_eq!((outcome.rows, outcome.duplicates), (4, 0));
    let recreated = Message {
        epoch: "01JD00000000000000000000B2".to_owned(),
        ..metrics(1, [3])
    };
    assert_eq!(commit(&mut store, &[&recreated]).rows, 2);
    assert_eq!(
        rows(
            &store,
            "SELECT DISTINCT e.epoch FROM metric m JOIN epochs e ON e.id = m.epoch ORDER BY 1"
        ),
        [json!({"epoch":INGEST_EPOCH}), json!({"epoch":other})]
    );
    assert_eq!(
        rows(
            &store,
            "SELECT epoch FROM epochs WHERE stream = 'INGEST' ORDER BY id"
        ),
        [json!({"epoch":INGEST_EPOCH}), json!({"epoch":other})]
    );
    assert_eq!(
        rows(
            &store,
            "SELECT DISTINCT e.epoch FROM metric m JOIN epochs e ON e.id = m.events_epoch WHERE e.stream = 'EVENTS' ORDER BY 1"
        ),
        [
            json!({"epoch":EVENTS_EPOCH}),
            json!({"epoch":"01JD00000000000000000000B2"})
        ]
    );
}

#[test]
fn a_stream_that_begins_later_has_no_hole_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.begin_at(Source::Events, EVENTS_EPOCH, 500);
    commit(&mut store, &[&metrics(500, [1])]);
    drop(store);
    assert_eq!(open(folder.path()).checkpoint(Source::Events, EVENTS_EPOCH), 500);
}

#[test]
fn files_that_cannot_be_opened_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.duckdb");
    let refusal = |path: &std::path::Path| {
        let error = Store::open(path, &Settings::default())
            .err()
            .expect("must not open");
        format!("{error:#}")
    };
    std::fs::write(&path, [b'x'; 5000]).unwrap();
    assert!(refusal(&path).contains("is not a DuckDB database: move it away"));
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(refusal(&folder.path().join("file/x.duckdb")).contains("could not create the data folder"));
    let newer = folder.path().join("newer.duckdb");
    let connection = duckdb::Connection::open(&newer).unwrap();
    connection
        .execute_batch("CREATE TABLE aiai_meta(key VARCHAR, value VARCHAR); INSERT INTO aiai_meta VALUES ('schema_version', '99')")
        .unwrap();
    drop(connection);
    assert!(refusal(&newer).contains("schema version 99, this aiai knows 7: run the newer aiai"));
}

/// Opens the database in another process, for the test below.
#[test]
#[ignore = "run by a_database_in_use_names_its_holder"]
fn opens_in_another_process() {
    let path = std::env::var("AIAI_TEST_DATABASE").expect("set by the test that runs this one");
    let error = Store::open(path.as_ref(), &Settings::default())
        .err()
        .expect("must be locked");
    println!("refused: {error:#}");
}

#[test]
fn a_database_in_use_names_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opens_in_another_process", "--ignored", "--nocapture"])
        .env("AIAI_TEST_DATABASE", store.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let holder = format!(
        "is in use by process {}: stop it, or ask it with `aiai query",
        std::process::id()
    );
    assert!(text.contains(&holder), "{text}");
}

#[test]
fn origins_without_lines_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let bomb = metrics(1, [1]).header("Aiai-Origins", "1-9223372036854775806");
    let future = metrics(2, [2]).header("Aiai-Origins", "2-60");
    let outcome = commit(&mut store, &[&bomb, &future, &metrics(3, [3, 4])]);
    assert_eq!((outcome.rows, outcome.rejected.len()), (4, 2));
    assert!(outcome.rejected[0].reason.contains("Aiai-Origins"), "{outcome:?}");

    // Their dead letters carry the same header.
    let mut letter = dead(1, 0, None).header("Aiai-Origins", "1-9223372036854775806");
    letter.headers.retain(|(name, _)| name != "Aiai-Origin");
    assert_eq!(commit(&mut store, &[&letter]).dead, 1);
    assert_eq!(commit(&mut store, &[&metrics(4, 5..=60)]).rows, 112);
    let believed = rows(
        &store,
        "SELECT ranges FROM origin_sets WHERE outcome = 'dead' AND ranges <> ''",
    );
    assert!(believed.is_empty(), "{believed:?}");
}
