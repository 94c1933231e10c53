//! `aiai prices rerate`: batch after batch, until the sink has no more.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use bus::Bytes;
use jiff::Timestamp;
use schemas::Time;
use schemas::price::PriceTable;
use schemas::rerate::{Answer, Change, Request, SUBJECT};
use serde::Serialize;
use serde_json::value::RawValue;

use super::print;
use crate::cli::prices::PricesRerate;
use crate::command::connect;
use crate::config::Config;
use crate::failure::Usage;
use crate::tables;

/// A batch takes a second or two; the sink may be in the middle of something else.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What a request holds besides the table, and what NATS wants for itself.
const TABLE_BYTES_MAX: usize = 900 * 1024;

#[derive(Serialize)]
struct Row {
    model: String,
    provider: Option<String>,
    calls: u64,
    changed: u64,
    priced: u64,
    without_price: u64,
    before_usd: Box<RawValue>,
    after_usd: Box<RawValue>,
    difference_usd: Box<RawValue>,
}

const COLUMNS: [&str; 9] = [
    "model",
    "provider",
    "calls",
    "changed",
    "priced",
    "without_price",
    "before_usd",
    "after_usd",
    "difference_usd",
];

/// The sums of one model, of all batches.
#[derive(Default)]
struct Sum {
    change: Change,
    before_nanos: i128,
    after_nanos: i128,
}

/// Asks, and prints what changed.
#[allow(clippy::print_stderr)]
pub(super) async fn rerate(config: &Config, options: &PricesRerate) -> anyhow::Result<ExitCode> {
    let (file, table) = tables::prices_text(config, options.file.as_deref())?;
    let source = PriceTable::parse(&file, &table)?.source().to_owned();
    if table.len() > TABLE_BYTES_MAX {
        let text = format!(
            "{file} has {} bytes, more than {TABLE_BYTES_MAX}; leave out models that you do not use",
            table.len()
        );
        return Err(Usage(text).into());
    }
    let now = Timestamp::now().as_second();
    let from = options.from.seconds(now);
    let until = options.to.map_or(now + 1, |to| to.seconds(now));
    if from >= until {
        return Err(Usage("--from is not before --to; nothing lies between".into()).into());
    }
    let mut request = Request {
        file,
        table,
        from: Time(from.saturating_mul(1_000_000)),
        until: Time(until.saturating_mul(1_000_000)),
        model: options.model.clone(),
        dry_run: options.dry_run,
        after: None,
        rows_max: None,
    };
    let context = connect(config).await?;
    let mut sums: BTreeMap<(String, Option<String>), Sum> = BTreeMap::new();
    loop {
        let body = Bytes::from(serde_json::to_vec(&request)?);
        let answer = context.request(SUBJECT, "sink", body, TIMEOUT).await;
        let answer = answer.map_err(|error| cut_short(error, &request))?;
        let answer: Answer = serde_json::from_slice(&answer)?;
        for change in answer.models {
            let key = (change.model.clone(), change.provider.clone());
            add(sums.entry(key).or_default(), &change);
        }
        let Some(next) = answer.next else { break };
        request.after = Some(next);
    }
    report(options, &source, sums)
}

/// Says what was changed where an answer is missing: the sink may have stored that batch all the same.
fn cut_short(error: bus::Error, request: &Request) -> anyhow::Error {
    let has_begun = request.after.is_some() || matches!(error, bus::Error::RequestTimeout { .. });
    let error = anyhow::Error::from(error);
    match (has_begun, request.dry_run) {
        (true, false) => error.context("a part may be done already; run it again, it ends the same"),
        _ => error,
    }
}

fn add(sum: &mut Sum, change: &Change) {
    sum.change.calls += change.calls;
    sum.change.changed += change.changed;
    sum.change.priced += change.priced;
    sum.change.without_price += change.without_price;
    sum.before_nanos += i128::from(change.before_usd.0);
    sum.after_nanos += i128::from(change.after_usd.0);
}

#[allow(clippy::print_stderr)]
fn report(
    options: &PricesRerate,
    source: &str,
    sums: BTreeMap<(String, Option<String>), Sum>,
) -> anyhow::Result<ExitCode> {
    let (mut changed, mut difference) = (0, 0);
    let mut rows = Vec::new();
    for ((model, provider), sum) in sums {
        changed += sum.change.changed;
        difference += sum.after_nanos - sum.before_nanos;
        rows.push(Row {
            model,
            provider,
            calls: sum.change.calls,
            changed: sum.change.changed,
            priced: sum.change.priced,
            without_price: sum.change.without_price,
            before_usd: dollars(sum.before_nanos)?,
            after_usd: dollars(sum.after_nanos)?,
            difference_usd: dollars(sum.after_nanos - sum.before_nanos)?,
        });
    }
    if rows.is_empty() {
        eprintln!("aiai: no call with a computed cost in this time; --from and --to ask for another");
        return Ok(ExitCode::SUCCESS);
    }
    print(options.output, &COLUMNS, &rows)?;
    let difference = dollars(difference)?;
    let verb = if options.dry_run { "would cost" } else { "cost" };
    eprintln!("aiai: {changed} calls {verb} another amount by {source}: {difference} USD in all");
    Ok(ExitCode::SUCCESS)
}

/// Nano-dollars as a JSON number, exactly.
fn dollars(nanos: i128) -> anyhow::Result<Box<RawValue>> {
    let digits = format!("{:010}", nanos.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - 9);
    let sign = if nanos < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{fraction}");
    Ok(RawValue::from_string(
        text.trim_end_matches('0').trim_end_matches('.').to_owned(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_every_digit() {
        for (nanos, text) in [
            (0, "0"),
            (-1, "-0.000000001"),
            (10_500_000_000, "10.5"),
            (i128::from(u64::MAX) * 1_000_000_000, "18446744073709551615"),
        ] {
            assert_eq!(dollars(nanos).expect("a number").get(), text);
        }
    }
}
