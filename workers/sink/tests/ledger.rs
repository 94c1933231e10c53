//! The ledger by kind, through real database files: whatever comes in whatever order, however often, with restarts
//! between, it is what a naive count says.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use schemas::Time;
use schemas::ledger::{Epoch, KINDS, UNATTRIBUTED};
use serde_json::json;
use sink::{Monitor, StreamFigures};
use support::*;

const NOW: Time = Time(NOON);
const OLD_EPOCH: &str = "01JC00000000000000000000A1";

fn figures(last_sequence: u64) -> StreamFigures {
    StreamFigures {
        epoch: INGEST_EPOCH.to_owned(),
        last_sequence,
        events_epoch: EVENTS_EPOCH.to_owned(),
        dead_epoch: DEAD_EPOCH.to_owned(),
        ..StreamFigures::default()
    }
}

/// A message's subject gives its kind for good.
fn kind(origin: u64) -> &'static str {
    KINDS[origin as usize % KINDS.len()]
}

fn line(origin: u64, index: u32) -> String {
    let start = format!(
        "{{\"o\":{origin},\"i\":{index},\"tenant\":\"t\",\"timestamp\":\"2026-11-20T11:59:59.5Z\",\"source\":\"a\""
    );
    match kind(origin) {
        "metric" => format!("{start},\"name\":\"m\",\"value\":1,\"metric_type\":\"gauge\",\"v\":1}}\n"),
        "event" => format!("{start},\"name\":\"e\",\"v\":1}}\n"),
        "step" => format!("{start},\"name\":\"s\",\"status\":\"ok\",\"v\":1}}\n"),
        "message" => format!("{start},\"body\":\"b\",\"v\":1}}\n"),
        "session" => format!("{start},\"state\":\"ended\",\"session\":\"s\",\"v\":1}}\n"),
        "work_item" => format!("{start},\"state\":\"done\",\"work_item\":\"w\",\"v\":1}}\n"),
        _ => format!("{start},\"model\":\"x\",\"cost_source\":\"unpriced\",\"status\":\"ok\",\"v\":1}}\n"),
    }
}

/// One to three rows a message.
fn rows_of(origin: u64) -> u64 {
    1 + origin / 4 % 3
}

/// What the database is told.
#[derive(Debug, Clone)]
enum Told {
    /// An EVENTS message with those of these origins that are of the kind of the first.
    Events(Vec<u64>),
    /// A dead letter about a message, or one item of it.
    Dead(u64, Option<u32>),
    /// A dead letter about a whole EVENTS message.
    Batch(Vec<u64>),
    /// One about an EVENTS message by a worker behind it: accounts for nothing.
    Derived(Vec<u64>),
}

fn told() -> impl Strategy<Value = Told> {
    let origins = || prop::collection::vec(1u64..40, 1..6);
    prop_oneof![
        4 => origins().prop_map(Told::Events),
        3 => (1u64..40, prop::option::of(0u32..3)).prop_map(|(origin, index)| Told::Dead(origin, index)),
        1 => origins().prop_map(Told::Batch),
        1 => origins().prop_map(Told::Derived),
    ]
}

/// Those of the kind of the first that is of a kind.
fn of_one_kind(origins: &[u64]) -> BTreeSet<u64> {
    let of = origins
        .iter()
        .map(|origin| kind(*origin))
        .find(|kind| *kind != "unknown");
    origins
        .iter()
        .copied()
        .filter(|origin| Some(kind(*origin)) == of)
        .collect()
}

