//! The archive's files beside the tables: noted, moved to, missed and found again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

use schemas::archive::{CoverageRequest, FILE_SUBJECT, File, JOB_SUBJECT, Job, Manifest, path};
use schemas::{Kind, Time};
use serde_json::{Value, json};
use sink::{Keeper, Monitor, Settings, Source, Store};
use support::*;

const DATE: &str = "2026-11-20";
/// A day after all rows.
const LATER: Time = Time(NOON + 86_400_000_000);

fn open_with_archive(folder: &Path) -> Store {
    let settings = Settings {
        archive_folder: Some(folder.join("archive")),
        ..Settings::default()
    };
    Store::open(&folder.join("aiai.duckdb"), &settings).unwrap()
}

fn archive_message(sequence: u64, subject: &str, payload: &impl serde::Serialize) -> Message {
    Message {
        source: Source::Archive,
        epoch: DEAD_EPOCH.to_owned(),
        sequence,
        subject: subject.to_owned(),
        headers: Vec::new(),
        payload: serde_json::to_vec(payload).unwrap(),
        stored: NOON,
    }
}

fn job(first: u64, last: u64) -> Job {
    Job {
        epoch: EVENTS_EPOCH.into(),
        first,
        last,
    }
}

/// A metric file of these messages, as worker archive would write it, and its line in the manifest.
fn export(store: &Store, archive: &Path, first: u64, last: u64) -> File {
    let path = path(Kind::Metric, DATE, EVENTS_EPOCH, first, last);
    let file = archive.join(&path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let exported = rows(
        store,
        &format!(
            "SELECT * EXCLUDE (tags, distribution, epoch, events_epoch), tags::VARCHAR AS tags, \
             distribution::VARCHAR AS distribution, '{INGEST_EPOCH}' AS ingest_epoch, \
             '{EVENTS_EPOCH}' AS events_epoch FROM metric WHERE events_seq BETWEEN {first} AND {last}"
        ),
    );
    let lines: Vec<String> = exported.iter().map(Value::to_string).collect();
    let json = archive.join("rows.ndjson");
    std::fs::write(&json, lines.join("\n")).unwrap();
    let types = rows(
        store,
        "SELECT column_name AS n, column_type AS t FROM (DESCRIBE metric)",
    );
    let columns: Vec<String> = types
        .iter()
        .map(|row| (row["n"].as_str().unwrap(), row["t"].as_str().unwrap()))
        .map(|(name, kind)| match name {
            "epoch" => "ingest_epoch: 'VARCHAR'".to_owned(),
            "events_epoch" | "tags" | "distribution" => format!("{name}: 'VARCHAR'"),
            _ => format!("{name}: '{kind}'"),
        })
        .collect();
    let sql = format!(
        "COPY (SELECT * FROM read_json('{}', columns = {{{}}})) TO '{}' (FORMAT parquet)",
        json.display(),
        columns.join(", "),
        file.display()
    );
    let other = duckdb::Connection::open_in_memory().unwrap();
    other.execute_batch(&sql).unwrap();
    std::fs::remove_file(json).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    File {
        first,
        last,
        kind: Kind::Metric,
        date: DATE.into(),
        bytes: bytes.len() as u64,
        rows: exported.len() as u64,
        path,
        sha256: digits.concat(),
        min_ts: Time(NOON - 500_000),
        max_ts: Time(NOON - 500_000),
        layout: schemas::archive::LAYOUT,
    }
}

fn all(store: &Store) -> Vec<Value> {
    rows(store, "SELECT * FROM metric_all ORDER BY origin, idx")
}

fn count(store: &Store, from: &str) -> u64 {
    rows(store, &format!("SELECT count(*)::UBIGINT AS n FROM {from}"))[0]["n"]
        .as_u64()
        .unwrap()
}

/// Four messages, the second of which repeats an origin, and files of the first three.
fn archived(folder: &Path) -> (Store, Vec<File>) {
    let mut store = open_with_archive(folder);
    let messages = [
        metrics(1, [1, 2]),
        metrics(2, [2, 3]),
        metrics(3, [4]),
        metrics(4, [5]),
    ];
    commit(&mut store, &messages.each_ref());
    let archive = folder.join("archive");
    let files = vec![export(&store, &archive, 1, 2), export(&store, &archive, 3, 3)];
    let of = |job, files| Manifest { job, files };
    let manifests = [
        archive_message(2, FILE_SUBJECT, &of(job(1, 2), vec![files[0].clone()])),
        archive_message(4, FILE_SUBJECT, &of(job(3, 3), vec![files[1].clone()])),
    ];
    let jobs = [
        archive_message(1, JOB_SUBJECT, &job(1, 2)),
        archive_message(3, JOB_SUBJECT, &job(3, 3)),
    ];
    let outcome = commit(&mut store, &[&jobs[0], &manifests[0], &jobs[1], &manifests[1]]);
    assert_eq!((outcome.rejected.len(), outcome.deferred.len()), (0, 0));
    assert_eq!(store.checkpoint(Source::Archive, DEAD_EPOCH), 4);
    (store, files)
}

#[test]
fn old_rows_move_into_files_and_the_view_stays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = archived(folder.path());
    let before = all(&store);
    assert_eq!(before.len(), 10);
    let mut keeper = Keeper::open(&store, &folder.path().join("archive")).unwrap();
    assert_eq!(keeper.round(7, LATER).unwrap(), None);
    assert_eq!(count(&store, "metric"), 10, "not old enough");
    assert_eq!(keeper.round(0, LATER).unwrap(), None);
    assert_eq!(
        rows(&store, "SELECT DISTINCT events_seq AS s FROM metric"),
        [json!({"s": 4})]
    );
    assert_eq!(all(&store), before);
    let states = "SELECT DISTINCT state FROM archive_file";
    assert_eq!(rows(&store, states), [json!({"state": "cold"})]);
    // An aggregate, a filter and a join reach the files, too.
    let filtered =
        "metric_all WHERE ts < TIMESTAMP '2026-11-20 12:00:00' AND (tags->>'region') = 'eu' AND origin < 3";
    assert_eq!(count(&store, filtered), 4);

    drop((keeper, store));
    let store = open_with_archive(folder.path());
    let _keeper = Keeper::open(&store, &folder.path().join("archive")).unwrap();
    assert_eq!(all(&store), before, "after a restart");
    let monitor = Monitor::open(&store, LATER).unwrap();
    let overview = monitor.overview(&sink::StreamFigures::default(), LATER).unwrap();
    let total = overview
        .kinds_total
        .iter()
        .find(|total| total.kind == "metric")
        .unwrap();
    assert_eq!(total.events, 10, "since the beginning");
}

