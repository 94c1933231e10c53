//! From a request to a stored message: read, check every item, publish, wait for the acknowledgement, answer.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{EXPECT, HeaderMap};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use schemars::JsonSchema;
use schemas::{CloudEvent, Decoded, Incoming, Kind, Time, decode, headers};
use serde::Serialize;

use crate::body::{self, Budget, Held};
use crate::problem::{self, BadItem, ERRORS_MAX, Problem};
use crate::request::{self, Asked, Encoding};
use crate::server::App;

/// Larger bodies, and packed ones, are looked at beside the threads that serve everybody.
const INLINE_BYTES_MAX: usize = 256 * 1024;

type Result<T> = std::result::Result<T, Box<Problem>>;

/// What was stored.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Accepted", description = "All items of the request are on disk.")]
pub(crate) struct Accepted {
    /// Items in the request.
    accepted: u64,
    /// The message that carries them: its sequence in the stream INGEST, column `origin` of the tables.
    origin: u64,
    /// True: a request with this `Idempotency-Key` was stored before, and this one was not stored again.
    duplicate: bool,
}

/// Answers one request.
pub(crate) async fn receive(app: App, kind: Kind, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    match store(&app, kind, &parts, &mut body).await {
        Ok(accepted) => (StatusCode::ACCEPTED, Json(accepted)).into_response(),
        Err(problem) => {
            let gave_up = problem.status == problem::TOO_SLOW.status.as_u16();
            if !gave_up && !body.is_end_stream() && !waits_for_leave(&parts.headers) {
                body::drain(&mut body).await;
            }
            problem.into_response()
        }
    }
}

/// Whether the sender sends the body only once it is told to.
fn waits_for_leave(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

async fn store(app: &App, kind: Kind, parts: &Parts, body: &mut Body) -> Result<Accepted> {
    let asked = request::asked(parts, kind, &app.config.tokens)?;
    if !app.context.is_connected() {
        let detail = "there is no connection to NATS, and nothing of this is stored: try again";
        return Err(Problem::new(problem::UNAVAILABLE, detail).retry_after("2"));
    }
    app.context.counters().received.fetch_add(1, Relaxed);
    let bytes_max = app.body_bytes_max();
    let packed = body::read(body, bytes_max, app.body_timeout(), &app.budget).await?;
    let _slot = app
        .slots
        .try_acquire()
        .map_err(|_| body::busy("gateway.requests_max requests are under way"))?;
    let heavy = asked.encoding != Encoding::None || packed.bytes.len() > INLINE_BYTES_MAX;
    let checked = if heavy {
        let budget = app.budget.clone();
        let checking = tokio::task::spawn_blocking(move || check(packed, asked, bytes_max, &budget));
        checking.await.unwrap_or_else(|_| {
            let detail = "checking it failed, a defect of aiai: please report it with the request";
            Err(Problem::new(problem::UNAVAILABLE, detail).retry_after("60"))
        })?
    } else {
        check(packed, asked, bytes_max, &app.budget)?
    };
    publish(app, checked).await
}

/// A body whose items are all good.
struct Checked {
    body: Held,
    asked: Asked,
    items: u64,
}

/// Unpacks the body and looks at every item as ingest will.
fn check(packed: Held, asked: Asked, bytes_max: usize, budget: &Budget) -> Result<Checked> {
    let body = body::unpacked(packed, asked.encoding, bytes_max, budget)?;
    let incoming = Incoming {
        subject: &asked.subject,
        content_type: asked.header(headers::CONTENT_TYPE),
        trace_parent: asked.header(headers::TRACE_PARENT),
        cloud_event: CloudEvent::from_headers(|name| asked.header(name)),
        payload: &body.bytes,
        origin: 0,
        stored: now(),
    };
    let items = count(&incoming)?;
    Ok(Checked { body, asked, items })
}

/// How many items there are, if all are good.
fn count(incoming: &Incoming<'_>) -> Result<u64> {
    let (mut items, mut bad) = (0, 0_u32);
    let mut errors = Vec::new();
    decode(incoming, |decoded| match decoded {
        Decoded::Item { .. } => items += 1,
        Decoded::Rejected { index, rejection, .. } => {
            bad += 1;
            if errors.len() < ERRORS_MAX {
                errors.push(BadItem::new(index, rejection));
            }
        }
    });
    if bad == 0 {
        return Ok(items);
    }
    let detail = match bad {
        1 => "one thing is wrong, see errors: correct it and send everything again".to_owned(),
        _ => format!("{bad} things are wrong, see errors: correct them and send everything again"),
    };
    let mut problem = Problem::new(problem::BAD_ITEMS, detail);
    problem.errors_omitted = bad - u32::try_from(errors.len()).unwrap_or(bad);
    problem.errors = errors;
    Err(problem)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

async fn publish(app: &App, checked: Checked) -> Result<Accepted> {
    let Checked { body, asked, items } = checked;
    let headers: Vec<(&str, &str)> = asked
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let published = app
        .context
        .publish_message(
            &asked.subject,
            &headers,
            body.bytes.clone(),
            asked.message_id.as_deref(),
        )
        .await;
    match published {
        Ok(stored) => {
            app.works();
            app.figures.accepted(body.bytes.len());
            if !stored.duplicate {
                let counters = app.context.counters();
                counters.published.fetch_add(1, Relaxed);
                counters.events.fetch_add(items, Relaxed);
            }
            Ok(Accepted {
                accepted: items,
                origin: stored.sequence,
                duplicate: stored.duplicate,
            })
        }
        Err(error) => {
            let text = bus::chain(&error);
            app.fails(&text);
            let (detail, seconds) = match error {
                bus::Error::NotStored { .. } => (format!("nothing of this is stored: {text}"), "5"),
                _ => (
                    format!(
                        "{text}; with the same {} it is stored once",
                        request::IDEMPOTENCY_KEY
                    ),
                    "2",
                ),
            };
            Err(Problem::new(problem::UNAVAILABLE, detail).retry_after(seconds))
        }
    }
}
