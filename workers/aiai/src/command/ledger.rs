//! `aiai ledger`: where every published message is, by epoch and kind. The sum must balance.

use std::process::ExitCode;
use std::time::Duration;

use bus::{Bytes, Context};
use schemas::ledger::{Epoch, KindLine, Report};
use schemas::overview::{Ledger, Overview};
use schemas::query::{LEDGER_SUBJECT, OVERVIEW_SUBJECT};
use serde_json::{Value, json};

use crate::cli;
use crate::config::Config;
use crate::failure::UNHEALTHY;
use crate::output::{self, Format, Printer};

/// The answer is at hand; this is for a sink that is busy.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Missing messages in the table; the JSON has all that are named.
const MISSING_SHOWN: usize = 20;
/// Columns of ndjson and csv.
const COLUMNS: [&str; 13] = [
    "published",
    "stored",
    "dead",
    "pending",
    "missing",
    "duplicates",
    "balances",
    "epoch",
    "current",
    "kind",
    "events_stored",
    "items_dead",
    "missing_ranges",
];
/// Columns of the tables: field and heading.
const HEADINGS: [(&str, &str); 9] = [
    ("kind", "kind"),
    ("published", "published"),
    ("stored", "stored"),
    ("dead", "dead"),
    ("pending", "pending"),
    ("missing", "missing"),
    ("duplicates", "duplicates"),
    ("events_stored", "events stored"),
    ("items_dead", "items dead"),
];

/// What the pages show, too.
pub async fn overview(context: &Context) -> anyhow::Result<Overview> {
    let answer = context
        .request(OVERVIEW_SUBJECT, "sink", Bytes::new(), TIMEOUT)
        .await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// What is wrong with the sum, and what to do.
pub fn problem(ledger: &Ledger) -> Option<(String, &'static str)> {
    if ledger.missing > 0 {
        return Some((
            format!(
                "{} messages are missing: published, but neither stored, dead nor pending",
                ledger.missing
            ),
            "`aiai ledger` names them; then look at the logs of workers ingest and sink",
        ));
    }
    let parts = [ledger.stored, ledger.dead, ledger.pending];
    (parts.into_iter().map(u128::from).sum::<u128>() != u128::from(ledger.published)).then(|| {
        (
            "the ledger does not add up".to_owned(),
            "ask again; if it stays so, look at the log of worker sink",
        )
    })
}

/// Prints it; unhealthy if the present epoch does not balance.
pub async fn ledger(config: &Config, options: &cli::Output) -> anyhow::Result<ExitCode> {
    let context = super::connect(config).await?;
    let answer = context
        .request(LEDGER_SUBJECT, "sink", Bytes::new(), TIMEOUT)
        .await?;
    let report: Report = serde_json::from_slice(&answer)?;
    let text = match Format::or_default(options.output) {
        Format::Table => table(&report)?,
        Format::Json => json_text(&report)?,
        format => lines(&report, format)?,
    };
    output::print(&text)?;
    let lost = report.lost_earlier();
    if lost > 0 {
        crate::output::say(&format!(
            "of earlier lives of INGEST {lost} messages are lost: they were neither stored nor dead when the stream was \
             deleted; publish them again if you still have them"
        ));
    }
    let Some((problem, fix)) = report.problem() else {
        return Ok(ExitCode::SUCCESS);
    };
    crate::output::say(&format!("{problem}; {fix}"));
    Ok(ExitCode::from(UNHEALTHY))
}

/// The report as it came.
fn json_text(report: &Report) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(report)?))
}

/// A row for each epoch and, below it, for each of its kinds.
fn lines(report: &Report, format: Format) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let mut printer = Printer::new(format, COLUMNS.map(str::to_owned).into(), &mut text)?;
    let epochs = std::iter::once((true, &report.current));
    for (current, epoch) in epochs.chain(report.earlier.iter().map(|epoch| (false, epoch))) {
        for row in rows(epoch) {
            let mut row = row;
            row["epoch"] = json!(epoch.epoch);
            row["current"] = json!(current);
            printer.row(&row.to_string())?;
        }
    }
    printer.finish()?;
    Ok(String::from_utf8(text)?)
}

/// The epoch as a whole, then its kinds.
fn rows(epoch: &Epoch) -> Vec<Value> {
    let mut all = json!({
        "kind": "all", "published": epoch.published, "stored": epoch.stored, "dead": epoch.dead,
        "pending": epoch.pending, "missing": epoch.missing, "duplicates": epoch.duplicates,
        "events_stored": epoch.events_stored, "items_dead": epoch.items_dead, "balances": epoch.balances(),
    });
    all["missing_ranges"] = json!(epoch.missing_text());
    let of_kind = |line: &KindLine| {
        json!({
            "kind": line.kind, "published": line.published, "stored": line.stored, "dead": line.dead,
            "pending": line.pending, "missing": line.missing, "duplicates": line.duplicates,
            "events_stored": line.events_stored, "items_dead": line.items_dead, "balances": line.missing == 0,
            "missing_ranges": null,
        })
    };
    std::iter::once(all)
        .chain(epoch.kinds.iter().map(of_kind))
        .collect()
}

