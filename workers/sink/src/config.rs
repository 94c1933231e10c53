//! The `[sink]` section.

use std::path::Path;

use bus::writer::CommitConfig;
use serde::{Deserialize, Serialize};

use crate::Settings;

/// The database file in the data folder.
pub const DATABASE_FILE: &str = "aiai.duckdb";

/// The `[sink]` section.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory DuckDB may use, writer and queries together.
    pub memory_limit_megabytes: u64,
    /// Disk space queries may spill to.
    pub spill_limit_megabytes: u64,
    /// Threads DuckDB may use; 0: half of the machine's, at least one.
    pub threads: u32,
    /// Size of the write-ahead log at which it is folded into the database file.
    pub wal_megabytes: u64,
    /// How rows are gathered into transactions.
    pub commit: CommitConfig,
    /// What one query may cost.
    pub query: QueryConfig,
    /// Aggregates.
    pub rollup: RollupConfig,
    /// Alerts.
    pub alert: AlertConfig,
    /// Rows in the tables.
    pub retain: RetainConfig,
    /// What is removed from the streams once it is durable here.
    pub trim: TrimConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_limit_megabytes: 192,
            spill_limit_megabytes: 4096,
            threads: 0,
            wal_megabytes: Settings::default().wal_autocheckpoint_mb,
            commit: CommitConfig::default(),
            query: QueryConfig::default(),
            rollup: RollupConfig::default(),
            alert: AlertConfig::default(),
            retain: RetainConfig::default(),
            trim: TrimConfig::default(),
        }
    }
}

impl Config {
    /// DuckDB's threads wait for each other by looking again and again: with as many as the machine has, they take
    /// from ingest and nats-server a tenth of what the sink itself needs.
    fn threads(&self) -> u32 {
        let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let half = u32::try_from(all / 2).unwrap_or(u32::MAX).max(1);
        if self.threads == 0 { half } else { self.threads }
    }

    pub(crate) fn settings(&self, archive: &Path) -> Settings {
        Settings {
            memory_limit_mb: self.memory_limit_megabytes,
            spill_limit_mb: self.spill_limit_megabytes,
            threads: self.threads(),
            series_max: self.rollup.series_max,
            wal_autocheckpoint_mb: self.wal_megabytes.max(1),
            archive_folder: Some(archive.to_owned()),
        }
    }
}

/// Upper limits of `query.sql`; a request may ask for less.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Rows.
    pub rows_max: u64,
    /// Bytes of rows, as JSON.
    pub megabytes_max: u64,
    /// Running time.
    pub timeout_seconds: u32,
    /// Queries running at the same time; each has a connection.
    pub concurrency: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            rows_max: 1_000_000,
            megabytes_max: 256,
            timeout_seconds: 60,
            concurrency: 2,
        }
    }
}

/// Aggregates: how many, how long, how often folded.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollupConfig {
    /// Series of one name in one hour; further ones are added up as `__other__`.
    pub series_max: usize,
    /// Between two rounds of folding.
    pub compact_interval_seconds: u32,
    /// Days for which aggregates of a minute are kept.
    pub keep_1m_days: u32,
    /// Days for which aggregates of an hour are kept.
    pub keep_1h_days: u32,
    /// Days for which aggregates of a day are kept.
    pub keep_1d_days: u32,
}

impl Default for RollupConfig {
    fn default() -> Self {
        Self {
            series_max: 10_000,
            compact_interval_seconds: 60,
            keep_1m_days: 7,
            keep_1h_days: 90,
            keep_1d_days: 365,
        }
    }
}

/// Alerts: how long.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertConfig {
    /// Days for which alerts are kept.
    pub keep_days: u32,
}

impl Default for AlertConfig {
    fn default() -> Self {
        Self { keep_days: 90 }
    }
}

/// Rows in the tables: how long, and how often the archive is looked after.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetainConfig {
    /// Days for which rows stay in the tables once the archive has them.
    pub raw_days: u32,
    /// Between two looks at the archive's files.
    pub interval_seconds: u32,
}

impl Default for RetainConfig {
    fn default() -> Self {
        Self {
            raw_days: 7,
            interval_seconds: 60,
        }
    }
}

/// Trimming of INGEST, EVENTS, ROLLUP, ALERTS, ARCHIVE and DEAD.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrimConfig {
    /// Between two rounds.
    pub interval_seconds: u32,
    /// EVENTS, ROLLUP, ARCHIVE and DEAD are kept so long after they were stored here, bytes permitting.
    pub retain_hours: u32,
    /// Above this share of a stream's byte limit what is durable is trimmed sooner.
    pub full_percent: u8,
}

impl Default for TrimConfig {
    fn default() -> Self {
        Self {
            interval_seconds: 10,
            retain_hours: 24,
            full_percent: 70,
        }
    }
}
