//! Sets of INGEST sequences, as the header `Aiai-Origins` carries them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A set of INGEST sequences. Invariant: its ranges are sorted, not empty, and neither overlap nor touch, so
/// equal sets are written alike. In text: `1001-1950,1952`; the empty set is the empty text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    ranges: Vec<RangeInclusive<u64>>,
}

/// Why a text is not a set of origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` is not a sequence or a range of sequences like 1001-1950")]
pub struct OriginsError {
    part: String,
}

impl Origins {
    /// The empty set.
    pub const fn new() -> Self {
        Origins { ranges: Vec::new() }
    }

    /// Adds one sequence; at no cost worth naming when they come in ascending order.
    pub fn push(&mut self, origin: u64) {
        self.insert(origin..=origin);
    }

    /// Adds all sequences of a range; an empty range adds nothing.
    pub fn insert(&mut self, range: RangeInclusive<u64>) {
        let (mut start, mut end) = range.into_inner();
        if start > end {
            return;
        }
        // Ranges from `first` up to `last` overlap or touch the new one and are merged into it.
        let last = match self.ranges.last() {
            Some(range) if *range.start() > end.saturating_add(1) => self
                .ranges
                .partition_point(|range| *range.start() <= end.saturating_add(1)),
            _ => self.ranges.len(),
        };
        let first = match self.ranges.last() {
            Some(range) if range.end().saturating_add(1) < start => self.ranges.len(),
            _ => self
                .ranges
                .partition_point(|range| range.end().saturating_add(1) < start),
        };
        if first < last {
            start = start.min(*self.ranges[first].start());
            end = end.max(*self.ranges[last - 1].end());
        }
        self.ranges.splice(first..last, [start..=end]);
    }

    /// The ranges, in ascending order.
    pub fn ranges(&self) -> &[RangeInclusive<u64>] {
        &self.ranges
    }

    /// How many sequences there are (`u64::MAX` if more).
    pub fn len(&self) -> u64 {
        self.ranges.iter().fold(0, |sum: u64, range| {
            sum.saturating_add(range.end() - range.start()).saturating_add(1)
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether this sequence is in the set.
    pub fn contains(&self, origin: u64) -> bool {
        let at = self.ranges.partition_point(|range| *range.end() < origin);
        self.ranges.get(at).is_some_and(|range| range.contains(&origin))
    }
}

impl Extend<u64> for Origins {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, origins: T) {
        origins.into_iter().for_each(|origin| self.push(origin));
    }
}

impl FromIterator<u64> for Origins {
    fn from_iter<T: IntoIterator<Item = u64>>(origins: T) -> Self {
        let mut set = Origins::new();
        set.extend(origins);
        set
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, range) in self.ranges.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let (start, end) = (range.start(), range.end());
            if start == end {
                write!(f, "{comma}{start}")?;
            } else {
                write!(f, "{comma}{start}-{end}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Origins {
    type Err = OriginsError;

    /// Takes ranges in any order, even overlapping.
    fn from_str(text: &str) -> Result<Self, OriginsError> {
        let mut set = Origins::new();
        if text.is_empty() {
            return Ok(set);
        }
        for part in text.split(',') {
            let (start, end) = part.split_once('-').unwrap_or((part, part));
            match (parse_sequence(start), parse_sequence(end)) {
                (Some(start), Some(end)) if start <= end => set.insert(start..=end),
                _ => {
                    return Err(OriginsError {
                        part: part.chars().take(64).collect(),
                    });
                }
            }
        }
        Ok(set)
    }
}

/// Digits only: `u64::from_str` would also take a plus sign.
fn parse_sequence(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_written_as_ranges() {
        let set: Origins = (1001..=1950).chain([1952]).collect();
        assert_eq!(set.to_string(), "1001-1950,1952");
        assert_eq!((set.len(), set.ranges().len()), (951, 2));
        assert_eq!("".parse(), Ok(Origins::new()));
        assert_eq!("3,1-2".parse::<Origins>().unwrap().to_string(), "1-3");
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in [
            ",",
            "1,",
            "a",
            "2-1",
            "1-",
            "-1",
            "+1",
            "1-2-3",
            " 1",
            "18446744073709551616",
        ] {
            assert!(text.parse::<Origins>().is_err(), "{text}");
        }
    }

    #[test]
    fn holds_the_largest_sequences() {
        let mut set: Origins = [u64::MAX, 0, u64::MAX - 1].into_iter().collect();
        assert_eq!(set.to_string(), "0,18446744073709551614-18446744073709551615");
        set.insert(0..=u64::MAX);
        assert_eq!((set.ranges().len(), set.len()), (1, u64::MAX));
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(inserts in proptest::collection::vec((0_u64..200, 0_u64..8), 0..60)) {
            let (mut set, mut model) = (Origins::new(), BTreeSet::new());
            for (start, length) in inserts {
                set.insert(start..=start + length);
                model.extend(start..=start + length);
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            for origin in 0..210 {
                prop_assert_eq!(set.contains(origin), model.contains(&origin));
            }
            for pair in set.ranges().windows(2) {
                prop_assert!(pair[0].end() + 1 < *pair[1].start());
            }
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }
    }
}
