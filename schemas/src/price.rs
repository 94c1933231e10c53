//! What model calls cost: a price table, and exact arithmetic on it.
//!
//! Invariants: no floats (prices are nano-dollars per million tokens, sums are 128 bits wide, rounded once at the end, half to
//! even); a model that is not in the table has no cost, never a cost of 0, and neither has a tier of service that its model is
//! not listed with. Token counts are inclusive; a price that is not listed is the next wider one: an hour's cache write costs
//! as any cache write, that and a cache read as fresh input, reasoning as output.
//!
//! Deliberately absent: prices by the hour of the day, by modality (audio, images) and of tools, currencies.

mod figures;
mod file;
mod names;

pub mod import;

pub(crate) use figures::is_standard;
pub use figures::{Figures, Part, Plan, Quote, Rates, Tier};

use std::collections::BTreeMap;

use crate::model_index::in_lower_case;
use crate::rejection::nearest;
use crate::{CallStatus, ModelIndex, Money, Problems, Text, Time, Usage, same_provider};

/// The table that comes with aiai: the text of `config/prices.toml`.
pub const BUILT_IN: &str = include_str!("../../config/prices.toml");
/// What [`BUILT_IN`] is called in messages.
pub const BUILT_IN_NAME: &str = "config/prices.toml";
/// The cost source of a call without a known price.
pub const UNPRICED: &str = "unpriced";
/// What the cost source of a computed cost begins with; the version follows.
pub const SOURCE_PREFIX: &str = "price_table@";

/// The token counts of one call, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Sent, cache reads and writes included.
    pub tokens_in: u64,
    /// Received, reasoning included.
    pub tokens_out: u64,
    /// The part of `tokens_in` read from a cache.
    pub cache_read: u64,
    /// The part of `tokens_in` written to a cache.
    pub cache_write: u64,
    /// The part of `cache_write` that is kept for an hour.
    pub cache_write_1h: u64,
    /// The part of `tokens_out` spent on reasoning.
    pub reasoning: u64,
}

impl Tokens {
    /// The counts of an event; none if it has neither `tokens_in` nor `tokens_out`. Where `tokens_in` alone is
    /// absent, the cache counts are all that is known to have been sent.
    #[must_use]
    pub fn of(usage: &Usage<'_>) -> Option<Self> {
        usage.tokens_in.or(usage.tokens_out)?;
        let cache_read = usage.tokens_cache_read.unwrap_or(0);
        let cache_write = usage.tokens_cache_write.unwrap_or(0);
        Some(Self {
            tokens_in: usage
                .tokens_in
                .unwrap_or_else(|| cache_read.saturating_add(cache_write)),
            tokens_out: usage.tokens_out.unwrap_or(0),
            cache_read,
            cache_write,
            cache_write_1h: usage.tokens_cache_write_1h.unwrap_or(0),
            reasoning: usage.tokens_reasoning.unwrap_or(0),
        })
    }
}

/// What decides the price of a call, besides its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Its tokens.
    pub tokens: Tokens,
    /// The tier of service, as the provider names it; none is the standard one.
    pub service_tier: Option<&'a str>,
    /// When it was made.
    pub at: Time,
}

impl Call<'_> {
    /// A call at today's prices, in the standard tier.
    #[must_use]
    pub const fn now(tokens: Tokens) -> Self {
        Self {
            tokens,
            service_tier: None,
            at: Time(i64::MAX),
        }
    }
}

/// The price of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// What calls cost from the last date of `earlier` on.
    pub current: Figures,
    /// What calls cost before a moment, by moment.
    pub earlier: Vec<(Time, Figures)>,
}

impl Price {
    /// The figures that a call is priced by; none if its tier of service is not listed.
    #[must_use]
    pub fn quote(&self, call: &Call<'_>) -> Option<Quote> {
        let earlier = self.earlier.iter().find(|(until, _)| call.at < *until);
        let (until, figures) = match earlier {
            Some((until, figures)) => (Some(*until), figures),
            None => (None, &self.current),
        };
        let quote = figures.quote(call.service_tier, call.tokens.tokens_in)?;
        Some(Quote { until, ..quote })
    }

    /// The cost of one call; none above [`crate::limits::COST_USD`], which no call reaches.
    #[must_use]
    pub fn cost(&self, call: &Call<'_>) -> Option<Money> {
        self.quote(call)?.cost(call.tokens)
    }
}

/// A model of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As its provider names it.
    pub name: String,
    /// Who runs it; none: anybody.
    pub provider: Option<String>,
    /// Other names; one that ends in `*` stands for everything that begins so.
    pub aliases: Vec<String>,
    /// What it costs.
    pub price: Price,
}

/// The prices of all known models.
#[derive(Debug, Clone)]
pub struct PriceTable {
    /// `price_table@<version>`
    source: String,
    models: Vec<Listed>,
    index: ModelIndex,
    /// What names of models begin with, in lower case, and the provider that made those.
    makers: BTreeMap<String, String>,
}