fn message(told: &Told, events_seq: &mut u64, dead_seq: &mut u64) -> Option<Message> {
    let batch = |origins: &[u64], sequence: u64| {
        let origins = of_one_kind(origins);
        let lines: Vec<String> = origins
            .iter()
            .flat_map(|&origin| (0..rows_of(origin) as u32).map(move |index| line(origin, index)))
            .collect();
        let first = *origins.first()?;
        Some(events(
            sequence,
            kind(first),
            &origins.into_iter().collect(),
            &lines,
        ))
    };
    let letter = |origins: &[u64], stage: &str, sequence: u64| {
        let refused = batch(origins, 1)?;
        let mut letter = dead(sequence, 1, None).header("Aiai-Stage", stage);
        letter
            .headers
            .retain(|(name, _)| name != "Aiai-Origin" && name != "Aiai-Kind");
        letter.payload = refused.payload.clone();
        let origins = refused.headers.iter().find(|(name, _)| name == "Aiai-Origins")?;
        Some(
            letter
                .header(&origins.0, &origins.1)
                .header("Aiai-Subject", &refused.subject),
        )
    };
    match told {
        Told::Events(origins) => {
            *events_seq += 1;
            batch(origins, *events_seq)
        }
        Told::Dead(origin, index) => {
            *dead_seq += 1;
            let subject = match kind(*origin) {
                "unknown" => "ingest.a.b.metric".to_owned(),
                kind => format!("ingest.acme.{kind}"),
            };
            // What the letter itself says of its kind is the last token of its subject.
            Some(dead(*dead_seq, *origin, *index).header("Aiai-Subject", &subject))
        }
        Told::Batch(origins) => {
            *dead_seq += 1;
            letter(origins, "sink", *dead_seq)
        }
        Told::Derived(origins) => {
            *dead_seq += 1;
            letter(origins, "rollup", *dead_seq)
        }
    }
}

/// The naive count.
#[derive(Default)]
struct Model {
    stored: BTreeSet<u64>,
    dead: BTreeSet<u64>,
    items: BTreeSet<(u64, u32)>,
    duplicates: u64,
    /// By kind.
    duplicates_of: BTreeMap<&'static str, u64>,
}

impl Model {
    fn take(&mut self, told: &Told) {
        match told {
            Told::Events(origins) => {
                for origin in of_one_kind(origins) {
                    if !self.stored.insert(origin) {
                        self.duplicates += 1;
                        *self.duplicates_of.entry(kind(origin)).or_default() += 1;
                    }
                }
            }
            Told::Dead(origin, index) => {
                self.dead.insert(*origin);
                self.items.extend(index.map(|index| (*origin, index)));
            }
            Told::Batch(origins) => self.dead.extend(of_one_kind(origins)),
            Told::Derived(_) => {}
        }
    }

