//! One function for each shape of usage object.

use super::fields::Fields;
use super::{Found, sum};
use crate::Money;
use crate::rejection::{Reason, Rejection};

/// Finds the shape by its fields, and reads it.
pub(super) fn read<'a>(fields: &Fields<'a>) -> Result<Found<'a>, Rejection> {
    let has = |names: &[&str]| names.iter().any(|name| fields.has(name));
    if has(&[
        "promptTokenCount",
        "prompt_token_count",
        "candidatesTokenCount",
        "totalTokenCount",
    ]) {
        return gemini(fields);
    }
    if has(&["inputTokens", "outputTokens"]) {
        return converse(fields);
    }
    if has(&["prompt_tokens", "completion_tokens"]) {
        return chat(fields);
    }
    if has(&["billed_units"]) {
        return cohere(fields);
    }
    let anthropic = has(&ANTHROPIC_ONLY);
    let responses = has(&["input_tokens_details", "output_tokens_details"]);
    match (has(&["input_tokens", "output_tokens"]), anthropic, responses) {
        (true, true, _) if has(&["input_tokens_details"]) => {
            let problem = "has fields of both Anthropic and OpenAI, whose input_tokens mean different things";
            let fix = "send the object as one response had it";
            Err(Rejection::new(
                Reason::Inconsistent,
                super::fields::ROOT,
                problem,
                fix,
            ))
        }
        (true, true, _) => messages(fields),
        // Without any details the two mean the same.
        (true, false, _) => responses_api(fields),
        _ => Err(fields.unknown()),
    }
}

const ANTHROPIC_ONLY: [&str; 6] = [
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "server_tool_use",
    "speed",
    "inference_geo",
];
/// What Anthropic charges otherwise than its standard prices: fields, and values of them.
const SURCHARGES: [(&str, &str); 2] = [("speed", "fast"), ("inference_geo", "us")];

/// OpenAI chat completions, and everybody who answers like it.
fn chat<'a>(fields: &Fields<'a>) -> Result<Found<'a>, Rejection> {
    let prompt = fields.count(&["prompt_tokens"])?;
    let completion = fields.count(&["completion_tokens"])?;
    let input = fields.object(&["prompt_tokens_details", "prompt_token_details"])?;
    let output = fields.object(&["completion_tokens_details"])?;
    let of = |object: &Option<Fields<'a>>, names: &[&str]| match object {
        Some(object) => object.count(names),
        None => Ok(None),
    };
    let cached = match of(&input, &["cached_tokens"])? {
        Some(cached) => Some(cached),
        // DeepSeek, Mistral and LiteLLM say it beside the prompt's tokens.
        None => fields.count(&[
            "prompt_cache_hit_tokens",
            "num_cached_tokens",
            "cached_tokens",
            "cache_read_input_tokens",
        ])?,
    };
    let (written, hour) = chat_cache_writes(fields, input.as_ref())?;
    let reasoning = match of(&output, &["reasoning_tokens"])? {
        Some(reasoning) => Some(reasoning),
        None => fields.count(&["reasoning_tokens"])?,
    };
    let total = fields.count(&["total_tokens"])?;
    let on_top = reasoning.filter(|reasoning| {
        let listed = prompt.unwrap_or(0) + completion.unwrap_or(0);
        *reasoning > 0 && total == Some(listed + reasoning)
    });
    Ok(Found {
        tokens_in: prompt,
        tokens_out: sum(fields.place("completion_tokens"), &[completion, on_top])?,
        cache_read: cached,
        cache_write: written.filter(|written| *written > 0),
        cache_write_1h: hour.filter(|hour| *hour > 0),
        reasoning,
        cost: charged(fields)?,
        service_tier: fields.text("service_tier"),
        ..Found::default()
    })
}

/// All cache writes, and those for an hour. LiteLLM has Anthropic's counts within the details, or beside the prompt's tokens,
/// which include them.
fn chat_cache_writes(
    fields: &Fields<'_>,
    details: Option<&Fields<'_>>,
) -> Result<(Option<u64>, Option<u64>), Rejection> {
    let beside = fields.count(&["cache_creation_input_tokens"])?;
    let Some(details) = details else {
        return Ok((beside, None));
    };
    let within = details.count(&["cache_write_tokens", "cache_creation_tokens"])?;
    let Some(lifetimes) = details.object(&["cache_creation_token_details"])? else {
        return Ok((within.or(beside), None));
    };
    let minutes = lifetimes.count(&["ephemeral_5m_input_tokens"])?;
    let hour = lifetimes.count(&["ephemeral_1h_input_tokens"])?;
    let split = sum(details.place("cache_creation_token_details"), &[minutes, hour])?;
    Ok((within.or(beside).or(split), hour))
}

/// What OpenRouter says it charged; with a key of the caller's own, what the provider behind it charged is not in `cost`.
fn charged(fields: &Fields<'_>) -> Result<Option<Money>, Rejection> {
    if let Some(details) = fields.object(&["cost"])? {
        return details.money("total_cost");
    }
    let Some(cost) = fields.money("cost")? else {
        return Ok(None);
    };
    let upstream = match fields.object(&["cost_details"])? {
        Some(details) if fields.is_true("is_byok") => details.money("upstream_inference_cost")?,
        _ => None,
    };
    Ok(Some(Money(
        cost.0.saturating_add(upstream.map_or(0, |upstream| upstream.0)),
    )))
}

