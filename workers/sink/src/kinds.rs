//! What became of the messages of each kind: the table `ledger_kind`, written in the same transaction as the rows.
//!
//! Invariants: a stored message counts once, under the kind of the EVENTS message that brought it; a dead-lettered one
//! is in one kind's set. Which of those count as dead is decided when they are read: an origin that is stored as well
//! does not, whichever came first.

use duckdb::{Connection, params};
use schemas::ledger::KINDS;
use schemas::{Kind, Origins, subjects};

use crate::RangeSet;

/// The counters of one kind in one epoch of INGEST.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KindCount {
    /// Messages.
    pub(crate) stored: u64,
    /// Dead-lettered messages, of which some may be stored.
    pub(crate) dead: RangeSet,
    /// Messages that came again in another EVENTS message.
    pub(crate) duplicates: u64,
    /// Rows; none: an older version did not count them.
    pub(crate) events_stored: Option<u64>,
    /// Single items that became dead letters.
    pub(crate) items_dead: u64,
    changed: bool,
    is_new: bool,
}

/// All kinds of one epoch, in the order of [`KINDS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kinds([KindCount; KINDS.len()]);

/// The place of a kind in [`KINDS`]; the last is that of subjects which name none.
pub(crate) const fn place(kind: Option<Kind>) -> usize {
    match kind {
        Some(kind) => kind as usize,
        None => Kind::ALL.len(),
    }
}

impl Default for Kinds {
    /// Those of a new epoch.
    fn default() -> Self {
        Kinds(std::array::from_fn(|_| KindCount {
            events_stored: Some(0),
            is_new: true,
            ..KindCount::default()
        }))
    }
}

impl Kinds {
    /// In the order of [`KINDS`].
    pub(crate) fn counts(&self) -> &[KindCount; KINDS.len()] {
        &self.0
    }

    fn change(&mut self, kind: Option<Kind>) -> &mut KindCount {
        let count = &mut self.0[place(kind)];
        count.changed = true;
        count
    }

    /// Notes messages that were stored just now, those that had been before, and the rows of the new ones.
    pub(crate) fn stored(&mut self, kind: Kind, messages: u64, repeated: u64, rows: u64) {
        let count = self.change(Some(kind));
        count.stored += messages;
        count.duplicates += repeated;
        count.events_stored = count.events_stored.map(|events| events + rows);
    }

    /// Notes dead-lettered messages, except those which `known` has: they count under the kind they came with first.
    pub(crate) fn dead(&mut self, kind: Option<Kind>, origins: &Origins, known: &RangeSet) {
        for range in origins.ranges() {
            for new in known.gaps(range) {
                self.change(kind).dead.insert(new);
            }
        }
    }

    /// Notes a single item that became a dead letter.
    pub(crate) fn item_dead(&mut self, kind: Option<Kind>) {
        self.change(kind).items_dead += 1;
    }

    /// Whether anything is to be saved.
    pub(crate) fn has_changed(&self) -> bool {
        self.0.iter().any(|count| count.changed)
    }

    /// Reads those of one epoch.
    pub(crate) fn load(connection: &Connection, epoch: u16) -> anyhow::Result<Self> {
        let mut kinds = Kinds::default();
        let sql = "SELECT kind, stored, dead_ranges, duplicates, events_stored, items_dead FROM ledger_kind WHERE epoch = ?";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query(params![epoch])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            // Of a version that knows more kinds: not ours to change.
            let Some(at) = KINDS.iter().position(|kind| *kind == name) else {
                continue;
            };
            kinds.0[at] = KindCount {
                stored: row.get(1)?,
                dead: RangeSet::parse(&row.get::<_, String>(2)?)?,
                duplicates: row.get(3)?,
                events_stored: row.get(4)?,
                items_dead: row.get(5)?,
                changed: false,
                is_new: false,
            };
        }
        Ok(kinds)
    }

    /// Writes what changed, within the caller's transaction.
    pub(crate) fn save(&mut self, connection: &Connection, epoch: u16) -> anyhow::Result<()> {
        for (count, kind) in self.0.iter_mut().zip(KINDS) {
            if !count.changed {
                continue;
            }
            let sql = if count.is_new {
                "INSERT INTO ledger_kind(stored, dead_ranges, duplicates, events_stored, items_dead, epoch, kind)
                 VALUES (?, ?, ?, ?, ?, ?, ?)"
            } else {
                "UPDATE ledger_kind SET stored = ?, dead_ranges = ?, duplicates = ?, events_stored = ?, items_dead = ?
                 WHERE epoch = ? AND kind = ?"
            };
            connection.prepare_cached(sql)?.execute(params![
                count.stored,
                count.dead.text(),
                count.duplicates,
                count.events_stored,
                count.items_dead,
                epoch,
                kind
            ])?;
            (count.changed, count.is_new) = (false, false);
        }
        Ok(())
    }
}

