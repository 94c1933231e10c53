//! Which models are cooled down: a pure state machine; times are passed in, in milliseconds since 1970.
//!
//! A model is well until its calls of the last minute fail too often; then nobody is sent to it for a while.
//! After that one call, the probe, finds out: it returns, or is cooled for twice as long. Copies share this
//! state and nothing else: each judges by the calls it happens to see.
//!
//! Invariants: memory is bounded (so many outcomes a model, one state a model); old events change nothing; a
//! result that may stem from a call made before the probe ends no cooling earlier than its time.

use std::collections::VecDeque;

use schemas::CallStatus;
use serde::{Deserialize, Serialize};

use crate::decide::Health;

/// Calls older than this are not looked at.
pub const WINDOW_MS: u64 = 60_000;
/// The newest calls of a model are kept, so many at most.
const OUTCOMES_MAX: usize = 256;
/// Fewer calls say nothing.
const CALLS_MIN: usize = 5;
/// Of so many calls in a hundred failed, a model is cooled.
const FAILED_PERCENT: usize = 50;
/// So many rate-limited calls are a burst, if they are also one in ten.
const LIMITED_MIN: usize = 3;
const LIMITED_PERCENT: usize = 10;
/// The first cooling; each failed probe doubles it up to the longest.
const FIRST_SECONDS: u64 = 30;
const LONGEST_SECONDS: u64 = 600;
/// A probe of which nothing is heard for so long is given to somebody else.
const PROBE_WAIT_MS: u64 = 60_000;

/// A model that is cooled down, as all copies share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooled {
    /// As its provider names it.
    pub model: String,
    /// Who runs it.
    pub provider: String,
    /// Until then nobody is sent to it.
    pub until_ms: u64,
    /// How long this cooling is.
    pub period_seconds: u64,
    /// What was seen.
    pub reason: String,
    /// When a probe was sent, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_ms: Option<u64>,
}

/// A new state for all copies: `Some` cools, `None` lets the model return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The model's position in the list.
    pub at: usize,
    /// Its state from now on.
    pub state: Option<Cooled>,
    /// The revision of the state that it replaces.
    pub revision: u64,
}

#[derive(Debug, Default)]
struct Slot {
    calls: VecDeque<(u64, CallStatus)>,
    state: Option<Cooled>,
    revision: u64,
}

/// The health of all listed models.
#[derive(Debug)]
pub struct Cooling {
    slots: Vec<Slot>,
}

impl Cooling {
    /// All well.
    #[must_use]
    pub fn new(models: usize) -> Self {
        Self {
            slots: (0..models).map(|_| Slot::default()).collect(),
        }
    }

    /// Whether a model may be called.
    #[must_use]
    pub fn health(&self, at: usize, now_ms: u64) -> Health {
        let Some(state) = &self.slots[at].state else {
            return Health::Well;
        };
        let free_ms = match state.probe_ms {
            Some(sent) => sent.saturating_add(PROBE_WAIT_MS).max(state.until_ms),
            None => state.until_ms,
        };
        if now_ms < free_ms {
            Health::Cooled(free_ms)
        } else {
            Health::Probe
        }
    }

    /// What another copy, or this one, made known.
    pub fn set(&mut self, at: usize, state: Option<Cooled>, revision: u64) {
        let slot = &mut self.slots[at];
        if state.is_none() {
            slot.calls.clear();
        }
        (slot.state, slot.revision) = (state, revision);
    }

    /// Forgets what was shared, when it may be gone.
    pub fn forget(&mut self) {
        for at in 0..self.slots.len() {
            self.set(at, None, 0);
        }
    }

    /// Takes the probe of a model that may be probed: to be made known before it is sent.
    pub fn probe(&self, at: usize, now_ms: u64) -> Option<Change> {
        if self.health(at, now_ms) != Health::Probe {
            return None;
        }
        let slot = &self.slots[at];
        let state = slot.state.clone()?;
        Some(Change {
            at,
            state: Some(Cooled {
                probe_ms: Some(now_ms),
                ..state
            }),
            revision: slot.revision,
        })
    }

    /// Looks at one call of a model, stored at `at_ms`. A change is in force here at once, and is to be made
    /// known to the other copies.
    pub fn observe(
        &mut self,
        at: usize,
        (provider, model): (&str, &str),
        status: CallStatus,
        at_ms: u64,
        now_ms: u64,
    ) -> Option<Change> {
        if at_ms.saturating_add(WINDOW_MS) < now_ms {
            return None;
        }
        let slot = &mut self.slots[at];
        let state = match &slot.state {
            Some(state) if at_ms < state.until_ms => return None,
            Some(_) if status == CallStatus::Ok => None,
            Some(state) => {
                let period = (state.period_seconds * 2).min(LONGEST_SECONDS);
                let reason = format!("the probe ended with {}", status.as_str());
                Some(cooled(provider, model, period, now_ms, reason))
            }
            None => {
                let reason = slot.fails(status, at_ms)?;
                Some(cooled(provider, model, FIRST_SECONDS, now_ms, reason))
            }
        };
        slot.calls.clear();
        slot.state.clone_from(&state);
        Some(Change {
            at,
            state,
            revision: slot.revision,
        })
    }
}

fn cooled(provider: &str, model: &str, period_seconds: u64, now_ms: u64, reason: String) -> Cooled {
    Cooled {
        model: model.to_owned(),
        provider: provider.to_owned(),
        until_ms: now_ms.saturating_add(period_seconds * 1000),
        period_seconds,
        reason,
        probe_ms: None,
    }
}

impl Slot {
    /// Adds a call, and says what is wrong with the last minute, if anything is.
    fn fails(&mut self, status: CallStatus, at_ms: u64) -> Option<String> {
        self.calls.push_back((at_ms, status));
        if self.calls.len() > OUTCOMES_MAX {
            self.calls.pop_front();
        }
        self.calls
            .retain(|(call_ms, _)| call_ms.saturating_add(WINDOW_MS) >= at_ms);
        let calls = self.calls.len();
        let count =
            |wanted: fn(CallStatus) -> bool| self.calls.iter().filter(|(_, call)| wanted(*call)).count();
        let failed = count(|call| call != CallStatus::Ok);
        let limited = count(|call| call == CallStatus::RateLimited);
        if limited >= LIMITED_MIN && limited * 100 >= calls * LIMITED_PERCENT {
            return Some(format!(
                "{limited} of {calls} calls within a minute were rate limited"
            ));
        }
        (calls >= CALLS_MIN && failed * 100 >= calls * FAILED_PERCENT)
            .then(|| format!("{failed} of {calls} calls within a minute failed"))
    }
}

#[cfg(test)]
mod tests;
