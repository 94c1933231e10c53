//! What a span does, in OpenTelemetry's words, and whether that is a model call.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::facts::{Fact, Facts};

/// Operations in which a model is called.
const MODEL_CALLS: [&str; 24] = [
    "anthropic_messages",
    "chat",
    "chat.completions",
    "completion",
    "embedding",
    "embeddings",
    "generate_content",
    "generate_content_stream",
    "image_edit",
    "image_generation",
    "image_variation",
    "message",
    "messages",
    "moderation",
    "ocr",
    "rerank",
    "response",
    "responses",
    "speech",
    "text_completion",
    "text_to_speech",
    "transcription",
    "video_generation",
    "vision",
];

/// How operations begin that at most sum up model calls: agents, tools, workflows and the like.
const AROUND_CALLS: [&str; 18] = [
    "agent",
    "ai.",
    "chain",
    "create_agent",
    "evaluat",
    "execute_",
    "guardrail",
    "handoff",
    "invoke_",
    "plan",
    "retriev",
    "run",
    "session",
    "span",
    "step",
    "task",
    "tool",
    "workflow",
];

/// The operation of a span, if it has one: `chat`, `execute_tool`, `server`.
pub(super) fn operation<'a>(facts: &Facts<'a>, kind: i32) -> Option<&'a str> {
    if let Some(operation) = facts.text(Fact::VercelOperation) {
        return Some(vercel(operation));
    }
    let named = facts.text(Fact::Operation);
    let named = named.or_else(|| facts.text(Fact::OpenInferenceKind).map(open_inference));
    let named = named.or_else(|| facts.text(Fact::LangfuseKind).map(langfuse));
    let named = named.or_else(|| facts.text(Fact::RequestType).map(request_type));
    let named = named.or_else(|| facts.text(Fact::TraceloopKind).map(traceloop));
    named.or(match SpanKind::try_from(kind) {
        Ok(SpanKind::Server) => Some("server"),
        Ok(SpanKind::Client) => Some("client"),
        Ok(SpanKind::Producer) => Some("producer"),
        Ok(SpanKind::Consumer) => Some("consumer"),
        _ => None,
    })
}

/// Whether the span is one call of a model. Where no operation says so, model and tokens do; provider too, where
/// none is named.
pub(super) fn is_model_call(facts: &Facts<'_>, operation: Option<&str>) -> bool {
    let says = |fact| facts.has(fact);
    let names_operation = [
        Fact::Operation,
        Fact::OpenInferenceKind,
        Fact::LangfuseKind,
        Fact::RequestType,
        Fact::VercelOperation,
    ];
    let named = operation.filter(|_| names_operation.into_iter().any(says));
    if named.is_some_and(calls_model) {
        return true;
    }
    let sums_up = named.is_some_and(|operation| starts_with_one(operation, &AROUND_CALLS));
    let counted = says(Fact::Input) || says(Fact::Output);
    let model = says(Fact::RequestModel) || says(Fact::ResponseModel);
    let not_a_call = sums_up || says(Fact::TraceloopKind) || says(Fact::Tool);
    (named.is_some() || says(Fact::Provider)) && model && counted && !not_a_call
}

/// Whether the operation is a call of a model. LiteLLM names the asynchronous ones with an `a` in front.
fn calls_model(operation: &str) -> bool {
    let known = |operation: &str| {
        let mut calls = MODEL_CALLS.iter();
        calls.any(|known| known.eq_ignore_ascii_case(operation))
    };
    known(operation) || operation.strip_prefix('a').is_some_and(known)
}

fn starts_with_one(text: &str, beginnings: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    beginnings.iter().any(|beginning| text.starts_with(beginning))
}

/// Only the innermost of the SDK's spans calls a model; those around it repeat its tokens.
fn vercel(operation: &str) -> &str {
    match operation.rsplit('.').next().unwrap_or(operation) {
        "doGenerate" | "doStream" => "chat",
        "doEmbed" => "embeddings",
        "doRerank" => "rerank",
        "toolCall" => "execute_tool",
        _ => operation,
    }
}

fn open_inference(kind: &str) -> &str {
    match kind {
        "LLM" => "chat",
        "EMBEDDING" => "embeddings",
        "RERANKER" => "rerank",
        "TOOL" => "execute_tool",
        "AGENT" => "invoke_agent",
        "RETRIEVER" => "retrieval",
        "CHAIN" => "chain",
        "GUARDRAIL" => "guardrail",
        "EVALUATOR" => "evaluate",
        other => other,
    }
}

fn langfuse(kind: &str) -> &str {
    match kind {
        "generation" => "chat",
        "embedding" => "embeddings",
        "agent" => "invoke_agent",
        "tool" => "execute_tool",
        "retriever" => "retrieval",
        other => other,
    }
}

fn request_type(kind: &str) -> &str {
    match kind {
        "embedding" => "embeddings",
        "completion" => "text_completion",
        other => other,
    }
}

fn traceloop(kind: &str) -> &str {
    match kind {
        "agent" => "invoke_agent",
        "tool" => "execute_tool",
        "workflow" => "invoke_workflow",
        other => other,
    }
}