/// An epoch being counted.
struct Counted {
    id: u16,
    kinds: Kinds,
    /// Messages that were dead-lettered, and those of them whose kind was found.
    dead: RangeSet,
    found: RangeSet,
}

/// Fills the new table of a database that did not have it, as far as its tables tell. Messages of which nothing is
/// left in them stay without a kind: the ledger says so.
pub(crate) fn fill(connection: &Connection) -> anyhow::Result<()> {
    let mut epochs: Vec<Counted> = Vec::new();
    let mut sets = connection.prepare(
        "SELECT id, ranges FROM epochs JOIN origin_sets ON epochs.id = origin_sets.epoch
         WHERE stream = 'INGEST' AND outcome = 'dead'",
    )?;
    let mut rows = sets.query([])?;
    while let Some(row) = rows.next()? {
        epochs.push(Counted {
            id: row.get(0)?,
            kinds: Kinds::default(),
            dead: RangeSet::parse(&row.get::<_, String>(1)?)?,
            found: RangeSet::new(),
        });
    }
    for kind in Kind::ALL {
        fill_stored(connection, kind, &mut epochs)?;
    }
    fill_dead(connection, &mut epochs)?;
    for epoch in &mut epochs {
        epoch.kinds.0.iter_mut().for_each(|count| count.changed = true);
        epoch.kinds.save(connection, epoch.id)?;
    }
    Ok(())
}

fn fill_stored(connection: &Connection, kind: Kind, epochs: &mut [Counted]) -> anyhow::Result<()> {
    let cold = "SELECT coalesce(sum(rows), 0)::UBIGINT FROM archive_file WHERE kind = ? AND state <> 'copy'";
    let cold: u64 = connection.query_row(cold, [kind.as_str()], |row| row.get(0))?;
    match epochs {
        [only] => only.kinds.stored(kind, 0, 0, cold),
        // Files do not say which epoch of INGEST their rows are of.
        _ if cold > 0 => {
            for epoch in epochs.iter_mut() {
                epoch.kinds.change(Some(kind)).events_stored = None;
            }
        }
        _ => {}
    }
    let mut counts = connection.prepare(&format!(
        "SELECT epoch, count(DISTINCT origin)::UBIGINT, count(*)::UBIGINT FROM {kind}
         WHERE epoch IS NOT NULL AND origin IS NOT NULL GROUP BY epoch"
    ))?;
    let mut rows = counts.query([])?;
    while let Some(row) = rows.next()? {
        let id: u16 = row.get(0)?;
        if let Some(epoch) = epochs.iter_mut().find(|epoch| epoch.id == id) {
            epoch.kinds.stored(kind, row.get(1)?, 0, row.get(2)?);
        }
    }
    Ok(())
}

fn fill_dead(connection: &Connection, epochs: &mut [Counted]) -> anyhow::Result<()> {
    let mut letters = connection.prepare(
        "SELECT epoch, coalesce(origin::VARCHAR, headers->>'Aiai-Origins', ''), subject, kind, idx IS NOT NULL
         FROM dead WHERE epoch IS NOT NULL",
    )?;
    let mut rows = letters.query([])?;
    while let Some(row) = rows.next()? {
        let id: u16 = row.get(0)?;
        let Some(epoch) = epochs.iter_mut().find(|epoch| epoch.id == id) else {
            continue;
        };
        let origins: Origins = row.get::<_, String>(1)?.parse().unwrap_or_default();
        let (subject, kind): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
        let kind = kind_of(subject.as_deref(), kind.as_deref());
        // Letters of workers behind EVENTS account for nothing.
        let counted = epoch.dead.intersection(&origins);
        epoch.kinds.dead(kind, &counted, &epoch.found);
        epoch.found.extend(&counted);
        if row.get(4)? && !counted.is_empty() {
            epoch.kinds.item_dead(kind);
        }
    }
    Ok(())
}

/// The kind under which a dead letter counts: that of the subject of its message, or the one it names itself.
pub(crate) fn kind_of(subject: Option<&str>, named: Option<&str>) -> Option<Kind> {
    match subject {
        Some(subject) if subject.starts_with(subjects::INGEST) || subject.starts_with(subjects::EVENTS) => {
            subjects::kind_named(subject)
        }
        _ => Kind::parse(named?),
    }
}
