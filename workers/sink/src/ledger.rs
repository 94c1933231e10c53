//! The ledger: every published INGEST message is stored, dead, pending or missing. Pure arithmetic.
//!
//! What is missing is decided by looking back. A [`StreamFigures`] taken some time ago says: up to its acknowledgement
//! floor ingest was done, and whatever ingest made of those messages was in EVENTS and DEAD by then. Once the database
//! has processed both up to where they ended then, every message up to that floor is in it, or lost. So a message on
//! its way never counts as missing, and what is lost is found under constant load, too.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use schemas::ledger::{self, Epoch, KINDS, KindLine, Missing, UNATTRIBUTED};
use schemas::overview::Ledger;

use crate::RangeSet;
use crate::kinds::Kinds;

/// Figures kept for looking back. More are thinned out: the oldest pass first, and none is needed in particular.
const FIGURES_MAX: usize = 32;

/// What NATS says, for the ledger. Read in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFigures {
    /// Every INGEST message up to here was acked by ingest.
    pub ingest_ack_floor: u64,
    /// ULID of INGEST's epoch.
    pub epoch: String,
    /// INGEST's last sequence.
    pub last_sequence: u64,
    /// ULID of EVENTS' epoch.
    pub events_epoch: String,
    /// EVENTS' last sequence. Taken after the ack floor, so that it covers what ingest published before acking.
    pub events_last_sequence: u64,
    /// ULID of DEAD's epoch.
    pub dead_epoch: String,
    /// DEAD's last sequence. Taken after the ack floor too.
    pub dead_last_sequence: u64,
}

/// Up to where it is decided what is missing.
#[derive(Debug, Default)]
pub struct Horizon {
    /// Oldest first.
    waiting: VecDeque<StreamFigures>,
    /// Epoch and floor of the newest figures that the database has caught up with.
    passed: Option<(String, u64)>,
}

impl Horizon {
    /// Keeps figures to be looked back at.
    pub fn note(&mut self, figures: &StreamFigures) {
        if self.waiting.back() == Some(figures) {
            return;
        }
        if self.waiting.len() >= FIGURES_MAX {
            let mut keep = false;
            self.waiting.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.waiting.push_back(figures.clone());
    }

    /// Takes in how far the database is: the sequences up to which it has processed EVENTS and DEAD.
    pub fn pass(&mut self, events: impl Fn(&str) -> u64, dead: impl Fn(&str) -> u64) {
        let has_passed = |figures: &StreamFigures| {
            events(&figures.events_epoch) >= figures.events_last_sequence
                && dead(&figures.dead_epoch) >= figures.dead_last_sequence
        };
        let Some(at) = self.waiting.iter().rposition(has_passed) else {
            return;
        };
        let newest = self.waiting.drain(..=at).next_back();
        let Some(newest) = newest else { return };
        // A durable made anew acknowledges from the start again; what was decided stays so.
        let before = self.passed.take().filter(|(epoch, _)| *epoch == newest.epoch);
        let floor = newest.ingest_ack_floor.max(before.map_or(0, |(_, floor)| floor));
        self.passed = Some((newest.epoch, floor));
    }

    /// Up to which sequence of an epoch it is decided. An epoch that was over when the figures were taken is so
    /// altogether: nothing of it is on its way any more.
    pub fn of(&self, epoch: &str, current: &str) -> u64 {
        match &self.passed {
            Some((passed, floor)) if passed == epoch => *floor,
            Some((passed, _)) if passed == current => u64::MAX,
            _ => 0,
        }
    }
}

/// What the database knows of one epoch of INGEST.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    pub(crate) epoch: String,
    /// The last sequence it is known to have given.
    pub(crate) last: u64,
    pub(crate) stored: RangeSet,
    pub(crate) dead: RangeSet,
    pub(crate) duplicates: u64,
    pub(crate) kinds: Kinds,
    /// See [`Horizon::of`].
    pub(crate) horizon: u64,
}

/// The sequences of an epoch that are in neither set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holes {
    /// The last sequence published.
    pub(crate) published: u64,
    /// On the way.
    pub(crate) pending: Vec<RangeInclusive<u64>>,
    /// Lost.
    pub(crate) missing: Vec<RangeInclusive<u64>>,
}

/// What was found out about the messages in the holes: by kind, in the order of [`KINDS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) pending: [u64; KINDS.len()],
    pub(crate) missing: [u64; KINDS.len()],
    pub(crate) messages: Vec<Missing>,
}

/// How many sequences ranges hold.
pub(crate) fn length(ranges: &[RangeInclusive<u64>]) -> u64 {
    ranges.iter().map(|range| range.end() - range.start() + 1).sum()
}

