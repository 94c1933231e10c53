//! The worker: the pages' questions asked over NATS.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bytes, Context, Error, Live};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use schemas::live::{self, Message, Snapshot};
use schemas::{query, route};
use tokio::net::TcpListener;

use crate::queries::Asked;
use crate::{Config, Queries, QueryError, RouteError, serve};

/// A feed answers within a second, whether or not the sink does.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(2);
/// Of one part of an answer; the sink stops a query that takes longer.
const SQL_TIMEOUT: Duration = Duration::from_secs(20);
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

impl OverNats {
    async fn ask(
        &self,
        asked: Asked,
        subject: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, QueryError> {
        let worker = match asked {
            Asked::Feed => "dashboard-feed",
            Asked::Sink => "sink",
        };
        let answer = self.context.request(subject, worker, body, timeout).await;
        answer.map_err(|error| match error {
            _ if self.context.trouble().is_some() => QueryError::Disconnected,
            Error::NoResponders { .. } => QueryError::Unreachable(asked),
            Error::RequestTimeout { .. } => QueryError::Timeout(asked),
            other => QueryError::Failed(asked, bus::chain(&other)),
        })
    }
}

impl Queries for OverNats {
    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Message>, QueryError>> {
        Box::pin(async move {
            let passing = self.context.subscribe(live::ALL).await;
            let passing = passing.map_err(|error| QueryError::Failed(Asked::Feed, bus::chain(&error)))?;
            Ok(messages(passing).boxed())
        })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, QueryError>> {
        Box::pin(async move {
            let asked = self.ask(Asked::Feed, live::SNAPSHOT, Bytes::new(), SNAPSHOT_TIMEOUT);
            let body = asked.await?;
            serde_json::from_slice(&body).map_err(|error| QueryError::Failed(Asked::Feed, error.to_string()))
        })
    }

    fn sql(&self, sql: String) -> BoxFuture<'_, Result<Bytes, QueryError>> {
        Box::pin(async move {
            let request = query::Request {
                sql,
                rows_max: Some(100_000),
                timeout_seconds: Some(SQL_TIMEOUT.as_secs() as u32 - 1),
            };
            let body = serde_json::to_vec(&request).unwrap_or_default();
            self.ask(Asked::Sink, query::SUBJECT, body.into(), SQL_TIMEOUT)
                .await
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

/// What can be read of what passes; a newer feed may say more than we know.
fn messages(passing: Live) -> impl stream::Stream<Item = Message> {
    stream::unfold(passing, |mut passing| async move {
        loop {
            let message = passing.next().await?;
            if let Ok(message) = serde_json::from_slice(message.payload()) {
                return Some((message, passing));
            }
        }
    })
}
