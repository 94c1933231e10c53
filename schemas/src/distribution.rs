//! Many observations at once: what OpenTelemetry calls an explicit or an exponential histogram.
//!
//! Invariant of a checked one: its buckets hold exactly `count` observations, and every one of them has a finite middle
//! between `min` and `max`. Deliberately absent: conversion between the two forms; each is kept as it was sent.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::limits;
use crate::rejection::{Reason, Rejection};

/// Observations counted in buckets, either between `bounds` or in powers of 2^(2^-`scale`).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// How many observations.
    #[schemars(range(max = limits::TOKENS))]
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// Explicit form: upper bounds of the buckets, ascending, each belonging to its bucket; the last bucket has none.
    pub bounds: Option<Vec<f64>>,
    /// Explicit form: observations in each bucket, one more than there are bounds.
    pub counts: Option<Vec<u64>>,
    /// Exponential form: bucket i holds what is above b^i and at most b^(i+1), where b = 2^(2^-scale).
    #[schemars(range(min = -10, max = 20))]
    pub scale: Option<i32>,
    /// Exponential form: observations that are zero.
    pub zero_count: Option<u64>,
    /// Exponential form: observations above zero.
    pub positive: Option<Buckets>,
    /// Exponential form: observations below zero, by magnitude.
    pub negative: Option<Buckets>,
}

/// A run of exponential buckets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Buckets {
    /// Index of the first bucket.
    pub offset: i32,
    /// Observations in each, from there on.
    pub counts: Vec<u64>,
}

impl Distribution {
    /// The mean, where the sum is known; 0 otherwise.
    pub fn mean(&self) -> f64 {
        match self.sum {
            Some(sum) if self.count > 0 => sum / self.count as f64,
            _ => 0.0,
        }
    }

    /// The middle of each bucket that is not empty, and how many observations it stands for; by value. Geometric where the
    /// bucket's bounds are positive. A bucket without a bound ends at the extreme, if that is known.
    pub fn middles(&self) -> Vec<(f64, u64)> {
        let mut middles = match (&self.bounds, self.scale) {
            (Some(bounds), _) => self.explicit(bounds),
            (None, Some(scale)) => self.exponential(scale),
            (None, None) => Vec::new(),
        };
        let (min, max) = (self.min.unwrap_or(f64::MIN), self.max.unwrap_or(f64::MAX));
        for (middle, _) in &mut middles {
            *middle = middle.max(min).min(max);
        }
        middles
    }

    fn explicit(&self, bounds: &[f64]) -> Vec<(f64, u64)> {
        let counts = self.counts.as_deref().unwrap_or_default();
        let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let middle = |at: usize| {
            let lower = at.checked_sub(1).and_then(|at| bounds.get(at)).copied();
            match (lower, bounds.get(at).copied()) {
                (Some(lower), Some(upper)) => middle(lower, upper),
                (None, Some(upper)) => match self.min {
                    Some(min) => middle(min.min(upper), upper),
                    // Of what is measured little is below zero: latencies, sizes, counts.
                    None if upper > 0.0 => upper / 2.0,
                    None => upper,
                },
                (Some(lower), None) => middle(lower, self.max.unwrap_or(lower).max(lower)),
                (None, None) => self.mean(),
            }
        };
        filled.map(|(at, count)| (middle(at), *count)).collect()
    }

    fn exponential(&self, scale: i32) -> Vec<(f64, u64)> {
        let width = f64::from(-scale).exp2();
        let middle = |offset: i32, at: usize| {
            let index = f64::from(offset) + at as f64;
            ((index + 0.5) * width).exp2().clamp(f64::MIN_POSITIVE, f64::MAX)
        };
        let of = |buckets: &Option<Buckets>| -> Vec<(f64, u64)> {
            let buckets = buckets.iter();
            let each = buckets.flat_map(|run| {
                run.counts
                    .iter()
                    .enumerate()
                    .map(|(at, count)| (run.offset, at, *count))
            });
            let filled = each.filter(|(_, _, count)| *count > 0);
            filled
                .map(|(offset, at, count)| (middle(offset, at), count))
                .collect()
        };
        let negative = of(&self.negative)
            .into_iter()
            .rev()
            .map(|(middle, count)| (-middle, count));
        let zero = self
            .zero_count
            .filter(|count| *count > 0)
            .map(|count| (0.0, count));
        negative.chain(zero).chain(of(&self.positive)).collect()
    }

