//! One process or one for each worker: the same input leaves the same rows, rollups, dead letters and files.

mod harness;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::fleet::Fleet;
use harness::wire::{Message, Wire};
use harness::{World, aiai, process, until};
use rustix::process::Signal;
use serde_json::Value;

/// Messages in each third of the input.
const THIRD: u64 = 700;
/// For the last rollup or file to arrive.
const TIMEOUT: Duration = Duration::from_secs(90);

/// What is asked of both, by name. Everything but what differs from run to run: sequences and arrival times.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "metric",
        "SELECT COLUMNS(lambda c: NOT regexp_full_match(c, 'origin|epoch|stored|events_.*')) FROM metric \
         WHERE tenant = 'split' ORDER BY ALL",
    ),
    (
        "event",
        "SELECT COLUMNS(lambda c: NOT regexp_full_match(c, 'origin|epoch|stored|events_.*')) FROM event \
         WHERE tenant = 'split' ORDER BY ALL",
    ),
    (
        "usage",
        "SELECT COLUMNS(lambda c: NOT regexp_full_match(c, 'origin|epoch|stored|events_.*')) FROM usage \
         WHERE tenant = 'split' ORDER BY ALL",
    ),
    (
        "rollup_1m",
        "SELECT * REPLACE (hist::VARCHAR AS hist) FROM rollup_1m WHERE tenant = 'split' ORDER BY ALL",
    ),
    (
        "rollup_1h",
        "SELECT * REPLACE (hist::VARCHAR AS hist) FROM rollup_1h WHERE tenant = 'split' ORDER BY ALL",
    ),
    (
        "rollup_1d",
        "SELECT * REPLACE (hist::VARCHAR AS hist) FROM rollup_1d WHERE tenant = 'split' ORDER BY ALL",
    ),
    (
        "dead",
        "SELECT stage, kind, reason, place, problem, fix, idx, subject, payload::VARCHAR AS payload FROM dead \
         WHERE subject LIKE 'ingest.split.%' ORDER BY ALL",
    ),
];

/// All kinds; single items, arrays and lines; whole messages and single items that are refused; the late among them.
/// Every value is a multiple of a power of two, so that sums are exact in any order; no two times are equal.
fn message(number: u64, now_ms: u64) -> Message {
    let late_ms = if number.is_multiple_of(9) {
        2 * 86_400_000
    } else {
        0
    };
    let item = |kind: u64, part: u64| {
        let at = now_ms - 3_600_000 - late_ms + number * 1000 + part;
        let common = format!(
            r#""timestamp":{at},"source":"agent-{}","tags":{{"n":"{}"}}"#,
            number % 3,
            part % 2
        );
        match kind {
            0 => format!(
                r#"{{"name":"depth","value":{}.25,"metric_type":"{}",{common}}}"#,
                number + part,
                ["gauge", "counter", "histogram"][(number / 3 % 3) as usize]
            ),
            1 => format!(
                r#"{{"name":"done.{}","data":{{"number":{number}}},{common}}}"#,
                part % 3
            ),
            _ => format!(
                r#"{{"model":"m-{}","provider":"p","tokens_in":{number},"tokens_out":5,"tokens_cache_read":{},"cost_usd":{},"latency_ms":{}.5,"status":"{}",{common}}}"#,
                number % 4,
                number / 2,
                number as f64 / 512.0,
                number % 700 + part,
                ["ok", "error"][(number % 2) as usize]
            ),
        }
    };
    let kind = number % 3;
    let subject = format!("ingest.split.{}", ["metric", "event", "usage"][kind as usize]);
    let payload = match number % 10 {
        0 => format!("[{},{},{}]", item(kind, 0), item(kind, 1), item(kind, 2)),
        1 => format!("{}\n{{\"vlaue\":{number}}}\n{}", item(kind, 0), item(kind, 1)),
        2 => format!("not JSON {number}"),
        3 => format!("{}\n{}\n", item(kind, 0), item(kind, 1)),
        _ => item(kind, 0),
    };
    Message::new(&subject, payload)
}

fn third(which: u64, now_ms: u64) -> Vec<Message> {
    (which * THIRD..(which + 1) * THIRD)
        .map(|number| message(number, now_ms))
        .collect()
}

/// Words of `aiai run --list`, or keys of `aiai config show`.
fn first_words(arguments: &[&str]) -> Vec<String> {
    let mut command = aiai();
    command.args(arguments);
    let output = process::run(command);
    assert!(output.ok(), "{output:?}");
    let words = output
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    words.map(str::to_owned).collect()
}

