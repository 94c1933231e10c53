//! The ledger against a publisher's own counts, by kind: while nothing is taken, after everything was, across restarts
//! and epochs, and with messages that were made to vanish.

mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::fleet::{Fleet, free_port};
use harness::process::{self, Output};
use harness::wire::{Message, Wire};
use harness::{http_get, until};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(60);
const FIGURES: [&str; 7] = [
    "published",
    "stored",
    "dead",
    "pending",
    "missing",
    "events_stored",
    "items_dead",
];

/// What a publisher knows of the messages of one kind that it sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    messages: u64,
    dead: u64,
    events: u64,
    items_dead: u64,
}

/// Counts by kind.
type Counts = BTreeMap<&'static str, Count>;

/// The kind that counts, a message, its good events, its bad items.
fn case(number: u64) -> (&'static str, Message, u64, u64) {
    let metric = r#"{"name":"x","value":1}"#;
    let call = r#"{"model":"m","tokens_in":3}"#;
    let (kind, subject, payload, good, bad) = match number % 12 {
        0 => ("metric", "ingest.metric", metric.to_owned(), 1, 0),
        1 => (
            "metric",
            "ingest.acme.metric",
            format!("[{metric},{metric},{metric}]"),
            3,
            0,
        ),
        2 => (
            "metric",
            "ingest.metric",
            format!("[{metric},{{\"vlaue\":1}},{metric},7]"),
            2,
            2,
        ),
        3 => ("metric", "ingest.b.metric", "not JSON".to_owned(), 0, 0),
        4 => ("event", "ingest.event", r#"{"name":"e"}"#.to_owned(), 1, 0),
        5 => (
            "event",
            "ingest.acme.event",
            "{\"name\":\"e\"}\n{\"nmae\":1}\n{\"name\":\"f\"}".to_owned(),
            2,
            1,
        ),
        6 => ("usage", "ingest.usage", call.to_owned(), 1, 0),
        7 => ("usage", "ingest.c.usage", format!("{call}\n{call}\n"), 2, 0),
        8 => ("usage", "ingest.usage", r#"{"model":5}"#.to_owned(), 0, 0),
        9 => (
            "event",
            "ingest.event",
            r#"[{"nmae":1},{"nmae":2}]"#.to_owned(),
            0,
            2,
        ),
        10 => ("unknown", "ingest.metrics", metric.to_owned(), 0, 0),
        _ => ("unknown", "ingest.a.b.metric", metric.to_owned(), 0, 0),
    };
    (kind, Message::new(subject, payload), good, bad)
}

/// Publishes a mix, acknowledged, and keeps count.
fn publish(fleet: &Fleet, numbers: std::ops::Range<u64>, counts: &mut Counts) -> Vec<u64> {
    let mut wire = Wire::connect(&fleet.url).expect("connects");
    let mut messages = Vec::new();
    for (kind, message, good, bad) in numbers.map(case) {
        messages.push(message);
        let count = counts.entry(kind).or_default();
        count.messages += 1;
        count.dead += u64::from(good == 0);
        count.events += good;
        count.items_dead += bad;
    }
    wire.store(&messages)
}

fn run(fleet: &Fleet, arguments: &[&str]) -> Output {
    process::run(fleet.cli(arguments))
}

/// `aiai ledger -o json`, with its exit code; none while the sink does not answer.
fn ledger(fleet: &Fleet) -> Option<(i32, Value)> {
    let output = run(fleet, &["ledger", "-o", "json"]);
    let report = serde_json::from_str(&output.stdout).ok()?;
    Some((output.code.expect("a code"), report))
}

/// The ledger, once it is as wanted.
fn await_ledger(what: &str, fleet: &mut Fleet, wanted: impl Fn(&Value) -> bool) -> (i32, Value) {
    let mut last = Value::Null;
    until(&format!("{what}: {}", fleet.url), TIMEOUT, || {
        fleet.all_live();
        let (code, report) = ledger(fleet)?;
        let done = wanted(&report);
        last = report;
        done.then(|| (code, last.clone()))
    })
}

/// The figures of a line in the order of [`FIGURES`].
fn figures(line: &Value) -> Vec<u64> {
    FIGURES
        .iter()
        .map(|figure| line[figure].as_u64().expect("a count"))
        .collect()
}

fn by_kind(report: &Value) -> BTreeMap<String, Vec<u64>> {
    let lines = report["kinds"].as_array().expect("kinds").iter();
    lines
        .map(|line| (line["kind"].as_str().expect("a kind").to_owned(), figures(line)))
        .collect()
}

/// Compares each kind. Workers publish figures of their own as metrics, 30 seconds apart: they are told apart by what
/// the database has of them, and while nothing is taken there are few.
fn check(fleet: &Fleet, report: &Value, counts: &Counts, pending: bool) {
    let mut found = by_kind(report);
    let own = "SELECT count(DISTINCT origin) AS messages, count(*) AS events FROM metric m JOIN epochs e ON e.id = m.epoch \
               WHERE name LIKE 'aiai.worker.%' AND e.epoch = ";
    let own = fleet.try_query(&format!("{own}'{}'", report["epoch"].as_str().expect("an epoch")));
    let own = own.expect("the sink answers").remove(0);
    let own = |figure: &str| own[figure].as_u64().expect("a count");
    for (kind, count) in counts {
        let stored = count.messages - count.dead;
        let mut expected = match pending {
            true => vec![count.messages, 0, 0, count.messages, 0, 0, 0],
            false => vec![
                count.messages,
                stored,
                count.dead,
                0,
                0,
                count.events,
                count.items_dead,
            ],
        };
        let line = found.remove(*kind).expect("a line");
        if *kind == "metric" && pending {
            let own = line[0] - count.messages;
            assert!(own <= 3, "{report}");
            (expected[0], expected[3]) = (expected[0] + own, expected[3] + own);
        } else if *kind == "metric" {
            expected[0] += own("messages");
            expected[1] += own("messages");
            expected[5] += own("events");
        }
        assert_eq!(line, expected, "{kind}: {report}");
    }
    assert!(found.values().flatten().all(|figure| *figure == 0), "{report}");
    assert_eq!(report["balances"], true);
}

/// `aiai run <worker>` under its name, with a monitor.
fn start(fleet: &mut Fleet, worker: &str, port: u16) {
    fleet.run(worker, &[&format!("monitor.listen=127.0.0.1:{port}")]);
}

/// A request without a client: the reply's subject of the answer, and its body.
fn ask(fleet: &Fleet, subject: &str, body: &str) -> (String, String) {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut stream = std::net::TcpStream::connect(fleet.url.trim_start_matches("nats://")).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let request = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB foreign.1 1\r\nPUB {subject} foreign.1 {}\r\n{body}\r\n",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("an answer");
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() != Some(&"MSG") {
            continue;
        }
        let size: usize = words[words.len() - 1].parse().expect("a size");
        let mut payload = vec![0; size];
        reader.read_exact(&mut payload).expect("a body");
        let reply = if words.len() == 5 { words[3] } else { "" };
        return (reply.to_owned(), String::from_utf8_lossy(&payload).into_owned());
    }
}

/// Takes a message from ingest's durable and acknowledges it, as no worker of ours would. Others come again by themselves.
fn acknowledge(fleet: &Fleet, sequence: u64) {
    loop {
        let next = "$JS.API.CONSUMER.MSG.NEXT.INGEST.ingest";
        let (reply, _) = ask(fleet, next, r#"{"batch":1,"expires":5000000000}"#);
        assert!(reply.starts_with("$JS.ACK."), "{reply}");
        let taken: Option<u64> = reply.rsplit('.').nth(3).and_then(|number| number.parse().ok());
        if taken == Some(sequence) {
            // +ACK with a reply: answered once it is taken.
            ask(fleet, &reply, "+ACK");
            return;
        }
    }
}

fn series(port: u16) -> BTreeMap<String, f64> {
    let (status, text) = http_get(&format!("127.0.0.1:{port}"), "/metrics");
    assert_eq!(status, 200);
    let lines = text.lines().filter(|line| line.starts_with("aiai_ledger_"));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
        .collect()
}

#[test]
fn the_ledger_agrees_with_the_publisher_by_kind_through_everything() {
    let mut fleet = Fleet::start();
    let port = free_port();
    start(&mut fleet, "sink", port);
    until("the sink", TIMEOUT, || ledger(&fleet));
    let mut counts = Counts::new();

    // Few pending ones are looked up, many are counted.
    for numbers in [0..30, 30..700] {
        let published = numbers.end;
        publish(&fleet, numbers, &mut counts);
        let all = |report: &Value| {
            let by_kind = by_kind(report);
            let unknown = by_kind.get("unattributed");
            report["published"].as_u64() >= Some(published)
                && unknown.is_none_or(|line| line.iter().all(|figure| *figure == 0))
        };
        let (code, report) = await_ledger("everything pending", &mut fleet, all);
        check(&fleet, &report, &counts, true);
        assert_eq!(code, 0, "what is pending is not lost");
    }

    start(&mut fleet, "ingest", free_port());
    let settled = |report: &Value| report["pending"] == 0;
    let (_, report) = await_ledger("everything taken", &mut fleet, settled);
    check(&fleet, &report, &counts, false);
    fleet.kill("sink");
    start(&mut fleet, "sink", port);
    publish(&fleet, 700..760, &mut counts);
    let settled = |report: &Value| report["published"].as_u64() >= Some(760) && report["pending"] == 0;
    let (code, report) = await_ledger("a new sink", &mut fleet, settled);
    check(&fleet, &report, &counts, false);
    assert_eq!(code, 0);

    let gauges = until("the gauges", TIMEOUT, || {
        let gauges = series(port);
        let epoch = report["epoch"].as_str()?;
        let of = |figure: &str, kind: &str| {
            gauges.get(&format!(
                "aiai_ledger_{figure}{{epoch=\"{epoch}\",kind=\"{kind}\"}}"
            ))
        };
        let usage = counts["usage"];
        let agrees = of("published", "usage") == Some(&(usage.messages as f64))
            && of("dead", "usage") == Some(&(usage.dead as f64))
            && of("events_stored", "usage") == Some(&(usage.events as f64))
            && of("missing", "unknown") == Some(&0.0);
        agrees.then_some(gauges)
    });
    let epoch = report["epoch"].as_str().expect("an epoch");
    assert_eq!(gauges[&format!("aiai_ledger_balances{{epoch=\"{epoch}\"}}")], 1.0);
    holes(fleet, port, &report);
}

/// Makes messages vanish, then the stream.
fn holes(mut fleet: Fleet, port: u16, before: &Value) {
    let old_epoch = &before["epoch"];
    fleet.kill("ingest");
    let sequences = publish(&fleet, 0..5, &mut Counts::new());
    acknowledge(&fleet, sequences[0]);
    // In the midst, and the last one, behind which nothing is ever acknowledged.
    for sequence in [sequences[2], sequences[4]] {
        let body = format!("{{\"seq\":{sequence}}}");
        let (_, answer) = ask(&fleet, "$JS.API.STREAM.MSG.DELETE.INGEST", &body);
        assert!(answer.contains(r#""success":true"#), "{answer}");
    }
    start(&mut fleet, "ingest", free_port());
    let (code, report) = await_ledger("the holes", &mut fleet, |report| {
        report["missing"] == 3 && report["pending"] == 0
    });
    assert_eq!((code, &report["balances"]), (3, &json!(false)));
    let lost = |at: usize| json!([sequences[at], sequences[at]]);
    assert_eq!(report["missing_ranges"], json!([lost(0), lost(2), lost(4)]));
    let named = &report["missing_messages"];
    assert_eq!(named[0]["subject"], "ingest.metric");
    assert!(
        named[0]["stored"]
            .as_str()
            .is_some_and(|stored| stored.starts_with("20")),
        "{named}"
    );
    assert!(
        named[0]["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("still has it")),
        "{named}"
    );
    assert_eq!(named[1]["subject"], Value::Null);
    assert!(
        named[1]["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("no longer has it")),
        "{named}"
    );
    let kinds = by_kind(&report);
    assert_eq!((kinds["metric"][4], kinds["unattributed"][4]), (1, 2), "{report}");
    for format in ["table", "ndjson", "csv"] {
        let output = run(&fleet, &["ledger", "-o", format]);
        assert_eq!(output.code, Some(3), "{output:?}");
        assert!(output.stderr.contains("3 messages are missing"), "{output:?}");
        let ranges = format!("{},{},{}", sequences[0], sequences[2], sequences[4]);
        assert!(output.stdout.contains(&ranges), "{output:?}");
    }
    until("the gauges to say so", TIMEOUT, || {
        let balances = format!("aiai_ledger_balances{{epoch=\"{}\"}}", old_epoch.as_str()?);
        (series(port).get(&balances) == Some(&0.0)).then_some(())
    });
    epochs(fleet, port, old_epoch);
}

/// A stream that is deleted takes along what was pending in it.
fn epochs(mut fleet: Fleet, port: u16, old_epoch: &Value) {
    fleet.kill("ingest");
    let lost = publish(&fleet, 0..5, &mut Counts::new());
    let (_, report) = await_ledger("what will be lost", &mut fleet, |report| {
        report["published"].as_u64() >= lost.last().copied()
    });
    let (published, pending) = (report["published"].as_u64(), report["pending"].as_u64());
    fleet.kill("sink");
    let (_, answer) = ask(&fleet, "$JS.API.STREAM.DELETE.INGEST", "");
    assert!(answer.contains(r#""success":true"#), "{answer}");
    start(&mut fleet, "sink", port);
    start(&mut fleet, "ingest", free_port());
    until("INGEST made anew", TIMEOUT, || ledger(&fleet));
    let mut counts = Counts::new();
    publish(&fleet, 0..24, &mut counts);
    let (code, report) = await_ledger("the new epoch", &mut fleet, |report| {
        report["epoch"] != *old_epoch
            && report["published"].as_u64() >= Some(24)
            && report["pending"] == 0
            && report["earlier"][0]["pending"] == 0
    });
    check(&fleet, &report, &counts, false);
    assert_eq!(code, 0, "what was lost with a stream cannot come back");
    let earlier = &report["earlier"][0];
    assert_eq!(&earlier["epoch"], old_epoch);
    assert_eq!(earlier["published"].as_u64(), published);
    // Of the three that were missing, INGEST had one: the sink may have had it read again before the stream went.
    let missing = earlier["missing"].as_u64().zip(pending);
    let missing = missing.map(|(missing, pending)| missing - pending);
    assert!(matches!(missing, Some(2 | 3)), "{earlier}");
    let output = run(&fleet, &["ledger", "-o", "table"]);
    let words = format!("{} messages are lost", earlier["missing"]);
    assert!(output.stderr.contains(&words), "{output:?}");
    assert!(output.stdout.contains("lost with the stream"), "{output:?}");
    fleet.stop();
}
