//! The price table as people write it: see `config/prices.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::value::Datetime;

use super::figures::is_standard;
use super::{Figures, Listed, Plan, Price, PriceTable, Rates, SOURCE_PREFIX, Tier};
use crate::problems::{Checking, Problems};
use crate::{ModelIndex, Money, Time, same_provider};

/// A million tokens cost at most so many dollars: beyond it a figure was meant per token or in another unit.
const PRICE_DOLLARS_MAX: i64 = 10_000;
/// A tier of service costs at most so many times the standard one.
const SHARE_MAX: i64 = 100;
/// Bytes of the version.
const VERSION_BYTES: usize = 64;
/// Limits of context, tiers of service and dates of one model.
const STEPS_MAX: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<String>,
    #[serde(default)]
    makers: BTreeMap<Spanned<String>, String>,
    #[serde(default, rename = "model")]
    models: Vec<Spanned<Model>>,
}

/// Figures are read from their text, whatever TOML takes them for.
type Figure = Spanned<IgnoredAny>;

/// Declares a table that has figures besides fields of its own.
macro_rules! with_figures {
    ($(#[$doc:meta])* struct $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($(#[$meta])* $field: $type,)*
            input: Option<Figure>,
            output: Option<Figure>,
            cache_read: Option<Figure>,
            cache_write: Option<Figure>,
            cache_write_1h: Option<Figure>,
            reasoning: Option<Figure>,
            request: Option<Figure>,
        }

        impl $name {
            fn figures(&self) -> FigureTexts<'_> {
                FigureTexts {
                    input: self.input.as_ref(),
                    output: self.output.as_ref(),
                    cache_read: self.cache_read.as_ref(),
                    cache_write: self.cache_write.as_ref(),
                    cache_write_1h: self.cache_write_1h.as_ref(),
                    reasoning: self.reasoning.as_ref(),
                    request: self.request.as_ref(),
                }
            }
        }
    };
}

with_figures! {
    struct Model {
        name: Spanned<String>,
        provider: Option<String>,
        #[serde(default)]
        aliases: Vec<String>,
        #[serde(default)]
        above: OneOrMany<Above>,
        #[serde(default)]
        service_tier: BTreeMap<Spanned<String>, ServiceTier>,
        #[serde(default)]
        before: OneOrMany<Before>,
    }
}

with_figures! {
    struct Above {
        tokens_in: Spanned<u64>,
    }
}

with_figures! {
    struct ServiceTier {
        share: Option<Figure>,
        #[serde(default)]
        above: OneOrMany<Above>,
    }
}

with_figures! {
    struct Before {
        date: Spanned<Datetime>,
        #[serde(default)]
        above: OneOrMany<Above>,
        #[serde(default)]
        service_tier: BTreeMap<Spanned<String>, ServiceTier>,
    }
}

struct FigureTexts<'a> {
    input: Option<&'a Figure>,
    output: Option<&'a Figure>,
    cache_read: Option<&'a Figure>,
    cache_write: Option<&'a Figure>,
    cache_write_1h: Option<&'a Figure>,
    reasoning: Option<&'a Figure>,
    request: Option<&'a Figure>,
}

impl FigureTexts<'_> {
    const fn is_empty(&self) -> bool {
        self.input.is_none()
            && self.output.is_none()
            && self.cache_read.is_none()
            && self.cache_write.is_none()
            && self.cache_write_1h.is_none()
            && self.reasoning.is_none()
            && self.request.is_none()
    }
}

/// `{ … }` or `[{ … }, { … }]`.
struct OneOrMany<T>(Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Tables<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or an array of tables")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany<T>, A::Error> {
                Ok(OneOrMany(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<OneOrMany<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(OneOrMany)
            }
        }

        deserializer.deserialize_any(Tables(PhantomData))
    }
}

