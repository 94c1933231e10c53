//! The ledger: every published INGEST message is stored, dead, pending or missing. Pure arithmetic.

use schemas::overview::Ledger;

use crate::RangeSet;

/// What NATS says, for the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFigures {
    /// ULID of INGEST's epoch.
    pub epoch: String,
    /// INGEST's last sequence.
    pub last_sequence: u64,
    /// Every INGEST message up to here was acked by ingest.
    pub ingest_ack_floor: u64,
    /// ULID of EVENTS' epoch.
    pub events_epoch: String,
    /// EVENTS' last sequence. Taken after the ack floor, so that it covers what ingest published before acking.
    pub events_last_sequence: u64,
    /// ULID of DEAD's epoch.
    pub dead_epoch: String,
    /// DEAD's last sequence. Taken after the ack floor too.
    pub dead_last_sequence: u64,
}

/// Balances the books: `published = stored + dead + pending + missing`, always.
///
/// `events_checkpoint` and `dead_checkpoint` say up to which sequence everything was processed. An origin is
/// missing if ingest acked it and it is in neither set, though all of EVENTS and DEAD was processed; until then
/// it may still be on its way. An origin both stored and dead (some items of its message were refused) counts
/// as stored.
pub fn ledger(
    figures: &StreamFigures,
    stored: &RangeSet,
    dead: &RangeSet,
    (events_checkpoint, dead_checkpoint): (u64, u64),
    duplicates: u64,
) -> Ledger {
    let either = stored.union(dead);
    // The figures may be a little older than the sets.
    let published = figures.last_sequence.max(either.last().unwrap_or(0));
    let accounted = either.count();
    let stored = stored.count();
    let caught_up =
        events_checkpoint >= figures.events_last_sequence && dead_checkpoint >= figures.dead_last_sequence;
    let missing = if caught_up {
        let acked = figures.ingest_ack_floor.min(published);
        acked - either.count_up_to(acked)
    } else {
        0
    };
    Ledger {
        epoch: figures.epoch.clone(),
        published,
        stored,
        dead: accounted - stored,
        pending: published - accounted - missing,
        missing,
        duplicates,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> RangeSet {
        RangeSet::parse(text).unwrap()
    }

    fn figures(last_sequence: u64, ingest_ack_floor: u64) -> StreamFigures {
        StreamFigures {
            last_sequence,
            ingest_ack_floor,
            events_last_sequence: 7,
            dead_last_sequence: 3,
            ..StreamFigures::default()
        }
    }

    fn counts(ledger: &Ledger) -> [u64; 5] {
        [
            ledger.published,
            ledger.stored,
            ledger.dead,
            ledger.pending,
            ledger.missing,
        ]
    }

    #[test]
    fn a_hole_is_missing_only_once_everything_acked_was_processed() {
        let (stored, dead) = (set("1-4,6-8"), set("4,9"));
        let of = |figures, checkpoints| counts(&ledger(&figures, &stored, &dead, checkpoints, 0));
        assert_eq!(of(figures(12, 10), (7, 3)), [12, 7, 1, 2, 2]);
        assert_eq!(
            of(figures(12, 10), (6, 3)),
            [12, 7, 1, 4, 0],
            "EVENTS not yet processed"
        );
        assert_eq!(
            of(figures(12, 10), (7, 2)),
            [12, 7, 1, 4, 0],
            "DEAD not yet processed"
        );
        assert_eq!(
            of(figures(12, 4), (7, 3)),
            [12, 7, 1, 4, 0],
            "not acked by ingest yet"
        );
        assert_eq!(
            of(figures(5, 4), (7, 3)),
            [9, 7, 1, 1, 0],
            "figures older than the sets"
        );
    }

    #[test]
    fn nothing_at_all_balances() {
        let empty = RangeSet::new();
        let ledger = ledger(&StreamFigures::default(), &empty, &empty, (0, 0), 0);
        assert_eq!(counts(&ledger), [0; 5]);
    }

    proptest! {
        #[test]
        fn always_balances(
            stored in prop::collection::btree_set(1u64..60, 0..40),
            dead in prop::collection::btree_set(1u64..60, 0..40),
            last in 0u64..80, floor in 0u64..90, events in 5u64..9, letters in 2u64..5,
        ) {
            let text = |numbers: &std::collections::BTreeSet<u64>| {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                set(&numbers.join(","))
            };
            let ledger = ledger(&figures(last, floor), &text(&stored), &text(&dead), (events, letters), 0);
            let [published, in_database, dead_only, pending, missing] = counts(&ledger);
            prop_assert_eq!(published, in_database + dead_only + pending + missing);
            prop_assert_eq!(in_database, stored.len() as u64);
            prop_assert_eq!(dead_only, dead.difference(&stored).count() as u64);
            let holes = (1..=floor.min(published)).filter(|n| !stored.contains(n) && !dead.contains(n)).count();
            prop_assert_eq!(missing, if events >= 7 && letters >= 3 { holes as u64 } else { 0 });
        }
    }
}
