//! Rows against what was sent, one by one, for clients in four languages that know nothing of aiai.
//!
//! What was sent is known here; what was stored is read from the database file by DuckDB's own
//! library, after aiai has ended.

mod harness;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use harness::process::{self, Output};
use harness::sample::{KINDS, Row, Sample, samples, sql};
use harness::{World, client, skipped, tool};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The rows that must be in the tables: by kind, in order of origin and position.
type Expected = BTreeMap<&'static str, Vec<Row>>;

/// Fills in what only the acknowledgement tells: the sequence.
fn expected(messages: &[Sample], sequences: &[u64]) -> Expected {
    let mut all = Expected::new();
    for (message, sequence) in messages.iter().zip(sequences) {
        for (idx, row) in message.rows.iter().enumerate() {
            let mut row = row.clone();
            row.insert("origin", (*sequence).into());
            row.insert("idx", idx.into());
            all.entry(message.kind).or_default().push(row);
        }
    }
    for rows in all.values_mut() {
        rows.sort_by_key(|row| (row["origin"].as_u64(), row["idx"].as_u64()));
    }
    all
}

/// Stops aiai and compares every column of every row with what was sent.
fn compare(world: &mut World, expected: &Expected, started: SystemTime) {
    world.settled(1);
    world.stop(Signal::TERM);
    for kind in KINDS {
        let Some(rows) = world.read(&sql(kind)) else {
            return;
        };
        let wanted = &expected[kind];
        assert!(
            wanted.len() >= 100,
            "too few events of kind {kind} to prove anything"
        );
        assert_eq!(rows.len(), wanted.len(), "{kind}");
        for (row, wanted) in rows.into_iter().zip(wanted) {
            compare_row(&row, wanted, started);
        }
    }
    let others = "SELECT (SELECT count(*) FROM dead) + (SELECT count(*) FROM duplicates) AS n";
    assert_eq!(world.read(others), Some(vec![json!({"n": 0})]));
}

fn compare_row(row: &Value, wanted: &Row, started: SystemTime) {
    let since = started
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let earliest = i64::try_from(since.as_micros()).expect("microseconds");
    let time = |name: &str| row[name].as_i64().expect("microseconds");
    assert!(time("stored") >= earliest, "{row}");
    if !wanted.contains_key("ts") && !wanted.contains_key("timestamp") {
        assert!((earliest..=time("stored")).contains(&time("ts")), "{row}");
    }
    for (name, value) in wanted {
        let column = if *name == "timestamp" { "ts" } else { name };
        assert!(
            same(&row[column], value),
            "{column}: sent {value}, stored {}\n{row}",
            row[column]
        );
    }
    let columns = row.as_object().expect("an object").len();
    let unsent = usize::from(!wanted.contains_key("timestamp"));
    assert_eq!(
        columns,
        wanted.len() + 1 + unsent,
        "every column is compared: {row}"
    );
}

/// Numbers bit by bit; 42 and 42.0 are the same number.
fn same(left: &Value, right: &Value) -> bool {
    let is_double = |value: &Value| value.is_f64();
    match (left, right) {
        (Value::Number(_), Value::Number(_)) if is_double(left) || is_double(right) => {
            let bits = |value: &Value| value.as_f64().map(f64::to_bits);
            bits(left) == bits(right)
        }
        _ => left == right,
    }
}

/// The messages as a file for the client programs.
fn write_messages(folder: &Path, messages: &[Sample]) -> String {
    let lines: Vec<String> = messages
        .iter()
        .map(|message| json!({"subject": message.subject, "payload": message.payload}).to_string() + "\n")
        .collect();
    let path = folder.join("messages.ndjson");
    std::fs::write(&path, lines.concat()).expect("writes");
    path.display().to_string()
}

/// From the lines `<message> <sequence>` that the client programs print.
fn acknowledged(output: &Output, messages: usize) -> Vec<u64> {
    assert!(output.ok(), "{output:?}");
    let mut sequences = vec![0; messages];
    for line in output.stdout.lines() {
        let (number, sequence) = line.split_once(' ').expect("two words");
        sequences[number.parse::<usize>().expect("a number")] = sequence.parse().expect("a sequence");
    }
    assert!(!sequences.contains(&0), "not everything was acknowledged");
    sequences
}

