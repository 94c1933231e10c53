//! Events a second, from the counts that EVENTS messages carry in their headers. Pure.

use std::collections::VecDeque;

use schemas::Kind;
use schemas::live::{self, KindRate};

/// A rate is the mean of at most so many whole seconds.
const SECONDS_MAX: i64 = 5;

/// What passed in the last seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    /// The first whole second listened to.
    since: i64,
    seconds: VecDeque<(i64, [u64; Kind::ALL.len()])>,
    newest_ms: Option<i64>,
}

impl Traffic {
    /// Nothing heard yet.
    pub(crate) fn listening_from(now_ms: i64) -> Self {
        Self {
            since: now_ms.div_euclid(1000) + 1,
            ..Self::default()
        }
    }

    /// Counts the events of one message.
    pub(crate) fn add(&mut self, now_ms: i64, kind: Kind, events: u64) {
        let second = now_ms.div_euclid(1000);
        self.newest_ms = Some(now_ms);
        if self.seconds.back().is_none_or(|(last, _)| *last < second) {
            self.seconds.push_back((second, [0; Kind::ALL.len()]));
            while self.seconds.len() > SECONDS_MAX as usize + 1 {
                self.seconds.pop_front();
            }
        }
        if let Some((_, counts)) = self.seconds.back_mut() {
            counts[kind as usize] = counts[kind as usize].saturating_add(events);
        }
    }

    /// The rates of now; the second that is not over does not count.
    pub(crate) fn rates(&self, now_ms: i64) -> live::Traffic {
        let now = now_ms.div_euclid(1000);
        let seconds = (now - self.since).min(SECONDS_MAX);
        if seconds < 1 {
            return live::Traffic {
                newest_ms: self.newest_ms,
                ..live::Traffic::default()
            };
        }
        let counted = self
            .seconds
            .iter()
            .filter(|(second, _)| (now - seconds..now).contains(second));
        let mut sums = [0_u64; Kind::ALL.len()];
        for (_, counts) in counted {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.saturating_add(*count);
            }
        }
        let rate = |events: u64| events as f64 / seconds as f64;
        let kinds = Kind::ALL.into_iter().map(|kind| KindRate {
            kind: kind.as_str().to_owned(),
            per_second: rate(sums[kind as usize]),
        });
        live::Traffic {
            per_second: Some(sums.into_iter().map(rate).sum()),
            kinds: kinds.filter(|kind| kind.per_second > 0.0).collect(),
            newest_ms: self.newest_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_whole_seconds_that_were_listened_to() {
        let mut traffic = Traffic::listening_from(10_400);
        traffic.add(10_500, Kind::Metric, 1000);
        assert_eq!(traffic.rates(10_900).per_second, None);
        assert_eq!(traffic.rates(11_900).per_second, None);
        traffic.add(11_100, Kind::Metric, 30);
        traffic.add(12_900, Kind::Usage, 6);
        assert_eq!(traffic.rates(12_950).per_second, Some(30.0));
        let rates = traffic.rates(14_000);
        assert_eq!(rates.per_second, Some(12.0));
        assert_eq!(rates.kinds.len(), 2);
        assert_eq!(rates.newest_ms, Some(12_900));
        // Long ago.
        assert_eq!(traffic.rates(60_000).per_second, Some(0.0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut traffic = Traffic::listening_from(0);
        for second in 0..1000 {
            traffic.add(second * 1000, Kind::Event, u64::MAX);
        }
        assert!(traffic.seconds.len() <= 6);
        assert!(traffic.rates(1_000_000).per_second.is_some());
    }
}
