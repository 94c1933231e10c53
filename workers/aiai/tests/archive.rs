//! Worker archive in the whole pipeline: files hold what the table holds, row by row, whatever is killed; rows move
//! out of the table and stay in view; what is wrong with files is named.

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::wire::{Message, Wire};
use harness::{World, aiai, client, process, rows, sample, tool, until};
use rustix::process::Signal;
use serde_json::Value;

/// Planning looks once a second, and files are looked after once a second.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Small jobs soon, and nothing that publishes by itself.
const SMALL: [&str; 5] = [
    "archive.job_seconds=1",
    "archive.job_messages_max=3",
    "sink.retain.interval_seconds=1",
    "sink.retain.raw_days=36500",
    "node.interval_seconds=3600",
];
/// Rows of all tables, and those that files hold.
const ROWS: &str = "SELECT ((SELECT count(*) FROM metric) + (SELECT count(*) FROM event) + (SELECT count(*) FROM usage))::UBIGINT AS hot, \
    (SELECT coalesce(sum(rows), 0) FROM archive_file)::UBIGINT AS archived, \
    ((SELECT count(*) FROM metric_all) + (SELECT count(*) FROM event_all) + (SELECT count(*) FROM usage_all))::UBIGINT AS all_rows";
/// One number for everything that a view of all rows says.
const DIGEST: &str = "SELECT (SELECT sum(hash(m)::HUGEINT) FROM metric_all m)::VARCHAR AS m, \
    (SELECT sum(hash(e)::HUGEINT) FROM event_all e)::VARCHAR AS e, (SELECT sum(hash(u)::HUGEINT) FROM usage_all u)::VARCHAR AS u";

