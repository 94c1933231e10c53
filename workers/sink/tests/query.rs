//! The query gate: what may be asked, how it is answered, what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sink::{Limits, QueryErrorKind, Reader, Truncation};
use support::*;

fn with_rows() -> (tempfile::TempDir, sink::Store, Reader) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    commit(&mut store, &[&metrics(1, 1..=10)]);
    let reader = store.reader().unwrap();
    (folder, store, reader)
}

#[test]
fn every_type_is_valid_json() {
    let (_folder, _store, reader) = with_rows();
    let sql = r#"SELECT 170141183460469231731687303715884105727::HUGEINT AS huge, 18446744073709551615::UBIGINT AS ub,
        123456789012345678.123456789::DECIMAL(38,9) AS d, 0.1::FLOAT AS f, 1e300 AS big, 'NaN'::DOUBLE AS n,
        '-inf'::FLOAT AS i, [1.0, 'nan'::DOUBLE] AS l, {'a': 1, 'b': ['x', NULL], 'i': 'inf'::DOUBLE} AS s,
        MAP {'k': 1} AS m, '{"k": [1,2]}'::JSON AS j, '\xAA\x00z'::BLOB AS b, TIMESTAMP '2026-01-02 03:04:05.000006' AS t,
        'infinity'::TIMESTAMP AS it, DATE '2026-01-02' AS dt, INTERVAL 3 DAY AS iv, NULL AS z, true AS yes,
        'q"\n' || chr(10) || chr(1) AS q, 'y'::ENUM('x(', 'y') AS e, '101'::BIT AS bits,
        '9e941427-1367-4015-a000-60f23f61636d'::UUID AS u, '{"a":nan}'::JSON AS jn, union_value(k := 1) AS un"#;
    let (_, rows, _) = run(&reader, sql, &LIMITS).unwrap();
    let row = &rows[0];
    for (name, expected) in [
        ("ub", json!(18_446_744_073_709_551_615_u64)),
        ("f", json!(0.1)),
        ("big", json!(1e300)),
        ("n", json!("NaN")),
        ("i", json!("-Infinity")),
        ("l", json!([1.0, "NaN"])),
        ("s", json!({"a": 1, "b": ["x", null], "i": "Infinity"})),
        ("m", json!({"k": 1})),
        ("j", json!({"k": [1, 2]})),
        ("b", json!("\\xAA\\x00z")),
        ("t", json!("2026-01-02 03:04:05.000006")),
        ("it", json!("infinity")),
        ("dt", json!("2026-01-02")),
        ("iv", json!("3 days")),
        ("z", json!(null)),
        ("yes", json!(true)),
        ("q", json!("q\"\\n\n\u{1}")),
        ("e", json!("y")),
        ("bits", json!("101")),
        ("u", json!("9e941427-1367-4015-a000-60f23f61636d")),
        ("jn", json!({"a": "NaN"})),
        ("un", json!({"k": 1})),
    ] {
        assert_eq!(row[name], expected, "{name}");
    }
    let mut text = String::new();
    reader
        .run_sql(sql, &LIMITS, &Arc::default(), |part| {
            if let sink::Part::Rows { ndjson, .. } = part {
                text = String::from_utf8(ndjson).unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(
        text.contains("\"huge\":170141183460469231731687303715884105727,"),
        "{text}"
    );
    assert!(text.contains("\"d\":123456789012345678.123456789,"), "{text}");
}

#[test]
fn order_names_and_trailing_marks_are_kept() {
    let (_folder, _store, reader) = with_rows();
    let (names, rows, summary) = run(
        &reader,
        "SELECT i AS a, -i AS a, 'x;--' AS \"Ä\" FROM range(3) t(i) ORDER BY i DESC; -- end; of it",
        &LIMITS,
    )
    .unwrap();
    assert_eq!(names, ["a", "a_1", "Ä"]);
    assert_eq!(rows, [2, 1, 0].map(|i| json!({"a": i, "a_1": -i, "Ä": "x;--"})));
    assert_eq!((summary.rows, summary.truncated), (3, None));
    let (_, many, _) = run(
        &reader,
        "SELECT i FROM range(50000) t(i) ORDER BY i DESC",
        &LIMITS,
    )
    .unwrap();
    assert!(many.iter().zip((0..50_000).rev()).all(|(row, i)| row["i"] == i));
    for sql in [
        "DESCRIBE metric",
        "SHOW TABLES",
        "SUMMARIZE metric",
        "FROM metric",
        "VALUES (1, 2)",
        "SHOW ALL TABLES",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t",
        "SELECT 1 AS c0 -- c",
        "SELECT current_setting('TimeZone')",
    ] {
        assert!(!run(&reader, sql, &LIMITS).unwrap().1.is_empty(), "{sql}");
    }
}

#[test]
fn attacks_are_refused_and_change_nothing() {
    let (folder, store, reader) = with_rows();
    let file = folder.path().join("stolen");
    let copy = format!("COPY metric TO '{}'", file.display());
    let attach = format!("ATTACH '{}'", file.display());
    for sql in [
        "INSERT INTO metric(v) VALUES (1)",
        "DELETE FROM metric",
        "DROP TABLE metric",
        &copy,
        &attach,
        "CREATE TEMP TABLE x(i INT)",
        "CREATE VIEW x AS SELECT 1",
        "SET threads = 1",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE metric",
        "BEGIN",
        "COMMIT",
        "CHECKPOINT",
        "INSTALL httpfs",
        "LOAD httpfs",
        "EXPORT DATABASE 'x'",
        "",
    ] {
        let error = run(&reader, sql, &LIMITS).unwrap_err();
        assert_eq!(error.kind, QueryErrorKind::Refused, "{sql}: {error}");
    }
    for sql in [
        "SELECT 1) ; DROP TABLE metric; --",
        "SELECT 1 /*",
        "SELEC 1",
        "SELECT '",
    ] {
        let error = run(&reader, sql, &LIMITS).unwrap_err();
        assert_eq!(error.kind, QueryErrorKind::Syntax, "{sql}: {error}");
    }
    for sql in [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_parquet('/etc/*')",
    ] {
        let error = run(&reader, sql, &LIMITS).unwrap_err();
        assert_eq!(error.kind, QueryErrorKind::Refused, "{sql}: {error}");
        assert!(error.message.contains("archive folder only"), "{error}");
    }
    for sql in [
        "SELECT getenv('HOME')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT $1",
    ] {
        assert!(run(&reader, sql, &LIMITS).is_err(), "{sql}");
    }
    assert!(!file.exists());
    assert_eq!(
        rows(&store, "SELECT count(*) AS n FROM metric"),
        [json!({"n": 20})]
    );
    assert_eq!(
        rows(
            &store,
            "SELECT count(*) AS n FROM duckdb_tables() WHERE temporary"
        ),
        [json!({"n": 0})]
    );
}

#[test]
fn only_the_archive_folder_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let settings = sink::Settings {
        archive_folder: Some(archive.clone()),
        ..sink::Settings::default()
    };
    let store = sink::Store::open(&folder.path().join("aiai.duckdb"), &settings).unwrap();
    std::fs::write(archive.join("a.csv"), "n\n42\n").unwrap();
    std::fs::write(folder.path().join("b.csv"), "n\n43\n").unwrap();
    let inside = format!("SELECT n FROM read_csv('{}')", archive.join("*.csv").display());
    assert_eq!(rows(&store, &inside), [json!({"n": 42})]);
    let outside = format!("SELECT n FROM read_csv('{}')", archive.join("../b.csv").display());
    assert_eq!(
        run(&store.reader().unwrap(), &outside, &LIMITS).unwrap_err().kind,
        QueryErrorKind::Refused
    );
}

#[test]
fn mistakes_get_duckdbs_hint() {
    let (_folder, _store, reader) = with_rows();
    let error = run(&reader, "SELECT * FROM metrik", &LIMITS).unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::Invalid);
    assert!(error.message.contains("Did you mean \"metric\"?"), "{error}");
    assert!(error.message.contains("SHOW TABLES"), "{error}");
    let error = run(&reader, "SELECT nam FROM metric", &LIMITS).unwrap_err();
    assert!(error.message.contains("\"name\""), "{error}");
    assert!(!error.message.contains("LINE"), "{error}");
    let error = run(&reader, "SELECT 'x'::INTEGER FROM metric", &LIMITS).unwrap_err();
    assert!(error.message.contains("Could not convert"), "{error}");
    let error = run(&reader, "SELECT sum(v) FROM metric WHERE", &LIMITS).unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::Syntax);
}

