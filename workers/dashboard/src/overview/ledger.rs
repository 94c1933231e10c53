//! The sum that must balance, and how fresh the data is.

use askama::Template;
use schemas::overview::Overview;

use crate::{
    format::{age, clock, grouped},
    picture::Known,
};

/// Where every published message is.
#[derive(Template)]
#[template(path = "overview/ledger.html")]
pub(crate) struct LedgerLine {
    published: String,
    /// (name, number, class) of the parts whose sum is `published`.
    parts: Vec<(&'static str, String, &'static str)>,
    duplicates: u64,
    epoch: String,
    newest: Option<Newest>,
}

struct Newest {
    age: String,
    time: String,
}

impl LedgerLine {
    /// From the sink's answer, which may be old.
    pub(crate) fn new(overview: &Overview, known: &Known) -> Self {
        let answer_age_ms = known.sink_age_ms().unwrap_or(0).cast_signed();
        let ledger = &overview.ledger;
        let mut parts = vec![
            ("stored", grouped(ledger.stored), ""),
            (
                "dead",
                grouped(ledger.dead),
                if overview.dead_open > 0 { "attention" } else { "" },
            ),
            ("pending", grouped(ledger.pending), ""),
        ];
        if ledger.missing > 0 {
            parts.push(("missing", grouped(ledger.missing), "wrong"));
        }
        Self {
            published: grouped(ledger.published),
            parts,
            duplicates: ledger.duplicates,
            epoch: ledger.epoch.clone(),
            newest: overview.newest_event_ms.map(|newest_ms| Newest {
                age: age(overview
                    .at_ms
                    .saturating_sub(newest_ms)
                    .saturating_add(answer_age_ms)),
                time: clock(newest_ms, overview.at_ms),
            }),
        }
    }
}
