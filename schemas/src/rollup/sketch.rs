//! A histogram with logarithmic buckets, from which every quantile can be read with a bounded relative error.
//!
//! The mapping is DDSketch's (Masson, Rim, Lee: "DDSketch", VLDB 2019): a value v > 0 falls into bucket
//! i = ⌈log_γ v⌉ with γ = (1 + α) / (1 - α), and is read back as 2γ^i / (γ + 1), at most α off. Buckets are
//! never collapsed: all finite doubles need fewer than 73,000 of each sign.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// α: a value read back from its bucket is off by at most this share of itself.
pub const ERROR_MAX: f64 = 0.01;

const GAMMA: f64 = (1.0 + ERROR_MAX) / (1.0 - ERROR_MAX);

/// Added to a positive value's index, so that all of them (-37,222 to 35,490) stay positive. Zero has index 0, a
/// negative value the negated index of its magnitude: the order of indexes is the order of values.
const OFFSET: i32 = 40_000;

/// Counts by bucket. In JSON: pairs of index and count, by index.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(i32, u64)>", into = "Vec<(i32, u64)>")]
pub struct Sketch(BTreeMap<i32, u64>);

impl Sketch {
    /// Counts a finite value.
    pub fn add(&mut self, value: f64) {
        self.add_bucket(index(value), 1);
    }

    /// Counts a finite value this many times.
    pub fn add_many(&mut self, value: f64, count: u64) {
        self.add_bucket(index(value), count);
    }

    /// Adds the counts of another sketch.
    pub fn merge(&mut self, other: &Sketch) {
        for (&index, &count) in &other.0 {
            self.add_bucket(index, count);
        }
    }

    fn add_bucket(&mut self, index: i32, count: u64) {
        let sum = self.0.entry(index).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Index and count of every bucket in use, by index.
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = (i32, u64)> {
        self.0.iter().map(|(&index, &count)| (index, count))
    }

    /// The smallest value that a share `q` of the n counted do not exceed, which is number ⌈q·n⌉ (SQL's
    /// `percentile_disc`), within [`ERROR_MAX`]; none if nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count: u64 = self.0.values().fold(0, |sum, count| sum.saturating_add(*count));
        count.checked_sub(1)?;
        // 0.07 times 100 is a little more than 7 in doubles.
        let rank = (q.clamp(0.0, 1.0) * count as f64 - 1e-9).ceil() - 1.0;
        let mut seen = 0_u64;
        let at = self.0.iter().find(|(_, count)| {
            seen = seen.saturating_add(**count);
            seen as f64 > rank
        });
        at.or_else(|| self.0.last_key_value())
            .map(|(index, _)| value(*index))
    }
}

/// The bucket of a value.
fn index(value: f64) -> i32 {
    if value == 0.0 {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 75,490")]
    let index = OFFSET + (value.abs().ln() / GAMMA.ln()).ceil() as i32;
    if value < 0.0 { -index } else { index }
}

/// The value a bucket stands for.
fn value(index: i32) -> f64 {
    if index == 0 {
        return 0.0;
    }
    let exponent = f64::from(index.saturating_abs().saturating_sub(OFFSET));
    let magnitude = (exponent * GAMMA.ln() + (2.0 / (1.0 + GAMMA)).ln())
        .exp()
        .min(f64::MAX);
    magnitude.copysign(f64::from(index))
}

impl From<Vec<(i32, u64)>> for Sketch {
    fn from(pairs: Vec<(i32, u64)>) -> Self {
        let mut sketch = Sketch::default();
        for (index, count) in pairs {
            sketch.add_bucket(index, count);
        }
        sketch
    }
}

impl From<Sketch> for Vec<(i32, u64)> {
    fn from(sketch: Sketch) -> Self {
        sketch.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Room for the rounding of logarithm and power beside the bound itself.
    const BOUND: f64 = ERROR_MAX * 1.000_001;

    #[test]
    fn zero_and_the_largest_values_have_buckets() {
        assert_eq!(index(0.0), 0);
        assert_eq!(index(-0.0), 0);
        assert_eq!(value(0), 0.0);
        assert!(index(f64::MIN_POSITIVE / 4e15) > 0);
        for huge in [f64::MAX, f64::MIN] {
            assert!((value(index(huge)) / huge - 1.0).abs() <= BOUND, "{huge}");
        }
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    #[test]
    fn one_slow_call_of_ten_is_the_95th_percentile() {
        let mut sketch = Sketch::default();
        for value in [100.0; 9].into_iter().chain([9000.0]) {
            sketch.add(value);
        }
        for (q, expected) in [
            (0.0, 100.0),
            (0.5, 100.0),
            (0.9, 100.0),
            (0.91, 9000.0),
            (0.95, 9000.0),
            (1.0, 9000.0),
        ] {
            let found = sketch.quantile(q).unwrap();
            assert!((found / expected - 1.0).abs() <= BOUND, "{q}: {found}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_read_back_within_the_error(found in prop::num::f64::NORMAL) {
            prop_assert!((value(index(found)) - found).abs() <= found.abs() * BOUND);
        }

        #[test]
        fn the_order_of_indexes_is_the_order_of_values(a in -1e9..1e9, b in -1e9..1e9) {
            prop_assert!((a < b) <= (index(a) <= index(b)));
        }

        #[test]
        fn quantiles_are_within_the_error(mut values in prop::collection::vec(-1e4..1e7, 1..200), q in 0.0..=1.0_f64) {
            let mut halves = [Sketch::default(), Sketch::default()];
            for (at, value) in values.iter().enumerate() {
                halves[at % 2].add(*value);
            }
            let [mut sketch, other] = halves;
            sketch.merge(&other);
            values.sort_by(f64::total_cmp);
            let exact = values[((q * values.len() as f64 - 1e-9).ceil() as usize).saturating_sub(1)];
            let found = sketch.quantile(q).unwrap();
            prop_assert!((found - exact).abs() <= exact.abs() * BOUND, "{found} for {exact}");
        }
    }
}
