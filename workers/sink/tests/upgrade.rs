//! Databases of older versions: nothing is lost, what is new works.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;
use sink::{Keeper, Monitor, Source, StreamFigures};
use support::*;

/// Shared columns of the tables of kinds, as version 2 had them.
const END: &str = "tags JSON, session VARCHAR, work_item VARCHAR, trace_id VARCHAR, v USMALLINT, origin UBIGINT, \
    idx UINTEGER, epoch USMALLINT, stored TIMESTAMP";

/// Writes a database as version 1 or 2 left it: one row of each of two kinds, two messages processed, and a third
/// one behind a hole.
fn write_old(file: &std::path::Path, version: u32) {
    let connection = duckdb::Connection::open(file).unwrap();
    let start = "ts TIMESTAMP, tenant VARCHAR, source VARCHAR";
    let rollup = "CREATE TABLE rollup(name VARCHAR, tenant VARCHAR, source VARCHAR, tags JSON, bucket TIMESTAMP,
        resolution VARCHAR, count UBIGINT, sum DOUBLE, total DECIMAL(38,9), min DOUBLE, max DOUBLE, last DOUBLE,
        last_ts TIMESTAMP, last_origin UBIGINT, last_idx UINTEGER, hist MAP(INTEGER, UBIGINT));";
    connection
        .execute_batch(&format!(
            "CREATE TABLE metric({start}, name VARCHAR, value DOUBLE, metric_type VARCHAR, {END});
             CREATE TABLE event({start}, name VARCHAR, data JSON, {END});
             CREATE TABLE usage({start}, model VARCHAR, provider VARCHAR, tokens_in BIGINT, tokens_out BIGINT,
                tokens_cache_read BIGINT, tokens_cache_write BIGINT, tokens_reasoning BIGINT, cost_usd DECIMAL(18,9),
                cost_source VARCHAR, latency_ms DOUBLE, ttft_ms DOUBLE, task_complexity VARCHAR, status VARCHAR,
                error VARCHAR, reservation VARCHAR, {END});
             {}
             CREATE TABLE dead(stage VARCHAR, kind VARCHAR, reason VARCHAR, place VARCHAR, problem VARCHAR, fix VARCHAR,
                origin UBIGINT, idx UINTEGER, epoch USMALLINT, subject VARCHAR, stored TIMESTAMP, headers JSON,
                payload BLOB, dead_seq UBIGINT, dead_at TIMESTAMP);
             CREATE TABLE duplicates(events_epoch VARCHAR, events_seq UBIGINT, origin UBIGINT, epoch USMALLINT);
             CREATE TABLE epochs(id USMALLINT, stream VARCHAR, epoch VARCHAR, first_seen TIMESTAMP);
             CREATE TABLE origin_sets(epoch USMALLINT, outcome VARCHAR, ranges VARCHAR);
             CREATE TABLE checkpoint(stream VARCHAR, epoch VARCHAR, seq UBIGINT, beyond VARCHAR);
             CREATE TABLE aiai_meta(key VARCHAR, value VARCHAR);
             INSERT INTO aiai_meta VALUES ('schema_version', '{version}'), ('database_id', '{DEAD_EPOCH}');
             INSERT INTO epochs VALUES (1, 'INGEST', '{INGEST_EPOCH}', TIMESTAMP '2026-11-01');
             INSERT INTO origin_sets VALUES (1, 'stored', '1-2,4'), (1, 'dead', '');
             INSERT INTO checkpoint VALUES ('EVENTS', '{EVENTS_EPOCH}', 2, '4');
             INSERT INTO metric BY NAME SELECT TIMESTAMP '2026-11-01' AS ts, 'old' AS name, 1.5 AS value, 1 AS origin,
                0 AS idx, 1 AS epoch;
             INSERT INTO usage BY NAME SELECT TIMESTAMP '2026-11-01' AS ts, 'm' AS model, 2 AS origin, 0 AS idx, 1 AS epoch;",
            if version > 1 { rollup } else { "" },
        ))
        .unwrap();
}

