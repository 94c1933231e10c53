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
use tokio::{net::TcpListener, select, sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower_http::compression::CompressionLayer;
use tracing::{info, warn};

use crate::{Config, Queries, assets, feed::Feed, live, overview, route, security};

/// Open requests get this long to end after a shutdown began.
const GRACE: Duration = Duration::from_secs(3);

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    /// The numbers.
    pub(crate) feed: Arc<Feed>,
    /// Answers what is not cached.
    pub(crate) queries: Arc<dyn Queries>,
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
    let feed = Arc::new(Feed::new(
        queries.clone(),
        Duration::from_millis(config.refresh_milliseconds),
    )?);
    let app = App {
        feed: feed.clone(),
        queries,
        viewers: Arc::new(Semaphore::new(config.viewers_max)),
        shutdown: shutdown.clone(),
        started_ms: jiff::Timestamp::now().as_millisecond(),
    };
    let asking = {
        let shutdown = shutdown.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { feed.run(shutdown).await }))
    };
    info!(url = format!("http://{listen}/"), "the dashboard is up");

    let stop = shutdown.clone().cancelled_owned();
    let server = axum::serve(listener, router(app, listen)).with_graceful_shutdown(stop);
    select! {
        result = server => result.context("the dashboard's server stopped")?,
        () = overdue(&shutdown) => warn!("requests were still open {} s after the stop, they are cut off", GRACE.as_secs()),
    }
    asking.await.context("the dashboard's feed stopped")
}

async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    sleep(GRACE).await;
}

fn router(app: App, listen: std::net::SocketAddr) -> Router {
    Router::new()
        .route("/", get(overview::page))
        .route("/live", get(live::live))
        .route("/api/overview", get(overview::json))
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