    fn check(&self, epoch: &Epoch) {
        assert!(epoch.adds_up(), "{epoch:?}");
        for line in epoch.kinds.iter().filter(|line| line.kind != UNATTRIBUTED) {
            let of = |origin: &&u64| kind(**origin) == line.kind;
            let stored = self.stored.iter().filter(of);
            assert_eq!(line.stored, stored.clone().count() as u64, "{line:?}");
            let dead = self.dead.difference(&self.stored).filter(of).count() as u64;
            assert_eq!(line.dead, dead, "{line:?}");
            let rows: u64 = stored.map(|origin| rows_of(*origin)).sum();
            assert_eq!(line.events_stored, Some(rows), "{line:?}");
            let items = self.items.iter().filter(|(origin, _)| kind(*origin) == line.kind);
            assert_eq!(line.items_dead, items.count() as u64, "{line:?}");
            let duplicates = self.duplicates_of.get(line.kind.as_str()).copied().unwrap_or(0);
            assert_eq!(line.duplicates, duplicates, "{line:?}");
        }
        let rest = epoch.kinds.iter().find(|line| line.kind == UNATTRIBUTED);
        let rest = rest.map_or((0, 0), |line| (line.stored, line.dead));
        assert_eq!(rest, (0, 0), "everything in the database is of a kind");
        assert_eq!(epoch.duplicates, self.duplicates);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_what_a_naive_count_says(
        told in prop::collection::vec(told(), 1..30),
        // After how many messages a transaction ends, whether the database is opened anew then, and how many of the
        // messages before come once more.
        cuts in prop::collection::vec((1usize..6, any::<bool>(), 0usize..4), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        // One that looked at the empty tables sees what comes into them.
        let mut monitor = Monitor::open(&store, NOW).unwrap();
        monitor.report(&figures(50), NOW).unwrap();
        let (mut events_seq, mut dead_seq) = (0, 0);
        let mut model = Model::default();
        let messages: Vec<(Told, Message)> = told
            .into_iter()
            .filter_map(|told| message(&told, &mut events_seq, &mut dead_seq).map(|message| (told, message)))
            .collect();
        let mut cuts = cuts.into_iter().cycle();
        let mut done = 0;
        while done < messages.len() {
            let (length, restart, again) = cuts.next().unwrap();
            let end = messages.len().min(done + length);
            let batch: Vec<&Message> = messages[done.saturating_sub(again)..end].iter().map(|(_, message)| message).collect();
            commit(&mut store, &batch);
            // The sink stores the events of a transaction before its dead letters; the count does not depend on it.
            messages[done..end].iter().for_each(|(told, _)| model.take(told));
            done = end;
            if restart {
                drop((monitor, store));
                store = open(folder.path());
                monitor = Monitor::open(&store, NOW).unwrap();
            }
            model.check(&monitor.report(&figures(50), NOW).unwrap().current);
        }
    }
}

#[test]
fn earlier_epochs_are_told_and_what_was_lost_with_them_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let old = metrics(1, [1, 2, 4]).header("Aiai-Epoch", OLD_EPOCH);
    let old_letter = dead(1, 6, None).header("Aiai-Epoch", OLD_EPOCH);
    commit(&mut store, &[&old, &old_letter, &metrics(2, [1, 2])]);
    let monitor = Monitor::open(&store, NOW).unwrap();
    let figures = |events_last_sequence| StreamFigures {
        ingest_ack_floor: 2,
        events_last_sequence,
        dead_last_sequence: 1,
        ..figures(3)
    };
    let report = monitor.report(&figures(3), NOW).unwrap();
    let old = &report.earlier[0];
    assert_eq!(
        (
            old.epoch.as_str(),
            old.published,
            old.stored,
            old.dead,
            old.pending,
            old.missing
        ),
        (OLD_EPOCH, 6, 3, 1, 2, 0),
        "as long as EVENTS may hold some of it"
    );
    let report = monitor.report(&figures(2), NOW).unwrap();
    let old = &report.earlier[0];
    assert_eq!((old.pending, old.missing), (0, 2));
    assert_eq!(old.missing_ranges, [(3, 3), (5, 5)]);
    assert!(
        old.missing_messages[1].cause.contains("lost with the stream"),
        "{old:?}"
    );
    assert_eq!(old.kinds[0].stored, 3);
    assert!(report.balances, "what is over does not count");
    assert_eq!(
        (
            report.lost_earlier(),
            report.current.pending,
            report.current.judged
        ),
        (2, 1, 2)
    );
}

#[test]
fn dead_letters_of_other_streams_make_no_epoch_of_ingest() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let job = dead(1, 7, None)
        .header("Aiai-Stage", "archive")
        .header("Aiai-Subject", "archive.job")
        .header("Aiai-Epoch", OLD_EPOCH);
    let batch = dead(2, 9, None)
        .header("Aiai-Stage", "sink")
        .header("Aiai-Subject", "events.metric")
        .header("Aiai-Epoch", EVENTS_EPOCH);
    commit(&mut store, &[&metrics(1, [1]), &job, &batch]);
    // The same letter again: its repeats are left out.
    commit(&mut store, &[&Message { sequence: 3, ..batch }]);
    assert_eq!(rows(&store, "SELECT count(*) AS n FROM dead"), [json!({"n": 2})]);
    let report = Monitor::open(&store, NOW)
        .unwrap()
        .report(&figures(1), NOW)
        .unwrap();
    assert_eq!((report.earlier, report.current.dead), (vec![], 0));
}
