//! Configuration in layers: flag over environment over file over default, checked whole.
//!
//! `config/default.toml` is the list of all keys; any other key is an error that names the
//! nearest one. Secrets in URLs are never printed.

use std::path::{Path, PathBuf};

use ::config::{Environment, File, FileFormat, Value, ValueKind};
use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::cli::Settings;
use crate::tables;

/// Every key with its default and what it means.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");
/// Read from the current folder when no file is named.
const DEFAULT_FILE: &str = "aiai.toml";

/// The whole configuration.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder for all files.
    pub data: PathBuf,
    /// The connection.
    pub nats: bus::NatsConfig,
    /// Sizes and copies of streams.
    pub streams: bus::topology::StreamsConfig,
    /// Logs.
    pub log: bus::telemetry::LogConfig,
    /// Health and metrics.
    pub monitor: bus::monitor::MonitorConfig,
    /// Worker ingest.
    pub ingest: ingest::Config,
    /// What model calls cost.
    pub prices: tables::PricesConfig,
    /// Worker rollup.
    pub rollup: rollup::Config,
    /// Worker archive.
    pub archive: archive::Config,
    /// Worker sink.
    pub sink: sink::Config,
    /// Worker route.
    pub route: tables::RouteConfig,
    /// Worker node.
    pub node: node::Config,
    /// Worker dashboard-feed.
    pub dashboard_feed: dashboard_feed::Config,
    /// Worker dashboard.
    pub dashboard: dashboard::Config,
    /// Worker gateway.
    pub gateway: gateway::Config,
    /// Worker otlp.
    pub otlp: otlp::Config,
}

impl Config {
    /// Where worker archive writes files, and the sink reads them.
    pub fn archive_folder(&self) -> PathBuf {
        self.archive.folder_in(&self.data)
    }
}

/// The configuration with where each value came from.
#[derive(Debug)]
pub struct Loaded {
    /// Ready to use.
    pub config: Config,
    /// Key, value as TOML, origin; in order of the keys.
    pub entries: Vec<Entry>,
}

/// One key.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Dotted.
    pub key: String,
    /// As in TOML.
    pub value: String,
    /// Default, a file, the environment or a flag.
    pub origin: String,
}

/// Reads all layers and checks them.
pub fn load(settings: &Settings) -> anyhow::Result<Loaded> {
    let defaults = ::config::Config::builder()
        .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
        .build()
        .context("config/default.toml is broken")?;
    let overrides = overrides(settings)?;
    let mut builder = ::config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(path) = file(settings)? {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    builder = builder.add_source(
        Environment::with_prefix("AIAI")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true),
    );
    for (key, value) in lists_of_environment(std::env::vars())? {
        builder = builder
            .set_override(&key, value)
            .with_context(|| format!("{key} in the environment: not a key; see `aiai config show`"))?;
    }
    for (key, value) in &overrides {
        builder = builder
            .set_override(key, value.clone())
            .with_context(|| format!("--set {key}: not a key; see `aiai config show`"))?;
    }
    let merged = builder
        .build()
        .map_err(|error| anyhow!("configuration: {}", one_line(&error.to_string())))?;
    let known: Vec<String> = leaves(&defaults.cache).into_iter().map(|(key, _)| key).collect();
    let mut entries = Vec::new();
    for (key, value) in leaves(&merged.cache) {
        let by_flag = overrides.iter().any(|(name, _)| *name == key);
        let origin = if by_flag { "flag".to_owned() } else { origin(value) };
        if !known.contains(&key) {
            bail!(
                "configuration: unknown key `{key}` ({origin}){}",
                hint(&key, &known)
            );
        }
        entries.push(Entry {
            value: shown(&key, value),
            key,
            origin,
        });
    }
    entries.sort_by(|left, right| left.key.cmp(&right.key));
    let config: Config = merged
        .try_deserialize()
        .map_err(|error| anyhow!("configuration: {}", one_line(&error.to_string())))?;
    config.dashboard.validate()?;
    config.gateway.validate()?;
    config.otlp.validate()?;
    Ok(Loaded { config, entries })
}

