//! From one EVENTS message to what rules found in it. Pure.

use std::collections::BTreeMap;

use bus::Bytes;
use schemas::alert::{
    self, FAILED_RULE, Match, OTHER_KEY, OriginCounts, Severity, TELL_WITHIN_MS, window_start,
};
use schemas::{Event, Kind, LineError, Message, Metric, Session, Step, Usage, WorkItem, read_lines};
use serde_json::value::RawValue;

use super::fact::{Fact, Row};
use super::file::{Rule, Rules};
use super::template::shorten;

/// Matches (rule, tenant, key and window) of one message; further ones are counted under [`OTHER_KEY`].
const GROUPS_MAX: usize = 256;
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 256;
/// Bytes of a sample; a larger event is not kept.
const SAMPLE_BYTES_MAX: usize = 1024;
/// Bytes of all matches of a message; beyond, they are told apart by rule only, without samples.
const BYTES_MAX: usize = 512 * 1024;
/// Rules that fail are told apart by name, in windows of this width.
const FAILED_WINDOW_SECONDS: u32 = 3600;

/// What rules found in one message.
#[derive(Debug, Default)]
pub struct Found {
    /// What to count, one line a match; empty if there is none.
    pub matches: Vec<Match>,
    /// What to tell.
    pub alerts: Vec<alert::Alert>,
    /// What to copy elsewhere.
    pub forwards: Vec<Forward>,
    /// Rules that could not be evaluated on some event; they are among the matches, too.
    pub failures: Vec<Failure>,
    /// Events that were looked at.
    pub events: u64,
}

/// An event for a subject of the user's.
#[derive(Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where to.
    pub subject: String,
    /// The canonical event.
    pub payload: Bytes,
    /// The same whenever the message is looked at.
    pub id: String,
}

/// A rule that could not be evaluated.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// An EVENTS message.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'m> {
    /// Its kind.
    pub kind: Kind,
    /// ULID of INGEST's epoch.
    pub epoch: &'m str,
    /// Its lines.
    pub payload: &'m Bytes,
    /// When NATS stored it, in milliseconds since 1970.
    pub stored_ms: i64,
}