impl Account {
    /// What is in neither set.
    pub(crate) fn holes(&self) -> Holes {
        let either = self.stored.union(&self.dead);
        // The figures may be a little older than the sets.
        let published = self.last.max(either.last().unwrap_or(0));
        let decided = self.horizon.min(published);
        let gaps = |first: u64, last: u64| match first <= last {
            true => either.gaps(&(first..=last)),
            false => Vec::new(),
        };
        Holes {
            published,
            missing: gaps(1, decided),
            pending: gaps(decided + 1, published),
        }
    }

    /// The short form: the epoch's sum alone.
    pub(crate) fn sum(&self, holes: &Holes) -> Ledger {
        let (pending, missing) = (length(&holes.pending), length(&holes.missing));
        let stored = self.stored.count();
        Ledger {
            epoch: self.epoch.clone(),
            published: holes.published,
            stored,
            dead: holes.published - stored - pending - missing,
            pending,
            missing,
            duplicates: self.duplicates,
        }
    }

    /// The epoch with its kinds.
    pub(crate) fn balance(&self, holes: &Holes, found: Found) -> Epoch {
        let sum = self.sum(holes);
        let kinds = self.kinds(&sum, &found);
        let events: Option<Vec<u64>> = kinds.iter().map(|line| line.events_stored).collect();
        let listed = &holes.missing[..holes.missing.len().min(ledger::RANGES_MAX)];
        Epoch {
            events_stored: events.map(|events| events.iter().sum()),
            items_dead: kinds.iter().map(|line| line.items_dead).sum(),
            judged: self.horizon.min(sum.published),
            missing_ranges: listed
                .iter()
                .map(|range| (*range.start(), *range.end()))
                .collect(),
            missing_omitted: sum.missing - length(listed),
            missing_messages: found.messages,
            kinds,
            epoch: sum.epoch,
            published: sum.published,
            stored: sum.stored,
            dead: sum.dead,
            pending: sum.pending,
            missing: sum.missing,
            duplicates: sum.duplicates,
        }
    }

