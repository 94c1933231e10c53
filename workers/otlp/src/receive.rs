//! From the bytes of a request to messages that NATS has acknowledged.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bytes, Context};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use schemas::headers::{CONTENT_TYPE, NDJSON};

use schemas::Time;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::body::{Memory, Share};
use crate::json::{self, Json};
use crate::map::{self, Cuts, Mapped, Recent, cut};
use crate::refusal::Refusal;
use crate::weigh;

/// All messages of a request are acknowledged within this time.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// Of what a decoder says so much is told: it names every level of what is nested too deep.
const ERROR_BYTES_MAX: usize = 512;
/// Messages of one request on their way at the same time.
const IN_FLIGHT: usize = 16;

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf.
    Protobuf,
    /// JSON as OTLP has it.
    Json,
}

/// What was stored of a request, apart from everything.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Items not stored.
    pub(crate) rejected: u64,
    /// Why; empty if there are none.
    pub(crate) reason: String,
}

/// What the worker has done since it started.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) without_value: AtomicU64,
}

/// Takes requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    context: Context,
    recent: Arc<Mutex<Recent>>,
    pub(crate) memory: Memory,
    pub(crate) figures: Arc<Figures>,
}

impl Receiver {
    pub(crate) fn new(context: Context, memory_bytes: usize) -> Self {
        Self {
            context,
            recent: Arc::default(),
            memory: Memory::new(memory_bytes),
            figures: Arc::default(),
        }
    }

    /// Stores a request: once it returns, every message is acknowledged.
    pub(crate) async fn take(
        &self,
        signal: Signal,
        encoding: Encoding,
        body: Bytes,
        mut share: Share,
        tenant: &str,
    ) -> Result<Taken, Refusal> {
        let weight = match encoding {
            Encoding::Protobuf => weigh::protobuf(signal, &body),
            Encoding::Json => weigh::json(&body),
        };
        share.hold(2 * body.len() + weight)?;
        let recent = self.recent.clone();
        let (digest, hash) = identity(signal, tenant, &body);
        let now = Time(jiff::Timestamp::now().as_microsecond());
        // Milliseconds of work for a large request: not on a thread that serves others.
        let mapping = tokio::task::spawn_blocking(move || {
            let mapped = map_request(signal, encoding, &body, now, hash, &recent);
            (mapped, share)
        });
        let (mapped, share) = mapping
            .await
            .map_err(|error| Refusal::Defect(error.to_string()))?;
        let mapped = mapped?;
        let reason = mapped.reason();
        let Mapped {
            batch,
            rejected,
            without_value,
            cuts,
            ..
        } = mapped;
        self.publish(batch, &digest, tenant).await?;
        drop(share);
        self.figures.rejected.fetch_add(rejected, Relaxed);
        self.figures.cuts.fetch_add(cuts.0, Relaxed);
        self.figures.without_value.fetch_add(without_value, Relaxed);
        Ok(Taken { rejected, reason })
    }

    async fn publish(&self, batch: map::Batch, digest: &str, tenant: &str) -> Result<(), Refusal> {
        if let Some(trouble) = self.context.trouble() {
            return Err(Refusal::Unavailable(trouble));
        }
        let publishing = timeout(STORE_TIMEOUT, self.publish_all(batch, digest, tenant));
        publishing.await.unwrap_or_else(|_| {
            let text = format!("NATS did not acknowledge it within {} s", STORE_TIMEOUT.as_secs());
            Err(Refusal::Unavailable(text))
        })
    }

    async fn publish_all(&self, batch: map::Batch, digest: &str, tenant: &str) -> Result<(), Refusal> {
        let sending = batch.into_messages().map(|(kind, number, message)| async move {
            let id = format!("otlp:{digest}:{kind}:{number}");
            let (subject, headers) = (bus::subject(tenant, kind), [(CONTENT_TYPE, NDJSON)]);
            let lines = Bytes::from(message.lines);
            let sent = self.context.publish_message(&subject, &headers, lines, Some(&id));
            sent.await.map_err(|error| refusal(&error))?;
            self.context.counters().published.fetch_add(1, Relaxed);
            self.context
                .counters()
                .events
                .fetch_add(message.items as u64, Relaxed);
            Ok(())
        });
        stream::iter(sending).buffered(IN_FLIGHT).try_collect().await
    }
}