#[test]
fn rows_that_left_the_table_come_into_view_though_their_file_is_noted_as_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = archived(folder.path());
    let before = all(&store);
    let archive = folder.path().join("archive");
    let mut keeper = Keeper::open(&store, &archive).unwrap();
    assert_eq!(keeper.round(0, LATER).unwrap(), None);
    drop((keeper, store));
    duckdb::Connection::open(folder.path().join("aiai.duckdb"))
        .unwrap()
        .execute_batch("UPDATE archive_file SET state = 'copy' WHERE first_seq = 3")
        .unwrap();
    let store = open_with_archive(folder.path());
    let mut keeper = Keeper::open(&store, &archive).unwrap();
    assert_ne!(all(&store), before);
    assert_eq!(keeper.round(0, LATER).unwrap(), None);
    assert_eq!(all(&store), before);
}

#[test]
fn a_file_that_vanishes_is_left_out_and_named_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = archived(folder.path());
    let archive = folder.path().join("archive");
    let mut keeper = Keeper::open(&store, &archive).unwrap();
    keeper.round(0, LATER).unwrap();
    let before = all(&store);
    let (file, aside) = (archive.join(&files[0].path), folder.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let error = run(&store.reader().unwrap(), "SELECT * FROM metric_all", &LIMITS).unwrap_err();
    assert!(error.message.contains("aiai archive verify"), "{error}");
    let trouble = keeper.round(0, LATER).unwrap().unwrap();
    assert!(
        trouble.contains(&files[0].path) && trouble.contains("restore it"),
        "{trouble}"
    );
    assert_eq!(count(&store, "metric_all"), 4);

    std::fs::write(&file, b"PAR1 of another size PAR1").unwrap();
    assert!(keeper.round(0, LATER).unwrap().is_some());
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(keeper.round(0, LATER).unwrap(), None);
    assert_eq!(all(&store), before);
}

#[test]
fn rows_stay_where_their_files_are_gone_or_do_not_hold_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, files) = archived(folder.path());
    let archive = folder.path().join("archive");
    std::fs::remove_file(archive.join(&files[0].path)).unwrap();
    let mut keeper = Keeper::open(&store, &archive).unwrap();
    let trouble = keeper.round(0, LATER).unwrap().unwrap();
    assert!(trouble.contains("stay in the table"), "{trouble}");
    assert_eq!(count(&store, "metric WHERE events_seq <= 2"), 6);
    assert_eq!(count(&store, "metric WHERE events_seq = 3"), 0, "the others go");

    let mut short = export(&store, &archive, 4, 4);
    short.rows = 1;
    let manifest = Manifest {
        job: job(4, 4),
        files: vec![short],
    };
    commit(&mut store, &[&archive_message(5, FILE_SUBJECT, &manifest)]);
    let trouble = keeper.round(0, LATER).unwrap().unwrap();
    assert!(
        trouble.contains("has 2 rows in table metric and 1 in files"),
        "{trouble}"
    );
    assert_eq!(count(&store, "metric WHERE events_seq = 4"), 2);
}

