//! What was processed, in memory and in the tables `epochs`, `origin_sets` and `checkpoint`.
//!
//! Two questions are answered here, both exactly and after any restart: was this message of a stream
//! processed (so that a redelivery, in whatever order, has no effect), and was this origin stored or
//! dead-lettered (so that an origin in two EVENTS messages is stored once). Memory holds what the database
//! holds; after a failed commit it is loaded again instead of being unwound.

use anyhow::Context;
use duckdb::{Connection, params};
use schemas::{Kind, Origins, Time};

use crate::kinds::Kinds;
use crate::origin_sets::OriginSet;
use crate::{RangeSet, Source};

/// Epochs a database can know: ids are 16 bits, and 0 is not used.
const EPOCHS_MAX: usize = u16::MAX as usize;

/// The stream whose sequences are origins.
const INGEST: &str = "INGEST";
/// The stream that the rows come from.
const EVENTS: &str = "EVENTS";
/// Outcomes in the table `origin_sets`.
const STORED: &str = "stored";
const DEAD: &str = "dead";

/// One epoch of INGEST.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) stored: OriginSet,
    pub(crate) dead: OriginSet,
    pub(crate) kinds: Kinds,
    first_seen: Option<Time>,
}

/// One epoch of another stream, as rows and dead letters name it.
#[derive(Debug, Clone)]
struct OtherEpoch {
    id: u16,
    stream: String,
    name: String,
    /// Until it is saved.
    first_seen: Option<Time>,
}

/// One epoch of another stream, or of EVENTS.
#[derive(Debug, Clone)]
struct Stream {
    source: Source,
    epoch: String,
    processed: RangeSet,
    changed: bool,
    is_new: bool,
}

/// Everything known about what was processed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    epochs: Vec<Epoch>,
    other_epochs: Vec<OtherEpoch>,
    streams: Vec<Stream>,
}

impl Epoch {
    /// Notes messages of a kind that were dead-lettered.
    pub(crate) fn bury(&mut self, kind: Option<Kind>, origins: &Origins) {
        if !origins.is_empty() {
            self.kinds.dead(kind, origins, &self.dead);
            self.dead.extend(origins);
        }
    }
}