pub(super) fn parse(file: &str, text: &str) -> Result<PriceTable, Problems> {
    let mut checking = Checking::new(file, text);
    let parsed: File = checking.parse()?;
    check_version(&mut checking, &parsed.version);
    let mut models = Vec::with_capacity(parsed.models.len());
    let mut index = ModelIndex::default();
    for spanned in &parsed.models {
        let model = spanned.as_ref();
        let aliases = model.aliases.iter().map(String::as_str);
        if let Err(taken) = index.add(model.provider.as_deref(), model.name.as_ref(), aliases) {
            let text =
                format!("`{taken}` is blank, or belongs to an earlier model already; remove one of them");
            checking.note(&model.name.span(), text);
        }
        models.push(Listed {
            name: model.name.as_ref().clone(),
            provider: model.provider.clone(),
            aliases: model.aliases.clone(),
            price: price(&mut checking, spanned),
        });
    }
    let makers = makers(&mut checking, &parsed);
    let source = format!("{SOURCE_PREFIX}{}", parsed.version.as_ref());
    checking.finish(PriceTable {
        source,
        models,
        index,
        makers,
    })
}

/// What names of models begin with, in lower case, and who made those. A maker without a model in the table is a slip.
fn makers(checking: &mut Checking<'_>, file: &File) -> BTreeMap<String, String> {
    let mut makers = BTreeMap::new();
    for (start, maker) in &file.makers {
        let is_listed = file.models.iter().any(|model| {
            let provider = model.as_ref().provider.as_deref();
            provider.is_some_and(|provider| same_provider(provider, maker))
        });
        if start.as_ref().is_empty() || !is_listed {
            let problem = "makers: write the beginning of a name, and a provider that has models here";
            checking.note(&start.span(), problem);
        }
        makers.insert(start.as_ref().to_ascii_lowercase(), maker.clone());
    }
    makers
}

fn check_version(checking: &mut Checking<'_>, version: &Spanned<String>) {
    let text = version.as_ref();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || text.len() > VERSION_BYTES || !text.bytes().all(plain) {
        let problem = format!("version: use 1 to {VERSION_BYTES} letters, digits, `.`, `_` and `-`");
        checking.note(&version.span(), problem);
    }
}

fn price(checking: &mut Checking<'_>, spanned: &Spanned<Model>) -> Price {
    let model = spanned.as_ref();
    let standard = plan(checking, "", &spanned.span(), &model.figures(), &model.above);
    let current = figures(checking, "", standard, &model.service_tier);
    let mut earlier: Vec<(Time, Figures)> = Vec::new();
    check_steps(checking, "before", &spanned.span(), model.before.0.len());
    for before in &model.before.0 {
        let span = before.date.span();
        let standard = plan(checking, "before.", &span, &before.figures(), &before.above);
        let figures = figures(checking, "before.", standard, &before.service_tier);
        let Some(until) = midnight(before.date.as_ref()) else {
            let problem = "before.date: write the first day of the newer price, such as 2026-01-31";
            checking.note(&before.date.span(), problem);
            continue;
        };
        if earlier.iter().any(|(known, _)| *known == until) {
            let problem = "before.date is given twice; remove one of them";
            checking.note(&before.date.span(), problem);
        }
        earlier.push((until, figures));
    }
    earlier.sort_by_key(|(until, _)| *until);
    Price { current, earlier }
}

/// The first moment of a day, UTC.
fn midnight(date: &Datetime) -> Option<Time> {
    if date.time.is_some() || date.offset.is_some() {
        return None;
    }
    let date: Date = date.date?.to_string().parse().ok()?;
    let start = date.to_zoned(TimeZone::UTC).ok()?;
    Some(Time(start.timestamp().as_microsecond()))
}

