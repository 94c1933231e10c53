//! Answers `query.overview`: the live picture, and the ledger as the database has it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use duckdb::{Connection, OptionalExt, params};
use schemas::archive::{Coverage, CoverageRequest};
use schemas::overview::{DatabaseInfo, Ledger, Overview};
use schemas::{Time, headers};

use crate::activity::SECOND;
use crate::live::Live;
use crate::{Outcome, RangeSet, Source, Store, StreamFigures, archive, ledger};

/// The state of the whole system, ready to be shown. Shared between threads.
pub struct Monitor {
    live: Mutex<Live>,
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Monitor {
    /// Reads the last 15 minutes from the database. Do this before the first commit.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open(store: &Store, now: Time) -> anyhow::Result<Monitor> {
        let live = Live::load(store.connection(), now).context("could not read the last 15 minutes")?;
        Ok(Monitor {
            live: Mutex::new(live),
            connection: Mutex::new(store.connection().try_clone()?),
            path: store.path().to_owned(),
        })
    }

    /// Takes in what a commit wrote.
    pub fn record(&self, outcome: &Outcome) {
        lock(&self.live).add(&outcome.activity);
    }

    /// The overview as of `now`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn overview(&self, figures: &StreamFigures, now: Time) -> anyhow::Result<Overview> {
        let ledger = self.ledger(figures).context("could not read the ledger")?;
        let dead_open = self.dead_open().context("could not count the dead letters")?;
        let second = now.0.div_euclid(SECOND);
        let live = lock(&self.live);
        let (sources, sources_omitted) = live.rates.sources(second);
        Ok(Overview {
            at_ms: now.as_millis(),
            rate: live.rates.rate(second),
            newest_event_ms: live.newest_ms(),
            kinds_total: live.kinds_total(),
            sources,
            sources_omitted,
            nodes: live.vitals.nodes(second),
            usage_today: live.usage_today(now),
            ledger,
            dead_open,
            database: self.database(),
        })
    }

    /// Every INGEST message of the epoch up to this sequence is stored or dead here.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn ingest_watermark(&self, epoch: &str) -> anyhow::Result<u64> {
        let connection = lock(&self.connection);
        let either = read_set(&connection, epoch, "stored")?.union(&read_set(&connection, epoch, "dead")?);
        Ok(either.contiguous())
    }

    /// The INGEST messages of the epoch that are stored or dead here.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn accounted(&self, epoch: &str) -> anyhow::Result<RangeSet> {
        let connection = lock(&self.connection);
        Ok(read_set(&connection, epoch, "stored")?.union(&read_set(&connection, epoch, "dead")?))
    }

    /// Whether it is known what became of a message of another stream than INGEST, at this stage: its aggregates are
    /// merged, or there is a dead letter.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn is_accounted(
        &self,
        stream: &str,
        epoch: &str,
        sequence: u64,
        stage: &str,
    ) -> anyhow::Result<bool> {
        let connection = lock(&self.connection);
        if stage == "rollup" && archive::processed_set(&connection, Source::Merged, epoch)?.contains(sequence)
        {
            return Ok(true);
        }
        let (named, lives) = match stream {
            "EVENTS" => (headers::EVENTS_SEQUENCE, headers::EVENTS_EPOCH),
            _ => (headers::ORIGIN, headers::EPOCH),
        };
        let sql = format!(
            "SELECT count(*) FROM dead WHERE stage = ? AND (headers->>'{named}') = ? AND (headers->>'{lives}') = ?"
        );
        let letters: u64 = connection
            .prepare(&sql)?
            .query_row(params![stage, sequence.to_string(), epoch], |row| row.get(0))?;
        Ok(letters > 0)
    }

    /// Every message of a stream's epoch up to this sequence was processed.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn checkpoint(&self, source: Source, epoch: &str) -> anyhow::Result<u64> {
        read_checkpoint(&lock(&self.connection), source, epoch)
    }

    /// Where the messages begin, from this sequence of EVENTS on, that the archive still needs.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn first_unarchived(&self, epoch: &str, from: u64) -> anyhow::Result<u64> {
        let connection = lock(&self.connection);
        Ok(archive::processed_set(&connection, Source::Archived, epoch)?.first_absent(from))
    }

    /// What became of a range of EVENTS.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn coverage(&self, request: &CoverageRequest) -> anyhow::Result<Coverage> {
        let connection = lock(&self.connection);
        connection.execute_batch("BEGIN TRANSACTION READ ONLY")?;
        let coverage = archive::coverage(&connection, request);
        connection.execute_batch("ROLLBACK")?;
        coverage
    }

    fn dead_open(&self) -> anyhow::Result<u64> {
        let sql = "SELECT count(*) FROM dead WHERE state = 'open'";
        // Not prepared for later: a plan made while no row was open is kept, and finds none ever after.
        Ok(lock(&self.connection).query_row(sql, [], |row| row.get(0))?)
    }

    fn database(&self) -> DatabaseInfo {
        let bytes = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let mut wal = self.path.clone().into_os_string();
        wal.push(".wal");
        DatabaseInfo {
            path: self.path.display().to_string(),
            bytes: bytes(&self.path),
            wal_bytes: bytes(wal.as_ref()),
        }
    }

    fn ledger(&self, figures: &StreamFigures) -> anyhow::Result<Ledger> {
        let connection = lock(&self.connection);
        connection.execute_batch("BEGIN TRANSACTION READ ONLY")?;
        let ledger = read_ledger(&connection, figures);
        connection.execute_batch("ROLLBACK")?;
        ledger
    }
}

fn read_set(connection: &Connection, epoch: &str, outcome: &str) -> anyhow::Result<RangeSet> {
    let sql = "SELECT ranges FROM origin_sets JOIN epochs ON epochs.id = origin_sets.epoch
               WHERE epochs.epoch = ? AND outcome = ?";
    let ranges: Option<String> = connection
        .prepare_cached(sql)?
        .query_row(params![epoch, outcome], |row| row.get(0))
        .optional()?;
    Ok(RangeSet::parse(&ranges.unwrap_or_default())?)
}

fn read_checkpoint(connection: &Connection, source: Source, epoch: &str) -> anyhow::Result<u64> {
    let sql = "SELECT seq FROM checkpoint WHERE stream = ? AND epoch = ?";
    let seq = connection
        .prepare_cached(sql)?
        .query_row(params![source.as_str(), epoch], |row| row.get(0))
        .optional()?;
    Ok(seq.unwrap_or(0))
}

fn read_ledger(connection: &Connection, figures: &StreamFigures) -> anyhow::Result<Ledger> {
    let duplicates: u64 = connection
        .prepare_cached(
            "SELECT count(*) FROM duplicates JOIN epochs ON epochs.id = duplicates.epoch WHERE epochs.epoch = ?",
        )?
        .query_row(params![figures.epoch], |row| row.get(0))?;
    let checkpoints = (
        read_checkpoint(connection, Source::Events, &figures.events_epoch)?,
        read_checkpoint(connection, Source::Dead, &figures.dead_epoch)?,
    );
    let stored = read_set(connection, &figures.epoch, "stored")?;
    let dead = read_set(connection, &figures.epoch, "dead")?;
    Ok(ledger(figures, &stored, &dead, checkpoints, duplicates))
}

/// A panic elsewhere leaves counters that are still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