impl Progress {
    /// Reads the state from the database.
    pub(crate) fn load(connection: &Connection) -> anyhow::Result<Self> {
        let mut progress = Progress::default();
        let mut epochs = connection.prepare("SELECT id, epoch FROM epochs WHERE stream = ? ORDER BY id")?;
        let mut rows = epochs.query([INGEST])?;
        while let Some(row) = rows.next()? {
            let (id, name): (u16, String) = (row.get(0)?, row.get(1)?);
            let mut epoch = Epoch::new(id, name, None);
            epoch.stored = OriginSet::load(connection, id, STORED)?;
            epoch.dead = OriginSet::load(connection, id, DEAD)?;
            epoch.kinds = Kinds::load(connection, id)?;
            progress.epochs.push(epoch);
        }
        let mut others =
            connection.prepare("SELECT id, stream, epoch FROM epochs WHERE stream <> ? ORDER BY id")?;
        let mut rows = others.query([INGEST])?;
        while let Some(row) = rows.next()? {
            progress.other_epochs.push(OtherEpoch {
                id: row.get(0)?,
                stream: row.get(1)?,
                name: row.get(2)?,
                first_seen: None,
            });
        }
        let mut checkpoints = connection.prepare("SELECT stream, epoch, seq, beyond FROM checkpoint")?;
        let mut rows = checkpoints.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let source = Source::parse(&name).with_context(|| format!("checkpoint names stream `{name}`"))?;
            let mut processed =
                RangeSet::parse(&row.get::<_, String>(3)?).context("checkpoint.beyond is not ranges")?;
            processed.insert(1..=row.get(2)?);
            progress.streams.push(Stream {
                source,
                epoch: row.get(1)?,
                processed,
                changed: false,
                is_new: false,
            });
        }
        Ok(progress)
    }

    /// Whether the message with this sequence was processed.
    pub(crate) fn is_processed(&self, source: Source, epoch: &str, sequence: u64) -> bool {
        self.processed(source, epoch)
            .is_some_and(|set| set.contains(sequence))
    }

    /// The processed sequences of one epoch of a stream.
    pub(crate) fn processed(&self, source: Source, epoch: &str) -> Option<&RangeSet> {
        let stream = self
            .streams
            .iter()
            .find(|s| s.source == source && s.epoch == epoch)?;
        Some(&stream.processed)
    }

    /// The parts of a range that were not processed.
    pub(crate) fn absent(
        &self,
        source: Source,
        epoch: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Vec<std::ops::RangeInclusive<u64>> {
        match self.processed(source, epoch) {
            _ if range.is_empty() => Vec::new(),
            Some(set) => set.gaps(&range),
            None => vec![range],
        }
    }

    /// Whether any message of any epoch of this stream was processed.
    pub(crate) fn knows(&self, source: Source) -> bool {
        self.streams.iter().any(|stream| stream.source == source)
    }

    /// The epoch of this stream that began last.
    pub(crate) fn newest_epoch(&self, source: Source) -> Option<String> {
        let streams = self.streams.iter().filter(|stream| stream.source == source);
        streams.map(|stream| stream.epoch.clone()).max()
    }

    /// All epochs of EVENTS of which something was processed, with the id their rows have.
    pub(crate) fn epochs_of_events(&self) -> Vec<(String, u16)> {
        let epochs = self.other_epochs.iter().filter(|epoch| epoch.stream == EVENTS);
        epochs.map(|epoch| (epoch.name.clone(), epoch.id)).collect()
    }

    /// Marks sequences as processed.
    pub(crate) fn process(&mut self, source: Source, epoch: &str, sequences: std::ops::RangeInclusive<u64>) {
        let found = self
            .streams
            .iter()
            .position(|s| s.source == source && s.epoch == epoch);
        let at = found.unwrap_or_else(|| {
            self.streams.push(Stream {
                source,
                epoch: epoch.to_owned(),
                processed: RangeSet::new(),
                changed: true,
                is_new: true,
            });
            self.streams.len() - 1
        });
        self.streams[at].processed.insert(sequences);
        self.streams[at].changed = true;
    }

    /// The state of this epoch of INGEST, noted now if it is new. None if there are too many.
    pub(crate) fn epoch(&mut self, name: &str, first_seen: Time) -> Option<&mut Epoch> {
        if let Some(at) = self.epochs.iter().position(|epoch| epoch.name == name) {
            return self.epochs.get_mut(at);
        }
        let id = self.next_epoch_id()?;
        self.epochs
            .push(Epoch::new(id, name.to_owned(), Some(first_seen)));
        self.epochs.last_mut()
    }

    /// The id of this epoch of EVENTS, noted now if it is new. None if there are too many.
    pub(crate) fn events_epoch(&mut self, name: &str, first_seen: Time) -> Option<u16> {
        self.other_epoch(EVENTS, name, first_seen)
    }

    /// The id of this epoch, if it is one of another stream than INGEST.
    pub(crate) fn foreign_epoch(&mut self, name: &str, first_seen: Time) -> Option<u16> {
        let stream = self.streams.iter().find(|stream| stream.epoch == name)?;
        let source = stream.source.as_str();
        // What is derived from EVENTS has its epoch.
        let stream = source.split('/').next().unwrap_or(source);
        self.other_epoch(stream, name, first_seen)
    }

    /// The id of this epoch of another stream than INGEST, if it has one.
    pub(crate) fn known_foreign_epoch(&self, name: &str) -> Option<u16> {
        let found = self.other_epochs.iter().find(|epoch| epoch.name == name);
        found.map(|epoch| epoch.id)
    }

    fn other_epoch(&mut self, stream: &str, name: &str, first_seen: Time) -> Option<u16> {
        let mut known = self.other_epochs.iter();
        if let Some(epoch) = known.find(|epoch| epoch.stream == stream && epoch.name == name) {
            return Some(epoch.id);
        }
        let id = self.next_epoch_id()?;
        self.other_epochs.push(OtherEpoch {
            id,
            stream: stream.to_owned(),
            name: name.to_owned(),
            first_seen: Some(first_seen),
        });
        Some(id)
    }

    /// Ids of all streams' epochs are different, so that a join needs no more than the id.
    fn next_epoch_id(&self) -> Option<u16> {
        let ids = self.epochs.iter().map(|epoch| epoch.id);
        let ids = ids.chain(self.other_epochs.iter().map(|epoch| epoch.id));
        let known = ids.clone().count();
        (known < EPOCHS_MAX)
            .then(|| ids.max().unwrap_or(0).checked_add(1))
            .flatten()
    }

    /// The state of this epoch of INGEST, if it is known.
    pub(crate) fn known_epoch(&self, name: &str) -> Option<&Epoch> {
        self.epochs.iter().find(|epoch| epoch.name == name)
    }

    /// Whether anything changed since it was loaded or saved.
    pub(crate) fn has_changed(&self) -> bool {
        self.streams.iter().any(|stream| stream.changed)
            || self.other_epochs.iter().any(|epoch| epoch.first_seen.is_some())
            || self.epochs.iter().any(Epoch::has_changed)
    }

    /// Writes what changed, within the caller's transaction.
    pub(crate) fn save(&mut self, connection: &Connection) -> anyhow::Result<()> {
        for epoch in &mut self.epochs {
            epoch.save(connection)?;
        }
        for epoch in &mut self.other_epochs {
            if let Some(first_seen) = epoch.first_seen.take() {
                save_epoch(connection, &epoch.stream, epoch.id, &epoch.name, first_seen)?;
            }
        }
        for stream in self.streams.iter_mut().filter(|stream| stream.changed) {
            let seq = stream.processed.contiguous();
            let values = params![
                seq,
                stream.processed.text_above(seq),
                stream.source.as_str(),
                stream.epoch
            ];
            let sql = if stream.is_new {
                "INSERT INTO checkpoint(seq, beyond, stream, epoch) VALUES (?, ?, ?, ?)"
            } else {
                "UPDATE checkpoint SET seq = ?, beyond = ? WHERE stream = ? AND epoch = ?"
            };
            connection.prepare_cached(sql)?.execute(values)?;
            (stream.changed, stream.is_new) = (false, false);
        }
        Ok(())
    }
}

impl Epoch {
    fn new(id: u16, name: String, first_seen: Option<Time>) -> Self {
        Epoch {
            id,
            name,
            stored: OriginSet::default(),
            dead: OriginSet::default(),
            kinds: Kinds::default(),
            first_seen,
        }
    }

    fn has_changed(&self) -> bool {
        self.first_seen.is_some()
            || self.stored.has_changed()
            || self.dead.has_changed()
            || self.kinds.has_changed()
    }

    fn save(&mut self, connection: &Connection) -> anyhow::Result<()> {
        self.kinds.save(connection, self.id)?;
        if let Some(first_seen) = self.first_seen.take() {
            save_epoch(connection, INGEST, self.id, &self.name, first_seen)?;
        }
        self.stored.save(connection, self.id, STORED)?;
        self.dead.save(connection, self.id, DEAD)
    }
}

fn save_epoch(
    connection: &Connection,
    stream: &str,
    id: u16,
    name: &str,
    first_seen: Time,
) -> anyhow::Result<()> {
    connection
        .prepare_cached("INSERT INTO epochs VALUES (?, ?, ?, make_timestamp(?::BIGINT))")?
        .execute(params![id, stream, name, first_seen.0])?;
    Ok(())
}
