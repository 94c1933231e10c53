//! The commands that count: usage and metrics say what the rows say.

mod harness;

use std::time::Duration;

use harness::process::{self, Output};
use harness::wire::{Message, Wire};
use harness::{World, rows, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// For the last rollup to arrive.
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

/// 600 model calls of the last hours, with and without cost, cache and errors.
fn calls() -> Vec<Message> {
    (0..600_u64)
        .map(|n| {
            let cost = if n % 5 == 0 { String::new() } else { format!(r#","cost_usd":0.00000000{}"#, n % 9 + 1) };
            Message::new(
                "ingest.usage",
                format!(
                    r#"{{"model":"m-{}","provider":"p-{}","source":"a-{}","tokens_in":{},"tokens_cache_read":{n},"tokens_out":{},"tokens_reasoning":3,"latency_ms":{}.5,"status":"{}","task_complexity":"{}","tags":{{"agent":"it's {}"}}{cost}}}"#,
                    n % 4, n % 2, n % 3, n * 3, n + 10, n % 500,
                    ["ok", "ok", "timeout"][(n % 3) as usize],
                    ["trivial", "critical"][(n % 2) as usize],
                    n % 3,
                ),
            )
        })
        .collect()
}

/// The same figures from the rows themselves.
fn from_rows(key: &str) -> String {
    format!(
        "SELECT {key} AS key, count(*)::BIGINT AS calls, count(*) FILTER (status <> 'ok')::BIGINT AS errors, \
         sum(tokens_in - tokens_cache_read)::BIGINT AS tokens_fresh, sum(tokens_cache_read)::BIGINT AS tokens_cache_read, \
         sum(tokens_out)::BIGINT AS tokens_out, sum(tokens_reasoning)::BIGINT AS tokens_reasoning, \
         sum(cost_usd)::VARCHAR AS cost_usd, count(*) FILTER (cost_usd IS NULL)::BIGINT AS unpriced \
         FROM usage GROUP BY ALL ORDER BY key"
    )
}

#[test]
fn usage_says_what_the_rows_say_to_the_last_digit() {
    let mut world = World::start();
    Wire::connect(&world.url()).expect("connects").store(&calls());
    world.settled(600);
    let whole = |key: &str| -> u64 {
        listed(&world, &["usage"])
            .iter()
            .filter_map(|row| row[key].as_u64())
            .sum()
    };
    until("whole rollups", TIMEOUT, || (whole("calls") == 600).then_some(()));
    for (by, name, key) in [
        ("model", "model", "model"),
        ("provider", "provider", "provider"),
        ("agent", "agent", "tags->>'agent'"),
        ("complexity", "task_complexity", "task_complexity"),
        ("status", "status", "status"),
        ("day", "day", "date_trunc('day', ts)::DATE"),
        ("hour", "hour", "date_trunc('hour', ts)"),
    ] {
        let mut said = listed(&world, &["usage", "--by", by]);
        said.sort_by_key(|row| row[name].to_string());
        let raw = world.query(&from_rows(key));
        assert_eq!(said.len(), raw.len(), "{by}");
        for (said, raw) in said.iter().zip(&raw) {
            assert_eq!(said[name], raw["key"], "{by}");
            for column in [
                "calls",
                "errors",
                "tokens_fresh",
                "tokens_cache_read",
                "tokens_out",
                "tokens_reasoning",
                "unpriced",
            ] {
                assert_eq!(said[column], raw[column], "{by}: {column}");
            }
            // As text: a JSON number would be read as a double.
            assert_eq!(
                said["latency_ms_p95"].as_f64().map(|p95| p95 > 100.0),
                Some(true),
                "{said}"
            );
        }
        let csv = run(&world, &["usage", "--by", by, "-o", "csv"]).stdout;
        for raw in raw.iter().filter_map(|raw| raw["cost_usd"].as_str()) {
            assert!(csv.contains(&format!(",{raw},")), "{by}: no {raw} in {csv}");
        }
    }
    let empty = run(
        &world,
        &["usage", "--since", "2020-01-01", "--until", "2020-02-01"],
    );
    assert!(empty.ok() && empty.stdout.is_empty(), "{empty:?}");
    assert!(empty.stderr.contains("no model call in this time"), "{empty:?}");
    let turned = run(
        &world,
        &["usage", "--since", "2020-02-01", "--until", "2020-01-01"],
    );
    assert_eq!(turned.code, Some(2), "{turned:?}");
    world.stop(Signal::TERM);
}

/// A name that means something to SQL, to JSON paths and to JSON pointers.
const ODD: &str = r#"it's; DROP TABLE metric; -- "$.x/~"#;
/// Buckets of a day, so that midnight matters as little as possible.
const DAYS: [&str; 4] = ["--interval", "1d", "--since", "2d"];

/// 40 values of a histogram in two regions, and a running total that began anew.
fn measurements() -> Vec<Message> {
    let name = serde_json::to_string(ODD).expect("JSON");
    let spread = (1..=40_u64).map(|n| {
        let tags = format!(r#"{{{name}:{name},"region":"r{}"}}"#, n % 2);
        Message::new(
            "ingest.metric",
            format!(r#"{{"name":{name},"value":{n},"metric_type":"histogram","source":"s","tags":{tags}}}"#),
        )
    });
    let total = [10, 25, 5, 8].map(|n| {
        let metric = format!(r#"{{"name":"total","value":{n},"metric_type":"cumulative"}}"#);
        Message::new("ingest.metric", metric)
    });
    spread.chain(total).collect()
}

#[test]
fn metrics_come_in_buckets_by_tag_whatever_the_names_are() {
    let mut world = World::start();
    Wire::connect(&world.url())
        .expect("connects")
        .store(&measurements());
    world.settled(44);
    until("names", TIMEOUT, || {
        let names = listed(&world, &["metrics", "--where", "source=s"]);
        let first = names.first()?;
        (first["name"] == ODD && first["count"] == 40 && first["series"] == 2).then_some(())
    });
    let condition = format!("{ODD}={ODD}");
    let days = |arguments: &[&str]| listed(&world, &[&["metrics", ODD], arguments, &DAYS].concat());
    for (agg, wanted) in [
        ("sum", 820.0),
        ("avg", 20.5),
        ("min", 1.0),
        ("max", 40.0),
        ("count", 40.0),
        ("last", 40.0),
        ("rate", 820.0 / 86_400.0),
    ] {
        let found = days(&["--agg", agg, "--where", &condition]);
        let total: f64 = found.iter().filter_map(|row| row[agg].as_f64()).sum();
        assert!((total - wanted).abs() < 1e-9, "{agg}: {found:?}");
    }
    let median = days(&["--agg", "p50"])[0]["p50"].as_f64().expect("a number");
    assert!((median - 20.0).abs() < 0.5, "{median}");
    let by = days(&["--agg", "max", "--by", "region", "--by", ODD]);
    let found: Vec<_> = by
        .iter()
        .map(|row| [&row["region"], &row["max"], &row[ODD]])
        .collect();
    assert_eq!(json!(found), json!([["r0", 40.0, ODD], ["r1", 39.0, ODD]]));
    let minutes = listed(&world, &["metrics", ODD, "--agg", "count", "--interval", "5m"]);
    assert_eq!(
        minutes
            .iter()
            .filter_map(|row| row["count"].as_u64())
            .sum::<u64>(),
        40,
        "{minutes:?}"
    );
    world.stop(Signal::TERM);
}

#[test]
fn the_rate_of_a_running_total_is_its_growth() {
    let mut world = World::start();
    Wire::connect(&world.url())
        .expect("connects")
        .store(&measurements());
    world.settled(44);
    let grown = until("the total", TIMEOUT, || {
        let rows = listed(
            &world,
            &[&["metrics", "total", "--agg", "rate"], &DAYS[..]].concat(),
        );
        rows.first()?["rate"].as_f64()
    });
    // All four values lie in one day: from the smallest to the latest.
    assert!((grown - 3.0 / 86_400.0).abs() < 1e-9, "{grown}");
    let none = run(&world, &["metrics", "nothing"]);
    assert!(
        none.ok() && none.stderr.contains("no values of nothing"),
        "{none:?}"
    );
    world.stop(Signal::TERM);
}
