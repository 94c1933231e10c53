//! Notes on stream DEAD: what people did about dead letters, from a message to the letters' state.
//!
//! A note changes no origin set and no checkpoint but DEAD's own: the ledger does not see it.

use duckdb::{Connection, params};
use schemas::Time;
use schemas::dead::{Deed, Note};

use crate::progress::Progress;
use crate::{Source, StoredMessage};

/// A note as it lies in DEAD.
pub(crate) struct DeadNote<'a> {
    deed: Deed,
    note: Note,
    /// ULID of the epoch of the stream it is in, and its sequence there.
    place: (&'a str, u64),
    at: Time,
}

impl<'a> DeadNote<'a> {
    /// None: it is a dead letter.
    pub(crate) fn read(message: &StoredMessage<'a>) -> Option<Self> {
        let (deed, note) = Note::read(message.subject, message.payload)?;
        Some(DeadNote {
            deed,
            note,
            place: (message.stream_epoch, message.sequence),
            at: message.stored,
        })
    }

    /// Whether a letter it is about, which lies before it in the stream, is not stored yet.
    pub(crate) fn is_early(&self, progress: &Progress) -> bool {
        let (epoch, sequence) = self.place;
        self.note.epoch.as_deref() == Some(epoch)
            && self.note.letters.iter().any(|noted| {
                noted.letter < sequence && !progress.is_processed(Source::Dead, epoch, noted.letter)
            })
    }

    /// Writes it down, within the caller's transaction.
    pub(crate) fn apply(&self, connection: &Connection) -> anyhow::Result<()> {
        let epoch = self.note.epoch.as_deref();
        let mut insert = connection
            .prepare_cached("INSERT INTO dead_note VALUES (?, ?, ?, ?, ?, ?, make_timestamp(?::BIGINT))")?;
        for noted in &self.note.letters {
            insert.execute(params![
                epoch,
                noted.letter,
                self.deed.as_str(),
                noted.count,
                noted.stream,
                noted.sequence,
                self.at.0
            ])?;
        }
        let emptied = match self.deed {
            Deed::Replaying => return Ok(()),
            Deed::Replayed => "",
            Deed::Dropped => ", payload = NULL",
        };
        // Numbers only: nothing to quote.
        let letters: Vec<String> = self
            .note
            .letters
            .iter()
            .map(|noted| noted.letter.to_string())
            .collect();
        let sql = format!(
            "UPDATE dead SET state = ?, state_at = make_timestamp(?::BIGINT){emptied}
             WHERE dead_epoch IS NOT DISTINCT FROM ?::VARCHAR AND dead_seq IN ({}) AND state <> 'dropped'",
            letters.join(",")
        );
        connection.execute(&sql, params![self.deed.as_str(), self.at.0, epoch])?;
        Ok(())
    }
}
