//! Alerts in the table `alert_match`: deltas are appended, the view `alert` merges them, closed ones are folded.
//!
//! What rules found in an EVENTS message is counted once: its rows name that message until they are folded, by
//! when EVENTS no longer holds it. Deliberately absent: doing the rules' work where worker route gave up, as is
//! done for rollups; the dead letter is the trace of it.

use std::collections::HashSet;

use anyhow::Context;
use duckdb::Connection;
use duckdb::arrow::datatypes::{TimestampMicrosecondType, UInt32Type, UInt64Type};
use schemas::alert::{Match, OriginCounts, SERIES_RULE, Severity};
use schemas::rollup::HOUR_MICROSECONDS;
use schemas::{Origins, Time};

use crate::appending::{self, NumberColumn, TextColumn, numbers};
use crate::config::AlertConfig;
use crate::schema::Column;
use crate::series::Limited;

/// The table.
pub(crate) const COLUMNS: &[Column] = &[
    ("rule", "VARCHAR", "the rule that matched"),
    ("severity", "VARCHAR", "info, warning or critical"),
    (
        "key",
        "VARCHAR",
        "what the rule tells apart; __other__: keys past the limit",
    ),
    ("tenant", "VARCHAR", "whose events"),
    ("window_start", "TIMESTAMP", "start of the window, UTC"),
    ("window_seconds", "UINTEGER", "width of the window"),
    ("count", "UBIGINT", "events that matched"),
    ("first_ts", "TIMESTAMP", "when the first of them happened, UTC"),
    ("last_ts", "TIMESTAMP", "when the last of them happened, UTC"),
    ("message", "VARCHAR", "the rule's message about the first"),
    ("sample", "JSON", "the first, unless it is large"),
    ("stored", "TIMESTAMP", "when NATS stored what was found, UTC"),
    (
        "events_epoch",
        "VARCHAR",
        "ULID of the epoch of EVENTS; null: folded, or of no event",
    ),
    (
        "events_seq",
        "UBIGINT",
        "sequence in EVENTS of the message that held them",
    ),
];

const DAY_MICROSECONDS: i64 = 24 * HOUR_MICROSECONDS;

/// The rows of `alert_match` that pass a filter, merged into one for each alert.
pub(crate) fn merged(filter: &str) -> String {
    format!(
        "SELECT rule, severity, key, tenant, window_start, window_seconds, sum(count)::UBIGINT AS count,
            min(first_ts) AS first_ts, max(last_ts) AS last_ts,
            arg_min(message, first_ts) AS message, arg_min(sample, first_ts) AS sample, max(stored) AS stored
        FROM alert_match WHERE {filter} GROUP BY rule, severity, key, tenant, window_start, window_seconds"
    )
}

/// An EVENTS message: ULID of its stream's epoch, and its sequence.
pub(crate) type Place<'m> = (&'m str, u64);

/// The table `alert_match` as columns being filled.
#[derive(Default)]
pub(crate) struct MatchColumns {
    rule: TextColumn,
    severity: TextColumn,
    key: TextColumn,
    tenant: TextColumn,
    window_start: Vec<i64>,
    window_seconds: Vec<u32>,
    count: Vec<u64>,
    first_ts: Vec<i64>,
    last_ts: Vec<i64>,
    message: TextColumn,
    sample: TextColumn,
    stored: Vec<i64>,
    events_epoch: TextColumn,
    events_seq: NumberColumn<UInt64Type>,
    /// Those of which there are rows here.
    places: HashSet<(String, u64)>,
}

impl MatchColumns {
    /// Adds a match, but for the origins that were stored with another EVENTS message.
    pub(crate) fn push(&mut self, found: &Match, repeated: &Origins, stored: Time, place: Option<Place<'_>>) {
        let count = if found.origins.is_empty() {
            found.count
        } else {
            found.origins.without(repeated)
        };
        if count == 0 {
            return;
        }
        let microseconds = |milliseconds: i64| milliseconds.saturating_mul(1000);
        self.rule.push(Some(&found.rule));
        self.severity.push(Some(found.severity.as_str()));
        self.key.push(Some(&found.key));
        self.tenant.push(Some(&found.tenant));
        self.window_start.push(microseconds(found.window_start_ms));
        self.window_seconds.push(found.window_seconds);
        self.count.push(count);
        self.first_ts.push(microseconds(found.first_ms));
        self.last_ts.push(microseconds(found.last_ms));
        self.message.push(Some(&found.message));
        self.sample.push(found.sample.as_ref().map(|sample| sample.get()));
        self.stored.push(stored.0);
        self.events_epoch.push(place.map(|(epoch, _)| epoch));
        self.events_seq.push(place.map(|(_, sequence)| sequence));
    }

