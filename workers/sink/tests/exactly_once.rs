//! Any sequence of deliveries, repeats, overlaps and restarts leaves every origin's rows exactly once.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use sink::Source;
use support::*;

/// A few EVENTS messages whose origins may overlap, a few dead letters, and an order of deliveries.
#[derive(Debug, Clone)]
enum Step {
    /// Messages by number, in one commit.
    Commit(Vec<usize>),
    Restart,
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let origins = prop::collection::btree_set(1u64..12, 1..5);
    let events = prop::collection::vec(origins, 1..7);
    let letters = prop::collection::vec((1u64..12, prop::option::of(0u32..2)), 0..5);
    (events, letters).prop_map(|(events, letters)| {
        let events = events
            .into_iter()
            .zip(1..)
            .map(|(origins, seq)| metrics(seq, origins));
        let letters = letters
            .into_iter()
            .zip(1..)
            .map(|((origin, index), seq)| dead(seq, origin, index));
        events.chain(letters).collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::collection::vec(0usize..11, 1..6).prop_map(Step::Commit),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..7)
}

fn text(numbers: &BTreeSet<u64>) -> String {
    numbers.iter().copied().collect::<schemas::Origins>().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_delivered(messages in messages(), steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let (mut delivered, mut stored, mut refused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut duplicates = BTreeSet::new();
        let mut letters = BTreeSet::new();
        for step in &steps {
            let Step::Commit(numbers) = step else {
                drop(store);
                store = open(folder.path());
                continue;
            };
            let chosen: Vec<&Message> = numbers.iter().filter_map(|&number| messages.get(number)).collect();
            commit(&mut store, &chosen);
            for message in chosen {
                if !delivered.insert((message.source, message.sequence)) {
                    continue;
                }
                let header = |name: &str| {
                    let found = message.headers.iter().find(|(known, _)| known == name);
                    found.map(|(_, value)| value.clone())
                };
                if message.source == Source::Dead {
                    refused.insert(header("Aiai-Origin").unwrap().parse::<u64>().unwrap());
                    letters.insert((header("Aiai-Origin"), header("Aiai-Index")));
                    continue;
                }
                let origins: schemas::Origins = header("Aiai-Origins").unwrap().parse().unwrap();
                for origin in origins.ranges().iter().cloned().flatten() {
                    if !stored.insert(origin) {
                        duplicates.insert((message.sequence, origin));
                    }
                }
            }
        }
        drop(store);
        let store = open(folder.path());
        let counts = rows(&store, "SELECT count(*) AS rows, count(DISTINCT (origin, idx)) AS distinct_rows, count(DISTINCT origin) AS origins FROM metric");
        prop_assert_eq!(&counts[0], &json!({"rows": 2 * stored.len(), "distinct_rows": 2 * stored.len(), "origins": stored.len()}));
        let sets = rows(&store, "SELECT outcome, ranges FROM origin_sets WHERE outcome IN ('stored', 'dead') ORDER BY outcome DESC");
        let expected: Vec<_> = [("stored", &stored), ("dead", &refused)]
            .into_iter()
            .filter(|(_, set)| !set.is_empty())
            .map(|(outcome, set)| json!({"outcome": outcome, "ranges": text(set)}))
            .collect();
        prop_assert_eq!(sets, expected);
        let found: BTreeSet<(u64, u64)> = rows(&store, "SELECT events_seq, origin FROM duplicates")
            .iter()
            .map(|row| (row["events_seq"].as_u64().unwrap(), row["origin"].as_u64().unwrap()))
            .collect();
        prop_assert_eq!(found, duplicates);
        let dead_rows = rows(&store, "SELECT count(*) AS rows FROM dead");
        prop_assert_eq!(&dead_rows[0], &json!({"rows": letters.len()}));
        for source in [Source::Events, Source::Dead] {
            let epoch = if source == Source::Events { EVENTS_EPOCH } else { DEAD_EPOCH };
            let contiguous = (1..).find(|seq| !delivered.contains(&(source, *seq))).unwrap() - 1;
            prop_assert_eq!(store.checkpoint(source, epoch), contiguous);
        }
    }
}
