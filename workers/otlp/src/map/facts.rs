//! What attributes say about a model call, whichever convention they follow.
//!
//! Known: OpenTelemetry's GenAI attributes (current and older names), OpenInference's, OpenLLMetry's, and those of
//! the Vercel AI SDK, LiteLLM, Logfire and Langfuse. Of several attributes that say the same, the current name wins. One pass over the attributes.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

/// What can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Operation,
    OpenInferenceKind,
    TraceloopKind,
    TraceloopEntity,
    RequestType,
    VercelOperation,
    LangfuseKind,
    /// `span`, or `log` for what Logfire writes when a stream has ended.
    LogfireKind,
    Provider,
    RequestModel,
    ResponseModel,
    Input,
    Output,
    Total,
    CacheRead,
    CacheWrite,
    Reasoning,
    /// What the provider reported, as text.
    Reported,
    /// Only where the counts of the Vercel AI SDK include the cache.
    InputDetails,
    Cost,
    /// As text: dollars by what they are for.
    CostDetails,
    /// Of the stream that has ended.
    DurationSeconds,
    TtftSeconds,
    TtftMs,
    Finish,
    ErrorType,
    StatusCode,
    Agent,
    Tool,
    Workflow,
    Conversation,
    ServiceTier,
    ResponseId,
    /// The request's parameters as JSON text.
    Parameters,
}

const FACTS: usize = Fact::Parameters as usize + 1;

/// What an attribute says, and the rank of its name: 0 is the current one.
fn fact(key: &str) -> Option<(Fact, u8)> {
    match key.split_once('.') {
        Some(("gen_ai", rest)) => gen_ai(rest),
        Some(("llm", rest)) => llm(rest),
        Some(("ai", rest)) => vercel(rest),
        _ => other(key),
    }
}

/// OpenTelemetry's, current and older, behind `gen_ai.`.
#[rustfmt::skip]
fn gen_ai(key: &str) -> Option<(Fact, u8)> {
    use Fact::{
        Agent, CacheRead, CacheWrite, Conversation, Cost, Finish, Input, Operation, Output, Provider,
        Reasoning, Reported, RequestModel, ResponseId, ResponseModel, ServiceTier, Tool, Total, TtftSeconds,
        Workflow,
    };
    Some(match key {
        "operation.name" => (Operation, 0),
        "provider.name" => (Provider, 0),
        "system" => (Provider, 1),
        "response.model" => (ResponseModel, 0),
        "request.model" => (RequestModel, 0),
        "response.id" => (ResponseId, 0),
        "usage.input_tokens" => (Input, 0),
        "usage.prompt_tokens" => (Input, 1),
        "usage.output_tokens" => (Output, 0),
        "usage.completion_tokens" => (Output, 1),
        "usage.total_tokens" => (Total, 0),
        "usage.cache_read.input_tokens" => (CacheRead, 0),
        "usage.cache_read_input_tokens" => (CacheRead, 1),
        "usage.details.cache_read_tokens" => (CacheRead, 2),
        "usage.details.cache_read_input_tokens" => (CacheRead, 3),
        "usage.details.cached_tokens" => (CacheRead, 8),
        "usage.details.cached_content_tokens" => (CacheRead, 9),
        "usage.cache_creation.input_tokens" => (CacheWrite, 0),
        "usage.cache_write.input_tokens" => (CacheWrite, 1),
        "usage.cache_creation_input_tokens" => (CacheWrite, 1),
        "usage.details.cache_write_tokens" => (CacheWrite, 2),
        "usage.details.cache_creation_input_tokens" => (CacheWrite, 3),
        "usage.reasoning.output_tokens" => (Reasoning, 0),
        "usage.reasoning_tokens" => (Reasoning, 1),
        "usage.details.reasoning_tokens" => (Reasoning, 2),
        "usage.details.thoughts_tokens" => (Reasoning, 7),
        "usage.raw" => (Reported, 0),
        "usage.cost" => (Cost, 0),
        "usage.cost_usd" => (Cost, 1),
        "usage.total_cost" => (Cost, 2),
        "cost.total_cost" => (Cost, 5),
        "response.time_to_first_chunk" => (TtftSeconds, 0),
        "response.time_to_first_token" => (TtftSeconds, 1),
        "server.time_to_first_token" => (TtftSeconds, 2),
        "response.finish_reasons" => (Finish, 0),
        "agent.name" => (Agent, 0),
        "agent.id" => (Agent, 3),
        "tool.name" => (Tool, 0),
        "workflow.name" => (Workflow, 0),
        "conversation.id" => (Conversation, 0),
        "openai.response.service_tier" => (ServiceTier, 1),
        _ => return None,
    })
}

