//! What the sink knows about the archive: which files there are, and what became of a range of EVENTS.

use anyhow::Context;
use duckdb::{Connection, OptionalExt, params};
use schemas::archive::{Coverage, CoverageRequest, FILE_SUBJECT, File, Job, Manifest};
use schemas::{Origins, Time};

use crate::writing::Writing;
use crate::{RangeSet, Rejected, Source, StoredMessage};

impl Writing<'_> {
    /// Notes the files of a manifest, once the events they hold were processed; until then it waits.
    pub(crate) fn archive(&mut self, index: usize, message: &StoredMessage<'_>) -> anyhow::Result<()> {
        if !self.begin(message) {
            return Ok(());
        }
        if message.subject != FILE_SUBJECT {
            // A job: others carry it out.
            self.processed(message);
            return Ok(());
        }
        let manifest = match Manifest::read(message.payload) {
            Ok(manifest) => manifest,
            Err(reason) => {
                self.outcome.rejected.push(Rejected { index, reason });
                return Ok(());
            }
        };
        let job = &manifest.job;
        let events = self.progress.processed(Source::Events, &job.epoch);
        if events.is_none_or(|set| set.contiguous() < job.last) {
            if !self.has_ended(&job.epoch) {
                self.outcome.deferred.push(index);
                return Ok(());
            }
            // EVENTS begins anew: what this database has not seen of its last life, it never will.
            for unseen in self
                .progress
                .absent(Source::Events, &job.epoch, job.first..=job.last)
            {
                self.progress.process(Source::Unseen, &job.epoch, unseen);
            }
        }
        let known = files_between(self.connection, job)?;
        let other = known
            .iter()
            .find(|known| manifest.files.iter().all(|file| file.path != known.path));
        if let Some(other) = other {
            let reason = format!(
                "its range overlaps that of {}: its rows would be there twice",
                other.path
            );
            self.outcome.rejected.push(Rejected { index, reason });
            return Ok(());
        }
        let state = match known.iter().any(|known| known.state != "copy") {
            true => "cold",
            false => "copy",
        };
        for file in &manifest.files {
            note_file(self.connection, &job.epoch, file, message.stored, state)
                .with_context(|| format!("file {} could not be noted", file.path))?;
        }
        self.progress
            .process(Source::Archived, &job.epoch, job.first..=job.last);
        self.processed(message);
        Ok(())
    }

    /// Nobody will archive this range: its rows stay in the table.
    pub(crate) fn given_up(&mut self, job: &Job) {
        tracing::error!(
            worker = "sink",
            first = job.first,
            last = job.last,
            "worker archive gave these messages of EVENTS up; their rows are only in the database, and stay there"
        );
        self.progress
            .process(Source::Archived, &job.epoch, job.first..=job.last);
    }
}

/// A file that was noted before.
struct Known {
    path: String,
    state: String,
}

/// The files that hold something of a job's range.
fn files_between(connection: &Connection, job: &Job) -> anyhow::Result<Vec<Known>> {
    let sql =
        "SELECT path, state FROM archive_file WHERE events_epoch = ? AND first_seq <= ? AND last_seq >= ?";
    let mut statement = connection.prepare_cached(sql)?;
    let known = statement.query_map(params![job.epoch, job.last, job.first], |row| {
        Ok(Known {
            path: row.get(0)?,
            state: row.get(1)?,
        })
    })?;
    Ok(known.collect::<Result<_, _>>()?)
}

