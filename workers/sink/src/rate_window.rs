//! Events of the last 15 minutes by second of arrival, by kind and by source. Bounded, whatever arrives.

use std::collections::{HashMap, hash_map};
use std::hash::{DefaultHasher, Hash, Hasher};

use schemas::Kind;
use schemas::overview::{BUCKET_SECONDS, BUCKETS, Rate, RateSeries, SourceActivity};

/// Seconds in a bucket.
pub(crate) const BUCKET: i64 = BUCKET_SECONDS as i64;
/// Seconds kept: the window, and some for a clock that is ahead of ours.
const SECONDS: usize = 1024;
/// Buckets kept.
const SLOTS: usize = BUCKETS + 6;
/// Seconds the present rate is the mean of.
const NOW_SECONDS: i64 = 5;
/// Sources counted one by one.
pub(crate) const SOURCES_MAX: usize = 1000;
/// Further sources known only by a hash, so that they can be counted.
const OMITTED_MAX: usize = 10_000;
/// Sources listed.
pub(crate) const SOURCES_LISTED: usize = 20;

/// Counters in a ring, each marked with the moment it counts.
#[derive(Debug, Clone)]
struct Ring<const N: usize> {
    slots: Vec<(i64, [u64; N])>,
}

impl<const N: usize> Ring<N> {
    fn new(length: usize) -> Self {
        Ring {
            slots: vec![(i64::MIN, [0; N]); length],
        }
    }

    fn place(&self, moment: i64) -> usize {
        usize::try_from(moment.rem_euclid(self.slots.len() as i64)).unwrap_or_default()
    }

    fn add(&mut self, moment: i64, counter: usize, count: u64) {
        let place = self.place(moment);
        let slot = &mut self.slots[place];
        if slot.0 < moment {
            *slot = (moment, [0; N]);
        }
        if slot.0 == moment {
            slot.1[counter] = slot.1[counter].saturating_add(count);
        }
    }

    fn get(&self, moment: i64) -> [u64; N] {
        let slot = self.slots[self.place(moment)];
        if slot.0 == moment { slot.1 } else { [0; N] }
    }
}

/// The last 15 minutes.
#[derive(Debug, Clone)]
pub(crate) struct RateWindow {
    seconds: Ring<{ Kind::ALL.len() }>,
    sources: HashMap<String, SourceWindow>,
    /// Sources beyond [`SOURCES_MAX`]: hash to the second last seen.
    omitted: HashMap<u64, i64>,
}

#[derive(Debug, Clone)]
struct SourceWindow {
    buckets: Ring<1>,
    last_second: i64,
}

/// The first bucket of the window whose last bucket holds `now` (seconds since 1970).
pub(crate) fn first_bucket(now: i64) -> i64 {
    now.div_euclid(BUCKET) - (BUCKETS as i64 - 1)
}

impl RateWindow {
    pub(crate) fn new() -> Self {
        RateWindow {
            seconds: Ring::new(SECONDS),
            sources: HashMap::new(),
            omitted: HashMap::new(),
        }
    }

