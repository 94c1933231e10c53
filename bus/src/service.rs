//! Request and reply: NATS micro services whose answers may come in several parts.
//!
//! Every part carries `Aiai-Part` (from 0); the last one carries `Aiai-Parts`, their number.
//! An answer that fits one message is therefore an ordinary reply that any client can read.
//! Errors use the micro convention: `Nats-Service-Error` and `Nats-Service-Error-Code`.

use std::sync::Arc;
use std::time::Duration;

use async_nats::service::ServiceExt;
use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::topology::HEADROOM_BYTES;

/// A part's number, from 0.
pub const PART: &str = "Aiai-Part";
/// The number of parts; on the last one.
pub const PARTS: &str = "Aiai-Parts";

/// A request waits at most so long for its turn.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// One request being answered.
pub struct Request {
    inner: async_nats::service::Request,
    parts: usize,
    part_bytes_max: usize,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Request")
            .field("subject", &self.inner.message.subject)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// The body.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.inner.message.payload
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner
            .message
            .headers
            .as_ref()?
            .get(name)
            .map(|value| value.as_str())
    }

    /// What one part may hold at most, in bytes.
    #[must_use]
    pub const fn part_bytes_max(&self) -> usize {
        self.part_bytes_max
    }

    /// Sends a part that is not the last.
    pub async fn part(&mut self, body: Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(PART, self.parts.to_string());
        self.parts += 1;
        self.send(Ok(body), headers).await;
    }

    /// Sends the last part.
    pub async fn end(mut self, body: Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(PART, self.parts.to_string());
        self.parts += 1;
        headers.insert(PARTS, self.parts.to_string());
        self.send(Ok(body), headers).await;
    }

    /// Ends with an error; codes as in HTTP.
    pub async fn fail(self, code: usize, text: &str) {
        let status = text.replace(['\r', '\n'], " ");
        let error = async_nats::service::error::Error { code, status };
        self.send(Err(error), HeaderMap::new()).await;
    }

    async fn send(
        &self,
        body: std::result::Result<Bytes, async_nats::service::error::Error>,
        headers: HeaderMap,
    ) {
        if let Err(error) = self.inner.respond_with_headers(body, headers).await {
            tracing::debug!(%error, subject = %self.inner.message.subject, "answer not sent");
        }
    }
}

/// Answers one request.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, ()> + Send + Sync>;

/// One subject of a service.
#[derive(Clone)]
pub struct Endpoint {
    /// Its name in `nats micro info`.
    pub name: &'static str,
    /// Where requests come in.
    pub subject: &'static str,
    /// Requests answered at the same time; more wait, and those beyond twice as many are refused.
    pub concurrency: usize,
    /// Answers.
    pub handler: Handler,
}

impl Context {
    /// Serves endpoints until the process is to end.
    ///
    /// # Errors
    /// When the service cannot be registered.
    pub async fn serve(&self, name: &str, description: &str, endpoints: Vec<Endpoint>) -> Result<()> {
        let failed = |source| Error::JetStream {
            what: format!("registering service {name}"),
            source,
        };
        let service = self
            .client()
            .service_builder()
            .description(description)
            .start(name, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(failed)?;
        let mut loops = tokio::task::JoinSet::new();
        for endpoint in endpoints {
            let requests = service
                .endpoint_builder()
                .name(endpoint.name)
                .add(endpoint.subject)
                .await
                .map_err(failed)?;
            let part_bytes_max = self.max_payload_bytes().saturating_sub(HEADROOM_BYTES);
            loops.spawn(answer(requests, endpoint, part_bytes_max));
        }
        self.shutdown().cancelled().await;
        loops.abort_all();
        if let Err(error) = service.stop().await {
            tracing::debug!(%error, "service did not stop cleanly");
        }
        Ok(())
    }

    /// Asks a service and hands each part of the answer to `take`, in order.
    ///
    /// # Errors
    /// [`Error::NoResponders`], [`Error::RequestTimeout`] (no part for `timeout`), [`Error::Service`].
    pub async fn request_each(
        &self,
        subject: &str,
        worker: &str,
        body: Bytes,
        timeout: Duration,
        mut take: impl FnMut(Bytes),
    ) -> Result<()> {
        let late = || Error::RequestTimeout {
            subject: subject.to_owned(),
            seconds: timeout.as_secs_f64(),
        };
        let nobody = || Error::NoResponders {
            subject: subject.to_owned(),
            worker: worker.to_owned(),
        };
        let inbox = self.client().new_inbox();
        let mut replies = self.client().subscribe(inbox.clone()).await.map_err(|_| late())?;
        self.client()
            .publish_with_reply(subject.to_owned(), inbox, body)
            .await
            .map_err(|_| late())?;
        for expected in 0_usize.. {
            let part = tokio::time::timeout(timeout, replies.next())
                .await
                .map_err(|_| late())?
                .ok_or_else(late)?;
            if part.status == Some(StatusCode::NO_RESPONDERS) {
                return Err(nobody());
            }
            let header = |name: &str| part.headers.as_ref().and_then(|headers| headers.get(name));
            if let Some(text) = header(async_nats::service::NATS_SERVICE_ERROR) {
                let code = header(async_nats::service::NATS_SERVICE_ERROR_CODE)
                    .and_then(|code| code.as_str().parse().ok())
                    .unwrap_or(500);
                return Err(Error::Service {
                    code,
                    text: text.to_string(),
                });
            }
            let number = header(PART)
                .and_then(|part| part.as_str().parse::<usize>().ok())
                .unwrap_or(0);
            if number != expected {
                return Err(Error::Service {
                    code: 500,
                    text: format!("part {expected} of the answer was lost on the way; ask again"),
                });
            }
            let last = header(PART).is_none() || header(PARTS).is_some();
            take(part.payload);
            if last {
                break;
            }
        }
        Ok(())
    }

    /// Asks a service and joins the parts of its answer.
    ///
    /// # Errors
    /// As [`Context::request_each`].
    pub async fn request(
        &self,
        subject: &str,
        worker: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes> {
        let mut parts = Vec::new();
        self.request_each(subject, worker, body, timeout, |part| parts.push(part))
            .await?;
        Ok(match <[Bytes; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) => Bytes::from(parts.concat()),
        })
    }
}

async fn answer(
    mut requests: async_nats::service::endpoint::Endpoint,
    endpoint: Endpoint,
    part_bytes_max: usize,
) {
    let running = Arc::new(Semaphore::new(endpoint.concurrency));
    let admitted = Arc::new(Semaphore::new(endpoint.concurrency * 3));
    while let Some(inner) = requests.next().await {
        let request = Request {
            inner,
            parts: 0,
            part_bytes_max,
        };
        let Ok(admission) = admitted.clone().try_acquire_owned() else {
            request
                .fail(429, "too many requests at the same time; ask again in a moment")
                .await;
            continue;
        };
        let running = running.clone();
        let handler = endpoint.handler.clone();
        tokio::spawn(async move {
            let _admission = admission;
            match tokio::time::timeout(QUEUE_TIMEOUT, running.acquire_owned()).await {
                Ok(Ok(_running)) => handler(request).await,
                _ => {
                    request
                        .fail(429, "busy with other requests; ask again in a moment")
                        .await;
                }
            }
        });
    }
}
