//! Costs computed again: rows, view and aggregates agree to the last digit, whatever happens on the way.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use schemas::archive::{FILE_SUBJECT, File, JOB_SUBJECT, Job, LAYOUT, Manifest, path};
use schemas::price::PriceTable;
use schemas::rerate::{CORRECTIONS_FOLDER, Request};
use schemas::{Kind, Money, Time};
use serde_json::{Value, json};
use sink::{Source, Store};
use support::calls::*;
use support::*;

/// Where the child of the test finds its database.
const CHILD: &str = "AIAI_TEST_RERATE_FOLDER";

#[test]
fn computed_costs_change_and_given_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let mut keeper = keeper(&store, folder.path());
    let (before, total) = (costs(&store), agree(&store));

    let tried = rerate(&mut keeper, true);
    assert_eq!(costs(&store), before, "a dry run changes nothing");
    assert_eq!(agree(&store), total);
    assert!(!folder.path().join("archive").join(CORRECTIONS_FOLDER).exists());

    let done = rerate(&mut keeper, false);
    assert_eq!(done, tried, "a dry run says what will be");
    let figures: Vec<_> = done
        .iter()
        .map(|change| {
            (
                change.model.as_str(),
                change.calls,
                change.changed,
                change.priced,
                change.without_price,
            )
        })
        .collect();
    assert_eq!(
        figures,
        [
            ("dearer", 100, 100, 0, 0),
            ("gone", 100, 0, 0, 100),
            ("new", 100, 100, 100, 0)
        ]
    );
    assert_eq!(done[0].before_usd, Money(200_200));
    assert_eq!(done[2].before_usd, Money(0));
    assert_eq!(costs(&store), expected());
    assert_ne!(agree(&store), total);

    // What an aggregate made anew would be made of: differences are in it already.
    let firsts = "SELECT sum(first_usd)::VARCHAR AS total, count(*)::UBIGINT AS n, count(first_usd)::UBIGINT AS priced \
                  FROM cost_correction";
    let wanted = json!({"total": "0.000200200", "n": 200, "priced": 100});
    assert_eq!(rows(&store, firsts), [wanted]);

    let again = rerate(&mut keeper, false);
    assert_eq!(again.iter().map(|change| change.changed).sum::<u64>(), 0);
    assert_eq!(costs(&store), expected());
    agree(&store);
    drop((keeper, store));
    let store = open_with_archive(folder.path());
    let _keeper = self::keeper(&store, folder.path());
    assert_eq!(costs(&store), expected(), "after a restart");
    agree(&store);
}

#[test]
fn one_model_and_a_time_are_all_that_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let mut keeper = keeper(&store, folder.path());
    let table = PriceTable::parse("p.toml", PRICES).unwrap();
    let hour = "2026-11-20T10:00:00Z".parse::<Time>().unwrap();
    let asked = Request {
        model: Some("new".into()),
        from: hour,
        until: Time(hour.0 + 1),
        rows_max: None,
        ..request(false)
    };
    let answer = keeper.rerate(&asked, &table).unwrap();
    assert_eq!(answer.next, None);
    // Of the minutes 0, 90, 180, …: those of model `new`.
    let wanted = (1..401_u64)
        .filter(|origin| origin % 90 == 0 && origin % 4 == 1)
        .count() as u64;
    let changed: u64 = answer.models.iter().map(|change| change.changed).sum();
    assert_eq!(changed, wanted);
    let left = "SELECT count(*)::UBIGINT AS n FROM usage WHERE cost_source = 'unpriced'";
    assert_eq!(rows(&store, left), [json!({"n": 100 - wanted})]);
    agree(&store);
}

/// Writes the calls of EVENTS 1 as worker archive does, with the costs that the events came with; says how
/// many they are.
fn export_first(store: &Store, folder: &Path, target: &Path) -> u64 {
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    let lines = folder.join("rows.ndjson");
    let exported = rows(
        store,
        &format!(
            "SELECT * EXCLUDE (tags, epoch, events_epoch, cost_usd), cost_usd::VARCHAR AS cost_usd, tags::VARCHAR AS tags, \
             '{INGEST_EPOCH}' AS ingest_epoch, '{EVENTS_EPOCH}' AS events_epoch FROM usage WHERE events_seq = 1"
        ),
    );
    let text: Vec<String> = exported.iter().map(Value::to_string).collect();
    std::fs::write(&lines, text.join("\n")).unwrap();
    let types = rows(
        store,
        "SELECT column_name AS n, column_type AS t FROM (DESCRIBE usage)",
    );
    let columns: Vec<String> = types
        .iter()
        .map(|row| (row["n"].as_str().unwrap(), row["t"].as_str().unwrap()))
        .map(|(name, kind)| match name {
            "epoch" => "ingest_epoch: 'VARCHAR'".to_owned(),
            "events_epoch" | "tags" | "cost_usd" => format!("{name}: 'VARCHAR'"),
            _ => format!("{name}: '{kind}'"),
        })
        .collect();
    let sql = format!(
        "COPY (SELECT * REPLACE (cost_usd::DECIMAL(18,9) AS cost_usd) FROM read_json('{}', columns = {{{}}})) \
         TO '{}' (FORMAT parquet)",
        lines.display(),
        columns.join(", "),
        target.display()
    );
    duckdb::Connection::open_in_memory()
        .unwrap()
        .execute_batch(&sql)
        .unwrap();
    exported.len() as u64
}

