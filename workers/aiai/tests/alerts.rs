//! Rules in the whole executable: rows, live messages, forwards and webhooks, and exact counts after a kill.

mod harness;

use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use harness::http::Server;
use harness::wire::{Message, Wire};
use harness::{World, aiai, process, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(60);
/// Nothing more is expected to come.
const SILENCE: Duration = Duration::from_secs(2);

/// `aiai up` with these rules.
fn world(rules: &str) -> World {
    let mut world = World::empty();
    fs::write(world.folder().join("rules.toml"), rules).expect("writes");
    world.settings = vec![
        "route.rules_file=rules.toml".into(),
        "route.webhook_retry_milliseconds=50".into(),
    ];
    world.restart();
    world
}

fn rule(name: &str, more: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\nwhen = 'name == \"{name}\"'\nkinds = [\"event\"]\nseverity = \"warning\"\n\
         window_seconds = 3600\nmessage = \"{{name}} of {{source}}\"\n{more}\n"
    )
}

/// When everything happens: in one window, wherever the clock is.
static NOW: LazyLock<jiff::Timestamp> = LazyLock::new(jiff::Timestamp::now);

/// Events with this name.
fn events(name: &str, count: usize) -> Vec<Message> {
    let body = |n| {
        format!(
            r#"{{"name":"{name}","source":"s","data":{n},"timestamp":"{}"}}"#,
            *NOW
        )
    };
    (0..count)
        .map(|n| Message::new("ingest.event", body(n)))
        .collect()
}

/// How many events the alerts of a rule count; waits until it is so many.
fn counted(world: &World, rule: &str, wanted: u64) {
    let sql = format!("SELECT coalesce(sum(count), 0)::BIGINT AS n FROM alert WHERE rule = '{rule}'");
    until(&format!("{wanted} of {rule}"), TIMEOUT, || {
        let n = world.query(&sql)[0]["n"].as_u64().expect("a number");
        assert!(n <= wanted, "{n} of {wanted}");
        (n == wanted).then_some(())
    });
}

#[test]
fn a_hundred_matches_are_one_alert_with_a_count_and_each_is_forwarded() {
    let rules = rule("noisy", "key = [\"source\"]\nforward = \"ops.noisy\"") + &rule("never", "");
    let mut world = world(&rules);
    let mut listener = Wire::connect(&world.url()).expect("connects");
    listener.subscribe("alerts.>").expect("subscribes");
    let mut forwards = Wire::connect(&world.url()).expect("connects");
    forwards.subscribe("ops.noisy").expect("subscribes");
    let mut wire = Wire::connect(&world.url()).expect("connects");
    // In several messages of EVENTS, within one window.
    for _ in 0..4 {
        wire.store(&events("noisy", 25));
        wire.store(&events("quiet", 5));
    }
    world.settled(120);
    counted(&world, "noisy", 100);
    let status = process::run(world.cli(&["status", "-o", "json"])).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["alerts"][0]["rule"], "noisy", "{status}");
    assert_eq!(status["alerts"][0]["count"], 100, "{status}");
    let rows =
        world.query("SELECT severity, key, tenant, count, message, sample->>'name' AS name FROM alert");
    assert!(rows.len() <= 2, "{rows:?}");
    assert_eq!(rows[0]["message"], json!("noisy of s"));
    assert_eq!(
        (&rows[0]["severity"], &rows[0]["key"], &rows[0]["name"]),
        (&json!("warning"), &json!("s"), &json!("noisy"))
    );
    for _ in &rows {
        let (subject, body) = listener.next(TIMEOUT).expect("an alert");
        let alert: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            (subject.as_str(), &alert["rule"]),
            ("alerts.warning.noisy", &json!("noisy"))
        );
    }
    assert_eq!(listener.next(SILENCE), None);
    let mut numbers: Vec<u64> = std::iter::from_fn(|| forwards.next(SILENCE))
        .map(|(_, body)| {
            serde_json::from_slice::<Value>(&body).expect("an event")["data"]
                .as_u64()
                .expect("a number")
        })
        .collect();
    numbers.sort_unstable();
    let expected: Vec<u64> = (0..25).flat_map(|n| [n; 4]).collect();
    assert_eq!(numbers, expected);
    world.stop(Signal::TERM);
}

