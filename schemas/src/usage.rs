//! Kind `usage`: one model call.
//!
//! Token counts are inclusive, as OpenTelemetry's GenAI conventions define them: `tokens_in` includes cache
//! reads and writes, `tokens_out` includes reasoning.

use crate::choice::choice;
use crate::contract::contract;
use crate::{Money, Text, limits};

choice! {
    /// How hard the task was, in the agent's judgement.
    pub enum TaskComplexity {
        /// Needs no thought.
        Trivial = "trivial",
        /// One step.
        Simple = "simple",
        /// Several steps.
        Medium = "medium",
        /// Needs planning.
        Complex = "complex",
        /// Must not go wrong.
        Critical = "critical",
    }
}

choice! {
    /// How a model call ended.
    pub enum CallStatus {
        /// It answered. The default.
        Ok = "ok",
        /// It failed.
        Error = "error",
        /// The provider refused it for its rate.
        RateLimited = "rate_limited",
        /// It took too long.
        Timeout = "timeout",
    }
}

contract! {
    /// One model call. Token counts are inclusive.
    pub struct Usage<'a> {
        /// The model that answered, as its provider names it: not blank, at most 256 bytes.
        #[serde(borrow)]
        #[schemars(length(min = 1, max = limits::TEXT_BYTES), regex(pattern = r"\S"))]
        pub model: Text<'a>,
        /// Who runs the model, e.g. `anthropic`; at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub provider: Option<Text<'a>>,
        /// Tokens sent, including cache reads and writes.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = limits::TOKENS))]
        pub tokens_in: Option<u64>,
        /// Tokens received, including reasoning.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = limits::TOKENS))]
        pub tokens_out: Option<u64>,
        /// The part of `tokens_in` read from a cache.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = limits::TOKENS))]
        pub tokens_cache_read: Option<u64>,
        /// The part of `tokens_in` written to a cache.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = limits::TOKENS))]
        pub tokens_cache_write: Option<u64>,
        /// The part of `tokens_cache_write` that the cache keeps for an hour.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = limits::TOKENS))]
        pub tokens_cache_write_1h: Option<u64>,
        /// The part of `tokens_out` spent on reasoning.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = limits::TOKENS))]
        pub tokens_reasoning: Option<u64>,
        /// The tier of service that the provider charges for: `standard`, `batch`, `flex`, `priority`, …; at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub service_tier: Option<Text<'a>>,
        /// The usage object of the provider's own response, as it is, at most 16 KiB: the counts above (and the cost, where it
        /// says so) are taken from it, made inclusive where that provider counts otherwise. Not kept.
        #[serde(borrow, skip_serializing)]
        #[schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")]
        pub usage: Option<&'a serde_json::value::RawValue>,
        /// What the call cost in US dollars, if the provider said; 0 to 1,000,000, kept to nine decimals.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = limits::COST_USD))]
        pub cost_usd: Option<Money>,
        /// Where the cost is from: `provider`, `unpriced` or `price_table@<version>`. Written by aiai.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(skip)]
        pub cost_source: Option<Text<'a>>,
        /// Time to the last token, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = limits::DURATION_MS))]
        pub latency_ms: Option<f64>,
        /// Time to the first token, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = limits::DURATION_MS))]
        pub ttft_ms: Option<f64>,
        /// How hard the task was.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub task_complexity: Option<TaskComplexity>,
        /// How the call ended. Default: `ok`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub status: Option<CallStatus>,
        /// What went wrong, at most 4 KiB.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::ERROR_BYTES))]
        pub error: Option<Text<'a>>,
        /// The budget reservation the call used up, at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub reservation: Option<Text<'a>>,
    }
}
