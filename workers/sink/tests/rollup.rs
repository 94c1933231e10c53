//! Rollups in the database: the same numbers as from the raw rows, whatever was delivered when and how often.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::VecDeque;

use proptest::prelude::*;
use schemas::rollup::Partial;
use schemas::{Origins, Time};
use serde_json::{Value, json};
use sink::{AlertConfig, RollupConfig, Settings, Source, Store};
use support::*;

const ROLLUP_EPOCH: &str = "01JD00000000000000000000D1";
const HOUR: i64 = 3_600_000_000;

/// What worker rollup makes of an EVENTS message.
fn partial(sequence: u64, events: &Message) -> Message {
    Message {
        source: Source::Rollup,
        epoch: ROLLUP_EPOCH.to_owned(),
        sequence,
        subject: "rollup.partial".to_owned(),
        headers: Vec::new(),
        payload: Partial::of_events(&events.subject, &events.payload)
            .unwrap()
            .to_ndjson(),
        stored: NOON,
    }
    .header("Aiai-Events-Epoch", &events.epoch)
    .header("Aiai-Events-Sequence", &events.sequence.to_string())
}

/// The dead letter of an EVENTS message that worker rollup gave up on.
fn given_up(sequence: u64, events: &Message) -> Message {
    Message {
        source: Source::Dead,
        epoch: DEAD_EPOCH.to_owned(),
        sequence,
        subject: "dead.rollup.metric".to_owned(),
        ..events.clone()
    }
    .header("Aiai-Stage", "rollup")
    .header("Aiai-Subject", &events.subject)
    .header("Aiai-Events-Epoch", &events.epoch)
    .header("Aiai-Events-Sequence", &events.sequence.to_string())
}

/// One model call: origin, second of the day, model, tokens, nano-dollars, milliseconds.
type Call = (u64, i64, u8, u64, u64, f64);

fn usage(sequence: u64, calls: &[Call]) -> Message {
    let line = |&(origin, second, model, tokens, nanos, latency): &Call| {
        let status = if tokens % 3 == 0 { "error" } else { "ok" };
        let time = Time(NOON + second * 1_000_000);
        format!(
            "{{\"o\":{origin},\"i\":0,\"tenant\":\"default\",\"timestamp\":\"{time}\",\"source\":\"a\",\"model\":\"m{model}\",\
             \"tokens_in\":{tokens},\"cost_usd\":0.{nanos:09},\"latency_ms\":{latency:?},\"status\":\"{status}\",\
             \"v\":1}}\n"
        )
    };
    let origins: Origins = calls.iter().map(|call| call.0).collect();
    let lines: Vec<String> = calls.iter().map(line).collect();
    events(sequence, "usage", &origins, &lines)
}