fn settings(more: &[&'static str]) -> Vec<&'static str> {
    [&SMALL[..], more].concat()
}

/// Events of every kind on five days of which the last is first, with as many origins.
fn messages(from: u64, count: u64) -> Vec<Message> {
    let day = |n: u64| 18 - n % 5;
    (from..from + count)
        .map(|n| {
            let common = format!(
                r#""source":"archive","timestamp":"2026-11-{:02}T23:59:59.{:06}Z""#,
                day(n),
                n % 1_000_000
            );
            match n % 3 {
                0 => Message::new(
                    "ingest.metric",
                    format!(r#"[{{"name":"a","value":{n},{common}}},{{"name":"b","value":1,{common}}}]"#),
                ),
                1 => Message::new(
                    "ingest.acme.event",
                    format!(r#"{{"name":"e","data":{{"n":[{n}]}},{common}}}"#),
                ),
                _ => Message::new(
                    "ingest.usage",
                    format!(r#"{{"model":"m","tokens_in":{n},"cost_usd":0.123456789,{common}}}"#),
                ),
            }
        })
        .collect()
}

impl World {
    fn figures(&self) -> (u64, u64, u64) {
        let row = &self.query(ROWS)[0];
        let of = |name: &str| row[name].as_u64().expect("a number");
        (of("hot"), of("archived"), of("all_rows"))
    }

    /// Waits until files hold all rows there are, and says how many.
    fn archived(&self, rows_min: u64) -> u64 {
        until("all rows to be archived", TIMEOUT, || {
            let (_, archived, all_rows) = self.figures();
            assert!(
                archived <= all_rows,
                "{archived} rows in files, {all_rows} in all"
            );
            (archived >= rows_min && archived == all_rows).then_some(archived)
        })
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.data().join("archive")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else if entry.path().to_string_lossy().ends_with(ending) {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    fn verify(&self) -> process::Output {
        process::run(self.cli(&["archive", "verify", "--data", "data"]))
    }

    /// Waits until the log says this.
    fn said(&self, what: &str) {
        until(what, TIMEOUT, || self.log().contains(what).then_some(()));
    }
}

/// Every row by origin and index, with what it says as text; no row twice.
fn by_place(rows: Vec<Value>) -> BTreeMap<(u64, u64), Value> {
    let mut places = BTreeMap::new();
    for row in rows {
        let at = |name: &str| row[name].as_u64().expect("a number");
        let place = (at("origin"), at("idx"));
        assert!(places.insert(place, row).is_none(), "{place:?} is there twice");
    }
    places
}

#[test]
fn files_hold_what_the_table_holds_and_open_everywhere() {
    let mut world = World::start_with(&settings(&[]));
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let samples = sample::samples(40, 6);
    let published: Vec<Message> = samples
        .iter()
        .map(|sample| Message::new(&sample.subject, sample.payload.clone()))
        .collect();
    let made: usize = samples.iter().map(|sample| sample.rows.len()).sum();
    for part in published.chunks(40) {
        wire.store(part);
    }
    wire.store(&messages(0, 90));
    world.archived(made as u64 + 120);
    let listed = process::run(world.cli(&["archive", "list", "-o", "ndjson"]));
    assert!(listed.ok(), "{}", listed.stderr);
    assert_eq!(rows(&listed.stdout).len(), world.files(".parquet").len());
    let verified = world.verify();
    assert!(verified.ok(), "{}{}", verified.stdout, verified.stderr);
    world.stop(Signal::TERM);

    let ulid = "(SELECT epoch FROM epochs WHERE id =";
    for kind in sample::KINDS {
        let table = format!(
            "SELECT * EXCLUDE (epoch, events_epoch), {ulid} t.epoch) AS ingest_epoch, {ulid} t.events_epoch) AS events_epoch FROM {kind} t"
        );
        let Some(table) = world.read(&table) else { return };
        let table = by_place(table);
        let files: Vec<PathBuf> = world
            .files(".parquet")
            .into_iter()
            .filter(|file| file.to_string_lossy().contains(&format!("/{kind}/date=")))
            .collect();
        assert!(files.len() > 5, "{files:?}");
        for library in ["duckdb", "pyarrow", "polars"] {
            let python =
                tool("AIAI_TEST_PYTHON", "reading Parquet files in Python").expect("asked for above");
            let mut command = Command::new(python);
            command.arg(client("read_archive.py")).arg(library).args(&files);
            let output = process::run(command);
            assert!(output.ok(), "{library}: {}", output.stderr);
            let found = by_place(rows(&output.stdout));
            assert_eq!(found.len(), table.len(), "{kind} with {library}");
            for (place, row) in &table {
                assert_eq!(&found[place], row, "{kind} {place:?} with {library}");
            }
        }
    }
}

#[test]
fn old_rows_move_to_files_and_a_file_that_vanishes_is_named() {
    let mut world = World::start_with(&settings(&[]));
    Wire::connect(&world.url())
        .expect("connects")
        .store(&messages(0, 60));
    let all_rows = world.archived(80);
    let digest = world.query(DIGEST);
    world.stop(Signal::TERM);
    world.set(&["sink.retain.raw_days=0"]);
    world.restart();
    let moved = |world: &World| {
        until("all rows to move out", TIMEOUT, || {
            let (hot, _, all) = world.figures();
            assert!(all >= all_rows, "{all} of {all_rows} rows in view");
            (hot == 0).then_some(all)
        })
    };
    // A restarted node has published once more.
    assert!(moved(&world) >= all_rows);
    let without_node = |digest: Vec<Value>| (digest[0]["e"].clone(), digest[0]["u"].clone());
    assert_eq!(without_node(world.query(DIGEST)), without_node(digest));

    let file = world
        .files(".parquet")
        .into_iter()
        .find(|file| file.to_string_lossy().contains("/usage/"));
    let (file, aside) = (file.expect("a file of usage"), world.folder().join("aside"));
    let calls = "SELECT count(*)::UBIGINT AS n FROM usage_all";
    let before = world.query(calls);
    fs::rename(&file, &aside).expect("moves");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    world.said(&format!(
        "{name} is gone or damaged, its rows are left out: restore it"
    ));
    until("the other rows", TIMEOUT, || {
        (world.query(calls) != before).then_some(())
    });
    let verified = world.verify();
    assert_eq!(verified.code, Some(3), "{}", verified.stderr);
    assert!(
        verified.stdout.contains(&name) && verified.stdout.contains("is not there"),
        "{}",
        verified.stdout
    );
    fs::rename(&aside, &file).expect("moves back");
    until("the rows to be back", TIMEOUT, || {
        (world.query(calls) == before).then_some(())
    });
    assert!(world.verify().ok());
}

#[test]
fn killed_while_archiving_nothing_is_twice_or_missing() {
    let mut world = World::start_with(&settings(&["sink.retain.raw_days=0"]));
    let mut rows_min = 0;
    for round in 0..4 {
        let mut wire = Wire::connect(&world.url()).expect("connects");
        for part in 0..10 {
            wire.store(&messages(round * 300 + part * 30, 30));
        }
        rows_min += 400;
        // In the middle of it: some of this round's files are there, others not.
        let files = world.files(".parquet").len();
        until("a new file", TIMEOUT, || {
            (world.files(".parquet").len() > files).then_some(())
        });
        world.kill();
        world.restart();
    }
    world.archived(rows_min);
    let twice = "SELECT count(*)::UBIGINT AS n FROM (SELECT origin, idx FROM metric_all UNION ALL SELECT origin, idx FROM event_all \
        UNION ALL SELECT origin, idx FROM usage_all) GROUP BY origin, idx HAVING count(*) > 1";
    assert_eq!(world.query(twice), Vec::<Value>::new());
    let sent = "SELECT (SELECT count(*) FROM metric_all WHERE source = 'archive') + (SELECT count(*) FROM event_all) \
        + (SELECT count(*) FROM usage_all) AS n";
    assert_eq!(world.query(sent)[0]["n"], rows_min);
    let verified = world.verify();
    assert!(verified.ok(), "{}", verified.stdout);
    assert_eq!(world.files(".tmp"), Vec::<PathBuf>::new());
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_nothing_is_lost() {
    let mut world = World::empty();
    let blocked = world.data().join("archive/metric");
    fs::create_dir_all(world.data().join("archive")).expect("a folder");
    fs::write(&blocked, b"not a folder").expect("a file");
    world.settings.clear();
    world.set(&settings(&[]));
    world.restart();
    Wire::connect(&world.url())
        .expect("connects")
        .store(&messages(0, 30));
    world.said("move away the file that is where the folder should be");
    world.settled(30);
    fs::remove_file(&blocked).expect("removes");
    world.archived(40);
    assert!(world.verify().ok());
}

/// The state of a stream, as the server tells it.
fn stream(wire: &mut Wire, name: &str) -> Value {
    let asked = [Message::new(&format!("$JS.API.STREAM.INFO.{name}"), "")];
    let answer = wire
        .publish(&asked)
        .expect("answers")
        .remove(0)
        .expect_err("no sequence in it");
    serde_json::from_str::<Value>(&answer).expect("JSON")["state"].clone()
}

#[test]
fn events_are_kept_until_they_are_archived_and_the_fence_stays() {
    let mut world = World::empty();
    let blocked = world.data().join("archive/metric");
    fs::create_dir_all(world.data().join("archive")).expect("a folder");
    fs::write(&blocked, b"not a folder").expect("a file");
    world.settings.clear();
    world.set(&settings(&[
        "sink.trim.interval_seconds=1",
        "sink.trim.retain_hours=0",
    ]));
    world.restart();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    wire.store(&messages(0, 30));
    world.settled(30);
    let is_trimmed = |state: &Value| state["messages"] == 0 && state["last_seq"].as_u64() >= Some(1);
    until("ROLLUP to be trimmed", TIMEOUT, || {
        is_trimmed(&stream(&mut wire, "ROLLUP")).then_some(())
    });
    assert_eq!(stream(&mut wire, "EVENTS")["first_seq"], 1);
    fs::remove_file(&blocked).expect("removes");
    world.archived(40);
    until("EVENTS to be trimmed", TIMEOUT, || {
        is_trimmed(&stream(&mut wire, "EVENTS")).then_some(())
    });
    until("ARCHIVE to be trimmed", TIMEOUT, || {
        (stream(&mut wire, "ARCHIVE")["first_seq"].as_u64() > Some(1)).then_some(())
    });
    assert!(
        stream(&mut wire, "ARCHIVE")["messages"].as_u64() >= Some(1),
        "the newest job"
    );
    wire.store(&messages(30, 30));
    world.archived(80);
    assert!(world.verify().ok());
}

/// Another copy of worker archive.
struct Copy(Child);

impl Copy {
    fn start(world: &World) -> Self {
        let mut command = aiai();
        command
            .current_dir(world.folder())
            .args(["run", "archive", "--data", "data"]);
        command.args(["--nats-url", &world.url()]);
        for setting in &world.settings {
            command.args(["--set", setting]);
        }
        let log = fs::File::create(world.folder().join("copy.log")).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.expect("aiai starts"))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn several_copies_plan_and_archive_everything_once() {
    let world = World::start_with(&settings(&[]));
    let copies = [Copy::start(&world), Copy::start(&world)];
    let mut wire = Wire::connect(&world.url()).expect("connects");
    for part in 0..20 {
        wire.store(&messages(part * 30, 30));
    }
    world.archived(800);
    drop(copies);
    for part in 20..25 {
        wire.store(&messages(part * 30, 30));
    }
    world.archived(1000);
    let overlaps = "SELECT count(*)::UBIGINT AS n FROM archive_file a JOIN archive_file b ON a.path < b.path AND a.kind = b.kind \
        AND a.first_seq <= b.last_seq AND b.first_seq <= a.last_seq AND (a.first_seq <> b.first_seq OR a.last_seq <> b.last_seq)";
    assert_eq!(world.query(overlaps)[0]["n"], 0);
    assert!(world.verify().ok());
}
