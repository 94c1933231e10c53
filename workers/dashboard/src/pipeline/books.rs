//! The ledger by kind and epoch, what is missing by name.

use askama::Template;
use schemas::ledger::{Epoch, KindLine, Report};

use crate::{
    format::{age, grouped},
    picture::Known,
    queries::QueryError,
};

/// The feed asks every 2 s and waits 4 s for the answer.
const STALE_AFTER_MS: i64 = 10_000;

/// A table for each epoch.
#[derive(Template)]
#[template(path = "pipeline/books.html")]
pub(crate) struct Books {
    epochs: Vec<Table>,
    earlier_omitted: u64,
    /// What is wrong with the sum, and what to do.
    problem: Option<(String, &'static str)>,
    /// How old the answer is, if it is old.
    stale: Option<String>,
    unanswered: Option<QueryError>,
}

struct Table {
    epoch: String,
    current: bool,
    rows: Vec<Row>,
    missing: u64,
    missing_ranges: String,
    messages: Vec<Named>,
    /// Missing ones not named.
    unnamed: u64,
}

struct Row {
    kind: String,
    whole: bool,
    /// Name, number and class of each cell.
    cells: [(&'static str, String, &'static str); 8],
}

struct Named {
    sequence: u64,
    /// Subject and time.
    place: Option<(String, String)>,
    cause: String,
}

impl Books {
    /// From what the feed said.
    pub(crate) fn new(known: &Known) -> Self {
        let answer = known.pipeline.as_ref().map(|pipeline| &pipeline.ledger);
        let report = answer.and_then(|answer| answer.value.as_ref());
        let age_ms = answer
            .and_then(|answer| answer.answered_ms)
            .map(|answered_ms| known.now_ms().saturating_sub(answered_ms));
        let told = answer.and_then(|answer| answer.problem.as_ref());
        Self {
            epochs: report.map(tables).unwrap_or_default(),
            earlier_omitted: report.map_or(0, |report| report.earlier_omitted),
            problem: report.and_then(Report::problem),
            stale: age_ms
                .filter(|age_ms| *age_ms > STALE_AFTER_MS || told.is_some())
                .map(age),
            unanswered: told.filter(|_| report.is_none()).map(QueryError::of_sink),
        }
    }
}

fn tables(report: &Report) -> Vec<Table> {
    let earlier = report.earlier.iter().map(|epoch| Table::new(epoch, false));
    std::iter::once(Table::new(&report.current, true))
        .chain(earlier)
        .collect()
}

impl Table {
    fn new(epoch: &Epoch, current: bool) -> Self {
        let whole = KindLine {
            kind: "all".to_owned(),
            published: epoch.published,
            stored: epoch.stored,
            dead: epoch.dead,
            pending: epoch.pending,
            missing: epoch.missing,
            duplicates: epoch.duplicates,
            events_stored: epoch.events_stored,
            items_dead: epoch.items_dead,
        };
        let kinds = epoch.kinds.iter().map(|line| Row::new(line, false));
        Self {
            epoch: epoch.epoch.clone(),
            current,
            rows: kinds.chain([Row::new(&whole, true)]).collect(),
            missing: epoch.missing,
            missing_ranges: epoch.missing_text().replace(',', ", "),
            unnamed: epoch.missing.saturating_sub(epoch.missing_messages.len() as u64),
            messages: epoch
                .missing_messages
                .iter()
                .map(|message| Named {
                    sequence: message.sequence,
                    place: message.subject.clone().zip(message.stored.clone()),
                    cause: message.cause.clone(),
                })
                .collect(),
        }
    }
}

impl Row {
    fn new(line: &KindLine, whole: bool) -> Self {
        let marked = |number: u64, class| if number > 0 { class } else { "" };
        Self {
            kind: line.kind.clone(),
            whole,
            cells: [
                ("Published", grouped(line.published), ""),
                ("Stored", grouped(line.stored), ""),
                ("Dead", grouped(line.dead), marked(line.dead, "attention")),
                ("Pending", grouped(line.pending), ""),
                ("Missing", grouped(line.missing), marked(line.missing, "wrong")),
                ("Duplicates", grouped(line.duplicates), ""),
                (
                    "Events stored",
                    line.events_stored.map_or_else(|| "not known".to_owned(), grouped),
                    "",
                ),
                ("Items dead", grouped(line.items_dead), ""),
            ],
        }
    }
}
