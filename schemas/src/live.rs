//! What `dashboard-feed` tells live views, on core NATS: nothing here is stored, and what is missed is gone.
//!
//! Every message is JSON of at most [`MESSAGE_BYTES_MAX`] bytes and says which feed sent it and its number there.
//! [`Overview`] and [`Pipeline`] are whole pictures, never differences, so a viewer that missed some is right again
//! with the next; a new viewer asks for a [`Snapshot`]. Several feeds tell the same: a viewer follows one of them and
//! turns to another when it goes silent for [`SILENCE_MAX_MS`].
//!
//! The snapshot is asked on a subject outside of `live.>`: whoever listens to everything below `live.` would
//! otherwise count as somebody who answers, and a missing feed would look like a slow one.

mod fit;

use serde::{Deserialize, Serialize};

use crate::{ledger, overview};

pub use fit::cut;

/// All live messages.
pub const ALL: &str = "live.>";
/// [`Body::Beat`], every second: the feed lives. While nobody listens here, a feed computes nothing.
pub const BEAT: &str = "live.beat";
/// [`Body::Overview`].
pub const OVERVIEW: &str = "live.overview";
/// [`Body::Pipeline`].
pub const PIPELINE: &str = "live.pipeline";
/// [`Body::Alerts`].
pub const ALERT: &str = "live.alert";
/// [`Body::Events`].
pub const EVENT: &str = "live.event";
/// Where a [`Snapshot`] is asked; the answer may come in parts.
pub const SNAPSHOT: &str = "feed.snapshot";

/// No message is larger.
pub const MESSAGE_BYTES_MAX: usize = 60 * 1024;
/// A feed that says nothing for so long is gone.
pub const SILENCE_MAX_MS: u64 = 3_500;
/// Bytes of a text from outside, such as an error; longer ones are cut.
pub const TEXT_BYTES: usize = 300;

/// One live message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The copy of the feed: a ULID.
    pub feed: String,
    /// Counts this feed's messages.
    pub sequence: u64,
    /// When it was sent, by the feed's clock.
    pub at_ms: i64,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a message says, as the field of that name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Nothing but that the feed lives.
    Beat {},
    /// What the first page shows.
    Overview(Box<Overview>),
    /// Streams, workers, dead letters.
    Pipeline(Box<Pipeline>),
    /// Alerts as they were raised.
    Alerts(Vec<Alert>),
    /// Some of the events that passed.
    Events(Vec<Sample>),
}

/// Everything at once, for who begins to look.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The copy of the feed that answers.
    pub feed: String,
    /// Its newest message.
    pub sequence: u64,
    /// When it was made, by the feed's clock.
    pub at_ms: i64,
    /// See [`Body::Overview`].
    pub overview: Overview,
    /// See [`Body::Pipeline`].
    pub pipeline: Pipeline,
}

/// What somebody answered last, and whether the last question got an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// The last answer.
    pub value: Option<T>,
    /// When it came, by the feed's clock.
    pub answered_ms: Option<i64>,
    /// Why the last question got none.
    pub problem: Option<Problem>,
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self {
            value: None,
            answered_ms: None,
            problem: None,
        }
    }
}

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "code", content = "text")]
pub enum Problem {
    /// Nobody takes the question.
    Unreachable,
    /// Somebody took it and did not answer in time.
    Timeout,
    /// The answer was this error.
    Failed(String),
}

/// What the first page shows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overview {
    /// The sink's picture.
    pub sink: Answer<overview::Overview>,
    /// The newest alerts, newest first.
    pub alerts: Answer<Vec<Alert>>,
    /// What passes on the bus, whether or not a sink stores it.
    pub traffic: Traffic,
}

/// Events as they pass in EVENTS.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Mean of the last seconds, at most 5; none until the feed has listened for one.
    pub per_second: Option<f64>,
    /// The same by kind.
    pub kinds: Vec<KindRate>,
    /// When the newest passed.
    pub newest_ms: Option<i64>,
}