#[test]
fn webhooks_are_called_again_given_up_on_and_hold_nobody_up() {
    let good = Server::start(|_| Some(204));
    let shaky = Server::start(|number| Some(if number < 2 { 500 } else { 200 }));
    let refusing = Server::start(|_| Some(410));
    let hanging = Server::start(|_| None);
    let hook = |url: &str, more: &str| format!("key = [\"data\"]\nwebhook = {{ url = \"{url}\"{more} }}");
    let rules = [
        rule("hanging", &hook(&hanging.url, ", timeout_seconds = 2")),
        rule(
            "good",
            &hook(&good.url, ", headers = { Authorization = \"hidden\" }"),
        ),
        rule("shaky", &hook(&shaky.url, "")),
        rule("refusing", &hook(&refusing.url, "")),
        rule("absent", &hook("http://127.0.0.1:1/hidden", "")),
    ];
    let mut world = world(&rules.concat());
    let mut wire = Wire::connect(&world.url()).expect("connects");
    wire.store(&events("hanging", 50));
    until("the hanging one to be called", TIMEOUT, || {
        (!hanging.posted().is_empty()).then_some(())
    });
    for name in ["good", "shaky", "refusing", "absent"] {
        wire.store(&events(name, 1));
    }
    let posted = until("a call", Duration::from_secs(5), || good.posted().pop());
    let alert: Value = serde_json::from_str(&posted.body).expect("JSON");
    assert_eq!(alert["message"], json!("good of s"));
    assert!(posted.head.starts_with("post /hook http/1.1\r\n"), "{posted:?}");
    for header in [
        "content-type: application/json",
        "authorization: hidden",
        "user-agent: aiai",
    ] {
        assert!(posted.head.contains(header), "{posted:?}");
    }
    let id = alert["id"].as_str().expect("an id").to_lowercase();
    assert!(
        posted.head.contains(&format!("aiai-alert-id: {id}")),
        "{posted:?}"
    );
    until("the third call", TIMEOUT, || {
        (shaky.posted().len() == 3).then_some(())
    });

    let dead = "SELECT kind, reason, problem FROM dead WHERE stage = 'webhook' AND kind IN ('refusing', 'absent') ORDER BY kind";
    let dead = until("dead letters", TIMEOUT, || {
        Some(world.query(dead)).filter(|rows| rows.len() == 2)
    });
    assert_eq!(
        (&dead[0]["reason"], &dead[1]["reason"]),
        (&json!("retries_exhausted"), &json!("webhook_refused")),
        "{dead:?}"
    );
    let problem = |at: usize| dead[at]["problem"].as_str().expect("text").to_owned();
    assert!(
        problem(0).contains("Connection refused") && problem(1).contains("answered 410"),
        "{dead:?}"
    );
    assert_eq!(refusing.posted().len(), 1);
    assert_eq!((good.posted().len(), shaky.posted().len()), (1, 3));
    // Of the hanging one, too, each alert is called or given up on, and what was stored is stored.
    let given_up = "SELECT count(*) AS n FROM dead WHERE stage = 'webhook' AND kind = 'hanging'";
    until("all given up", TIMEOUT * 2, || {
        (world.query(given_up)[0]["n"] == json!(50)).then_some(())
    });
    let ledger = world.settled(54);
    assert_eq!((ledger.stored, ledger.dead), (ledger.published, 0));
    assert!(!world.log().contains("hidden"), "{}", world.log());
    world.stop(Signal::TERM);
}

