//! LiteLLM's file: `{"<model>": {"litellm_provider": …, "input_cost_per_token": 1.25e-06, …}, …}`.

use std::collections::BTreeSet;

use super::draft::{Draft, Figure, Plan, per_million};
use super::{Reading, string};
use crate::rejection::shown;
use crate::{Money, Problems, Text};

/// What a field's name begins with, and the figure it is. Longer ones first.
const FIGURES: [(&str, Figure); 7] = [
    ("cache_creation_input_token_cost_above_1hr", Figure::CacheWrite1h),
    ("cache_creation_input_token_cost", Figure::CacheWrite),
    ("cache_read_input_token_cost", Figure::CacheRead),
    ("input_cost_per_token", Figure::Input),
    ("output_cost_per_token", Figure::Output),
    ("output_cost_per_reasoning_token", Figure::Reasoning),
    ("input_cost_per_request", Figure::Request),
];
/// What a field's name ends with, and the tier of service it is for.
const TIERS: [(&str, &str); 3] = [
    ("_batches", "batch"),
    ("_flex", "flex"),
    ("_priority", "priority"),
];
/// What is priced by the token.
const MODES: [&str; 6] = [
    "chat",
    "completion",
    "responses",
    "embedding",
    "rerank",
    "moderation",
];
/// Its names of providers that go by another one here.
const PROVIDERS: [(&str, &str); 7] = [
    ("gemini", "google"),
    ("bedrock", "bedrock"),
    ("cohere", "cohere"),
    ("xai", "xai"),
    ("together_ai", "together"),
    ("fireworks_ai", "fireworks"),
    ("meta_llama", "meta"),
];

pub(super) fn read(reading: &mut Reading<'_>) -> Result<Vec<(usize, Draft)>, Problems> {
    let mut drafts = Vec::new();
    for (name, value) in reading.object(reading.text)? {
        // A specimen that explains the fields.
        if &*name == "sample_spec" {
            continue;
        }
        let line = reading.line(value);
        match model(reading, line, &name, value)? {
            Ok(draft) => drafts.push((line, draft)),
            Err(why) => reading.leave_out(line, &name, why),
        }
    }
    Ok(drafts)
}

fn model<'a>(
    reading: &mut Reading<'a>,
    line: usize,
    name: &str,
    value: &'a str,
) -> Result<Result<Draft, String>, Problems> {
    if !value.starts_with('{') {
        return Ok(Err("is not an object".into()));
    }
    let fields = reading.object(value)?;
    let text = |wanted: &str| {
        fields
            .iter()
            .find(|(name, _)| &**name == wanted)
            .and_then(|(_, value)| string(value))
    };
    let Some(listed) = text("litellm_provider") else {
        return Ok(Err("has no litellm_provider".into()));
    };
    if let Some(mode) = text("mode").filter(|mode| !MODES.contains(&&**mode)) {
        return Ok(Err(format!("mode {} is not priced by tokens", shown(&mode))));
    }
    let provider = provider(&listed);
    let own_name = name
        .strip_prefix(&*listed)
        .or_else(|| name.strip_prefix(&provider))
        .or_else(|| name.strip_prefix("vertex_ai").filter(|_| provider == "google"))
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(name);
    let mut draft = Draft {
        name: own_name.to_owned(),
        provider,
        ..Draft::default()
    };
    if let Err(why) = fill(reading, line, name, &fields, &mut draft) {
        return Ok(Err(why));
    }
    draft.standard.complete(None);
    if !draft.standard.is_priced() {
        return Ok(Err("has no price per token".into()));
    }
    for (tier, plan) in &mut draft.service_tiers {
        if tier == "batch" {
            plan.halve_the_rest(&draft.standard);
        }
        plan.complete(Some(&draft.standard));
    }
    Ok(Ok(draft))
}

/// Takes over each figure; why the model must be left out, if it must.
fn fill<'a>(
    reading: &mut Reading<'a>,
    line: usize,
    name: &str,
    fields: &[(Text<'a>, &'a str)],
    draft: &mut Draft,
) -> Result<(), String> {
    let mut unknown = BTreeSet::new();
    for (field, value) in fields {
        if !field.contains("cost") || *value == "null" {
            continue;
        }
        let Some((figure, above, tier)) = figure(field) else {
            unknown.insert(&**field);
            continue;
        };
        let price = match figure {
            Figure::Request => value.parse::<Money>().ok(),
            _ => per_million(value),
        };
        let Some(price) = price.filter(|price| price.0 >= 0) else {
            return Err(format!(
                "{field} is {}; a price is a number from 0, in dollars per token",
                shown(value)
            ));
        };
        let plan: &mut Plan = match tier {
            Some(tier) => draft.service_tiers.entry(tier.to_owned()).or_default(),
            None => &mut draft.standard,
        };
        plan.set(above, figure, price);
    }
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.into_iter().collect();
        reading.leave_out(line, name, format!("without {}", names.join(", ")));
    }
    Ok(())
}

/// What a field stands for: the figure, above how many tokens, in which tier. None if our table has no place for it.
fn figure(field: &str) -> Option<(Figure, u64, Option<&'static str>)> {
    let (start, figure) = FIGURES.iter().find(|(start, _)| field.starts_with(start))?;
    let mut rest = &field[start.len()..];
    let mut tier = None;
    if let Some((suffix, name)) = TIERS.iter().find(|(suffix, _)| rest.ends_with(suffix)) {
        tier = Some(*name);
        rest = rest.strip_suffix(suffix)?;
    }
    if rest.is_empty() {
        return Some((*figure, 0, tier));
    }
    let thousands = rest.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
    Some((*figure, thousands.parse::<u64>().ok()?.checked_mul(1000)?, tier))
}

fn provider(listed: &str) -> String {
    if listed.starts_with("vertex_ai") {
        return "google".to_owned();
    }
    let known = PROVIDERS.iter().find(|(name, _)| {
        listed == *name
            || listed
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['_', '-']))
    });
    known.map_or_else(|| listed.to_owned(), |(_, ours)| (*ours).to_owned())
}