fn figures(
    checking: &mut Checking<'_>,
    place: &str,
    standard: Plan,
    tiers: &BTreeMap<Spanned<String>, ServiceTier>,
) -> Figures {
    let mut service_tiers: Vec<(String, Tier)> = Vec::new();
    for (name, tier) in tiers {
        let place = format!("{place}service_tier.{}.", name.as_ref());
        let is_known = service_tiers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name.as_ref()));
        if is_standard(name.as_ref()) || is_known || tiers.len() > STEPS_MAX {
            let problem = format!(
                "{place} names the standard tier, one that is given already, or the {STEPS_MAX}th; remove it"
            );
            checking.note(&name.span(), problem);
        }
        let listed = match &tier.share {
            Some(share) => {
                if !tier.figures().is_empty() || !tier.above.0.is_empty() {
                    let problem =
                        format!("{place}share stands for every price; remove it, or the other figures");
                    checking.note(&share.span(), problem);
                }
                Tier::Share(figure(
                    checking,
                    &format!("{place}share"),
                    share,
                    SHARE_MAX,
                    "a share, such as 0.5,",
                ))
            }
            None => Tier::Own(plan(checking, &place, &name.span(), &tier.figures(), &tier.above)),
        };
        service_tiers.push((name.as_ref().clone(), listed));
    }
    Figures {
        standard,
        service_tiers,
    }
}

fn check_steps(checking: &mut Checking<'_>, name: &str, span: &std::ops::Range<usize>, count: usize) {
    if count > STEPS_MAX {
        checking.note(
            span,
            format!("{name} has {count} entries, more than {STEPS_MAX}; remove some"),
        );
    }
}

fn plan(
    checking: &mut Checking<'_>,
    place: &str,
    span: &std::ops::Range<usize>,
    texts: &FigureTexts<'_>,
    above: &OneOrMany<Above>,
) -> Plan {
    let plan_rates = rates(checking, place, span, texts);
    check_steps(checking, &format!("{place}above"), span, above.0.len());
    let mut limits: Vec<(u64, Rates)> = Vec::new();
    for step in &above.0 {
        let (limit, span) = (*step.tokens_in.as_ref(), step.tokens_in.span());
        if limits.iter().any(|(known, _)| *known == limit) {
            let problem = format!("{place}above has tokens_in = {limit} twice; remove one of them");
            checking.note(&span, problem);
        }
        let place = format!("{place}above.");
        limits.push((limit, rates(checking, &place, &span, &step.figures())));
    }
    limits.sort_by_key(|(limit, _)| *limit);
    Plan {
        rates: plan_rates,
        above: limits,
    }
}

fn rates(
    checking: &mut Checking<'_>,
    place: &str,
    span: &std::ops::Range<usize>,
    texts: &FigureTexts<'_>,
) -> Rates {
    for (name, given) in [("input", texts.input), ("output", texts.output)] {
        if given.is_none() {
            let problem =
                format!("{place}{name} is missing; write dollars per million tokens, 0 if they cost nothing");
            checking.note(span, problem);
        }
    }
    let mut read = |name: &str, value: Option<&Figure>| {
        let unit = match name {
            "request" => "dollars for one call",
            _ => "dollars per million tokens",
        };
        value.map(|value| {
            figure(
                checking,
                &format!("{place}{name}"),
                value,
                PRICE_DOLLARS_MAX,
                unit,
            )
        })
    };
    Rates {
        input: read("input", texts.input).unwrap_or_default(),
        output: read("output", texts.output).unwrap_or_default(),
        cache_read: read("cache_read", texts.cache_read),
        cache_write: read("cache_write", texts.cache_write),
        cache_write_1h: read("cache_write_1h", texts.cache_write_1h),
        reasoning: read("reasoning", texts.reasoning),
        request: read("request", texts.request).unwrap_or_default(),
    }
}

/// A figure exactly as written; 0 after a problem was noted.
fn figure(checking: &mut Checking<'_>, name: &str, value: &Figure, max: i64, unit: &str) -> Money {
    let text = checking.source(value.span());
    match text.parse::<Money>() {
        Ok(money) if (0..=max * Money::NANOS_PER_DOLLAR).contains(&money.0) => money,
        _ => {
            let shown = crate::rejection::shown(text);
            let problem = format!("{name} is {shown}; write {unit} as a plain decimal from 0 to {max}");
            checking.note(&value.span(), problem);
            Money(0)
        }
    }
}
