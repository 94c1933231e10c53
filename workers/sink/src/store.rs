//! The writer: batches of messages in, one transaction each.
//!
//! Invariants: rows, origin sets, duplicates and checkpoints of a batch are committed together or not at all;
//! every origin's rows are stored once, whatever is delivered again, in whatever order, across whatever crash.
//! A message that cannot be stored is refused alone: it never holds up the others.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::Context;
use duckdb::Connection;
use duckdb::arrow::datatypes::{UInt16Type, UInt64Type};
use schemas::Origins;

use crate::activity::{Activity, Noted};
use crate::appending::{self, TextColumn, numbers};
use crate::columns::{EventColumns, Fill, MetricColumns, Stamp, UsageColumns};
use crate::dead::{self, DeadColumns, DeadLetter};
use crate::decode::{Canonical, Rows, decode};
use crate::open::{self, Settings};
use crate::progress::Progress;
use crate::{CommitError, Outcome, RangeSet, Reader, Rejected, Source, StoredMessage, schema};

/// Rows (and bytes of payload) gathered before they are handed to DuckDB within the transaction.
const GATHERED_ROWS_MAX: usize = 122_880;
const GATHERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The database, open for writing. There is one in a process, used by one thread.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    progress: Progress,
    /// The last commit failed and `progress` could not be loaded again yet.
    stale: bool,
    /// Sequences to be noted as processed with the next commit that succeeds.
    settled: Vec<(Source, String, RangeInclusive<u64>)>,
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
        Ok(Store {
            connection,
            path: path.to_owned(),
            progress,
            stale: false,
            settled: Vec::new(),
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
    }

    /// Notes where a stream begins: what lies before was removed from it and will never be delivered. Counts in
    /// [`Store::checkpoint`] at once, is kept with the next commit.
    pub fn begin_at(&mut self, source: Source, stream_epoch: &str, first_sequence: u64) {
        if first_sequence > 1 && self.checkpoint(source, stream_epoch) < first_sequence - 1 {
            let removed = 1..=first_sequence - 1;
            self.progress.process(source, stream_epoch, removed.clone());
            self.settled.push((source, stream_epoch.to_owned(), removed));
        }
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
                self.stale = true;
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
            gathered: Gathered::default(),
            outcome: Outcome::default(),
        };
        writing.dead_letters(batch)?;
        for (index, message) in batch.iter().enumerate() {
            if message.source == Source::Events {
                writing.events(index, message)?;
            }
        }
        writing.flush()?;
        let outcome = writing.outcome;
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
        self.rejected
            .extend(later.rejected.into_iter().map(|rejected| Rejected {
                index: rejected.index + offset,
                ..rejected
            }));
        self.activity.merge(later.activity);
    }
}

/// Columns not handed to DuckDB yet.
#[derive(Default)]
struct Gathered {
    metric: MetricColumns,
    event: EventColumns,
    usage: UsageColumns,
    dead: DeadColumns,
    duplicate_events_epoch: TextColumn,
    duplicate_events_seq: Vec<u64>,
    duplicate_origin: Vec<u64>,
    duplicate_epoch: Vec<u16>,
    rows: usize,
    bytes: usize,
}

/// A transaction being filled.
struct Writing<'s> {
    connection: &'s Connection,
    progress: &'s mut Progress,
    gathered: Gathered,
    outcome: Outcome,
}

