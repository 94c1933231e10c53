//! The writer: batches of messages in, one transaction each.
//!
//! Invariants: rows, origin sets, duplicates and checkpoints of a batch are committed together or not at all;
//! every origin's rows are stored once, whatever is delivered again, in whatever order, across whatever crash.
//! A message that cannot be stored is refused alone: it never holds up the others.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::Context;
use duckdb::Connection;
use schemas::{Origins, Time};

use crate::alerts::Upkeep;
use crate::config::{AlertConfig, RollupConfig};
use crate::gathered::Gathered;
use crate::memory::{self, Fact};
use crate::open::{self, Settings};
use crate::progress::Progress;
use crate::rollup::Rollups;
use crate::writing::{Manner, Writing};
use crate::{CommitError, Outcome, RangeSet, Reader, Rejected, Source, StoredMessage, schema};

/// The database, open for writing. There is one in a process, used by one thread.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    pub(crate) progress: Progress,
    pub(crate) rollups: Rollups,
    alerts: Upkeep,
    /// The last commit failed and `progress` could not be loaded again yet.
    stale: bool,
    /// ULID of the epoch that EVENTS has now.
    events_epoch: Option<String>,
    /// The newest message that EVENTS had when it was opened.
    events_last: u64,
    /// Sequences to be noted as processed with the next commit that succeeds.
    settled: Vec<(Source, String, RangeInclusive<u64>)>,
    pub(crate) manner: Manner,
}

impl Store {
    /// Opens or creates the database file.
    ///
    /// # Errors
    /// The folder cannot be written, the file is in use by another process, is no database, or was written by
    /// a newer version. The text names the file and the fix.
    pub fn open(path: &Path, settings: &Settings) -> anyhow::Result<Store> {
        let connection = open::open(path, settings)?;
        let progress = Progress::load(&connection)
            .with_context(|| format!("the bookkeeping in {} cannot be read", path.display()))?;
        let rollups = Rollups::load(&connection, settings.series_max)
            .with_context(|| format!("the rollups in {} cannot be read", path.display()))?;
        Ok(Store {
            connection,
            path: path.to_owned(),
            progress,
            rollups,
            alerts: Upkeep::default(),
            stale: false,
            events_epoch: None,
            events_last: 0,
            settled: Vec::new(),
            manner: Manner::default(),
        })
    }

    /// Another connection, for queries. It stays good while the store is written to.
    ///
    /// # Errors
    /// DuckDB has no memory for it.
    pub fn reader(&self) -> anyhow::Result<Reader> {
        Ok(Reader::new(self.connection.try_clone()?))
    }

    /// A ULID that tells this database from every other.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub fn id(&self) -> anyhow::Result<String> {
        schema::database_id(&self.connection)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Up to which sequence every message of a stream's epoch was processed; 0 at the start.
    pub fn checkpoint(&self, source: Source, stream_epoch: &str) -> u64 {
        self.progress
            .processed(source, stream_epoch)
            .map_or(0, RangeSet::contiguous)
    }

    /// Notes, as of the next commit, that a refused message is done with: its dead letter was acknowledged.
    pub fn settle(&mut self, source: Source, stream_epoch: &str, sequence: u64) {
        self.settled
            .push((source, stream_epoch.to_owned(), sequence..=sequence));
        if source == Source::Events {
            // None of its rows is here, so its aggregates must not be either, nor its rows in a file.
            for source in [Source::Merged, Source::Refused] {
                self.settled
                    .push((source, stream_epoch.to_owned(), sequence..=sequence));
            }
        }
    }

    /// Notes which epoch EVENTS has now, and how far it reaches: of others nothing more will come.
    pub fn events_begin(&mut self, epoch: &str, last_sequence: u64) {
        self.events_epoch = Some(epoch.to_owned());
        self.events_last = last_sequence;
    }

    /// Makes the partials of all that EVENTS holds now, as noted before; what is noted is given back, to be remembered.
    pub(crate) fn make_own_partials(&mut self) -> Option<Fact> {
        self.manner.own_partials_until = self.events_last;
        let epoch = self.events_epoch.as_ref()?;
        let value = format!("{epoch} {}", self.events_last);
        Some((memory::OWN_PARTIALS.to_owned(), value))
    }

