//! The price table as people write it: see `config/prices.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{Price, PriceTable, Rates};
use crate::problems::{Checking, Problems};
use crate::{ModelIndex, Money};

/// A million tokens cost at most so many dollars: beyond it a figure was meant per token or in another unit.
const PRICE_DOLLARS_MAX: i64 = 10_000;
/// Bytes of the version.
const VERSION_BYTES: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<String>,
    #[serde(default, rename = "model")]
    models: Vec<Spanned<Model>>,
}

/// Figures are read from their text, never through the float.
type Figure = Spanned<f64>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: Spanned<String>,
    provider: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    input: Figure,
    output: Figure,
    cache_read: Option<Figure>,
    cache_write: Option<Figure>,
    above: Option<Above>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Above {
    tokens_in: u64,
    input: Figure,
    output: Figure,
    cache_read: Option<Figure>,
    cache_write: Option<Figure>,
}

pub(super) fn parse(file: &str, text: &str) -> Result<PriceTable, Problems> {
    let mut checking = Checking::new(file, text);
    let parsed: File = checking.parse()?;
    check_version(&mut checking, &parsed.version);
    let mut prices = Vec::with_capacity(parsed.models.len());
    let mut index = ModelIndex::default();
    for spanned in &parsed.models {
        let model = spanned.as_ref();
        let aliases = model.aliases.iter().map(String::as_str);
        if let Err(taken) = index.add(model.provider.as_deref(), model.name.as_ref(), aliases) {
            let text =
                format!("`{taken}` is blank, or belongs to an earlier model already; remove one of them");
            checking.note(&model.name.span(), text);
        }
        prices.push(price(&mut checking, model));
    }
    let source = format!("price_table@{}", parsed.version.as_ref());
    checking.finish(PriceTable {
        source,
        prices,
        index,
    })
}

fn check_version(checking: &mut Checking<'_>, version: &Spanned<String>) {
    let text = version.as_ref();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || text.len() > VERSION_BYTES || !text.bytes().all(plain) {
        let problem = format!("version: use 1 to {VERSION_BYTES} letters, digits, `.`, `_` and `-`");
        checking.note(&version.span(), problem);
    }
}

fn price(checking: &mut Checking<'_>, model: &Model) -> Price {
    let rates = Rates {
        input: figure(checking, "input", &model.input),
        output: figure(checking, "output", &model.output),
        cache_read: optional(checking, "cache_read", model.cache_read.as_ref()),
        cache_write: optional(checking, "cache_write", model.cache_write.as_ref()),
    };
    let above = model.above.as_ref().map(|above| {
        let rates = Rates {
            input: figure(checking, "above.input", &above.input),
            output: figure(checking, "above.output", &above.output),
            cache_read: optional(checking, "above.cache_read", above.cache_read.as_ref()),
            cache_write: optional(checking, "above.cache_write", above.cache_write.as_ref()),
        };
        (above.tokens_in, rates)
    });
    Price { rates, above }
}

fn optional(checking: &mut Checking<'_>, name: &str, value: Option<&Figure>) -> Option<Money> {
    value.map(|value| figure(checking, name, value))
}

/// Dollars per million tokens, exactly as written; 0 after a problem was noted.
fn figure(checking: &mut Checking<'_>, name: &str, value: &Figure) -> Money {
    let text = checking.source(value.span());
    match text.parse::<Money>() {
        Ok(money) if (0..=PRICE_DOLLARS_MAX * Money::NANOS_PER_DOLLAR).contains(&money.0) => money,
        _ => {
            let problem = format!(
                "{name} is {text}; write dollars per million tokens as a plain decimal from 0 to {PRICE_DOLLARS_MAX}"
            );
            checking.note(&value.span(), problem);
            Money(0)
        }
    }
}
