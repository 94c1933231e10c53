//! `config/rules.toml`: reading and checking.
//!
//! Invariants: names are unique and single tokens of a subject; expressions and templates were checked; nothing is
//! forwarded to a subject of aiai's own.

use std::collections::BTreeMap;
use std::ops::Range;

use schemas::alert::{self, Severity};
use schemas::problems::Checking;
use schemas::{Kind, Problems};
use serde::Deserialize;
use toml::Spanned;

use super::expression::{Expression, Language};
use super::fact::{Fact, Path};
use super::template::Template;
use super::webhook::{self, Webhook};

/// The rules that come with aiai: the text of `config/rules.toml`.
pub const BUILT_IN: &str = include_str!("../../../../config/rules.toml");
/// What [`BUILT_IN`] is called in messages.
pub const BUILT_IN_NAME: &str = "config/rules.toml";

/// Every event is shown to every rule of its kind, so there is a limit.
const RULES_MAX: usize = 64;
/// Bytes of a rule's name.
const NAME_BYTES_MAX: usize = 64;
/// Parts of a key.
const KEY_PARTS_MAX: usize = 4;
/// Longer windows would outlive the memory of what was told.
const WINDOW_SECONDS_MAX: u32 = 3600;
/// Where aiai's own messages are; a rule that wrote there could feed itself.
const OWN: &[&str] = &[
    "ingest", "events", "rollup", "dead", "alerts", "matches", "archive", "live", "query", "route", "feed",
];
/// Rules that aiai itself raises.
const RESERVED: &[&str] = &[alert::SERIES_RULE, alert::FAILED_RULE];

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name: one token of a subject.
    pub name: String,
    /// How bad a match is.
    pub severity: Severity,
    /// The width of its windows.
    pub window_seconds: u32,
    /// Whether somebody is told.
    pub alert: bool,
    /// The subject that matching events are copied to.
    pub forward: Option<String>,
    /// What is called with each alert.
    pub webhook: Option<Webhook>,
    pub(super) kinds: Vec<Kind>,
    pub(super) when: Expression,
    pub(super) key: Vec<Path>,
    pub(super) message: Template,
}

/// All of them.
pub struct Rules {
    /// In the order of the file.
    pub rules: Vec<Rule>,
    pub(super) language: Language,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    when: Spanned<String>,
    severity: Severity,
    kinds: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    key: Vec<Spanned<String>>,
    window_seconds: Option<Spanned<u32>>,
    message: Spanned<String>,
    #[serde(default = "yes")]
    alert: bool,
    forward: Option<Spanned<String>>,
    webhook: Option<Spanned<webhook::Entry>>,
}

const fn yes() -> bool {
    true
}

