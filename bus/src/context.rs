//! What a worker holds: its connection, its name, its counters and the order to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use tokio_util::sync::CancellationToken;

use crate::apply::{self, Scope};
use crate::connect::{self, NatsConfig};
use crate::epoch;
use crate::error::{Error, Result};
use crate::gauge::{Dated, Gauge};
use crate::plan::{self, Plan};
use crate::topology::{StreamsConfig, Topology};

/// How long JetStream may take to acknowledge one message.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks whether the connection is still the same.
pub(crate) const CONNECTION_INTERVAL: Duration = Duration::from_millis(250);

/// A worker's place on the bus. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    worker: String,
    instance: String,
    streams: StreamsConfig,
    counters: Counters,
    trouble: Mutex<BTreeMap<&'static str, String>>,
    gauges: Mutex<Option<Dated>>,
    shutdown: CancellationToken,
}

/// What a worker has done since it started. All counts are messages unless named otherwise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Delivered to it.
    pub received: AtomicU64,
    /// Acknowledged.
    pub acked: AtomicU64,
    /// Sent back for another attempt.
    pub retried: AtomicU64,
    /// Ended as dead letters (whole messages and single items).
    pub dead: AtomicU64,
    /// Published.
    pub published: AtomicU64,
    /// Events in what it published or stored.
    pub events: AtomicU64,
    /// Messages of its input that wait behind the newest delivered one.
    pub backlog: AtomicU64,
}

/// A stream's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// The ULID in its metadata.
    pub epoch: String,
    /// The lowest sequence it still holds (last + 1 when empty).
    pub first_sequence: u64,
    /// The highest sequence it ever gave.
    pub last_sequence: u64,
    /// Held now.
    pub messages: u64,
    /// Held now.
    pub bytes: u64,
}

/// A durable's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableState {
    /// All stream sequences up to it are acknowledged.
    pub ack_floor: u64,
    /// Delivered, not acknowledged.
    pub ack_pending: u64,
    /// Not delivered yet.
    pub pending: u64,
    /// When it was made, in microseconds since 1970.
    pub created: i64,
}

