//! `route.decide`: which model to call. JSON in, JSON out; prompts never pass through.

use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::{Money, TaskComplexity, limits};

/// Where decisions are asked.
pub const SUBJECT: &str = "route.decide";
/// Bytes of a request's JSON.
pub const REQUEST_BYTES: usize = 16 * 1024;

choice! {
    /// What a model can do beyond answering text with text.
    pub enum Capability {
        /// Calls tools.
        Tools = "tools",
        /// Reads images.
        Vision = "vision",
        /// Hears.
        Audio = "audio",
        /// Thinks before it answers.
        Reasoning = "reasoning",
        /// Answers in JSON of a given schema.
        StructuredOutput = "structured_output",
        /// Reads the beginning of a prompt from a cache.
        Caching = "caching",
        /// Takes several hundred thousand tokens.
        LongContext = "long_context",
    }
}

/// What is to be done. One of `task_complexity` and `tier` is needed; with both, the tier counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// How hard the task is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_complexity: Option<TaskComplexity>,
    /// The weakest tier that will do, as `config/models.toml` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Tokens that will be sent, estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Tokens that will be received, estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// What the model must be able to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Capability>,
}

impl Request {
    /// Reads and checks a request's body.
    ///
    /// # Errors
    /// In words, with the fix.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        if body.len() > REQUEST_BYTES {
            let bytes = body.len();
            return Err(format!(
                "the request has {bytes} bytes; {REQUEST_BYTES} are enough"
            ));
        }
        let like = |problem: String| {
            let example =
                r#"{"task_complexity":"medium","tokens_in":2000,"tokens_out":500,"needs":["tools"]}"#;
            format!("the request is not like {example}: {problem}")
        };
        // An array would be read as the fields in their order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(like("it is not a JSON object".into()));
        }
        let request: Self = serde_json::from_slice(body).map_err(|error| like(error.to_string()))?;
        for (name, count) in [
            ("tokens_in", request.tokens_in),
            ("tokens_out", request.tokens_out),
        ] {
            if count.is_some_and(|count| count > limits::TOKENS) {
                return Err(format!(
                    "{name} is more than {}; send an estimate for one call",
                    limits::TOKENS
                ));
            }
        }
        Ok(request)
    }
}

/// A model that will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// As its provider names it.
    pub model: String,
    /// Who runs it.
    pub provider: String,
    /// Its tier.
    pub tier: String,
    /// What the call will cost; null without a price, or without estimates of tokens.
    pub estimated_cost_usd: Option<Money>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Call this one, as its provider names it.
    pub model: String,
    /// Who runs it.
    pub provider: String,
    /// Its tier.
    pub tier: String,
    /// What the call will cost; null without a price, or without estimates of tokens.
    pub estimated_cost_usd: Option<Money>,
    /// If it fails, these, in this order.
    pub fallbacks: Vec<Candidate>,
    /// Why, in words: the tier, what was passed over, what is cooled down.
    pub reasons: Vec<String>,
}
