//! The overview agrees with plain SQL, and with itself after a restart.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use schemas::Time;
use serde_json::json;
use sink::{Monitor, StreamFigures};
use support::*;

const NOW: Time = Time(NOON + 3_500_000);

fn figures() -> StreamFigures {
    StreamFigures {
        epoch: INGEST_EPOCH.to_owned(),
        last_sequence: 14,
        ingest_ack_floor: 11,
        events_epoch: EVENTS_EPOCH.to_owned(),
        events_last_sequence: 5,
        dead_epoch: DEAD_EPOCH.to_owned(),
        dead_last_sequence: 1,
    }
}

fn node_line(origin: u64, second: u32, name: &str, value: f64, tags: &str) -> String {
    format!(
        "{{\"o\":{origin},\"i\":0,\"tenant\":\"default\",\"timestamp\":\"2026-11-20T11:59:{second:02}.000000Z\",\
         \"source\":\"node/box\",\"name\":\"node.{name}\",\"value\":{value},\"metric_type\":\"gauge\",\"tags\":{tags},\"v\":1}}\n"
    )
}

fn usage_line(index: u32, day: u32, rest: &str) -> String {
    format!(
        "{{\"o\":7,\"i\":{index},\"tenant\":\"default\",\"timestamp\":\"2026-11-{day}T00:30:00.000000Z\",\"source\":\"a\",\
         \"model\":\"m\",{rest},\"v\":1}}\n"
    )
}

fn batch() -> Vec<Message> {
    let mut earlier = metrics(1, 1..=3);
    earlier.stored = NOON - 60_000_000;
    let nodes = [
        node_line(5, 10, "cpu_percent", 20.0, "{}"),
        node_line(5, 15, "cpu_percent", 40.0, "{}"),
        node_line(5, 55, "cpu_percent", 50.0, "{}"),
        node_line(5, 10, "memory_total_bytes", 1000.0, "{}"),
        node_line(5, 10, "memory_used_bytes", 250.0, "{}"),
        node_line(5, 10, "disk_total_bytes", 9e9, r#"{"mount":"/data"}"#),
        node_line(5, 10, "disk_total_bytes", 5e9, r#"{"mount":"/"}"#),
        node_line(5, 10, "disk_used_bytes", 4e9, r#"{"mount":"/"}"#),
    ];
    let usage = [
        usage_line(
            0,
            20,
            r#""tokens_in":10,"tokens_out":5,"cost_usd":0.1,"status":"ok""#,
        ),
        usage_line(1, 20, r#""tokens_in":7,"cost_usd":0.200000001,"status":"error""#),
        usage_line(2, 20, r#""tokens_cache_read":3,"status":"ok""#),
        usage_line(3, 19, r#""tokens_in":1000,"cost_usd":5,"status":"ok""#),
    ];
    vec![
        earlier,
        metrics(2, [2, 4]),
        events(3, "metric", &[5].into_iter().collect(), &nodes),
        events(4, "usage", &[7].into_iter().collect(), &usage),
        metrics(5, [9]),
        dead(1, 10, None),
    ]
}

fn assert_totals(overview: &schemas::overview::Overview) {
    let totals: Vec<_> = overview
        .kinds_total
        .iter()
        .map(|total| (total.kind.as_str(), total.events))
        .collect();
    let none = ["step", "message", "session", "work_item"].map(|kind| (kind, 0));
    let known = [("metric", 18), ("event", 0), ("usage", 4)];
    assert_eq!(totals, [&known[..], &none].concat());
}

#[test]
fn figures_are_those_of_sql_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let monitor = Monitor::open(&store, NOW).unwrap();
    let empty = monitor.overview(&StreamFigures::default(), NOW).unwrap();
    assert_eq!(
        (empty.newest_event_ms, empty.usage_today, empty.nodes.len()),
        (None, None, 0)
    );
    let batch = batch();
    monitor.record(&commit(&mut store, &batch[..2].iter().collect::<Vec<_>>()));
    monitor.record(&commit(&mut store, &batch.iter().collect::<Vec<_>>()));
    let overview = monitor.overview(&figures(), NOW).unwrap();

    assert_totals(&overview);
    let metric = &overview.rate.kinds[0];
    assert_eq!(
        (metric.events.len(), metric.events[83], metric.events[89]),
        (90, 6, 12)
    );
    assert_eq!(overview.rate.per_second_now, 16.0 / 5.0);
    assert_eq!(overview.newest_event_ms, Some(NOON / 1000));
    let by_source: Vec<_> = overview
        .sources
        .iter()
        .map(|source| json!({"source": source.source, "n": source.events_15m}))
        .collect();
    let sql = "SELECT source, count(*) AS n FROM (SELECT source FROM metric UNION ALL SELECT source FROM usage) GROUP BY source ORDER BY n DESC, source";
    assert_eq!(by_source, rows(&store, sql));

    let node = &overview.nodes[0];
    assert_eq!(
        (node.host.as_str(), node.cpu_percent, node.at_ms),
        ("box", Some(50.0), NOON / 1000 - 5000)
    );
    assert_eq!(
        (node.disk_total_bytes, node.disk_used_bytes),
        (Some(5e9), Some(4e9)),
        "the root file system"
    );
    assert_eq!(
        node.cpu_history[84..],
        [Some(30.0), None, None, None, Some(50.0), None]
    );
    assert_eq!(node.memory_history[84], Some(25.0));

    let usage = overview.usage_today.as_ref().unwrap();
    let sql = "SELECT count(*) AS calls, sum(cost_usd)::VARCHAR AS cost, sum(tokens_in)::BIGINT AS tokens_in FROM usage WHERE ts >= TIMESTAMP '2026-11-20'";
    let expected = json!({"calls": usage.calls, "cost": usage.cost_usd, "tokens_in": usage.tokens_in});
    assert_eq!(rows(&store, sql), [expected]);
    assert_eq!(
        (usage.calls, usage.errors, usage.unpriced, usage.cost_usd.as_str()),
        (3, 1, 1, "0.300000001")
    );

    let ledger = &overview.ledger;
    assert_eq!((ledger.published, ledger.stored, ledger.dead), (14, 7, 1));
    assert_eq!(
        (ledger.missing, ledger.pending, ledger.duplicates),
        (3, 3, 1),
        "6, 8 and 11 are missing"
    );
    assert!(overview.database.bytes > 0);

    drop((monitor, store));
    let store = open(folder.path());
    let again = Monitor::open(&store, NOW)
        .unwrap()
        .overview(&figures(), NOW)
        .unwrap();
    assert_eq!(sink_free(again), sink_free(overview));
}

/// Without the size of the file, which a restart changes.
fn sink_free(overview: schemas::overview::Overview) -> schemas::overview::Overview {
    schemas::overview::Overview {
        database: Default::default(),
        ..overview
    }
}
