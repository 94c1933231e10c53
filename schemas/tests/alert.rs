//! What rules find: golden lines, and the same counts whatever the batches and their order.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::Origins;
use schemas::alert::{self, Match, OriginCounts, Severity, read, rule_of, subject, to_ndjson, window_start};
use serde_json::value::RawValue;

fn found(origins: &[u64]) -> Match {
    let mut counts = OriginCounts::default();
    origins.iter().for_each(|origin| counts.add(*origin));
    Match {
        rule: "call_failed".to_owned(),
        severity: Severity::Warning,
        key: "anthropic m".to_owned(),
        tenant: "default".to_owned(),
        window_start_ms: 1_795_176_000_000,
        window_seconds: 300,
        count: counts.total(),
        first_ms: 1_795_176_001_000,
        last_ms: 1_795_176_299_999,
        message: "m: timeout \"x\"".to_owned(),
        sample: Some(RawValue::from_string("{\"o\":7}".to_owned()).unwrap()),
        origins: counts,
    }
}

#[test]
fn matches_and_alerts_are_written_like_this() {
    let mut bare = found(&[1, 1, 1]);
    (bare.sample, bare.key) = (None, alert::OTHER_KEY.to_owned());
    let lines = to_ndjson(&[found(&[7, 8, 9, 10, 10, 12]), bare]);
    common::check_file(&common::path("golden/alert/matches.ndjson"), &lines).unwrap();
    assert_eq!(to_ndjson(&read(&lines).unwrap()), lines);

    let told = serde_json::to_vec(&found(&[7, 8]).alert()).unwrap();
    common::check_file(&common::path("golden/alert/alert.json"), &told).unwrap();
    let again: alert::Alert = serde_json::from_slice(&told).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), told);
}

#[test]
fn what_is_no_match_is_refused() {
    let text = String::from_utf8(to_ndjson(&[found(&[7, 8])])).unwrap();
    for (good, bad, problem) in [
        (
            "\"count\":2",
            "\"count\":3",
            "line 1: count is 3, its origins count 2",
        ),
        ("\"7+1\"", "\"7-8\"", "`7-8` is not a run of origins"),
        ("\"7+1\"", "\"7,0,1\"", "`0` is not a run of origins"),
        ("\"7+1\"", "\"7+18446744073709551615\"", "is not a run of origins"),
        ("warning", "loud", "unknown variant `loud`"),
        ("\"key\"", "\"kay\"", "unknown field `kay`"),
    ] {
        let error = read(text.replacen(good, bad, 1).as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn subjects_ids_and_windows() {
    let told = subject(Severity::Critical, "disk_full");
    assert_eq!(
        (told.as_str(), rule_of(&told)),
        ("alerts.critical.disk_full", Some("disk_full"))
    );
    assert_eq!(rule_of("matches.events"), None);
    // Part of the contract: copies of a worker, old and new, must agree.
    assert_eq!(
        found(&[1]).id(),
        "alert:call_failed:3cef62227e1b53fb:1795176000000"
    );
    let mut other = found(&[1]);
    (other.tenant, other.key) = ("defaulta".to_owned(), "nthropic m".to_owned());
    assert_ne!(other.id(), found(&[1]).id());
    assert_eq!(window_start(-1, 300), -300_000);
    assert_eq!(window_start(300_000, 300), 300_000);
}

proptest! {
    #[test]
    fn counts_agree_with_a_map(
        added in prop::collection::vec((1u64..30, 1usize..4), 0..40),
        merged in prop::collection::vec(1u64..40, 0..20),
        left_out in prop::collection::vec(1u64..40, 0..20),
    ) {
        let (mut counts, mut other) = (OriginCounts::default(), OriginCounts::default());
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        for origin in added.into_iter().flat_map(|(origin, times)| vec![origin; times]) {
            counts.add(origin);
            *model.entry(origin).or_default() += 1;
        }
        for origin in merged {
            other.add(origin);
            *model.entry(origin).or_default() += 1;
        }
        counts.merge(&other);
        let left_out: Origins = left_out.into_iter().collect();
        prop_assert_eq!(counts.total(), model.values().sum::<u64>());
        let kept = model.iter().filter(|(origin, _)| !left_out.contains(**origin));
        prop_assert_eq!(counts.without(&left_out), kept.map(|(_, count)| count).sum::<u64>());
        let again: OriginCounts = counts.to_string().parse().unwrap();
        prop_assert_eq!(&again, &counts);
        let mut sorted = OriginCounts::default();
        model.iter().for_each(|(origin, count)| (0..*count).for_each(|_| sorted.add(*origin)));
        prop_assert_eq!(sorted.to_string(), counts.to_string());
    }
}