    /// Checks what its type does not say.
    pub(crate) fn check(&self) -> Result<(), Rejection> {
        if self.count > limits::TOKENS {
            let problem = format!("is {}, more than {}", self.count, limits::TOKENS);
            return Err(out_of_range(
                "count",
                problem,
                "send a delta of fewer observations",
            ));
        }
        if self.min.zip(self.max).is_some_and(|(min, max)| min > max) {
            return Err(inconsistent("min", "is more than max".into(), "exchange them"));
        }
        match (&self.bounds, self.scale) {
            (Some(bounds), None) => self.check_explicit(bounds)?,
            (None, Some(scale)) => self.check_exponential(scale)?,
            _ => {
                let problem = "has neither or both of bounds and scale";
                let fix = "send bounds and counts, or scale, zero_count, positive and negative";
                return Err(Rejection::new(Reason::Inconsistent, "distribution", problem, fix));
            }
        }
        let held = self.held();
        if held != u128::from(self.count) {
            let problem = format!("is {}, but the buckets hold {held}", self.count);
            return Err(inconsistent("count", problem, "send the sum of all buckets"));
        }
        Ok(())
    }

    fn check_explicit(&self, bounds: &[f64]) -> Result<(), Rejection> {
        if self.zero_count.is_some() || self.positive.is_some() || self.negative.is_some() {
            return Err(inconsistent(
                "bounds",
                "is given with exponential buckets".into(),
                "send one form",
            ));
        }
        if !bounds.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(inconsistent(
                "bounds",
                "do not ascend".into(),
                "sort them, and send each once",
            ));
        }
        let counts = self.counts.as_deref().unwrap_or_default();
        if counts.len() != bounds.len() + 1 {
            let problem = format!("has {} counts for {} bounds", counts.len(), bounds.len());
            return Err(inconsistent("counts", problem, "send one count more than bounds"));
        }
        Ok(())
    }

    fn check_exponential(&self, scale: i32) -> Result<(), Rejection> {
        if self.counts.is_some() {
            return Err(inconsistent(
                "counts",
                "is given with a scale".into(),
                "send one form",
            ));
        }
        if !(-10..=20).contains(&scale) {
            let problem = format!("is {scale}, not from -10 to 20");
            return Err(out_of_range("scale", problem, "merge buckets until it fits"));
        }
        Ok(())
    }

    fn held(&self) -> u128 {
        let sum = |counts: &[u64]| counts.iter().copied().map(u128::from).sum::<u128>();
        let runs = self.positive.iter().chain(&self.negative);
        self.counts.as_deref().map_or(0, sum)
            + u128::from(self.zero_count.unwrap_or(0))
            + runs.map(|run| sum(&run.counts)).sum::<u128>()
    }
}

/// Between two bounds.
fn middle(lower: f64, upper: f64) -> f64 {
    if lower > 0.0 {
        lower.sqrt() * upper.sqrt()
    } else if upper < 0.0 {
        -(lower.abs().sqrt() * upper.abs().sqrt())
    } else {
        lower / 2.0 + upper / 2.0
    }
}

fn inconsistent(member: &str, problem: String, fix: &str) -> Rejection {
    Rejection::new(
        Reason::Inconsistent,
        format!("distribution.{member}"),
        problem,
        fix,
    )
}

fn out_of_range(member: &str, problem: String, fix: &str) -> Rejection {
    Rejection::new(Reason::OutOfRange, format!("distribution.{member}"), problem, fix)
}
