//! Rollups: golden lines, and the same numbers whatever the batches and their order.

mod common;

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::rollup::{ERROR_MAX, MINUTE_MICROSECONDS, Partial, fold};
use schemas::{Metric, Usage, read_lines};

/// EVENTS payloads of each kind, with what the fold must keep apart and together.
const METRICS: &str = concat!(
    r#"{"o":1,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","name":"q","value":1.5,"tags":{"b":"2", "a":"1"},"v":1}"#,
    "\n",
    r#"{"o":1,"i":1,"tenant":"default","timestamp":"2026-11-20T12:00:59.999999Z","source":"a","name":"q","value":-2,"tags":{"a":"1","b":"2"},"v":1}"#,
    "\n",
    r#"{"o":2,"i":0,"tenant":"default","timestamp":"2026-11-20T12:01:00.000000Z","source":"a","name":"q","value":3,"tags":{"a":"1","b":"2"},"v":1}"#,
    "\n",
    r#"{"o":3,"i":0,"tenant":"acme","timestamp":"1969-12-31T23:59:59.000000Z","source":"b\n","name":"h","value":0,"metric_type":"histogram","v":1}"#,
    "\n",
    r#"{"o":3,"i":1,"tenant":"acme","timestamp":"1969-12-31T23:59:59.000000Z","source":"b\n","name":"h","value":-10,"metric_type":"histogram","v":1}"#,
    "\n",
);
const EVENTS: &str = concat!(
    r#"{"o":4,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","name":"build","data":{"n":1},"tags":{"region":"eu"},"v":1}"#,
    "\n",
    r#"{"o":5,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:02.000000Z","source":"a","name":"build","tags":{"region":"eu"},"v":1}"#,
    "\n",
);
const CALLS: &str = concat!(
    r#"{"o":6,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","model":"m","provider":"p","tokens_in":1000000000000,"tokens_out":7,"tokens_cache_read":5,"tokens_reasoning":3,"cost_usd":0.1,"latency_ms":100,"ttft_ms":10,"task_complexity":"simple","status":"ok","v":1}"#,
    "\n",
    r#"{"o":7,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","model":"m","provider":"p","tokens_in":1,"cost_usd":0.2,"latency_ms":200,"task_complexity":"simple","status":"ok","v":1}"#,
    "\n",
    r#"{"o":8,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:02.000000Z","source":"a","model":"m","status":"timeout","tags":{"agent":"x","region":"eu"},"v":1}"#,
    "\n",
);

const HISTOGRAMS: &str = concat!(
    r#"{"o":9,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","name":"h","value":2.625,"metric_type":"histogram","distribution":{"count":4,"sum":10.5,"min":0.5,"max":7,"bounds":[1,2,5],"counts":[1,1,1,1]},"v":1}"#,
    "\n",
    r#"{"o":9,"i":1,"tenant":"default","timestamp":"2026-11-20T12:00:02.000000Z","source":"a","name":"h","value":3,"metric_type":"histogram","v":1}"#,
    "\n",
    r#"{"o":9,"i":2,"tenant":"default","timestamp":"2026-11-20T12:00:03.000000Z","source":"a","name":"h","value":0,"metric_type":"histogram","distribution":{"count":0,"bounds":[],"counts":[0]},"v":1}"#,
    "\n",
    r#"{"o":9,"i":3,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","name":"total","value":2,"metric_type":"cumulative","distribution":{"count":4,"sum":8,"scale":1,"zero_count":1,"positive":{"offset":-2,"counts":[1,0,1]},"negative":{"offset":0,"counts":[1]}},"v":1}"#,
    "\n",
);
const STEPS: &str = concat!(
    r#"{"o":10,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","name":"plan","operation":"chat","start":"2026-11-20T12:00:01.000000Z","end":"2026-11-20T12:00:01.250500Z","status":"ok","tags":{"region":"eu"},"v":1}"#,
    "\n",
    r#"{"o":10,"i":1,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","name":"plan","operation":"chat","status":"error","v":1}"#,
    "\n",
    r#"{"o":10,"i":2,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","name":"plan","v":1}"#,
    "\n",
);
const MESSAGES: &str = concat!(
    r#"{"o":11,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","body":"b","channel":"c","v":1}"#,
    "\n",
    r#"{"o":11,"i":1,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","body":"d","v":1}"#,
    "\n",
);
const SESSIONS: &str = concat!(
    r#"{"o":12,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","state":"started","session":"s","v":1}"#,
    "\n",
);
const WORK_ITEMS: &str = concat!(
    r#"{"o":13,"i":0,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","state":"done","project":"p","work_item":"w","v":1}"#,
    "\n",
    r#"{"o":13,"i":1,"tenant":"default","timestamp":"2026-11-20T12:00:01.000000Z","source":"a","state":"done","work_item":"x","v":1}"#,
    "\n",
);