fn file(settings: &Settings) -> anyhow::Result<Option<PathBuf>> {
    match &settings.config {
        Some(path) => {
            std::fs::metadata(path)
                .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
            Ok(Some(path.clone()))
        }
        None => Ok(Path::new(DEFAULT_FILE)
            .is_file()
            .then(|| PathBuf::from(DEFAULT_FILE))),
    }
}

/// Flags as dotted keys with values.
fn overrides(settings: &Settings) -> anyhow::Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for pair in &settings.set {
        let (key, text) = pair
            .split_once('=')
            .ok_or_else(|| crate::failure::Usage(format!("--set {pair}: write it as KEY=VALUE")))?;
        let (key, text) = (key.trim(), text.trim());
        let value = match is_list(key, text) {
            true => list(key, text, None)?,
            false => parsed(text),
        };
        all.push((key.to_owned(), value));
    }
    if let Some(url) = &settings.nats_url {
        all.push(("nats.url".to_owned(), Value::from(url.as_str())));
    }
    if let Some(data) = &settings.data {
        all.push(("data".to_owned(), Value::from(data.to_string_lossy().as_ref())));
    }
    Ok(all)
}

/// Whether the text stands for a list: of the keys, only those for tokens hold one.
fn is_list(key: &str, text: &str) -> bool {
    key.ends_with("tokens") && text.trim_start().starts_with('[')
}

/// Lists in the environment, as dotted keys with values: what the environment's own reader takes for text.
fn lists_of_environment(
    variables: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<Vec<(String, Value)>> {
    let lists = variables.filter_map(|(name, text)| {
        let key = name.strip_prefix("AIAI__")?.to_lowercase().replace("__", ".");
        is_list(&key, &text).then_some((key, text))
    });
    let environment = "the environment".to_owned();
    lists
        .map(|(key, text)| {
            let value = list(&key, &text, Some(&environment))?;
            Ok((key, value))
        })
        .collect()
}

/// A list, written as in a file. It may hold secrets: what is wrong is told without it.
fn list(key: &str, text: &str, origin: Option<&String>) -> anyhow::Result<Value> {
    let line = format!("list = {}", text.trim());
    let read = ::config::Config::builder()
        .add_source(File::from_str(&line, FileFormat::Toml))
        .build();
    let kind = read.ok().and_then(|read| match read.cache.kind {
        ValueKind::Table(mut table) => table.remove("list").map(|list| list.kind),
        _ => None,
    });
    let kind = kind.with_context(|| {
        format!("{key}: write a list as in a file, such as [{{ token = \"…\", tenant = \"acme\" }}]")
    })?;
    Ok(Value::new(origin, kind))
}

/// A flag's text as the most specific type it can be.
fn parsed(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    if let Ok(flag) = text.parse::<bool>() {
        return Value::from(flag);
    }
    Value::from(text)
}

/// All values that are not tables, by dotted key.
fn leaves(root: &Value) -> Vec<(String, &Value)> {
    fn walk<'v>(prefix: &str, value: &'v Value, found: &mut Vec<(String, &'v Value)>) {
        let ValueKind::Table(table) = &value.kind else {
            found.push((prefix.to_owned(), value));
            return;
        };
        for (name, child) in table {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            walk(&key, child, found);
        }
    }
    let mut found = Vec::new();
    walk("", root, &mut found);
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

fn origin(value: &Value) -> String {
    match value.origin() {
        None => "default".into(),
        Some("the environment") => "environment".into(),
        Some(file) => file.to_owned(),
    }
}

fn shown(key: &str, value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) if key.ends_with("url") => format!("{:?}", bus::without_credentials(text)),
        ValueKind::String(text) => format!("{text:?}"),
        // Secrets: how many, and no more.
        ValueKind::Array(tokens) if key.ends_with("tokens") && !tokens.is_empty() => {
            format!("[{} secrets]", tokens.len())
        }
        ValueKind::Array(values) if values.is_empty() => "[]".into(),
        other => other.to_string(),
    }
}

/// The parser's words without its drawing of the place.
fn one_line(text: &str) -> String {
    let is_drawing = |line: &&str| {
        line.split_once('|')
            .is_some_and(|(before, _)| before.trim().parse::<u32>().is_ok() || before.trim().is_empty())
    };
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !is_drawing(line))
        .collect();
    lines.join(": ")
}

