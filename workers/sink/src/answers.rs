//! `query.sql`, `query.overview` and `query.archive`, as NATS services.
//!
//! Blocking work has its own threads; a query has a connection to itself and at most
//! `concurrency` run at once. Answers stream in parts, so that none is held whole.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus::{Bytes, Context, Endpoint, Request, topology};
use schemas::Time;
use schemas::{archive, query};
use tokio::sync::mpsc;

use crate::config::QueryConfig;
use crate::trim::now_microseconds;
use crate::{Limits, Monitor, Part, QueryError, QueryErrorKind, Reader, StreamFigures, Truncation};

/// An overview is computed at most this often.
const OVERVIEW_AGE_MAX: Duration = Duration::from_millis(400);

/// Connections waiting for a query.
type Pool = Arc<Mutex<Vec<Reader>>>;

/// The endpoints of the service `query`.
pub(crate) fn endpoints(
    config: &QueryConfig,
    readers: Vec<Reader>,
    monitor: Arc<Monitor>,
    context: &Context,
) -> Vec<Endpoint> {
    let pool: Pool = Arc::new(Mutex::new(readers));
    let limits = config.clone();
    let sql = Endpoint {
        name: "sql",
        subject: query::SUBJECT,
        concurrency: config.concurrency.max(1),
        handler: Arc::new(move |request| {
            let (pool, limits) = (pool.clone(), limits.clone());
            Box::pin(async move { answer_sql(request, &pool, &limits).await })
        }),
    };
    let recent = Arc::new(tokio::sync::Mutex::new(None));
    let archive = archive_endpoint(monitor.clone());
    let context = context.clone();
    let overview = Endpoint {
        name: "overview",
        subject: query::OVERVIEW_SUBJECT,
        concurrency: 16,
        handler: Arc::new(move |request| {
            let (monitor, context, recent) = (monitor.clone(), context.clone(), recent.clone());
            Box::pin(async move { answer_overview(request, &monitor, &context, &recent).await })
        }),
    };
    vec![sql, overview, archive]
}

/// For worker archive: what became of a range of EVENTS.
fn archive_endpoint(monitor: Arc<Monitor>) -> Endpoint {
    Endpoint {
        name: "archive",
        subject: archive::COVERAGE_SUBJECT,
        concurrency: 4,
        handler: Arc::new(move |request| {
            let monitor = monitor.clone();
            Box::pin(async move {
                match coverage(request.payload().clone(), monitor).await {
                    Ok(body) => request.end(body).await,
                    Err(error) => request.fail(503, &format!("{error:#}")).await,
                }
            })
        }),
    }
}

async fn coverage(body: Bytes, monitor: Arc<Monitor>) -> anyhow::Result<Bytes> {
    let asked: archive::CoverageRequest = serde_json::from_slice(&body)?;
    tokio::task::spawn_blocking(move || {
        let coverage = monitor.coverage(&asked)?;
        Ok(Bytes::from(serde_json::to_vec(&coverage)?))
    })
    .await?
}

async fn answer_overview(
    request: Request,
    monitor: &Arc<Monitor>,
    context: &Context,
    recent: &tokio::sync::Mutex<Option<(Instant, Bytes)>>,
) {
    // Held over the computation: those who ask meanwhile get the same answer.
    let mut recent = recent.lock().await;
    if let Some((at, body)) = recent.as_ref().filter(|(at, _)| at.elapsed() < OVERVIEW_AGE_MAX) {
        let _ = at;
        return request.end(body.clone()).await;
    }
    match overview(monitor, context).await {
        Ok(body) => {
            *recent = Some((Instant::now(), body.clone()));
            request.end(body).await;
        }
        Err(error) => request.fail(503, &format!("{error:#}")).await,
    }
}

async fn overview(monitor: &Arc<Monitor>, context: &Context) -> anyhow::Result<Bytes> {
    let figures = figures(context).await?;
    let monitor = monitor.clone();
    tokio::task::spawn_blocking(move || {
        let overview = monitor.overview(&figures, Time(now_microseconds()))?;
        Ok(Bytes::from(serde_json::to_vec(&overview)?))
    })
    .await?
}

/// What NATS says, in the order that keeps the ledger honest: the acknowledgements first.
pub(crate) async fn figures(context: &Context) -> bus::Result<StreamFigures> {
    let acknowledged = context.durable_state(topology::INGEST, "ingest").await?;
    let ingest = context.stream_state(topology::INGEST).await?;
    let events = context.stream_state(topology::EVENTS).await?;
    let dead = context.stream_state(topology::DEAD).await?;
    Ok(StreamFigures {
        epoch: ingest.epoch,
        last_sequence: ingest.last_sequence,
        ingest_ack_floor: acknowledged.ack_floor,
        events_epoch: events.epoch,
        events_last_sequence: events.last_sequence,
        dead_epoch: dead.epoch,
        dead_last_sequence: dead.last_sequence,
    })
}