    /// Counts events of a source that arrived in a second.
    pub(crate) fn add(&mut self, second: i64, kind: Kind, source: &str, count: u64) {
        self.seconds.add(second, kind as usize, count);
        if !self.sources.contains_key(source) && self.sources.len() >= SOURCES_MAX {
            let horizon = second - BUCKET * BUCKETS as i64;
            self.sources.retain(|_, source| source.last_second >= horizon);
        }
        if !self.sources.contains_key(source) && self.sources.len() >= SOURCES_MAX {
            self.omit(second, source);
            return;
        }
        let window = match self.sources.entry(source.to_owned()) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => entry.insert(SourceWindow {
                buckets: Ring::new(SLOTS),
                last_second: second,
            }),
        };
        window.buckets.add(second.div_euclid(BUCKET), 0, count);
        window.last_second = window.last_second.max(second);
    }

    fn omit(&mut self, second: i64, source: &str) {
        if self.omitted.len() >= OMITTED_MAX {
            let horizon = second - BUCKET * BUCKETS as i64;
            self.omitted.retain(|_, last| *last >= horizon);
        }
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        let hash = hasher.finish();
        if self.omitted.len() < OMITTED_MAX || self.omitted.contains_key(&hash) {
            self.omitted.insert(hash, second);
        }
    }

    /// The rates as of `now`, in seconds since 1970.
    pub(crate) fn rate(&self, now: i64) -> Rate {
        let first = first_bucket(now);
        let events = |kind: Kind, bucket: i64| {
            let seconds = bucket * BUCKET..(bucket + 1) * BUCKET;
            seconds
                .map(|second| self.seconds.get(second)[kind as usize])
                .sum()
        };
        let recent: u64 = (now - NOW_SECONDS..now)
            .flat_map(|second| self.seconds.get(second))
            .sum();
        Rate {
            per_second_now: recent as f64 / NOW_SECONDS as f64,
            bucket_seconds: BUCKET_SECONDS,
            end_ms: (first + BUCKETS as i64) * BUCKET * 1000,
            kinds: Kind::ALL
                .into_iter()
                .map(|kind| RateSeries {
                    kind: kind.as_str().to_owned(),
                    events: (first..first + BUCKETS as i64)
                        .map(|bucket| events(kind, bucket))
                        .collect(),
                })
                .collect(),
        }
    }

    /// The most active sources of the window, and how many more there were.
    pub(crate) fn sources(&self, now: i64) -> (Vec<SourceActivity>, u64) {
        let first = first_bucket(now);
        let mut active: Vec<(u64, &String, i64)> = self
            .sources
            .iter()
            .map(|(name, source)| {
                let buckets = first..first + BUCKETS as i64;
                let events: u64 = buckets.map(|bucket| source.buckets.get(bucket)[0]).sum();
                (events, name, source.last_second)
            })
            .filter(|(events, ..)| *events > 0)
            .collect();
        active.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let uncounted = self
            .omitted
            .values()
            .filter(|last| **last >= first * BUCKET)
            .count();
        let omitted = active.len().saturating_sub(SOURCES_LISTED) + uncounted;
        let listed = active.into_iter().take(SOURCES_LISTED);
        let listed = listed.map(|(events_15m, source, last_second)| SourceActivity {
            source: source.clone(),
            events_15m,
            last_seen_ms: last_second * 1000,
        });
        (listed.collect(), omitted as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_fall_into_their_second_and_out_of_the_window() {
        let mut window = RateWindow::new();
        let now = 1_800_000_007;
        window.add(now, Kind::Metric, "a", 5);
        window.add(now - 5, Kind::Usage, "a", 10);
        window.add(now - 6, Kind::Usage, "b", 100);
        window.add(now - 5000, Kind::Usage, "old", 100);
        let rate = window.rate(now);
        assert_eq!(rate.per_second_now, 2.0, "the present second is not whole");
        assert_eq!(rate.end_ms, 1_800_000_010_000);
        assert_eq!(rate.kinds[0].events[89], 5);
        assert_eq!(rate.kinds[2].events[89], 110);
        let (sources, omitted) = window.sources(now);
        let names: Vec<_> = sources
            .iter()
            .map(|s| (s.source.as_str(), s.events_15m))
            .collect();
        assert_eq!(names, [("b", 100), ("a", 15)]);
        assert_eq!(omitted, 0);
        let later = window.rate(now + 890);
        assert_eq!(later.kinds[2].events[0], 110);
        assert_eq!(later.kinds[2].events[1..], [0; 89]);
    }

    #[test]
    fn sources_are_bounded_and_the_rest_is_counted() {
        let mut window = RateWindow::new();
        for number in 0..1500 {
            window.add(1_800_000_000, Kind::Event, &format!("s{number}"), 1);
            window.add(1_800_000_000, Kind::Event, &format!("s{number}"), 1);
        }
        let (listed, omitted) = window.sources(1_800_000_000);
        assert_eq!((listed.len(), omitted), (20, 1480));
        assert_eq!(window.rate(1_800_000_000).kinds[1].events[89], 3000);
        window.add(1_800_001_000, Kind::Event, "new", 1);
        assert_eq!(window.sources(1_800_001_000).0[0].source, "new", "room was made");
    }
}
