//! The figures of a model, and the arithmetic on them.

use crate::{Money, Time, limits};

/// Prices are for so many tokens.
const TOKENS_PER_PRICE: i128 = 1_000_000;
/// A share of 1, as a tier of service has it.
const WHOLE: Money = Money(Money::NANOS_PER_DOLLAR);
/// What providers call the tier that everybody gets.
const STANDARD: [&str; 7] = [
    "",
    "standard",
    "default",
    "auto",
    "on_demand",
    "on-demand",
    "ondemand",
];

/// Nano-dollars per million tokens, and per call.
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
    /// Input written to a cache that keeps it for an hour; absent: as any cache write.
    pub cache_write_1h: Option<Money>,
    /// Output spent on reasoning; absent: as output.
    pub reasoning: Option<Money>,
    /// Dollars for the call itself.
    pub request: Money,
}

/// One summand of a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// What is paid for: `input`, `cache_read`, …
    pub name: &'static str,
    /// Tokens.
    pub tokens: u64,
    /// Dollars per million of them.
    pub price: Money,
}

impl Rates {
    /// Input and output, and everything else like them.
    #[must_use]
    pub const fn new(input: Money, output: Money) -> Self {
        Self {
            input,
            output,
            cache_read: None,
            cache_write: None,
            cache_write_1h: None,
            reasoning: None,
            request: Money(0),
        }
    }

    /// What a call is made of. No token is in two parts.
    #[must_use]
    pub fn parts(&self, tokens: super::Tokens) -> [Part; 6] {
        let fresh = tokens
            .tokens_in
            .saturating_sub(tokens.cache_read)
            .saturating_sub(tokens.cache_write);
        let cache_write = self.cache_write.unwrap_or(self.input);
        let hour = tokens.cache_write_1h.min(tokens.cache_write);
        let reasoning = tokens.reasoning.min(tokens.tokens_out);
        let part = |name, tokens, price| Part { name, tokens, price };
        [
            part("input", fresh, self.input),
            part(
                "cache_read",
                tokens.cache_read,
                self.cache_read.unwrap_or(self.input),
            ),
            part("cache_write", tokens.cache_write - hour, cache_write),
            part("cache_write_1h", hour, self.cache_write_1h.unwrap_or(cache_write)),
            part("output", tokens.tokens_out - reasoning, self.output),
            part("reasoning", reasoning, self.reasoning.unwrap_or(self.output)),
        ]
    }

    /// Whether no token costs anything.
    #[must_use]
    pub fn are_tokens_free(&self) -> bool {
        let further = [
            self.cache_read,
            self.cache_write,
            self.cache_write_1h,
            self.reasoning,
        ];
        let mut all = [self.input, self.output]
            .into_iter()
            .chain(further.into_iter().flatten());
        all.all(|price| price == Money(0))
    }

    /// Millionths of a nano-dollar, exactly.
    fn exact(&self, tokens: super::Tokens) -> Option<i128> {
        let mut total = i128::from(self.request.0).checked_mul(TOKENS_PER_PRICE)?;
        for part in self.parts(tokens) {
            let amount = i128::from(part.tokens).checked_mul(i128::from(part.price.0))?;
            total = total.checked_add(amount)?;
        }
        Some(total)
    }

    fn cost(&self, tokens: super::Tokens, share: Money) -> Option<Money> {
        let total = self.exact(tokens)?.checked_mul(share.0.into())?;
        let nanos = divide_half_even(total, TOKENS_PER_PRICE * i128::from(WHOLE.0));
        let nanos = i64::try_from(nanos).ok()?;
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

/// Prices by the size of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// For calls up to the first limit of `above`, or for all.
    pub rates: Rates,
    /// More tokens in than this: the whole call is priced by these rates. By limit.
    pub above: Vec<(u64, Rates)>,
}

/// What a tier of service costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tier {
    /// This share of everything, in thousand-millionths: 500,000,000 is half.
    Share(Money),
    /// Prices of its own.
    Own(Plan),
}

/// All prices of a model at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The standard tier.
    pub standard: Plan,
    /// Other tiers of service, by name.
    pub service_tiers: Vec<(String, Tier)>,
}

/// The figures one call is priced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// The prices.
    pub rates: Rates,
    /// They are for calls with more tokens in than this.
    pub above: Option<u64>,
    /// They are for calls before this moment.
    pub until: Option<Time>,
    /// The share of them that is charged, in thousand-millionths; 1,000,000,000: all.
    pub share: Money,
}

impl Quote {
    /// The cost of one call; none above [`limits::COST_USD`].
    #[must_use]
    pub fn cost(&self, tokens: super::Tokens) -> Option<Money> {
        self.rates.cost(tokens, self.share)
    }
}

impl Plan {
    fn quote(&self, tokens_in: u64, share: Money) -> Quote {
        let reached = self.above.iter().rev().find(|(limit, _)| tokens_in > *limit);
        Quote {
            rates: reached.map_or(self.rates, |(_, rates)| *rates),
            above: reached.map(|(limit, _)| *limit),
            until: None,
            share,
        }
    }
}

impl Figures {
    /// In one tier without anything else.
    #[must_use]
    pub const fn flat(rates: Rates) -> Self {
        Self {
            standard: Plan {
                rates,
                above: Vec::new(),
            },
            service_tiers: Vec::new(),
        }
    }

    pub(super) fn quote(&self, service_tier: Option<&str>, tokens_in: u64) -> Option<Quote> {
        let name = service_tier.unwrap_or_default();
        let mut listed = self.service_tiers.iter();
        match listed.find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, Tier::Share(share))) => Some(self.standard.quote(tokens_in, *share)),
            Some((_, Tier::Own(plan))) => Some(plan.quote(tokens_in, WHOLE)),
            None => is_standard(name).then(|| self.standard.quote(tokens_in, WHOLE)),
        }
    }
}

/// Whether a tier of service goes by the standard prices.
pub(crate) fn is_standard(name: &str) -> bool {
    STANDARD
        .iter()
        .any(|standard| standard.eq_ignore_ascii_case(name))
}