/// A file of EVENTS 1, and its manifest in the database.
fn archive_first(store: &mut Store, folder: &Path) {
    let place = path(Kind::Usage, "2026-11-20", EVENTS_EPOCH, 1, 1);
    let target = folder.join("archive").join(&place);
    let exported = export_first(store, folder, &target);
    let bytes = std::fs::read(&target).unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let job = Job {
        epoch: EVENTS_EPOCH.into(),
        first: 1,
        last: 1,
    };
    let file = File {
        first: 1,
        last: 1,
        kind: Kind::Usage,
        date: "2026-11-20".into(),
        bytes: bytes.len() as u64,
        rows: exported,
        path: place,
        sha256: digits.concat(),
        min_ts: Time(NOON - 7_200_000_000),
        max_ts: Time(NOON - 1_800_000_000),
        layout: LAYOUT,
    };
    let manifest = Manifest {
        job: job.clone(),
        files: vec![file],
    };
    let message = |sequence, subject: &str, payload: Vec<u8>| Message {
        source: Source::Archive,
        epoch: DEAD_EPOCH.to_owned(),
        sequence,
        subject: subject.to_owned(),
        headers: Vec::new(),
        payload,
        stored: NOON,
    };
    let messages = [
        message(1, JOB_SUBJECT, serde_json::to_vec(&job).unwrap()),
        message(2, FILE_SUBJECT, serde_json::to_vec(&manifest).unwrap()),
    ];
    let outcome = commit(store, &messages.each_ref());
    assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
}

#[test]
fn rows_in_files_are_corrected_in_the_view_before_and_after_they_move() {
    for moves_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = filled(folder.path());
        archive_first(&mut store, folder.path());
        let mut keeper = keeper(&store, folder.path());
        if moves_first {
            assert_eq!(keeper.round(0, LATER).unwrap(), None);
        }
        rerate(&mut keeper, false);
        assert_eq!(keeper.round(0, LATER).unwrap(), None);
        let in_table = rows(&store, "SELECT count(*)::UBIGINT AS n FROM usage");
        assert_eq!(in_table, [json!({"n": 200})], "half of the rows are in the file");
        assert_eq!(costs(&store), expected(), "moved first: {moves_first}");
        agree(&store);
    }
}

#[test]
fn a_database_that_was_lost_gets_its_corrections_from_the_archive_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let mut first = keeper(&store, folder.path());
    rerate(&mut first, false);
    drop((first, store));
    std::fs::remove_file(folder.path().join("aiai.duckdb")).unwrap();
    // What a crash leaves half written is nothing.
    let aside = folder
        .path()
        .join("archive")
        .join(CORRECTIONS_FOLDER)
        .join("x.ndjson.tmp");
    std::fs::write(aside, "{").unwrap();

    let mut store = open_with_archive(folder.path());
    let mut second = keeper(&store, folder.path());
    for (sequence, first) in [(1, 1), (2, 201)] {
        let messages = calls(sequence, first..first + 200);
        commit(&mut store, &messages.each_ref());
        assert_eq!(second.round(7, LATER).unwrap(), None);
    }
    assert_eq!(costs(&store), expected());
    agree(&store);
    let waiting = "SELECT count(*)::UBIGINT AS n FROM cost_correction WHERE pending";
    assert_eq!(rows(&store, waiting), [json!({"n": 0})]);
    assert_eq!(
        rerate(&mut second, false)
            .iter()
            .map(|change| change.changed)
            .sum::<u64>(),
        0
    );
}

/// Not a test of its own: what [`killed_in_the_middle_it_ends_the_same`] kills.
#[test]
#[ignore = "run by killed_in_the_middle_it_ends_the_same"]
fn child_that_rerates() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let folder = Path::new(&folder);
    let store = open_with_archive(folder);
    let mut keeper = keeper(&store, folder);
    let table = PriceTable::parse("p.toml", PRICES).unwrap();
    let mut request = Request {
        rows_max: Some(3),
        ..request(false)
    };
    loop {
        let answer = keeper.rerate(&request, &table).unwrap();
        let Some(next) = answer.next else { break };
        request.after = Some(next);
    }
    // Held until it is killed, so that the end is always that of a killed process.
    loop {
        std::thread::park();
    }
}

#[test]
fn killed_in_the_middle_it_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let corrections = folder.path().join("archive").join(CORRECTIONS_FOLDER);
    let written = || std::fs::read_dir(&corrections).map_or(0, Iterator::count);
    for files in [1, 7, 20] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_rerates", "--ignored"])
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while written() < files {
            assert!(start.elapsed() < Duration::from_secs(60), "{} files", written());
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open_with_archive(folder.path());
        let _keeper = keeper(&store, folder.path());
        agree(&store);
    }
    let store = open_with_archive(folder.path());
    let mut keeper = keeper(&store, folder.path());
    rerate(&mut keeper, false);
    assert_eq!(costs(&store), expected());
    agree(&store);
}