#[test]
fn partials_are_written_like_this() {
    for (subject, payload, file) in [
        ("events.metric", METRICS, "metric"),
        ("events.event", EVENTS, "event"),
        ("events.usage", CALLS, "usage"),
        ("events.metric", HISTOGRAMS, "histogram"),
        ("events.step", STEPS, "step"),
        ("events.message", MESSAGES, "message"),
        ("events.session", SESSIONS, "session"),
        ("events.work_item", WORK_ITEMS, "work_item"),
    ] {
        let partial = Partial::of_events(subject, payload.as_bytes()).unwrap();
        let lines = partial.to_ndjson();
        common::check_file(&common::path(&format!("golden/rollup/{file}.ndjson")), &lines).unwrap();
        assert_eq!(Partial::read(&lines).unwrap(), partial);
    }
}

#[test]
fn what_is_no_partial_is_refused() {
    assert!(Partial::of_events("events.other", b"").is_err());
    assert!(Partial::of_events("events.metric", b"{}\n").is_err());
    assert!(Partial::read(b"{\"name\":\"x\"}\n").is_err());
    assert!(
        Partial::of_events("events.metric", b"")
            .unwrap()
            .to_ndjson()
            .is_empty()
    );
}

/// Name, region, source, minute, value.
type Sample = (u8, u8, u8, i64, f64);

fn metric_line(at: usize, (name, region, source, second, value): &Sample) -> String {
    let region = match region {
        0 => String::new(),
        1 => r#""tags":{"z":"1","region":"eu"},"#.into(),
        _ => r#""tags":{ "region":"eu" ,"z":"1"},"#.into(),
    };
    let time = schemas::Time(1_795_176_000_000_000 + second * 1_000_000);
    format!(
        "{{\"o\":{at},\"i\":0,\"tenant\":\"t\",\"timestamp\":\"{time}\",\"source\":\"s{source}\",{region}\
         \"name\":\"n{name}\",\"value\":{value:?},\"metric_type\":\"{}\",\"v\":1}}\n",
        if *name == 0 { "histogram" } else { "gauge" }
    )
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample = (0..2_u8, 0..3_u8, 0..2_u8, -200..200_i64, -1e3..1e6);
    prop::collection::vec(sample, 1..120)
}

