//! `aiai prices …`: arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::command::period::Moment;
use crate::output::Format;

/// `aiai prices …`
#[derive(Debug, Subcommand)]
pub enum PricesCommand {
    /// List the models of the price table in force
    #[command(before_help = "Examples:
  aiai prices list
  aiai prices list sonnet                            names with these letters
  aiai prices list --provider bedrock -o csv")]
    List(PricesList),
    /// Explain what a call costs, step by step
    #[command(before_help = "Examples:
  aiai prices show claude-sonnet-4-5 --tokens-in 21050 --cache-read 18000 --tokens-out 400
  aiai prices show us.anthropic.claude-sonnet-4-5-20250929-v1:0 --provider bedrock
  aiai prices show o3 --at 2025-06-01 --service-tier flex")]
    Show(PricesShow),
    /// Make a price table of the file that genai-prices or LiteLLM publishes
    ///
    /// genai-prices: its prices as JSON (data.json). LiteLLM: model_prices_and_context_window.json. What our table has no place
    /// for is left out and named with its line; no figure goes through a float.
    #[command(before_help = "Examples:
  aiai prices import data.json --out my-prices.toml
  aiai prices import model_prices_and_context_window.json --format litellm > my-prices.toml
  aiai up --set prices.file=my-prices.toml")]
    Import(PricesImport),
    /// What is wrong with a price table, and which models in the data have no price. Ends with 3 if there are any
    #[command(before_help = "Examples:
  aiai prices check
  aiai prices check my-prices.toml --offline         only the file
  aiai prices check --since 7d -o json")]
    Check(PricesCheck),
    /// Compute computed costs again, after a price was put right; first with --dry-run
    ///
    /// Costs that came with their events stay, and so does a computed cost whose model has no price in the table. Prints what
    /// changes, by model. Whatever cuts it short, run it again: it ends the same.
    #[command(before_help = "Examples:
  aiai prices rerate --from 2026-11-01 --to 2026-11-20 --dry-run
  aiai prices rerate --from 7d --model claude-sonnet-4-5
  aiai prices rerate --from 2026-11-01 --file my-prices.toml -o csv")]
    Rerate(PricesRerate),
}

/// `aiai prices list`
#[derive(Debug, Args)]
pub struct PricesList {
    /// Only names and aliases with these letters
    #[arg(value_name = "LETTERS")]
    pub letters: Option<String>,
    /// Only of this provider
    #[arg(long)]
    pub provider: Option<String>,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

/// `aiai prices show`
#[derive(Debug, Args)]
pub struct PricesShow {
    /// The model, in any spelling that providers report
    pub model: String,
    /// Who runs it
    #[arg(long)]
    pub provider: Option<String>,
    /// Tokens sent, cache reads and writes included
    #[arg(long, default_value_t = 1000)]
    pub tokens_in: u64,
    /// Tokens received, reasoning included
    #[arg(long, default_value_t = 1000)]
    pub tokens_out: u64,
    /// The part of --tokens-in read from a cache
    #[arg(long, default_value_t = 0)]
    pub cache_read: u64,
    /// The part of --tokens-in written to a cache
    #[arg(long, default_value_t = 0)]
    pub cache_write: u64,
    /// The part of --cache-write that is kept for an hour
    #[arg(long, default_value_t = 0)]
    pub cache_write_1h: u64,
    /// The part of --tokens-out spent on reasoning
    #[arg(long, default_value_t = 0)]
    pub reasoning: u64,
    /// The tier of service, such as batch
    #[arg(long, value_name = "NAME")]
    pub service_tier: Option<String>,
    /// When the call was made: 30m, 24h, 7d ago, a date, or RFC 3339 [default: now]
    #[arg(long, value_name = "WHEN")]
    pub at: Option<Moment>,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PriceFormat {
    /// The JSON of genai-prices.
    GenaiPrices,
    /// LiteLLM's JSON.
    Litellm,
}

/// `aiai prices import`
#[derive(Debug, Args)]
pub struct PricesImport {
    /// The file
    pub file: PathBuf,
    /// Whose file it is [default: by what it begins with]
    #[arg(long, value_enum)]
    pub format: Option<PriceFormat>,
    /// Where to write the table [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The table's version, shown with each cost [default: today's date]
    #[arg(long, value_name = "VERSION")]
    pub table_version: Option<String>,
    /// Name everything that is left out, not only some of each kind
    #[arg(long)]
    pub all: bool,
}

/// `aiai prices check`
#[derive(Debug, Args)]
pub struct PricesCheck {
    /// The table [default: the one in force]
    pub file: Option<PathBuf>,
    /// Look at the file only, not at the data
    #[arg(long)]
    pub offline: bool,
    /// Calls since: 30m, 24h, 7d ago, a date, or RFC 3339
    #[arg(long, default_value = "30d", value_name = "WHEN")]
    pub since: Moment,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

/// `aiai prices rerate`
#[derive(Debug, Args)]
pub struct PricesRerate {
    /// Calls made since: 30m, 24h, 7d ago, a date, or RFC 3339
    #[arg(long, value_name = "WHEN")]
    pub from: Moment,
    /// Calls made before [default: now]
    #[arg(long, value_name = "WHEN")]
    pub to: Option<Moment>,
    /// Only of this model, as events name it
    #[arg(long)]
    pub model: Option<String>,
    /// The price table [default: the one in force]
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Say what would change; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}