/// OpenInference's and OpenLLMetry's, behind `llm.`.
#[rustfmt::skip]
fn llm(key: &str) -> Option<(Fact, u8)> {
    use Fact::{
        CacheRead, CacheWrite, Cost, Finish, Input, Output, Parameters, Provider, Reasoning, RequestModel,
        RequestType, ResponseModel, Total,
    };
    Some(match key {
        "request.type" => (RequestType, 0),
        "provider" => (Provider, 2),
        "system" => (Provider, 4),
        "vendor" => (Provider, 5),
        "response.model_name" => (ResponseModel, 2),
        "response.model" => (ResponseModel, 3),
        "model_name" => (RequestModel, 1),
        "request.model" => (RequestModel, 3),
        "request.model_name" => (RequestModel, 6),
        "invocation_parameters" => (Parameters, 0),
        "token_count.prompt" => (Input, 2),
        "usage.prompt_tokens" => (Input, 3),
        "usage.input_tokens" => (Input, 4),
        "token_count.completion" => (Output, 2),
        "usage.completion_tokens" => (Output, 3),
        "usage.output_tokens" => (Output, 4),
        "usage.total_tokens" => (Total, 1),
        "token_count.total" => (Total, 2),
        "token_count.prompt_details.cache_read" => (CacheRead, 4),
        "usage.cache_read_input_tokens" => (CacheRead, 5),
        "token_count.prompt_details.cache_write" => (CacheWrite, 4),
        "usage.cache_creation_input_tokens" => (CacheWrite, 5),
        "token_count.completion_details.reasoning" => (Reasoning, 3),
        "usage.reasoning_tokens" => (Reasoning, 4),
        "cost.total" => (Cost, 3),
        "finish_reason" => (Finish, 2),
        "response.finish_reason" => (Finish, 3),
        _ => return None,
    })
}

/// The Vercel AI SDK's, behind `ai.`.
#[rustfmt::skip]
fn vercel(key: &str) -> Option<(Fact, u8)> {
    use Fact::{
        CacheRead, CacheWrite, Conversation, Finish, Input, InputDetails, Output, Provider, Reasoning,
        RequestModel, ResponseId, ResponseModel, Tool, Total, TtftMs, VercelOperation,
    };
    Some(match key {
        "operationId" => (VercelOperation, 0),
        "model.provider" => (Provider, 3),
        "response.model" => (ResponseModel, 1),
        "model.id" => (RequestModel, 2),
        "response.id" => (ResponseId, 1),
        "usage.inputTokens" => (Input, 5),
        "usage.promptTokens" => (Input, 6),
        "usage.tokens" => (Input, 7),
        "usage.outputTokens" => (Output, 5),
        "usage.completionTokens" => (Output, 6),
        "usage.totalTokens" => (Total, 3),
        "usage.inputTokenDetails.cacheReadTokens" => (CacheRead, 6),
        "usage.cachedInputTokens" => (CacheRead, 7),
        "usage.inputTokenDetails.cacheWriteTokens" => (CacheWrite, 6),
        "usage.inputTokenDetails.noCacheTokens" => (InputDetails, 0),
        "usage.outputTokenDetails.reasoningTokens" => (Reasoning, 5),
        "usage.reasoningTokens" => (Reasoning, 6),
        "response.msToFirstChunk" => (TtftMs, 0),
        "response.finishReason" => (Finish, 1),
        "toolCall.name" => (Tool, 2),
        "telemetry.metadata.sessionId" => (Conversation, 3),
        _ => return None,
    })
}

/// All others.
#[rustfmt::skip]
fn other(key: &str) -> Option<(Fact, u8)> {
    use Fact::{
        Agent, Conversation, Cost, CostDetails, DurationSeconds, ErrorType, LangfuseKind, LogfireKind,
        OpenInferenceKind, Reported, RequestModel, ServiceTier, StatusCode, Tool, TraceloopEntity, TraceloopKind,
        Workflow,
    };
    Some(match key {
        "openinference.span.kind" => (OpenInferenceKind, 0),
        "traceloop.span.kind" => (TraceloopKind, 0),
        "traceloop.entity.name" => (TraceloopEntity, 0),
        "langfuse.observation.type" => (LangfuseKind, 0),
        "langfuse.observation.model.name" => (RequestModel, 7),
        "langfuse.observation.usage_details" => (Reported, 2),
        "langfuse.observation.cost_details" => (CostDetails, 0),
        "logfire.span_type" => (LogfireKind, 0),
        "duration" => (DurationSeconds, 0),
        "metadata.usage_object" => (Reported, 1),
        "embedding.model_name" => (RequestModel, 4),
        "reranker.model_name" => (RequestModel, 5),
        "operation.cost" => (Cost, 4),
        "error.type" => (ErrorType, 0),
        "exception.type" => (ErrorType, 1),
        "http.response.status_code" => (StatusCode, 0),
        "http.status_code" => (StatusCode, 1),
        "agent.name" => (Agent, 1),
        "agent_name" => (Agent, 2),
        "tool.name" => (Tool, 1),
        "traceloop.workflow.name" => (Workflow, 1),
        "session.id" => (Conversation, 1),
        "traceloop.association.properties.session_id" => (Conversation, 2),
        "langfuse.session.id" => (Conversation, 4),
        "openai.response.service_tier" => (ServiceTier, 0),
        _ => return None,
    })
}