proptest! {
    #[test]
    fn batches_order_and_lateness_change_no_number(
        samples in samples(),
        batches in prop::collection::vec(0..5_usize, 120),
        order in Just((0..120_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let lines: Vec<String> = samples.iter().enumerate().map(|(at, sample)| metric_line(at, sample)).collect();
        let mut parts = vec![String::new(); 5];
        for at in order.into_iter().filter(|at| *at < lines.len()) {
            parts[batches[at]].push_str(&lines[at]);
        }
        let mut merged = Partial::default();
        for part in parts.iter().rev() {
            let partial = Partial::of_events("events.metric", part.as_bytes()).unwrap();
            merged.merge(Partial::read(&partial.to_ndjson()).unwrap());
        }
        // Worked out from the samples alone; regions 1 and 2 are the same tags.
        let mut raw: BTreeMap<_, Vec<(i64, usize, f64)>> = BTreeMap::new();
        for (at, (name, region, source, second, value)) in samples.iter().enumerate() {
            raw.entry((*name, *region > 0, *source, second.div_euclid(60))).or_default().push((*second, at, *value));
        }
        prop_assert_eq!(merged.iter().len(), raw.len());
        for (key, found) in merged.iter() {
            let number = |text: &str| text[1..].parse::<u8>().unwrap();
            let minute = (key.bucket.0 - 1_795_176_000_000_000) / MINUTE_MICROSECONDS;
            let mut values = raw[&(number(&key.name), key.tags != "{}", number(&key.source), minute)].clone();
            let last = values.iter().max_by_key(|(second, at, _)| (*second, *at)).unwrap().2;
            values.sort_by(|a, b| a.2.total_cmp(&b.2));
            let sizes: f64 = values.iter().map(|(_, _, value)| value.abs()).sum();
            prop_assert_eq!(found.count, values.len() as u64);
            prop_assert_eq!((found.min, found.max, found.last), (values[0].2, values[values.len() - 1].2, last));
            prop_assert!((found.sum - values.iter().map(|(_, _, value)| value).sum::<f64>()).abs() <= sizes * 1e-9);
            prop_assert_eq!(found.hist.is_some(), key.name == "n0");
            for q in [0.0, 0.5, 0.95, 1.0] {
                let Some(hist) = &found.hist else { continue };
                let exact = values[((q * values.len() as f64 - 1e-9).ceil() as usize).saturating_sub(1)].2;
                prop_assert!((hist.quantile(q).unwrap() - exact).abs() <= exact.abs() * ERROR_MAX * 1.000_001);
            }
        }
    }

    /// Buckets and single values, in any order and any batches: no observation is lost, and a quantile is off by no more
    /// than the half of its bucket and the sketch's own error.
    #[test]
    fn distributions_lose_no_observation(
        groups in prop::collection::vec((prop::collection::vec(0.001..1e6_f64, 0..40), 0..3_u8, any::<bool>()), 1..6),
        q in 0.0..=1.0_f64,
    ) {
        /// 2^(2^-5): buckets two per cent wide.
        const SCALE: i32 = 5;
        let base = f64::from(-SCALE).exp2().exp2();
        let mut merged = Partial::default();
        let mut all: Vec<f64> = Vec::new();
        for (at, (values, form, in_order)) in groups.iter().enumerate() {
            let lines: Vec<String> = match form {
                0 => values.iter().map(|value| histogram_line(at, &format!("\"value\":{value:?}"))).collect(),
                1 => vec![histogram_line(at, &exponential(values, SCALE))],
                _ => vec![histogram_line(at, &explicit(values, base))],
            };
            let partial = Partial::of_events("events.metric", lines.concat().as_bytes()).unwrap();
            let partial = Partial::read(&partial.to_ndjson()).unwrap();
            if *in_order {
                merged.merge(partial);
            } else {
                let mut first = partial;
                first.merge(merged);
                merged = first;
            }
            all.extend(values);
        }
        all.sort_by(f64::total_cmp);
        if all.is_empty() {
            prop_assert!(merged.is_empty());
            return Ok(());
        }
        let (_, found) = merged.iter().next().expect("one series");
        prop_assert_eq!((merged.iter().len(), found.count), (1, all.len() as u64));
        let hist = found.hist.as_ref().expect("a distribution");
        prop_assert_eq!(hist.buckets().map(|(_, count)| count).sum::<u64>(), all.len() as u64);
        prop_assert!((found.sum - all.iter().sum::<f64>()).abs() <= found.sum.abs() * 1e-9);
        prop_assert_eq!((found.min, found.max), (all[0], all[all.len() - 1]));
        let exact = all[((q * all.len() as f64 - 1e-9).ceil() as usize).saturating_sub(1)];
        let error = base.sqrt() * (1.0 + ERROR_MAX) / (1.0 - ERROR_MAX) - 1.0;
        let quantile = hist.quantile(q).unwrap();
        prop_assert!((quantile - exact).abs() <= exact * error * 1.000_001, "{} for {}", quantile, exact);
    }

    #[test]
    fn tokens_and_money_are_exact(
        calls in prop::collection::vec((0..=1_000_000_000_000_u64, 0..=1_000_000_000_000_000_i64), 1..60),
        cut in 0..60_usize,
    ) {
        let lines: Vec<String> = calls.iter().enumerate().map(|(at, (tokens, nanos))| format!(
            "{{\"o\":{at},\"i\":0,\"timestamp\":\"2026-11-20T12:00:00Z\",\"source\":\"a\",\"model\":\"m\",\
             \"tokens_in\":{tokens},\"cost_usd\":{}.{:09}}}\n", nanos / 1_000_000_000, nanos % 1_000_000_000,
        )).collect();
        let text = lines.concat();
        let rows: Vec<Usage<'_>> = read_lines(text.as_bytes()).unwrap();
        let (first, second) = rows.split_at(cut.min(rows.len()));
        let mut merged = fold(second);
        merged.merge(fold(first));
        let total = |name: &str| merged.iter().find(|(key, _)| key.name == name).and_then(|(_, values)| values.total_nanos);
        let tokens: i128 = calls.iter().map(|(tokens, _)| i128::from(*tokens) * 1_000_000_000).sum();
        prop_assert_eq!(total("usage.tokens_in"), Some(tokens));
        prop_assert_eq!(total("usage.cost_usd"), Some(calls.iter().map(|(_, nanos)| i128::from(*nanos)).sum()));
        prop_assert_eq!(total("usage.requests"), Some(calls.len() as i128 * 1_000_000_000));
        prop_assert_eq!(total("usage.errors"), None);
    }
}

fn histogram_line(at: usize, own: &str) -> String {
    format!(
        "{{\"o\":{at},\"i\":0,\"tenant\":\"t\",\"timestamp\":\"2026-11-20T12:00:00.000000Z\",\"source\":\"s\",\"name\":\"h\",\
         {own},\"metric_type\":\"histogram\",\"v\":1}}\n"
    )
}

/// What both forms have in common.
fn extremes(values: &[f64]) -> String {
    let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(min, max), value| {
        (min.min(*value), max.max(*value))
    });
    let known = format!(",\"min\":{min:?},\"max\":{max:?}");
    let known = if values.is_empty() { "" } else { &known };
    format!(
        "\"count\":{},\"sum\":{:?}{known}",
        values.len(),
        values.iter().sum::<f64>()
    )
}

/// The values in buckets above b^i and at most b^(i+1), as OpenTelemetry has them.
fn exponential(values: &[f64], scale: i32) -> String {
    let index = |value: &f64| (value.log2() * f64::from(scale).exp2()).ceil() as i32 - 1;
    let offset = values.iter().map(index).min().unwrap_or(0);
    let last = values.iter().map(index).max().unwrap_or(0);
    let mut counts = vec![0_u64; usize::try_from(last - offset).expect("ascending") + 1];
    for value in values {
        counts[usize::try_from(index(value) - offset).expect("not before the first")] += 1;
    }
    let positive = format!("{{\"offset\":{offset},\"counts\":{counts:?}}}");
    format!(
        "\"value\":0,\"distribution\":{{{},\"scale\":{scale},\"positive\":{positive}}}",
        extremes(values)
    )
}

/// The values between bounds that are as close to each other.
fn explicit(values: &[f64], base: f64) -> String {
    let smallest = values.iter().copied().fold(1.0, f64::min);
    let largest = values.iter().copied().fold(1.0, f64::max);
    let bounds: Vec<f64> = std::iter::successors(Some(smallest), |bound| Some(bound * base))
        .take_while(|bound| *bound < largest * base)
        .collect();
    let mut counts = vec![0_u64; bounds.len() + 1];
    for value in values {
        counts[bounds.partition_point(|bound| bound < value)] += 1;
    }
    format!(
        "\"value\":0,\"distribution\":{{{},\"bounds\":{bounds:?},\"counts\":{counts:?}}}",
        extremes(values)
    )
}

/// Prints the cost of a fold; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_fold() {
    let lines: String = (0..2_000)
        .map(|at: usize| metric_line(at, &(1, (at % 3) as u8, (at % 7) as u8, (at / 1_000) as i64, 1.5)))
        .collect();
    let rows: Vec<Metric<'_>> = read_lines(lines.as_bytes()).unwrap();
    let calls = CALLS.repeat(700);
    let usage: Vec<Usage<'_>> = read_lines(calls.as_bytes()).unwrap();
    let time = |what: &str, rows: usize, run: &dyn Fn() -> usize| {
        let started = std::time::Instant::now();
        let made: usize = (0..200).map(|_| run()).sum();
        let each = started.elapsed().as_nanos() / (200 * rows as u128);
        println!("{what}: {each} ns/event, {} lines", made / 200);
    };
    time("metric, fold", rows.len(), &|| fold(&rows).iter().len());
    time("metric, read + fold + write", rows.len(), &|| {
        let partial = Partial::of_events("events.metric", lines.as_bytes()).unwrap();
        partial.to_ndjson().len() / 200
    });
    time("usage, fold", usage.len(), &|| fold(&usage).iter().len());
}
