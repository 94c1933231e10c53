//! Raw rows grow old: they leave the tables once files hold them, and the files stay in view.
//!
//! Invariants: rows go only if every file of their range is there in full and holds as many rows of each kind as the
//! table; they go, and their files come into view, in one transaction. A file that vanishes is left out of the views,
//! so that everything else stays readable, and comes back by itself.

use std::path::{Path, PathBuf};

use anyhow::Context;
use duckdb::{Connection, OptionalExt, params};
use schemas::price::PriceTable;
use schemas::rerate::{Answer, Request};
use schemas::rollup::DAY_MICROSECONDS;
use schemas::{Kind, Time};

use crate::archive::processed_set;
use crate::intact::{Intact, Noted};
use crate::migrate::in_transaction;
use crate::{RangeSet, Source, Store, archive_views, corrections, rerate};

/// Ranges whose rows go in one transaction.
const RANGES_PER_TRANSACTION: usize = 16;
/// Files named in a trouble's text.
const NAMED_MAX: usize = 3;

/// Watches over the archive's files, moves rows out, and corrects costs. Has a connection of its own.
pub struct Keeper {
    connection: Connection,
    folder: PathBuf,
    intact: Intact,
    /// The views are what the table of files says.
    is_current: bool,
    series_max: usize,
}

/// A range of EVENTS as files have it.
struct Range {
    epoch: String,
    first: u64,
    last: u64,
}

impl Keeper {
    /// Watches over the files in a folder.
    ///
    /// # Errors
    /// DuckDB has no memory for a connection.
    pub fn open(store: &Store, folder: &Path) -> anyhow::Result<Self> {
        let series_max = store.rollups.series_max();
        let mut keeper = Self {
            series_max,
            connection: store.connection().try_clone()?,
            folder: folder.to_owned(),
            intact: Intact::default(),
            is_current: false,
        };
        if let Err(error) = keeper.check_files() {
            // The tables are still good; the next round tries again, and the worker's health says so.
            tracing::error!(
                worker = "sink",
                error = format!("{error:#}"),
                "archived files are not in the views"
            );
        }
        let corrected = corrections::take_over(&keeper.connection, &keeper.folder, series_max)
            .context("corrections of costs in the archive folder are not in the database")?;
        if corrected > 0 {
            tracing::info!(
                worker = "sink",
                corrected,
                "costs corrected from the archive folder"
            );
        }
        Ok(keeper)
    }

    /// Computes the costs of a batch of calls again.
    ///
    /// # Errors
    /// The database failed, or the archive folder cannot be written. Nothing has changed, or all of the batch has; asking
    /// again is right either way.
    pub fn rerate(&mut self, request: &Request, table: &PriceTable) -> anyhow::Result<Answer> {
        if !request.dry_run {
            corrections::take_over(&self.connection, &self.folder, self.series_max)?;
        }
        rerate::batch(&self.connection, &self.folder, request, table, self.series_max)
    }

    /// Looks after everything once. Says what is wrong with the files, with its fix; nothing if all is well.
    ///
    /// # Errors
    /// The database failed. Nothing has changed; the next round tries again.
    pub fn round(&mut self, raw_days: u32, now: Time) -> anyhow::Result<Option<String>> {
        self.check_files()?;
        corrections::catch_up(&self.connection)?;
        let limit = now.0 - i64::from(raw_days) * DAY_MICROSECONDS;
        let mut problems = Vec::new();
        let due = self.due(limit)?;
        for ranges in due.chunks(RANGES_PER_TRANSACTION) {
            let refused = in_transaction(&self.connection, |connection| self.move_out(connection, ranges))?;
            problems.extend(refused);
        }
        problems.extend(self.missing()?);
        let omitted = problems.len().saturating_sub(NAMED_MAX);
        problems.truncate(NAMED_MAX);
        if omitted > 0 {
            problems.push(format!("and {omitted} more: run `aiai archive verify`"));
        }
        Ok((!problems.is_empty()).then(|| problems.join("; ")))
    }

    /// Takes files that are gone out of the views, and those that are back in.
    fn check_files(&mut self) -> anyhow::Result<()> {
        let mut changed = Vec::new();
        for (file, state) in self.files("state <> 'copy'")? {
            let now = if self.is_there(&file) { "cold" } else { "missing" };
            if now != state {
                changed.push((file.path, now));
            }
        }
        if changed.is_empty() && self.is_current {
            return Ok(());
        }
        in_transaction(&self.connection, |connection| {
            for (path, state) in &changed {
                connection.execute(
                    "UPDATE archive_file SET state = ? WHERE path = ?",
                    params![state, path],
                )?;
            }
            archive_views::create(connection, Some(&self.folder))
        })?;
        self.is_current = true;
        for (path, _) in changed.iter().filter(|(_, state)| *state == "cold") {
            tracing::info!(worker = "sink", path, "an archived file is back");
        }
        Ok(())
    }