    /// Goes on making partials as far as it was remembered for this epoch of EVENTS.
    pub(crate) fn own_partials(&mut self, epoch: &str) -> anyhow::Result<()> {
        let remembered = memory::recall(&self.connection, memory::OWN_PARTIALS)?;
        let until = remembered.as_deref().and_then(|value| value.split_once(' '));
        self.manner.own_partials_until = until
            .filter(|(of, _)| *of == epoch)
            .and_then(|(_, until)| until.parse().ok())
            .unwrap_or(0);
        Ok(())
    }

    /// How many messages of a stream up to this one were not processed.
    pub(crate) fn unprocessed(&self, source: Source, stream_epoch: &str, last: u64) -> u64 {
        let absent = self.progress.absent(source, stream_epoch, 1..=last);
        absent
            .iter()
            .map(|range| (range.end() + 1).saturating_sub(*range.start()))
            .sum()
    }

    /// Reads everything kept in memory again before the next commit.
    pub(crate) fn forget(&mut self) {
        self.rollups.forget();
        self.stale = true;
    }

    /// Notes where a stream begins: what lies before was removed from it and will never be delivered. Counts in
    /// [`Store::checkpoint`] at once, is kept with the next commit.
    pub fn begin_at(&mut self, source: Source, stream_epoch: &str, first_sequence: u64) {
        if first_sequence > 1 && self.checkpoint(source, stream_epoch) < first_sequence - 1 {
            let removed = 1..=first_sequence - 1;
            if source == Source::Events {
                for unseen in self.progress.absent(source, stream_epoch, removed.clone()) {
                    // Its rows are not here, so its aggregates must not be either.
                    self.note(Source::Merged, stream_epoch, unseen.clone());
                    self.note(Source::Unseen, stream_epoch, unseen);
                }
                // Nobody can archive them any more.
                self.note(Source::Archived, stream_epoch, removed.clone());
            }
            self.note(source, stream_epoch, removed);
        }
    }

    /// Notes that these messages were removed from their stream. Counts as [`Store::begin_at`] does.
    pub fn give_up(&mut self, source: Source, stream_epoch: &str, sequences: RangeInclusive<u64>) {
        if source == Source::Events {
            // As for a refused message: its rows are not here, so what was made of it must not be either.
            for derived in [Source::Merged, Source::Refused] {
                self.note(derived, stream_epoch, sequences.clone());
            }
        }
        self.note(source, stream_epoch, sequences);
    }

    /// Counts at once, is kept with the next commit.
    pub(crate) fn note(&mut self, source: Source, stream_epoch: &str, sequences: RangeInclusive<u64>) {
        self.progress.process(source, stream_epoch, sequences.clone());
        self.settled.push((source, stream_epoch.to_owned(), sequences));
    }

    /// The lowest sequence of a stream that was not processed although a later one was.
    pub fn hole(&self, source: Source, stream_epoch: &str) -> Option<u64> {
        let processed = self.progress.processed(source, stream_epoch)?;
        let next = processed.contiguous() + 1;
        let settled = self.settled.iter().any(|(of, epoch, sequences)| {
            (*of, epoch.as_str()) == (source, stream_epoch) && sequences.contains(&next)
        });
        (processed.last()? > next && !settled).then_some(next)
    }

    /// Folds and forgets aggregates and alerts as far as it is time to.
    ///
    /// # Errors
    /// The database failed. No number has changed; the next call tries again.
    pub fn maintain(&mut self, rollup: &RollupConfig, alerts: &AlertConfig, now: Time) -> anyhow::Result<()> {
        self.rollups.maintain(&self.connection, rollup, now)?;
        self.alerts.maintain(&self.connection, alerts, now)
    }