/// Raw rows and rollups must agree for every resolution, by model and together.
fn check(store: &Store) {
    for (view, width) in [
        ("rollup_1m", "minute"),
        ("rollup_1h", "hour"),
        ("rollup_1d", "day"),
    ] {
        for (raw_group, group) in [("model", "tags->>'model'"), ("NULL", "NULL")] {
            let raw = format!(
                "SELECT date_trunc('{width}', ts)::TIMESTAMP AS b, {raw_group} AS g, count(*) AS n, \
                 sum(tokens_in)::DECIMAL(38,9) AS tokens, sum(cost_usd)::DECIMAL(38,9) AS cost, \
                 count(*) FILTER (status <> 'ok') AS errors, min(latency_ms) AS low, max(latency_ms) AS high, \
                 max(tokens_in)::DOUBLE AS most FROM usage GROUP BY ALL"
            );
            let of = |what: &str, name: &str| format!("{what} FILTER (name = 'usage.{name}')");
            let rolled = format!(
                "SELECT bucket AS b, {group} AS g, {}::BIGINT AS n, {} AS tokens, {} AS cost, \
                 coalesce({}, 0)::BIGINT AS errors, {} AS low, {} AS high, {} AS most FROM {view} GROUP BY ALL",
                of("sum(count)", "requests"),
                of("sum(total)", "tokens_in"),
                of("sum(total)", "cost_usd"),
                of("sum(count)", "errors"),
                of("min(min)", "latency_ms"),
                of("max(max)", "latency_ms"),
                of("max(max)", "tokens_in"),
            );
            let differences = rows(
                store,
                &format!(
                    "WITH raw AS ({raw}), rolled AS ({rolled}) \
                     (FROM raw EXCEPT FROM rolled) UNION ALL (FROM rolled EXCEPT FROM raw)"
                ),
            );
            assert_eq!(differences, Vec::<Value>::new(), "{view} by {group}");
        }
        for q in ["0", "0.5", "0.95", "1"] {
            let wrong = rows(
                store,
                &format!(
                    "WITH raw AS (SELECT date_trunc('{width}', ts)::TIMESTAMP AS b, count(*) AS n, sum(latency_ms) AS total, \
                     quantile_disc(latency_ms, {q}) AS exact FROM usage GROUP BY ALL), \
                     rolled AS (SELECT bucket AS b, sum(sum) AS total, quantile_of(hist_merge(list(hist)), {q}) AS found \
                     FROM {view} WHERE name = 'usage.latency_ms' GROUP BY ALL) \
                     SELECT * FROM raw FULL JOIN rolled USING (b) WHERE NOT coalesce(abs(found - exact) <= exact * 0.0100001 \
                     AND abs(raw.total - rolled.total) <= raw.total * 1e-9, false)"
                ),
            );
            assert_eq!(wrong, Vec::<Value>::new(), "{view}, quantile {q}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn rollups_and_raw_rows_agree_whatever_is_delivered_when_and_how_often(
        calls in prop::collection::vec((-7200..7200_i64, 0..3_u8, 0..1_000_000_u64, 0..999_999_999_u64, 0.1..1e5), 1..60),
        size in 1..9_usize,
        repeated in prop::collection::vec((0..60_usize, 1..9_usize), 0..4),
        lost in prop::collection::vec(any::<bool>(), 70),
        keys in prop::collection::vec(any::<u16>(), 300),
        commits in prop::collection::vec((1..12_usize, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let calls: Vec<Call> = (1..).zip(calls).map(|(o, (s, m, t, n, l))| (o, s, m, t, n, l)).collect();
        let mut batches: Vec<Message> = (1..).zip(calls.chunks(size)).map(|(e, calls)| usage(e, calls)).collect();
        for (from, count) in repeated {
            let from = from % calls.len();
            let again = &calls[from..(from + count).min(calls.len())];
            batches.push(usage(batches.len() as u64 + 1, again));
        }
        // Every EVENTS message twice, its partial twice or its dead letter instead.
        let mut messages = Vec::new();
        for (e, batch) in (1..).zip(&batches) {
            messages.extend([batch.clone(), batch.clone()]);
            if lost[e as usize % lost.len()] {
                messages.push(given_up(e, batch));
            } else {
                messages.extend([partial(2 * e, batch), partial(2 * e + 1, batch)]);
            }
        }
        let mut order: Vec<usize> = (0..messages.len()).collect();
        order.sort_by_key(|at| keys[at % keys.len()]);

        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let mut queue: VecDeque<usize> = order.into();
        let mut steps = commits.iter().cycle();
        while !queue.is_empty() {
            let (count, reopen, fold) = *steps.next().unwrap();
            let batch: Vec<usize> = queue.drain(..count.min(queue.len())).collect();
            let borrowed: Vec<&Message> = batch.iter().map(|at| &messages[*at]).collect();
            let outcome = commit(&mut store, &borrowed);
            prop_assert!(outcome.rejected.is_empty());
            queue.extend(outcome.deferred.iter().map(|at| batch[*at]));
            if fold {
                // Late enough that every bucket is closed, and nothing too old.
                store.maintain(&RollupConfig { compact_interval_seconds: 0, ..RollupConfig::default() }, &AlertConfig::default(), Time(NOON + 30 * HOUR)).unwrap();
            }
            if reopen {
                drop(store);
                store = open(folder.path());
            }
        }
        check(&store);
    }
}

#[test]
fn a_partial_waits_for_its_events_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let batch = metrics(1, [1, 2]);
    let early = partial(1, &batch);
    let outcome = commit(&mut store, &[&early]);
    assert_eq!(outcome.deferred, [0]);
    assert_eq!(store.checkpoint(Source::Rollup, ROLLUP_EPOCH), 0);
    assert_eq!(rows(&store, "FROM rollup"), Vec::<Value>::new());

    // In one batch the events come first, wherever they stand in it.
    let outcome = commit(&mut store, &[&early, &batch, &partial(2, &batch)]);
    assert_eq!(outcome.deferred, Vec::<usize>::new());
    assert_eq!(store.checkpoint(Source::Rollup, ROLLUP_EPOCH), 2);
    assert_eq!(
        rows(
            &store,
            "SELECT name, source, tags->>'region' AS region, bucket, count, sum, total, min, max, last, last_ts, hist \
             FROM rollup_1m ORDER BY source"
        ),
        [
            json!({"name":"queue.depth","source":"agent-1","region":"eu","bucket":"2026-11-20 11:59:00","count":2,
                "sum":3.0,"total":null,"min":1.5,"max":1.5,"last":1.5,"last_ts":"2026-11-20 11:59:59.5","hist":null}),
            json!({"name":"queue.depth","source":"agent-2","region":"eu","bucket":"2026-11-20 11:59:00","count":2,
                "sum":5.0,"total":null,"min":2.5,"max":2.5,"last":2.5,"last_ts":"2026-11-20 11:59:59.5","hist":null}),
        ]
    );
    assert_eq!(
        rows(
            &store,
            "SELECT seq FROM checkpoint WHERE stream = 'EVENTS/rollup'"
        ),
        [json!({"seq":1})]
    );
}

#[test]
fn what_worker_rollup_gave_up_on_is_folded_here_and_is_not_dead() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let batch = metrics(1, [1, 2, 3]);
    let letter = given_up(1, &batch);
    assert_eq!(commit(&mut store, &[&letter]).deferred, [0]);
    commit(&mut store, &[&batch]);
    commit(&mut store, &[&letter]);
    commit(&mut store, &[&partial(1, &batch)]);
    assert_eq!(
        rows(&store, "SELECT sum(count)::BIGINT AS n FROM rollup_1d"),
        [json!({"n":6})]
    );
    assert_eq!(
        rows(&store, "SELECT ranges FROM origin_sets WHERE outcome = 'dead'"),
        Vec::<serde_json::Value>::new(),
        "its events are stored"
    );
    assert_eq!(
        rows(&store, "SELECT stage FROM dead"),
        [json!({"stage":"rollup"})]
    );
}

#[test]
fn events_that_cannot_be_stored_are_in_no_aggregate_and_a_bad_partial_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let good = metrics(1, [1]);
    let bad = metrics(2, [2]).header("Aiai-Count", "7");
    let mut garbage = partial(3, &good);
    garbage.payload = b"{}".to_vec();
    let nameless = partial(4, &good).header("Aiai-Events-Sequence", "0");
    let outcome = commit(
        &mut store,
        &[
            &good,
            &bad,
            &partial(1, &bad),
            &garbage,
            &nameless,
            &partial(2, &good),
        ],
    );
    let mut refused: Vec<usize> = outcome.rejected.iter().map(|rejected| rejected.index).collect();
    refused.sort_unstable();
    assert_eq!((refused, outcome.deferred), (vec![1, 3, 4], vec![2]));
    store.settle(Source::Events, EVENTS_EPOCH, 2);
    commit(&mut store, &[&partial(1, &bad)]);
    assert_eq!(
        rows(&store, "SELECT sum(count)::BIGINT AS n FROM rollup_1h"),
        [json!({"n":2})]
    );
}

#[test]
fn what_was_taken_out_of_events_before_it_was_stored_is_in_no_aggregate() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let (kept, taken, later) = (metrics(1, [1]), metrics(2, [2]), metrics(3, [3]));
    let waiting = partial(2, &taken);
    let outcome = commit(&mut store, &[&kept, &later, &partial(1, &kept), &waiting]);
    assert_eq!(outcome.deferred, [3]);
    assert_eq!(store.hole(Source::Events, EVENTS_EPOCH), Some(2));
    store.give_up(Source::Events, EVENTS_EPOCH, 2..=2);
    assert_eq!(store.checkpoint(Source::Events, EVENTS_EPOCH), 3);
    let outcome = commit(&mut store, &[&waiting, &partial(3, &later)]);
    assert_eq!(outcome.deferred, Vec::<usize>::new());
    let sql =
        "SELECT (SELECT count(*) FROM metric)::BIGINT AS rows, sum(count)::BIGINT AS counted FROM rollup_1h";
    assert_eq!(rows(&store, sql), [json!({"rows": 4, "counted": 4})]);
}

