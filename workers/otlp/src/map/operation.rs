//! What a span does, in OpenTelemetry's words, and whether that is a model call.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::facts::{Fact, Facts};

/// Operations in which a model is called. Everything else (agents, tools, workflows) at most sums up such calls.
const MODEL_CALLS: [&str; 14] = [
    "chat",
    "completion",
    "embedding",
    "embeddings",
    "generate_content",
    "image_generation",
    "message",
    "messages",
    "rerank",
    "response",
    "responses",
    "text_completion",
    "text_to_speech",
    "transcription",
];

/// The operation of a span, if it has one: `chat`, `execute_tool`, `server`.
pub(super) fn operation<'a>(facts: &Facts<'a>, kind: i32) -> Option<&'a str> {
    if let Some(operation) = facts.text(Fact::VercelOperation) {
        return Some(vercel(operation));
    }
    let named = facts.text(Fact::Operation);
    let named = named.or_else(|| facts.text(Fact::OpenInferenceKind).map(open_inference));
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

/// Whether the span is one call of a model. Some instrumentations name no operation: then provider, model and
/// tokens say so.
pub(super) fn is_model_call(facts: &Facts<'_>, operation: Option<&str>) -> bool {
    let says = |fact| facts.has(fact);
    let names_operation = [
        Fact::Operation,
        Fact::OpenInferenceKind,
        Fact::RequestType,
        Fact::VercelOperation,
    ];
    if names_operation.into_iter().any(says) {
        let known = |operation: &str| {
            MODEL_CALLS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(operation))
        };
        return operation.is_some_and(known);
    }
    let counted = says(Fact::Input) || says(Fact::Output);
    let model = says(Fact::RequestModel) || says(Fact::ResponseModel);
    let not_a_call = says(Fact::TraceloopKind) || says(Fact::Tool);
    says(Fact::Provider) && model && counted && !not_a_call
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