impl Writing<'_> {
    /// Whether the message is new; notes it as processed from here on.
    fn begin(&mut self, message: &StoredMessage<'_>) -> bool {
        let (source, epoch, sequence) = (message.source, message.stream_epoch, message.sequence);
        if self.progress.is_processed(source, epoch, sequence) {
            self.outcome.skipped += 1;
            return false;
        }
        true
    }

    fn dead_letters(&mut self, batch: &[StoredMessage<'_>]) -> anyhow::Result<()> {
        let mut letters = Vec::new();
        for message in batch.iter().filter(|message| message.source == Source::Dead) {
            if self.begin(message) {
                let sequence = message.sequence;
                self.progress
                    .process(message.source, message.stream_epoch, sequence..=sequence);
                letters.push((message, DeadLetter::read(message)));
            }
        }
        let (messages, letters): (Vec<&StoredMessage<'_>>, Vec<DeadLetter<'_>>) = letters.into_iter().unzip();
        let mut known = dead::known_keys(self.connection, self.progress, &letters)?;
        for (message, letter) in messages.into_iter().zip(&letters) {
            self.dead_letter(message, letter, &mut known)?;
        }
        Ok(())
    }

    fn dead_letter(
        &mut self,
        message: &StoredMessage<'_>,
        letter: &DeadLetter<'_>,
        known: &mut HashSet<dead::Key>,
    ) -> anyhow::Result<()> {
        let epoch = letter
            .epoch
            .and_then(|name| self.progress.epoch(name, message.stored));
        let id = epoch.as_ref().map(|epoch| epoch.id);
        if let Some(epoch) = epoch {
            epoch.dead_mut().extend(&letter.origins);
        }
        let key = id.and_then(|id| letter.key(id));
        if key.is_some_and(|key| !known.insert(key)) {
            return Ok(());
        }
        self.gathered.dead.push(letter, id)?;
        self.outcome.dead += 1;
        self.gather(1, message.payload.len())
    }

    fn events(&mut self, index: usize, message: &StoredMessage<'_>) -> anyhow::Result<()> {
        if !self.begin(message) {
            return Ok(());
        }
        let decoded = decode(message).and_then(|events| {
            let epoch = self.progress.epoch(events.epoch, message.stored);
            let epoch = epoch.ok_or("the database knows 65535 epochs of INGEST; it takes no more")?;
            Ok((events, epoch))
        });
        let (events, epoch) = match decoded {
            Ok(decoded) => decoded,
            Err(reason) => {
                self.outcome.rejected.push(Rejected { index, reason });
                return Ok(());
            }
        };
        let repeated = epoch.stored.intersection(&events.origins);
        epoch.stored_mut().extend(&events.origins);
        let stamp = Stamp {
            epoch: epoch.id,
            stored: message.stored.0,
        };
        let sequence = message.sequence;
        self.progress
            .process(message.source, message.stream_epoch, sequence..=sequence);
        self.duplicates(message, &repeated, stamp.epoch);
        let (gathered, activity) = (&mut self.gathered, &mut self.outcome.activity);
        let rows = match &events.rows {
            Rows::Metric(rows) => push(&mut gathered.metric, activity, rows, &repeated, stamp),
            Rows::Event(rows) => push(&mut gathered.event, activity, rows, &repeated, stamp),
            Rows::Usage(rows) => push(&mut gathered.usage, activity, rows, &repeated, stamp),
        };
        self.outcome.rows += rows as u64;
        self.gather(rows, message.payload.len())
    }

    fn duplicates(&mut self, message: &StoredMessage<'_>, repeated: &Origins, epoch: u16) {
        for origin in repeated.ranges().iter().cloned().flatten() {
            let gathered = &mut self.gathered;
            gathered.duplicate_events_epoch.push(Some(message.stream_epoch));
            gathered.duplicate_events_seq.push(message.sequence);
            gathered.duplicate_origin.push(origin);
            gathered.duplicate_epoch.push(epoch);
            self.outcome.duplicates += 1;
        }
    }

    fn gather(&mut self, rows: usize, bytes: usize) -> anyhow::Result<()> {
        self.gathered.rows += rows;
        self.gathered.bytes += bytes;
        if self.gathered.rows >= GATHERED_ROWS_MAX || self.gathered.bytes >= GATHERED_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let gathered = &mut self.gathered;
        flush(self.connection, &mut gathered.metric)?;
        flush(self.connection, &mut gathered.event)?;
        flush(self.connection, &mut gathered.usage)?;
        if gathered.dead.rows() > 0 {
            appending::append(self.connection, "dead", gathered.dead.take())?;
        }
        if !gathered.duplicate_origin.is_empty() {
            let columns = vec![
                ("events_epoch", gathered.duplicate_events_epoch.take()),
                (
                    "events_seq",
                    numbers::<UInt64Type>(&mut gathered.duplicate_events_seq),
                ),
                ("origin", numbers::<UInt64Type>(&mut gathered.duplicate_origin)),
                ("epoch", numbers::<UInt16Type>(&mut gathered.duplicate_epoch)),
            ];
            appending::append(self.connection, "duplicates", columns)?;
        }
        (gathered.rows, gathered.bytes) = (0, 0);
        Ok(())
    }
}

fn flush<T, C: Fill<T>>(connection: &Connection, columns: &mut C) -> anyhow::Result<()> {
    if columns.rows() == 0 {
        return Ok(());
    }
    appending::append(connection, C::TABLE, columns.take())
}

/// Adds the rows whose origin is not repeated; says how many.
fn push<T: Canonical + Noted, C: Fill<T>>(
    columns: &mut C,
    activity: &mut Activity,
    rows: &[T],
    repeated: &Origins,
    stamp: Stamp,
) -> usize {
    let is_new =
        |row: &&T| repeated.is_empty() || !repeated.contains(row.common().origin.unwrap_or_default());
    let before = columns.rows();
    for row in rows.iter().filter(is_new) {
        columns.push(row, stamp);
    }
    activity.note(rows.iter().filter(is_new), stamp.stored);
    columns.rows() - before
}
