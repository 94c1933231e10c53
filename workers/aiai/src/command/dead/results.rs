//! What became of each letter: a row as soon as it is known, and a sum at the end.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::select::Letter;
use crate::output::{Format, Printer};

/// A command that is done sooner shows no progress.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Became {
    WouldReplay,
    Replayed,
    WouldDrop,
    Dropped,
    Skipped,
    Failed,
}

impl Became {
    const fn as_str(self) -> &'static str {
        match self {
            Became::WouldReplay => "would be replayed",
            Became::Replayed => "replayed",
            Became::WouldDrop => "would be dropped",
            Became::Dropped => "dropped",
            Became::Skipped => "skipped",
            Became::Failed => "failed",
        }
    }
}

/// One row; every command prints the same columns.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: u64,
    result: Became,
    stage: &'a str,
    reason: Option<&'a str>,
    subject: Option<&'a str>,
    stream: Option<&'a str>,
    sequence: Option<u64>,
    detail: Option<&'a str>,
}

const COLUMNS: [&str; 8] = [
    "id", "result", "stage", "reason", "subject", "stream", "sequence", "detail",
];

/// Prints rows and counts them.
pub(super) struct Results {
    printer: Printer<Stdout>,
    counts: BTreeMap<Became, u64>,
    progress: ProgressBar,
}

impl Results {
    /// For so many letters.
    pub(super) fn new(format: Option<Format>, letters: usize) -> anyhow::Result<Self> {
        let columns = COLUMNS.map(str::to_owned).into();
        Ok(Self {
            printer: Printer::new(Format::or_default(format), columns, std::io::stdout())?,
            counts: BTreeMap::new(),
            progress: progress(letters),
        })
    }

    /// Prints what became of a letter.
    pub(super) fn say(
        &mut self,
        letter: &Letter,
        became: Became,
        place: Option<(&str, Option<u64>)>,
        detail: Option<&str>,
    ) -> anyhow::Result<()> {
        *self.counts.entry(became).or_default() += 1;
        let row = Row {
            id: letter.id,
            result: became,
            stage: &letter.stage,
            reason: letter.reason.as_deref(),
            subject: letter.subject.as_deref(),
            stream: place.map(|(stream, _)| stream),
            sequence: place.and_then(|(_, sequence)| sequence),
            detail,
        };
        let line = serde_json::to_string(&row)?;
        let printer = &mut self.printer;
        self.progress.inc(1);
        self.progress.suspend(|| printer.row(&line))
    }

    /// Ends the rows and says the sum on standard error. Whether nothing failed.
    pub(super) fn finish(self) -> anyhow::Result<bool> {
        self.progress.finish_and_clear();
        self.printer.finish()?;
        crate::output::say(&sum(&self.counts));
        Ok(!self.counts.contains_key(&Became::Failed))
    }
}

/// The sum in words.
pub(super) fn sum(counts: &BTreeMap<Became, u64>) -> String {
    let total: u64 = counts.values().sum();
    let each: Vec<String> = counts
        .iter()
        .map(|(became, count)| format!("{count} {}", became.as_str()))
        .collect();
    match total {
        0 => "no dead letter is like that".to_owned(),
        1 => format!("1 dead letter: {}", each.join(", ")),
        _ => format!("{total} dead letters: {}", each.join(", ")),
    }
}

/// Shown on a terminal once it takes longer than a moment.
fn progress(letters: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(letters as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len}, {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(PROGRESS_AFTER);
    bar
}
