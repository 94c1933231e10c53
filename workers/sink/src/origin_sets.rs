//! Sets of origins in the table `origin_sets`, in chunks: a commit writes what changed of a set, not all of it.
//!
//! Invariant: a range is in the chunk of its first sequence. A healthy set is one range in one row, whatever its size; one
//! with many holes is many rows, of which a commit changes the last.

use std::collections::BTreeSet;
use std::ops::Deref;

use anyhow::Context;
use duckdb::{Connection, params};
use schemas::Origins;

use crate::RangeSet;

/// Sequences of a chunk: with a hole at every thirtieth, 7 KB of text.
const CHUNK: u64 = 1 << 14;

/// A set as it is kept: what is in it, and which chunks are not saved yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OriginSet {
    set: RangeSet,
    changed: BTreeSet<u64>,
}

impl Deref for OriginSet {
    type Target = RangeSet;

    fn deref(&self) -> &RangeSet {
        &self.set
    }
}

impl OriginSet {
    /// Adds every range of `origins`.
    pub(crate) fn extend(&mut self, origins: &Origins) {
        for range in origins.ranges() {
            // Those that it merges with leave their chunks for that of the first.
            let merged = self.set.touching(range).map(|held| held / CHUNK);
            self.changed.extend(merged);
            self.changed.insert(range.start() / CHUNK);
            self.set.insert(range.clone());
        }
    }

    /// Adds what a row holds. Older versions had everything in the first: what is elsewhere now is to be saved.
    fn add(&mut self, chunk: u64, ranges: &str) -> anyhow::Result<()> {
        let ranges: Origins = ranges.parse().context("origin_sets.ranges")?;
        for range in ranges.ranges() {
            let place = range.start() / CHUNK;
            if place != chunk {
                self.changed.extend([chunk, place]);
            }
            self.set.insert(range.clone());
        }
        Ok(())
    }

    /// Reads one.
    pub(crate) fn load(connection: &Connection, epoch: u16, outcome: &str) -> anyhow::Result<Self> {
        let mut set = Self::default();
        let mut chunks =
            connection.prepare("SELECT chunk, ranges FROM origin_sets WHERE epoch = ? AND outcome = ?")?;
        let mut rows = chunks.query(params![epoch, outcome])?;
        while let Some(row) = rows.next()? {
            set.add(row.get(0)?, &row.get::<_, String>(1)?)?;
        }
        Ok(set)
    }

    /// Whether anything is to be saved.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Writes what changed, within the caller's transaction.
    pub(crate) fn save(&mut self, connection: &Connection, epoch: u16, outcome: &str) -> anyhow::Result<()> {
        for chunk in std::mem::take(&mut self.changed) {
            let first = chunk * CHUNK;
            let text = self.set.text_of_starts(first..=first + (CHUNK - 1));
            let update = "UPDATE origin_sets SET ranges = ? WHERE epoch = ? AND outcome = ? AND chunk = ?";
            let changed = connection
                .prepare_cached(update)?
                .execute(params![text, epoch, outcome, chunk])?;
            if changed == 0 {
                let insert = "INSERT INTO origin_sets(epoch, outcome, chunk, ranges) VALUES (?, ?, ?, ?)";
                connection
                    .prepare_cached(insert)?
                    .execute(params![epoch, outcome, chunk, text])?;
            }
        }
        Ok(())
    }
}

/// To version 6: sets in chunks, those of kinds among them.
pub(crate) fn divide(connection: &Connection, has_kinds: bool) -> anyhow::Result<()> {
    connection.execute_batch(
        "ALTER TABLE origin_sets ADD COLUMN IF NOT EXISTS chunk UBIGINT;
         UPDATE origin_sets SET chunk = 0 WHERE chunk IS NULL;",
    )?;
    if has_kinds {
        connection.execute_batch(
            "INSERT INTO origin_sets(epoch, outcome, chunk, ranges)
                 SELECT epoch, 'dead/' || kind, 0, dead_ranges FROM ledger_kind;
             ALTER TABLE ledger_kind DROP COLUMN dead_ranges;",
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::schema;

    fn open() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        schema::prepare(&connection).unwrap();
        connection
    }

    fn rows(connection: &Connection) -> Vec<(u64, String)> {
        let sql = "SELECT chunk, ranges FROM origin_sets WHERE ranges <> '' ORDER BY chunk";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn a_healthy_set_is_one_row_and_holes_begin_others() {
        let connection = open();
        let mut set = OriginSet::default();
        let mut add = |text: &str| {
            set.extend(&text.parse().unwrap());
            let changed = set.changed.len();
            set.save(&connection, 1, "stored").unwrap();
            (changed, rows(&connection))
        };
        assert_eq!(add("1-9,11-40000"), (1, vec![(0, "1-9,11-40000".into())]));
        assert_eq!(
            add("40002-40003"),
            (1, vec![(0, "1-9,11-40000".into()), (2, "40002-40003".into())])
        );
        assert_eq!(
            add("40004-90000").1,
            [(0, "1-9,11-40000".into()), (2, "40002-90000".into())]
        );
        assert_eq!(add("40001"), (2, vec![(0, "1-9,11-90000".into())]));
        assert_eq!(add("10"), (1, vec![(0, "1-90000".into())]));
    }

    #[test]
    fn what_an_older_version_had_in_one_row_is_divided_with_the_next_save() {
        let connection = open();
        connection
            .execute_batch("INSERT INTO origin_sets(epoch, outcome, chunk, ranges) VALUES (1, 'stored', 0, '1-9,20000,70000-80000')")
            .unwrap();
        let mut set = OriginSet::load(&connection, 1, "stored").unwrap();
        assert!(set.has_changed());
        set.save(&connection, 1, "stored").unwrap();
        assert_eq!(
            rows(&connection),
            [(0, "1-9".into()), (1, "20000".into()), (4, "70000-80000".into())]
        );
        assert!(!OriginSet::load(&connection, 1, "stored").unwrap().has_changed());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn what_is_loaded_is_what_was_saved(
            steps in prop::collection::vec(prop::collection::vec((1u64..100_000, 0u64..30_000), 1..4), 1..8)
        ) {
            let connection = open();
            let mut set = OriginSet::default();
            for ranges in steps {
                let mut origins = Origins::new();
                ranges.into_iter().for_each(|(start, length)| origins.insert(start..=start + length));
                set.extend(&origins);
                set.save(&connection, 1, "stored").unwrap();
                let loaded = OriginSet::load(&connection, 1, "stored").unwrap();
                prop_assert_eq!(&*loaded, &*set);
                prop_assert!(!loaded.has_changed());
            }
        }
    }
}