#[test]
fn past_the_limit_series_are_added_up_as_other_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        series_max: 2,
        ..Settings::default()
    };
    let path = folder.path().join("aiai.duckdb");
    let call = |origin: u64, model: u8| (origin, 0, model, 1, 1, 1.0);
    for e in 1..=3_u64 {
        let mut store = Store::open(&path, &settings).unwrap();
        // Model by model: 0 and 1 come first and keep their series.
        let models = (0..e as u8 + 1).map(|model| call(e * 10 + u64::from(model), model));
        let batch = usage(e, &models.collect::<Vec<_>>());
        commit(&mut store, &[&batch, &partial(e, &batch)]);
    }
    let store = Store::open(&path, &settings).unwrap();
    for view in ["rollup_1m", "rollup_1h", "rollup_1d"] {
        assert_eq!(
            rows(
                &store,
                &format!(
                    "SELECT source, coalesce(tags->>'model', tags->>'__other__') AS series, count FROM {view} \
                     WHERE name = 'usage.tokens_in' ORDER BY ALL"
                )
            ),
            [
                json!({"source":"__other__","series":"true","count":3}),
                json!({"source":"a","series":"m0","count":3}),
                json!({"source":"a","series":"m1","count":3}),
            ],
            "{view}"
        );
    }
}