    /// Notes that what rules found in an EVENTS message is here; false if it was before.
    pub(crate) fn note(
        &mut self,
        connection: &Connection,
        (epoch, sequence): Place<'_>,
    ) -> anyhow::Result<bool> {
        if self.places.contains(&(epoch.to_owned(), sequence)) {
            return Ok(false);
        }
        let sql = "SELECT count(*) FROM alert_match WHERE events_seq = ? AND events_epoch = ?";
        let mut statement = connection.prepare_cached(sql)?;
        let known: u64 = statement.query_row(duckdb::params![sequence, epoch], |row| row.get(0))?;
        self.places.insert((epoch.to_owned(), sequence));
        Ok(known == 0)
    }

    /// Appends what was pushed, within the caller's transaction.
    pub(crate) fn append(&mut self, connection: &Connection) -> anyhow::Result<()> {
        if self.count.is_empty() {
            return Ok(());
        }
        let columns = vec![
            ("rule", self.rule.take()),
            ("severity", self.severity.take()),
            ("key", self.key.take()),
            ("tenant", self.tenant.take()),
            (
                "window_start",
                numbers::<TimestampMicrosecondType>(&mut self.window_start),
            ),
            ("window_seconds", numbers::<UInt32Type>(&mut self.window_seconds)),
            ("count", numbers::<UInt64Type>(&mut self.count)),
            (
                "first_ts",
                numbers::<TimestampMicrosecondType>(&mut self.first_ts),
            ),
            ("last_ts", numbers::<TimestampMicrosecondType>(&mut self.last_ts)),
            ("message", self.message.take()),
            ("sample", self.sample.take()),
            ("stored", numbers::<TimestampMicrosecondType>(&mut self.stored)),
            ("events_epoch", self.events_epoch.take()),
            ("events_seq", self.events_seq.take()),
        ];
        appending::append(connection, "alert_match", columns)
    }
}

/// The origins of an EVENTS message that were stored with another one.
pub(crate) fn repeated(connection: &Connection, (epoch, sequence): Place<'_>) -> anyhow::Result<Origins> {
    let sql = "SELECT origin FROM duplicates WHERE events_seq = ? AND events_epoch = ? ORDER BY origin";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(duckdb::params![sequence, epoch])?;
    let mut origins = Origins::new();
    while let Some(row) = rows.next()? {
        origins.push(row.get(0)?);
    }
    Ok(origins)
}

/// The alert about a name that has too many series.
pub(crate) fn about_series(limited: &Limited, series_max: usize) -> Match {
    Match {
        rule: SERIES_RULE.to_owned(),
        severity: Severity::Warning,
        key: limited.name.clone(),
        tenant: limited.tenant.clone(),
        window_start_ms: limited.hour / 1000,
        window_seconds: 3600,
        count: limited.count,
        first_ms: limited.first / 1000,
        last_ms: limited.last / 1000,
        message: format!(
            "{} has more than {series_max} series an hour; the rest is added up as __other__: \
             give its tags fewer values, or raise sink.rollup.series_max",
            limited.name
        ),
        sample: None,
        origins: OriginCounts::default(),
    }
}

/// When the table was last cleaned up.
#[derive(Default)]
pub(crate) struct Upkeep {
    done_at: Option<Time>,
}

impl Upkeep {
    /// Forgets old alerts, and folds the rows of each one that will not grow any more; once an hour.
    pub(crate) fn maintain(
        &mut self,
        connection: &Connection,
        config: &AlertConfig,
        now: Time,
    ) -> anyhow::Result<()> {
        if self.done_at.is_some_and(|at| now.0 - at.0 < HOUR_MICROSECONDS) {
            return Ok(());
        }
        self.done_at = Some(now);
        let oldest = now.0 - i64::from(config.keep_days) * DAY_MICROSECONDS;
        connection.execute(
            "DELETE FROM alert_match WHERE window_start < make_timestamp(?::BIGINT)",
            [oldest],
        )?;
        // Whole days, so that a row is folded once. Two of them: EVENTS may be kept for one.
        let closed = now.0 - now.0.rem_euclid(DAY_MICROSECONDS) - 2 * DAY_MICROSECONDS;
        // Folded rows name no message, and need no folding again; those of the sink's own rule never did.
        let filter = format!(
            "stored < make_timestamp({closed}::BIGINT) AND (events_seq IS NOT NULL OR rule = '{SERIES_RULE}')"
        );
        let folded = connection.execute_batch(&format!(
            "BEGIN;
             CREATE OR REPLACE TEMP TABLE alert_folded AS {};
             DELETE FROM alert_match WHERE {filter};
             INSERT INTO alert_match BY NAME SELECT * FROM alert_folded;
             DROP TABLE alert_folded;
             COMMIT;",
            merged(&filter)
        ));
        if folded.is_err() {
            // Fails where no transaction is open any more.
            let _ = connection.execute_batch("ROLLBACK");
        }
        folded.context("alerts could not be folded")
    }
}