    /// Stores a batch in one transaction.
    ///
    /// A message that was processed before is skipped. An EVENTS message that cannot be read or stored is
    /// returned in [`Outcome::rejected`]; the caller dead-letters it and then calls [`Store::settle`].
    ///
    /// # Errors
    /// The database failed. The batch can be delivered again as it is: what is stored is skipped then, and normally
    /// nothing is. The next commit works if the cause is gone.
    pub fn commit(&mut self, batch: &[StoredMessage<'_>]) -> Result<Outcome, CommitError> {
        self.commit_part(batch).map_err(CommitError::new)
    }

    /// Commits; if DuckDB refuses a value in it, finds the message by halving, and refuses that one alone.
    fn commit_part(&mut self, batch: &[StoredMessage<'_>]) -> anyhow::Result<Outcome> {
        let error = match self.commit_once(batch) {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        if !is_about_data(&error) {
            return Err(error);
        }
        if let [message] = batch {
            if message.source == Source::Dead {
                return Err(error);
            }
            let reason = format!("the database refused a value: {error:#}");
            return Ok(Outcome {
                rejected: vec![Rejected { index: 0, reason }],
                ..Outcome::default()
            });
        }
        let (first, second) = batch.split_at(batch.len() / 2);
        let mut outcome = self.commit_part(first)?;
        outcome.merge(self.commit_part(second)?, first.len());
        Ok(outcome)
    }

    fn commit_once(&mut self, batch: &[StoredMessage<'_>]) -> anyhow::Result<Outcome> {
        if self.stale {
            self.progress = Progress::load(&self.connection)?;
            self.stale = false;
        }
        let result = self.write(batch);
        match &result {
            Ok(_) => self.settled.clear(),
            Err(_) => {
                // Fails where no transaction is open any more, e.g. when COMMIT itself failed.
                let _ = self.connection.execute_batch("ROLLBACK");
                self.forget();
            }
        }
        result
    }

    fn write(&mut self, batch: &[StoredMessage<'_>]) -> anyhow::Result<Outcome> {
        for (source, epoch, sequences) in &self.settled {
            self.progress.process(*source, epoch, sequences.clone());
        }
        self.connection.execute_batch("BEGIN")?;
        let mut writing = Writing {
            connection: &self.connection,
            progress: &mut self.progress,
            events_epoch: self.events_epoch.as_deref(),
            manner: self.manner,
            gathered: Gathered::default(),
            outcome: Outcome::default(),
        };
        let of = |source| {
            let messages = batch.iter().enumerate();
            messages.filter(move |(_, message)| message.source == source)
        };
        for (index, message) in of(Source::Events) {
            writing.events(index, message)?;
        }
        // These may wait for events, so they come after them.
        for (index, message) in of(Source::Rollup) {
            writing.partial(index, message);
        }
        for (index, message) in of(Source::Alerts) {
            writing.matches(index, message)?;
        }
        for (index, message) in of(Source::Archive) {
            writing.archive(index, message)?;
        }
        writing.dead_letters(batch)?;
        writing.flush()?;
        let Writing {
            mut gathered,
            mut outcome,
            ..
        } = writing;
        outcome.alerts = self.rollups.append(&self.connection, gathered.partial)?;
        let stored = batch.iter().map(|message| message.stored.0).max();
        let stored = Time(stored.unwrap_or_default());
        for found in &outcome.alerts {
            gathered.matches.push(found, &Origins::new(), stored, None);
        }
        gathered.matches.append(&self.connection)?;
        if self.progress.has_changed() {
            self.progress.save(&self.connection)?;
        }
        self.connection.execute_batch("COMMIT")?;
        Ok(outcome)
    }
}

/// Whether a value in the batch is to blame, rather than the disk, the memory or the program. The appender leaves
/// out the kind of its errors, so their words are looked for.
fn is_about_data(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    let words = [
        "constraint failed",
        "conversion error",
        "could not convert",
        "invalid unicode",
        "out of range",
    ];
    words.iter().any(|word| text.contains(word))
}

impl Outcome {
    /// Adds the outcome of the messages that followed the first `offset` ones.
    fn merge(&mut self, later: Outcome, offset: usize) {
        self.rows += later.rows;
        self.duplicates += later.duplicates;
        self.dead += later.dead;
        self.skipped += later.skipped;
        self.gone += later.gone;
        self.rejected
            .extend(later.rejected.into_iter().map(|rejected| Rejected {
                index: rejected.index + offset,
                ..rejected
            }));
        self.deferred
            .extend(later.deferred.into_iter().map(|index| index + offset));
        self.activity.merge(later.activity);
        self.alerts.extend(later.alerts);
    }
}
