//! What model calls cost: a price table, and exact arithmetic on it.
//!
//! Invariants: no floats (prices are nano-dollars per million tokens, sums are 128 bits wide, rounded once at the end, half to
//! even); a model that is not in the table has no cost, never a cost of 0. Token counts are inclusive, so
//! `cost = (in - cache_read - cache_write)·input + cache_read·cache_read + cache_write·cache_write + out·output`,
//! where a cache price that is not listed is the input price.
//!
//! Deliberately absent: prices by date, batch discounts, currencies.

mod file;

use crate::{ModelIndex, Money, Problems, Text, Usage, limits};

/// The table that comes with aiai: the text of `config/prices.toml`.
pub const BUILT_IN: &str = include_str!("../../config/prices.toml");
/// What [`BUILT_IN`] is called in messages.
pub const BUILT_IN_NAME: &str = "config/prices.toml";
/// The cost source of a call without a known price.
pub const UNPRICED: &str = "unpriced";

/// Prices are for so many tokens.
const TOKENS_PER_PRICE: i128 = 1_000_000;

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
        })
    }
}

/// Nano-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Fresh input.
    pub input: Money,
    /// Output.
    pub output: Money,
    /// Input read from a cache; absent: as fresh input.
    pub cache_read: Option<Money>,
    /// Input written to a cache; absent: as fresh input.
    pub cache_write: Option<Money>,
}

impl Rates {
    /// The cost of one call; none above [`limits::COST_USD`], which no call reaches.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> Option<Money> {
        let fresh = tokens
            .tokens_in
            .saturating_sub(tokens.cache_read)
            .saturating_sub(tokens.cache_write);
        let part = |tokens: u64, price: Money| i128::from(tokens).checked_mul(i128::from(price.0));
        let total = part(fresh, self.input)?
            .checked_add(part(tokens.cache_read, self.cache_read.unwrap_or(self.input))?)?
            .checked_add(part(tokens.cache_write, self.cache_write.unwrap_or(self.input))?)?
            .checked_add(part(tokens.tokens_out, self.output)?)?;
        let nanos = i64::try_from(divide_half_even(total, TOKENS_PER_PRICE)).ok()?;
        (nanos <= limits::COST_USD * Money::NANOS_PER_DOLLAR).then_some(Money(nanos))
    }
}

/// `dividend / divisor` for numbers that are not negative, rounded half to even.
const fn divide_half_even(dividend: i128, divisor: i128) -> i128 {
    let (quotient, twice) = (dividend / divisor, dividend % divisor * 2);
    if twice > divisor || (twice == divisor && quotient % 2 == 1) {
        quotient + 1
    } else {
        quotient
    }
}

/// The price of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// For calls up to the limit of `above`, or for all.
    pub rates: Rates,
    /// More tokens in than this: the whole call is priced by these rates.
    pub above: Option<(u64, Rates)>,
}

impl Price {
    /// The cost of one call; see [`Rates::cost`].
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> Option<Money> {
        match self.above {
            Some((limit, rates)) if tokens.tokens_in > limit => rates.cost(tokens),
            _ => self.rates.cost(tokens),
        }
    }
}

/// The prices of all known models.
#[derive(Debug, Clone)]
pub struct PriceTable {
    /// `price_table@<version>`
    source: String,
    prices: Vec<Price>,
    index: ModelIndex,
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

    /// How many models have a price.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prices.len()
    }

    /// Whether no model has a price.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prices.is_empty()
    }

    /// The price of a model as an event names it.
    #[must_use]
    pub fn price(&self, provider: Option<&str>, model: &str) -> Option<&Price> {
        self.index.find(provider, model).map(|at| &self.prices[at])
    }

    /// Gives a call without a cost the one from this table; what came with a cost, or cannot be priced, stays as it is.
    pub fn apply<'a>(&'a self, usage: &mut Usage<'a>) {
        if usage.cost_usd.is_some() {
            return;
        }
        let Some(tokens) = Tokens::of(usage) else { return };
        let price = self.price(usage.provider.as_deref(), &usage.model);
        let Some(cost) = price.and_then(|price| price.cost(tokens)) else {
            return;
        };
        usage.cost_usd = Some(cost);
        usage.cost_source = Some(Text::from(self.source.as_str()));
    }
}
