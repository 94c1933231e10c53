//! `aiai prices list` and `show`.

use std::process::ExitCode;

use jiff::Timestamp;
use schemas::price::{Call, Figures, Listed, PriceTable, Quote, Tokens};
use schemas::{Money, Time, same_provider};
use serde::Serialize;
use serde_json::value::RawValue;

use super::print;
use crate::cli::prices::{PricesList, PricesShow};
use crate::config::Config;
use crate::failure::{NotFound, Usage};
use crate::tables;

/// A million nano-dollars' worth of digits: prices are for a million tokens.
const EXACT_DIGITS: usize = 15;

#[derive(Serialize)]
struct Row<'a> {
    model: &'a str,
    provider: Option<&'a str>,
    input: Money,
    output: Money,
    cache_read: Option<Money>,
    cache_write: Option<Money>,
    cache_write_1h: Option<Money>,
    reasoning: Option<Money>,
    request: Option<Money>,
    above: String,
    service_tiers: String,
    before: String,
}

const COLUMNS: [&str; 12] = [
    "model",
    "provider",
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "request",
    "above",
    "service_tiers",
    "before",
];

/// The models of the table.
pub(super) fn list(config: &Config, options: &PricesList) -> anyhow::Result<ExitCode> {
    let table = tables::prices(config)?;
    let letters = options.letters.as_deref().unwrap_or_default().to_lowercase();
    let is_wanted = |listed: &&Listed| {
        let provider = match (&options.provider, &listed.provider) {
            (Some(wanted), Some(provider)) => same_provider(wanted, provider),
            (wanted, _) => wanted.is_none(),
        };
        let mut names = std::iter::once(&listed.name).chain(&listed.aliases);
        provider && names.any(|name| name.to_lowercase().contains(&letters))
    };
    let rows: Vec<Row<'_>> = table.models().iter().filter(is_wanted).map(row).collect();
    if rows.is_empty() {
        let nearest = table.nearest(&letters);
        let fix = nearest.map_or("list them without a condition".into(), |name| {
            format!("did you mean {name}?")
        });
        return Err(NotFound(format!("{} has no such model; {fix}", table.source())).into());
    }
    print(options.output, &COLUMNS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn row(listed: &Listed) -> Row<'_> {
    let figures: &Figures = &listed.price.current;
    let rates = figures.standard.rates;
    let above = figures.standard.above.iter().map(|(limit, _)| limit.to_string());
    let tiers = figures.service_tiers.iter().map(|(name, _)| name.clone());
    let before = listed.price.earlier.iter().map(|(until, _)| day(*until));
    let joined = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>().join(" ");
    Row {
        model: &listed.name,
        provider: listed.provider.as_deref(),
        input: rates.input,
        output: rates.output,
        cache_read: rates.cache_read,
        cache_write: rates.cache_write,
        cache_write_1h: rates.cache_write_1h,
        reasoning: rates.reasoning,
        request: Some(rates.request).filter(|request| request.0 > 0),
        above: joined(&mut above.into_iter()),
        service_tiers: joined(&mut tiers.into_iter()),
        before: joined(&mut before.into_iter()),
    }
}

fn day(time: Time) -> String {
    time.to_string().chars().take(10).collect()
}

/// One step of a cost.
#[derive(Serialize)]
struct Step {
    step: &'static str,
    tokens: Option<u64>,
    usd_per_million: Option<Money>,
    usd: Box<RawValue>,
    why: String,
}

/// What a call costs, and why.
pub(super) fn show(config: &Config, options: &PricesShow) -> anyhow::Result<ExitCode> {
    let table = tables::prices(config)?;
    let Some(listed) = table.find(options.provider.as_deref(), &options.model) else {
        return Err(unknown(&table, options.provider.as_deref(), &options.model).into());
    };
    let tokens = tokens(options)?;
    let now = Timestamp::now().as_second();
    let at = options.at.map_or(now, |at| at.seconds(now));
    let call = Call {
        tokens,
        service_tier: options.service_tier.as_deref(),
        at: Time(at.saturating_mul(1_000_000)),
    };
    let Some(quote) = listed.price.quote(&call) else {
        let tiers = listed
            .price
            .current
            .service_tiers
            .iter()
            .map(|(name, _)| name.as_str());
        let known = std::iter::once("standard")
            .chain(tiers)
            .collect::<Vec<_>>()
            .join(", ");
        let tier = options.service_tier.as_deref().unwrap_or_default();
        return Err(NotFound(format!(
            "{} has no price for tier {tier}; it has {known}",
            listed.name
        ))
        .into());
    };
    let steps = steps(&table, listed, &quote, tokens)?;
    print(
        options.output,
        &["step", "tokens", "usd_per_million", "usd", "why"],
        &steps,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn unknown(table: &PriceTable, provider: Option<&str>, model: &str) -> NotFound {
    let fix = match table.nearest(model) {
        _ if table.needs_provider(provider, model) => super::NEEDS_PROVIDER.to_owned(),
        Some(name) => format!("did you mean {name}?"),
        None => "add it to the table of prices.file".to_owned(),
    };
    NotFound(format!("{} has no price for {model}; {fix}", table.source()))
}

fn tokens(options: &PricesShow) -> anyhow::Result<Tokens> {
    let tokens = Tokens {
        tokens_in: options.tokens_in,
        tokens_out: options.tokens_out,
        cache_read: options.cache_read,
        cache_write: options.cache_write,
        cache_write_1h: options.cache_write_1h,
        reasoning: options.reasoning,
    };
    let cached = tokens.cache_read.saturating_add(tokens.cache_write);
    if cached > tokens.tokens_in {
        return Err(Usage(format!("--tokens-in is less than {cached}, what is read from and written to a cache; counts are inclusive")).into());
    }
    if tokens.cache_write_1h > tokens.cache_write || tokens.reasoning > tokens.tokens_out {
        let text = "--cache-write-1h is a part of --cache-write, --reasoning one of --tokens-out; counts are inclusive";
        return Err(Usage(text.into()).into());
    }
    Ok(tokens)
}

fn steps(table: &PriceTable, listed: &Listed, quote: &Quote, tokens: Tokens) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut exact = i128::from(quote.rates.request.0) * 1_000_000;
    for part in quote
        .rates
        .parts(tokens)
        .into_iter()
        .filter(|part| part.tokens > 0)
    {
        let amount = i128::from(part.tokens) * i128::from(part.price.0);
        exact = exact.saturating_add(amount);
        steps.push(Step {
            step: part.name,
            tokens: Some(part.tokens),
            usd_per_million: Some(part.price),
            usd: dollars(amount)?,
            why: String::new(),
        });
    }
    if quote.rates.request.0 > 0 {
        steps.push(Step {
            step: "request",
            tokens: None,
            usd_per_million: None,
            usd: dollars(i128::from(quote.rates.request.0) * 1_000_000)?,
            why: "for the call itself".into(),
        });
    }
    if quote.share.0 != Money::NANOS_PER_DOLLAR {
        steps.push(Step {
            step: "share",
            tokens: None,
            usd_per_million: None,
            usd: dollars(exact)?,
            why: format!("of this, {} is charged in this tier of service", quote.share),
        });
    }
    let Some(cost) = quote.cost(tokens) else {
        return Err(Usage("no call costs over a million dollars; give the tokens of one call".into()).into());
    };
    steps.push(Step {
        step: "total",
        tokens: Some(tokens.tokens_in.saturating_add(tokens.tokens_out)),
        usd_per_million: None,
        usd: RawValue::from_string(cost.to_string())?,
        why: why(table, listed, quote),
    });
    Ok(steps)
}

/// Where the figures are from.
fn why(table: &PriceTable, listed: &Listed, quote: &Quote) -> String {
    let mut why = format!("{} by {}", listed.name, table.source());
    if let Some(provider) = &listed.provider {
        why = format!("{provider} {why}");
    }
    if let Some(limit) = quote.above {
        why += &format!(", above {limit} tokens in");
    }
    if let Some(until) = quote.until {
        why += &format!(", before {}", day(until));
    }
    why + "; rounded once, to a thousand-millionth, half to even"
}

/// Millionths of a nano-dollar as a JSON number, exactly.
fn dollars(exact: i128) -> anyhow::Result<Box<RawValue>> {
    let digits = format!("{exact:0width$}", width = EXACT_DIGITS + 1);
    let (whole, fraction) = digits.split_at(digits.len() - EXACT_DIGITS);
    let text = format!("{whole}.{fraction}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    Ok(RawValue::from_string(text.to_owned())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_digit() {
        for (exact, text) in [
            (0, "0"),
            (1, "0.000000000000001"),
            (1_500_000_000_000_000, "1.5"),
            (20_000_000_000_000_000, "20"),
        ] {
            assert_eq!(dollars(exact).expect("a number").get(), text);
        }
    }
}
