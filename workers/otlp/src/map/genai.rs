//! One model call: what a span says about it, as a `usage` item.

use std::borrow::Cow;

use opentelemetry_proto::tonic::trace::v1::Span;
use schemas::{Time, limits};

use super::cut::{Cuts, cut};
use super::facts::{Fact, Facts};
use super::tags::Tags;
use super::tokens::Tokens;
use super::write::Object;

/// A call that a span is about.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) span: &'a Span,
    pub(super) facts: Facts<'a>,
    pub(super) tokens: Tokens,
    pub(super) operation: Option<&'a str>,
    pub(super) source: &'a str,
    pub(super) model: Cow<'a, str>,
    /// Name of the instrumentation.
    pub(super) scope: &'a str,
    pub(super) start: Option<Time>,
    pub(super) end: Option<Time>,
    pub(super) error: Option<String>,
}

impl Call<'_> {
    /// The model that was asked for, whichever answered.
    pub(super) fn asked(&self) -> &str {
        self.facts.text(Fact::RequestModel).unwrap_or(&self.model)
    }

    /// Writes the members of the item.
    pub(super) fn write(&self, item: &mut Object<'_>, cuts: &mut Cuts) {
        let facts = &self.facts;
        item.time("timestamp", self.start);
        item.text_if("source", Some(self.source), limits::TEXT_BYTES, cuts);
        item.text("model", &self.model, limits::TEXT_BYTES, cuts);
        item.text_if("provider", provider(facts), limits::TEXT_BYTES, cuts);
        write_tokens(item, &self.tokens);
        let tier = facts.text(Fact::ServiceTier);
        item.text_if("service_tier", tier, limits::TEXT_BYTES, cuts);
        item.raw_if("cost_usd", facts.cost());
        if let Some(latency) = self.latency_ms() {
            item.number("latency_ms", latency);
        }
        if let Some(ttft) = self.ttft_ms() {
            item.number("ttft_ms", ttft);
        }
        item.plain("status", self.status());
        item.text_if("error", self.error.as_deref(), limits::ERROR_BYTES, cuts);
        item.text_if(
            "session",
            facts.text(Fact::Conversation),
            limits::TEXT_BYTES,
            cuts,
        );
        item.hex("trace_id", &self.span.trace_id);
        let span_id = hex(&self.span.span_id);
        let mut tags = Tags::default();
        tags.add_if("agent", facts.text(Fact::Agent), cuts);
        tags.add_if("tool", facts.text(Fact::Tool), cuts);
        tags.add_if("workflow", facts.text(Fact::Workflow), cuts);
        tags.add_if("operation", self.operation, cuts);
        tags.add_if("finish_reason", facts.text(Fact::Finish), cuts);
        tags.add_if("error_type", facts.text(Fact::ErrorType), cuts);
        tags.add_if("span_id", Some(&span_id), cuts);
        tags.write(item.member("tags"), cuts);
    }

    fn latency_ms(&self) -> Option<f64> {
        let micros = self.end?.0.checked_sub(self.start?.0)?;
        #[allow(clippy::cast_precision_loss, reason = "exact up to centuries")]
        let millis = micros as f64 / 1000.0;
        is_duration(millis).then_some(millis)
    }

    /// As an attribute, or as the event that some instrumentations write when the first token comes.
    fn ttft_ms(&self) -> Option<f64> {
        let seconds = self
            .facts
            .number(Fact::TtftSeconds)
            .map(|seconds| seconds * 1000.0);
        let given = seconds.or_else(|| self.facts.number(Fact::TtftMs));
        let seen = || {
            let mut events = self.span.events.iter();
            let first = events.find(|event| event.name == "First Token Stream Event")?;
            let nanos = first.time_unix_nano.checked_sub(self.span.start_time_unix_nano)?;
            #[allow(clippy::cast_precision_loss, reason = "exact up to months")]
            let millis = nanos as f64 / 1e6;
            Some(millis)
        };
        given.or_else(seen).filter(|millis| is_duration(*millis))
    }

    fn status(&self) -> &'static str {
        let code = self.facts.number(Fact::StatusCode);
        let kind = self.facts.text(Fact::ErrorType).unwrap_or_default();
        if self.error.is_none() && kind.is_empty() {
            return "ok";
        }
        let text = self.error.as_deref().unwrap_or_default();
        failure(code, kind, text)
    }
}

/// Writes the counts that are known.
pub(super) fn write_tokens(item: &mut Object<'_>, tokens: &Tokens) {
    item.raw_if("tokens_in", tokens.input);
    item.raw_if("tokens_out", tokens.output);
    item.raw_if("tokens_cache_read", tokens.cache_read);
    item.raw_if("tokens_cache_write", tokens.cache_write);
    item.raw_if("tokens_reasoning", tokens.reasoning);
}

/// Whether the contract accepts it as milliseconds.
pub(super) fn is_duration(millis: f64) -> bool {
    (0.0..=limits::DURATION_MS).contains(&millis)
}

/// How a call that failed ended.
fn failure(code: Option<f64>, kind: &str, text: &str) -> &'static str {
    let is = |number: f64| code == Some(number) || kind == number.to_string();
    let kind = kind.to_ascii_lowercase();
    let text = cut(text, 512, &mut Cuts::default()).to_ascii_lowercase();
    let says = |words: &[&str]| {
        words
            .iter()
            .any(|word| kind.contains(word) || text.contains(word))
    };
    if is(429.0)
        || says(&[
            "ratelimit",
            "rate_limit",
            "rate limit",
            "too many requests",
            "throttl",
            "resource_exhausted",
            "resourceexhausted",
            "code: 429",
        ])
    {
        "rate_limited"
    } else if is(408.0) || is(504.0) || says(&["timeout", "timed out", "deadline"]) {
        "timeout"
    } else {
        "error"
    }
}

/// Frameworks that give their own name as the provider's.
const FRAMEWORKS: [&str; 4] = ["crewai", "langchain", "langgraph", "strands-agents"];

/// The provider. The Vercel AI SDK adds which of its interfaces was used: `openai.chat`.
fn provider<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    let provider = facts.text(Fact::Provider)?;
    if FRAMEWORKS.contains(&provider) {
        return None;
    }
    if !facts.has(Fact::VercelOperation) {
        return Some(provider);
    }
    match provider.split_once('.') {
        Some(("google", rest)) if rest.starts_with("vertex") => Some("gcp.vertex_ai"),
        Some(("google", _)) => Some("gcp.gemini"),
        Some((name, _)) => Some(name),
        None => Some(provider),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::failure;

    #[test]
    fn failures_are_told_apart() {
        for (code, kind, text, wanted) in [
            (Some(429.0), "", "", "rate_limited"),
            (None, "429", "", "rate_limited"),
            (None, "openai.RateLimitError", "", "rate_limited"),
            (None, "ThrottlingException", "", "rate_limited"),
            (None, "", "Error code: 429 - slow down", "rate_limited"),
            (None, "", "ClientError: 429 RESOURCE_EXHAUSTED", "rate_limited"),
            (Some(504.0), "", "", "timeout"),
            (None, "APITimeoutError", "", "timeout"),
            (None, "", "Request timed out.", "timeout"),
            (Some(500.0), "500", "", "error"),
            (None, "", "", "error"),
        ] {
            assert_eq!(failure(code, kind, text), wanted, "{code:?} {kind} {text}");
        }
    }
}
