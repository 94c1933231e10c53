//! How many events of which INGEST message.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, de};

use crate::Origins;

/// Counts by origin. Invariant: its runs are sorted, do not overlap, and no two that touch have the same count, so
/// equal counts are written alike. In text each run says how far it is from the one before, so that many stay
/// short: `1001+949,2*3` is one event each of 1001 to 1950, and three of 1952.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OriginCounts {
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u64,
    end: u64,
    count: u64,
}

/// Why a text is not counts by origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` is not a run of origins: a distance, how many more, and a count, like 1001+949*2")]
pub struct OriginCountsError {
    part: String,
}

impl Run {
    const fn len(self) -> u64 {
        self.end - self.start + 1
    }

    /// Reads a run that follows one that ends at `before`.
    fn parse(part: &str, before: u64) -> Option<Run> {
        let (range, count) = part.split_once('*').unwrap_or((part, "1"));
        let (distance, more) = range.split_once('+').unwrap_or((range, "0"));
        let distance: u64 = distance.parse().ok()?;
        let start = before.checked_add(distance)?;
        let run = Run {
            start,
            end: start.checked_add(more.parse().ok()?)?,
            count: count.parse().ok()?,
        };
        // Sequences are 63 bits everywhere, so that sums of lengths do not overflow.
        let valid = distance > 0 && run.end <= i64::MAX as u64 && run.count > 0;
        valid.then_some(run)
    }
}

impl OriginCounts {
    /// One more event of this origin; cheap where they come in ascending order.
    pub fn add(&mut self, origin: u64) {
        match self.runs.last_mut() {
            Some(last) if origin > last.end => self.push(Run {
                start: origin,
                end: origin,
                count: 1,
            }),
            Some(last) if origin == last.end && last.start == last.end => {
                let run = Run {
                    count: last.count.saturating_add(1),
                    ..*last
                };
                self.runs.pop();
                self.push(run);
            }
            Some(last) if origin == last.end => {
                let run = Run {
                    start: origin,
                    end: origin,
                    count: last.count.saturating_add(1),
                };
                last.end -= 1;
                self.push(run);
            }
            Some(_) => self.merge(&OriginCounts {
                runs: vec![Run {
                    start: origin,
                    end: origin,
                    count: 1,
                }],
            }),
            None => self.runs.push(Run {
                start: origin,
                end: origin,
                count: 1,
            }),
        }
    }

    /// Appends a run that lies behind all others.
    fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last) if last.end + 1 == run.start && last.count == run.count => last.end = run.end,
            _ => self.runs.push(run),
        }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &OriginCounts) {
        // Where a count begins and ends; what is open in between adds up.
        let mut steps: BTreeMap<u64, i128> = BTreeMap::new();
        for run in self.runs.iter().chain(&other.runs) {
            *steps.entry(run.start).or_default() += i128::from(run.count);
            *steps.entry(run.end + 1).or_default() -= i128::from(run.count);
        }
        self.runs.clear();
        let mut open = (0, 0_i128);
        for (at, step) in steps {
            if let Ok(count @ 1..) = u64::try_from(open.1) {
                self.push(Run {
                    start: open.0,
                    end: at - 1,
                    count,
                });
            }
            open = (at, open.1 + step);
        }
    }

    /// All events.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.without(&Origins::new())
    }

    /// All events but those of the origins given.
    #[must_use]
    pub fn without(&self, origins: &Origins) -> u64 {
        self.runs.iter().fold(0, |sum: u64, run| {
            let left_out = origins.ranges().iter().map(|range| {
                let (start, end) = (run.start.max(*range.start()), run.end.min(*range.end()));
                if start <= end { end - start + 1 } else { 0 }
            });
            let kept = run.len() - left_out.sum::<u64>();
            sum.saturating_add(kept.saturating_mul(run.count))
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

impl fmt::Display for OriginCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = 0;
        for (position, run) in self.runs.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{}", run.start - before)?;
            if run.end > run.start {
                write!(f, "+{}", run.end - run.start)?;
            }
            if run.count > 1 {
                write!(f, "*{}", run.count)?;
            }
            before = run.end;
        }
        Ok(())
    }
}

impl FromStr for OriginCounts {
    type Err = OriginCountsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut counts = OriginCounts::default();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let before = counts.runs.last().map_or(0, |last| last.end);
            match Run::parse(part, before) {
                Some(run) => counts.push(run),
                None => {
                    let part = part.chars().take(64).collect();
                    return Err(OriginCountsError { part });
                }
            }
        }
        Ok(counts)
    }
}

impl Serialize for OriginCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OriginCounts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::Text::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