/// Whether the server refused a message or did not answer.
fn refusal(error: &bus::Error) -> Refusal {
    match error {
        bus::Error::NotStored { .. } => Refusal::Full(error.to_string()),
        _ => Refusal::Unavailable(bus::chain(error)),
    }
}

/// What a request is known by: its messages have ids made of this, so that a request sent again after a lost answer is
/// stored once. And a number for its tenant.
fn identity(signal: Signal, tenant: &str, body: &[u8]) -> (String, u64) {
    let mut digest = Sha256::new();
    digest.update([signal as u8]);
    digest.update(tenant.as_bytes());
    digest.update([0]);
    digest.update(body);
    let digest = digest.finalize();
    let text = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tenant = Sha256::digest(tenant.as_bytes());
    let number = tenant
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    (text, number)
}

/// Decodes and maps a request.
pub(crate) fn map_request(
    signal: Signal,
    encoding: Encoding,
    body: &[u8],
    now: Time,
    tenant: u64,
    recent: &Mutex<Recent>,
) -> Result<Mapped, Refusal> {
    Ok(match signal {
        Signal::Traces => {
            let request: ExportTraceServiceRequest = decode(encoding, body)?;
            map::traces(&request, now, tenant, recent)
        }
        Signal::Metrics => {
            let request: ExportMetricsServiceRequest = decode(encoding, body)?;
            map::metrics(&request, now)
        }
        Signal::Logs => {
            let request: ExportLogsServiceRequest = decode(encoding, body)?;
            map::logs(&request, now)
        }
    })
}

fn decode<T: prost::Message + Default + Json>(encoding: Encoding, body: &[u8]) -> Result<T, Refusal> {
    let what = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
    match encoding {
        Encoding::Protobuf => T::decode(body).map_err(|error| {
            let error = cut(&error.to_string(), ERROR_BYTES_MAX, &mut Cuts::default()).into_owned();
            Refusal::Undecodable(format!(
                "the body is no {what} in protobuf: {error}; look at the exporter's path and protocol"
            ))
        }),
        Encoding::Json => json::read(body).map_err(|problem| {
            Refusal::Undecodable(format!("the body is no {what} in OTLP's JSON: {problem}"))
        }),
    }
}

/// The answer in protobuf or JSON.
pub(crate) fn answer(signal: Signal, encoding: Encoding, taken: &Taken) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::{logs, metrics, trace};
    let rejected = i64::try_from(taken.rejected).unwrap_or(i64::MAX);
    let error_message = taken.reason.clone();
    if encoding == Encoding::Json {
        let name = match signal {
            Signal::Traces => "rejectedSpans",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Logs => "rejectedLogRecords",
        };
        let partial = serde_json::json!({ name: rejected.to_string(), "errorMessage": error_message });
        let all = if rejected == 0 {
            serde_json::json!({})
        } else {
            serde_json::json!({ "partialSuccess": partial })
        };
        return all.to_string().into_bytes();
    }
    let partly = rejected > 0;
    match signal {
        Signal::Traces => trace::v1::ExportTraceServiceResponse {
            partial_success: partly.then_some(trace::v1::ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message,
            }),
        }
        .encode_to_vec(),
        Signal::Metrics => metrics::v1::ExportMetricsServiceResponse {
            partial_success: partly.then_some(metrics::v1::ExportMetricsPartialSuccess {
                rejected_data_points: rejected,
                error_message,
            }),
        }
        .encode_to_vec(),
        Signal::Logs => logs::v1::ExportLogsServiceResponse {
            partial_success: partly.then_some(logs::v1::ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message,
            }),
        }
        .encode_to_vec(),
    }
}
