//! What rules found, in the database: each event counted once, whatever was delivered when and how often.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use schemas::alert::{MATCHES_SUBJECT, Match, OriginCounts, SERIES_RULE, Severity, to_ndjson};
use schemas::{Origins, Time};
use serde_json::{Value, json};
use sink::{AlertConfig, RollupConfig, Settings, Source, Store};
use support::*;

const ALERTS_EPOCH: &str = "01JD00000000000000000000E1";
const HOUR: i64 = 3_600_000_000;
const NOON_MS: i64 = NOON / 1000;

/// A match of rule `r`: so many seconds after noon, with one event of each origin named.
fn found(key: &str, seconds: i64, origins: &[u64]) -> Match {
    let mut counts = OriginCounts::default();
    origins.iter().for_each(|origin| counts.add(*origin));
    Match {
        rule: "r".to_owned(),
        severity: Severity::Warning,
        key: key.to_owned(),
        tenant: "default".to_owned(),
        window_start_ms: NOON_MS,
        window_seconds: 300,
        count: counts.total(),
        first_ms: NOON_MS + seconds * 1000,
        last_ms: NOON_MS + seconds * 1000 + 500,
        message: format!("{key} at {seconds}"),
        sample: None,
        origins: counts,
    }
}

/// What worker route makes of the EVENTS message with this sequence.
fn matches(sequence: u64, events: u64, found: &[Match]) -> Message {
    Message {
        source: Source::Alerts,
        epoch: ALERTS_EPOCH.to_owned(),
        sequence,
        subject: MATCHES_SUBJECT.to_owned(),
        headers: Vec::new(),
        payload: to_ndjson(found),
        stored: NOON,
    }
    .header("Aiai-Events-Epoch", EVENTS_EPOCH)
    .header("Aiai-Events-Sequence", &events.to_string())
}

fn alerts(store: &Store) -> Vec<Value> {
    rows(
        store,
        "SELECT rule, key, count, first_ts::VARCHAR AS first, last_ts::VARCHAR AS last, message FROM alert ORDER BY key",
    )
}

fn counts(store: &Store) -> Vec<(String, u64)> {
    let row = |row: &Value| {
        (
            row["key"].as_str().unwrap().to_owned(),
            row["count"].as_u64().unwrap(),
        )
    };
    alerts(store).iter().map(row).collect()
}

#[test]
fn deltas_of_one_alert_are_one_row_with_their_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut large = found("a", 2, &[3]);
    large.sample = Some(serde_json::value::RawValue::from_string("{\"o\":3}".to_owned()).unwrap());
    let messages = [
        metrics(1, 1..=2),
        metrics(2, 3..=4),
        matches(1, 1, &[found("a", 10, &[1, 2, 2]), found("b", 0, &[1])]),
        matches(2, 2, &[large]),
    ];
    commit(&mut store, &messages.iter().collect::<Vec<_>>());
    assert_eq!(
        alerts(&store),
        [
            json!({"rule": "r", "key": "a", "count": 4, "first": "2026-11-20 12:00:02", "last": "2026-11-20 12:00:10.5", "message": "a at 2"}),
            json!({"rule": "r", "key": "b", "count": 1, "first": "2026-11-20 12:00:00", "last": "2026-11-20 12:00:00.5", "message": "b at 0"}),
        ]
    );
    let typed = rows(
        &store,
        "SELECT sample->>'o' AS o, window_start + to_seconds(window_seconds) AS ends, severity, tenant FROM alert WHERE key = 'a'",
    );
    assert_eq!(typed[0]["o"], json!("3"), "{typed:?}");
    let columns = rows(
        &store,
        "SELECT column_name AS n, data_type AS t FROM duckdb_columns() WHERE table_name = 'alert'",
    );
    let columns: Vec<_> = columns
        .iter()
        .map(|c| format!("{} {}", c["n"].as_str().unwrap(), c["t"].as_str().unwrap()))
        .collect();
    assert_eq!(
        columns.join(", "),
        "rule VARCHAR, severity VARCHAR, key VARCHAR, tenant VARCHAR, window_start TIMESTAMP, window_seconds UINTEGER, \
         count UBIGINT, first_ts TIMESTAMP, last_ts TIMESTAMP, message VARCHAR, sample JSON"
    );
}

#[test]
fn a_match_waits_for_its_events_and_counts_once_however_often_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let early = matches(1, 1, &[found("a", 0, &[1])]);
    assert_eq!(commit(&mut store, &[&early]).deferred, [0]);
    assert_eq!(counts(&store), []);
    commit(&mut store, &[&early, &metrics(1, [1])]);
    commit(&mut store, &[&early]);
    // Published again after the stream forgot its id: another message about the same events.
    let again = matches(3, 1, &[found("a", 0, &[1])]);
    commit(&mut store, &[&again, &matches(4, 1, &[found("a", 0, &[1])])]);
    // An alert that was told lies between them, and is none of the sink's.
    let told = Message {
        subject: "alerts.warning.r".to_owned(),
        payload: b"{}".to_vec(),
        ..matches(2, 1, &[])
    };
    commit(&mut store, &[&told]);
    assert_eq!(counts(&store), [("a".to_owned(), 1)]);
    assert_eq!(store.checkpoint(Source::Alerts, ALERTS_EPOCH), 4);
    drop(store);
    let mut store = open(folder.path());
    commit(&mut store, &[&early, &again]);
    assert_eq!(counts(&store), [("a".to_owned(), 1)]);
    assert_eq!(store.checkpoint(Source::Alerts, ALERTS_EPOCH), 4);
}

