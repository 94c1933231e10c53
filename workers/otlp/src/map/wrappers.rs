//! Calls that two spans tell of: counted once.
//!
//! Two instrumentations at work at the same time, one of them perhaps the provider's own SDK, write two spans for one call:
//! one within the other with the same tokens or none, or side by side: with the same response, or the same model and as many
//! tokens at the same time. The outer one of two ends later, so that its inner one was seen before, in the same request or
//! in an earlier one. What was seen is kept in memory, so many calls long. Lost with
//! the process, which at worst counts one call twice; the spans themselves are stored either way.

use std::collections::{HashMap, VecDeque};
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
    /// By the hash of tenant, source, model and tokens.
    alike: Remembered<u64, Alike>,
}

impl Recent {
    /// Which of the calls of a request were told already.
    pub(super) fn told_twice(&mut self, tenant: u64, calls: &[Call<'_>]) -> Vec<bool> {
        for call in calls {
            self.remember(tenant, call);
        }
        let twice = calls.iter().map(|call| {
            self.is_around(tenant, call) || self.is_beside(tenant, call) || self.is_alike(tenant, call)
        });
        twice.collect()
    }

    fn remember(&mut self, tenant: u64, call: &Call<'_>) {
        let parent = key(tenant, &call.span.trace_id, &call.span.parent_span_id);
        let Some(told) = Told::of(call) else { return };
        if let Some(parent) = parent {
            let within = self.within.entry(parent, Within::default);
            within.add(told.span, counts(call));
        }
        if let Some(response) = response(tenant, call) {
            self.answered.entry(response, || told);
        }
    }

    /// Whether the span is around calls whose tokens it repeats.
    fn is_around(&self, tenant: u64, call: &Call<'_>) -> bool {
        let within =
            key(tenant, &call.span.trace_id, &call.span.span_id).and_then(|key| self.within.get(&key));
        within.is_some_and(|within| within.is_repeated_by(counts(call)))
    }

    /// Whether another instrumentation told of the same response at the same time.
    fn is_beside(&self, tenant: u64, call: &Call<'_>) -> bool {
        let told = response(tenant, call).and_then(|response| self.answered.get(&response));
        let (Some(told), Some(own)) = (told, Told::of(call)) else {
            return false;
        };
        // One that is around another is not counted: then this one is.
        let around = self.within.get(&(tenant, told.trace, told.span));
        told.is_twin_of(&own) && around.is_none()
    }

    /// Whether another instrumentation told of a call like this one at the same time.
    fn is_alike(&mut self, tenant: u64, call: &Call<'_>) -> bool {
        let Some(own) = Told::of(call) else { return false };
        let key = hash((tenant, call.source, undated(call.asked()), counts(call)));
        self.alike.entry(key, Alike::default).is_twin(own)
    }
}

/// Who told of a call.
#[derive(Debug, Clone, Copy)]
struct Told {
    trace: [u8; 16],
    span: [u8; 8],
    scope: u64,
    /// Hash of the response's id.
    response: Option<u64>,
    start: Time,
    end: Time,
}

impl Told {
    fn of(call: &Call<'_>) -> Option<Self> {
        Some(Self {
            trace: call.span.trace_id.as_slice().try_into().ok()?,
            span: call.span.span_id.as_slice().try_into().ok()?,
            scope: hash(call.scope),
            response: call.facts.text(Fact::ResponseId).map(hash),
            start: call.start?,
            end: call.end?,
        })
    }

    /// Whether another instrumentation told of the other at the same time.
    fn is_twin_of(&self, other: &Self) -> bool {
        let another = self.span != other.span && self.scope != other.scope;
        another && self.start <= other.end && other.start <= self.end
    }

    /// Whether another instrumentation told of the same call, as far as can be told without a response. Calls of the very
    /// same times are two: no two instrumentations take their times at once.
    fn may_be_twin_of(&self, other: &Self) -> bool {
        let is_another = matches!((self.response, other.response), (Some(one), Some(two)) if one != two);
        self.is_twin_of(other) && !is_another && (self.start, self.end) != (other.start, other.end)
    }
}

/// Calls that are alike, each with the span that told of it before, if one did.
#[derive(Debug, Clone, Default)]
struct Alike(VecDeque<(Told, Option<[u8; 8]>)>);

impl Alike {
    /// Calls that are remembered.
    const CALLS: usize = 32;

    /// Whether the call is another's twin. Each call has at most one in each other instrumentation, so that of calls at
    /// the same time each is counted. What was decided stays so when a request comes again.
    fn is_twin(&mut self, own: Told) -> bool {
        if let Some((_, twin)) = self.0.iter().find(|(told, _)| told.span == own.span) {
            return twin.is_some();
        }
        let taken = |span| {
            let mut twins = self.0.iter();
            twins.any(|(told, twin)| *twin == Some(span) && told.scope == own.scope)
        };
        let first = self
            .0
            .iter()
            .find(|(told, twin)| twin.is_none() && told.may_be_twin_of(&own) && !taken(told.span));
        let twin = first.map(|(told, _)| told.span);
        if self.0.len() >= Self::CALLS {
            self.0.pop_front();
        }
        self.0.push_back((own, twin));
        twin.is_some()
    }
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
        if counts == (0, 0) {
            return !self.0.is_empty();
        }
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

/// A model's name without its maker and its date or version: of two who tell of a call one may know more than the other.
fn undated(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '-')
}

fn counts(call: &Call<'_>) -> Counts {
    (call.tokens.input.unwrap_or(0), call.tokens.output.unwrap_or(0))
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