#[test]
fn a_database_of_an_older_version_keeps_its_rows_and_archives_from_here_on() {
    for version in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        write_old(&folder.path().join("aiai.duckdb"), version);
        let mut store = open(folder.path());
        let is_version = "SELECT value FROM aiai_meta WHERE key = 'schema_version'";
        assert_eq!(rows(&store, is_version), [json!({"value": "7"})]);
        let old = "SELECT name, value, events_seq, events_epoch FROM metric_all";
        let first = json!({"name": "old", "value": 1.5, "events_seq": null, "events_epoch": null});
        assert_eq!(rows(&store, old), std::slice::from_ref(&first));
        assert_eq!(store.checkpoint(Source::Events, EVENTS_EPOCH), 2);
        let monitor = Monitor::open(&store, schemas::Time(NOON)).unwrap();
        assert_eq!(
            monitor.first_unarchived(EVENTS_EPOCH, 1).unwrap(),
            5,
            "the archive begins behind what was stored without a sequence"
        );

        // Redelivered messages are known, new ones get their sequence.
        let outcome = commit(&mut store, &[&metrics(2, [2]), &metrics(5, [5])]);
        assert_eq!((outcome.skipped, outcome.rows), (1, 2));
        let newest = "SELECT DISTINCT m.events_seq, e.stream, e.epoch FROM metric m JOIN epochs e ON e.id = m.events_epoch";
        assert_eq!(
            rows(&store, newest),
            [json!({"events_seq": 5, "stream": "EVENTS", "epoch": EVENTS_EPOCH})]
        );
        let mut keeper = Keeper::open(&store, &folder.path().join("archive")).unwrap();
        assert_eq!(keeper.round(0, schemas::Time(2 * NOON)).unwrap(), None);
        assert_eq!(rows(&store, &format!("{old} WHERE name = 'old'")), [first]);

        drop((keeper, monitor, store));
        assert_eq!(rows(&open(folder.path()), old).len(), 3, "opened once more");
    }
}

#[test]
fn a_database_of_version_5_gets_the_new_kinds_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    commit(&mut store, &[&metrics(1, [1])]);
    drop(store);
    let connection = duckdb::Connection::open(folder.path().join("aiai.duckdb")).unwrap();
    let tables = ["step", "message", "session", "work_item"];
    let drops: String = tables
        .iter()
        .map(|table| format!("DROP VIEW IF EXISTS {table}_all; DROP TABLE {table};"))
        .collect();
    connection
        .execute_batch(&format!(
            "{drops} ALTER TABLE metric DROP COLUMN distribution; ALTER TABLE archive_file DROP COLUMN layout;
             UPDATE aiai_meta SET value = '6' WHERE key = 'schema_version';"
        ))
        .unwrap();
    drop(connection);

    let mut store = open(folder.path());
    let old = "SELECT DISTINCT name, distribution FROM metric_all";
    assert_eq!(
        rows(&store, old),
        [json!({"name": "queue.depth", "distribution": null})]
    );
    let step = "{\"o\":2,\"i\":0,\"tenant\":\"default\",\"timestamp\":\"2026-11-20T11:00:00.000000Z\",\"source\":\"a\",\
                \"name\":\"plan\",\"end\":\"2026-11-20T11:00:01.000000Z\",\"status\":\"ok\",\"v\":1}\n";
    let outcome = commit(
        &mut store,
        &[&events(2, "step", &[2].into_iter().collect(), &[step.to_owned()])],
    );
    assert_eq!((outcome.rows, outcome.rejected.len()), (1, 0));
    let new = "SELECT name, \"end\"::VARCHAR AS stop FROM step_all";
    assert_eq!(
        rows(&store, new),
        [json!({"name": "plan", "stop": "2026-11-20 11:00:01"})]
    );
    for table in tables {
        assert_eq!(
            rows(&store, &format!("SELECT count(*)::INTEGER AS n FROM {table}_all")).len(),
            1
        );
    }
}