/// What a running query hands over.
enum Piece {
    Part(Bytes),
    End(Bytes),
    Failed(QueryError),
}

async fn answer_sql(mut request: Request, pool: &Pool, config: &QueryConfig) {
    let asked = match query::Request::read(request.payload()) {
        Ok(asked) => asked,
        Err(problem) => return request.fail(400, &problem).await,
    };
    let limits = Limits {
        rows_max: asked.rows_max.unwrap_or(10_000).min(config.rows_max),
        bytes_max: config.megabytes_max * 1024 * 1024,
        time_seconds: asked
            .timeout_seconds
            .unwrap_or(30)
            .min(config.timeout_seconds)
            .into(),
    };
    let Some(reader) = pool.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
        return request
            .fail(429, "all query connections are busy; ask again in a moment")
            .await;
    };
    let (pieces, mut arrived) = mpsc::channel(4);
    let cancel = Arc::new(AtomicBool::new(false));
    let back = pool.clone();
    let stop = cancel.clone();
    let part_bytes_max = request.part_bytes_max();
    let running = tokio::task::spawn_blocking(move || {
        run(&reader, &asked.sql, &limits, &stop, part_bytes_max, &pieces);
        back.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    });
    while let Some(piece) = arrived.recv().await {
        match piece {
            Piece::Part(body) => request.part(body).await,
            // The connection is back in the pool before whoever asked can ask again.
            Piece::End(body) => {
                let _ = running.await;
                return request.end(body).await;
            }
            Piece::Failed(error) => {
                let _ = running.await;
                return request.fail(code(error.kind), &error.message).await;
            }
        }
    }
    cancel.store(true, Ordering::Relaxed);
    request
        .fail(500, "the query ended abnormally; see the sink's log")
        .await;
}

/// Runs on its own thread. Rows wait in `pending` so that a small answer is one message.
fn run(
    reader: &Reader,
    sql: &str,
    limits: &Limits,
    cancel: &Arc<AtomicBool>,
    part_bytes_max: usize,
    pieces: &mpsc::Sender<Piece>,
) {
    let mut pending: Vec<u8> = Vec::new();
    let mut too_large = None;
    let result = reader.run_sql(sql, limits, cancel, |part| {
        match part {
            Part::Columns(columns) => {
                let columns: Vec<_> = columns
                    .into_iter()
                    .map(|column| query::Column {
                        name: column.name,
                        column_type: column.duckdb_type,
                    })
                    .collect();
                pending.extend_from_slice(query::columns_line(&columns).as_bytes());
                pending.push(b'\n');
            }
            Part::Rows { ndjson, .. } => {
                if ndjson.len() > part_bytes_max {
                    too_large = Some(ndjson.len());
                    return ControlFlow::Break(());
                }
                if !pending.is_empty() && pending.len() + ndjson.len() > 128 * 1024 {
                    let full = Bytes::from(std::mem::take(&mut pending));
                    if pieces.blocking_send(Piece::Part(full)).is_err() {
                        return ControlFlow::Break(());
                    }
                }
                pending.extend_from_slice(&ndjson);
            }
        }
        ControlFlow::Continue(())
    });
    let last = match result {
        Ok(_) if too_large.is_some() => Piece::Failed(QueryError {
            kind: QueryErrorKind::Memory,
            message: format!(
                "a row takes {} bytes and one message holds {part_bytes_max}; select less of it, for example with left(column, 1000)",
                too_large.unwrap_or_default()
            ),
        }),
        Ok(summary) => {
            let truncated = match summary.truncated {
                Some(Truncation::Rows) => Some(query::Cut::Rows),
                Some(Truncation::Bytes) => Some(query::Cut::Bytes),
                Some(Truncation::Receiver) | None => None,
            };
            let end = query::end_line(query::End {
                rows: summary.rows,
                truncated,
            });
            pending.extend_from_slice(end.as_bytes());
            pending.push(b'\n');
            Piece::End(Bytes::from(pending))
        }
        Err(error) => Piece::Failed(error),
    };
    // The receiver is gone when the process is to end.
    let _ = pieces.blocking_send(last);
}

/// As in HTTP.
const fn code(kind: QueryErrorKind) -> usize {
    match kind {
        QueryErrorKind::Syntax | QueryErrorKind::Invalid => 400,
        QueryErrorKind::Refused => 403,
        QueryErrorKind::Timeout => 408,
        QueryErrorKind::Memory => 413,
        QueryErrorKind::Cancelled => 499,
        QueryErrorKind::Failed => 500,
    }
}
