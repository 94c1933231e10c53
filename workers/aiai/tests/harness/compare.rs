//! One by one: what publishers were told, what they sent, and what is stored.
//!
//! Every item of an acknowledged message is a row or a dead letter exactly once, with the content it was sent with and
//! the sequence its publisher was told; of a message whose fate is unknown at most once; nothing else is there.

use std::collections::HashMap;

use serde_json::Value;

use super::author::Fate;
use super::load::{Book, Outcome};

/// Messages compared at once.
const PAGE: u64 = 20_000;
/// Differences that are told in full.
const TOLD_MAX: usize = 20;
/// Of a dead letter's payload so many bytes are compared, and its length.
const PAYLOAD_BYTES_MAX: usize = 600;

pub const KINDS: [&str; 3] = ["metric", "event", "usage"];

/// Answers one SELECT.
pub type Ask<'a> = &'a dyn Fn(&str) -> Vec<Value>;

/// What was compared, and what is wrong.
#[derive(Debug, Default)]
pub struct Comparison {
    pub rows: u64,
    pub letters: u64,
    /// Messages whose publisher does not know whether they are stored, and that are.
    pub unknown_stored: u64,
    problems: Vec<String>,
    omitted: usize,
}

impl Comparison {
    fn problem(&mut self, text: String) {
        if self.problems.len() < TOLD_MAX {
            self.problems.push(text);
        } else {
            self.omitted += 1;
        }
    }

    /// # Panics
    /// When anything is wrong.
    pub fn assert_good(&self, about: &str) {
        assert!(
            self.problems.is_empty(),
            "{about}: {}\nand {} more",
            self.problems.join("\n"),
            self.omitted
        );
    }
}

/// The columns of a kind that an author knows; more than one row for an item is seen.
fn select(kind: &str, from: &str, source: &str, first: u64) -> String {
    let own = match kind {
        "metric" => "name, value, metric_type",
        "event" => "name, data->>'n' AS n",
        _ => "model, tokens_in, tokens_out, cost_usd::VARCHAR AS cost, latency_ms, status",
    };
    format!(
        "SELECT TRY_CAST(session AS UBIGINT) AS message, idx, origin, tenant, trace_id, tags->>'t' AS tag, epoch_ms(ts) AS ms, \
         {own} FROM {from} WHERE source = '{source}' AND TRY_CAST(session AS UBIGINT) BETWEEN {first} AND {}",
        first + PAGE - 1
    )
}

/// Compares rows; `from` says where those of a kind are.
pub fn rows(ask: Ask<'_>, books: &[Book], from: &dyn Fn(&str) -> String) -> Comparison {
    let mut comparison = Comparison::default();
    for book in books {
        for first in (0..book.outcomes.len() as u64).step_by(usize::try_from(PAGE).expect("small")) {
            page(ask, book, from, first, &mut comparison);
        }
        let source = book.author.source();
        for kind in KINDS {
            let beyond = format!(
                "SELECT count(*) AS n FROM {} WHERE source = '{source}' AND \
                 (TRY_CAST(session AS UBIGINT) IS NULL OR TRY_CAST(session AS UBIGINT) >= {})",
                from(kind),
                book.outcomes.len()
            );
            let found = ask(&beyond);
            if found[0]["n"] != 0 {
                comparison.problem(format!("{source}: {} of {kind} that nobody sent", found[0]["n"]));
            }
        }
    }
    comparison
}

type Rows = HashMap<(u64, u64), Vec<Value>>;