#[test]
fn a_database_of_version_3_is_counted_by_kind_as_far_as_its_tables_tell() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut batch = dead(2, 7, None)
        .header("Aiai-Stage", "sink")
        .header("Aiai-Subject", "events.usage")
        .header("Aiai-Origins", "6-7");
    batch.headers.retain(|(name, _)| name != "Aiai-Origin");
    batch.payload = b"\n\n".to_vec();
    let messages = [
        metrics(1, [1, 2, 4]),
        dead(1, 9, None).header("Aiai-Subject", "ingest.a.b.metric"),
        batch,
        dead(3, 2, Some(1)).header("Aiai-Subject", "ingest.metric"),
    ];
    commit(&mut store, &messages.iter().collect::<Vec<_>>());
    let now = schemas::Time(NOON);
    let figures = StreamFigures {
        epoch: INGEST_EPOCH.to_owned(),
        last_sequence: 10,
        ..StreamFigures::default()
    };
    let report = |store: &sink::Store| Monitor::open(store, now).unwrap().report(&figures, now).unwrap();
    let counted = report(&store);
    let figures_of = |report: &schemas::ledger::Report| -> Vec<_> {
        let lines = report.current.kinds.iter();
        lines
            .map(|line| {
                (
                    line.kind.clone(),
                    line.stored,
                    line.dead,
                    line.events_stored,
                    line.items_dead,
                )
            })
            .collect()
    };
    let line = |kind: &str, stored, dead, events, items| (kind.to_owned(), stored, dead, Some(events), items);
    let expected = [
        line("metric", 3, 0, 6, 1),
        line("event", 0, 0, 0, 0),
        line("usage", 0, 2, 0, 0),
        line("step", 0, 0, 0, 0),
        line("message", 0, 0, 0, 0),
        line("session", 0, 0, 0, 0),
        line("work_item", 0, 0, 0, 0),
        line("unknown", 0, 1, 0, 0),
        line("unattributed", 0, 0, 0, 0),
    ];
    assert_eq!(figures_of(&counted), expected);

    drop(store);
    let back = |more: &str| {
        let connection = duckdb::Connection::open(folder.path().join("aiai.duckdb")).unwrap();
        let sql = "DROP TABLE ledger_kind; DROP TABLE ledger_epoch;
                   UPDATE aiai_meta SET value = '3' WHERE key = 'schema_version';";
        connection.execute_batch(&format!("{sql}{more}")).unwrap();
    };
    back("");
    assert_eq!(report(&open(folder.path())), counted, "nothing was forgotten");

    // What left the tables for the archive is known by its rows, no longer by its messages.
    back(
        "DELETE FROM metric WHERE origin = 1;
         INSERT INTO archive_file BY NAME SELECT 'metric' AS kind, 'cold' AS state, 2 AS rows;",
    );
    let after = report(&open(folder.path()));
    assert!(after.current.adds_up());
    assert_eq!(after.current.stored, 3);
    assert_eq!(figures_of(&after)[0], line("metric", 2, 0, 6, 1));
    assert_eq!(figures_of(&after)[8], line("unattributed", 1, 0, 0, 0));
}

#[test]
fn letters_of_an_older_version_are_open_and_can_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aiai.duckdb");
    commit(
        &mut open(folder.path()),
        &[&dead(1, 11, None), &dead(2, 12, None)],
    );
    let connection = duckdb::Connection::open(&file).unwrap();
    // As version 3 and 4 left it.
    connection
        .execute_batch(
            "ALTER TABLE dead DROP COLUMN dead_epoch; ALTER TABLE dead DROP COLUMN source;
             ALTER TABLE dead DROP COLUMN state; ALTER TABLE dead DROP COLUMN state_at;
             ALTER TABLE dead DROP COLUMN replay_of; ALTER TABLE dead DROP COLUMN replay_count;
             DROP TABLE dead_note;
             ALTER TABLE ledger_kind ADD COLUMN dead_ranges VARCHAR DEFAULT '';
             UPDATE ledger_kind SET dead_ranges = ranges FROM origin_sets
                WHERE origin_sets.epoch = ledger_kind.epoch AND outcome = 'dead/' || kind;
             DELETE FROM origin_sets WHERE outcome LIKE 'dead/%';
             ALTER TABLE origin_sets DROP COLUMN chunk;
             UPDATE dead SET payload = encode('{\"source\":\"me\"}') WHERE dead_seq = 1;
             UPDATE aiai_meta SET value = '4' WHERE key = 'schema_version';",
        )
        .unwrap();
    drop(connection);
    let mut store = open(folder.path());
    let sets = "SELECT outcome, ranges, chunk FROM origin_sets WHERE ranges <> '' ORDER BY outcome";
    assert_eq!(
        rows(&store, sets),
        [
            json!({"outcome": "dead", "ranges": "11-12", "chunk": 0}),
            json!({"outcome": "dead/metric", "ranges": "11-12", "chunk": 0})
        ]
    );
    let columns = "SELECT dead_epoch, source, state FROM dead ORDER BY dead_seq";
    let row = |source: Option<&str>| json!({"dead_epoch": DEAD_EPOCH, "source": source, "state": "open"});
    assert_eq!(
        rows(&store, columns),
        [row(Some("me")), row(None)],
        "of what is no text, nothing"
    );
    let note = Message {
        subject: "dead.note.dropped".into(),
        headers: Vec::new(),
        payload: json!({"epoch": DEAD_EPOCH, "letters": [{"letter": 1}]})
            .to_string()
            .into_bytes(),
        ..dead(3, 1, None)
    };
    commit(&mut store, &[&note]);
    let open_ones = "SELECT dead_seq AS id FROM dead WHERE state = 'open'";
    assert_eq!(rows(&store, open_ones), [json!({"id": 2})]);
}
