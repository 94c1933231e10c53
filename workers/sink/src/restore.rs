//! Getting back from the archive's files what this database does not have: it was deleted, or is an older copy.
//!
//! A file's rows become the EVENTS messages they came from, and those are stored as always: rows, origins and
//! checkpoint in one transaction, each message once. Their aggregates are made here. Killed on the way, the next start
//! goes on where this one ended. Rows that are due to leave the tables stay in their files.
//! Deliberately absent: alerts, which rules found and no file holds; the stream ALERTS brings back those it has.

use std::collections::HashSet;
use std::fs::File;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use duckdb::{Connection, params};
use schemas::alert::Match;
use schemas::archive::{self, Contents};
use schemas::{Kind, Origins, Time};

use crate::folder::{self, Found, Part};
use crate::intact::sha256;
use crate::migrate::in_transaction;
use crate::reread::{self, Reread};
use crate::schema::quote;
use crate::writing::Manner;
use crate::{Activity, Source, Store, StoredMessage, archive_views};

/// Rows and bytes of one transaction.
const ROWS_MAX: u64 = 50_000;
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Between two words about how far it is.
const WORD_INTERVAL: Duration = Duration::from_secs(5);
/// Problems named one by one.
const PROBLEMS_MAX: usize = 100;

/// What to get back.
pub(crate) struct Wanted<'a> {
    /// The archive folder.
    pub(crate) folder: &'a Path,
    /// Rows that happened before stay in their files.
    pub(crate) cold_before: Time,
    pub(crate) now: Time,
    /// The process is to end.
    pub(crate) is_cancelled: &'a dyn Fn() -> bool,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) parts: u64,
    pub(crate) messages: u64,
    pub(crate) rows: u64,
    /// What is wrong with files.
    pub(crate) problems: Vec<String>,
    pub(crate) activity: Activity,
    pub(crate) alerts: Vec<Match>,
}

/// A part being loaded.
struct Loading<'p> {
    part: &'p Part,
    wanted: Vec<RangeInclusive<u64>>,
    contents: Option<Contents>,
    files: Vec<archive::File>,
    is_complete: bool,
}

impl Store {
    /// Stores what the files in the folder hold and this database does not have.
    ///
    /// # Errors
    /// The database failed; what was stored stays so.
    pub(crate) fn restore(&mut self, wanted: &Wanted<'_>) -> anyhow::Result<Restored> {
        let mut restored = Restored::default();
        let parts = folder::parts(wanted.folder);
        if parts.is_empty() {
            return Ok(restored);
        }
        let noted = noted(self.connection())?;
        // What is read is not disturbed by what is committed meanwhile.
        let reading = self.connection().try_clone()?;
        let manner = self.manner;
        let mut views_are_old = false;
        let mut said = Instant::now();
        for (at, part) in parts.iter().enumerate() {
            if (wanted.is_cancelled)() {
                break;
            }
            let absent = self
                .progress
                .absent(Source::Events, &part.epoch, part.first..=part.last);
            if absent.is_empty() {
                if part.files.iter().any(|file| !noted.contains(&file.path)) {
                    self.note_stored(part, &reading, wanted)?;
                }
                continue;
            }
            if said.elapsed() > WORD_INTERVAL {
                said = Instant::now();
                let (done, rows) = (restored.parts, restored.rows);
                let left = parts.len() - at;
                tracing::info!(worker = "sink", done, left, rows, "restoring from the archive");
            }
            let loaded = self.load(part, absent, &reading, wanted, &mut restored);
            self.manner = manner;
            views_are_old |= loaded.with_context(|| format!("restoring from {}", part.files[0].path))?;
        }
        if views_are_old {
            archive_views::create(self.connection(), Some(wanted.folder))?;
        }
        Ok(restored)
    }

