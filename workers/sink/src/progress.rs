//! What was processed, in memory and in the tables `epochs`, `origin_sets` and `checkpoint`.
//!
//! Two questions are answered here, both exactly and after any restart: was this message of a stream
//! processed (so that a redelivery, in whatever order, has no effect), and was this origin stored or
//! dead-lettered (so that an origin in two EVENTS messages is stored once). Memory holds what the database
//! holds; after a failed commit it is loaded again instead of being unwound.

use anyhow::{Context, bail};
use duckdb::{Connection, params};
use schemas::{Kind, Origins, Time};

use crate::kinds::Kinds;
use crate::{RangeSet, Source};

/// Epochs a database can know: ids are 16 bits, and 0 is not used.
const EPOCHS_MAX: usize = u16::MAX as usize;

/// The stream whose sequences are origins.
const INGEST: &str = "INGEST";
/// The stream that the rows come from.
const EVENTS: &str = "EVENTS";

/// One epoch of INGEST.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) stored: RangeSet,
    pub(crate) dead: RangeSet,
    pub(crate) kinds: Kinds,
    first_seen: Option<Time>,
    stored_changed: bool,
    dead_changed: bool,
}

/// One epoch of EVENTS, as rows name it.
#[derive(Debug, Clone)]
struct EventsEpoch {
    id: u16,
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
    events_epochs: Vec<EventsEpoch>,
    streams: Vec<Stream>,
}

impl Epoch {
    pub(crate) fn stored_mut(&mut self) -> &mut RangeSet {
        self.stored_changed = true;
        &mut self.stored
    }

    /// Notes messages of a kind that were dead-lettered.
    pub(crate) fn bury(&mut self, kind: Option<Kind>, origins: &Origins) {
        if !origins.is_empty() {
            self.kinds.dead(kind, origins, &self.dead);
            self.dead_changed = true;
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
            epoch.kinds = Kinds::load(connection, id)?;
            progress.epochs.push(epoch);
        }
        let mut rows = epochs.query([EVENTS])?;
        while let Some(row) = rows.next()? {
            progress.events_epochs.push(EventsEpoch {
                id: row.get(0)?,
                name: row.get(1)?,
                first_seen: None,
            });
        }
        let mut sets = connection.prepare("SELECT epoch, outcome, ranges FROM origin_sets")?;
        let mut rows = sets.query([])?;
        while let Some(row) = rows.next()? {
            let (id, outcome, ranges): (u16, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let epoch = progress.epochs.iter_mut().find(|epoch| epoch.id == id);
            let epoch = epoch.with_context(|| format!("origin_sets names epoch {id}, epochs does not"))?;
            let set = RangeSet::parse(&ranges).context("origin_sets.ranges")?;
            match outcome.as_str() {
                "stored" => epoch.stored = set,
                "dead" => epoch.dead = set,
                other => bail!("origin_sets.outcome is `{other}`, not stored or dead"),
            }
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
        let epochs = self.events_epochs.iter();
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
        if let Some(epoch) = self.events_epochs.iter().find(|epoch| epoch.name == name) {
            return Some(epoch.id);
        }
        let id = self.next_epoch_id()?;
        self.events_epochs.push(EventsEpoch {
            id,
            name: name.to_owned(),
            first_seen: Some(first_seen),
        });
        Some(id)
    }

    /// Ids of all streams' epochs are different, so that a join needs no more than the id.
    fn next_epoch_id(&self) -> Option<u16> {
        let ids = self.epochs.iter().map(|epoch| epoch.id);
        let ids = ids.chain(self.events_epochs.iter().map(|epoch| epoch.id));
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
            || self.events_epochs.iter().any(|epoch| epoch.first_seen.is_some())
            || self.epochs.iter().any(Epoch::has_changed)
    }

    /// Writes what changed, within the caller's transaction.
    pub(crate) fn save(&mut self, connection: &Connection) -> anyhow::Result<()> {
        for epoch in &mut self.epochs {
            epoch.save(connection)?;
        }
        for epoch in &mut self.events_epochs {
            if let Some(first_seen) = epoch.first_seen.take() {
                save_epoch(connection, EVENTS, epoch.id, &epoch.name, first_seen)?;
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
            stored: RangeSet::new(),
            dead: RangeSet::new(),
            kinds: Kinds::default(),
            first_seen,
            stored_changed: false,
            dead_changed: false,
        }
    }

    fn has_changed(&self) -> bool {
        self.first_seen.is_some() || self.stored_changed || self.dead_changed || self.kinds.has_changed()
    }

    fn save(&mut self, connection: &Connection) -> anyhow::Result<()> {
        self.kinds.save(connection, self.id)?;
        if let Some(first_seen) = self.first_seen.take() {
            save_epoch(connection, INGEST, self.id, &self.name, first_seen)?;
            connection
                .prepare_cached("INSERT INTO origin_sets VALUES ($1, 'stored', ''), ($1, 'dead', '')")?
                .execute(params![self.id])?;
        }
        for (outcome, set, changed) in [
            ("stored", &self.stored, &mut self.stored_changed),
            ("dead", &self.dead, &mut self.dead_changed),
        ] {
            if std::mem::take(changed) {
                connection
                    .prepare_cached("UPDATE origin_sets SET ranges = ? WHERE epoch = ? AND outcome = ?")?
                    .execute(params![set.text(), self.id, outcome])?;
            }
        }
        Ok(())
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
