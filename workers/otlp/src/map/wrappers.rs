//! Calls that two spans tell of: counted once.
//!
//! Two instrumentations at work at the same time, one of them perhaps the provider's own SDK, write two spans for one call:
//! one within the other with the same tokens, or side by side with the same response. The outer one of two ends later, so
//! that its inner one was seen before, in the same request or in an earlier one. What was seen is kept in memory, so many
//! calls long. Lost with the process, which at worst counts one call twice; the spans themselves are stored either way.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use schemas::Time;

use super::facts::Fact;
use super::genai::Call;

/// Calls remembered: twice so many at most.
const GENERATION: usize = 50_000;

/// The span around a call: tenant, trace and span.
type Around = (u64, [u8; 16], [u8; 8]);
/// Tokens in and out.
type Counts = (u64, u64);

/// Model calls seen lately.
#[derive(Debug, Default)]
pub struct Recent {
    /// By the span around them.
    within: Remembered<Around, Within>,
    /// By the hash of tenant and response.
    answered: Remembered<u64, Told>,
}

impl Recent {
    /// Which of the calls of a request were told already.
    pub(super) fn told_twice(&mut self, tenant: u64, calls: &[Call<'_>]) -> Vec<bool> {
        for call in calls {
            self.remember(tenant, call);
        }
        let twice = calls
            .iter()
            .map(|call| self.is_around(tenant, call) || self.is_beside(tenant, call));
        twice.collect()
    }

    fn remember(&mut self, tenant: u64, call: &Call<'_>) {
        let parent = key(tenant, &call.span.trace_id, &call.span.parent_span_id);
        let span = call.span.span_id.as_slice().try_into().ok();
        let (Some(span), Some(counts)) = (span, counted(call)) else {
            return;
        };
        if let Some(parent) = parent {
            self.within.entry(parent, Within::default).add(span, counts);
        }
        if let (Some(response), Some(start), Some(end)) = (response(tenant, call), call.start, call.end) {
            let scope = hash(call.scope);
            self.answered.entry(response, || Told {
                span,
                scope,
                start,
                end,
            });
        }
    }

    /// Whether the span is around calls whose tokens it repeats.
    fn is_around(&self, tenant: u64, call: &Call<'_>) -> bool {
        let own = key(tenant, &call.span.trace_id, &call.span.span_id);
        let (Some(own), Some(counts)) = (own, counted(call)) else {
            return false;
        };
        self.within
            .get(&own)
            .is_some_and(|within| within.is_repeated_by(counts))
    }

    /// Whether another instrumentation told of the same response at the same time.
    fn is_beside(&self, tenant: u64, call: &Call<'_>) -> bool {
        let (Some(response), Some(start), Some(end)) = (response(tenant, call), call.start, call.end) else {
            return false;
        };
        self.answered.get(&response).is_some_and(|told| {
            let another = told.span != call.span.span_id.as_slice() && told.scope != hash(call.scope);
            // One that is around another is not counted: then this one is.
            let around = key(tenant, &call.span.trace_id, &told.span).and_then(|key| self.within.get(&key));
            another && around.is_none() && told.start <= end && start <= told.end
        })
    }
}

/// Who told of a response first.
#[derive(Debug, Clone)]
struct Told {
    span: [u8; 8],
    scope: u64,
    start: Time,
    end: Time,
}

/// Calls directly within a span, by their own spans: a request that comes again changes nothing.
#[derive(Debug, Clone, Default)]
struct Within(Vec<([u8; 8], Counts)>);

impl Within {
    /// Calls within one span that are remembered.
    const CALLS: usize = 32;

    fn add(&mut self, span: [u8; 8], counts: Counts) {
        if self.0.len() < Self::CALLS && !self.0.iter().any(|(known, _)| *known == span) {
            self.0.push((span, counts));
        }
    }

    fn is_repeated_by(&self, counts: Counts) -> bool {
        let sum = self.0.iter().fold((0_u64, 0_u64), |sum, (_, counts)| {
            (sum.0.saturating_add(counts.0), sum.1.saturating_add(counts.1))
        });
        sum == counts || self.0.iter().any(|(_, known)| *known == counts)
    }
}

/// A map that forgets what is old.
#[derive(Debug)]
struct Remembered<K, V> {
    new: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self {
            new: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<K: Hash + Eq, V: Clone> Remembered<K, V> {
    /// What is remembered, or becomes so.
    fn entry(&mut self, key: K, first: impl FnOnce() -> V) -> &mut V {
        if self.new.len() >= GENERATION {
            self.old = std::mem::take(&mut self.new);
        }
        let old = self.old.get(&key).cloned();
        self.new.entry(key).or_insert_with(|| old.unwrap_or_else(first))
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.new.get(key).or_else(|| self.old.get(key))
    }
}

fn counted(call: &Call<'_>) -> Option<Counts> {
    let counts = (call.tokens.input.unwrap_or(0), call.tokens.output.unwrap_or(0));
    (counts != (0, 0)).then_some(counts)
}

fn response(tenant: u64, call: &Call<'_>) -> Option<u64> {
    call.facts.text(Fact::ResponseId).map(|id| hash((tenant, id)))
}

fn key(tenant: u64, trace: &[u8], span: &[u8]) -> Option<Around> {
    Some((tenant, trace.try_into().ok()?, span.try_into().ok()?))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