/// Events of one kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KindRate {
    /// The kind's name.
    pub kind: String,
    /// Events a second.
    pub per_second: f64,
}

/// An alert: of the view `alert`, or as it was raised.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Alert {
    /// The rule that found it.
    pub rule: String,
    /// info, warning or critical.
    pub severity: String,
    /// What it is about.
    pub key: String,
    /// In words.
    pub message: String,
    /// Events that matched in its window, so far.
    pub count: u64,
    /// The first of them.
    pub first_ms: i64,
    /// The last of them.
    pub last_ms: i64,
}

/// One event of many.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// When it passed.
    pub at_ms: i64,
    /// Its kind.
    pub kind: String,
    /// Its name, or the model called.
    pub name: String,
    /// Who sent it.
    pub source: String,
}

/// Streams, workers, dead letters, files.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pipeline {
    /// The nats-server: `host:port`.
    pub server: String,
    /// Its version.
    pub server_version: String,
    /// Why the figures of streams are old or missing.
    pub problem: Option<String>,
    /// In the order of the topology.
    pub streams: Vec<Stream>,
    /// Every copy of every worker that reports, by name.
    pub workers: Vec<Worker>,
    /// Further copies, not listed.
    pub workers_omitted: u64,
    /// The newest dead letters, newest first.
    pub dead: Vec<DeadLetter>,
    /// Files of the archive, by state.
    pub archive: Answer<Vec<ArchiveState>>,
    /// The ledger by epoch and kind; of what is missing and of earlier epochs only the first few.
    pub ledger: Answer<ledger::Report>,
}

/// A stream's figures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Held now.
    pub messages: u64,
    /// Held now.
    pub bytes: u64,
    /// It refuses new messages beyond this; none: no limit.
    pub bytes_max: Option<u64>,
    /// The newest it ever gave.
    pub last_sequence: u64,
    /// Messages published a second; none until two readings were made.
    pub per_second: Option<f64>,
    /// Who reads it.
    pub durables: Vec<Durable>,
}

/// How far a reader is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Durable {
    /// Its name; mostly the worker's.
    pub name: String,
    /// Messages not yet acknowledged: delivered or not.
    pub lag_messages: u64,
    /// Age of the oldest of them; none if there is none, or it could not be read.
    pub lag_seconds: Option<f64>,
    /// The part of `lag_messages` that is being worked on.
    pub ack_pending: u64,
    /// Messages acknowledged a second; none until two readings were made.
    pub per_second: Option<f64>,
}

/// One copy of a worker, from its heartbeats.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Worker {
    /// Its name.
    pub worker: String,
    /// This copy: a ULID.
    pub instance: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// aiai's version.
    pub version: String,
    /// When it started, by its own clock.
    pub started_ms: i64,
    /// When it last reported, by the feed's clock.
    pub heard_ms: i64,
    /// What hinders it.
    pub trouble: Option<String>,
    /// Messages received a second, between its last two reports.
    pub received_per_second: Option<f64>,
    /// Messages published a second, between its last two reports.
    pub published_per_second: Option<f64>,
    /// Events published or stored a second, between its last two reports.
    pub events_per_second: Option<f64>,
    /// Messages of its input that wait.
    pub backlog: u64,
    /// Dead letters it published since it started.
    pub dead: u64,
    /// Messages it sent back for another attempt since it started.
    pub retried: u64,
}

/// A rejected message, as its headers tell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Sequence in DEAD.
    pub sequence: u64,
    /// When NATS stored it.
    pub at_ms: i64,
    /// The worker that refused it.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// Code of the reason.
    pub reason: String,
    /// Where in the payload.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

/// Archived files of one state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArchiveState {
    /// copy, cold or missing.
    pub state: String,
    /// Files.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their size.
    pub bytes: u64,
}
