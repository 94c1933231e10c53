//! Claude Code's own telemetry: its `api_request` events are model calls, and what has a `session.id` is a session.
//!
//! Its metrics (`claude_code.cost.usage`, `claude_code.token.usage`) say the same sums again and stay metrics: no
//! call is counted twice. Its input counts exclude the cache, as Anthropic's API has them.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use schemas::{Time, limits};

use super::facts::{dollars_of, named, text_named};
use super::genai::{is_duration, write_tokens};
use super::log::body_text;
use super::origin::Origin;
use super::tags::Tags;
use super::tokens::Tokens;
use super::{Kind, Mapped};

/// Begins the names of its metrics and the bodies of its events.
const PREFIX: &str = "claude_code.";

/// Whether Claude Code wrote the record.
pub(super) fn is_claude(record: &LogRecord, origin: &Origin<'_>) -> bool {
    body_text(record).starts_with(PREFIX)
        || record.event_name.starts_with(PREFIX)
        || origin.scope_name.contains("claude_code")
        || origin.service == Some("claude-code")
}

/// Whether a metric is Claude Code's.
pub(super) fn is_metric(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Writes an `api_request` event as usage.
pub(super) fn usage(record: &LogRecord, name: &str, source: &str, at: Option<Time>, mapped: &mut Mapped) {
    if name.trim_start_matches(PREFIX) != "api_request" {
        return;
    }
    let of = |key| named(&record.attributes, key);
    let text = |key| text_named(&record.attributes, key);
    let Some(model) = text("model") else {
        return;
    };
    let tokens = Tokens {
        input: of("input_tokens").and_then(count),
        output: of("output_tokens").and_then(count),
        cache_read: of("cache_read_tokens").and_then(count),
        cache_write: of("cache_creation_tokens").and_then(count),
        reasoning: None,
    };
    let tokens = tokens.inclusive(None, true);
    if !tokens.are_possible() {
        mapped.cuts.0 += 1;
        return;
    }
    let latency = of("duration_ms")
        .and_then(number)
        .filter(|millis| is_duration(*millis));
    let ttft = of("ttft_ms")
        .and_then(number)
        .filter(|millis| is_duration(*millis));
    let Mapped { batch, cuts, .. } = mapped;
    batch.item(Kind::Usage, |item| {
        item.time("timestamp", at);
        item.text_if("source", Some(source), limits::TEXT_BYTES, cuts);
        item.text("model", model, limits::TEXT_BYTES, cuts);
        item.text_if(
            "provider",
            model.starts_with("claude").then_some("anthropic"),
            limits::TEXT_BYTES,
            cuts,
        );
        write_tokens(item, &tokens);
        item.raw_if("cost_usd", of("cost_usd").and_then(dollars_of));
        if let Some(latency) = latency {
            item.number("latency_ms", latency);
        }
        if let Some(ttft) = ttft {
            item.number("ttft_ms", ttft);
        }
        item.text_if("session", text("session.id"), limits::TEXT_BYTES, cuts);
        if record.trace_id.len() == 16 && record.trace_id.iter().any(|byte| *byte != 0) {
            item.hex("trace_id", &record.trace_id);
        }
        let mut tags = Tags::default();
        for (tag, key) in [
            ("agent", "agent.name"),
            ("query_source", "query_source"),
            ("request_id", "request_id"),
            ("speed", "speed"),
            ("user", "user.account_uuid"),
        ] {
            tags.add_if(tag, text(key), cuts);
        }
        if !tags.is_empty() {
            tags.write(item.member("tags"), cuts);
        }
    });
}

fn count(value: &Value) -> Option<u64> {
    match value {
        Value::IntValue(count) => u64::try_from(*count).ok(),
        Value::DoubleValue(count) if *count >= 0.0 && *count < 1e15 => Some(*count as u64),
        Value::StringValue(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a call")]
        Value::IntValue(number) => Some(*number as f64),
        Value::DoubleValue(number) => Some(*number),
        Value::StringValue(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The sessions of a request: one item each.
#[derive(Debug, Default)]
pub(super) struct Sessions<'a> {
    seen: Vec<Session<'a>>,
}

#[derive(Debug)]
struct Session<'a> {
    id: &'a str,
    source: &'a str,
    at: Option<Time>,
    started: bool,
    attributes: &'a [KeyValue],
}

impl<'a> Sessions<'a> {
    /// Sessions of one request; its exporters send for one process.
    const MAX: usize = 1000;

    /// It is active.
    pub(super) fn see(
        &mut self,
        id: Option<&'a str>,
        source: &'a str,
        at: Option<Time>,
        attributes: &'a [KeyValue],
    ) {
        let Some(id) = id else { return };
        let known = self.seen.iter().any(|session| session.id == id);
        if !known && self.seen.len() < Self::MAX {
            self.seen.push(Session {
                id,
                source,
                at,
                started: false,
                attributes,
            });
        }
    }

    /// It began.
    pub(super) fn start(&mut self, id: Option<&str>) {
        for session in self.seen.iter_mut().filter(|session| Some(session.id) == id) {
            session.started = true;
        }
    }

    /// Writes them.
    pub(super) fn write(self, mapped: &mut Mapped) {
        let Mapped { batch, cuts, .. } = mapped;
        for session in self.seen {
            batch.item(Kind::Session, |item| {
                item.time("timestamp", session.at);
                item.text_if("source", Some(session.source), limits::TEXT_BYTES, cuts);
                item.text("session", session.id, limits::TEXT_BYTES, cuts);
                item.plain("state", if session.started { "started" } else { "active" });
                let mut tags = Tags::default();
                for key in [
                    "app.version",
                    "terminal.type",
                    "organization.id",
                    "user.account_uuid",
                ] {
                    tags.add_if(key, text_named(session.attributes, key), cuts);
                }
                if !tags.is_empty() {
                    tags.write(item.member("tags"), cuts);
                }
            });
        }
    }
}
