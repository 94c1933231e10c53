//! genai-prices' file: `[{"id": "<provider>", "models": [{"id": …, "match": …, "prices": {"input_mtok": 1.25, …}}, …]}, …]`.

use super::draft::{Draft, Figure, Plan};
use super::{Reading, string};
use crate::rejection::shown;
use crate::{Money, Problems, Text};

const FIGURES: [(&str, Figure); 7] = [
    ("input_mtok", Figure::Input),
    ("output_mtok", Figure::Output),
    ("cache_read_mtok", Figure::CacheRead),
    ("cache_write_mtok", Figure::CacheWrite),
    ("cache_write_1h_mtok", Figure::CacheWrite1h),
    ("output_reasoning_mtok", Figure::Reasoning),
    ("requests_kcount", Figure::Request),
];
/// Its names of providers that go by another one here.
const PROVIDERS: [(&str, &str); 2] = [("x-ai", "xai"), ("aws", "bedrock")];
/// Clauses inside one another.
const DEPTH_MAX: usize = 8;

type Members<'a> = Vec<(Text<'a>, &'a str)>;

fn get<'a>(members: &Members<'a>, wanted: &str) -> Option<&'a str> {
    let found = members.iter().find(|(name, _)| &**name == wanted)?;
    Some(found.1).filter(|value| *value != "null")
}

pub(super) fn read(reading: &mut Reading<'_>) -> Result<Vec<(usize, Draft)>, Problems> {
    let mut drafts = Vec::new();
    for provider in reading.array(reading.text)? {
        let members = reading.object(provider)?;
        let id = get(&members, "id").and_then(string);
        let (Some(id), Some(models)) = (id, get(&members, "models")) else {
            let problem = "a provider without id or models; fetch the file again, or name the other --format";
            return Err(reading.fail(provider, problem.to_owned()));
        };
        let known = PROVIDERS.iter().find(|(name, _)| *name == &*id);
        let provider = known.map_or(&*id, |(_, ours)| ours);
        for model in reading.array(models)? {
            let line = reading.line(model);
            let members = reading.object(model)?;
            let name = get(&members, "id").and_then(string).unwrap_or_default();
            match draft(reading, line, provider, &name, &members)? {
                Ok(draft) => drafts.push((line, draft)),
                Err(why) => reading.leave_out(line, &name, why),
            }
        }
    }
    Ok(drafts)
}

fn draft<'a>(
    reading: &mut Reading<'a>,
    line: usize,
    provider: &str,
    name: &str,
    members: &Members<'a>,
) -> Result<Result<Draft, String>, Problems> {
    let mut draft = Draft {
        name: name.to_owned(),
        provider: provider.to_owned(),
        ..Draft::default()
    };
    let Some(prices) = get(members, "prices") else {
        return Ok(Err("has no prices".into()));
    };
    if let Some(clause) = get(members, "match") {
        aliases(reading, line, clause, &mut draft, DEPTH_MAX)?;
    }
    let priced = if prices.starts_with('[') {
        dated(reading, line, prices, &mut draft)?
    } else {
        plan(reading, line, name, prices, None)?.map(|plan| draft.standard = plan)
    };
    if let Err(why) = priced {
        return Ok(Err(why));
    }
    if !draft.standard.is_priced() {
        return Ok(Err("has no price per token".into()));
    }
    for variant in get(members, "price_variants").map_or(Ok(Vec::new()), |list| reading.array(list))? {
        if let Err(why) = variant_of(reading, line, variant, &mut draft)? {
            reading.leave_out(line, name, why);
        }
    }
    Ok(Ok(draft))
}

/// Prices by date; the last one is today's.
fn dated<'a>(
    reading: &mut Reading<'a>,
    line: usize,
    list: &'a str,
    draft: &mut Draft,
) -> Result<Result<(), String>, Problems> {
    let mut steps: Vec<(String, Plan)> = Vec::new();
    for item in reading.array(list)? {
        let members = reading.object(item)?;
        let Some(prices) = get(&members, "prices") else {
            return Ok(Err("has a price without figures".into()));
        };
        let mut from = String::new();
        if let Some(constraint) = get(&members, "constraint") {
            let members = reading.object(constraint)?;
            let Some(date) = get(&members, "start_date").and_then(string) else {
                reading.leave_out(line, &draft.name, "without its prices by the hour of the day");
                continue;
            };
            if date.parse::<jiff::civil::Date>().is_err() {
                return Ok(Err(format!("start_date is {}, not a date", shown(&date))));
            }
            from = date.to_string();
        }
        match plan(reading, line, &draft.name, prices, None)? {
            Ok(plan) => steps.push((from, plan)),
            Err(why) => return Ok(Err(why)),
        }
    }
    steps.sort_by(|(one, _), (other, _)| one.cmp(other));
    let Some((mut until, current)) = steps.pop().filter(|(_, plan)| plan.is_priced()) else {
        return Ok(Err("has no price per token".into()));
    };
    draft.standard = current;
    for (from, plan) in steps.into_iter().rev() {
        if plan.is_priced() && !until.is_empty() {
            draft.before.insert(std::mem::replace(&mut until, from), plan);
        }
    }
    Ok(Ok(()))
}

