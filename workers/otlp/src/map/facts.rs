//! What attributes say about a model call, whichever convention they follow.
//!
//! Known: OpenTelemetry's GenAI attributes (current and older names), OpenInference's, OpenLLMetry's, and those of
//! the Vercel AI SDK. Of several attributes that say the same, the current name wins. One pass over the attributes.

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
    Provider,
    RequestModel,
    ResponseModel,
    Input,
    Output,
    Total,
    CacheRead,
    CacheWrite,
    Reasoning,
    /// Only where the counts of the Vercel AI SDK include the cache.
    InputDetails,
    Cost,
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
#[rustfmt::skip]
fn fact(key: &str) -> Option<(Fact, u8)> {
    use Fact::{
        Agent, CacheRead, CacheWrite, Conversation, Cost, ErrorType, Finish, Input, InputDetails, OpenInferenceKind,
        Operation, Output, Parameters, Provider, Reasoning, RequestModel, RequestType, ResponseId, ResponseModel,
        ServiceTier, StatusCode, Tool, Total, TraceloopEntity, TraceloopKind, TtftMs, TtftSeconds, VercelOperation, Workflow,
    };
    Some(match key {
        "gen_ai.operation.name" => (Operation, 0),
        "openinference.span.kind" => (OpenInferenceKind, 0),
        "traceloop.span.kind" => (TraceloopKind, 0),
        "traceloop.entity.name" => (TraceloopEntity, 0),
        "llm.request.type" => (RequestType, 0),
        "ai.operationId" => (VercelOperation, 0),

        "gen_ai.provider.name" => (Provider, 0),
        "gen_ai.system" => (Provider, 1),
        "llm.provider" => (Provider, 2),
        "ai.model.provider" => (Provider, 3),
        "llm.system" => (Provider, 4),
        "llm.vendor" => (Provider, 5),

        "gen_ai.response.model" => (ResponseModel, 0),
        "ai.response.model" => (ResponseModel, 1),
        "llm.response.model_name" => (ResponseModel, 2),
        "llm.response.model" => (ResponseModel, 3),
        "gen_ai.request.model" => (RequestModel, 0),
        "llm.model_name" => (RequestModel, 1),
        "ai.model.id" => (RequestModel, 2),
        "llm.request.model" => (RequestModel, 3),
        "embedding.model_name" => (RequestModel, 4),
        "reranker.model_name" => (RequestModel, 5),
        "llm.request.model_name" => (RequestModel, 6),
        "llm.invocation_parameters" => (Parameters, 0),
        "gen_ai.response.id" => (ResponseId, 0),
        "ai.response.id" => (ResponseId, 1),

        "gen_ai.usage.input_tokens" => (Input, 0),
        "gen_ai.usage.prompt_tokens" => (Input, 1),
        "llm.token_count.prompt" => (Input, 2),
        "llm.usage.prompt_tokens" => (Input, 3),
        "llm.usage.input_tokens" => (Input, 4),
        "ai.usage.inputTokens" => (Input, 5),
        "ai.usage.promptTokens" => (Input, 6),
        "ai.usage.tokens" => (Input, 7),

        "gen_ai.usage.output_tokens" => (Output, 0),
        "gen_ai.usage.completion_tokens" => (Output, 1),
        "llm.token_count.completion" => (Output, 2),
        "llm.usage.completion_tokens" => (Output, 3),
        "llm.usage.output_tokens" => (Output, 4),
        "ai.usage.outputTokens" => (Output, 5),
        "ai.usage.completionTokens" => (Output, 6),

        "gen_ai.usage.total_tokens" => (Total, 0),
        "llm.usage.total_tokens" => (Total, 1),
        "llm.token_count.total" => (Total, 2),
        "ai.usage.totalTokens" => (Total, 3),

        "gen_ai.usage.cache_read.input_tokens" => (CacheRead, 0),
        "gen_ai.usage.cache_read_input_tokens" => (CacheRead, 1),
        "gen_ai.usage.details.cache_read_tokens" => (CacheRead, 2),
        "gen_ai.usage.details.cache_read_input_tokens" => (CacheRead, 3),
        "llm.token_count.prompt_details.cache_read" => (CacheRead, 4),
        "llm.usage.cache_read_input_tokens" => (CacheRead, 5),
        "ai.usage.inputTokenDetails.cacheReadTokens" => (CacheRead, 6),
        "ai.usage.cachedInputTokens" => (CacheRead, 7),

        "gen_ai.usage.cache_creation.input_tokens" => (CacheWrite, 0),
        "gen_ai.usage.cache_write.input_tokens" => (CacheWrite, 1),
        "gen_ai.usage.cache_creation_input_tokens" => (CacheWrite, 1),
        "gen_ai.usage.details.cache_write_tokens" => (CacheWrite, 2),
        "gen_ai.usage.details.cache_creation_input_tokens" => (CacheWrite, 3),
        "llm.token_count.prompt_details.cache_write" => (CacheWrite, 4),
        "llm.usage.cache_creation_input_tokens" => (CacheWrite, 5),
        "ai.usage.inputTokenDetails.cacheWriteTokens" => (CacheWrite, 6),
        "ai.usage.inputTokenDetails.noCacheTokens" => (InputDetails, 0),

        "gen_ai.usage.reasoning.output_tokens" => (Reasoning, 0),
        "gen_ai.usage.reasoning_tokens" => (Reasoning, 1),
        "gen_ai.usage.details.reasoning_tokens" => (Reasoning, 2),
        "llm.token_count.completion_details.reasoning" => (Reasoning, 3),
        "llm.usage.reasoning_tokens" => (Reasoning, 4),
        "ai.usage.outputTokenDetails.reasoningTokens" => (Reasoning, 5),
        "ai.usage.reasoningTokens" => (Reasoning, 6),

        "gen_ai.usage.cost" => (Cost, 0),
        "gen_ai.usage.cost_usd" => (Cost, 1),
        "gen_ai.usage.total_cost" => (Cost, 2),
        "llm.cost.total" => (Cost, 3),
        "operation.cost" => (Cost, 4),

        "gen_ai.response.time_to_first_chunk" => (TtftSeconds, 0),
        "gen_ai.response.time_to_first_token" => (TtftSeconds, 1),
        "gen_ai.server.time_to_first_token" => (TtftSeconds, 2),
        "ai.response.msToFirstChunk" => (TtftMs, 0),

        "gen_ai.response.finish_reasons" => (Finish, 0),
        "ai.response.finishReason" => (Finish, 1),
        "llm.finish_reason" => (Finish, 2),
        "llm.response.finish_reason" => (Finish, 3),
        "error.type" => (ErrorType, 0),
        "exception.type" => (ErrorType, 1),
        "http.response.status_code" => (StatusCode, 0),
        "http.status_code" => (StatusCode, 1),

        "gen_ai.agent.name" => (Agent, 0),
        "agent.name" => (Agent, 1),
        "agent_name" => (Agent, 2),
        "gen_ai.agent.id" => (Agent, 3),
        "gen_ai.tool.name" => (Tool, 0),
        "tool.name" => (Tool, 1),
        "ai.toolCall.name" => (Tool, 2),
        "gen_ai.workflow.name" => (Workflow, 0),
        "traceloop.workflow.name" => (Workflow, 1),
        "gen_ai.conversation.id" => (Conversation, 0),
        "session.id" => (Conversation, 1),
        "traceloop.association.properties.session_id" => (Conversation, 2),
        "ai.telemetry.metadata.sessionId" => (Conversation, 3),
        "langfuse.session.id" => (Conversation, 4),
        "openai.response.service_tier" => (ServiceTier, 0),
        "gen_ai.openai.response.service_tier" => (ServiceTier, 1),
        _ => return None,
    })
}

/// What a span's attributes say.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    found: [Option<(u8, &'a Value)>; FACTS],
}

impl<'a> Facts<'a> {
    pub(super) fn read(attributes: &'a [KeyValue]) -> Self {
        let mut facts = Facts::default();
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

    /// Dollars, as decimal text.
    pub(super) fn dollars(&self, fact: Fact) -> Option<String> {
        dollars_of(self.get(fact)?)
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
