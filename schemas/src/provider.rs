//! How providers count tokens: their own usage objects, made into the inclusive counts of [`Usage`].
//!
//! The convention follows from the shape, since each provider's fields have names of their own:
//!
//! | shape | what is particular |
//! |---|---|
//! | OpenAI chat completions (also Mistral, DeepSeek, xAI, OpenRouter, Groq, LiteLLM, …) | inclusive; where `total_tokens` says that reasoning came on top of `completion_tokens`, it is added |
//! | OpenAI Responses | inclusive |
//! | Anthropic Messages | `input_tokens` leaves out cache reads and writes; writes of five minutes and of an hour apart; fast mode and inference in the US are tiers of service (`fast`, `us`, `batch_us`, …) |
//! | Google Gemini | thoughts come on top of candidates, tool-use prompts on top of the prompt |
//! | Bedrock Converse | `inputTokens` leaves out cache reads and writes |
//! | Cohere | `billed_units` |
//!
//! Invariants: what the event says itself is never overwritten: it agrees or the event is refused. Fields that are not known
//! are passed over, since providers add some every month; a shape that is not known is refused, never counted as nothing.
//! Deliberately absent: tokens by modality (audio, image), and what tools cost.

mod fields;
mod shapes;

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::value::RawValue;

use crate::price::is_standard;
use crate::rejection::{Reason, Rejection};
use crate::{Money, Text, Usage, limits};
use fields::Fields;

/// What a usage object says, inclusive. Absent: it does not say.
#[derive(Debug, Default, PartialEq)]
struct Found<'a> {
    tokens_in: Option<u64>,
    tokens_out: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_1h: Option<u64>,
    reasoning: Option<u64>,
    cost: Option<Money>,
    service_tier: Option<Text<'a>>,
    /// What else decides the price, and goes into the tier: speed and place.
    surcharges: Vec<&'static str>,
}

/// Fills in what `raw`, the provider's usage object, says about the call.
pub(crate) fn merge<'a>(usage: &mut Usage<'a>, raw: &'a RawValue) -> Result<(), Rejection> {
    let text = raw.get();
    if text.len() > limits::PROVIDER_USAGE_BYTES {
        let problem = format!(
            "has {} bytes of JSON, more than {}",
            text.len(),
            limits::PROVIDER_USAGE_BYTES
        );
        let fix = "send the usage object of the response alone";
        return Err(Rejection::new(Reason::TooLarge, fields::ROOT, problem, fix));
    }
    let found = shapes::read(&Fields::parse(fields::ROOT, text)?)?;
    agree("tokens_in", &mut usage.tokens_in, found.tokens_in)?;
    agree("tokens_out", &mut usage.tokens_out, found.tokens_out)?;
    agree(
        "tokens_cache_read",
        &mut usage.tokens_cache_read,
        found.cache_read,
    )?;
    agree(
        "tokens_cache_write",
        &mut usage.tokens_cache_write,
        found.cache_write,
    )?;
    agree(
        "tokens_cache_write_1h",
        &mut usage.tokens_cache_write_1h,
        found.cache_write_1h,
    )?;
    agree("tokens_reasoning", &mut usage.tokens_reasoning, found.reasoning)?;
    agree("cost_usd", &mut usage.cost_usd, found.cost)?;
    let tier = found.service_tier.map(|tier| Text(Cow::Owned(tier.to_string())));
    agree("service_tier", &mut usage.service_tier, tier)?;
    if !found.surcharges.is_empty() {
        let own = usage.service_tier.as_deref().filter(|tier| !is_standard(tier));
        let parts: Vec<&str> = own.into_iter().chain(found.surcharges).collect();
        usage.service_tier = Some(Text(Cow::Owned(parts.join("_"))));
    }
    Ok(())
}

/// The event's own value wins where the object says nothing, and must be the same where it does.
fn agree<T: PartialEq + TextOf>(place: &str, own: &mut Option<T>, found: Option<T>) -> Result<(), Rejection> {
    match (&own, found) {
        (Some(own), Some(found)) if *own != found => {
            let problem = format!("is {}, but usage says {}", own.text_of(), found.text_of());
            let fix = "leave it out, or send it without usage; counts are inclusive";
            Err(Rejection::new(Reason::Inconsistent, place, problem, fix))
        }
        (None, Some(found)) => {
            *own = Some(found);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// As it is shown in a rejection.
trait TextOf {
    fn text_of(&self) -> String;
}

impl TextOf for u64 {
    fn text_of(&self) -> String {
        self.to_string()
    }
}

impl TextOf for Money {
    fn text_of(&self) -> String {
        self.to_string()
    }
}

impl TextOf for Text<'_> {
    fn text_of(&self) -> String {
        crate::rejection::shown(self).into_owned()
    }
}

/// The sum; refused where it is beyond any call.
fn sum(place: impl Display, counts: &[Option<u64>]) -> Result<Option<u64>, Rejection> {
    let mut total = None;
    for count in counts.iter().flatten() {
        let sum = total.unwrap_or(0_u64).saturating_add(*count);
        if sum > limits::TOKENS {
            let problem = format!("adds up to {sum}, more than {}", limits::TOKENS);
            let fix = "send the tokens of one call";
            return Err(Rejection::new(
                Reason::OutOfRange,
                place.to_string(),
                problem,
                fix,
            ));
        }
        total = Some(sum);
    }
    Ok(total)
}
