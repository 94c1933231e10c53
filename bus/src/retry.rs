//! The retry policy: exponential delays with jitter, bounded in number.
//!
//! The only file that names the crate `backoff`. The crate is no longer maintained
//! (RUSTSEC-2025-0012); it was chosen for this project, is small and pure, and the
//! exception with this reason stands in `.cargo/deny.toml`.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// How often and how patiently something is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Before the second attempt.
    pub first: Duration,
    /// No delay is longer.
    pub longest: Duration,
    /// Attempts in all, the first included.
    pub attempts: u32,
}

impl Policy {
    /// Publishing into a stream: about nine seconds, for a leader change or a short stall.
    pub const PUBLISH: Self = Self {
        first: Duration::from_millis(50),
        longest: Duration::from_secs(2),
        attempts: 10,
    };
    /// Reopening a subscription: for ever, never more than five seconds apart.
    pub const REOPEN: Self = Self {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(5),
        attempts: u32::MAX,
    };

    /// The delays between attempts.
    #[must_use]
    pub fn delays(&self) -> Delays {
        Delays {
            inner: ExponentialBackoffBuilder::new()
                .with_initial_interval(self.first)
                .with_max_interval(self.longest)
                .with_multiplier(2.0)
                .with_randomization_factor(0.3)
                .with_max_elapsed_time(None)
                .build(),
            left: self.attempts.saturating_sub(1),
        }
    }
}

/// The delays of one operation; `None` once the attempts are used up.
#[derive(Debug)]
pub struct Delays {
    inner: ExponentialBackoff,
    left: u32,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        self.inner.next_backoff()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_stay_bounded_and_end() {
        let policy = Policy {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(80),
            attempts: 8,
        };
        let delays: Vec<_> = policy.delays().collect();
        assert_eq!(delays.len(), 7);
        assert!(delays[0] <= Duration::from_millis(13));
        assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(104)));
        assert!(delays[6] >= Duration::from_millis(50));
    }
}
