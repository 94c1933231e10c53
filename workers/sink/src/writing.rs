//! One transaction being filled: what each message adds to it.

use std::collections::HashSet;
use std::panic::catch_unwind;

use duckdb::Connection;
use schemas::rollup::{Measured, Partial, fold};
use schemas::{Origins, alert, headers};

use crate::activity::{Activity, Noted};
use crate::alerts;
use crate::columns::{Fill, Stamp};
use crate::dead::{self, DeadLetter, events_message};
use crate::decode::{Canonical, Rows, decode};
use crate::gathered::Gathered;
use crate::notes::DeadNote;
use crate::progress::Progress;
use crate::{Outcome, Rejected, Source, StoredMessage};

/// Rows (and bytes of payload) gathered before they are handed to DuckDB within the transaction.
const GATHERED_ROWS_MAX: usize = 122_880;
const GATHERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How EVENTS messages are stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// The partials of messages up to this sequence are made here: worker rollup's were lost, or never will come.
    pub(crate) own_partials_until: u64,
    /// Rows stay in the files they were read from.
    pub(crate) rows_stay_in_files: bool,
}

/// A transaction being filled.
pub(crate) struct Writing<'s> {
    pub(crate) connection: &'s Connection,
    pub(crate) progress: &'s mut Progress,
    /// ULID of the epoch that EVENTS has now, if it is known.
    pub(crate) events_epoch: Option<&'s str>,
    /// How EVENTS messages are stored.
    pub(crate) manner: Manner,
    pub(crate) gathered: Gathered,
    pub(crate) outcome: Outcome,
}