    /// Some files, and the state of each.
    fn files(&self, filter: &str) -> anyhow::Result<Vec<(Noted, String)>> {
        let sql = format!(
            "SELECT path, bytes, sha256, epoch_us(archived_at), state FROM archive_file WHERE {filter} ORDER BY min_ts, path"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let files = statement.query_map([], |row| {
            let noted = Noted {
                path: row.get(0)?,
                bytes: row.get(1)?,
                sha256: row.get(2)?,
                archived_at: Time(row.get(3)?),
            };
            Ok((noted, row.get(4)?))
        })?;
        Ok(files.collect::<Result<_, _>>()?)
    }

    fn is_there(&self, file: &Noted) -> bool {
        self.intact.is(&self.folder, file)
    }

    fn missing(&self) -> anyhow::Result<Vec<String>> {
        let missing = self.files("state = 'missing'")?;
        let folder = self.folder.display();
        let text = |path: &str| {
            format!(
                "the archived file {path} is gone or damaged, its rows are left out: restore it from a backup into {folder}"
            )
        };
        Ok(missing.iter().map(|(file, _)| text(&file.path)).collect())
    }

    /// The ranges of which every row is older than `limit`, or of which this database never saw all rows.
    fn due(&self, limit: i64) -> anyhow::Result<Vec<Range>> {
        let sql = "SELECT events_epoch, first_seq, last_seq, epoch_us(max(max_ts)) FROM archive_file
                   WHERE state = 'copy' GROUP BY ALL ORDER BY events_epoch, first_seq";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut due = Vec::new();
        let mut unseen: Option<(String, RangeSet)> = None;
        while let Some(row) = rows.next()? {
            let (epoch, first, last, newest): (String, u64, u64, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            if unseen.as_ref().is_none_or(|(known, _)| *known != epoch) {
                let set = processed_set(&self.connection, Source::Unseen, &epoch)?;
                unseen = Some((epoch.clone(), set));
            }
            let range = Range { epoch, first, last };
            if newest < limit || unseen.as_ref().is_some_and(|(_, set)| range.is_in_part(set)) {
                due.push(range);
            }
        }
        Ok(due)
    }

    /// Moves the rows of these ranges out, within a transaction. Says which had to stay, and why.
    fn move_out(&self, connection: &Connection, ranges: &[Range]) -> anyhow::Result<Vec<String>> {
        let mut refused = Vec::new();
        for range in ranges {
            match self.check(connection, range)? {
                Some(problem) => refused.push(problem),
                None => range.delete_rows(connection)?,
            }
        }
        if refused.len() < ranges.len() {
            archive_views::create(connection, Some(&self.folder))?;
        }
        Ok(refused)
    }

    /// Why the rows of a range must stay.
    fn check(&self, connection: &Connection, range: &Range) -> anyhow::Result<Option<String>> {
        let Range { epoch, first, last } = range;
        let filter = format!("events_epoch = '{epoch}' AND first_seq = {first} AND last_seq = {last}");
        for (file, _) in self.files(&filter)? {
            if !self.is_there(&file) {
                return Ok(Some(format!(
                    "the archived file {} is gone or damaged, so its old rows stay in the table: restore it from a \
                     backup into {}",
                    file.path,
                    self.folder.display()
                )));
            }
        }
        let unseen = processed_set(connection, Source::Unseen, epoch)?;
        if range.is_in_part(&unseen) {
            return Ok(None);
        }
        let mut counted = Vec::new();
        for kind in Kind::ALL {
            let in_files: u64 = connection.query_row(
                &format!(
                    "SELECT coalesce(sum(rows), 0)::UBIGINT FROM archive_file WHERE {filter} AND kind = '{kind}'"
                ),
                [],
                |row| row.get(0),
            )?;
            counted.push((kind, in_files, range.count(connection, kind)?));
        }
        if counted.iter().all(|(_, _, in_table)| *in_table == 0) {
            // They left the tables before, and are seen nowhere until the files are in the views.
            return Ok(None);
        }
        let differing = counted
            .iter()
            .find(|(_, in_files, in_table)| in_files != in_table);
        Ok(differing.map(|(kind, in_files, in_table)| {
            format!(
                "EVENTS {first} to {last} has {in_table} rows in table {kind} and {in_files} in files: they stay in \
                 the table; messages were purged from EVENTS by hand before they were archived"
            )
        }))
    }
}

impl Range {
    fn is_in_part(&self, set: &RangeSet) -> bool {
        let range = self.first..=self.last;
        set.gaps(&range) != [range]
    }

    /// The condition of its rows in a table.
    fn rows(&self, connection: &Connection) -> anyhow::Result<Option<String>> {
        let sql = "SELECT id FROM epochs WHERE stream = 'EVENTS' AND epoch = ?";
        let id: Option<u16> = connection
            .prepare_cached(sql)?
            .query_row([&self.epoch], |row| row.get(0))
            .optional()?;
        let (first, last) = (self.first, self.last);
        Ok(id.map(|id| format!("events_epoch = {id} AND events_seq BETWEEN {first} AND {last}")))
    }

    fn count(&self, connection: &Connection, kind: Kind) -> anyhow::Result<u64> {
        let Some(rows) = self.rows(connection)? else {
            return Ok(0);
        };
        let sql = format!("SELECT count(*) FROM {kind} WHERE {rows}");
        Ok(connection.query_row(&sql, [], |row| row.get(0))?)
    }

    fn delete_rows(&self, connection: &Connection) -> anyhow::Result<()> {
        if let Some(rows) = self.rows(connection)? {
            for kind in Kind::ALL {
                connection
                    .execute_batch(&format!("DELETE FROM {kind} WHERE {rows}"))
                    .with_context(|| format!("old rows of {kind} could not be moved out"))?;
            }
        }
        connection.execute(
            "UPDATE archive_file SET state = 'cold' WHERE events_epoch = ? AND first_seq = ? AND last_seq = ?",
            params![self.epoch, self.first, self.last],
        )?;
        Ok(())
    }
}
