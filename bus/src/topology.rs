//! Streams, durables and buckets as data, with every limit explicit.
//!
//! This is the one place that says what exists on the server; `plan` compares it, `apply`
//! corrects the server. Streams discard *new* messages when full (backpressure, not loss)
//! and keep by limits, never as work queues, so that nothing disappears because it was read.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::kv::Config as BucketConfig;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, RetentionPolicy, StorageType};
use serde::{Deserialize, Serialize};

use crate::advisory;

/// What agents published.
pub const INGEST: &str = "INGEST";
/// Canonical events in batches.
pub const EVENTS: &str = "EVENTS";
/// Partial aggregates, one message for each of EVENTS.
pub const ROLLUP: &str = "ROLLUP";
/// What rules found: matches for the database, alerts for people and webhooks.
pub const ALERTS: &str = "ALERTS";
/// What is to be archived, and which files were written.
pub const ARCHIVE: &str = "ARCHIVE";
/// Dead letters.
pub const DEAD: &str = "DEAD";
/// The server's word about messages that nobody will get any more.
pub const ADVISORY: &str = "ADVISORY";
/// All streams of messages, in the order in which messages pass them.
pub const STREAMS: [&str; 6] = [INGEST, EVENTS, ROLLUP, ALERTS, ARCHIVE, DEAD];
/// The bucket in which workers report that they live.
pub const WORKERS_BUCKET: &str = "workers";
/// The bucket in which copies of worker route share which models are cooled down.
pub const COOLING_BUCKET: &str = "cooling";
/// The bucket in which workers note which messages they have begun that may end them.
pub(crate) const SUSPECTS_BUCKET: &str = "suspects";
/// A note about such a message is forgotten after this time, in seconds.
const SUSPECTS_TTL_SECONDS: u64 = 3600;
/// A heartbeat older than this is forgotten, in seconds.
pub(crate) const HEARTBEAT_TTL_SECONDS: u64 = 20;
/// Twice the longest window of a rule: an alert is known as told from the beginning of its window until well after its end.
const ALERT_DUPLICATE_WINDOW_SECONDS: u64 = 2 * 3600;
/// The metadata key under which a stream carries its epoch, a ULID.
pub const EPOCH_KEY: &str = "aiai-epoch";

/// A message may be this large with its headers, if the server's `max_payload` allows it.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Size of the stream of advisories, and of one of them.
const ADVISORY_MEGABYTES: u32 = 64;
const ADVISORY_BYTES_MAX: usize = 64 * 1024;
/// Room in INGEST for the headers that a replay adds to the largest message.
const REPLAY_BYTES: usize = 4 * 1024;
/// Room that a dead letter's headers need beside the original message.
pub const HEADROOM_BYTES: usize = 64 * 1024;

/// The `[streams]` section: sizes on disk and copies.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamsConfig {
    /// Copies of each stream: 1 on one machine, 3 in a cluster.
    pub replicas: usize,
    /// INGEST refuses new messages beyond this many megabytes.
    pub ingest_max_megabytes: u32,
    /// EVENTS refuses new messages beyond this many megabytes.
    pub events_max_megabytes: u32,
    /// ROLLUP refuses new messages beyond this many megabytes.
    pub rollup_max_megabytes: u32,
    /// DEAD refuses new messages beyond this many megabytes.
    pub dead_max_megabytes: u32,
    /// ALERTS refuses new messages beyond this many megabytes.
    pub alerts_max_megabytes: u32,
    /// ARCHIVE refuses new messages beyond this many megabytes.
    pub archive_max_megabytes: u32,
    /// A `Nats-Msg-Id` seen again within this time is stored once.
    pub duplicate_window_seconds: u32,
    /// A message that ingest, rollup or rules holds without acknowledging it for so long is delivered again.
    pub ack_wait_seconds: u32,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            replicas: 1,
            ingest_max_megabytes: 2048,
            events_max_megabytes: 4096,
            rollup_max_megabytes: 1024,
            dead_max_megabytes: 512,
            alerts_max_megabytes: 256,
            archive_max_megabytes: 256,
            duplicate_window_seconds: 120,
            ack_wait_seconds: 3,
        }
    }
}

/// One durable of one stream.
#[derive(Debug, Clone)]
pub struct Durable {
    /// The stream it reads.
    pub stream: &'static str,
    /// Its configuration; the name is in it.
    pub config: pull::Config,
}

/// Everything that aiai needs on a server.
#[derive(Debug, Clone)]
pub struct Topology {
    /// In the order in which they are created.
    pub streams: Vec<StreamConfig>,
    /// After the streams.
    pub durables: Vec<Durable>,
    /// KV buckets: one value a key.
    pub buckets: Vec<BucketConfig>,
}

impl Topology {
    /// The topology for a server that takes messages up to `max_payload_bytes`.
    #[must_use]
    pub fn new(config: &StreamsConfig, max_payload_bytes: usize) -> Self {
        Self {
            streams: streams(config, max_payload_bytes),
            durables: durables(config),
            buckets: buckets(config),
        }
    }
}

