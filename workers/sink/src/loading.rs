//! The files of one part: looked at before they are loaded, and noted afterwards.
//!
//! A part is whole if all files are there that its files name. Its rows are seen once: in the tables (`copy`) or in
//! the files (`cold`), never in both.

use std::collections::HashSet;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;

use duckdb::{Connection, params};
use schemas::archive::{self, Contents};
use schemas::{Kind, Origins, Time};

use crate::archive::note_file;
use crate::archive_views::is_later;
use crate::folder::{self, Found, Part};
use crate::intact::sha256;
use crate::migrate::in_transaction;
use crate::restore::{Wanted, say};
use crate::schema::{self, quote};
use crate::{Source, Store};

/// A part being loaded.
pub(crate) struct Loading<'p> {
    pub(crate) part: &'p Part,
    pub(crate) wanted: Vec<RangeInclusive<u64>>,
    pub(crate) contents: Option<Contents>,
    pub(crate) files: Vec<archive::File>,
    pub(crate) is_complete: bool,
}

impl Store {
    /// Notes a part's files, and what of its range has no rows. Whether the rows stay in the files.
    pub(crate) fn finish(
        &mut self,
        loading: &Loading<'_>,
        stays: bool,
        wanted: &Wanted<'_>,
    ) -> anyhow::Result<bool> {
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
                note_file(connection, epoch, file, wanted.now, state)?;
                connection.execute(
                    "UPDATE archive_file SET state = ? WHERE path = ?",
                    params![state, file.path],
                )?;
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
    pub(crate) fn note_stored(
        &mut self,
        part: &Part,
        reading: &Connection,
        wanted: &Wanted<'_>,
    ) -> anyhow::Result<()> {
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
            files.try_for_each(|file| note_file(connection, &part.epoch, file, wanted.now, "copy"))
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
    pub(crate) fn is_whole(&self) -> bool {
        self.wanted == [self.part.first..=self.part.last]
    }
}

/// Looks at the files of a part, and whether all of them are there and readable.
pub(crate) fn open<'p>(
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
        from_paths(found.kind, folder, &[&found.path])
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
        layout: layout(found.kind, &path, reading)?,
    })
}

/// Which columns a file has, as itself says.
pub(crate) fn layout(kind: Kind, path: &Path, reading: &Connection) -> anyhow::Result<u16> {
    let sql = format!(
        "SELECT name FROM parquet_schema({})",
        quote(&path.to_string_lossy())
    );
    let mut statement = reading.prepare(&sql)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let names: HashSet<String> = names.collect::<Result<_, _>>()?;
    let mut later = schema::own(kind).iter().filter(|(name, ..)| is_later(kind, name));
    Ok(if later.all(|(name, ..)| names.contains(*name)) {
        archive::LAYOUT
    } else {
        1
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

/// What is selected from, for these files.
pub(crate) fn from(kind: Kind, folder: &Path, files: &[&archive::File]) -> String {
    let paths: Vec<&String> = files.iter().map(|file| &file.path).collect();
    from_paths(kind, folder, &paths)
}

fn from_paths(kind: Kind, folder: &Path, paths: &[&String]) -> String {
    let names = paths
        .iter()
        .map(|path| quote(&folder.join(path).to_string_lossy()));
    let names: Vec<String> = names.collect();
    let read = format!("read_parquet([{}], hive_partitioning = false)", names.join(", "));
    // Files of the first layout lack these.
    let later = schema::own(kind).iter().filter(|(name, ..)| is_later(kind, name));
    let later: Vec<String> = later
        .map(|(name, column_type, _)| format!("NULL::{column_type} AS \"{name}\""))
        .collect();
    match later.is_empty() {
        true => read,
        false => format!(
            "(FROM {read} UNION ALL BY NAME SELECT {} WHERE false)",
            later.join(", ")
        ),
    }
}

/// The condition that a sequence is in one of these ranges.
pub(crate) fn among(ranges: &[RangeInclusive<u64>]) -> String {
    let conditions: Vec<String> = ranges
        .iter()
        .map(|range| format!("events_seq BETWEEN {} AND {}", range.start(), range.end()))
        .collect();
    conditions.join(" OR ")
}