/// Shows each event of a message to each rule of its kind.
///
/// # Errors
/// The first line that is no event.
pub fn evaluate(rules: &Rules, batch: Batch<'_>) -> Result<Found, LineError> {
    let mut collected = Collected::new(rules, batch);
    match batch.kind {
        Kind::Metric => collected.all(&read_lines::<Metric<'_>>(batch.payload)?, Row::Metric),
        Kind::Event => collected.all(&read_lines::<Event<'_>>(batch.payload)?, Row::Event),
        Kind::Usage => collected.all(&read_lines::<Usage<'_>>(batch.payload)?, Row::Usage),
        Kind::Step => collected.all(&read_lines::<Step<'_>>(batch.payload)?, Row::Step),
        Kind::Message => collected.all(&read_lines::<Message<'_>>(batch.payload)?, Row::Message),
        Kind::Session => collected.all(&read_lines::<Session<'_>>(batch.payload)?, Row::Session),
        Kind::WorkItem => collected.all(&read_lines::<WorkItem<'_>>(batch.payload)?, Row::WorkItem),
    }
    Ok(collected.finish())
}

/// What makes two matches one: position of the rule (failures behind all), tenant, key, start of the window.
type Key = (usize, String, String, i64);

struct Collected<'m> {
    rules: &'m Rules,
    batch: Batch<'m>,
    groups: BTreeMap<Key, Group>,
    found: Found,
}

struct Group {
    found: Match,
    /// Whether one of the events is young enough to be told of.
    told: bool,
}

impl<'m> Collected<'m> {
    fn new(rules: &'m Rules, batch: Batch<'m>) -> Self {
        Collected {
            rules,
            batch,
            groups: BTreeMap::new(),
            found: Found::default(),
        }
    }

    fn all<'r, T>(&mut self, rows: &'r [T], row: impl Fn(&'r T) -> Row<'r>) {
        // As `read_lines` does, blank lines left out: one line a row.
        let payload: &'m Bytes = self.batch.payload;
        let lines = payload
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty());
        for (parsed, line) in rows.iter().zip(lines) {
            self.event(&Fact::new(row(parsed)), line);
        }
        self.found.events += rows.len() as u64;
    }

    fn event(&mut self, fact: &Fact<'_>, line: &'m [u8]) {
        let rules = self.rules;
        for (at, rule) in rules.rules.iter().enumerate() {
            if !rule.kinds.contains(&self.batch.kind) {
                continue;
            }
            match rule.when.holds(fact, &rules.language) {
                Ok(false) => {}
                Ok(true) => self.matched(at, rule, fact, line),
                Err(reason) => self.failed(rule, fact, reason),
            }
        }
    }

    /// An event without a place or time is nothing that worker ingest wrote; the sink refuses its message.
    fn matched(&mut self, at: usize, rule: &Rule, fact: &Fact<'_>, line: &'m [u8]) {
        let Some((origin, index)) = fact.row().place() else {
            return;
        };
        let Some(told) = self.add(
            at,
            rule.window_seconds,
            rule.key(fact),
            fact,
            |window_start_ms, key| Match {
                rule: rule.name.clone(),
                severity: rule.severity,
                key,
                tenant: fact.row().tenant().to_owned(),
                window_start_ms,
                window_seconds: rule.window_seconds,
                count: 0,
                first_ms: i64::MAX,
                last_ms: i64::MIN,
                message: rule.message.fill(fact),
                sample: sample(line),
                origins: OriginCounts::default(),
            },
        ) else {
            return;
        };
        if let (Some(subject), true) = (&rule.forward, told) {
            self.found.forwards.push(Forward {
                subject: subject.clone(),
                payload: self.batch.payload.slice_ref(line),
                id: format!("forward:{}:{}:{origin}:{index}", rule.name, self.batch.epoch),
            });
        }
    }

    fn failed(&mut self, rule: &Rule, fact: &Fact<'_>, reason: String) {
        let behind = self.rules.rules.len();
        let message = format!("rule {} cannot be evaluated: {reason}", rule.name);
        self.add(
            behind,
            FAILED_WINDOW_SECONDS,
            rule.name.clone(),
            fact,
            |window_start_ms, key| Match {
                rule: FAILED_RULE.to_owned(),
                severity: Severity::Warning,
                key,
                tenant: fact.row().tenant().to_owned(),
                window_start_ms,
                window_seconds: FAILED_WINDOW_SECONDS,
                count: 0,
                first_ms: i64::MAX,
                last_ms: i64::MIN,
                message: message.clone(),
                sample: None,
                origins: OriginCounts::default(),
            },
        );
        if !self
            .found
            .failures
            .iter()
            .any(|failure| failure.rule == rule.name)
        {
            self.found.failures.push(Failure {
                rule: rule.name.clone(),
                reason,
            });
        }
    }

    /// Counts an event; says whether it is young enough to be told of.
    fn add(
        &mut self,
        at: usize,
        window_seconds: u32,
        mut key: String,
        fact: &Fact<'_>,
        make: impl Fn(i64, String) -> Match,
    ) -> Option<bool> {
        let (origin, _) = fact.row().place()?;
        let time_ms = fact.row().time_ms()?;
        let mut window = window_start(time_ms, window_seconds);
        shorten(&mut key, KEY_BYTES_MAX);
        let mut group_key = (at, fact.row().tenant().to_owned(), key, window);
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group_key) {
            // Windows have no end either: the one of the arrival stands for all.
            window = window_start(self.batch.stored_ms, window_seconds);
            group_key = (at, String::new(), OTHER_KEY.to_owned(), window);
        }
        let told = self.batch.stored_ms.saturating_sub(time_ms) <= TELL_WITHIN_MS;
        let group = match self.groups.entry(group_key) {
            std::collections::btree_map::Entry::Occupied(known) => {
                let group = known.into_mut();
                if time_ms < group.found.first_ms {
                    let newer = make(window, group.found.key.clone());
                    (group.found.message, group.found.sample) = (newer.message, newer.sample);
                }
                group
            }
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let key = vacant.key();
                let mut found = make(window, key.2.clone());
                found.tenant.clone_from(&key.1);
                vacant.insert(Group { found, told: false })
            }
        };
        let found = &mut group.found;
        found.count += 1;
        found.first_ms = found.first_ms.min(time_ms);
        found.last_ms = found.last_ms.max(time_ms);
        found.origins.add(origin);
        group.told |= told;
        Some(told)
    }

    fn finish(self) -> Found {
        let Collected {
            rules,
            groups,
            mut found,
            batch,
        } = self;
        let size: usize = groups.values().map(|group| size(&group.found)).sum();
        let groups = if size > BYTES_MAX {
            coarse(groups, batch.stored_ms)
        } else {
            groups
        };
        for ((at, ..), group) in groups {
            // A rule that fails is always told of.
            let wanted = rules.rules.get(at).is_none_or(|rule| rule.alert);
            if wanted && group.told {
                found.alerts.push(group.found.alert());
            }
            found.matches.push(group.found);
        }
        found
    }
}

/// About as many bytes as its line will have.
fn size(found: &Match) -> usize {
    let sample = found.sample.as_ref().map_or(0, |sample| sample.get().len());
    256 + found.key.len() + 2 * found.message.len() + sample + found.origins.to_string().len()
}

/// Told apart by rule only, without samples: for messages in which much was found.
fn coarse(groups: BTreeMap<Key, Group>, stored_ms: i64) -> BTreeMap<Key, Group> {
    let mut coarse: BTreeMap<Key, Group> = BTreeMap::new();
    for ((at, ..), mut group) in groups {
        let window = window_start(stored_ms, group.found.window_seconds);
        group.found.window_start_ms = window;
        group.found.sample = None;
        group.found.tenant.clear();
        OTHER_KEY.clone_into(&mut group.found.key);
        match coarse.entry((at, String::new(), OTHER_KEY.to_owned(), window)) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(group);
            }
            std::collections::btree_map::Entry::Occupied(known) => {
                let known = known.into_mut();
                known.told |= group.told;
                known.found.merge(group.found);
            }
        }
    }
    coarse
}

fn sample(line: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|text| text.len() <= SAMPLE_BYTES_MAX)?;
    RawValue::from_string(text.trim().to_owned()).ok()
}