/// Figures with their tiers of context.
fn plan<'a>(
    reading: &mut Reading<'a>,
    line: usize,
    name: &str,
    prices: &'a str,
    standard: Option<&Plan>,
) -> Result<Result<Plan, String>, Problems> {
    let mut plan = Plan::default();
    let mut unknown = Vec::new();
    for (field, value) in reading.object(prices)? {
        if value == "null" {
            continue;
        }
        let Some((_, figure)) = FIGURES.iter().find(|(known, _)| *known == &*field) else {
            unknown.push(field.to_string());
            continue;
        };
        let mut prices = vec![(0, value)];
        if value.starts_with('{') {
            prices.clear();
            let members = reading.object(value)?;
            prices.extend(get(&members, "base").map(|base| (0, base)));
            for tier in get(&members, "tiers").map_or(Ok(Vec::new()), |list| reading.array(list))? {
                let members = reading.object(tier)?;
                let start = get(&members, "start").and_then(|start| start.parse::<u64>().ok());
                let (Some(start), Some(price)) = (start, get(&members, "price")) else {
                    return Ok(Err(format!("{field} has a tier without start or price")));
                };
                prices.push((start, price));
            }
        }
        for (above, text) in prices {
            let Some(price) = price(text, *figure) else {
                return Ok(Err(format!(
                    "{field} is {}; a price is a number from 0, in dollars per million",
                    shown(text)
                )));
            };
            plan.set(above, *figure, price);
        }
    }
    if !unknown.is_empty() {
        reading.leave_out(line, name, format!("without {}", unknown.join(", ")));
    }
    plan.complete(standard);
    Ok(Ok(plan))
}

/// A number, or a string that holds one. Requests are priced by the thousand.
fn price(text: &str, figure: Figure) -> Option<Money> {
    let owned = string(text);
    let text = owned.as_deref().unwrap_or(text);
    let money = match figure {
        Figure::Request => {
            let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
            let exponent = exponent.parse::<i64>().ok()?.checked_sub(3)?;
            format!("{mantissa}e{exponent}").parse::<Money>()
        }
        _ => text.parse::<Money>(),
    };
    money.ok().filter(|money| money.0 >= 0)
}

/// Prices that go with a tier of service; anything else a price may depend on is said to be left out.
fn variant_of<'a>(
    reading: &mut Reading<'a>,
    line: usize,
    text: &'a str,
    draft: &mut Draft,
) -> Result<Result<(), String>, Problems> {
    let members = reading.object(text)?;
    let (Some(when), Some(prices)) = (get(&members, "when"), get(&members, "prices")) else {
        return Ok(Err("without a variant that has no condition or no prices".into()));
    };
    let conditions = reading.object(when)?;
    let tier = match &conditions[..] {
        [(name, value)] if matches!(&**name, "service_tier" | "processing") => string(value),
        _ => None,
    };
    let Some(tier) = tier else {
        return Ok(Err(format!("without its prices for {}", shown(when))));
    };
    if super::super::figures::is_standard(&tier) {
        return Ok(Ok(()));
    }
    match plan(reading, line, &draft.name, prices, Some(&draft.standard))? {
        Ok(plan) => {
            draft.service_tiers.insert(tier.to_string(), plan);
            Ok(Ok(()))
        }
        Err(why) => Ok(Err(why)),
    }
}

/// Exact names, and beginnings of names.
fn aliases<'a>(
    reading: &mut Reading<'a>,
    line: usize,
    clause: &'a str,
    draft: &mut Draft,
    depth_left: usize,
) -> Result<(), Problems> {
    for (kind, value) in reading.object(clause)? {
        match (&*kind, string(value)) {
            ("equals", Some(name)) if *name != *draft.name => draft.aliases.push(name.to_string()),
            ("equals", Some(_)) => {}
            ("starts_with", Some(start)) => draft.aliases.push(format!("{start}*")),
            ("or", _) if depth_left > 0 => {
                for clause in reading.array(value)? {
                    aliases(reading, line, clause, draft, depth_left - 1)?;
                }
            }
            _ => {
                let name = draft.name.clone();
                reading.leave_out(
                    line,
                    &name,
                    format!("without names that match {kind} {}", shown(value)),
                );
            }
        }
    }
    Ok(())
}
