//! The worker: the pages' questions asked over NATS.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bytes, Context, Error};
use futures_util::future::BoxFuture;
use schemas::overview::Overview;
use schemas::query::OVERVIEW_SUBJECT;
use schemas::route;
use tokio::net::TcpListener;

use crate::{Config, Queries, QueryError, RouteError, serve};

/// An answer takes milliseconds; a sink that is catching up may take longer.
const TIMEOUT: Duration = Duration::from_secs(4);
/// A decision takes less than a millisecond; who asks for one is about to call a model.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the pages until the process is to end.
///
/// # Errors
/// When the configuration cannot work or the listener fails.
pub async fn run(config: Config, listener: TcpListener, context: Context) -> anyhow::Result<()> {
    let shutdown = context.shutdown().clone();
    serve(config, Arc::new(OverNats { context }), listener, shutdown).await
}

struct OverNats {
    context: Context,
}

impl Queries for OverNats {
    fn overview(&self) -> BoxFuture<'_, Result<Overview, QueryError>> {
        Box::pin(async move {
            let answer = self
                .context
                .request(OVERVIEW_SUBJECT, "sink", Bytes::new(), TIMEOUT)
                .await;
            let body = answer.map_err(|error| match error {
                Error::NoResponders { .. } => QueryError::Unreachable,
                Error::RequestTimeout { .. } => QueryError::Timeout,
                other => QueryError::Failed(bus::chain(&other)),
            })?;
            serde_json::from_slice(&body).map_err(|error| QueryError::Failed(error.to_string()))
        })
    }

    fn route(&self, request: Bytes) -> BoxFuture<'_, Result<Bytes, RouteError>> {
        Box::pin(async move {
            let asked = self
                .context
                .request(route::SUBJECT, "route", request, ROUTE_TIMEOUT);
            asked.await.map_err(|error| {
                let code = match &error {
                    Error::Service { code, .. } => u16::try_from(*code).unwrap_or(500),
                    Error::NoResponders { .. } => 503,
                    Error::RequestTimeout { .. } => 504,
                    _ => 502,
                };
                let text = match error {
                    Error::Service { text, .. } => text,
                    other => bus::chain(&other),
                };
                RouteError { code, text }
            })
        })
    }
}