/// What makes an archive appear while a test waits; nothing where there is no archive.
fn soon_archived() -> Vec<&'static str> {
    let keys = first_words(&["config", "show"]);
    let there = keys.iter().any(|key| key == "archive.job_seconds");
    there.then_some("archive.job_seconds=1").into_iter().collect()
}

/// All answers, once the rollups have all that the rows have: a partial that came too early comes again.
fn answers(ask: impl Fn(&str) -> Vec<Value>) -> Vec<(&'static str, Vec<Value>)> {
    let whole = "SELECT (SELECT sum(count) FROM rollup_1d WHERE tenant = 'split' AND (name NOT LIKE 'usage.%' OR name = 'usage.requests')) \
        = (SELECT count(*) FROM metric WHERE tenant = 'split') + (SELECT count(*) FROM event WHERE tenant = 'split') \
        + (SELECT count(*) FROM usage WHERE tenant = 'split') AS whole";
    until("whole rollups", TIMEOUT, || {
        (ask(whole).first()?["whole"] == true).then_some(())
    });
    QUESTIONS.iter().map(|(name, sql)| (*name, ask(sql))).collect()
}

/// The rows of the files are the rows of the tables; `data` is the folder the sink was given.
fn archived(data: &Path, ask: impl Fn(&str) -> Vec<Value>) {
    for kind in ["metric", "event", "usage"] {
        let columns = "COLUMNS(lambda c: NOT regexp_full_match(c, 'date|kind|.*epoch|events_.*'))::VARCHAR";
        let sorted = |from: &str| {
            let mut rows = ask(&format!("SELECT {columns} FROM {from} WHERE tenant = 'split'"));
            rows.sort_by_key(Value::to_string);
            rows
        };
        let files = format!("'{}/archive/{kind}/**/*.parquet'", data.display());
        let table = sorted(kind);
        assert!(!table.is_empty());
        until(&format!("the archive of {kind}"), TIMEOUT, || {
            // No file yet is an error to DuckDB.
            let found = ask(&format!("SELECT count(*) AS n FROM glob({files})"));
            if found.first()?["n"] == 0 {
                return None;
            }
            let rows = sorted(&format!("read_parquet({files})"));
            assert!(
                rows.len() <= table.len(),
                "{kind}: more rows in files than in the table"
            );
            (rows == table).then_some(())
        });
    }
}

#[test]
fn one_process_or_many_leave_the_same() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    // Whole minutes: a bucket's border lies where it lies in both runs.
    let now_ms = now.as_secs() / 60 * 60_000;
    let workers = first_words(&["run", "--list"]);
    let settings = soon_archived();

    let mut world = World::empty();
    world.set(&settings);
    world.restart();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    for which in 0..3 {
        wire.store(&third(which, now_ms));
    }
    world.settled(3 * THIRD);
    let together = answers(|sql| world.query(sql));

    let mut fleet = Fleet::start();
    let settings: Vec<_> = settings
        .into_iter()
        .chain([
            "dashboard.listen=127.0.0.1:0",
            "gateway.listen=127.0.0.1:0",
            "otlp.listen_http=127.0.0.1:0",
            "otlp.listen_grpc=127.0.0.1:0",
        ])
        .collect();
    for worker in &workers {
        fleet.run(worker, &settings);
    }
    until("an answer of the sink", TIMEOUT, || fleet.try_query("SELECT 1"));
    let mut wire = Wire::connect(&fleet.url).expect("connects");
    for (which, killed) in [(0, "ingest"), (1, "sink"), (2, "rollup")] {
        wire.store(&third(which, now_ms));
        fleet.kill(killed);
        fleet.run(killed, &settings);
    }
    fleet.settled(3 * THIRD);
    let ask = |sql: &str| fleet.try_query(sql).unwrap_or_default();
    let split = answers(ask);

    for ((name, one), (_, other)) in together.iter().zip(&split) {
        assert!(!one.is_empty(), "nothing in {name}");
        assert_eq!(one.len(), other.len(), "rows of {name}");
        for (one, other) in one.iter().zip(other) {
            assert_eq!(one, other, "a row of {name}");
        }
    }
    if workers.iter().any(|worker| worker == "archive") {
        archived(&world.data(), |sql| world.query(sql));
        archived(&fleet.data(), ask);
    }
    fleet.stop();
    world.stop(Signal::TERM);
}