fn streams(config: &StreamsConfig, max_payload_bytes: usize) -> Vec<StreamConfig> {
    let ingest_message_bytes =
        MESSAGE_BYTES_MAX.min(max_payload_bytes.saturating_sub(HEADROOM_BYTES)) + REPLAY_BYTES;
    vec![
        stream(
            config,
            INGEST,
            "what agents published",
            &["ingest.>"],
            config.ingest_max_megabytes,
            ingest_message_bytes,
        ),
        stream(
            config,
            EVENTS,
            "canonical events, NDJSON batches",
            &["events.>"],
            config.events_max_megabytes,
            max_payload_bytes,
        ),
        stream(
            config,
            ROLLUP,
            "partial aggregates, one for each message of EVENTS",
            &["rollup.>"],
            config.rollup_max_megabytes,
            max_payload_bytes,
        ),
        stream(
            config,
            DEAD,
            "rejected messages with the reason",
            &["dead.>"],
            config.dead_max_megabytes,
            max_payload_bytes,
        ),
        told_once(stream(
            config,
            ALERTS,
            "what rules found: matches to be counted, alerts to be told",
            &["alerts.>", "matches.>"],
            config.alerts_max_megabytes,
            max_payload_bytes,
        )),
        stream(
            config,
            ARCHIVE,
            "archive jobs, and the files they became",
            &["archive.>"],
            config.archive_max_megabytes,
            max_payload_bytes,
        ),
        advisories(config),
    ]
}

/// Nobody waits for an answer from it, so it makes room for the newest: a backstop, not a ledger.
fn advisories(config: &StreamsConfig) -> StreamConfig {
    let subjects: Vec<String> = STREAMS
        .iter()
        .flat_map(|stream| advisory::subjects(stream))
        .collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    let what = "messages whose delivery ended: dead letters already, or to be recovered";
    StreamConfig {
        discard: DiscardPolicy::Old,
        ..stream(
            config,
            ADVISORY,
            what,
            &subjects,
            ADVISORY_MEGABYTES,
            ADVISORY_BYTES_MAX,
        )
    }
}

fn durables(config: &StreamsConfig) -> Vec<Durable> {
    let stage_wait = Duration::from_secs(config.ack_wait_seconds.into());
    let sink_wait = Duration::from_secs(60);
    let job_wait = Duration::from_secs(30);
    vec![
        durable(INGEST, "ingest", "ingest.>", stage_wait, 50_000),
        durable(EVENTS, "sink", "events.>", sink_wait, 10_000),
        durable(EVENTS, "rollup", "events.>", stage_wait, 10_000),
        durable(ROLLUP, "sink", "rollup.>", sink_wait, 10_000),
        durable(DEAD, "sink", "dead.>", sink_wait, 100_000),
        from_now_on(durable(EVENTS, "route", "events.usage", sink_wait, 10_000)),
        durable(EVENTS, "rules", "events.>", stage_wait, 10_000),
        // All of it, though alerts mean nothing to it: a checkpoint needs sequences without holes.
        durable(ALERTS, "sink", ">", sink_wait, 10_000),
        durable(ALERTS, "webhook", "alerts.>", job_wait, 1000),
        durable(ARCHIVE, "archive", "archive.job", job_wait, 100),
        durable(ARCHIVE, "sink", "archive.>", sink_wait, 1000),
        durable(ADVISORY, "sink", ">", job_wait, 1000),
    ]
}

fn buckets(config: &StreamsConfig) -> Vec<BucketConfig> {
    vec![
        bucket(
            config,
            WORKERS_BUCKET,
            "which workers live, with their figures",
            Duration::from_secs(HEARTBEAT_TTL_SECONDS),
            StorageType::Memory,
        ),
        bucket(
            config,
            COOLING_BUCKET,
            "models that are cooled down after failures",
            Duration::ZERO,
            StorageType::File,
        ),
        bucket(
            config,
            SUSPECTS_BUCKET,
            "messages delivered often: begun and not finished, failures counted",
            Duration::from_secs(SUSPECTS_TTL_SECONDS),
            StorageType::File,
        ),
    ]
}

fn stream(
    config: &StreamsConfig,
    name: &str,
    description: &str,
    subjects: &[&str],
    max_megabytes: u32,
    max_message_bytes: usize,
) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        description: Some(description.into()),
        subjects: subjects.iter().map(|subject| (*subject).into()).collect(),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: config.replicas,
        max_bytes: i64::from(max_megabytes) * 1024 * 1024,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_age: Duration::ZERO,
        max_message_size: i32::try_from(max_message_bytes).unwrap_or(i32::MAX),
        duplicate_window: Duration::from_secs(config.duplicate_window_seconds.into()),
        allow_direct: true,
        ..StreamConfig::default()
    }
}

/// An alert is told once in its window, however many workers see a reason for it: its id says which window.
fn told_once(mut stream: StreamConfig) -> StreamConfig {
    stream.duplicate_window = Duration::from_secs(ALERT_DUPLICATE_WINDOW_SECONDS);
    stream
}

/// For readers to whom what happened before they existed means nothing.
fn from_now_on(mut durable: Durable) -> Durable {
    durable.config.deliver_policy = DeliverPolicy::New;
    durable
}

/// A bucket that is watched is on disk: a watch counts on revisions that go on after a restart of the server.
fn bucket(
    config: &StreamsConfig,
    name: &str,
    description: &str,
    max_age: Duration,
    storage: StorageType,
) -> BucketConfig {
    BucketConfig {
        bucket: name.into(),
        description: description.into(),
        history: 1,
        max_age,
        max_bytes: 16 * 1024 * 1024,
        storage,
        num_replicas: config.replicas,
        ..BucketConfig::default()
    }
}

fn durable(
    stream: &'static str,
    name: &str,
    filter: &str,
    ack_wait: Duration,
    max_ack_pending: i64,
) -> Durable {
    Durable {
        stream,
        config: pull::Config {
            durable_name: Some(name.into()),
            filter_subject: filter.into(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            replay_policy: ReplayPolicy::Instant,
            ack_wait,
            max_deliver: -1,
            max_ack_pending,
            max_waiting: 512,
            ..pull::Config::default()
        },
    }
}