/// The sum first, then the kinds, then what is missing, then earlier epochs.
fn table(report: &Report) -> anyhow::Result<String> {
    let current = &report.current;
    let mut text = format!(
        "{}\npublished {} = stored {} + dead {} + pending {} + missing {}; duplicates {}\nepoch {}, in messages of INGEST\n",
        if report.balances {
            "balances"
        } else {
            "DOES NOT BALANCE"
        },
        current.published,
        current.stored,
        current.dead,
        current.pending,
        current.missing,
        current.duplicates,
        current.epoch,
    );
    text.push_str(&kinds(current)?);
    text.push_str(&missing(current));
    for epoch in &report.earlier {
        text.push_str(&format!(
            "\nearlier epoch {}, whose stream is gone\n",
            epoch.epoch
        ));
        text.push_str(&kinds(epoch)?);
        if epoch.missing > 0 {
            text.push_str(&format!(
                "lost with the stream: {} messages, {}\n",
                epoch.missing,
                epoch.missing_text()
            ));
        }
    }
    if report.earlier_omitted > 0 {
        text.push_str(&format!("\n{} still earlier epochs\n", report.earlier_omitted));
    }
    Ok(text)
}

fn kinds(epoch: &Epoch) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let headings = HEADINGS.map(|(_, heading)| heading.to_owned());
    let mut printer = Printer::new(Format::Table, headings.into(), &mut text)?;
    for row in rows(epoch) {
        let cells = HEADINGS.iter().map(|(field, heading)| {
            // Other rows have a number there.
            let cell = match &row[*field] {
                Value::Null => json!("not known"),
                cell => cell.clone(),
            };
            ((*heading).to_owned(), cell)
        });
        let cells: serde_json::Map<String, Value> = cells.collect();
        printer.row(&Value::Object(cells).to_string())?;
    }
    printer.finish()?;
    Ok(String::from_utf8(text)?)
}

fn missing(epoch: &Epoch) -> String {
    if epoch.missing == 0 {
        return String::new();
    }
    let mut text = format!(
        "\nMISSING: {} messages, {}\n",
        epoch.missing,
        epoch.missing_text()
    );
    for message in epoch.missing_messages.iter().take(MISSING_SHOWN) {
        text.push_str(&format!("  {}", message.sequence));
        if let (Some(subject), Some(stored)) = (&message.subject, &message.stored) {
            text.push_str(&format!("  {subject}  {stored}"));
        }
        text.push_str(&format!("  {}\n", message.cause));
    }
    let shown = epoch.missing_messages.len().min(MISSING_SHOWN) as u64;
    if epoch.missing > shown {
        text.push_str(&format!(
            "  and {} more; -o json names up to {}\n",
            epoch.missing - shown,
            schemas::ledger::NAMED_MAX
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_and_a_wrong_sum_are_problems() {
        let ledger = |published, missing| Ledger {
            published,
            missing,
            stored: 5,
            dead: 2,
            pending: 1,
            ..Ledger::default()
        };
        assert_eq!(problem(&ledger(8, 0)), None);
        assert!(
            problem(&ledger(9, 1)).is_some_and(|(problem, _)| problem.starts_with("1 messages are missing"))
        );
        assert!(problem(&ledger(9, 0)).is_some_and(|(problem, _)| problem.contains("does not add up")));
    }

    /// Everything there is to show.
    fn report() -> Report {
        let line = |kind: &str, stored, dead, missing, events_stored| KindLine {
            kind: kind.into(),
            published: stored + dead + missing,
            stored,
            dead,
            missing,
            events_stored,
            items_dead: dead,
            ..KindLine::default()
        };
        let messages = (7..=31).map(|sequence| schemas::ledger::Missing {
            sequence,
            subject: (sequence == 7).then(|| "ingest.acme.metric".into()),
            stored: (sequence == 7).then(|| "2026-11-20T12:00:00.123456789Z".into()),
            cause: "INGEST no longer has it".into(),
        });
        let current = Epoch {
            epoch: "01KAGB6Z3V1Q8R4N7T5W9X2Y0C".into(),
            published: 60,
            stored: 30,
            dead: 5,
            missing: 25,
            events_stored: Some(44),
            items_dead: 5,
            judged: 60,
            kinds: vec![
                line("metric", 30, 2, 1, Some(44)),
                line("unknown", 0, 3, 24, Some(0)),
            ],
            missing_ranges: vec![(7, 31)],
            missing_messages: messages.collect(),
            ..Epoch::default()
        };
        let earlier = Epoch {
            epoch: "01JAGB6Z3V1Q8R4N7T5W9X2Y0C".into(),
            published: 4,
            stored: 3,
            missing: 1,
            kinds: vec![line("metric", 3, 0, 1, None)],
            missing_ranges: vec![(4, 4)],
            ..Epoch::default()
        };
        Report {
            at_ms: 1_795_176_000_000,
            balances: false,
            current,
            earlier: vec![earlier],
            earlier_omitted: 2,
        }
    }

    /// Compares with `tests/golden/<name>.txt`; `AIAI_BLESS=1` writes it anew.
    fn golden(name: &str, text: &str) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("AIAI_BLESS").is_some() {
            return std::fs::write(&path, text).expect("writes");
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, wanted, "{name} differs; AIAI_BLESS=1 accepts it");
    }

    #[test]
    fn every_form_is_as_it_was() {
        let report = report();
        assert!(report.current.adds_up());
        golden("ledger_table", &table(&report).expect("prints"));
        golden("ledger_ndjson", &lines(&report, Format::Ndjson).expect("prints"));
        golden("ledger_csv", &lines(&report, Format::Csv).expect("prints"));
        golden("ledger_json", &json_text(&report).expect("prints"));
    }
}
