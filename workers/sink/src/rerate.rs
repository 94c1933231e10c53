//! Computed costs computed again, a bounded batch at a time: `prices.rerate`.
//!
//! Costs that came with their events stay, and so do computed ones whose model has no price in the table given: a price is
//! never taken away. What does not change is not written, so asking again changes nothing more.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bus::{Bytes, Endpoint};
use duckdb::Connection;
use schemas::price::{PriceTable, SOURCE_PREFIX, UNPRICED};
use schemas::rerate::{Answer, Change, Place, ROWS_MAX, Request, SUBJECT};
use schemas::rollup::Measured;
use schemas::{Kind, Money, Time, Usage};

use crate::corrections::{self, Correction};
use crate::keeping::{SharedKeeper, lock};
use crate::reread::rest;
use crate::schema::quote;

/// Answers one request after the other.
pub(crate) fn endpoint(keeper: SharedKeeper) -> Endpoint {
    Endpoint {
        name: "rerate",
        subject: SUBJECT,
        concurrency: 1,
        handler: Arc::new(move |request| {
            let keeper = keeper.clone();
            Box::pin(async move {
                match answer(request.payload().clone(), keeper).await {
                    Ok(body) => request.end(body).await,
                    Err((code, text)) => request.fail(code, &text).await,
                }
            })
        }),
    }
}

async fn answer(body: Bytes, keeper: SharedKeeper) -> Result<Bytes, (usize, String)> {
    let running = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, (usize, String)> {
        let request = Request::read(&body).map_err(|problem| (400_usize, problem))?;
        let table = PriceTable::parse(&request.file, &request.table)
            .map_err(|problems| (400_usize, problems.to_string()))?;
        let answer = lock(&keeper).rerate(&request, &table);
        let answer = answer.map_err(|error| (503_usize, format!("{error:#}; run it again, it goes on")))?;
        serde_json::to_vec(&answer).map_err(|error| (500_usize, error.to_string()))
    });
    let ended = running.await.map_err(|error| (500_usize, error.to_string()))?;
    ended.map(Bytes::from)
}

/// A call with a computed cost, or none.
struct Row {
    place: Place,
    ingest_epoch: String,
    /// The call as a canonical event.
    line: String,
}

/// Looks at one batch, and corrects it unless it is only to be looked at.
pub(crate) fn batch(
    connection: &Connection,
    archive: &Path,
    request: &Request,
    table: &PriceTable,
    series_max: usize,
) -> anyhow::Result<Answer> {
    let rows_max = request.rows_max.unwrap_or(ROWS_MAX).min(ROWS_MAX);
    let rows = read(connection, request, rows_max)?;
    let is_full = rows.len() == rows_max as usize;
    let next = rows.last().filter(|_| is_full).map(|row| row.place);
    let mut models: BTreeMap<(String, Option<String>), Change> = BTreeMap::new();
    let mut changed = Vec::new();
    for row in &rows {
        let usage: Usage<'_> = serde_json::from_str(&row.line)?;
        let key = (
            usage.model.to_string(),
            usage.provider.as_deref().map(str::to_owned),
        );
        let change = models.entry(key).or_default();
        changed.extend(compare(row, &usage, table, change));
    }
    if !request.dry_run && !changed.is_empty() {
        let file = corrections::write(archive, &changed)?;
        corrections::apply(connection, &file, &changed, series_max)?;
    }
    let models = models.into_iter().map(|((model, provider), change)| Change {
        model,
        provider,
        ..change
    });
    Ok(Answer {
        models: models.collect(),
        next,
    })
}

/// Counts a call, and gives its correction if it costs something else now.
fn compare(row: &Row, usage: &Usage<'_>, table: &PriceTable, change: &mut Change) -> Option<Correction> {
    let before = usage.cost_usd;
    let now = table.cost(usage);
    let after = now.or(before);
    let add =
        |sum: &mut Money, cost: Option<Money>| sum.0 = sum.0.saturating_add(cost.map_or(0, |cost| cost.0));
    change.calls += 1;
    change.without_price += u64::from(now.is_none());
    add(&mut change.before_usd, before);
    add(&mut change.after_usd, after);
    let cost_usd = now.filter(|now| before != Some(*now))?;
    change.changed += 1;
    change.priced += u64::from(before.is_none());
    Some(Correction {
        ingest_epoch: row.ingest_epoch.clone(),
        origin: row.place.origin,
        idx: row.place.idx,
        ts: row.place.ts,
        tenant: usage.tenant().to_owned(),
        source: usage.source().to_owned(),
        tags: usage.series().tags,
        before_usd: before,
        cost_usd,
        cost_source: table.source().to_owned(),
    })
}

/// The calls of a batch, in the order of [`Place`], from the table and the archive's files.
fn read(connection: &Connection, request: &Request, rows_max: u32) -> anyhow::Result<Vec<Row>> {
    let time = |time: Time| format!("make_timestamp({}::BIGINT)", time.0);
    let mut filter = format!(
        "ts < {} AND (cost_source = '{UNPRICED}' OR starts_with(cost_source, '{SOURCE_PREFIX}'))",
        time(request.until)
    );
    filter += &match request.after {
        None => format!(" AND ts >= {}", time(request.from)),
        Some(Place {
            ts,
            epoch,
            origin,
            idx,
        }) => {
            let ts = time(ts);
            format!(
                " AND ts >= {ts} AND (ts > {ts} OR u.epoch > {epoch} OR (u.epoch = {epoch}
                    AND (origin > {origin} OR (origin = {origin} AND idx > {idx}))))"
            )
        }
    };
    if let Some(model) = &request.model {
        filter += &format!(" AND model = {}", quote(model));
    }
    let sql = format!(
        "SELECT epoch_us(ts), u.epoch, origin, idx, i.epoch, {} FROM usage_all AS u
         JOIN epochs AS i ON i.stream = 'INGEST' AND i.id = u.epoch
         WHERE {filter} ORDER BY ts, u.epoch, origin, idx LIMIT {rows_max}",
        rest(Kind::Usage)
    );
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let place = Place {
            ts: Time(row.get(0)?),
            epoch: row.get(1)?,
            origin: row.get(2)?,
            idx: row.get(3)?,
        };
        let rest: String = row.get(5)?;
        rows.push(Row {
            place,
            ingest_epoch: row.get(4)?,
            line: format!("{{\"timestamp\":\"{}\",{rest}}}", place.ts),
        });
    }
    Ok(rows)
}
