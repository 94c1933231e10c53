//! `aiai prices …`: the price table, what it says about a call, and what it does not know.

mod check;
mod explain;
mod import;
mod rerate;

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::prices::PricesCommand;
use crate::config::Config;
use crate::output::{Format, Printer};

/// What to do about a model that the table has more than one price for.
const NEEDS_PROVIDER: &str = "several providers list it at different prices: send `provider`";

/// Runs one of them.
pub async fn run(config: &Config, command: &PricesCommand) -> anyhow::Result<ExitCode> {
    match command {
        PricesCommand::List(options) => explain::list(config, options),
        PricesCommand::Show(options) => explain::show(config, options),
        PricesCommand::Import(options) => import::import(options),
        PricesCommand::Check(options) => check::check(config, options).await,
        PricesCommand::Rerate(options) => rerate::rerate(config, options).await,
    }
}

/// Prints rows whose fields are these columns.
fn print<R: Serialize>(format: Option<Format>, columns: &[&str], rows: &[R]) -> anyhow::Result<()> {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    let mut out = Vec::new();
    let mut printer = Printer::new(Format::or_default(format), columns, &mut out)?;
    for row in rows {
        printer.row(&serde_json::to_string(row)?)?;
    }
    printer.finish()?;
    crate::output::print(&String::from_utf8(out)?)
}