    /// Stores what is wanted of a part. Whether its rows stayed in the files.
    fn load(
        &mut self,
        part: &Part,
        absent: Vec<RangeInclusive<u64>>,
        reading: &Connection,
        wanted: &Wanted<'_>,
        restored: &mut Restored,
    ) -> anyhow::Result<bool> {
        let mut loading = open(part, absent, reading, wanted.folder, &mut restored.problems);
        let newest = loading.files.iter().map(|file| file.max_ts).max();
        let is_old = newest.is_some_and(|newest| newest < wanted.cold_before);
        let stays = is_old
            && loading.is_complete
            && loading.is_whole()
            && !self.holds_some(&loading, reading, wanted)?;
        self.manner = Manner {
            own_partials_until: u64::MAX,
            rows_stay_in_files: stays,
        };
        for kind in Kind::ALL {
            let files: Vec<&archive::File> = loading.files.iter().filter(|file| file.kind == kind).collect();
            if files.is_empty() {
                continue;
            }
            let read = self.load_kind(kind, &from(wanted.folder, &files), &loading, reading, restored)?;
            if let Some(problem) = read {
                loading.is_complete = false;
                say(&mut restored.problems, format!("{}: {problem}", files[0].path));
            }
            if (wanted.is_cancelled)() {
                return Ok(false);
            }
        }
        restored.parts += 1;
        self.finish(&loading, stays, wanted)
    }