#[test]
fn rules_that_are_wrong_are_refused_at_start_and_by_the_check_alike() {
    let world = World::empty();
    fs::write(
        world.folder().join("bad.toml"),
        rule("r", "forward = \"ingest.x\"").replace("name ==", "nmae =="),
    )
    .expect("writes");
    for arguments in [["up", "--data", "data"].as_slice(), &["route", "check"]] {
        let mut command = aiai();
        command.current_dir(world.folder()).args(arguments);
        command.args([
            "--set",
            "route.rules_file=bad.toml",
            "--set",
            "nats.listen=127.0.0.1:0",
        ]);
        let output = process::run(command);
        assert_eq!(output.code, Some(1), "{output:?}");
        for place in [
            "bad.toml:3:9: `nmae` is no field of event",
            "bad.toml:8:11: `ingest` is a subject of",
        ] {
            assert!(output.stderr.contains(place), "{place}\n{output:?}");
        }
    }
}

#[test]
fn counts_are_exact_after_kills_and_with_three_copies() {
    let rules = "[[rule]]\nname = \"every\"\nwhen = 'source == \"kill\"'\nseverity = \"info\"\nkey = [\"tags.part\"]\nmessage = \"m\"\n";
    let mut world = world(rules);
    let copies: Vec<_> = (0..2).map(|_| Copy::start(&world)).collect();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    let mut sent = 0;
    for round in 0..4 {
        for _ in 0..5 {
            let body = |n: u64| {
                format!(
                    r#"{{"name":"k","value":{n},"source":"kill","tags":{{"part":"{}"}}}}"#,
                    n % 7
                )
            };
            let messages: Vec<_> = (sent..sent + 400)
                .map(|n| Message::new("ingest.metric", body(n)))
                .collect();
            sent += wire.store(&messages).len() as u64;
        }
        if round < 3 {
            world.kill();
            world.restart();
        }
    }
    world.settled(sent);
    counted(&world, "every", sent);
    let differing = "SELECT * FROM (SELECT tags->>'part' AS part, count(*)::BIGINT AS n FROM metric WHERE source = 'kill' GROUP BY ALL) r \
        FULL JOIN (SELECT key, sum(count)::BIGINT AS n FROM alert WHERE rule = 'every' GROUP BY ALL) a ON r.part = a.key WHERE r.n IS DISTINCT FROM a.n";
    assert_eq!(world.query(differing), Vec::<Value>::new());
    drop(copies);
    world.stop(Signal::TERM);
}

/// One more worker route, until it is dropped.
struct Copy(std::process::Child);

impl Copy {
    fn start(world: &World) -> Self {
        let mut command = world.cli(&[
            "run",
            "route",
            "--set",
            "route.rules_file=rules.toml",
            "--set",
            "monitor.listen=127.0.0.1:0",
        ]);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Self(command.spawn().expect("aiai starts"))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_critical_alert_is_not_hidden_by_later_ones() {
    let grave = rule("grave", "").replace("\"warning\"", "\"critical\"");
    let chatter = rule("chatter", "key = [\"session\"]").replace("\"warning\"", "\"info\"");
    let world = world(&(grave + &chatter));
    let mut wire = Wire::connect(&world.url()).expect("connects");
    wire.store(&events("grave", 1));
    counted(&world, "grave", 1);
    let later = |n| {
        let body = format!(r#"{{"name":"chatter","source":"s","session":"{n}"}}"#);
        Message::new("ingest.event", body)
    };
    wire.store(&(0..60).map(later).collect::<Vec<_>>());
    counted(&world, "chatter", 60);
    until("the page to name the critical alert", TIMEOUT, || {
        let (status, page) = harness::http_get(&world.dashboard, "/");
        let judged = status == 200 && page.contains("Something is wrong");
        (judged && page.contains("grave") && page.contains("chatter")).then_some(())
    });
    let status = process::run(world.cli(&["status"]));
    assert_eq!(status.code, Some(3), "{}", status.stdout);
    assert!(
        status.stdout.contains("critical alert of rule grave"),
        "{}",
        status.stdout
    );
}