/// What a span's attributes say.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    found: [Option<(u8, &'a Value)>; FACTS],
}

impl<'a> Facts<'a> {
    pub(super) fn read(attributes: &'a [KeyValue]) -> Self {
        let mut facts = Facts { found: [None; FACTS] };
        for attribute in attributes {
            let Some((fact, rank)) = fact(&attribute.key) else {
                continue;
            };
            let Some(value) = attribute.value.as_ref().and_then(|value| value.value.as_ref()) else {
                continue;
            };
            let known = &mut facts.found[fact as usize];
            if known.is_none_or(|(best, _)| rank < best) {
                *known = Some((rank, value));
            }
        }
        facts
    }

    fn get(&self, fact: Fact) -> Option<&'a Value> {
        self.found[fact as usize].map(|(_, value)| value)
    }

    pub(super) fn has(&self, fact: Fact) -> bool {
        self.get(fact).is_some()
    }

    /// A text that is not empty; of a list, its first.
    pub(super) fn text(&self, fact: Fact) -> Option<&'a str> {
        text_of(self.get(fact)?)
    }

    /// A count: a whole number from 0, also where it was sent as a text.
    pub(super) fn count(&self, fact: Fact) -> Option<u64> {
        match self.get(fact)? {
            Value::IntValue(count) => u64::try_from(*count).ok(),
            Value::DoubleValue(count) if *count >= 0.0 && *count < 1e15 && count.fract() == 0.0 => {
                Some(*count as u64)
            }
            Value::StringValue(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A number, also where it was sent as a text.
    pub(super) fn number(&self, fact: Fact) -> Option<f64> {
        match self.get(fact)? {
            #[allow(clippy::cast_precision_loss, reason = "seconds and codes are small")]
            Value::IntValue(number) => Some(*number as f64),
            Value::DoubleValue(number) => Some(*number),
            Value::StringValue(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The model that answered, or else the one that was asked.
    pub(super) fn model(&self) -> Option<Cow<'a, str>> {
        let named = self
            .text(Fact::ResponseModel)
            .or_else(|| self.text(Fact::RequestModel));
        let asked = || self.text(Fact::Parameters).and_then(model_in);
        named.map(Cow::Borrowed).or_else(|| asked().map(Cow::Owned))
    }

    /// What the call cost, if the sender says so: dollars, as decimal text.
    pub(super) fn cost(&self) -> Option<String> {
        let given = self.get(Fact::Cost).and_then(dollars_of);
        given.or_else(|| total_of(self.text(Fact::CostDetails)?))
    }
}

/// The model that the request's parameters name: all that is known of it where a call failed.
fn model_in(parameters: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Parameters {
        model: String,
    }
    let parameters: Parameters = serde_json::from_str(parameters).ok()?;
    (!parameters.model.trim().is_empty()).then_some(parameters.model)
}

fn text_of(value: &Value) -> Option<&str> {
    let text = match value {
        Value::StringValue(text) => text,
        Value::ArrayValue(array) => return array.values.first()?.value.as_ref().and_then(text_of),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// An amount that the contract accepts: read from its decimal text, never computed with.
pub(super) fn dollars_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::IntValue(dollars) => dollars.to_string(),
        Value::DoubleValue(dollars) if dollars.is_finite() => dollars.to_string(),
        Value::StringValue(text) => text.trim().to_owned(),
        _ => return None,
    };
    let money: schemas::Money = text.parse().ok()?;
    let most = schemas::limits::COST_USD * schemas::Money::NANOS_PER_DOLLAR;
    (0..=most).contains(&money.0).then(|| money.to_string())
}

/// The total of costs, given as JSON text; or else their sum.
fn total_of(details: &str) -> Option<String> {
    let details: std::collections::BTreeMap<String, serde_json::Number> =
        serde_json::from_str(details).ok()?;
    let money = |amount: &serde_json::Number| amount.to_string().parse::<schemas::Money>().ok();
    let nanos = match details.get("total") {
        Some(total) => money(total)?.0,
        None => details
            .values()
            .try_fold(0_i64, |sum, amount| sum.checked_add(money(amount)?.0))?,
    };
    let most = schemas::limits::COST_USD * schemas::Money::NANOS_PER_DOLLAR;
    let given = !details.is_empty() && (0..=most).contains(&nanos);
    given.then(|| schemas::Money(nanos).to_string())
}

/// The text of the first attribute with this key.
pub(super) fn text_named<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    text_of(named(attributes, key)?)
}

/// The value of the first attribute with this key.
pub(super) fn named<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    attribute
        .value
        .as_ref()
        .and_then(|AnyValue { value }| value.as_ref())
}
