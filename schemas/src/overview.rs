//! The answer of `query.overview`: what the first screen shows. Times are milliseconds since 1970 (`_ms`).

use serde::{Deserialize, Serialize};

/// Number of buckets in [`Rate`] and in a node's history: 15 minutes of [`BUCKET_SECONDS`].
pub const BUCKETS: usize = 90;
/// Seconds in a bucket.
pub const BUCKET_SECONDS: u32 = 10;

/// The state of the whole system at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overview {
    /// When the answer was made.
    pub at_ms: i64,
    /// Events stored, over time.
    pub rate: Rate,
    /// Time NATS stored the newest stored event.
    pub newest_event_ms: Option<i64>,
    /// Events stored since the beginning, by kind.
    pub kinds_total: Vec<KindTotal>,
    /// The most active sources of the last 15 minutes.
    pub sources: Vec<SourceActivity>,
    /// Further sources that were active, not listed.
    pub sources_omitted: u64,
    /// Machines that report.
    pub nodes: Vec<NodeVitals>,
    /// Model usage since midnight UTC; none if there was no call.
    pub usage_today: Option<UsageToday>,
    /// The loss proof.
    pub ledger: Ledger,
    /// Dead letters about which nobody did anything yet.
    #[serde(default)]
    pub dead_open: u64,
    /// The database file.
    pub database: DatabaseInfo,
}

/// Events per second, over the last 15 minutes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rate {
    /// Mean of the last 5 whole seconds.
    pub per_second_now: f64,
    /// [`BUCKET_SECONDS`].
    pub bucket_seconds: u32,
    /// End of the last bucket, which is still open.
    pub end_ms: i64,
    /// One series a kind.
    pub kinds: Vec<RateSeries>,
}

/// Events of one kind over time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateSeries {
    /// The kind's name.
    pub kind: String,
    /// Events in each of [`BUCKETS`] buckets, oldest first.
    pub events: Vec<u64>,
}

/// Events of one kind since the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KindTotal {
    /// The kind's name.
    pub kind: String,
    /// Events stored.
    pub events: u64,
}

/// What one source sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceActivity {
    /// The source.
    pub source: String,
    /// Events of the last 15 minutes.
    pub events_15m: u64,
    /// Time of its newest event.
    pub last_seen_ms: i64,
}

/// What a machine last said about itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeVitals {
    /// Host name.
    pub host: String,
    /// Time of the newest of its measurements.
    pub at_ms: i64,
    /// CPU use, 0 to 100 for the whole machine.
    pub cpu_percent: Option<f64>,
    /// Memory in use.
    pub memory_used_bytes: Option<f64>,
    /// Memory there is.
    pub memory_total_bytes: Option<f64>,
    /// Load average over one minute.
    pub load_1m: Option<f64>,
    /// Disk space in use.
    pub disk_used_bytes: Option<f64>,
    /// Disk space there is.
    pub disk_total_bytes: Option<f64>,
    /// Bytes received from the network each second.
    pub network_rx_bytes_per_second: Option<f64>,
    /// Bytes sent to the network each second.
    pub network_tx_bytes_per_second: Option<f64>,
    /// CPU percent in each of [`BUCKETS`] buckets, oldest first; none is a gap.
    pub cpu_history: Vec<Option<f64>>,
    /// Memory percent in each of [`BUCKETS`] buckets, oldest first; none is a gap.
    pub memory_history: Vec<Option<f64>>,
}

/// Model calls since midnight UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageToday {
    /// Model calls.
    pub calls: u64,
    /// Calls whose status was not `ok`.
    pub errors: u64,
    /// Calls without a cost; they are not in `cost_usd`.
    pub unpriced: u64,
    /// Dollars, as an exact decimal.
    pub cost_usd: String,
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens received.
    pub tokens_out: u64,
    /// The part of `tokens_in` read from a cache.
    pub tokens_cache_read: u64,
    /// The part of `tokens_out` spent on reasoning.
    pub tokens_reasoning: u64,
}

/// INGEST messages of the current epoch: `published = stored + dead + pending + missing`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// ULID of INGEST's epoch.
    pub epoch: String,
    /// Accepted by INGEST.
    pub published: u64,
    /// In the database.
    pub stored: u64,
    /// Dead-lettered.
    pub dead: u64,
    /// On the way.
    pub pending: u64,
    /// Lost; must be 0.
    pub missing: u64,
    /// Delivered twice and stored once.
    pub duplicates: u64,
}

/// The database file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatabaseInfo {
    /// Where it is.
    pub path: String,
    /// Size of the file.
    pub bytes: u64,
    /// Size of its write-ahead log.
    pub wal_bytes: u64,
}
