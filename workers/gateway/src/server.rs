//! Binding, routes, and what all requests share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bus::{Bytes, Context, http, topology};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::body::Budget;
use crate::figures::Figures;
use crate::problem::{self, Problem};
use crate::receive::receive;
use crate::{Config, openapi, ready, request};

/// What is under way at the order to stop gets so long; the process waits a little longer.
const GRACE: Duration = Duration::from_secs(3);
/// Nobody takes so long to take an answer of a few kilobytes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) context: Context,
    pub(crate) config: Arc<Config>,
    /// Free places for requests whose body is there.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) budget: Budget,
    pub(crate) figures: Arc<Figures>,
    ready: ready::Watch,
    fails: Arc<AtomicBool>,
    document: Bytes,
    listen: SocketAddr,
}

impl App {
    fn new(config: Config, context: Context, listen: SocketAddr) -> anyhow::Result<Self> {
        let document = serde_json::to_vec(&openapi::document(&config)).context("the OpenAPI document")?;
        Ok(Self {
            context,
            slots: Arc::new(Semaphore::new(config.requests_max)),
            budget: Budget::new(config.bodies_max_megabytes as usize * 1024 * 1024),
            config: Arc::new(config),
            figures: Arc::default(),
            ready: ready::Watch::default(),
            fails: Arc::default(),
            document: document.into(),
            listen,
        })
    }

    /// The largest body that is one message, with its headers, and still one when it is a dead letter.
    pub(crate) fn body_bytes_max(&self) -> usize {
        let room = self.context.max_payload_bytes().saturating_sub(topology::HEADROOM_BYTES);
        room.min(topology::MESSAGE_BYTES_MAX)
            .saturating_sub(request::FORWARDED_BYTES_MAX)
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.config.body_timeout_seconds.into())
    }

    /// Publishing failed.
    pub(crate) fn fails(&self, why: &str) {
        if !self.fails.swap(true, Relaxed) {
            tracing::warn!(worker = self.context.worker(), error = why, "cannot publish");
        }
        self.context.set_trouble(Some(format!("cannot publish: {why}")));
    }

    /// Publishing succeeded.
    pub(crate) fn works(&self) {
        if self.fails.load(Relaxed) && self.fails.swap(false, Relaxed) {
            self.context.set_trouble(None);
            tracing::info!(worker = self.context.worker(), "publishing again");
        }
    }
}

/// Checks the configuration and takes its address.
///
/// # Errors
/// A key out of bounds, an address that other machines can reach, a port that is taken: each with its fix.
pub async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    config.validate()?;
    let listen = config.listen;
    TcpListener::bind(listen).await.with_context(|| {
        format!(
            "cannot listen on {listen} for the gateway: stop what uses it, or choose another address \
             with the config key gateway.listen or AIAI__GATEWAY__LISTEN=127.0.0.1:<port>"
        )
    })
}

/// Takes in what agents publish until the process is to end.
///
/// # Errors
/// When the configuration cannot work or the listener is not usable.
pub async fn run(config: Config, listener: TcpListener, context: Context) -> anyhow::Result<()> {
    config.validate()?;
    let listen = listener
        .local_addr()
        .context("cannot read the address of the gateway's listener")?;
    let limits = http::Limits {
        connections_max: config.connections_max,
        idle_timeout: Duration::from_secs(config.idle_timeout_seconds.into()),
        write_timeout: WRITE_TIMEOUT,
        grace: GRACE,
    };
    let app = App::new(config, context.clone(), listen)?;
    tracing::info!(url = format!("http://{listen}/"), "the gateway is up");
    http::serve(listener, router(app), limits, context.shutdown().clone()).await;
    context.flush().await;
    Ok(())
}

fn router(app: App) -> Router {
    let mut router = Router::new()
        .route("/health", get(health))
        .route("/ready", get(readiness))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(document));
    for door in openapi::DOORS {
        let kind = door.kind;
        let handler = move |State(app): State<App>, request: Request| receive(app, kind, request);
        router = router.route(door.path, post(handler));
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// Refuses foreign hosts, counts answers.
///
/// A web page elsewhere can make its own name resolve to 127.0.0.1 (DNS rebinding) and would then be same-origin with us.
/// Its requests carry its name as the host. Whoever has to bring a token cannot be used that way.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let open = !app.listen.ip().is_loopback() || !app.config.tokens.is_empty();
    let mut response = if open || is_ours(&request) {
        next.run(request).await
    } else {
        let detail = format!("this port answers to localhost and {} only: use one of them", app.listen);
        Problem::new(problem::WRONG_HOST, detail).into_response()
    };
    app.figures.answered(response.status());
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The host is in the target or in the header `Host`. Any port: a tunnel may use another one.
fn is_ours(request: &Request) -> bool {
    let header = || request.headers().get(header::HOST)?.to_str().ok()?.parse().ok();
    let authority: Option<Authority> = request.uri().authority().cloned().or_else(header);
    authority.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>();
        address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
    })
}

async fn not_found(uri: Uri) -> Response {
    let mut path = uri.path().to_owned();
    path.truncate(path.floor_char_boundary(200));
    let known: Vec<_> = openapi::DOORS.iter().map(|door| door.path).collect();
    let detail = format!("{path} is not served here: use one of {}", known.join(", "));
    Problem::new(problem::NOT_FOUND, detail).into_response()
}

async fn wrong_method() -> Response {
    let detail = "see the header Allow of this answer, and /openapi.json";
    Problem::new(problem::WRONG_METHOD, detail).into_response()
}

/// `GET /health`: the process serves. It says nothing about NATS.
async fn health() -> impl IntoResponse {
    Json(serde_json::json!({ "status": "ok" }))
}

async fn readiness(State(app): State<App>) -> Response {
    let readiness = app.ready.look(&app.context).await;
    if readiness.ready {
        return Json(readiness).into_response();
    }
    let wait: [(HeaderName, &str); 1] = [(header::RETRY_AFTER, "5")];
    (StatusCode::SERVICE_UNAVAILABLE, wait, Json(readiness)).into_response()
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let mut text = bus::monitor::metrics_text(std::slice::from_ref(&app.context));
    let under_way = app.config.requests_max - app.slots.available_permits();
    let held = app.config.bodies_max_megabytes as usize * 1024 * 1024 - app.budget.free_bytes();
    app.figures.write(&mut text, under_way, held);
    ([(header::CONTENT_TYPE, bus::monitor::METRICS_TYPE)], text)
}

async fn document(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, request::JSON)], app.document)
}
