//! A model on its way into our table, and how the table is written.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Money;

/// Prices by the name of the figure, in the order they are written.
pub(super) type Figures = BTreeMap<Figure, Money>;

/// A figure of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    Input,
    Output,
    CacheRead,
    CacheWrite,
    CacheWrite1h,
    Reasoning,
    Request,
}

impl Figure {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Reasoning => "reasoning",
            Self::Request => "request",
        }
    }
}

/// Prices by the size of the context: 0 is where it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan(pub(super) BTreeMap<u64, Figures>);

impl Plan {
    pub(super) fn set(&mut self, above: u64, figure: Figure, price: Money) {
        self.0.entry(above).or_default().insert(figure, price);
    }

    /// Gives each step what it does not list itself: what an earlier step of this plan lists, or else what `standard` has there.
    pub(super) fn complete(&mut self, standard: Option<&Plan>) {
        self.0.entry(0).or_default();
        let limits = standard.iter().flat_map(|plan| plan.0.keys().copied());
        for limit in limits.collect::<Vec<_>>() {
            self.0.entry(limit).or_default();
        }
        let mut own = Figures::new();
        for (limit, figures) in &mut self.0 {
            own.append(figures);
            let usual = standard.and_then(|plan| plan.0.range(..=*limit).next_back());
            *figures = usual.map(|(_, usual)| usual.clone()).unwrap_or_default();
            figures.extend(own.clone());
        }
        // Tokens that are not listed at all are not charged for: an embedding has no output.
        let first = self.0.get(&0).cloned().unwrap_or_default();
        let is_priced = first.contains_key(&Figure::Input) || first.contains_key(&Figure::Output);
        if is_priced || first.contains_key(&Figure::Request) {
            for figures in self.0.values_mut() {
                figures.entry(Figure::Input).or_default();
                figures.entry(Figure::Output).or_default();
            }
        }
    }

    /// Where it lists nothing but halves of `standard`, give or take rounding, it is half of everything: LiteLLM leaves out an
    /// hour's cache writes.
    pub(super) fn halve_the_rest(&mut self, standard: &Plan) {
        let half = |price: Money| Money(price.0 / 2);
        let is_half = |limit: &u64, figure: &Figure, price: &Money| {
            let usual = standard.0.get(limit).and_then(|usual| usual.get(figure));
            usual.is_some_and(|usual| (half(*usual).0 - price.0).abs() <= usual.0 / 100)
        };
        let mut listed = self
            .0
            .iter()
            .flat_map(|(limit, own)| own.iter().map(move |(figure, price)| (limit, figure, price)));
        if !listed.all(|(limit, figure, price)| is_half(limit, figure, price)) {
            return;
        }
        for (limit, usual) in &standard.0 {
            let own = self.0.entry(*limit).or_default();
            for (figure, price) in usual {
                own.entry(*figure).or_insert(half(*price));
            }
        }
    }

    /// Whether it says what tokens or a call cost.
    pub(super) fn is_priced(&self) -> bool {
        let first = self.0.get(&0);
        first.is_some_and(|figures| {
            figures.contains_key(&Figure::Input) && figures.contains_key(&Figure::Output)
        })
    }
}

/// A model.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) provider: String,
    pub(super) aliases: Vec<String>,
    pub(super) standard: Plan,
    pub(super) service_tiers: BTreeMap<String, Plan>,
    /// By date, as text: what calls before it cost.
    pub(super) before: BTreeMap<String, Plan>,
}

/// Dollars per token as dollars per million: the decimal point moves, no digit is lost before the ninth.
pub(super) fn per_million(text: &str) -> Option<Money> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    format!("{mantissa}e{}", exponent.checked_add(6)?).parse().ok()
}

/// The table of these models.
pub(super) fn write<'d>(
    file: &str,
    version: &str,
    makers: &[(&str, &str)],
    drafts: impl Iterator<Item = &'d Draft>,
) -> String {
    let file = file.replace(char::is_control, " ");
    let mut out = format!(
        "# Made of {file} by `aiai prices import`.\n\nversion = {}\n",
        quoted(version)
    );
    let makers = makers
        .iter()
        .map(|(start, maker)| format!("{} = {}\n", quoted(start), quoted(maker)));
    out += &makers.fold("\n[makers]\n".to_owned(), |lines, line| lines + &line);
    for draft in drafts {
        // Writing to a String cannot fail.
        let _ = write_model(&mut out, draft);
    }
    out
}

fn write_model(out: &mut String, draft: &Draft) -> std::fmt::Result {
    writeln!(out, "\n[[model]]\nname = {}", quoted(&draft.name))?;
    writeln!(out, "provider = {}", quoted(&draft.provider))?;
    if !draft.aliases.is_empty() {
        let aliases: Vec<_> = draft.aliases.iter().map(|alias| quoted(alias)).collect();
        writeln!(out, "aliases = [{}]", aliases.join(", "))?;
    }
    for (figure, price) in draft.standard.0.get(&0).into_iter().flatten() {
        writeln!(out, "{} = {price}", figure.name())?;
    }
    let above = above(&draft.standard);
    if !above.is_empty() {
        writeln!(out, "above = [{}]", above.join(", "))?;
    }
    for (name, plan) in &draft.service_tiers {
        writeln!(out, "service_tier.{} = {{ {} }}", quoted(name), inline(plan))?;
    }
    if !draft.before.is_empty() {
        writeln!(out, "before = [")?;
        for (date, plan) in &draft.before {
            writeln!(out, "    {{ date = {date}, {} }},", inline(plan))?;
        }
        writeln!(out, "]")?;
    }
    Ok(())
}

fn inline(plan: &Plan) -> String {
    let mut parts = listed(plan.0.get(&0));
    let above = above(plan);
    if !above.is_empty() {
        parts.push(format!("above = [{}]", above.join(", ")));
    }
    parts.join(", ")
}

fn above(plan: &Plan) -> Vec<String> {
    let steps = plan.0.iter().filter(|(limit, _)| **limit > 0);
    steps
        .map(|(limit, figures)| format!("{{ tokens_in = {limit}, {} }}", listed(Some(figures)).join(", ")))
        .collect()
}

fn listed(figures: Option<&Figures>) -> Vec<String> {
    let figures = figures.into_iter().flatten();
    figures
        .map(|(figure, price)| format!("{} = {price}", figure.name()))
        .collect()
}

/// A TOML string: JSON's escapes are TOML's, but for one character that TOML wants escaped.
fn quoted(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap_or_default();
    json.replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_a_token_become_prices_a_million_without_a_float() {
        for (text, nanos) in [
            ("1.25e-06", 1_250_000_000),
            ("0.0000025", 2_500_000_000),
            ("3E-7", 300_000_000),
            ("2.9999999999999997e-06", 3_000_000_000),
            ("0.0", 0),
            ("0", 0),
            ("-1e-6", -1_000_000_000),
            ("3.5e-15", 4),
        ] {
            assert_eq!(per_million(text), Some(Money(nanos)), "{text}");
        }
        for text in ["", "x", "1e", "1e99", "1e9223372036854775807", "\"1\"", "null"] {
            assert_eq!(per_million(text), None, "{text}");
        }
    }
}
