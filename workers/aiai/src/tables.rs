//! The tables people write (prices, models, rules), from their files or as they come with aiai.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use route::{Models, Rules};
use schemas::Problems;
use schemas::price::{self, PriceTable};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The `[prices]` section.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PricesConfig {
    /// The price table. Empty: the one that comes with aiai.
    pub file: PathBuf,
}

/// The `[route]` section.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// The models to choose from. Empty: the list that comes with aiai.
    pub models_file: PathBuf,
    /// Which events somebody should hear of. Empty: the rules that come with aiai.
    pub rules_file: PathBuf,
    /// Before a webhook that failed is called again; each further wait is four times as long.
    pub webhook_retry_milliseconds: u32,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            models_file: PathBuf::new(),
            rules_file: PathBuf::new(),
            webhook_retry_milliseconds: 1000,
        }
    }
}

/// The price table in force.
pub fn prices(config: &Config) -> anyhow::Result<PriceTable> {
    let built_in = (price::BUILT_IN_NAME, price::BUILT_IN);
    read("prices.file", &config.prices.file, built_in, PriceTable::parse)
}

/// The name and the text of a price table: of this file, or the one in force.
pub fn prices_text(config: &Config, file: Option<&Path>) -> anyhow::Result<(String, String)> {
    let file = file.unwrap_or(&config.prices.file);
    if file.as_os_str().is_empty() {
        return Ok((price::BUILT_IN_NAME.to_owned(), price::BUILT_IN.to_owned()));
    }
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read {name}; name another price table"))?;
    Ok((name, text))
}

/// The models in force.
pub fn models(config: &Config) -> anyhow::Result<Models> {
    let built_in = (route::models::BUILT_IN_NAME, route::models::BUILT_IN);
    read(
        "route.models_file",
        &config.route.models_file,
        built_in,
        Models::parse,
    )
}

/// The rules in force.
pub fn rules(config: &Config) -> anyhow::Result<Rules> {
    let built_in = (route::rules::file::BUILT_IN_NAME, route::rules::file::BUILT_IN);
    read(
        "route.rules_file",
        &config.route.rules_file,
        built_in,
        |name, text| Rules::parse(name, text, |variable| std::env::var(variable).ok()),
    )
}

/// Parses a file, or what comes with aiai if none is named.
fn read<T>(
    key: &str,
    file: &Path,
    (name, text): (&str, &str),
    parse: fn(&str, &str) -> Result<T, Problems>,
) -> anyhow::Result<T> {
    if file.as_os_str().is_empty() {
        return Ok(parse(name, text)?);
    }
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read {name}; correct the configuration key {key}"))?;
    Ok(parse(&name, &text)?)
}
