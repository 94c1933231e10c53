//! Prices and decisions through the whole executable.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;

use harness::process::{self, Output};
use harness::{World, aiai};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn calls_are_priced_and_decisions_are_the_same_on_every_way() {
    let mut world = World::start();
    let events = concat!(
        r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"tokens_out":500,"source":"computed"}"#,
        "\n",
        r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"cost_usd":0.5,"source":"given"}"#,
        "\n",
        r#"{"model":"nobody-knows","tokens_in":1000,"source":"unknown"}"#,
    );
    let published = process::run_with(world.cli(&["pub", "usage", "-"]), events.as_bytes().to_vec());
    assert!(published.ok(), "{published:?}");
    world.settled(1);
    let rows = world.query("SELECT source, cost_usd::DOUBLE AS cost, cost_source FROM usage ORDER BY source");
    let expected = [
        json!({"source": "computed", "cost": 0.0105, "cost_source": "price_table@2026-11"}),
        json!({"source": "given", "cost": 0.5, "cost_source": "provider"}),
        json!({"source": "unknown", "cost": null, "cost_source": "unpriced"}),
    ];
    assert_eq!(rows, expected);

    // 2000 × $0.05 + 500 × $0.40 a million
    let request = r#"{"task_complexity":"simple","tokens_in":2000,"tokens_out":500,"needs":["tools"]}"#;
    let decided = process::run(world.cli(&["route", "decide", request]));
    assert!(decided.ok() && decided.stderr.is_empty(), "{decided:?}");
    let decision: Value = serde_json::from_str(&decided.stdout).expect("JSON");
    assert_eq!(
        (&decision["model"], &decision["estimated_cost_usd"]),
        (&json!("gpt-5-nano"), &json!(0.0003))
    );
    let (status, body) = post(&world.dashboard, request);
    assert_eq!(
        (status, serde_json::from_str::<Value>(&body).expect("JSON")),
        (200, decision)
    );

    let (status, body) = post(&world.dashboard, r#"{"tier":"top"}"#);
    assert_eq!(status, 400);
    assert!(
        body.contains("there is no tier `top`; use one of small,"),
        "{body}"
    );
    let nothing = process::run(world.cli(&["route", "decide", r#"{"tier":"small","tokens_in":9000000}"#]));
    assert_eq!(nothing.code, Some(4), "{nothing:?}");
    assert!(
        nothing.stderr.contains("ask for less, or add a model"),
        "{nothing:?}"
    );
    let wrong = process::run(world.cli(&["route", "decide", "{}}"]));
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    world.stop(Signal::TERM);
}

/// Status and body of `POST /v1/route`.
fn post(address: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connects");
    let length = body.len();
    let request = format!(
        "POST /v1/route HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// `aiai route check` in a folder with these files.
fn check(files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("writes");
    }
    let mut command = aiai();
    command
        .current_dir(folder.path())
        .args(["route", "check"])
        .args(arguments);
    process::run(command)
}

#[test]
fn tables_are_checked_whole_and_each_problem_has_its_place() {
    let sound = check(&[], &[]);
    assert!(sound.ok() && sound.stderr.is_empty(), "{sound:?}");
    assert_eq!(sound.stdout.lines().count(), 3);

    let prices = "version = \"1\"\n[[model]]\nname = \"m\"\ninput = -1\noutput = \"free\"\n";
    let models = "tiers = [\"a\"]\n[complexity]\ntrivial = \"a\"\nsimple = \"b\"\nmedium = \"a\"\ncomplex = \"a\"\n\
        critical = \"c\"\n[[model]]\nname = \"m\"\nprovider = \"p\"\ntier = \"a\"\ncontext_tokens = 9\noutput_tokens = 1\n";
    let files = [("p.toml", prices), ("m.toml", models)];
    let output = check(
        &files,
        &["--set", "prices.file=p.toml", "--set", "route.models_file=m.toml"],
    );
    assert_eq!(output.code, Some(1), "{output:?}");
    let places: Vec<_> = output
        .stderr
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    assert_eq!(
        places,
        ["p.toml:4", "p.toml:5", "m.toml:4", "m.toml:7"],
        "{output:?}"
    );

    let absent = check(&[], &["--set", "prices.file=none.toml"]);
    assert_eq!(absent.code, Some(1), "{absent:?}");
    assert!(
        absent
            .stderr
            .contains("cannot read none.toml; correct the configuration key prices.file"),
        "{absent:?}"
    );
}
