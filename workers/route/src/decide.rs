//! The decision: a pure function of the request, the lists, and what is cooled down.
//!
//! Order of preference: the lowest tier that will do, then the lowest estimated cost, then the order of
//! the list. Models without a price come after those with one of their tier. Cooled models come last, the one
//! that returns first before the others: they are chosen only if nothing else will do.
//!
//! Deliberately absent: quality scores, latency, randomness. The same question has the same answer.

use schemas::price::{Call, PriceTable, Tokens};
use schemas::route::{Candidate, Decision, Request};
use schemas::{Money, limits};

use crate::models::{Model, Models};

/// Fallbacks in one answer.
const FALLBACKS_MAX: usize = 5;
/// Without estimates, models are compared by what so many tokens in and out cost.
const TOKENS_COMPARED: u64 = 1000;

/// What is known of one model's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing is wrong.
    Well,
    /// One call may find out whether it is well again.
    Probe,
    /// Not to be called until then, in milliseconds since 1970.
    Cooled(u64),
}

/// Why there is no decision. The text names the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request cannot be understood.
    Bad(String),
    /// No listed model will do.
    Nothing(String),
}

/// A decision and the positions in [`Models::models`] of what was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The answer.
    pub decision: Decision,
    /// Where the chosen model is listed.
    pub at: usize,
}

struct Ranked<'a> {
    at: usize,
    model: &'a Model,
    health: Health,
    estimate: Option<Money>,
    /// For comparison; the largest without a price.
    nanos: i64,
}

/// Decides. `health` gives each model's, by position.
///
/// # Errors
/// [`Refusal`].
pub fn decide(
    request: &Request,
    models: &Models,
    prices: &PriceTable,
    health: impl Fn(usize) -> Health,
) -> Result<Choice, Refusal> {
    let (tier, why) = wanted_tier(request, models)?;
    let mut reasons = vec![why];
    let mut ranked = Vec::with_capacity(models.models.len());
    let mut passed_over = Vec::new();
    for (at, model) in models
        .models
        .iter()
        .enumerate()
        .filter(|(_, model)| model.tier >= tier)
    {
        match obstacle(request, model) {
            Some(obstacle) => passed_over.push(format!("{} {obstacle}", model.name)),
            None => ranked.push(rank(at, model, request, prices, health(at))),
        }
    }
    if ranked.is_empty() {
        let tier = &models.tiers[tier];
        let why = if passed_over.is_empty() {
            format!("no model of tier {tier} or above is listed; add one to models.toml")
        } else {
            let list = passed_over.join(", ");
            format!("no listed model of tier {tier} or above will do: {list}; ask for less, or add a model")
        };
        return Err(Refusal::Nothing(why));
    }
    ranked.sort_by_key(|each| {
        let until = match each.health {
            Health::Well | Health::Probe => 0,
            Health::Cooled(until) => until.max(1),
        };
        (until, each.model.tier, each.nanos, each.at)
    });
    if !passed_over.is_empty() {
        reasons.push(format!("passed over: {}", passed_over.join(", ")));
    }
    reasons.extend(health_reasons(&ranked));
    Ok(answer(&ranked, models, reasons))
}

fn wanted_tier(request: &Request, models: &Models) -> Result<(usize, String), Refusal> {
    if let Some(name) = &request.tier {
        let found = models.tiers.iter().position(|tier| tier == name);
        let tier = found.ok_or_else(|| {
            Refusal::Bad(format!(
                "there is no tier `{name}`; use one of {}",
                models.tiers.join(", ")
            ))
        })?;
        return Ok((tier, format!("tier {name} was asked for")));
    }
    let Some(complexity) = request.task_complexity else {
        let fix = "name task_complexity (trivial, simple, medium, complex or critical) or a tier";
        return Err(Refusal::Bad(fix.into()));
    };
    let tier = models.tier_for(complexity);
    Ok((
        tier,
        format!("a {} task needs tier {}", complexity.as_str(), models.tiers[tier]),
    ))
}

/// Why a model will not do.
fn obstacle(request: &Request, model: &Model) -> Option<String> {
    if let Some(need) = request
        .needs
        .iter()
        .find(|need| !model.capabilities.contains(need))
    {
        return Some(format!("lacks {}", need.as_str()));
    }
    let (tokens_in, tokens_out) = (request.tokens_in.unwrap_or(0), request.tokens_out.unwrap_or(0));
    if tokens_in.saturating_add(tokens_out) > model.context_tokens {
        return Some(format!("takes {} tokens", model.context_tokens));
    }
    if tokens_out > model.output_tokens {
        return Some(format!("gives {} tokens", model.output_tokens));
    }
    None
}

fn rank<'a>(
    at: usize,
    model: &'a Model,
    request: &Request,
    prices: &PriceTable,
    health: Health,
) -> Ranked<'a> {
    let price = prices.price(Some(&model.provider), &model.name);
    let estimated = request.tokens_in.is_some() || request.tokens_out.is_some();
    let unknown = if estimated { 0 } else { TOKENS_COMPARED };
    let tokens = Tokens {
        tokens_in: request.tokens_in.unwrap_or(unknown).min(limits::TOKENS),
        tokens_out: request.tokens_out.unwrap_or(unknown).min(limits::TOKENS),
        ..Tokens::default()
    };
    let cost = price.and_then(|price| price.cost(&Call::now(tokens)));
    Ranked {
        at,
        model,
        health,
        estimate: cost.filter(|_| estimated),
        nanos: cost.map_or(i64::MAX, |cost| cost.0),
    }
}

fn health_reasons(ranked: &[Ranked<'_>]) -> Vec<String> {
    let mut reasons = Vec::new();
    let cooled = ranked
        .iter()
        .filter(|each| matches!(each.health, Health::Cooled(_)));
    let names: Vec<_> = cooled.map(|each| each.model.name.as_str()).collect();
    if !names.is_empty() {
        reasons.push(format!("cooled down after failures: {}", names.join(", ")));
    }
    if names.len() == ranked.len() {
        reasons.push("all that will do are cooled down; this one returns first".into());
    }
    if ranked[0].health == Health::Probe {
        reasons.push(format!(
            "{} was cooled down; this call finds out whether it is well",
            ranked[0].model.name
        ));
    }
    reasons
}

fn answer(ranked: &[Ranked<'_>], models: &Models, mut reasons: Vec<String>) -> Choice {
    let candidate = |each: &Ranked<'_>| Candidate {
        model: each.model.name.clone(),
        provider: each.model.provider.clone(),
        tier: models.tiers[each.model.tier].clone(),
        estimated_cost_usd: each.estimate,
    };
    let first = &ranked[0];
    let name = &first.model.name;
    reasons.push(if first.nanos == i64::MAX {
        format!("{name} has no price")
    } else {
        format!("{name} is the first by tier, then cost")
    });
    // A model that is being probed is nobody's fallback: only the chosen one is called for certain.
    let rest = ranked[1..].iter().filter(|each| each.health == Health::Well);
    let Candidate {
        model,
        provider,
        tier,
        estimated_cost_usd,
    } = candidate(first);
    let decision = Decision {
        model,
        provider,
        tier,
        estimated_cost_usd,
        fallbacks: rest.take(FALLBACKS_MAX).map(candidate).collect(),
        reasons,
    };
    Choice {
        decision,
        at: first.at,
    }
}