#[test]
fn folding_leaves_one_row_a_series_and_what_is_too_old_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for e in 1..=20 {
        let batch = usage(e, &[(e, 0, 0, 3 * e + 1, 1, e as f64)]);
        commit(&mut store, &[&batch, &partial(e, &batch)]);
    }
    let count = |store: &Store, filter: &str| {
        let found = rows(
            store,
            &format!(
                "SELECT resolution, count(*) AS n FROM rollup WHERE name = 'usage.tokens_in' AND {filter} GROUP BY ALL ORDER BY n, resolution"
            ),
        );
        found
            .iter()
            .map(|row| {
                (
                    row["resolution"].as_str().unwrap().to_owned(),
                    row["n"].as_u64().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    let config = RollupConfig::default();
    store
        .maintain(&config, &AlertConfig::default(), Time(NOON + 2 * HOUR))
        .unwrap();
    let of = |pairs: &[(&str, u64)]| {
        pairs
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        count(&store, "true"),
        of(&[("1h", 1), ("1m", 1), ("1d", 20)]),
        "the day is not over"
    );
    check(&store);
    store
        .maintain(&config, &AlertConfig::default(), Time(NOON + 24 * HOUR * 8))
        .unwrap();
    assert_eq!(
        count(&store, "true"),
        of(&[("1d", 1), ("1h", 1)]),
        "minutes are kept seven days"
    );
    store
        .maintain(&config, &AlertConfig::default(), Time(NOON + 24 * HOUR * 100))
        .unwrap();
    assert_eq!(count(&store, "true"), of(&[("1d", 1)]), "hours ninety");
}

#[test]
fn quantiles_of_zero_negative_and_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let found = rows(
        &store,
        "SELECT quantile_of(MAP {-40116: 1, 0: 2, 40116: 1}::MAP(INTEGER, UBIGINT), 0) AS low, \
         quantile_of(MAP {-40116: 1, 0: 2, 40116: 1}::MAP(INTEGER, UBIGINT), 0.5) AS middle, \
         quantile_of(MAP {40116: 1, -40116: 1}::MAP(INTEGER, UBIGINT), 1) AS high, \
         quantile_of(NULL::MAP(INTEGER, UBIGINT), 0.5) AS none",
    );
    let number = |name: &str| found[0][name].as_f64().unwrap();
    assert!((number("low") + 10.0).abs() <= 0.1001, "{found:?}");
    assert_eq!(number("middle"), 0.0);
    assert!((number("high") - 10.0).abs() <= 0.1001, "{found:?}");
    assert_eq!(found[0]["none"], Value::Null);
}
