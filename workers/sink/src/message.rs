//! What the sink is handed and what it hands back.

use std::fmt;

use schemas::Time;
use schemas::alert::Match;

use crate::Activity;

/// The stream a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Canonical events: the stream EVENTS.
    Events,
    /// Partial aggregates: the stream ROLLUP.
    Rollup,
    /// What rules found: the stream ALERTS.
    Alerts,
    /// Dead letters: the stream DEAD.
    Dead,
    /// Archive jobs and the files they became: the stream ARCHIVE.
    Archive,
    /// No stream of its own: those messages of EVENTS whose aggregates are in the table `rollup`, or never will be.
    Merged,
    /// No stream of its own: those messages of EVENTS that were archived, or never will be.
    Archived,
    /// No stream of its own: those messages of EVENTS that became dead letters; no row of them was stored.
    Refused,
    /// No stream of its own: those messages of EVENTS that this database never saw, because the stream had lost them.
    Unseen,
}

impl Source {
    /// The stream's name, as the table `checkpoint` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Events => "EVENTS",
            Source::Rollup => "ROLLUP",
            Source::Alerts => "ALERTS",
            Source::Dead => "DEAD",
            Source::Archive => "ARCHIVE",
            Source::Merged => "EVENTS/rollup",
            Source::Archived => "EVENTS/archive",
            Source::Refused => "EVENTS/refused",
            Source::Unseen => "EVENTS/unseen",
        }
    }

    /// The stream with exactly this name.
    pub fn parse(name: &str) -> Option<Source> {
        let all = [
            Source::Events,
            Source::Rollup,
            Source::Alerts,
            Source::Dead,
            Source::Archive,
            Source::Merged,
            Source::Archived,
            Source::Refused,
            Source::Unseen,
        ];
        all.into_iter().find(|source| source.as_str() == name)
    }
}

/// The headers of a message, wherever they are kept.
pub trait Headers {
    /// The first value of the header with exactly this name.
    fn get(&self, name: &str) -> Option<&str>;
    /// Calls `visit` with every name and value.
    fn for_each(&self, visit: &mut dyn FnMut(&str, &str));
}

impl Headers for Vec<(String, String)> {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, &str)) {
        self.iter().for_each(|(name, value)| visit(name, value));
    }
}

/// One message as a stream delivered it. Borrows everything: nothing of it is copied before it is parsed.
#[derive(Clone, Copy)]
pub struct StoredMessage<'a> {
    /// The stream.
    pub source: Source,
    /// ULID of that stream's epoch.
    pub stream_epoch: &'a str,
    /// Sequence in that stream, from 1.
    pub sequence: u64,
    /// Its subject, e.g. `events.metric`.
    pub subject: &'a str,
    /// Its headers.
    pub headers: &'a dyn Headers,
    /// Its payload.
    pub payload: &'a [u8],
    /// When NATS stored it.
    pub stored: Time,
}

/// A message, not a dead letter, that cannot be stored, for the caller to dead-letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its position in the batch.
    pub index: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// What one commit did.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Rows written to the tables of the kinds.
    pub rows: u64,
    /// Origins that came again in another EVENTS message; their rows were not written again.
    pub duplicates: u64,
    /// Rows written to `dead`.
    pub dead: u64,
    /// Redelivered messages, already processed: nothing was to be done.
    pub skipped: u64,
    /// Messages of which nothing was stored.
    pub rejected: Vec<Rejected>,
    /// Messages, by position, that wait for an EVENTS message: to be delivered again.
    pub deferred: Vec<usize>,
    /// Messages made of EVENTS messages that went with their stream before they were stored.
    pub gone: u64,
    /// What was written, for [`crate::Monitor::record`].
    pub activity: Activity,
    /// Alerts of the sink's own, already in the table: to be told.
    pub alerts: Vec<Match>,
}

/// Why a commit failed. The next commit starts from what is stored: normally nothing of this batch.
#[derive(Debug)]
pub struct CommitError {
    /// Whether the same batch may succeed later without anybody touching the program (disk full, memory).
    pub retry: bool,
    /// Whether DuckDB broke on it: perhaps this batch is the cause.
    pub broken: bool,
    /// What to do about it.
    pub fix: &'static str,
    source: anyhow::Error,
}

impl CommitError {
    pub(crate) fn new(source: anyhow::Error) -> Self {
        let text = format!("{source:#}").to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let broken = has(&["fatal error", "invalidated"]);
        let (retry, fix) = if has(&["no space left", "disk full", "not enough space"]) {
            (
                true,
                "free disk space; nothing is lost, the messages stay in NATS",
            )
        } else if has(&["out of memory", "failed to allocate", "could not allocate"]) {
            (
                true,
                "raise sink.memory_limit_megabytes or lower sink.commit.rows_max",
            )
        } else if broken {
            (
                false,
                "restart the sink: DuckDB has closed the database after a fatal error",
            )
        } else if has(&["read-only", "permission denied"]) {
            (
                false,
                "make the data folder writable for this user, then restart the sink",
            )
        } else {
            (
                true,
                "see the sink's log; nothing is lost, the messages stay in NATS",
            )
        };
        CommitError {
            retry,
            broken: broken && !retry,
            fix,
            source,
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not commit to the database ({})", self.fix)
    }
}

impl std::error::Error for CommitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}