/// OpenAI Responses.
fn responses_api<'a>(fields: &Fields<'a>) -> Result<Found<'a>, Rejection> {
    let input = fields.object(&["input_tokens_details"])?;
    let output = fields.object(&["output_tokens_details"])?;
    let of = |object: &Option<Fields<'a>>, name: &str| match object {
        Some(object) => object.count(&[name]),
        None => Ok(None),
    };
    Ok(Found {
        tokens_in: fields.count(&["input_tokens"])?,
        tokens_out: fields.count(&["output_tokens"])?,
        cache_read: of(&input, "cached_tokens")?,
        cache_write: of(&input, "cache_write_tokens")?,
        reasoning: of(&output, "reasoning_tokens")?,
        cost: charged(fields)?,
        service_tier: fields.text("service_tier"),
        ..Found::default()
    })
}

/// Anthropic Messages, also as Vertex and Bedrock (InvokeModel) hand it on.
fn messages<'a>(fields: &Fields<'a>) -> Result<Found<'a>, Rejection> {
    let read = fields.count(&["cache_read_input_tokens"])?;
    let listed = fields.count(&["cache_creation_input_tokens"])?;
    let lifetimes = fields.object(&["cache_creation"])?;
    let (minutes, hour) = match &lifetimes {
        Some(lifetimes) => (
            lifetimes.count(&["ephemeral_5m_input_tokens"])?,
            lifetimes.count(&["ephemeral_1h_input_tokens"])?,
        ),
        None => (None, None),
    };
    let split = sum(fields.place("cache_creation"), &[minutes, hour])?;
    if let (Some(listed), Some(split)) = (listed, split)
        && listed != split
    {
        let problem = format!("is {listed}, but cache_creation adds up to {split}");
        let place = fields.place("cache_creation_input_tokens");
        let fix = "send the object as the response had it";
        return Err(Rejection::new(Reason::Inconsistent, place, problem, fix));
    }
    let written = listed.or(split);
    let place = fields.place("input_tokens");
    let output = fields.object(&["output_tokens_details"])?;
    let reasoning = match &output {
        Some(output) => output.count(&["thinking_tokens", "reasoning_tokens"])?,
        None => None,
    };
    Ok(Found {
        tokens_in: sum(place, &[fields.count(&["input_tokens"])?, read, written])?,
        tokens_out: fields.count(&["output_tokens"])?,
        cache_read: read,
        cache_write: written,
        cache_write_1h: hour.filter(|hour| *hour > 0),
        reasoning,
        service_tier: fields.text("service_tier"),
        surcharges: SURCHARGES
            .into_iter()
            .filter(|(field, value)| fields.text(field).as_deref() == Some(value))
            .map(|(_, value)| value)
            .collect(),
        ..Found::default()
    })
}

/// Google Gemini (`usageMetadata`), in the spelling of its API or of its Python library.
fn gemini<'a>(fields: &Fields<'a>) -> Result<Found<'a>, Rejection> {
    let prompt = fields.count(&["promptTokenCount", "prompt_token_count"])?;
    let tool_use = fields.count(&["toolUsePromptTokenCount", "tool_use_prompt_token_count"])?;
    let candidates = fields.count(&[
        "candidatesTokenCount",
        "candidates_token_count",
        "responseTokenCount",
        "response_token_count",
    ])?;
    let thoughts = fields.count(&["thoughtsTokenCount", "thoughts_token_count"])?;
    // An answer without any text has no count of candidates.
    let out = sum(fields.place("candidatesTokenCount"), &[candidates, thoughts])?;
    Ok(Found {
        tokens_in: sum(fields.place("promptTokenCount"), &[prompt, tool_use])?,
        tokens_out: out.or(Some(0)),
        cache_read: fields.count(&["cachedContentTokenCount", "cached_content_token_count"])?,
        reasoning: thoughts,
        ..Found::default()
    })
}

/// Bedrock Converse.
fn converse<'a>(fields: &Fields<'a>) -> Result<Found<'a>, Rejection> {
    let read = fields.count(&["cacheReadInputTokens", "cacheReadInputTokenCount"])?;
    let written = fields.count(&["cacheWriteInputTokens", "cacheWriteInputTokenCount"])?;
    let mut hour = None;
    for detail in fields.objects("cacheDetails")? {
        if detail.text("ttl").as_deref() == Some("1h") {
            let tokens = detail.count(&["inputTokens"])?;
            hour = sum(fields.place("cacheDetails"), &[hour, tokens])?;
        }
    }
    let place = fields.place("inputTokens");
    Ok(Found {
        tokens_in: sum(place, &[fields.count(&["inputTokens"])?, read, written])?,
        tokens_out: fields.count(&["outputTokens"])?,
        cache_read: read,
        cache_write: written,
        cache_write_1h: hour.filter(|hour| *hour > 0),
        ..Found::default()
    })
}

/// Cohere: what it bills, which leaves out what it adds to prompts itself.
fn cohere<'a>(fields: &Fields<'a>) -> Result<Found<'a>, Rejection> {
    let Some(billed) = fields.object(&["billed_units"])? else {
        return Err(fields.unknown());
    };
    Ok(Found {
        tokens_in: billed.count(&["input_tokens"])?,
        tokens_out: billed.count(&["output_tokens"])?,
        ..Found::default()
    })
}
