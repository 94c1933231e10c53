//! Rules on events: what matches, what is counted, and the same whatever the batches.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bus::Bytes;
use proptest::prelude::*;
use route::Rules;
use route::rules::{Batch, Found, evaluate};
use schemas::alert::{Match, OTHER_KEY};
use schemas::{Kind, Time};

/// 2026-11-20T12:00:00Z.
const NOON_MS: i64 = 1_795_176_000_000;

fn rules(text: &str) -> Rules {
    Rules::parse("rules.toml", text, |_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

/// One rule with this expression.
fn rule(kind: &str, when: &str) -> Rules {
    rules(&format!(
        "[[rule]]\nname = \"r\"\nkinds = [\"{kind}\"]\nwhen = '''{when}'''\nseverity = \"info\"\nmessage = \"m\"\n"
    ))
}

fn look(rules: &Rules, kind: Kind, lines: &str) -> Found {
    let payload = Bytes::copy_from_slice(lines.as_bytes());
    let batch = Batch {
        kind,
        epoch: "E",
        payload: &payload,
        stored_ms: NOON_MS,
    };
    evaluate(rules, batch).unwrap()
}

/// A line of a kind with these fields, `seconds` after noon.
fn line(origin: u64, seconds: i64, fields: &str) -> String {
    let time = Time((NOON_MS + seconds * 1000) * 1000);
    format!(
        "{{\"o\":{origin},\"i\":0,\"tenant\":\"default\",\"timestamp\":\"{time}\",\"source\":\"a\",{fields},\"v\":1}}\n"
    )
}

#[test]
fn expressions_see_every_field() {
    let usage = r#""model":"m","provider":"p","tokens_in":1200,"cost_usd":0.25,"latency_ms":1500,"status":"timeout","error":"x\ny","tags":{"region":"eu"}"#;
    let event = r#""name":"job.failed","data":{"n":3,"jobs":[{"id":1},{"id":2}],"big":99999999999999999999,"ok":false}"#;
    let metric = r#""name":"queue.depth","value":7.5"#;
    for (kind, fields, when, holds) in [
        (
            "usage",
            usage,
            "kind == 'usage' && tenant == 'default' && source == 'a'",
            true,
        ),
        (
            "usage",
            usage,
            "cost_usd > 0.2 && cost_usd <= 0.25 && tokens_in > 1000 && latency_ms >= 1500",
            true,
        ),
        ("usage", usage, "tokens_in * 2 == 2400", true),
        (
            "usage",
            usage,
            "status in ['timeout', 'error'] && error.startsWith('x')",
            true,
        ),
        (
            "usage",
            usage,
            "tags.region == 'eu' && tags['region'] == 'eu' && 'region' in tags",
            true,
        ),
        ("usage", usage, "'zone' in tags", false),
        ("usage", usage, "has(tags.zone) || has(event.session)", false),
        (
            "usage",
            usage,
            "has(event.cost_usd) && event.cost_usd > 0.2",
            true,
        ),
        ("usage", usage, "has(event.ttft_ms) && ttft_ms > 0.0", false),
        ("usage", usage, "ts == 1795176001000", true),
        (
            "event",
            event,
            "data.n == 3 && data.jobs.exists(j, j.id == 2) && !data.ok",
            true,
        ),
        ("event", event, "data.jobs.all(j, j.id > 1)", false),
        ("event", event, "size(data.jobs) == 2 && data.big > 1.0", true),
        ("event", event, "name.endsWith('.failed')", true),
        ("event", event, "'zone' in tags", false),
        (
            "metric",
            metric,
            "value > 7 && value < 8 && metric_type == 'gauge'",
            true,
        ),
        (
            "metric",
            metric,
            "name.contains('depth') ? value > 100.0 : true",
            false,
        ),
    ] {
        let found = look(&rule(kind, when), Kind::parse(kind).unwrap(), &line(1, 1, fields));
        assert_eq!(found.failures, [], "{when}");
        assert_eq!(found.matches.len(), usize::from(holds), "{when}");
    }
}

#[test]
fn a_rule_that_fails_is_counted_and_stops_no_other() {
    let text = r#"
[[rule]]
name = "absent"
when = 'event.cost_usd > 1.0'
severity = "info"
message = "m"
[[rule]]
name = "text"
when = 'source'
severity = "info"
message = "m"
[[rule]]
name = "type"
when = 'source > 3'
severity = "info"
message = "m"
[[rule]]
name = "good"
when = 'true'
severity = "critical"
key = ["source", "tags.region", "session"]
message = "{name} {{x}} {cost_usd}"
"#;
    let lines = line(1, 0, r#""name":"n""#) + &line(2, 1, r#""name":"o","tags":{"region":"eu"}"#);
    let found = look(&rules(text), Kind::Event, &lines);
    let failed: Vec<_> = found
        .failures
        .iter()
        .map(|failure| failure.rule.as_str())
        .collect();
    assert_eq!(failed, ["absent", "text", "type"]);
    assert!(
        found.failures[0].reason.contains("cost_usd"),
        "{:?}",
        found.failures
    );
    let matches: Vec<_> = found
        .matches
        .iter()
        .map(|m| (m.rule.as_str(), m.key.as_str(), m.count, m.message.as_str()))
        .collect();
    assert_eq!(matches[0], ("good", "a - -", 1, "n {x} -"));
    assert_eq!(matches[1], ("good", "a eu -", 1, "o {x} -"));
    let counted: Vec<_> = matches[2..].iter().map(|m| (m.0, m.1, m.2)).collect();
    assert_eq!(
        counted,
        [
            ("rule_failed", "absent", 2),
            ("rule_failed", "text", 2),
            ("rule_failed", "type", 2)
        ]
    );
    assert_eq!(found.alerts.len(), found.matches.len());
}

#[test]
fn alerts_have_windows_forwards_have_the_event_and_old_events_are_only_counted() {
    let text = r#"
[[rule]]
name = "f"
when = 'name == "n"'
severity = "warning"
message = "m"
window_seconds = 60
forward = "ops.failed"
[[rule]]
name = "quiet"
when = 'name == "n"'
severity = "warning"
message = "m"
alert = false
"#;
    let (old, new) = (line(1, -3601, r#""name":"n""#), line(2, -60, r#""name":"n""#));
    let lines = format!("{old}\n{new}{}", line(3, 0, r#""name":"other""#));
    let found = look(&rules(text), Kind::Event, &lines);
    let windows: Vec<_> = found
        .matches
        .iter()
        .map(|m| (m.rule.as_str(), (m.window_start_ms - NOON_MS) / 1000, m.count))
        .collect();
    assert_eq!(
        windows,
        [
            ("f", -3660, 1),
            ("f", -60, 1),
            ("quiet", -3900, 1),
            ("quiet", -300, 1)
        ]
    );
    let told: Vec<_> = found
        .alerts
        .iter()
        .map(|alert| (alert.rule.as_str(), alert.window_start_ms))
        .collect();
    assert_eq!(told, [("f", NOON_MS - 60_000)]);
    assert_eq!(found.forwards.len(), 1);
    let forward = &found.forwards[0];
    assert_eq!(
        (forward.subject.as_str(), forward.id.as_str()),
        ("ops.failed", "forward:f:E:2:0")
    );
    assert_eq!(format!("{}\n", String::from_utf8_lossy(&forward.payload)), new);
}

#[test]
fn whatever_is_found_fits_into_one_message_and_is_counted() {
    let mut text = String::new();
    for number in 0..64 {
        text.push_str(&format!(
            "[[rule]]\nname = \"r{number}\"\nwhen = 'true'\nseverity = \"info\"\nkey = [\"name\"]\nmessage = \"{}{{name}}\"\n",
            "\u{1}".repeat(300)
        ));
    }
    let rules = rules(&text.replace('\u{1}', "\\u0001"));
    let lines: String = (1..=4000)
        .map(|n| {
            line(
                n * 2,
                n as i64 * -400,
                &format!("\"name\":\"n{n}\",\"data\":\"{}\"", "x".repeat(900)),
            )
        })
        .collect();
    let found = look(&rules, Kind::Event, &lines);
    let bytes = schemas::alert::to_ndjson(&found.matches).len();
    assert!(bytes < 900_000, "{bytes}");
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    found
        .matches
        .iter()
        .for_each(|m| *counts.entry(&m.rule).or_default() += m.count);
    assert!(
        counts.len() == 64 && counts.values().all(|count| *count == 4000),
        "{counts:?}"
    );
    assert!(found.matches.iter().any(|m| m.key == OTHER_KEY));
    schemas::alert::read(&schemas::alert::to_ndjson(&found.matches)).unwrap();
}

#[test]
fn what_is_no_event_is_refused() {
    let payload = Bytes::from_static(b"{}\n");
    let batch = Batch {
        kind: Kind::Event,
        epoch: "E",
        payload: &payload,
        stored_ms: NOON_MS,
    };
    assert!(evaluate(&rule("event", "true"), batch).is_err());
}

proptest! {
    #[test]
    fn any_batching_in_any_order_gives_the_same_counts(
        events in prop::collection::vec((0i64..2000, 0u8..4, 0u8..3), 1..60),
        cuts in prop::collection::vec(1usize..10, 60),
        backwards in any::<bool>(),
    ) {
        let rules = rules("[[rule]]\nname = \"r\"\nwhen = 'value > 0.0'\nkinds = [\"metric\"]\nseverity = \"info\"\n\
            key = [\"name\"]\nmessage = \"{value}\"\n");
        let lines: Vec<String> = events.iter().zip(1..).map(|((seconds, name, value), origin)| {
            line(origin, -seconds, &format!("\"name\":\"n{name}\",\"value\":{value}"))
        }).collect();
        let whole = look(&rules, Kind::Metric, &lines.concat()).matches;
        let mut rest = lines.as_slice();
        let mut deltas = Vec::new();
        for cut in cuts {
            let (batch, after) = rest.split_at(cut.min(rest.len()));
            deltas.extend(look(&rules, Kind::Metric, &batch.concat()).matches);
            rest = after;
        }
        if backwards {
            deltas.reverse();
        }
        let mut merged: BTreeMap<String, Match> = BTreeMap::new();
        for delta in deltas {
            match merged.entry(delta.id()) {
                std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().merge(delta),
                std::collections::btree_map::Entry::Vacant(vacant) => { vacant.insert(delta); }
            }
        }
        let figures = |m: &Match| (m.id(), m.count, m.first_ms, m.last_ms, m.origins.to_string());
        let mut whole: Vec<_> = whole.iter().map(figures).collect();
        whole.sort();
        prop_assert_eq!(whole, merged.values().map(figures).collect::<Vec<_>>());
    }
}