#[test]
fn origins_that_came_twice_count_once_whenever_that_is_known() {
    for together in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let messages = [
            metrics(1, 1..=3),
            metrics(2, 2..=4),
            matches(1, 1, &[found("a", 0, &[1, 2, 3])]),
            matches(2, 2, &[found("a", 0, &[2, 3, 4, 4]), found("b", 0, &[3])]),
        ];
        if together {
            commit(&mut store, &messages.iter().collect::<Vec<_>>());
        } else {
            messages
                .iter()
                .for_each(|message| assert_eq!(commit(&mut store, &[message]).rejected, []));
        }
        assert_eq!(counts(&store), [("a".to_owned(), 5)], "{together}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_refused_events_have_no_matches() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut broken = matches(1, 1, &[]);
    broken.payload = b"{}\n".to_vec();
    let mut homeless = matches(2, 1, &[found("a", 0, &[1])]);
    homeless.headers.clear();
    let outcome = commit(&mut store, &[&broken, &homeless]);
    let refused: Vec<_> = outcome.rejected.iter().map(|rejected| rejected.index).collect();
    assert_eq!(refused, [0, 1], "{outcome:?}");
    store.settle(Source::Alerts, ALERTS_EPOCH, 1);
    store.settle(Source::Alerts, ALERTS_EPOCH, 2);

    let mut events = metrics(1, [1]);
    events.payload = b"{}\n".to_vec();
    assert_eq!(commit(&mut store, &[&events]).rejected.len(), 1);
    store.settle(Source::Events, EVENTS_EPOCH, 1);
    let outcome = commit(&mut store, &[&matches(3, 1, &[found("a", 0, &[1])])]);
    assert_eq!((outcome.deferred.len(), counts(&store).len()), (0, 0));
    assert_eq!(store.checkpoint(Source::Alerts, ALERTS_EPOCH), 3);
    assert_eq!(store.checkpoint(Source::Events, EVENTS_EPOCH), 1);
}

#[test]
fn a_dead_letter_of_a_later_stage_says_nothing_about_its_origins() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    commit(&mut store, &[&metrics(1, 1..=2)]);
    for (sequence, stage) in [(1, "rules"), (2, "webhook"), (3, "route")] {
        let mut letter = dead(sequence, 1, None)
            .header("Aiai-Stage", stage)
            .header("Aiai-Origins", "1-2")
            .header("Aiai-Subject", "events.metric");
        letter.headers.retain(|(name, _)| name != "Aiai-Origin");
        commit(&mut store, &[&letter]);
    }
    let sets = rows(&store, "SELECT outcome, ranges FROM origin_sets ORDER BY outcome");
    assert_eq!(sets, [json!({"outcome": "stored", "ranges": "1-2"})]);
    assert_eq!(rows(&store, "SELECT count(*) AS n FROM dead"), [json!({"n": 3})]);
}

#[test]
fn folding_changes_no_number_and_old_alerts_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for n in 1..=20 {
        let mut found = matches(
            n,
            n,
            &[
                found("a", n as i64, &[n]),
                found(["b", "c"][(n % 2) as usize], 0, &[n]),
            ],
        );
        found.stored = NOON + n as i64;
        commit(&mut store, &[&metrics(n, [n]), &found]);
    }
    let before = alerts(&store);
    let table = |store: &Store| {
        rows(store, "SELECT count(*) AS n FROM alert_match")[0]["n"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(table(&store), 40);
    let mut maintain = |hours: i64, keep_days| {
        let rollup = RollupConfig::default();
        store
            .maintain(&rollup, &AlertConfig { keep_days }, Time(NOON + hours * HOUR))
            .unwrap();
        (table(&store), alerts(&store))
    };
    assert_eq!(maintain(24, 90).0, 40);
    assert_eq!(maintain(72, 90), (3, before.clone()));
    assert_eq!(maintain(96, 90), (3, before));
    assert_eq!(maintain(24 * 91, 90).0, 0);
}

#[test]
fn too_many_series_raise_one_alert_for_name_and_hour() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        series_max: 2,
        ..Settings::default()
    };
    let mut store = Store::open(&folder.path().join("aiai.duckdb"), &settings).unwrap();
    // Its origins twice: the sink folds what is left itself, without worker rollup.
    let line = |origin: u64, tag: u64| {
        format!(
            "{{\"o\":{origin},\"i\":0,\"tenant\":\"default\",\"timestamp\":\"2026-11-20T11:59:59.500000Z\",\"source\":\"a\",\
             \"name\":\"q\",\"value\":1.0,\"metric_type\":\"gauge\",\"tags\":{{\"t\":\"{tag}\"}},\"v\":1}}\n"
        )
    };
    let batch = |sequence: u64, from: u64| {
        let origins: Origins = (from..from + 6).collect();
        let lines: Vec<_> = (from..from + 6).map(|origin| line(origin, origin)).collect();
        events(sequence, "metric", &origins, &lines)
    };
    commit(&mut store, &[&batch(1, 1)]);
    let mut told = Vec::new();
    for (sequence, from) in [(2, 6), (3, 11)] {
        let outcome = commit(&mut store, &[&batch(sequence, from)]);
        told.extend(
            outcome
                .alerts
                .iter()
                .map(|found| (found.rule.clone(), found.alert().id)),
        );
    }
    assert_eq!(told.len(), 2);
    assert!(told[0] == told[1] && told[0].0 == SERIES_RULE, "{told:?}");
    let rows = rows(
        &store,
        "SELECT key, tenant, count, window_start::VARCHAR AS w, message FROM alert",
    );
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["key"], &rows[0]["count"], &rows[0]["w"]),
        (&json!("q"), &json!(8), &json!("2026-11-20 11:00:00"))
    );
    assert!(
        rows[0]["message"]
            .as_str()
            .unwrap()
            .contains("raise sink.rollup.series_max")
    );
}