fn page(ask: Ask<'_>, book: &Book, from: &dyn Fn(&str) -> String, first: u64, into: &mut Comparison) {
    let source = book.author.source();
    let mut found: HashMap<&str, Rows> = HashMap::new();
    for kind in KINDS {
        let by_item = found.entry(kind).or_default();
        for row in ask(&select(kind, &from(kind), &source, first)) {
            let place = (number(&row, "message"), number(&row, "idx"));
            by_item.entry(place).or_default().push(row);
            into.rows += 1;
        }
    }
    let last = (first + PAGE).min(book.outcomes.len() as u64);
    for message in first..last {
        let outcome = &book.outcomes[usize::try_from(message).expect("small")];
        let mut stored = false;
        for (idx, fate) in (0..).zip(&book.author.script(message).fates) {
            let Fate::Row(kind, expected) = fate else { continue };
            let rows = found.get_mut(kind).and_then(|rows| rows.remove(&(message, idx)));
            let rows = rows.unwrap_or_default();
            stored |= !rows.is_empty();
            let name = format!("{source} message {message} item {idx} ({kind})");
            if let Err(problem) = judge(outcome, &rows) {
                into.problem(format!("{name}: {problem}"));
            }
            for row in &rows {
                if let Some(problem) = difference(row, expected, book.author.begun_ms) {
                    into.problem(format!("{name}: {problem}: {row}"));
                }
            }
        }
        into.unknown_stored += u64::from(stored && *outcome == Outcome::Unknown);
    }
    for (kind, rows) in found {
        for ((message, idx), row) in rows {
            into.problem(format!(
                "{source} never sent {kind} {message} item {idx}: {row:?}"
            ));
        }
    }
}

fn number(row: &Value, column: &str) -> u64 {
    row[column]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {column} in {row}"))
}

/// Whether there are as many, and where, as the outcome says.
fn judge(outcome: &Outcome, found: &[Value]) -> Result<(), String> {
    let origins: Vec<u64> = found.iter().map(|row| number(row, "origin")).collect();
    match (outcome, origins.as_slice()) {
        (Outcome::Acknowledged(sequence), [origin]) if origin == sequence => Ok(()),
        (Outcome::Acknowledged(sequence), []) => Err(format!("acknowledged at {sequence}, and lost")),
        (Outcome::Unknown, [] | [_]) | (Outcome::Refused(_), []) => Ok(()),
        _ => Err(format!("{outcome:?}, and there with the origins {origins:?}")),
    }
}

fn difference(row: &Value, expected: &Value, begun_ms: u64) -> Option<String> {
    for (column, value) in expected.as_object().expect("columns") {
        // Without a time of its own it has the time when NATS stored it.
        let arrived = column == "ms" && value.is_null() && row["ms"].as_u64() >= Some(begun_ms);
        if !arrived && row[column] != *value {
            return Some(format!("{column} should be {value}"));
        }
    }
    None
}

/// Compares dead letters of worker ingest.
pub fn letters(ask: Ask<'_>, books: &[Book]) -> Comparison {
    let mut comparison = Comparison::default();
    let sql = format!(
        "SELECT coalesce(origin, 0) AS origin, idx, reason, octet_length(payload) AS size, \
         left(hex(payload), {}) AS payload FROM dead WHERE stage = 'ingest'",
        2 * PAYLOAD_BYTES_MAX
    );
    let mut found: HashMap<(String, Option<u64>), Vec<Value>> = HashMap::new();
    for row in ask(&sql) {
        let payload = row["payload"].as_str().unwrap_or_default().to_owned();
        found.entry((payload, row["idx"].as_u64())).or_default().push(row);
        comparison.letters += 1;
    }
    for book in books {
        for (message, outcome) in (0..).zip(&book.outcomes) {
            for fate in book.author.script(message).fates {
                let Fate::Letter { reason, idx, payload } = fate else {
                    continue;
                };
                let start = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
                let hex: String = start.iter().map(|byte| format!("{byte:02X}")).collect();
                let letters = found.remove(&(hex, idx)).unwrap_or_default();
                let name = format!(
                    "{} message {message} item {idx:?} ({reason})",
                    book.author.source()
                );
                if let Err(problem) = judge(outcome, &letters) {
                    comparison.problem(format!("{name}: {problem}"));
                }
                for letter in letters {
                    if letter["reason"] != reason || letter["size"] != payload.len() {
                        comparison.problem(format!("{name}: {letter}"));
                    }
                }
            }
        }
    }
    for letter in found.into_values().flatten() {
        comparison.problem(format!("nobody sent this: {letter}"));
    }
    comparison
}

/// Messages that a stream was to refuse are refused, or their fate is unknown.
pub fn refusals(books: &[Book]) -> Comparison {
    let mut comparison = Comparison::default();
    for book in books {
        for (message, outcome) in (0..).zip(&book.outcomes) {
            let refused = book.author.script(message).fates.contains(&Fate::Refused);
            if refused && matches!(outcome, Outcome::Acknowledged(_)) {
                comparison.problem(format!("{} message {message} was taken", book.author.source()));
            }
        }
    }
    comparison
}