/// Whose models, at whose prices, a provider runs that has no list of its own.
fn runs_models_of(provider: &str) -> Option<&'static str> {
    same_provider(provider, "azure").then_some("openai")
}

impl PriceTable {
    /// Reads and checks a table. `file` is its name for messages.
    ///
    /// # Errors
    /// Every problem with its line; only the first if the file is not TOML or has a field of the wrong type.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        file::parse(file, text)
    }

    /// What costs from this table are marked with: `price_table@<version>`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The models, in the order of the file.
    #[must_use]
    pub fn models(&self) -> &[Listed] {
        &self.models
    }

    /// How many models have a price.
    #[must_use]
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether no model has a price.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// The model that an event names, in any of the spellings that providers and resellers use.
    #[must_use]
    pub fn find(&self, provider: Option<&str>, model: &str) -> Option<&Listed> {
        self.search(provider, model).flatten()
    }

    /// Whether a model has no price only because several providers list it, at different ones.
    #[must_use]
    pub fn needs_provider(&self, provider: Option<&str>, model: &str) -> bool {
        self.search(provider, model) == Some(None)
    }

    /// Some(None): several list it at different prices.
    fn search(&self, provider: Option<&str>, model: &str) -> Option<Option<&Listed>> {
        let model = in_lower_case(model);
        let find = |provider: Option<&str>, model: &str| self.listed(provider, model);
        let found = |provider| find(provider, &model).or_else(|| names::find(&find, provider, &model));
        found(provider).or_else(|| found(Some(runs_models_of(provider?)?)))
    }

    /// The model of this very name. Where the provider is not given, its maker's list counts; where that does not list it,
    /// and all others charge the same, it is the first of them.
    fn listed(&self, provider: Option<&str>, model: &str) -> Option<Option<&Listed>> {
        let mut matching = self.index.matching(provider, model);
        let first = matching.next()?;
        let maker = self.maker(model).filter(|_| provider.is_none());
        let is_makers = |listed: &&Listed| {
            let listed = listed.provider.as_deref();
            listed
                .zip(maker)
                .is_some_and(|(one, other)| same_provider(one, other))
        };
        let all = self.index.matching(provider, model).map(|at| &self.models[at]);
        if let Some(own) = all.into_iter().find(is_makers) {
            return Some(Some(own));
        }
        let (first, same) = matching.fold((first, true), |(first, same), at| {
            let (one, other) = (&self.models[first].price, &self.models[at].price);
            let is_same = one.current.standard == other.current.standard && one.earlier == other.earlier;
            (first.min(at), same && is_same)
        });
        Some(same.then(|| &self.models[first]))
    }

    /// Who made a model, as the beginning of its name tells.
    fn maker(&self, model: &str) -> Option<&str> {
        let mut makers = self.makers.iter();
        let found = makers.find(|(start, _)| model.starts_with(start.as_str()));
        found.map(|(_, maker)| maker.as_str())
    }

    /// The price of a model as an event names it.
    #[must_use]
    pub fn price(&self, provider: Option<&str>, model: &str) -> Option<&Price> {
        self.find(provider, model).map(|listed| &listed.price)
    }

    /// The known name that one without a price was probably meant to be.
    #[must_use]
    pub fn nearest(&self, model: &str) -> Option<&str> {
        nearest(model, self.models.iter().map(|listed| listed.name.as_str()))
    }

    /// What a call costs by this table, whatever it came with.
    #[must_use]
    pub fn cost(&self, usage: &Usage<'_>) -> Option<Money> {
        let price = self.price(usage.provider.as_deref(), &usage.model)?;
        let tokens = Tokens::of(usage);
        let call = |tokens| Call {
            tokens,
            service_tier: usage.service_tier.as_deref(),
            at: usage.timestamp.unwrap_or(Time(i64::MAX)),
        };
        if let Some(tokens) = tokens {
            return price.cost(&call(tokens));
        }
        // Without counts the cost is known where tokens cost nothing: of free models, and of those priced by the call.
        let quote = price.quote(&call(Tokens::default()))?;
        let has_ended_well = usage.status.is_none_or(|status| status == CallStatus::Ok);
        let is_known = quote.rates.are_tokens_free() && has_ended_well;
        is_known.then(|| quote.cost(Tokens::default())).flatten()
    }

    /// Gives a call without a cost the one from this table; what came with a cost, or cannot be priced, stays as it is.
    pub fn apply<'a>(&'a self, usage: &mut Usage<'a>) {
        if usage.cost_usd.is_some() {
            return;
        }
        if let Some(cost) = self.cost(usage) {
            usage.cost_usd = Some(cost);
            usage.cost_source = Some(Text::from(self.source.as_str()));
        }
    }
}