    fn kinds(&self, sum: &Ledger, found: &Found) -> Vec<KindLine> {
        let counts = self.kinds.counts().iter().zip(KINDS).enumerate();
        let mut lines: Vec<KindLine> = counts
            .map(|(at, (count, kind))| {
                let dead = count.dead.count() - count.dead.count_in(&self.stored);
                let (pending, missing) = (found.pending[at], found.missing[at]);
                KindLine {
                    kind: kind.to_owned(),
                    published: count.stored + dead + pending + missing,
                    stored: count.stored,
                    dead,
                    pending,
                    missing,
                    duplicates: count.duplicates,
                    events_stored: count.events_stored,
                    items_dead: count.items_dead,
                }
            })
            .collect();
        let rest =
            |whole: u64, figure: fn(&KindLine) -> u64| whole.saturating_sub(lines.iter().map(figure).sum());
        let rest = KindLine {
            kind: UNATTRIBUTED.to_owned(),
            published: rest(sum.published, |line| line.published),
            stored: rest(sum.stored, |line| line.stored),
            dead: rest(sum.dead, |line| line.dead),
            pending: rest(sum.pending, |line| line.pending),
            missing: rest(sum.missing, |line| line.missing),
            duplicates: rest(sum.duplicates, |line| line.duplicates),
            events_stored: Some(0),
            items_dead: 0,
        };
        if rest.published > 0 || rest.duplicates > 0 {
            lines.push(rest);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> RangeSet {
        RangeSet::parse(text).unwrap()
    }

    fn figures(floor: u64, events: u64, dead: u64) -> StreamFigures {
        StreamFigures {
            epoch: "I".into(),
            ingest_ack_floor: floor,
            events_last_sequence: events,
            dead_last_sequence: dead,
            ..StreamFigures::default()
        }
    }

    fn account(last: u64, horizon: u64) -> Account {
        Account {
            last,
            horizon,
            stored: set("1-4,6-8"),
            dead: set("4,9"),
            ..Account::default()
        }
    }

    fn counts(account: &Account) -> [u64; 5] {
        let sum = account.sum(&account.holes());
        [sum.published, sum.stored, sum.dead, sum.pending, sum.missing]
    }

    #[test]
    fn a_hole_is_missing_once_it_is_decided_and_pending_before() {
        assert_eq!(counts(&account(12, 10)), [12, 7, 1, 2, 2]);
        assert_eq!(counts(&account(12, 4)), [12, 7, 1, 4, 0]);
        assert_eq!(
            counts(&account(5, 4)),
            [9, 7, 1, 1, 0],
            "figures older than the sets"
        );
        assert_eq!(
            counts(&account(12, u64::MAX)),
            [12, 7, 1, 0, 4],
            "an epoch that is over"
        );
        assert_eq!(counts(&Account::default()), [0; 5]);
    }

    #[test]
    fn figures_decide_once_the_database_has_caught_up_with_them_even_while_more_comes() {
        let mut horizon = Horizon::default();
        horizon.note(&figures(10, 7, 3));
        horizon.pass(|_| 6, |_| 3);
        assert_eq!(horizon.of("I", "I"), 0, "EVENTS not yet processed");
        horizon.note(&figures(20, 9, 3));
        horizon.pass(|_| 7, |_| 2);
        assert_eq!(horizon.of("I", "I"), 0, "DEAD not yet processed");
        // The newest figures are never caught up with under load; older ones are.
        horizon.pass(|_| 8, |_| 3);
        assert_eq!(horizon.of("I", "I"), 10);
        horizon.note(&figures(5, 9, 3));
        horizon.pass(|_| 9, |_| 3);
        assert_eq!(horizon.of("I", "I"), 10, "a durable made anew takes nothing back");
        horizon.pass(|_| 100, |_| 100);
        assert_eq!(horizon.of("I", "I"), 10);
    }

    #[test]
    fn an_earlier_epoch_is_decided_altogether_once_the_new_one_was_looked_back_at() {
        let mut horizon = Horizon::default();
        horizon.note(&figures(10, 7, 3));
        horizon.pass(|_| 7, |_| 3);
        let anew = StreamFigures {
            epoch: "J".into(),
            ..figures(0, 9, 3)
        };
        horizon.note(&anew);
        horizon.pass(|_| 8, |_| 3);
        assert_eq!((horizon.of("I", "J"), horizon.of("J", "J")), (10, 0));
        horizon.pass(|_| 9, |_| 3);
        assert_eq!((horizon.of("I", "J"), horizon.of("J", "J")), (u64::MAX, 0));
    }

    #[test]
    fn figures_that_wait_for_long_are_few_and_the_oldest_stay() {
        let mut horizon = Horizon::default();
        for number in 1..10_000 {
            horizon.note(&figures(number, number, 0));
        }
        assert!(horizon.waiting.len() <= FIGURES_MAX);
        horizon.pass(|_| 1, |_| 0);
        assert_eq!(horizon.of("I", "I"), 1);
    }

    #[test]
    fn what_has_no_kind_has_a_line_of_its_own() {
        let mut account = account(12, 10);
        account.kinds.stored(schemas::Kind::Event, 5, 0, 9);
        let buried = [4, 9].into_iter().collect();
        account.kinds.dead(None, &buried, &RangeSet::new());
        let found = Found {
            pending: [1, 0, 0, 0, 0, 0, 0, 0],
            ..Found::default()
        };
        let epoch = account.balance(&account.holes(), found);
        assert!(epoch.adds_up() && !epoch.balances());
        assert_eq!(epoch.missing_ranges, [(5, 5), (10, 10)]);
        let lines: Vec<_> = epoch
            .kinds
            .iter()
            .map(|line| {
                (
                    line.kind.as_str(),
                    line.stored,
                    line.dead,
                    line.pending,
                    line.missing,
                )
            })
            .collect();
        let expected = [
            ("metric", 0, 0, 1, 0),
            ("event", 5, 0, 0, 0),
            ("usage", 0, 0, 0, 0),
            ("step", 0, 0, 0, 0),
            ("message", 0, 0, 0, 0),
            ("session", 0, 0, 0, 0),
            ("work_item", 0, 0, 0, 0),
            ("unknown", 0, 1, 0, 0),
            (UNATTRIBUTED, 2, 0, 1, 2),
        ];
        assert_eq!(lines, expected);
    }

    proptest! {
        #[test]
        fn always_adds_up(
            stored in prop::collection::btree_set(1u64..60, 0..40),
            dead in prop::collection::btree_set(1u64..60, 0..40),
            last in 0u64..80, horizon in 0u64..90,
        ) {
            let text = |numbers: &BTreeSet<u64>| {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                set(&numbers.join(","))
            };
            let account = Account { last, horizon, stored: text(&stored), dead: text(&dead), ..Account::default() };
            let holes = account.holes();
            let epoch = account.balance(&holes, Found::default());
            prop_assert!(epoch.adds_up());
            prop_assert_eq!(epoch.published, last.max(stored.union(&dead).max().copied().unwrap_or(0)));
            prop_assert_eq!(epoch.stored, stored.len() as u64);
            prop_assert_eq!(epoch.dead, dead.difference(&stored).count() as u64);
            let lost = (1..=horizon.min(epoch.published)).filter(|n| !stored.contains(n) && !dead.contains(n));
            prop_assert_eq!(epoch.missing, lost.count() as u64);
            prop_assert_eq!(account.stored.count_in(&account.dead), stored.intersection(&dead).count() as u64);
        }
    }
}