/// Publishes some messages with a client program and compares what is stored.
fn check(publisher: impl FnOnce(&World, &str) -> Command) {
    let started = SystemTime::now();
    let mut world = World::start();
    let messages = samples(100, 10);
    let file = write_messages(world.folder(), &messages);
    let output = process::run(publisher(&world, &file));
    let sequences = acknowledged(&output, messages.len());
    compare(&mut world, &expected(&messages, &sequences), started);
}

#[test]
fn what_nats_py_publishes_is_stored_as_sent() {
    let Some(python) = tool("AIAI_TEST_PYTHON", "publishing with nats-py") else {
        return;
    };
    check(|world, file| {
        let mut command = Command::new(python);
        command.arg(client("publish.py")).arg(world.url()).arg(file);
        command
    });
}

#[test]
fn what_nats_js_publishes_is_stored_as_sent() {
    let Some(modules) = tool("AIAI_TEST_NODE_MODULES", "publishing with nats.js") else {
        return;
    };
    check(|world, file| {
        let mut command = Command::new("node");
        command
            .arg(client("publish.mjs"))
            .arg(world.url())
            .args([file, &modules]);
        command
    });
}

#[test]
fn what_nats_go_publishes_is_stored_as_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("publish");
    for name in ["go.mod", "go.sum", "publish.go"] {
        std::fs::copy(client("go").join(name), folder.path().join(name)).expect("copies");
    }
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command
            .current_dir(folder.path())
            .env("GOFLAGS", "-buildvcs=false")
            .args(arguments);
        command
    };
    if go(&["version"]).output().is_err() {
        return skipped("publishing with nats.go (go is not installed)");
    }
    let fetched = process::run(go(&["mod", "download"]));
    if !fetched.ok() {
        return skipped(&format!(
            "publishing with nats.go (its modules cannot be fetched: {})",
            fetched.stderr
        ));
    }
    let built = process::run(go(&["build", "-o", "publish", "."]));
    assert!(built.ok(), "{}", built.stderr);
    check(|world, file| {
        let mut command = Command::new(&program);
        command.arg(world.url()).arg(file);
        command
    });
}

#[test]
fn what_the_nats_cli_publishes_is_stored_as_sent() {
    let Some(nats) = tool("AIAI_TEST_NATS_CLI", "publishing with the nats CLI") else {
        return;
    };
    let started = SystemTime::now();
    let mut world = World::start();
    let nats = |arguments: &[&str]| {
        let mut command = Command::new(&nats);
        // It keeps its contexts in the home folder.
        command
            .env("HOME", world.folder())
            .arg("-s")
            .arg(world.url())
            .args(arguments);
        command
    };
    // One process a message: fewer of them.
    let messages = samples(24, 5);
    let request = |message: &Sample| {
        let output = process::run(nats(&[
            "req",
            "--raw",
            "--no-templates",
            &message.subject,
            &message.payload,
        ]));
        let answer: Value =
            serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!(answer["stream"], "INGEST", "{answer}");
        answer["seq"].as_u64().expect("a sequence")
    };
    let sequences: Vec<u64> = messages.iter().map(request).collect();
    // Without acknowledgement, and with it by another way; a number in each.
    let body = r#"{"name":"nats pub","source":"node/none","value":{{Count}}}"#;
    assert!(process::run(nats(&["pub", "ingest.metric", body, "--count", "150"])).ok());
    assert!(
        process::run(nats(&[
            "pub",
            "--jetstream",
            "ingest.metric",
            body,
            "--count",
            "50"
        ]))
        .ok()
    );
    let numbers = "SELECT value::INT AS n, count(*) AS times FROM metric WHERE name = 'nats pub' GROUP BY ALL ORDER BY n";
    let rows = harness::until("what nats pub sent", Duration::from_secs(30), || {
        let rows = world.query(numbers);
        let times: u64 = rows.iter().filter_map(|row| row["times"].as_u64()).sum();
        (times >= 200).then_some(rows)
    });
    let wanted: Vec<Value> = (1..=150)
        .map(|n| json!({"n": n, "times": if n <= 50 { 2 } else { 1 }}))
        .collect();
    assert_eq!(rows, wanted);
    compare(&mut world, &expected(&messages, &sequences), started);
}