    /// Whether an origin of what is wanted was stored from another message. Then its rows must not be seen in files.
    fn holds_some(
        &self,
        loading: &Loading<'_>,
        reading: &Connection,
        wanted: &Wanted<'_>,
    ) -> anyhow::Result<bool> {
        for file in &loading.files {
            let sql = format!(
                "SELECT ingest_epoch::VARCHAR, origin::UBIGINT FROM {} GROUP BY ALL ORDER BY ALL",
                from(wanted.folder, &[file])
            );
            let mut statement = reading.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (epoch, origin): (String, u64) = (row.get(0)?, row.get(1)?);
                let known = self.progress.known_epoch(&epoch);
                if known.is_some_and(|epoch| epoch.stored.contains(origin)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Stores the messages of one kind. A problem of the files, if there is one.
    fn load_kind(
        &mut self,
        kind: Kind,
        from: &str,
        loading: &Loading<'_>,
        reading: &Connection,
        restored: &mut Restored,
    ) -> anyhow::Result<Option<String>> {
        let epoch = &loading.part.epoch;
        let filter = format!("events_epoch = {} AND ({})", quote(epoch), among(&loading.wanted));
        let mut batch: Vec<Reread> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        let mut failed = None;
        let read = reread::messages(reading, kind, from, &filter, |message| {
            rows += message.count();
            bytes += message.lines.len();
            batch.push(message);
            if rows >= ROWS_MAX || bytes >= BYTES_MAX {
                (rows, bytes) = (0, 0);
                if let Err(error) = self.store_reread(epoch, kind, &std::mem::take(&mut batch), restored) {
                    failed = Some(error);
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.store_reread(epoch, kind, &batch, restored)?;
        Ok(read.err().map(|error| format!("{error:#}")))
    }

    fn store_reread(
        &mut self,
        epoch: &str,
        kind: Kind,
        batch: &[Reread],
        restored: &mut Restored,
    ) -> anyhow::Result<()> {
        let subject = format!("events.{kind}");
        let headers: Vec<_> = batch.iter().map(Reread::headers).collect();
        let messages: Vec<_> = batch
            .iter()
            .zip(&headers)
            .map(|(message, headers)| StoredMessage {
                source: Source::Events,
                stream_epoch: epoch,
                sequence: message.sequence,
                subject: &subject,
                headers,
                payload: &message.lines,
                stored: Time(message.stored),
            })
            .collect();
        if messages.is_empty() {
            return Ok(());
        }
        let outcome = self.commit(&messages)?;
        restored.messages += messages.len() as u64;
        restored.rows += outcome.rows;
        for rejected in outcome.rejected {
            let sequence = messages[rejected.index].sequence;
            say(
                &mut restored.problems,
                format!("EVENTS message {sequence} of {epoch}: {}", rejected.reason),
            );
        }
        restored.activity.merge(outcome.activity);
        restored.alerts.extend(outcome.alerts);
        Ok(())
    }

    /// Notes a part's files, and what of its range has no rows. Whether the rows stay in the files.
    fn finish(&mut self, loading: &Loading<'_>, stays: bool, wanted: &Wanted<'_>) -> anyhow::Result<bool> {
        let Part {
            epoch, first, last, ..
        } = loading.part;
        let in_files = |kind: Kind| -> u64 {
            let files = loading.files.iter().filter(|file| file.kind == kind);
            files.map(|file| file.rows).sum()
        };
        let mut stays = stays;
        if !stays && loading.is_complete && !self.has_duplicates(loading.part)? {
            // An attempt that was cut short may have left them there.
            for kind in Kind::ALL {
                stays |= self.rows_of(epoch, kind, *first, *last)? < in_files(kind);
            }
        }
        let id = self.events_id(epoch);
        let state = if stays { "cold" } else { "copy" };
        in_transaction(self.connection(), |connection| {
            for file in &loading.files {
                crate::archive::note_file(connection, epoch, file, wanted.now, state)?;
            }
            note_repeated(connection, loading)?;
            if let Some(id) = id.filter(|_| stays) {
                for kind in Kind::ALL {
                    let sql =
                        format!("DELETE FROM {kind} WHERE events_epoch = ? AND events_seq BETWEEN ? AND ?");
                    connection.execute(&sql, params![id, first, last])?;
                }
            }
            Ok(())
        })?;
        self.note(Source::Archived, epoch, *first..=*last);
        if loading.is_complete {
            for range in &loading.wanted {
                self.note(Source::Merged, epoch, range.clone());
                self.note(Source::Events, epoch, range.clone());
            }
            let refused = loading.contents.as_ref().map(|contents| contents.refused.parse());
            let refused: Origins = refused.and_then(Result::ok).unwrap_or_default();
            for range in refused.ranges() {
                self.note(Source::Refused, epoch, range.clone());
            }
        }
        self.commit(&[])?;
        Ok(stays)
    }

    /// Notes files of which every row is here, though no manifest says so.
    fn note_stored(&mut self, part: &Part, reading: &Connection, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let loading = open(part, Vec::new(), reading, wanted.folder, &mut Vec::new());
        let mut is_same = loading.is_complete;
        for kind in Kind::ALL {
            let files = loading.files.iter().filter(|file| file.kind == kind);
            let in_files: u64 = files.map(|file| file.rows).sum();
            is_same &= self.rows_of(&part.epoch, kind, part.first, part.last)? == in_files;
        }
        if !is_same {
            let path = &part.files[0].path;
            tracing::debug!(
                worker = "sink",
                path,
                "a file that no manifest names, and is not what the tables hold"
            );
            return Ok(());
        }
        in_transaction(self.connection(), |connection| {
            let mut files = loading.files.iter();
            files.try_for_each(|file| {
                crate::archive::note_file(connection, &part.epoch, file, wanted.now, "copy")
            })
        })?;
        self.note(Source::Archived, &part.epoch, part.first..=part.last);
        self.commit(&[])?;
        Ok(())
    }

    fn has_duplicates(&self, part: &Part) -> anyhow::Result<bool> {
        // Those that the files told of are not in the files; of them the epoch of INGEST is not known.
        let sql = "SELECT count(*) > 0 FROM duplicates
                   WHERE events_epoch = ? AND events_seq BETWEEN ? AND ? AND epoch IS NOT NULL";
        let found = self
            .connection()
            .query_row(sql, params![part.epoch, part.first, part.last], |row| row.get(0))?;
        Ok(found)
    }

    fn events_id(&self, epoch: &str) -> Option<u16> {
        let mut epochs = self.progress.epochs_of_events().into_iter();
        epochs.find(|(name, _)| name == epoch).map(|(_, id)| id)
    }

    fn rows_of(&self, epoch: &str, kind: Kind, first: u64, last: u64) -> anyhow::Result<u64> {
        let Some(id) = self.events_id(epoch) else {
            return Ok(0);
        };
        let sql =
            format!("SELECT count(*) FROM {kind} WHERE events_epoch = ? AND events_seq BETWEEN ? AND ?");
        Ok(self
            .connection()
            .query_row(&sql, params![id, first, last], |row| row.get(0))?)
    }
}

impl Loading<'_> {
    /// Nothing of the part was stored before.
    fn is_whole(&self) -> bool {
        self.wanted == [self.part.first..=self.part.last]
    }
}

/// Looks at the files of a part, and whether all of them are there and readable.
fn open<'p>(
    part: &'p Part,
    wanted: Vec<RangeInclusive<u64>>,
    reading: &Connection,
    folder: &Path,
    problems: &mut Vec<String>,
) -> Loading<'p> {
    let contents = folder::contents(reading, folder, part);
    let mut files = Vec::new();
    let mut is_complete = true;
    for found in &part.files {
        match describe(part, found, reading, folder) {
            Ok(file) => files.push(file),
            Err(error) => {
                is_complete = false;
                say(
                    problems,
                    format!("the archived file {} cannot be read: {error:#}", found.path),
                );
            }
        }
    }
    if let Some(contents) = &contents {
        for (kind, count, rows) in &contents.files {
            let there = files.iter().filter(|file| file.kind == *kind);
            let (found, held) = there.fold((0, 0), |(found, held), file| (found + 1, held + file.rows));
            if (found, held) != (*count, *rows) {
                is_complete = false;
                let (epoch, first, last) = (&part.epoch, part.first, part.last);
                let lost = rows.saturating_sub(held);
                say(
                    problems,
                    format!(
                        "{} of {count} files {kind}/…/{epoch}-{first:012}-{last:012}.parquet are gone, and {lost} rows with them",
                        count.saturating_sub(found)
                    ),
                );
            }
        }
    } else if is_complete {
        let path = &part.files[0].path;
        tracing::warn!(
            worker = "sink",
            path,
            "an older version wrote this file: whether others are missing is not known"
        );
    }
    Loading {
        part,
        wanted,
        contents,
        files,
        is_complete,
    }
}

/// A file's line in a manifest, from the file itself.
fn describe(
    part: &Part,
    found: &Found,
    reading: &Connection,
    folder: &Path,
) -> anyhow::Result<archive::File> {
    let path = folder.join(&found.path);
    let sql = format!(
        "SELECT count(*)::UBIGINT, coalesce(min(epoch_us(ts)), 0)::BIGINT, coalesce(max(epoch_us(ts)), 0)::BIGINT FROM {}",
        from_paths(folder, &[&found.path])
    );
    let (rows, min, max) = reading.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let file = File::open(&path)?;
    let bytes = file.metadata()?.len();
    Ok(archive::File {
        first: part.first,
        last: part.last,
        kind: found.kind,
        date: found.date.clone(),
        path: found.path.clone(),
        rows,
        bytes,
        sha256: sha256(file)?,
        min_ts: Time(min),
        max_ts: Time(max),
    })
}

/// Notes what the files do not hold because it was stored from another message: rules may have counted it twice.
fn note_repeated(connection: &Connection, loading: &Loading<'_>) -> anyhow::Result<()> {
    let sql = "INSERT INTO duplicates SELECT $1, $2, $3, NULL WHERE NOT EXISTS
               (FROM duplicates WHERE events_epoch = $1 AND events_seq = $2 AND origin = $3)";
    let duplicates = loading.contents.iter().flat_map(|contents| &contents.duplicates);
    for (sequence, origins) in duplicates {
        if !loading.wanted.iter().any(|range| range.contains(sequence)) {
            continue;
        }
        let origins: Origins = origins.parse().unwrap_or_default();
        for origin in origins.ranges().iter().cloned().flatten() {
            connection
                .prepare_cached(sql)?
                .execute(params![loading.part.epoch, sequence, origin])?;
        }
    }
    Ok(())
}

fn from(folder: &Path, files: &[&archive::File]) -> String {
    let paths: Vec<&String> = files.iter().map(|file| &file.path).collect();
    from_paths(folder, &paths)
}

fn from_paths(folder: &Path, paths: &[&String]) -> String {
    let names = paths
        .iter()
        .map(|path| quote(&folder.join(path).to_string_lossy()));
    let names: Vec<String> = names.collect();
    format!("read_parquet([{}], hive_partitioning = false)", names.join(", "))
}

/// The condition that a sequence is in one of these ranges.
pub(crate) fn among(ranges: &[RangeInclusive<u64>]) -> String {
    let conditions: Vec<String> = ranges
        .iter()
        .map(|range| format!("events_seq BETWEEN {} AND {}", range.start(), range.end()))
        .collect();
    conditions.join(" OR ")
}

fn noted(connection: &Connection) -> anyhow::Result<HashSet<String>> {
    let mut statement = connection.prepare("SELECT path FROM archive_file")?;
    let paths = statement.query_map([], |row| row.get(0))?;
    Ok(paths.collect::<Result<_, _>>()?)
}

fn say(problems: &mut Vec<String>, problem: String) {
    tracing::error!(worker = "sink", problem, "archive");
    if problems.len() < PROBLEMS_MAX {
        problems.push(problem);
    }
}