impl Rules {
    /// Reads and checks a file; its name is for messages. Secrets come from `environment`.
    ///
    /// # Errors
    /// Every mistake with its place.
    pub fn parse(
        name: &str,
        text: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Rules, Problems> {
        let mut checking = Checking::new(name, text).with_columns();
        let file: File = checking.parse()?;
        let language = Language::new();
        if let Some(entry) = file.rule.get(RULES_MAX) {
            let text = format!("more than {RULES_MAX} rules; put some of them into one with ||");
            checking.note(&entry.name.span(), text);
        }
        let mut names = BTreeMap::new();
        let mut rules = Vec::new();
        for (at, entry) in file.rule.into_iter().enumerate() {
            let known = names.insert(entry.name.as_ref().clone(), at).is_some();
            if known {
                let text = format!(
                    "there is a rule `{}` already; give this one another name",
                    entry.name.as_ref()
                );
                checking.note(&entry.name.span(), text);
            }
            rules.extend(entry.check(&mut checking, &language, &environment));
        }
        checking.finish(Rules { rules, language })
    }

    /// The rule of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// Whether any rule looks at events of this kind.
    #[must_use]
    pub fn look_at(&self, kind: Kind) -> bool {
        self.rules.iter().any(|rule| rule.kinds.contains(&kind))
    }
}

impl Rule {
    /// What tells this event's alert from others of the rule.
    pub(super) fn key(&self, fact: &Fact<'_>) -> String {
        let parts: Vec<_> = self
            .key
            .iter()
            .map(|path| fact.text(path).unwrap_or_else(|| "-".into()))
            .collect();
        parts.join(" ")
    }
}

/// The place in the file of a byte in a string: exact where the string is written as it is.
fn place(checking: &Checking<'_>, text: &Spanned<String>, byte: usize) -> Range<usize> {
    let span = text.span();
    let start = match checking.source(span.clone()).find(text.as_ref().as_str()) {
        Some(offset) if !text.as_ref().is_empty() => span.start + offset + byte,
        _ => span.start,
    };
    start..start
}

impl Entry {
    fn check(
        self,
        checking: &mut Checking<'_>,
        language: &Language,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Option<Rule> {
        self.check_name(checking);
        let kinds = self.kinds(checking);
        let key = self.key(checking, &kinds);
        let window_seconds = self.window(checking);
        let message = Template::parse(self.message.as_ref(), &kinds)
            .map_err(|(byte, problem)| checking.note(&place(checking, &self.message, byte), problem));
        let when = Expression::parse(self.when.as_ref(), &kinds, language).map_err(|mistakes| {
            for (byte, problem) in mistakes {
                checking.note(&place(checking, &self.when, byte), problem);
            }
        });
        if let Some(forward) = &self.forward
            && let Err(problem) = check_subject(forward.as_ref())
        {
            checking.note(&forward.span(), problem);
        }
        let webhook = self.webhook.map(|entry| {
            let span = entry.span();
            if !self.alert {
                checking.note(&span, "a webhook is told of alerts; remove alert = false");
            }
            entry
                .into_inner()
                .check(environment)
                .map_err(|problem| checking.note(&span, problem))
        });
        Some(Rule {
            name: self.name.into_inner(),
            severity: self.severity,
            window_seconds,
            alert: self.alert,
            forward: self.forward.map(Spanned::into_inner),
            webhook: webhook.transpose().ok()?,
            kinds,
            when: when.ok()?,
            key,
            message: message.ok()?,
        })
    }

    fn check_name(&self, checking: &mut Checking<'_>) {
        let name = self.name.as_ref();
        let token = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(token) {
            let text = format!(
                "a rule's name is 1 to {NAME_BYTES_MAX} letters, digits, `_` and `-`: it is part of a subject"
            );
            checking.note(&self.name.span(), text);
        }
        if RESERVED.contains(&name.as_str()) {
            checking.note(
                &self.name.span(),
                format!("aiai itself raises `{name}`; use another name"),
            );
        }
    }

    fn kinds(&self, checking: &mut Checking<'_>) -> Vec<Kind> {
        let Some(names) = &self.kinds else {
            return Kind::ALL.to_vec();
        };
        let mut kinds = Vec::new();
        for name in names {
            match Kind::parse(name.as_ref().as_str()) {
                Some(kind) => kinds.push(kind),
                None => {
                    let known = Kind::ALL.map(Kind::as_str).join(", ");
                    let text = format!("there is no kind `{}`; use some of {known}", name.as_ref());
                    checking.note(&name.span(), text);
                }
            }
        }
        // So that a mistake here is not followed by one for each field.
        if kinds.is_empty() {
            Kind::ALL.to_vec()
        } else {
            kinds
        }
    }

    fn key(&self, checking: &mut Checking<'_>, kinds: &[Kind]) -> Vec<Path> {
        if let Some(part) = self.key.get(KEY_PARTS_MAX) {
            checking.note(&part.span(), format!("a key has at most {KEY_PARTS_MAX} parts"));
        }
        let mut paths = Vec::new();
        for part in &self.key {
            match Path::parse(part.as_ref(), kinds) {
                Ok(path) => paths.push(path),
                Err(problem) => checking.note(&part.span(), problem),
            }
        }
        paths
    }

    fn window(&self, checking: &mut Checking<'_>) -> u32 {
        let Some(window) = &self.window_seconds else {
            return 300;
        };
        let seconds = *window.as_ref();
        if !(1..=WINDOW_SECONDS_MAX).contains(&seconds) {
            checking.note(
                &window.span(),
                format!("a window has 1 to {WINDOW_SECONDS_MAX} seconds"),
            );
        }
        seconds.clamp(1, WINDOW_SECONDS_MAX)
    }
}

/// Whether events may be copied to a subject.
fn check_subject(subject: &str) -> Result<(), String> {
    let mut tokens = subject.split('.');
    let first = tokens.clone().next().unwrap_or_default();
    let plain = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if subject.len() > 256 || !tokens.all(plain) {
        return Err("is no subject; write tokens with points in between, like ops.failed".to_owned());
    }
    if subject.contains(['*', '>']) {
        return Err("has a wildcard; name one subject".to_owned());
    }
    if first.starts_with(['$', '_']) || OWN.contains(&first) {
        return Err(format!(
            "`{first}` is a subject of NATS's or aiai's own; use another, like ops.{subject}"
        ));
    }
    Ok(())
}
