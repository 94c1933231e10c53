//! The models there are to choose from, as `config/models.toml` lists them.
//!
//! Invariants: tiers have an order, weakest first; every task complexity has a tier; a model's provider and
//! name occur once.

use schemas::problems::Checking;
use schemas::route::Capability;
use schemas::{ModelIndex, Problems, TaskComplexity};
use serde::Deserialize;
use toml::Spanned;

/// The list that comes with aiai: the text of `config/models.toml`.
pub const BUILT_IN: &str = include_str!("../../../config/models.toml");
/// What [`BUILT_IN`] is called in messages.
pub const BUILT_IN_NAME: &str = "config/models.toml";

/// A decision looks at every model, so there is a limit.
const MODELS_MAX: usize = 512;

/// One model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// As its provider names it.
    pub name: String,
    /// Who runs it.
    pub provider: String,
    /// Position in [`Models::tiers`].
    pub tier: usize,
    /// Tokens in and out together.
    pub context_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
    /// What it can do.
    pub capabilities: Vec<Capability>,
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Models {
    /// Names, weakest first.
    pub tiers: Vec<String>,
    /// In the order of the file.
    pub models: Vec<Model>,
    complexity: [usize; TaskComplexity::ALL.len()],
    index: ModelIndex,
}

impl Models {
    /// The position of the tier that a task needs.
    #[must_use]
    pub fn tier_for(&self, complexity: TaskComplexity) -> usize {
        let at = TaskComplexity::ALL.iter().position(|each| *each == complexity);
        at.map_or(0, |at| self.complexity[at])
    }

    /// The position of a model as a usage event names it.
    #[must_use]
    pub fn find(&self, provider: Option<&str>, model: &str) -> Option<usize> {
        self.index.find(provider, model)
    }

    /// Reads and checks a list. `file` is its name for messages.
    ///
    /// # Errors
    /// Every problem with its line; only the first if the file is not TOML or has a field of the wrong type.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut checking = Checking::new(file, text);
        let File {
            tiers: listed,
            complexity,
            models: entries,
        } = checking.parse()?;
        let tiers = listed.as_ref().clone();
        let repeated = |at: usize| tiers[..at].contains(&tiers[at]) || tiers[at].trim().is_empty();
        if tiers.is_empty() || (0..tiers.len()).any(repeated) {
            checking.note(
                &listed.span(),
                "tiers: name at least one, each once and not blank",
            );
        }
        if entries.is_empty() || entries.len() > MODELS_MAX {
            checking.note(
                &listed.span(),
                format!("list 1 to {MODELS_MAX} models, each as [[model]]"),
            );
        }
        let tier = |checking: &mut Checking<'_>, name: &Spanned<String>| {
            let found = tiers.iter().position(|tier| tier == name.as_ref());
            found.unwrap_or_else(|| {
                let text = format!(
                    "there is no tier `{}`; use one of {}",
                    name.as_ref(),
                    tiers.join(", ")
                );
                checking.note(&name.span(), text);
                0
            })
        };
        let complexity = complexity.in_order().map(|name| tier(&mut checking, name));
        let mut index = ModelIndex::default();
        let mut models = Vec::with_capacity(entries.len());
        for entry in entries {
            let tier = tier(&mut checking, &entry.tier);
            models.push(entry.check(tier, &mut checking, &mut index));
        }
        checking.finish(Self {
            tiers,
            models,
            complexity,
            index,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tiers: Spanned<Vec<String>>,
    complexity: Complexity,
    #[serde(default, rename = "model")]
    models: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Complexity {
    trivial: Spanned<String>,
    simple: Spanned<String>,
    medium: Spanned<String>,
    complex: Spanned<String>,
    critical: Spanned<String>,
}

impl Complexity {
    /// As [`TaskComplexity::ALL`].
    const fn in_order(&self) -> [&Spanned<String>; TaskComplexity::ALL.len()] {
        [
            &self.trivial,
            &self.simple,
            &self.medium,
            &self.complex,
            &self.critical,
        ]
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    provider: String,
    tier: Spanned<String>,
    #[serde(default)]
    aliases: Vec<String>,
    context_tokens: Spanned<u64>,
    output_tokens: Spanned<u64>,
    #[serde(default)]
    capabilities: Vec<Capability>,
}

impl Entry {
    fn check(self, tier: usize, checking: &mut Checking<'_>, index: &mut ModelIndex) -> Model {
        let span = self.name.span();
        let aliases = self.aliases.iter().map(String::as_str);
        if let Err(taken) = index.add(Some(&self.provider), self.name.as_ref(), aliases) {
            let text =
                format!("`{taken}` is blank, or belongs to an earlier model already; remove one of them");
            checking.note(&span, text);
        }
        if self.provider.trim().is_empty() {
            checking.note(&span, "its provider is blank; name who runs it");
        }
        for (name, count) in [
            ("context_tokens", &self.context_tokens),
            ("output_tokens", &self.output_tokens),
        ] {
            if *count.as_ref() == 0 {
                checking.note(
                    &count.span(),
                    format!("{name} is 0; write how many tokens it takes"),
                );
            }
        }
        if self.output_tokens.as_ref() > self.context_tokens.as_ref() {
            let text = "output_tokens is more than context_tokens, which includes it";
            checking.note(&self.output_tokens.span(), text);
        }
        Model {
            name: self.name.into_inner(),
            provider: self.provider,
            tier,
            context_tokens: self.context_tokens.into_inner(),
            output_tokens: self.output_tokens.into_inner(),
            capabilities: self.capabilities,
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::price::{self, PriceTable};

    use super::*;

    #[test]
    fn the_list_that_comes_with_aiai_is_sound_and_priced() {
        let models = Models::parse(BUILT_IN_NAME, BUILT_IN).expect("sound");
        let prices = PriceTable::parse(price::BUILT_IN_NAME, price::BUILT_IN).expect("sound");
        for model in &models.models {
            assert!(
                prices.price(Some(&model.provider), &model.name).is_some(),
                "{}",
                model.name
            );
        }
        for tier in 0..models.tiers.len() {
            assert!(
                models.models.iter().any(|model| model.tier == tier),
                "{}",
                models.tiers[tier]
            );
        }
    }

    #[test]
    fn every_problem_has_its_line() {
        let text = "tiers = [\"a\", \"a\"]\n[complexity]\ntrivial = \"a\"\nsimple = \"a\"\nmedium = \"x\"\n\
            complex = \"a\"\ncritical = \"a\"\n[[model]]\nname = \"m\"\nprovider = \"\"\ntier = \"b\"\n\
            context_tokens = 0\noutput_tokens = 5\n";
        let problems = Models::parse("m.toml", text).expect_err("refused");
        let lines: Vec<_> = problems.0.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 5, 9, 11, 12, 13], "{problems}");
        let text = BUILT_IN.replacen("\"vision\"", "\"sight\"", 1);
        let problems = Models::parse("m.toml", &text).expect_err("refused").to_string();
        assert!(
            problems.contains("sight") && problems.contains("vision"),
            "{problems}"
        );
    }
}