impl Writing<'_> {
    /// Whether the message is new; notes it as processed from here on.
    pub(crate) fn begin(&mut self, message: &StoredMessage<'_>) -> bool {
        let (source, epoch, sequence) = (message.source, message.stream_epoch, message.sequence);
        if self.progress.is_processed(source, epoch, sequence) {
            self.outcome.skipped += 1;
            return false;
        }
        true
    }

    /// Whether nothing more will come of this epoch of EVENTS: the stream was made anew since. What was made of a
    /// message that is not here by now waits in vain.
    pub(crate) fn has_ended(&self, epoch: &str) -> bool {
        let is_known = || self.progress.processed(Source::Events, epoch).is_some();
        // ULIDs begin with the time: one that is newer than the epoch known here will be told of in a moment.
        self.events_epoch
            .is_some_and(|current| epoch != current && (epoch < current || is_known()))
    }

    pub(crate) fn dead_letters(&mut self, batch: &[StoredMessage<'_>]) -> anyhow::Result<()> {
        let mut letters = Vec::new();
        let mut notes = Vec::new();
        for (index, message) in batch.iter().enumerate() {
            if message.source != Source::Dead || !self.begin(message) {
                continue;
            }
            if let Some(note) = DeadNote::read(message) {
                if note.is_early(self.progress) {
                    self.outcome.deferred.push(index);
                    continue;
                }
                self.processed(message);
                notes.push(note);
                continue;
            }
            let letter = DeadLetter::read(message);
            if let Some((epoch, sequence)) = letter.unmade_partial() {
                let is_stored = self.progress.is_processed(Source::Events, epoch, sequence);
                if !is_stored && !self.has_ended(epoch) {
                    self.outcome.deferred.push(index);
                    continue;
                }
                if is_stored {
                    self.make_partial(message, epoch, sequence);
                }
            }
            if let Some(job) = letter.given_up_job() {
                self.given_up(&job);
            }
            self.processed(message);
            letters.push((message, letter));
        }
        let (messages, letters): (Vec<&StoredMessage<'_>>, Vec<DeadLetter<'_>>) = letters.into_iter().unzip();
        let mut known = dead::known_keys(self.connection, self.progress, &letters)?;
        for (message, letter) in messages.into_iter().zip(&letters) {
            self.dead_letter(message, letter, &mut known)?;
        }
        if !notes.is_empty() {
            // The letters they are about may be of this very transaction.
            self.flush()?;
        }
        notes.iter().try_for_each(|note| note.apply(self.connection))
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
            epoch.bury(letter.kind(), &letter.origins);
        }
        let key = id.and_then(|id| letter.key(id));
        if key.is_some_and(|key| !known.insert(key)) {
            return Ok(());
        }
        let of_one_item = letter.epoch.filter(|_| letter.is_of_one_item());
        if let Some(epoch) = of_one_item.and_then(|name| self.progress.epoch(name, message.stored)) {
            epoch.kinds.item_dead(letter.kind());
        }
        self.gathered.dead.push(letter, id)?;
        self.outcome.dead += 1;
        self.gather(1, message.payload.len())
    }

    pub(crate) fn events(&mut self, index: usize, message: &StoredMessage<'_>) -> anyhow::Result<()> {
        if !self.begin(message) {
            return Ok(());
        }
        let decoded = decode(message).and_then(|events| {
            let events_epoch = self.progress.events_epoch(message.stream_epoch, message.stored);
            let epoch = self.progress.epoch(events.epoch, message.stored);
            let epochs = epoch.zip(events_epoch);
            Ok((
                events,
                epochs.ok_or("the database knows 65535 epochs of streams; it takes no more")?,
            ))
        });
        let (events, (epoch, events_epoch)) = match decoded {
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
            events_seq: message.sequence,
            events_epoch,
        };
        let messages = (events.origins.len() - repeated.len(), repeated.len());
        self.processed(message);
        self.duplicates(message, &repeated, stamp.epoch);
        let manner = self.manner;
        let folds = !repeated.is_empty() || message.sequence <= manner.own_partials_until;
        let (gathered, activity) = (&mut self.gathered, &mut self.outcome.activity);
        let partial = folds.then_some(&mut gathered.partial);
        let how = (manner, stamp);
        let rows = match &events.rows {
            Rows::Metric(rows) => push(&mut gathered.metric, activity, partial, rows, &repeated, how),
            Rows::Event(rows) => push(&mut gathered.event, activity, partial, rows, &repeated, how),
            Rows::Usage(rows) => push(&mut gathered.usage, activity, partial, rows, &repeated, how),
            Rows::Step(rows) => push(&mut gathered.step, activity, partial, rows, &repeated, how),
            Rows::Message(rows) => push(&mut gathered.message, activity, partial, rows, &repeated, how),
            Rows::Session(rows) => push(&mut gathered.session, activity, partial, rows, &repeated, how),
            Rows::WorkItem(rows) => push(&mut gathered.work_item, activity, partial, rows, &repeated, how),
        };
        if folds {
            self.merged(message.stream_epoch, message.sequence);
        }
        if let Some(epoch) = self.progress.epoch(events.epoch, message.stored) {
            let (new, repeated) = messages;
            epoch.kinds.stored(events.rows.kind(), new, repeated, rows as u64);
        }
        self.outcome.rows += rows as u64;
        self.gather(rows, message.payload.len())
    }

    /// Merges a partial once its EVENTS message was processed; until then it waits.
    pub(crate) fn partial(&mut self, index: usize, message: &StoredMessage<'_>) {
        if !self.begin(message) {
            return;
        }
        let Some((epoch, sequence)) = events_message(message.headers) else {
            let reason = format!(
                "headers {} and {} name no message of EVENTS",
                headers::EVENTS_EPOCH,
                headers::EVENTS_SEQUENCE
            );
            self.outcome.rejected.push(Rejected { index, reason });
            return;
        };
        if !self.progress.is_processed(Source::Events, epoch, sequence) {
            if self.has_ended(epoch) {
                self.outcome.gone += 1;
                self.processed(message);
            } else {
                self.outcome.deferred.push(index);
            }
            return;
        }
        if !self.progress.is_processed(Source::Merged, epoch, sequence) {
            match Partial::read(message.payload) {
                Ok(partial) => self.gathered.partial.merge(partial),
                Err(error) => {
                    let reason = format!("{:#}", anyhow::Error::new(error));
                    self.outcome.rejected.push(Rejected { index, reason });
                    return;
                }
            }
            self.merged(epoch, sequence);
        }
        self.processed(message);
    }

    /// Counts what rules found in an EVENTS message once that was processed; until then it waits.
    pub(crate) fn matches(&mut self, index: usize, message: &StoredMessage<'_>) -> anyhow::Result<()> {
        if !self.begin(message) {
            return Ok(());
        }
        if message.subject != alert::MATCHES_SUBJECT {
            // Alerts as they are told: not for the database.
            self.processed(message);
            return Ok(());
        }
        let place = events_message(message.headers).ok_or("its headers name no message of EVENTS".to_owned());
        let read = place.and_then(|place| {
            Ok((
                place,
                alert::read(message.payload).map_err(|error| error.to_string())?,
            ))
        });
        let (place, found) = match read {
            Ok(read) => read,
            Err(reason) => {
                self.outcome.rejected.push(Rejected { index, reason });
                return Ok(());
            }
        };
        if !self.progress.is_processed(Source::Events, place.0, place.1) {
            if self.has_ended(place.0) {
                self.outcome.gone += 1;
                self.processed(message);
            } else {
                self.outcome.deferred.push(index);
            }
            return Ok(());
        }
        self.processed(message);
        let refused = self.progress.is_processed(Source::Refused, place.0, place.1);
        if refused || !self.gathered.matches.note(self.connection, place)? {
            return Ok(());
        }
        // What is repeated in this very transaction must be in the table by now.
        self.flush()?;
        let repeated = alerts::repeated(self.connection, place)?;
        for found in &found {
            self.gathered
                .matches
                .push(found, &repeated, message.stored, Some(place));
        }
        Ok(())
    }

    /// Does what worker rollup gave up on. What nobody can fold stays out of the aggregates.
    fn make_partial(&mut self, message: &StoredMessage<'_>, epoch: &str, sequence: u64) {
        if self.progress.is_processed(Source::Merged, epoch, sequence) {
            return;
        }
        let subject = message.headers.get(headers::SUBJECT).unwrap_or_default();
        // It may be here because folding it panicked.
        let folded = catch_unwind(|| Partial::of_events(subject, message.payload));
        match folded {
            Ok(Ok(partial)) => self.gathered.partial.merge(partial),
            Ok(Err(_)) | Err(_) => tracing::error!(
                worker = "sink",
                events_sequence = sequence,
                "the events of a dead letter of worker rollup could not be folded; they are in no aggregate"
            ),
        }
        self.merged(epoch, sequence);
    }

    fn merged(&mut self, epoch: &str, sequence: u64) {
        self.progress.process(Source::Merged, epoch, sequence..=sequence);
    }

    pub(crate) fn processed(&mut self, message: &StoredMessage<'_>) {
        let sequence = message.sequence;
        self.progress
            .process(message.source, message.stream_epoch, sequence..=sequence);
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

    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.gathered.flush(self.connection)
    }
}

/// Adds the rows whose origin is not repeated; says how many. Folds them here, if there is a partial to fold them
/// into: worker rollup's would count them all, or never come.
fn push<T: Canonical + Noted + Measured, C: Fill<T>>(
    columns: &mut C,
    activity: &mut Activity,
    partial: Option<&mut Partial>,
    rows: &[T],
    repeated: &Origins,
    (manner, stamp): (Manner, Stamp),
) -> usize {
    let is_new =
        |row: &&T| repeated.is_empty() || !repeated.contains(row.common().origin.unwrap_or_default());
    let mut added = 0;
    for row in rows.iter().filter(is_new) {
        added += 1;
        if !manner.rows_stay_in_files {
            columns.push(row, stamp);
        }
    }
    activity.note(rows.iter().filter(is_new), stamp.stored);
    if let Some(partial) = partial {
        partial.merge(fold(rows.iter().filter(is_new)));
    }
    added
}