/// The known key that was probably meant.
fn hint(key: &str, known: &[String]) -> String {
    let nearest = known
        .iter()
        .min_by_key(|candidate| strsim::levenshtein(candidate, key));
    match nearest {
        Some(nearest) if strsim::levenshtein(nearest, key) <= key.len() / 3 + 1 => {
            format!("; did you mean `{nearest}`?")
        }
        _ => "; `aiai config show` lists all keys".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(set: &[&str]) -> Settings {
        Settings {
            config: None,
            set: set.iter().map(|pair| (*pair).into()).collect(),
            nats_url: None,
            data: None,
        }
    }

    #[test]
    fn the_default_file_has_every_key_and_the_defaults_of_the_code() {
        let loaded = load(&settings(&[])).expect("defaults load");
        let in_file = serde_json::to_value(&loaded.config).expect("json");
        let in_code = serde_json::json!({
            "data": "data",
            "nats": bus::NatsConfig::default(),
            "streams": bus::topology::StreamsConfig::default(),
            "log": bus::telemetry::LogConfig::default(),
            "monitor": bus::monitor::MonitorConfig::default(),
            "ingest": ingest::Config::default(),
            "prices": tables::PricesConfig::default(),
            "rollup": rollup::Config::default(),
            "archive": archive::Config::default(),
            "sink": sink::Config::default(),
            "route": tables::RouteConfig::default(),
            "node": node::Config::default(),
            "dashboard_feed": dashboard_feed::Config::default(),
            "dashboard": dashboard::Config::default(),
            "gateway": gateway::Config::default(),
            "otlp": otlp::Config::default(),
        });
        assert_eq!(in_file, in_code);
        let keys = DEFAULTS
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains('='))
            .count();
        assert_eq!(loaded.entries.len(), keys);
    }

    #[test]
    fn a_flag_wins_and_says_so() {
        let loaded = load(&settings(&["node.interval_seconds=9"])).expect("loads");
        assert_eq!(loaded.config.node.interval_seconds, 9);
        let entry = loaded
            .entries
            .iter()
            .find(|entry| entry.key == "node.interval_seconds")
            .expect("key");
        assert_eq!((entry.value.as_str(), entry.origin.as_str()), ("9", "flag"));
    }

    #[test]
    fn lists_come_from_flags_and_the_environment_as_from_a_file() {
        let list = r#"[{ token = "0123456789abcdef", tenant = "acme" }]"#;
        let loaded = load(&settings(&[&format!("gateway.tokens={list}")])).expect("loads");
        assert_eq!(loaded.config.gateway.tokens.0[0].tenant, "acme");
        let error = load(&settings(&["gateway.tokens=[{ token = secret }]"])).expect_err("no list");
        assert!(
            error.to_string().starts_with("gateway.tokens: write a list"),
            "{error}"
        );
        assert!(!format!("{error:#}").contains("secret"), "{error:#}");

        let variables = [
            ("AIAI__OTLP__TOKENS", list),
            ("AIAI__NATS__URL", "nats://x"),
            ("PATH", "["),
        ];
        let variables = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let lists = lists_of_environment(variables.into_iter()).expect("a list");
        assert_eq!(lists.len(), 1);
        assert_eq!(lists[0].0, "otlp.tokens");
        assert_eq!(lists[0].1.clone().into_array().expect("an array").len(), 1);
        assert_eq!(origin(&lists[0].1), "environment");
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = load(&settings(&["node.interval_second=9"]))
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("unknown key `node.interval_second`"), "{error}");
        assert!(error.contains("did you mean `node.interval_seconds`"), "{error}");
    }

    #[test]
    fn a_parsers_drawing_becomes_one_line() {
        let text = "TOML parse error at line 1, column 3\n  |\n1 | [a\n  |   ^\nunclosed table\n in x.toml";
        assert_eq!(
            one_line(text),
            "TOML parse error at line 1, column 3: unclosed table: in x.toml"
        );
        assert_eq!(one_line("`a|b` is wrong"), "`a|b` is wrong");
    }

    #[test]
    fn a_value_of_the_wrong_type_names_the_key() {
        let error = load(&settings(&["node.interval_seconds=often"]))
            .expect_err("wrong type")
            .to_string();
        assert!(error.contains("interval_seconds"), "{error}");
    }
}