#[test]
fn a_manifest_waits_for_its_events_and_a_bad_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_with_archive(folder.path());
    commit(&mut store, &[&metrics(1, [1])]);
    let empty = |first, last| Manifest {
        job: job(first, last),
        files: Vec::new(),
    };
    let early = archive_message(1, FILE_SUBJECT, &empty(1, 2));
    assert_eq!(commit(&mut store, &[&early]).deferred, [0]);
    let mut forged = empty(1, 1);
    forged.files.push(File {
        path: "../aiai.duckdb".into(),
        ..export(&store, &folder.path().join("archive"), 1, 1)
    });
    let forged = archive_message(2, FILE_SUBJECT, &forged);
    let outcome = commit(&mut store, &[&forged, &metrics(2, [2])]);
    assert!(
        outcome.rejected[0].reason.contains("path does not follow"),
        "{outcome:?}"
    );
    assert!(commit(&mut store, &[&early]).deferred.is_empty());
    assert_eq!(count(&store, "archive_file"), 0);

    let of = |last| Manifest {
        job: job(1, last),
        files: vec![export(&store, &folder.path().join("archive"), 1, last)],
    };
    let (first, overlapping) = (of(1), of(2));
    let messages = [
        archive_message(3, FILE_SUBJECT, &first),
        archive_message(4, FILE_SUBJECT, &overlapping),
        archive_message(5, FILE_SUBJECT, &first),
    ];
    let outcome = commit(&mut store, &messages.each_ref());
    assert_eq!(outcome.rejected.len(), 1, "{outcome:?}");
    assert!(outcome.rejected[0].reason.contains("twice"), "{outcome:?}");
    assert_eq!(count(&store, "archive_file"), 1);
}

#[test]
fn the_sink_says_what_it_stored_refused_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = archived(folder.path());
    let bad = metrics(5, [6]).header("Aiai-Count", "7");
    assert_eq!(commit(&mut store, &[&bad]).rejected.len(), 1);
    store.settle(Source::Events, EVENTS_EPOCH, 5);
    commit(&mut store, &[&metrics(6, [7])]);
    let given_up = dead(1, 1, None)
        .header("Aiai-Stage", "archive")
        .header("Aiai-Subject", JOB_SUBJECT);
    let given_up = Message {
        payload: serde_json::to_vec(&job(6, 6)).unwrap(),
        ..given_up
    };
    commit(&mut store, &[&given_up]);
    let monitor = Monitor::open(&store, LATER).unwrap();
    let request = CoverageRequest {
        epoch: EVENTS_EPOCH.into(),
        first: 2,
        last: 6,
    };
    let coverage = monitor.coverage(&request).unwrap();
    assert_eq!(
        (
            coverage.checkpoint,
            coverage.archived.as_str(),
            coverage.refused.as_str()
        ),
        (6, "1-3,6", "5")
    );
    assert_eq!(coverage.duplicates, [(2, "2".to_owned())]);
    assert_eq!(monitor.first_unarchived(EVENTS_EPOCH, 1).unwrap(), 4);
    assert_eq!(monitor.first_unarchived(EVENTS_EPOCH, 5).unwrap(), 5);
}

#[test]
fn what_a_new_database_never_saw_it_reads_from_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = archived(folder.path());
    let before = all(&store);
    drop(store);
    std::fs::remove_file(folder.path().join("aiai.duckdb")).unwrap();
    let mut store = open_with_archive(folder.path());
    // EVENTS begins within the first file's range.
    store.begin_at(Source::Events, EVENTS_EPOCH, 2);
    commit(
        &mut store,
        &[&metrics(2, [2, 3]), &metrics(3, [4]), &metrics(4, [5])],
    );
    let manifest = |job, file: &File| Manifest {
        job,
        files: vec![file.clone()],
    };
    let first = archive_message(2, FILE_SUBJECT, &manifest(job(1, 2), &files[0]));
    let second = archive_message(4, FILE_SUBJECT, &manifest(job(3, 3), &files[1]));
    commit(&mut store, &[&first, &second]);
    let mut keeper = Keeper::open(&store, &folder.path().join("archive")).unwrap();
    assert_eq!(keeper.round(7, LATER).unwrap(), None);
    assert_eq!(
        count(&store, "metric"),
        4,
        "those of the second file are still there"
    );
    let known = "SELECT * REPLACE (0 AS epoch, 0 AS events_epoch) FROM";
    let of = |rows: &[Value]| -> Vec<(Value, Value)> {
        rows.iter()
            .map(|row| (row["origin"].clone(), row["idx"].clone()))
            .collect()
    };
    assert_eq!(
        of(&rows(&store, &format!("{known} metric_all ORDER BY origin, idx"))),
        of(&before)
    );
}
