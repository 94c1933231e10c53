//! Sets of sequences as merged ranges: a healthy set is one range, whatever its size.

use std::fmt::Write;
use std::ops::RangeInclusive;

use rangemap::RangeInclusiveSet;
use schemas::{Origins, OriginsError};

/// The highest sequence a set takes, so that no arithmetic on it overflows.
pub(crate) const SEQUENCE_MAX: u64 = i64::MAX as u64;

/// A set of sequences. Invariant: none is above 2^63-1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet(RangeInclusiveSet<u64>);

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        RangeSet::default()
    }

    /// Adds a range; what lies above 2^63-1 is left out.
    pub fn insert(&mut self, range: RangeInclusive<u64>) {
        let (start, end) = (*range.start(), (*range.end()).min(SEQUENCE_MAX));
        if start <= end {
            self.0.insert(start..=end);
        }
    }

    /// Adds every range of `origins`.
    pub fn extend(&mut self, origins: &Origins) {
        origins
            .ranges()
            .iter()
            .for_each(|range| self.insert(range.clone()));
    }

    /// Whether the sequence is in the set.
    pub fn contains(&self, sequence: u64) -> bool {
        self.0.contains(&sequence)
    }

    /// What is in both sets.
    pub fn intersection(&self, origins: &Origins) -> Origins {
        let mut both = Origins::new();
        for wanted in origins.ranges() {
            for held in self.0.overlapping(wanted) {
                both.insert(*held.start().max(wanted.start())..=*held.end().min(wanted.end()));
            }
        }
        both
    }

    /// The parts of a range that are not in the set.
    pub fn gaps(&self, range: &RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
        self.0.gaps(range).collect()
    }

    /// The ranges, in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = &RangeInclusive<u64>> {
        self.0.iter()
    }

    /// The lowest sequence, from this one on, that is not in the set.
    pub fn first_absent(&self, from: u64) -> u64 {
        self.0.get(&from).map_or(from, |range| range.end() + 1)
    }

    /// How many sequences are in the set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end() - range.start() + 1).sum()
    }

    /// How many sequences at or below `last` are in the set.
    pub fn count_up_to(&self, last: u64) -> u64 {
        self.0
            .iter()
            .filter(|range| *range.start() <= last)
            .map(|range| (*range.end()).min(last) - range.start() + 1)
            .sum()
    }

    /// How many sequences are in both sets.
    pub fn count_in(&self, other: &RangeSet) -> u64 {
        let (few, many) = if self.0.len() <= other.0.len() {
            (self, other)
        } else {
            (other, self)
        };
        let in_many = |range: &RangeInclusive<u64>| {
            let held = many.0.overlapping(range);
            let both = held.map(|held| held.end().min(range.end()) - held.start().max(range.start()) + 1);
            both.sum::<u64>()
        };
        few.0.iter().map(in_many).sum()
    }

    /// The highest sequence in the set.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|range| *range.end())
    }

    /// The highest sequence of the unbroken run that starts at 1; 0 if 1 is absent.
    pub fn contiguous(&self) -> u64 {
        self.0.get(&1).map_or(0, |range| *range.end())
    }

    /// Both sets together.
    pub fn union(&self, other: &RangeSet) -> RangeSet {
        RangeSet(self.0.union(&other.0).collect())
    }

    /// Where the ranges begin with which this one would become one.
    pub(crate) fn touching(&self, range: &RangeInclusive<u64>) -> impl Iterator<Item = u64> {
        let around = range.start().saturating_sub(1)..=range.end().saturating_add(1);
        let starts: Vec<u64> = self.0.overlapping(&around).map(|held| *held.start()).collect();
        starts.into_iter()
    }

    /// The ranges that begin within these sequences, as text.
    pub(crate) fn text_of_starts(&self, within: RangeInclusive<u64>) -> String {
        let held = self.0.overlapping(&within);
        text_of(held.filter(|range| within.contains(range.start())))
    }

    /// The ranges above `sequence` as text, e.g. `5-7,9`.
    pub fn text_above(&self, sequence: u64) -> String {
        text_of(self.0.iter().filter(|range| *range.start() > sequence))
    }

    /// All ranges as text.
    pub fn text(&self) -> String {
        self.text_above(0)
    }

    /// Reads what [`RangeSet::text`] wrote.
    ///
    /// # Errors
    /// The text is not a list of ranges.
    pub fn parse(text: &str) -> Result<RangeSet, OriginsError> {
        let mut set = RangeSet::new();
        set.extend(&text.parse()?);
        Ok(set)
    }
}

fn text_of<'r>(ranges: impl Iterator<Item = &'r RangeInclusive<u64>>) -> String {
    let mut text = String::new();
    for range in ranges {
        let comma = if text.is_empty() { "" } else { "," };
        let (start, end) = (range.start(), range.end());
        let written = if start == end {
            write!(text, "{comma}{start}")
        } else {
            write!(text, "{comma}{start}-{end}")
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_up_to_the_largest_number_is_cut() {
        let mut set = RangeSet::new();
        set.insert(1..=u64::MAX);
        assert_eq!(set.count(), SEQUENCE_MAX);
        assert_eq!(set.contiguous(), SEQUENCE_MAX);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_numbers(
            ranges in prop::collection::vec((1u64..60, 0u64..10), 0..12),
            wanted in prop::collection::vec((1u64..60, 0u64..10), 0..4),
            last in 0u64..80,
        ) {
            let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
            for (start, length) in ranges {
                set.insert(start..=start + length);
                model.extend(start..=start + length);
            }
            let mut origins = Origins::new();
            wanted.into_iter().for_each(|(start, length)| origins.insert(start..=start + length));
            let both: Origins = model.iter().copied().filter(|&n| origins.contains(n)).collect();
            prop_assert_eq!(set.intersection(&origins), both);
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert_eq!(set.count_up_to(last), model.range(..=last).count() as u64);
            prop_assert_eq!(set.last(), model.last().copied());
            prop_assert_eq!(set.first_absent(last), (last..).find(|n| !model.contains(n)).unwrap());
            let gaps: BTreeSet<u64> = set.gaps(&(1..=last.max(1))).into_iter().flatten().collect();
            prop_assert_eq!(gaps, (1..=last.max(1)).filter(|n| !model.contains(n)).collect::<BTreeSet<u64>>());
            prop_assert_eq!(set.contiguous(), (1..).find(|n| !model.contains(n)).unwrap() - 1);
            prop_assert_eq!(RangeSet::parse(&set.text()).unwrap(), set);
        }
    }
}
