//! `aiai prices check`: what is wrong with a table, and what the data has that it does not.

use std::process::ExitCode;

use jiff::Timestamp;
use schemas::Problems;
use schemas::price::{Call, PriceTable, Tokens, UNPRICED};
use serde::{Deserialize, Serialize};

use super::print;
use crate::cli::prices::PricesCheck;
use crate::command::{connect, sql};
use crate::config::Config;
use crate::failure::UNHEALTHY;
use crate::tables;

/// More models than anybody adds by hand.
const MODELS_MAX: u32 = 1_000;

/// Calls without a price, as the sink counts them.
#[derive(Debug, Deserialize)]
struct Unpriced {
    model: String,
    provider: Option<String>,
    service_tier: Option<String>,
    has_tokens: bool,
    calls: u64,
    tokens_in: u64,
    tokens_out: u64,
    last: String,
}

#[derive(Debug, Serialize)]
struct Row {
    model: String,
    provider: Option<String>,
    service_tier: Option<String>,
    calls: u64,
    tokens_in: u64,
    tokens_out: u64,
    last: String,
    nearest: Option<String>,
    fix: String,
}

const COLUMNS: [&str; 9] = [
    "model",
    "provider",
    "service_tier",
    "calls",
    "tokens_in",
    "tokens_out",
    "last",
    "nearest",
    "fix",
];

/// Checks the file, then the data.
#[allow(clippy::print_stderr)]
pub(super) async fn check(config: &Config, options: &PricesCheck) -> anyhow::Result<ExitCode> {
    let (name, text) = tables::prices_text(config, options.file.as_deref())?;
    let table = match PriceTable::parse(&name, &text) {
        Ok(table) => table,
        Err(Problems(problems)) => {
            problems.iter().for_each(|problem| eprintln!("aiai: {problem}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    eprintln!(
        "aiai: {name} is sound: {} models, {}",
        table.len(),
        table.source()
    );
    if options.offline {
        return Ok(ExitCode::SUCCESS);
    }
    let since = options.since.seconds(Timestamp::now().as_second());
    let context = connect(config).await?;
    let unpriced: Vec<Unpriced> = sql::rows(&context, &select(since)).await?;
    if unpriced.is_empty() {
        eprintln!("aiai: every call in this time has a price");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Row> = unpriced
        .into_iter()
        .map(|unpriced| row(&table, unpriced))
        .collect();
    print(options.output, &COLUMNS, &rows)?;
    Ok(ExitCode::from(UNHEALTHY))
}

fn select(since: i64) -> String {
    format!(
        "SELECT model, provider, service_tier, (tokens_in IS NOT NULL OR tokens_out IS NOT NULL) AS has_tokens, \
            count(*) AS calls, coalesce(sum(tokens_in), 0)::UBIGINT AS tokens_in, \
            coalesce(sum(tokens_out), 0)::UBIGINT AS tokens_out, max(ts)::VARCHAR AS last \
         FROM usage WHERE cost_source = '{UNPRICED}' AND ts >= make_timestamp({}) \
         GROUP BY ALL ORDER BY calls DESC, model LIMIT {MODELS_MAX}",
        i128::from(since) * 1_000_000
    )
}

fn row(table: &PriceTable, unpriced: Unpriced) -> Row {
    let listed = table.find(unpriced.provider.as_deref(), &unpriced.model);
    let needs_provider = table.needs_provider(unpriced.provider.as_deref(), &unpriced.model);
    let nearest = match listed {
        None if needs_provider => None,
        Some(listed) => Some(listed.name.as_str()),
        None => table.nearest(&unpriced.model),
    };
    let call = Call {
        service_tier: unpriced.service_tier.as_deref(),
        ..Call::now(Tokens::default())
    };
    let has_tier = listed.is_some_and(|listed| listed.price.quote(&call).is_some());
    let fix = match (listed, nearest) {
        (Some(_), _) if !unpriced.has_tokens => {
            "the events have no token counts: send tokens_in, tokens_out or usage".to_owned()
        }
        (Some(_), _) if !has_tier => "list this service_tier with the model".to_owned(),
        (Some(_), _) => "this table has a price: run aiai prices rerate".to_owned(),
        (None, _) if needs_provider => super::NEEDS_PROVIDER.to_owned(),
        (None, Some(name)) => format!("add it to the table, or as an alias of {name} if it costs the same"),
        (None, None) => "add it to the table".to_owned(),
    };
    Row {
        nearest: nearest.map(str::to_owned),
        fix,
        model: unpriced.model,
        provider: unpriced.provider,
        service_tier: unpriced.service_tier,
        calls: unpriced.calls,
        tokens_in: unpriced.tokens_in,
        tokens_out: unpriced.tokens_out,
        last: unpriced.last,
    }
}