impl Context {
    /// Connects a worker under its name.
    ///
    /// # Errors
    /// When the server cannot be reached, is too old, or runs without JetStream.
    pub async fn connect(
        nats: &NatsConfig,
        streams: &StreamsConfig,
        worker: &str,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let client = connect::connect(nats, worker).await?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(ACK_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .max_ack_inflight(50_000)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                jetstream,
                worker: worker.to_owned(),
                instance: ulid::Ulid::generate().to_string(),
                streams: streams.clone(),
                counters: Counters::default(),
                trouble: Mutex::default(),
                gauges: Mutex::default(),
                shutdown,
            }),
        })
    }

    pub(crate) fn client(&self) -> &async_nats::Client {
        &self.inner.client
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.inner.jetstream
    }

    /// The worker's name.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.inner.worker
    }

    /// This copy of the worker: a ULID.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Cancelled when the process is to end.
    #[must_use]
    pub fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    /// What hinders the worker now, for health and heartbeat. `None`: nothing.
    pub fn set_trouble(&self, trouble: Option<String>) {
        self.set_trouble_about("", trouble);
    }

    /// As [`Context::set_trouble`], for one of several things that may be wrong at the same time.
    pub fn set_trouble_about(&self, about: &'static str, trouble: Option<String>) {
        let mut troubles = self.inner.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => troubles.insert(about, trouble),
            None => troubles.remove(about),
        };
    }

    /// Whether it has a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.client.connection_state() == async_nats::connection::State::Connected
    }

    /// What hinders the worker now.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if !self.is_connected() {
            return Some("no connection to NATS; reconnecting".into());
        }
        let troubles = self.inner.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<&str> = troubles.values().map(String::as_str).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Figures of the worker's own for `/metrics`, in place of those before. They are left out once they are older
    /// than `good_for`.
    pub fn set_gauges(&self, gauges: Vec<Gauge>, good_for: Duration) {
        let dated = Dated::new(gauges, good_for);
        *self.inner.gauges.lock().unwrap_or_else(PoisonError::into_inner) = Some(dated);
    }

    /// The worker's own figures that are not old.
    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let dated = self.inner.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let good = dated.as_ref().filter(|dated| dated.is_good());
        good.map_or_else(Vec::new, |dated| dated.gauges.clone())
    }

    /// The largest message the server takes, headers included.
    #[must_use]
    pub fn max_payload_bytes(&self) -> usize {
        self.inner.client.server_info().max_payload
    }

    /// Where it is connected: `host:port`, and the server's version.
    #[must_use]
    pub fn server(&self) -> (String, String) {
        let info = self.inner.client.server_info();
        (format!("{}:{}", info.host, info.port), info.version)
    }

    /// Sizes and copies of the streams.
    #[must_use]
    pub fn streams_config(&self) -> &StreamsConfig {
        &self.inner.streams
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::new(&self.inner.streams, self.max_payload_bytes())
    }

    /// Whether the topology has this durable.
    #[must_use]
    pub fn is_durable(&self, stream: &str, durable: &str) -> bool {
        let all = self.topology().durables;
        all.iter()
            .any(|known| known.stream == stream && known.config.durable_name.as_deref() == Some(durable))
    }

    /// In the order of the topology.
    pub(crate) fn stream_names(&self) -> Vec<String> {
        let streams = self.topology().streams.into_iter();
        streams.map(|stream| stream.name).collect()
    }

    /// All durables of the topology: stream and name.
    #[must_use]
    pub fn durables(&self) -> Vec<(&'static str, String)> {
        let durables = self.topology().durables.into_iter();
        durables
            .filter_map(|durable| Some((durable.stream, durable.config.durable_name?)))
            .collect()
    }

    /// Compares the server with the topology.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn plan(&self) -> Result<Plan> {
        plan::plan(self.jetstream(), &self.topology()).await
    }

    /// Carries out a plan.
    ///
    /// # Errors
    /// When the server refuses a change.
    pub async fn apply(&self, plan: &Plan, scope: Scope) -> Result<()> {
        apply::apply(self.jetstream(), &self.topology(), plan, scope).await
    }

    /// Creates what is missing and refuses a server on which messages could be lost.
    ///
    /// # Errors
    /// [`Error::UnsafeDrift`], or the server's refusal.
    pub async fn ensure_topology(&self) -> Result<()> {
        let plan = self.plan().await?;
        if let Some(error) = plan.unsafe_drift() {
            return Err(error);
        }
        for change in &plan.changes {
            tracing::debug!(worker = self.worker(), object = change.object, action = ?change.action, "topology");
        }
        self.apply(&plan, Scope::Missing).await
    }

    /// How often it was connected: a server that came back may have other streams.
    pub(crate) fn connections(&self) -> u64 {
        self.client().statistics().connects.load(Relaxed)
    }

    /// Makes a durable anew as the topology says, so that it delivers all that its stream holds: whoever reads it sees
    /// everything again.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn restart_durable(&self, stream: &str, durable: &str) -> Result<()> {
        apply::restart_durable(self.jetstream(), &self.topology(), stream, durable).await
    }

    /// A stream's figures.
    ///
    /// # Errors
    /// When it does not exist, has no epoch, or the server does not answer.
    pub async fn stream_state(&self, name: &str) -> Result<StreamState> {
        let stream = self
            .jetstream()
            .get_stream(name)
            .await
            .map_err(|error| Error::jetstream(format!("looking up stream {name}"), error))?;
        let info = stream.cached_info();
        let epoch = epoch::of(&info.config).ok_or_else(|| Error::NoEpoch {
            stream: name.to_owned(),
        })?;
        Ok(StreamState {
            epoch: epoch.to_owned(),
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
            messages: info.state.messages,
            bytes: info.state.bytes,
        })
    }

    /// Within this time a stream stores a `Nats-Msg-Id` once, as the server has it.
    ///
    /// # Errors
    /// When it does not exist or the server does not answer.
    pub async fn duplicate_window(&self, name: &str) -> Result<Duration> {
        let stream = self
            .jetstream()
            .get_stream(name)
            .await
            .map_err(|error| Error::jetstream(format!("looking up stream {name}"), error))?;
        Ok(stream.cached_info().config.duplicate_window)
    }

    /// A durable's figures.
    ///
    /// # Errors
    /// When it does not exist or the server does not answer.
    pub async fn durable_state(&self, stream: &str, durable: &str) -> Result<DurableState> {
        let what = || format!("looking up durable {stream}/{durable}");
        let handle = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        let info = handle
            .consumer_info(durable)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        Ok(DurableState {
            ack_floor: info.ack_floor.stream_sequence,
            ack_pending: info.num_ack_pending as u64,
            pending: info.num_pending,
            created: i64::try_from(info.created.unix_timestamp_nanos() / 1000).unwrap_or_default(),
        })
    }

    /// Deletes the messages of a stream below a sequence, which the caller knows to be durable elsewhere.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn trim(&self, stream: &str, below_sequence: u64) -> Result<u64> {
        let what = || format!("trimming {stream} below {below_sequence}");
        let handle = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        let purged = handle
            .purge()
            .sequence(below_sequence)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        Ok(purged.purged)
    }

    /// The lowest sequence of a stream stored at or after a time (microseconds since 1970); one past
    /// the last when there is none. A binary search: a few requests.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn sequence_at(&self, state: &StreamState, stream: &str, microseconds: i64) -> Result<u64> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound;
        let what = || format!("reading times in {stream}");
        let handle = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        let (mut low, mut high) = (state.first_sequence, state.last_sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            // Or the next one behind it, where messages were taken out.
            match handle.get_first_raw_message_by_subject(">", middle).await {
                Ok(message) if message.time.unix_timestamp_nanos() / 1000 < i128::from(microseconds) => {
                    low = message.sequence + 1;
                }
                Ok(_) => high = middle,
                Err(error) if error.kind() == NoMessageFound => high = middle,
                Err(error) => return Err(Error::jetstream(what(), error)),
            }
        }
        Ok(low)
    }

    /// Hands everything sent so far to the server.
    pub async fn flush(&self) {
        let flushed = tokio::time::timeout(ACK_TIMEOUT, self.client().flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::debug!(worker = self.worker(), "could not flush the connection");
        }
    }

    pub(crate) fn count(&self, counter: impl Fn(&Counters) -> &AtomicU64, by: usize) {
        counter(&self.inner.counters).fetch_add(by as u64, Relaxed);
    }
}