const RUNAWAY: &str =
    "SELECT count(*) FROM range(10000000000) a, range(10000000000) b WHERE a.range + b.range = -1";

#[test]
fn runaways_are_stopped_and_the_connection_stays_good() {
    let (_folder, _store, reader) = with_rows();
    let start = Instant::now();
    let error = run(
        &reader,
        RUNAWAY,
        &Limits {
            time_seconds: 1,
            ..LIMITS
        },
    )
    .unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let cancel = Arc::new(AtomicBool::new(false));
    let error = std::thread::scope(|scope| {
        scope.spawn(|| cancel.store(true, Ordering::Relaxed));
        let result = reader.run_sql(RUNAWAY, &LIMITS, &cancel, |_| ControlFlow::Continue(()));
        result.unwrap_err()
    });
    assert_eq!(error.kind, QueryErrorKind::Cancelled);
    assert_eq!(
        run(&reader, "SELECT 1 AS one", &LIMITS).unwrap().1,
        [json!({"one": 1})]
    );
}

#[test]
fn huge_results_are_cut_off_at_once() {
    let (_folder, _store, reader) = with_rows();
    let huge = "SELECT i, 'some text' AS t FROM range(1000000000000) r(i)";
    let (_, rows, summary) = run(
        &reader,
        huge,
        &Limits {
            rows_max: 1000,
            ..LIMITS
        },
    )
    .unwrap();
    assert_eq!((rows.len(), summary.truncated), (1000, Some(Truncation::Rows)));
    let (_, rows, summary) = run(
        &reader,
        huge,
        &Limits {
            rows_max: u64::MAX - 1,
            bytes_max: 10_000,
            ..LIMITS
        },
    )
    .unwrap();
    assert_eq!(
        (summary.rows, summary.truncated),
        (rows.len() as u64, Some(Truncation::Bytes))
    );
    assert!((200..400).contains(&rows.len()), "{}", rows.len());
    let (_, rows, summary) = run(
        &reader,
        "SELECT * FROM range(1000)",
        &Limits {
            rows_max: 1000,
            ..LIMITS
        },
    )
    .unwrap();
    assert_eq!(
        (rows.len(), summary.truncated),
        (1000, None),
        "exactly at the limit nothing is missing"
    );
    let mut parts = 0;
    let limits = Limits {
        rows_max: u64::MAX - 1,
        bytes_max: u64::MAX,
        ..LIMITS
    };
    let summary = reader.run_sql(huge, &limits, &Arc::default(), |_| {
        parts += 1;
        if parts > 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(summary.unwrap().truncated, Some(Truncation::Receiver));
}
