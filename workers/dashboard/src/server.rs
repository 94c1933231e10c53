//! Binding, routes, and a shutdown that does not wait for ever.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use bus::http::Limits;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower_http::compression::CompressionLayer;
use tracing::info;

use crate::{Config, Queries, assets, follow::Follower, live, models, page, route, security};

/// A browser has six connections, and a live stream keeps one; what it does not take of its answers it asks for again.
const LIMITS: Limits = Limits {
    connections_max: 1024 + 256,
    idle_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(30),
    grace: Duration::from_secs(3),
};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    /// The live numbers.
    pub(crate) follower: Arc<Follower>,
    /// Answers what is asked once.
    pub(crate) queries: Arc<dyn Queries>,
    /// One panel asks the database at a time.
    pub(crate) queries_turn: Arc<Semaphore>,
    /// Free places for live streams.
    pub(crate) viewers: Arc<Semaphore>,
    /// Ends the live streams.
    pub(crate) shutdown: CancellationToken,
    /// Tells the event ids of one run from those of another. Milliseconds since 1970.
    pub(crate) started_ms: i64,
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
            "cannot listen on {listen} for the dashboard: stop what uses it, or choose another address \
             with the config key dashboard.listen or AIAI__DASHBOARD__LISTEN=127.0.0.1:<port>"
        )
    })
}

/// Serves the pages until `shutdown` is cancelled, then for at most 3 s more.
///
/// # Errors
/// A configuration out of bounds, or a listener that is not usable.
pub async fn serve(
    config: Config,
    queries: Arc<dyn Queries>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    config.validate()?;
    let listen = listener
        .local_addr()
        .context("cannot read the address of the dashboard's listener")?;
    let follower = Arc::new(Follower::new(queries.clone())?);
    let app = App {
        follower: follower.clone(),
        queries,
        queries_turn: Arc::new(Semaphore::new(1)),
        viewers: Arc::new(Semaphore::new(config.viewers_max)),
        shutdown: shutdown.clone(),
        started_ms: jiff::Timestamp::now().as_millisecond(),
    };
    let following = {
        let shutdown = shutdown.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { follower.run(shutdown).await }))
    };
    info!(url = format!("http://{listen}/"), "the dashboard is up");

    bus::http::serve(listener, router(app, listen), LIMITS, shutdown).await;
    following.await.context("the dashboard's follower stopped")
}

fn router(app: App, listen: std::net::SocketAddr) -> Router {
    Router::new()
        .route("/", get(page::overview))
        .route("/models", get(models::page))
        .route("/models/panel", get(models::panel))
        .route("/pipeline", get(page::pipeline))
        .route("/live", get(live::live))
        .route("/api/overview", get(page::overview_json))
        .route("/api/models", get(models::json))
        .route("/api/pipeline", get(page::pipeline_json))
        .route("/health", get(health))
        .route(
            "/v1/route",
            post(route::decide).layer(DefaultBodyLimit::max(schemas::route::REQUEST_BYTES)),
        )
        .merge(assets::routes())
        // Leaves server-sent events alone: compressing them would hold them back.
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(listen, security::guard))
        .with_state(app)
}

/// `GET /health`: the process serves. It says nothing about the sink.
async fn health(State(app): State<App>) -> impl IntoResponse {
    Json(serde_json::json!({ "status": "ok", "live_streams_free": app.viewers.available_permits() }))
}
