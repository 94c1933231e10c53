//! The commands that look at what is going on: status, ledger, tap, health.

mod harness;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::fleet::{Fleet, free_port};
use harness::process::{self, Output};
use harness::wire::{Message, Wire};
use harness::{World, aiai, rows, send, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// For a process to notice something.
const TIMEOUT: Duration = Duration::from_secs(60);

fn run(world: &World, arguments: &[&str]) -> Output {
    process::run(world.cli(arguments))
}

/// Rows of a command that prints ndjson where nobody looks.
fn listed(world: &World, arguments: &[&str]) -> Vec<Value> {
    let output = run(world, arguments);
    assert!(output.ok(), "{arguments:?}: {output:?}");
    rows(&output.stdout)
}

#[test]
fn the_ledger_and_the_status_say_what_the_page_says() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    wire.store(&[
        Message::new("ingest.metric", r#"{"name":"x","value":1}"#),
        Message::new("ingest.metric", "broken"),
    ]);
    let settled = world.settled(2);
    let ledger = listed(&world, &["ledger"]).remove(0);
    assert_eq!(ledger["balances"], true);
    assert!(
        ledger["published"].as_u64() >= Some(settled.published),
        "{ledger}"
    );
    assert_eq!(ledger["epoch"], world.overview()["ledger"]["epoch"]);
    let csv = run(&world, &["ledger", "-o", "csv"]).stdout;
    assert!(csv.starts_with("published,stored,dead,pending,missing,"), "{csv}");
    assert_eq!(csv.lines().count(), 2 + 8, "the whole, and each kind: {csv}");

    let healthy = until("a healthy status", TIMEOUT, || {
        let output = run(&world, &["status", "-o", "json"]);
        let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
        assert_eq!(output.code == Some(0), report["healthy"] == true, "{output:?}");
        (report["healthy"] == true && report["ledger"]["pending"] == 0).then_some(report)
    });
    assert_eq!(healthy["dead"][0]["reason"], "invalid_json");
    let names: Vec<_> = healthy["workers"]
        .as_array()
        .expect("workers")
        .iter()
        .map(|beat| beat["worker"].clone())
        .collect();
    for worker in ["sink", "ingest", "rollup", "route", "node", "dashboard"] {
        assert!(names.contains(&json!(worker)), "{worker} in {names:?}");
    }
    let text = run(&world, &["status"]);
    assert!(
        text.ok() && text.stdout.starts_with("all is well, worth a look:\n"),
        "{text:?}"
    );
    for words in [
        "open dead letters: 1 (1 invalid_json)",
        "aiai dead list",
        "ledger    published ",
        "EVENTS",
        "dashboard",
    ] {
        assert!(text.stdout.contains(words), "{words:?} in {}", text.stdout);
    }
    // All workers gone, NATS lives on: they are silent, and nobody answers.
    world.kill();
    let ill = until("an unhealthy status", TIMEOUT, || {
        let output = run(&world, &["status"]);
        output.stdout.contains("no worker ingest lives").then_some(output)
    });
    assert_eq!(ill.code, Some(3), "{ill:?}");
    assert!(ill.stdout.starts_with("something is wrong:\n"), "{}", ill.stdout);
    for words in [
        "the sink does not answer: nobody answers on query.overview",
        "fix: aiai run sink",
        "fix: aiai run ingest",
    ] {
        assert!(ill.stdout.contains(words), "{words:?} in {}", ill.stdout);
    }
    world.kill_nats();
    assert_eq!(run(&world, &["status"]).code, Some(6));
    assert_eq!(run(&world, &["ledger"]).code, Some(6));
}

/// Starts a tap and waits until it listens.
fn tap(world: &World, arguments: &[&str]) -> std::process::Child {
    let mut command = world.cli(&[&["tap"], arguments].concat());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("standard error"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("says something");
    assert!(line.starts_with("aiai: listening on events."), "{line}");
    child
}

fn all(mut child: std::process::Child) -> (Option<i32>, Vec<Value>) {
    let mut text = String::new();
    child
        .stdout
        .take()
        .expect("standard output")
        .read_to_string(&mut text)
        .expect("text");
    (child.wait().expect("ends").code(), rows(&text))
}

#[test]
fn a_tap_shows_what_passes_and_ends_when_told() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let counted = tap(&world, &["metric", "event", "tags.region=eu", "--count", "2"]);
    let endless = tap(&world, &["usage"]);
    let mut closed = tap(&world, &["source=a"]);
    drop(closed.stdout.take());
    let event = |subject: &str, name: &str, region: &str| {
        Message::new(
            subject,
            format!(r#"{{"name":"{name}","value":1,"source":"a","tags":{{"region":"{region}"}}}}"#).replace(
                if subject.ends_with("event") {
                    r#""value":1,"#
                } else {
                    "\0"
                },
                "",
            ),
        )
    };
    wire.store(&[
        event("ingest.metric", "one", "us"),
        event("ingest.metric", "two", "eu"),
        event("ingest.event", "three", "eu"),
        event("ingest.metric", "four", "eu"),
        Message::new("ingest.usage", r#"{"model":"m","source":"a"}"#),
    ]);
    let (code, events) = all(counted);
    assert_eq!(code, Some(0));
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(
        events
            .iter()
            .all(|event| event["tags"]["region"] == "eu" && event["kind"] != "usage"),
        "{events:?}"
    );
    // A reader that has gone away is no error.
    assert_eq!(
        until("the end of a tap", TIMEOUT, || closed
            .try_wait()
            .expect("a status"))
        .code(),
        Some(0)
    );
    world.settled(5);
    send(endless.id(), Signal::INT);
    let (code, events) = all(endless);
    assert_eq!(code, Some(0));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (&events[0]["kind"], &events[0]["model"]),
        (&json!("usage"), &json!("m"))
    );
    world.stop(Signal::TERM);
}

#[test]
fn health_is_that_of_one_process() {
    let mut fleet = Fleet::start();
    let setting = format!("monitor.listen=127.0.0.1:{}", free_port());
    let ask = |setting: &str| {
        let mut command: Command = aiai();
        command.args(["health", "--set", setting]);
        process::run(command)
    };
    let nobody = ask(&setting);
    assert_eq!(nobody.code, Some(6), "{nobody:?}");
    assert_eq!(ask("monitor.listen=127.0.0.1:0").code, Some(2));
    fleet.run("ingest", &[&setting]);
    let healthy = until("health", TIMEOUT, || {
        fleet.all_live();
        let output = ask(&setting);
        output.ok().then_some(output)
    });
    assert!(healthy.stdout.contains(r#""worker":"ingest""#), "{healthy:?}");
    fleet.kill("nats");
    let ill = until("ill health", TIMEOUT, || {
        let output = ask(&setting);
        (output.code == Some(3)).then_some(output)
    });
    assert!(ill.stdout.contains("no connection to NATS"), "{ill:?}");
}

#[test]
fn what_looks_answers_at_once() {
    let mut world = World::start();
    for arguments in [&["ledger"][..], &["metrics"], &["usage"], &["status"]] {
        // The best of five: others use this machine, too.
        let best = (0..5)
            .map(|_| {
                let started = Instant::now();
                let output = run(&world, arguments);
                assert!(matches!(output.code, Some(0 | 3)), "{output:?}");
                started.elapsed()
            })
            .min();
        assert!(
            best < Some(Duration::from_millis(500)),
            "{arguments:?} took {best:?}"
        );
    }
    world.stop(Signal::TERM);
}
