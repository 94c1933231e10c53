//! The command line as people and scripts see it.
//!
//! Golden outputs are in `tests/golden/`; `AIAI_BLESS=1` writes them anew: read the difference before
//! committing it.

mod harness;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::golden::golden;
use harness::process::{self, Output};
use harness::{World, aiai, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Runs the executable in a folder without configuration.
fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = aiai();
    command.current_dir(folder.path()).args(arguments);
    process::run(command)
}

/// Commands by the name of their golden file.
const HELP: &[(&str, &[&str])] = &[
    ("help", &["--help"]),
    ("help_up", &["up", "--help"]),
    ("help_run", &["run", "--help"]),
    ("help_status", &["status", "--help"]),
    ("help_health", &["health", "--help"]),
    ("help_ledger", &["ledger", "--help"]),
    ("help_tap", &["tap", "--help"]),
    ("help_metrics", &["metrics", "--help"]),
    ("help_usage", &["usage", "--help"]),
    ("help_topology", &["topology", "--help"]),
    ("help_topology_plan", &["topology", "plan", "--help"]),
    ("help_topology_apply", &["topology", "apply", "--help"]),
    ("help_pub", &["pub", "--help"]),
    ("help_query", &["query", "--help"]),
    ("help_dead", &["dead", "--help"]),
    ("help_dead_list", &["dead", "list", "--help"]),
    ("help_dead_show", &["dead", "show", "--help"]),
    ("help_dead_replay", &["dead", "replay", "--help"]),
    ("help_dead_drop", &["dead", "drop", "--help"]),
    ("help_prices", &["prices", "--help"]),
    ("help_prices_list", &["prices", "list", "--help"]),
    ("help_prices_show", &["prices", "show", "--help"]),
    ("help_prices_import", &["prices", "import", "--help"]),
    ("help_prices_check", &["prices", "check", "--help"]),
    ("help_prices_rerate", &["prices", "rerate", "--help"]),
    ("help_route", &["route", "--help"]),
    ("help_route_decide", &["route", "decide", "--help"]),
    ("help_route_check", &["route", "check", "--help"]),
    ("help_archive", &["archive", "--help"]),
    ("help_archive_list", &["archive", "list", "--help"]),
    ("help_archive_verify", &["archive", "verify", "--help"]),
    ("help_config", &["config", "--help"]),
    ("help_config_show", &["config", "show", "--help"]),
];

#[test]
fn help_begins_with_examples() {
    for (name, arguments) in HELP {
        let output = run(arguments);
        assert!(output.ok() && output.stderr.is_empty(), "{output:?}");
        assert!(
            output.stdout.starts_with("Examples:\n"),
            "{name}: {}",
            output.stdout
        );
        golden(name, &output.stdout);
    }
}

#[test]
fn listings_are_as_they_were() {
    for (name, arguments) in [
        ("config_show", &["config", "show"][..]),
        (
            "config_show_origin",
            &[
                "config",
                "show",
                "--origin",
                "--set",
                "node.host=here",
                "--data",
                "/d",
            ],
        ),
        ("run_list", &["run", "--list"]),
    ] {
        let output = run(arguments);
        assert!(output.ok() && output.stderr.is_empty(), "{output:?}");
        golden(name, &output.stdout);
    }
}

