//! `aiai ledger`: where every published message is. The sum must balance.

use std::process::ExitCode;
use std::time::Duration;

use bus::{Bytes, Context};
use schemas::overview::{Ledger, Overview};
use schemas::query::OVERVIEW_SUBJECT;

use crate::cli;
use crate::config::Config;
use crate::failure::UNHEALTHY;
use crate::output::{self, Format, Printer};

/// The overview is at hand; this is for a sink that is busy.
const TIMEOUT: Duration = Duration::from_secs(5);

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
            "look at the logs of workers ingest and sink",
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

/// Prints it; unhealthy if it does not balance.
#[allow(clippy::print_stderr)]
pub async fn ledger(config: &Config, options: &cli::Output) -> anyhow::Result<ExitCode> {
    let context = super::connect(config).await?;
    let ledger = overview(&context).await?.ledger;
    let problem = problem(&ledger);
    let columns = [
        "published",
        "stored",
        "dead",
        "pending",
        "missing",
        "duplicates",
        "balances",
        "epoch",
    ];
    let row = serde_json::json!({
        "published": ledger.published, "stored": ledger.stored, "dead": ledger.dead,
        "pending": ledger.pending, "missing": ledger.missing, "duplicates": ledger.duplicates,
        "balances": problem.is_none(), "epoch": ledger.epoch,
    });
    let mut text = Vec::new();
    let columns = columns.map(str::to_owned).into();
    let mut printer = Printer::new(Format::or_default(options.output), columns, &mut text)?;
    printer.row(&row.to_string())?;
    printer.finish()?;
    output::print(&String::from_utf8_lossy(&text))?;
    let Some((problem, fix)) = problem else {
        return Ok(ExitCode::SUCCESS);
    };
    eprintln!("aiai: {problem}; {fix}");
    Ok(ExitCode::from(UNHEALTHY))
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
}
