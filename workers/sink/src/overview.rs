//! Answers `query.overview`: the live picture, and the ledger as the database has it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use duckdb::{Connection, OptionalExt, params};
use schemas::alert::Match;
use schemas::archive::{Coverage, CoverageRequest};
use schemas::ledger::Report;
use schemas::overview::{DatabaseInfo, Ledger, Overview};
use schemas::{Time, headers};

use crate::accounts::{self, Accounts};
use crate::activity::SECOND;
use crate::guard::Guard;
use crate::incidents::Incident;
use crate::ledger::Found;
use crate::live::Live;
use crate::memory::{self, Fact};
use crate::{Activity, Horizon, Outcome, RangeSet, Source, Store, StreamFigures, archive};

/// The state of the whole system, ready to be shown. Shared between threads.
pub struct Monitor {
    live: Mutex<Live>,
    connection: Mutex<Connection>,
    horizon: Mutex<Horizon>,
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
            horizon: Mutex::default(),
            path: store.path().to_owned(),
        })
    }

    /// Takes in what a commit wrote.
    pub fn record(&self, outcome: &Outcome) {
        lock(&self.live).add(&outcome.activity);
    }

    /// Takes in what came back from the archive.
    pub(crate) fn note(&self, activity: &Activity) {
        lock(&self.live).add(activity);
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

    /// When the newest stored message of EVENTS was stored by NATS, in milliseconds since 1970.
    pub(crate) fn newest_ms(&self) -> Option<i64> {
        lock(&self.live).newest_ms()
    }

    /// See [`Guard::check`].
    pub(crate) fn check(&self, guard: &Guard) -> anyhow::Result<()> {
        guard.check(&lock(&self.connection))
    }

    /// Nothing that is stored or dead here came to NATS later than this; none: the tables do not tell, because their
    /// rows are in files.
    pub(crate) fn newest_arrival(&self) -> anyhow::Result<Option<Time>> {
        let sql = "SELECT epoch_us(max(known)) FROM (SELECT max(dead_at) AS known FROM dead
                   UNION ALL SELECT max(archived_at) FROM archive_file)";
        let others: Option<i64> = lock(&self.connection).query_row(sql, [], |row| row.get(0))?;
        let rows = lock(&self.live).newest_ms();
        Ok(rows.map(|newest| Time(((newest + 1) * 1000).max(others.unwrap_or(i64::MIN)))))
    }

    /// What is remembered of NATS: see `memory`.
    pub(crate) fn recall(&self, name: &str) -> anyhow::Result<Option<String>> {
        memory::recall(&lock(&self.connection), name)
    }

    /// Remembers, and stores what is to be told of: see `memory`.
    pub(crate) fn remember(
        &self,
        facts: &[Fact],
        incidents: &[Incident],
        now: Time,
    ) -> anyhow::Result<Vec<Match>> {
        memory::remember(&lock(&self.connection), facts, incidents, now)
    }

    /// The INGEST messages of an epoch that are stored or dead here.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn accounted(&self, epoch: &str) -> anyhow::Result<RangeSet> {
        let connection = lock(&self.connection);
        Ok(read_set(&connection, epoch, "stored")?.union(&read_set(&connection, epoch, "dead")?))
    }

    /// The INGEST messages from `first` on that were processed, and are neither stored nor dead though EVENTS and DEAD
    /// are read to their ends.
    pub(crate) fn missing(
        &self,
        figures: &StreamFigures,
        first: u64,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        let behind =
            |source, epoch: &str, last| Ok::<_, anyhow::Error>(self.checkpoint(source, epoch)? < last);
        let last = figures.ingest_ack_floor;
        if behind(
            Source::Events,
            &figures.events_epoch,
            figures.events_last_sequence,
        )? || behind(Source::Dead, &figures.dead_epoch, figures.dead_last_sequence)?
            || first > last
        {
            return Ok(Vec::new());
        }
        Ok(self.accounted(&figures.epoch)?.gaps(&(first..=last)))
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
        self.read(|connection| archive::coverage(connection, request))
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
        self.read(|connection| {
            let account = accounts::current(connection, figures, &mut lock(&self.horizon))?;
            Ok(account.sum(&account.holes()))
        })
    }

    /// The ledger as the database alone knows it: messages in neither set are of no kind.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn report(&self, figures: &StreamFigures, now: Time) -> anyhow::Result<Report> {
        let accounts = self.accounts(figures)?;
        Ok(accounts.report(&accounts.current.holes(), Found::default(), now))
    }

    /// All epochs of INGEST, with their kinds.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn accounts(&self, figures: &StreamFigures) -> anyhow::Result<Accounts> {
        self.read(|connection| accounts::all(connection, figures, &mut lock(&self.horizon)))
    }

    /// Keeps how far an epoch of INGEST got, should the stream be gone one day.
    ///
    /// # Errors
    /// The database cannot be written.
    pub(crate) fn note_published(&self, epoch: &str, published: u64) -> anyhow::Result<()> {
        accounts::remember(&lock(&self.connection), epoch, published)
    }

    /// Everything read is of one moment.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let connection = lock(&self.connection);
        connection.execute_batch("BEGIN TRANSACTION READ ONLY")?;
        let value = read(&connection);
        connection.execute_batch("ROLLBACK")?;
        value
    }
}

pub(crate) fn read_set(connection: &Connection, epoch: &str, outcome: &str) -> anyhow::Result<RangeSet> {
    let sql = "SELECT ranges FROM origin_sets JOIN epochs ON epochs.id = origin_sets.epoch
               WHERE epochs.epoch = ? AND outcome = ?";
    let mut set = RangeSet::new();
    let mut chunks = connection.prepare_cached(sql)?;
    let mut rows = chunks.query(params![epoch, outcome])?;
    while let Some(row) = rows.next()? {
        set.extend(&row.get::<_, String>(0)?.parse()?);
    }
    Ok(set)
}

fn read_checkpoint(connection: &Connection, source: Source, epoch: &str) -> anyhow::Result<u64> {
    let sql = "SELECT seq FROM checkpoint WHERE stream = ? AND epoch = ?";
    let seq = connection
        .prepare_cached(sql)?
        .query_row(params![source.as_str(), epoch], |row| row.get(0))
        .optional()?;
    Ok(seq.unwrap_or(0))
}

/// A panic elsewhere leaves counters that are still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn an_empty_database_says_nothing_of_arrivals_and_letters_alone_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("a.duckdb"), &Settings::default()).unwrap();
        let of = |store: &Store| Monitor::open(store, Time(0)).unwrap().newest_arrival().unwrap();
        assert_eq!(of(&store), None);
        let row =
            "INSERT INTO metric BY NAME SELECT 'x' AS name, 1.0 AS value, make_timestamp(5000000) AS stored";
        store.connection().execute_batch(row).unwrap();
        assert_eq!(of(&store), Some(Time(5_001_000)));
        let letter = "INSERT INTO dead BY NAME SELECT make_timestamp(7000000) AS dead_at";
        store.connection().execute_batch(letter).unwrap();
        assert_eq!(of(&store), Some(Time(7_000_000)));
    }
}