#[test]
fn the_workers_readme_has_every_worker_in_its_table() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"));
    let readme = readme.expect("workers/README.md");
    let list = run(&["run", "--list"]).stdout;
    for worker in list.lines().filter_map(|line| line.split(' ').next()) {
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{worker}` | ")));
        let cells = row.map(|row| row.matches('|').count());
        assert_eq!(cells, Some(7), "a row of six cells for worker {worker}");
    }
}

#[test]
fn secrets_in_urls_are_not_shown() {
    let output = run(&[
        "config",
        "show",
        "--origin",
        "--nats-url",
        "nats://me:secret@host:4222",
    ]);
    assert!(
        output.stdout.contains(r#"nats.url = "nats://host:4222""#),
        "{output:?}"
    );
    assert!(!output.stdout.contains("secret"), "{output:?}");
}

#[test]
fn the_plan_creates_everything_once_and_then_nothing() {
    // A server without streams: all of them are made by `aiai up`, so one that was emptied by hand.
    let mut world = World::start();
    let settled = process::run(world.cli(&["topology", "plan"]));
    assert!(settled.ok(), "{settled:?}");
    golden("topology_plan_nothing", &settled.stdout);
    world.stop(Signal::TERM);
    std::fs::remove_dir_all(world.data().join("nats/jetstream")).expect("removes the streams");
    let server = BareServer::start(&world);
    let plan = |arguments: &[&str]| {
        let mut command = aiai();
        command
            .args(["topology"])
            .args(arguments)
            .args(["--nats-url", &server.url]);
        process::run(command)
    };
    let output = plan(&["plan"]);
    assert!(output.ok(), "{output:?}");
    golden("topology_plan", &output.stdout);
    let json: Value = serde_json::from_str(&plan(&["plan", "-o", "json"]).stdout).expect("JSON");
    assert!(
        json["changes"]
            .as_array()
            .is_some_and(|changes| changes.len() > 3),
        "{json}"
    );
    let applied = plan(&["apply"]);
    assert_eq!(
        applied.stdout,
        format!("{}applied\n", output.stdout),
        "{applied:?}"
    );
    assert_eq!(plan(&["plan"]).stdout, settled.stdout);
}

/// A nats-server with JetStream and nothing in it.
struct BareServer {
    child: std::process::Child,
    url: String,
}

impl BareServer {
    fn start(world: &World) -> Self {
        let folder = world.folder().join("bare");
        std::fs::create_dir(&folder).expect("a folder");
        let child = std::process::Command::new(harness::nats_server())
            .args(["-js", "-a", "127.0.0.1", "-p", "-1", "-sd"])
            .arg(&folder)
            .arg("--ports_file_dir")
            .arg(&folder)
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts");
        let ports = folder.join(format!("nats-server_{}.ports", child.id()));
        let url = until("nats-server", Duration::from_secs(20), || {
            let ports: Value = serde_json::from_slice(&std::fs::read(&ports).ok()?).ok()?;
            Some(ports["nats"][0].as_str()?.to_owned())
        });
        Self { child, url }
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One row of every kind of value.
const ROWS: &str = r#"SELECT * FROM (VALUES
    (1, 'plain', 1.5::DOUBLE, true, DATE '2026-11-20', 0.000000001::DECIMAL(18,9), '{"a":[1]}'::JSON, [1, 2]),
    (2, 'comma, "quote"
and line', 'NaN'::DOUBLE, false, NULL, 123456789.123456789::DECIMAL(18,9), 'null'::JSON, []),
    (18446744073709551615, 'Zürich ☕', -0.1::DOUBLE, NULL, DATE '0001-01-01', NULL, NULL, NULL)
) AS t(id, "text", number, flag, day, money, document, list) ORDER BY id"#;

#[test]
fn answers_come_in_four_formats() {
    let mut world = World::start();
    for format in ["table", "json", "ndjson", "csv"] {
        let output = process::run(world.cli(&["query", ROWS, "-o", format]));
        assert!(output.ok() && output.stderr.is_empty(), "{output:?}");
        golden(&format!("query_{format}"), &output.stdout);
        let empty = process::run(world.cli(&["query", "SELECT 1 AS a, 2 AS b WHERE false", "-o", format]));
        assert!(empty.ok() && empty.stderr.is_empty(), "{empty:?}");
        golden(&format!("query_{format}_empty"), &empty.stdout);
    }
    let piped = process::run(world.cli(&["query", "SELECT 1 AS a"]));
    assert_eq!(piped.stdout, "{\"a\":1}\n", "ndjson where nobody looks");
    let cut = process::run(world.cli(&["query", "FROM range(10)", "--rows", "3"]));
    assert_eq!(cut.stdout.lines().count(), 3);
    assert_eq!(
        cut.stderr,
        "aiai: only the first 3 rows are shown; ask for more with --rows\n"
    );
    world.stop(Signal::TERM);
}

#[test]
fn a_large_answer_comes_whole() {
    let mut world = World::start();
    let sql = "SELECT i, repeat('x', 100) AS padding FROM range(200000) t(i)";
    let output = process::run(world.cli(&["query", sql, "--rows", "1000000", "-o", "csv"]));
    assert!(output.ok() && output.stderr.is_empty(), "{}", output.stderr);
    let mut lines = output.stdout.lines();
    assert_eq!(lines.next(), Some("i,padding"));
    for (number, line) in (0..200_000).zip(lines.by_ref()) {
        assert!(line.starts_with(&format!("{number},xxx")), "{number}: {line}");
    }
    assert_eq!(lines.next(), None);
    world.stop(Signal::TERM);
}

#[test]
fn queries_that_cannot_be_answered_say_why() {
    let mut world = World::start();
    let mut text = String::new();
    for (sql, code) in [
        ("SELEC 1", 1),
        ("", 1),
        ("INSERT INTO metric(name) VALUES ('x')", 1),
        ("SELECT 1; SELECT 2", 1),
        ("DROP TABLE metric", 1),
        ("COPY metric TO '/tmp/x.csv'", 1),
        ("SELECT * FROM metrics", 1),
        ("SELECT nothing FROM metric", 1),
        ("SELECT * FROM '/etc/passwd'", 1),
        ("SELECT 'x'::INT", 1),
        ("SELECT 1e400", 1),
        ("SELECT -1e400 AS a", 1),
        ("SET threads = 9", 1),
    ] {
        let output = process::run(world.cli(&["query", sql]));
        assert_eq!(output.code, Some(code), "{sql}: {output:?}");
        assert!(
            output.stderr.starts_with("aiai: ") && output.stdout.is_empty(),
            "{sql}: {output:?}"
        );
        text.push_str(&format!("> {sql}\n{}\n", output.stderr));
    }
    golden("query_errors", &text);
    let slow = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b";
    let output = process::run(world.cli(&["query", slow, "--timeout", "1"]));
    assert_eq!(output.code, Some(7), "{output:?}");
    assert!(
        output.stderr.contains("stopped after 1 s; narrow it"),
        "{output:?}"
    );
    assert_eq!(
        world.query("SELECT count(*) AS n FROM event"),
        [json!({"n": 0})],
        "nothing was changed"
    );
    world.stop(Signal::TERM);
}

#[test]
fn five_thousand_lines_with_mistakes_are_stored_but_for_the_mistakes() {
    let mut world = World::start();
    let (mut input, mut bad) = (Vec::new(), Vec::new());
    for number in 1..=5000 {
        match number {
            17 => input.extend_from_slice(b"{\"name\":\"lines\",\"valeu\":17}"),
            1000 => input.extend_from_slice(b"{\"name\":\"lines\",\"value\":"),
            2000 => input.extend_from_slice(b"{\"name\":\"\xff\",\"value\":2000}"),
            3000 => input.extend_from_slice(b"  "),
            number => input.extend_from_slice(format!(r#"{{"name":"lines","value":{number}}}"#).as_bytes()),
        }
        if matches!(number, 17 | 1000 | 2000) {
            bad.push(number);
        }
        // The last line need not end.
        if number < 5000 {
            input.extend_from_slice(if number % 2 == 0 { b"\n" } else { b"\r\n" });
        }
    }
    let output = process::run_with(world.cli(&["pub", "metric", "-"]), input);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output
            .stdout
            .starts_with("stored 4996 lines in 25 messages, INGEST sequences "),
        "{output:?}"
    );
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{output:?}");
    for (line, number) in lines.iter().zip(&bad) {
        assert!(line.starts_with(&format!("aiai: line {number}: ")), "{line}");
    }
    assert!(
        lines[0].contains("valeu: is not a field of metric; did you mean `value`?"),
        "{output:?}"
    );
    assert!(lines[2].contains("is not UTF-8"), "{output:?}");
    assert!(
        lines[3].starts_with("aiai: 3 lines were not published"),
        "{output:?}"
    );
    world.settled(25);
    let rows = world.query("SELECT value::INT AS n FROM metric WHERE name = 'lines' ORDER BY n");
    let stored: Vec<u64> = rows.iter().filter_map(|row| row["n"].as_u64()).collect();
    let wanted: Vec<u64> = (1..=5000)
        .filter(|n| !matches!(n, 17 | 1000 | 2000 | 3000))
        .collect();
    assert_eq!(stored, wanted);
    world.stop(Signal::TERM);
}

#[test]
fn one_event_is_checked_before_it_is_published() {
    let mut world = World::start();
    let publish = |arguments: &[&str]| process::run(world.cli(&[&["pub"], arguments].concat()));
    let bad = publish(&["usage", r#"{"model":"m","token_in":5}"#]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert_eq!(
        bad.stderr,
        "aiai: token_in: is not a field of usage; did you mean `tokens_in`?\n"
    );
    assert_eq!(bad.stdout, "");
    let good = publish(&["usage", r#"{"model":"m","tokens_in":5}"#, "--tenant", "acme"]);
    assert!(
        good.ok() && good.stdout.starts_with("stored in INGEST at sequence "),
        "{good:?}"
    );
    let sent = publish(&["usage", r#"{"model":"m","token_in":5}"#, "--no-check"]);
    assert!(sent.ok(), "{sent:?}");
    assert_eq!(publish(&["event", "-"]).stdout, "nothing to publish\n");
    world.settled(2);
    assert_eq!(
        world.query("SELECT tenant, tokens_in FROM usage"),
        [json!({"tenant": "acme", "tokens_in": 5})]
    );
    assert_eq!(
        world.query("SELECT reason FROM dead"),
        [json!({"reason": "unknown_field"})]
    );
    world.stop(Signal::TERM);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut world = World::start();
    let long = "SELECT i, repeat('x', 1000) FROM range(100000) t(i)";
    for arguments in [
        &["config", "show"][..],
        &["query", long, "--rows", "100000"],
        &["topology", "plan"],
    ] {
        let mut command = world.cli(arguments);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        // Closed before anything is written: the first write fails.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
    world.stop(Signal::INT);
}
