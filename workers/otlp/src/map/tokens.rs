//! Token counts of a call, made inclusive: input with what was read from and written to a cache, output with reasoning.

use super::facts::{Fact, Facts};
use super::reported::Reported;

/// The counts of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cache_read: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) reasoning: Option<u64>,
}

impl Tokens {
    /// From a span. Most instrumentations count as OpenTelemetry says; the others are known by their sums. What no
    /// attribute tells is looked for in what the provider reported, where that was sent on.
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let reported = facts.text(Fact::Reported).map(Reported::read).unwrap_or_default();
        let count = |fact, reported: Option<u64>| facts.count(fact).or(reported);
        let total = count(Fact::Total, reported.total);
        let mut tokens = Self {
            input: count(Fact::Input, reported.tokens.input),
            output: count(Fact::Output, reported.tokens.output),
            cache_read: count(Fact::CacheRead, reported.tokens.cache_read),
            cache_write: count(Fact::CacheWrite, reported.tokens.cache_write),
            reasoning: count(Fact::Reasoning, reported.tokens.reasoning),
        };
        if tokens.reasoning.is_none() && is_google(facts) {
            tokens.reasoning = tokens.untold(total);
        }
        let as_reported = !facts.has(Fact::Input) && reported.input_excludes_cache;
        tokens.inclusive(total, as_reported || counts_exclude_cache(facts))
    }

    /// What a total has that is neither input nor output nor cache. Of Google's these are thoughts.
    fn untold(&self, total: Option<u64>) -> Option<u64> {
        let rest = total?.checked_sub(sum(self.input, self.output))?;
        (rest > 0 && rest != sum(self.cache_read, self.cache_write)).then_some(rest)
    }

    /// Adds the parts to the whole where the numbers, or who sent them, say that they are not in it.
    pub(super) fn inclusive(mut self, total: Option<u64>, input_excludes_cache: bool) -> Self {
        let cached = sum(self.cache_read, self.cache_write);
        let reasoning = self.reasoning.unwrap_or(0);
        let whole = sum(self.input, self.output);
        let total_is = |more: u64| total.is_some_and(|total| Some(total) == whole.checked_add(more));
        let both = cached.saturating_add(reasoning);
        let adds_cache = input_excludes_cache || total_is(cached) || total_is(both);
        let adds_reasoning = total_is(reasoning) || total_is(both);
        self.input = self.input.map(|input| with_part(input, cached, adds_cache));
        self.output = self
            .output
            .map(|output| with_part(output, reasoning, adds_reasoning));
        self
    }

    /// Whether the contract accepts the counts.
    pub(super) fn are_possible(&self) -> bool {
        let counts = [
            self.input,
            self.output,
            self.cache_read,
            self.cache_write,
            self.reasoning,
        ];
        counts
            .into_iter()
            .flatten()
            .all(|count| count <= schemas::limits::TOKENS)
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> u64 {
    one.unwrap_or(0).saturating_add(other.unwrap_or(0))
}

fn with_part(whole: u64, part: u64, excluded: bool) -> u64 {
    if part > whole || excluded {
        whole.saturating_add(part)
    } else {
        whole
    }
}

/// Version 5 and older of the Vercel AI SDK hand on Anthropic's own input count, which excludes the cache.
fn counts_exclude_cache(facts: &Facts<'_>) -> bool {
    let anthropic = facts
        .text(Fact::Provider)
        .is_some_and(|provider| provider.to_ascii_lowercase().contains("anthropic"));
    anthropic && facts.has(Fact::VercelOperation) && !facts.has(Fact::InputDetails)
}

fn is_google(facts: &Facts<'_>) -> bool {
    let provider = facts
        .text(Fact::Provider)
        .unwrap_or_default()
        .to_ascii_lowercase();
    ["google", "gemini", "gcp", "vertex"]
        .iter()
        .any(|name| provider.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64, output: u64, read: u64, write: u64, reasoning: u64) -> Tokens {
        Tokens {
            input: Some(input),
            output: Some(output),
            cache_read: Some(read),
            cache_write: Some(write),
            reasoning: Some(reasoning),
        }
    }

    #[test]
    fn inclusive_counts_stay_as_they_are() {
        let given = tokens(100, 50, 60, 20, 30);
        assert_eq!(given.inclusive(None, false), given);
        assert_eq!(given.inclusive(Some(150), false), given);
    }

    #[test]
    fn exclusive_counts_are_known_by_their_parts_their_total_or_their_sender() {
        let wanted = tokens(180, 50, 60, 20, 30);
        assert_eq!(tokens(100, 50, 60, 20, 30).inclusive(Some(230), false), wanted);
        assert_eq!(tokens(100, 50, 60, 20, 30).inclusive(None, true), wanted);
        assert_eq!(
            tokens(10, 50, 60, 20, 30).inclusive(None, false),
            tokens(90, 50, 60, 20, 30)
        );
        // Google counts thoughts beside what it answers.
        assert_eq!(
            tokens(100, 50, 0, 0, 300).inclusive(None, false),
            tokens(100, 350, 0, 0, 300)
        );
        assert_eq!(
            tokens(100, 50, 0, 0, 30).inclusive(Some(180), false),
            tokens(100, 80, 0, 0, 30)
        );
    }

    #[test]
    fn impossible_counts_neither_overflow_nor_pass() {
        let huge = tokens(u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert!(!huge.inclusive(Some(u64::MAX), true).are_possible());
    }
}
