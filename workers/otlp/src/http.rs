//! OTLP/HTTP: `/v1/traces`, `/v1/metrics`, `/v1/logs`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use bus::Tokens;

use crate::receive::{Encoding, Receiver, Signal, answer};
use crate::refusal::{RETRY_SECONDS, Refusal};
use crate::status;
use crate::{auth, body};

/// What both protocols share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) receiver: Receiver,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) body_bytes_max: usize,
}

/// The routes.
pub(crate) fn routes(app: App) -> Router {
    let export = |signal| {
        post(
            move |State(app): State<App>, request: Request| async move { export(signal, &app, request).await },
        )
    };
    Router::new()
        .route("/v1/traces", export(Signal::Traces))
        .route("/v1/metrics", export(Signal::Metrics))
        .route("/v1/logs", export(Signal::Logs))
        .with_state(app)
}

async fn export(signal: Signal, app: &App, request: Request) -> Response {
    app.receiver.figures.requests.fetch_add(1, Relaxed);
    let (head, body) = request.into_parts();
    // Who sends neither is answered in what people can read.
    let encoding = encoding(&head.headers);
    let spoken = *encoding.as_ref().unwrap_or(&Encoding::Json);
    let taken = match encoding {
        Ok(encoding) => take(signal, encoding, app, &head.headers, body).await,
        Err(refusal) => Err(refusal),
    };
    match taken {
        Ok(body) => ([(CONTENT_TYPE, media_type(spoken))], body).into_response(),
        Err(refusal) => {
            app.receiver.figures.refused.fetch_add(1, Relaxed);
            refused(&refusal, spoken)
        }
    }
}

async fn take(
    signal: Signal,
    encoding: Encoding,
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<u8>, Refusal> {
    let tenant = auth::tenant(&app.tokens, headers)?;
    let compressed = is_gzip(headers)?;
    let length = headers.get(axum::http::header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > app.body_bytes_max) {
        return Err(body::too_large(app.body_bytes_max));
    }
    let mut share = app.receiver.memory.share();
    let mut bytes = body::read(body, app.body_bytes_max, &mut share).await?;
    if compressed {
        bytes = body::gunzip(&bytes, app.body_bytes_max, &mut share)?;
    }
    let taken = app.receiver.take(signal, encoding, bytes, share, &tenant).await?;
    Ok(answer(signal, encoding, &taken))
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-protobuf") {
        Ok(Encoding::Protobuf)
    } else if media_type.eq_ignore_ascii_case("application/json") {
        Ok(Encoding::Json)
    } else {
        let text = format!("Content-Type is `{media_type}`: send application/x-protobuf or application/json");
        Err(Refusal::Unsupported(text))
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    let given = headers
        .get(CONTENT_ENCODING)
        .map_or("identity", |value| value.to_str().unwrap_or("?"));
    match given.trim().to_ascii_lowercase().as_str() {
        "identity" | "" => Ok(false),
        "gzip" => Ok(true),
        other => Err(Refusal::Unsupported(format!(
            "Content-Encoding is `{other}`: send gzip, or nothing compressed"
        ))),
    }
}

fn media_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    }
}

/// A refusal as OTLP wants it: a status message in the encoding of the request.
fn refused(refusal: &Refusal, encoding: Encoding) -> Response {
    let message = refusal.to_string();
    let body = match encoding {
        Encoding::Protobuf => status::encoded(refusal),
        Encoding::Json => serde_json::json!({ "code": refusal.code() as i32, "message": message })
            .to_string()
            .into(),
    };
    let mut response = (refusal.status(), [(CONTENT_TYPE, media_type(encoding))], body).into_response();
    let mut add = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
    if refusal.is_retryable() {
        add(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    }
    if matches!(refusal, Refusal::Unauthorized) {
        add(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