/// Notes a file, in the place of itself if it was noted before. Its state is left alone then: the keeper changes it on
/// a connection of its own, and a deletion that meets such an update undoes it, which is no conflict for DuckDB.
pub(crate) fn note_file(
    connection: &Connection,
    epoch: &str,
    file: &File,
    archived_at: Time,
    state: &str,
) -> anyhow::Result<()> {
    let sql = "UPDATE archive_file SET rows = ?, bytes = ?, sha256 = ?, min_ts = make_timestamp(?::BIGINT),
               max_ts = make_timestamp(?::BIGINT), archived_at = make_timestamp(?::BIGINT) WHERE path = ?";
    let known = connection.prepare_cached(sql)?.execute(params![
        file.rows,
        file.bytes,
        file.sha256,
        file.min_ts.0,
        file.max_ts.0,
        archived_at.0,
        file.path
    ])?;
    if known > 0 {
        return Ok(());
    }
    let sql = "INSERT INTO archive_file VALUES (?, ?, ?, ?, ?::VARCHAR::DATE, ?, ?, ?, ?,
               make_timestamp(?::BIGINT), make_timestamp(?::BIGINT), make_timestamp(?::BIGINT), ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        epoch,
        file.first,
        file.last,
        file.kind.as_str(),
        file.date,
        file.path,
        file.rows,
        file.bytes,
        file.sha256,
        file.min_ts.0,
        file.max_ts.0,
        archived_at.0,
        state,
        file.layout
    ])?;
    Ok(())
}

/// One of the sets kept in the table `checkpoint`.
pub(crate) fn processed_set(
    connection: &Connection,
    source: Source,
    epoch: &str,
) -> anyhow::Result<RangeSet> {
    let sql = "SELECT seq, beyond FROM checkpoint WHERE stream = ? AND epoch = ?";
    let row: Option<(u64, String)> = connection
        .prepare_cached(sql)?
        .query_row(params![source.as_str(), epoch], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (seq, beyond) = row.unwrap_or_default();
    let mut set = RangeSet::parse(&beyond).context("checkpoint.beyond is not ranges")?;
    set.insert(1..=seq);
    Ok(set)
}

/// What became of a range. The caller's transaction makes it one moment.
pub(crate) fn coverage(connection: &Connection, request: &CoverageRequest) -> anyhow::Result<Coverage> {
    let epoch = &request.epoch;
    let mut range = Origins::new();
    range.insert(request.first..=request.last);
    let refused = processed_set(connection, Source::Refused, epoch)?.intersection(&range);
    let mut duplicates: Vec<(u64, Origins)> = Vec::new();
    let sql = "SELECT events_seq, origin FROM duplicates
               WHERE events_epoch = ? AND events_seq BETWEEN ? AND ? ORDER BY events_seq, origin";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![epoch, request.first, request.last])?;
    while let Some(row) = rows.next()? {
        let (sequence, origin): (u64, u64) = (row.get(0)?, row.get(1)?);
        match duplicates.last_mut().filter(|(last, _)| *last == sequence) {
            Some((_, origins)) => origins.push(origin),
            None => duplicates.push((sequence, Origins::from_iter([origin]))),
        }
    }
    Ok(Coverage {
        checkpoint: processed_set(connection, Source::Events, epoch)?.contiguous(),
        archived: processed_set(connection, Source::Archived, epoch)?.text(),
        refused: refused.to_string(),
        duplicates: duplicates
            .into_iter()
            .map(|(sequence, origins)| (sequence, origins.to_string()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use schemas::Kind;
    use schemas::archive::path;

    use super::*;
    use crate::schema;

    #[test]
    fn a_file_noted_again_while_its_rows_move_out_stays_where_they_went() {
        let writer = Connection::open_in_memory().unwrap();
        schema::prepare(&writer).unwrap();
        let keeper = writer.try_clone().unwrap();
        let file = File {
            first: 1,
            last: 1,
            kind: Kind::Usage,
            date: "2026-11-20".into(),
            path: path(Kind::Usage, "2026-11-20", "01M7WT8WJNNPPQ3HA2NE8QNDWD", 1, 1),
            rows: 1,
            bytes: 8768,
            sha256: String::new(),
            min_ts: Time(0),
            max_ts: Time(0),
            layout: schemas::archive::LAYOUT,
        };
        let note = |archived_at| note_file(&writer, "E", &file, Time(archived_at), "copy").unwrap();
        note(1);
        keeper
            .execute_batch("BEGIN; UPDATE archive_file SET state = 'cold'")
            .unwrap();
        note(2);
        keeper.execute_batch("COMMIT").unwrap();
        let noted: (String, i64) = writer
            .query_row(
                "SELECT state, epoch_us(archived_at) FROM archive_file",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(noted, ("cold".to_owned(), 2));
    }
}
