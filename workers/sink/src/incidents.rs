//! What happened to streams, durables and the database itself: a row in `alert`, an alert, and a line in the log.

use schemas::alert::{Match, OriginCounts, Severity};
use schemas::{Time, subjects};

/// A stream was deleted and made again.
pub(crate) const STREAM_RECREATED: &str = "stream_recreated";
/// A stream was older than the database.
pub(crate) const STREAM_OLDER: &str = "stream_older";
/// A durable was deleted and made again.
pub(crate) const DURABLE_RECREATED: &str = "durable_recreated";
/// The database is an older copy of itself.
pub(crate) const DATABASE_RESTORED: &str = "database_restored";
/// The database is new, what it is to hold is not.
pub(crate) const DATABASE_NEW: &str = "database_new";
/// Rows came back from the archive.
pub(crate) const ARCHIVE_RESTORED: &str = "archive_restored";
/// INGEST is read again.
pub(crate) const INGEST_REREAD: &str = "ingest_reread";

/// Something an operator should hear of, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incident {
    pub(crate) rule: &'static str,
    pub(crate) severity: Severity,
    /// Which stream, durable or file.
    pub(crate) key: String,
    /// One sentence.
    pub(crate) message: String,
}

impl Incident {
    /// Says it in the log, and as an alert of this moment. Each has a window of its own: none is another's repeat.
    pub(crate) fn found(&self, now: Time) -> Match {
        let (rule, key, message) = (self.rule, &self.key, &self.message);
        match self.severity {
            Severity::Critical => tracing::error!(worker = "sink", rule, key, "{message}"),
            Severity::Warning => tracing::warn!(worker = "sink", rule, key, "{message}"),
            Severity::Info => tracing::info!(worker = "sink", rule, key, "{message}"),
        }
        let now_ms = now.as_millis();
        Match {
            rule: self.rule.to_owned(),
            severity: self.severity,
            key: self.key.clone(),
            tenant: subjects::DEFAULT_TENANT.to_owned(),
            window_start_ms: schemas::alert::window_start(now_ms, 1),
            window_seconds: 1,
            count: 1,
            first_ms: now_ms,
            last_ms: now_ms,
            message: self.message.clone(),
            sample: None,
            origins: OriginCounts::default(),
        }
    }
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(messages: u64) -> String {
    format!("{messages} message{}", if messages == 1 { "" } else { "s" })
}
