//! `aiai tap`: canonical events as they pass, one JSON object a line.
//!
//! Live only: what passed before, or while the connection was lost, is in DuckDB. A filter looks at the JSON text
//! of a field, so that `value=7` and `status=error` both mean what they say.

use std::process::ExitCode;
use std::str::FromStr;

use schemas::{Kind, subjects};
use serde_json::Value;

use crate::cli;
use crate::config::Config;
use crate::output;

/// One condition of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Events of a kind. Several of them: any.
    Kind(Kind),
    /// A field has a value. Several of them: all.
    Field {
        /// `source`, `tags.region`, `data.service`.
        path: String,
        /// Its text.
        value: String,
    },
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((path, value)) = text.split_once('=') {
            return Ok(Self::Field {
                path: path.to_owned(),
                value: value.to_owned(),
            });
        }
        Kind::parse(text).map(Self::Kind).ok_or_else(|| {
            let kinds = Kind::ALL.map(Kind::as_str).join(", ");
            format!("is neither a kind ({kinds}) nor FIELD=VALUE, such as source=agent-1 or tags.region=fsn1")
        })
    }
}

/// All conditions together.
struct Filters {
    kinds: Vec<Kind>,
    fields: Vec<(String, String)>,
}

impl Filters {
    fn new(filters: &[Filter]) -> Self {
        let mut all = Self {
            kinds: Vec::new(),
            fields: Vec::new(),
        };
        for filter in filters {
            match filter {
                Filter::Kind(kind) => all.kinds.push(*kind),
                Filter::Field { path, value } => all.fields.push((path.clone(), value.clone())),
            }
        }
        all
    }

    fn kind(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted.as_str() == kind)
    }

    fn line(&self, line: &str) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            return false;
        };
        self.fields
            .iter()
            .all(|(path, value)| field(&event, path).is_some_and(|found| text(found) == *value))
    }
}

/// A field by its path; a tag's own name may contain dots.
fn field<'e>(event: &'e Value, path: &str) -> Option<&'e Value> {
    if let Some(tag) = path.strip_prefix("tags.") {
        return event.get("tags")?.get(tag);
    }
    path.split('.').try_fold(event, |value, name| value.get(name))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Prints until the count is reached, Ctrl-C, or nobody reads on.
pub async fn tap(config: &Config, options: &cli::Tap) -> anyhow::Result<ExitCode> {
    let filters = Filters::new(&options.filters);
    let context = super::connect(config).await?;
    let subject = match filters.kinds[..] {
        [kind] => subjects::events(kind),
        _ => subjects::EVENTS_ALL,
    };
    let mut live = context.subscribe(subject).await?;
    context.flush().await;
    crate::output::say(&format!("listening on {subject}; Ctrl-C ends"));
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0 {
        let message = tokio::select! {
            message = live.next() => message,
            _ = stop.recv() => break,
        };
        let Some(message) = message else { break };
        let kind = message.subject().rsplit('.').next().unwrap_or_default();
        if !filters.kind(kind) {
            continue;
        }
        let body = String::from_utf8_lossy(message.payload());
        let mut text = String::new();
        for line in body.lines().filter(|line| filters.line(line)) {
            text.push_str(&with_kind(kind, line));
            left -= 1;
            if left == 0 {
                break;
            }
        }
        // Whoever waits for an event wants it now: nothing is held back.
        output::print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An event says what it is by the subject it passes on; a line of output must say it itself.
fn with_kind(kind: &str, line: &str) -> String {
    match line.strip_prefix('{') {
        Some(rest) => format!("{{\"kind\":\"{kind}\",{rest}\n"),
        None => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filters: &[&str], kind: &str, line: &str) -> bool {
        let filters: Vec<Filter> = filters
            .iter()
            .map(|text| text.parse().expect("a filter"))
            .collect();
        let filters = Filters::new(&filters);
        filters.kind(kind) && filters.line(line)
    }

    #[test]
    fn kinds_are_any_fields_are_all() {
        let line =
            r#"{"name":"x","value":7,"source":"a","tags":{"region":"eu","a.b":"c"},"data":{"ok":{"n":1}}}"#;
        for filters in [
            &[][..],
            &["metric", "usage"],
            &["source=a", "tags.region=eu"],
            &["tags.a.b=c"],
            &["value=7"],
            &["data.ok.n=1"],
        ] {
            assert!(passes(filters, "metric", line), "{filters:?}");
        }
        for filters in [
            &["usage"][..],
            &["source=b"],
            &["source=a", "tags.region=us"],
            &["nothing="],
            &["value=70"],
        ] {
            assert!(!passes(filters, "metric", line), "{filters:?}");
        }
    }

    #[test]
    fn a_word_that_is_no_kind_says_what_is() {
        let error = "metrics".parse::<Filter>().expect_err("no kind");
        assert!(error.contains("metric, event, usage"), "{error}");
    }

    #[test]
    fn a_line_says_its_kind() {
        assert_eq!(
            with_kind("event", r#"{"name":"x"}"#),
            "{\"kind\":\"event\",\"name\":\"x\"}\n"
        );
    }
}
