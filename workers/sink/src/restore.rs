//! Getting back from the archive's files what this database does not have: it was deleted, or is an older copy.
//!
//! A file's rows become the EVENTS messages they came from, and those are stored as always: rows, origins and
//! checkpoint in one transaction, each message once. Their aggregates are made here. Killed on the way, the next start
//! goes on where this one ended. Rows that are due to leave the tables stay in their files.
//! Deliberately absent: alerts, which rules found and no file holds; the stream ALERTS brings back those it has.

use std::collections::HashSet;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use duckdb::Connection;
use schemas::alert::Match;
use schemas::{Kind, Time, archive};

use crate::folder::{self, Part};
use crate::loading::{self, Loading, among, from};
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
        let mut loading = loading::open(part, absent, reading, wanted.folder, &mut restored.problems);
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
            let read = self.load_kind(
                kind,
                &from(kind, wanted.folder, &files),
                &loading,
                reading,
                restored,
            )?;
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
                from(file.kind, wanted.folder, &[file])
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
}

fn noted(connection: &Connection) -> anyhow::Result<HashSet<String>> {
    let mut statement = connection.prepare("SELECT path FROM archive_file")?;
    let paths = statement.query_map([], |row| row.get(0))?;
    Ok(paths.collect::<Result<_, _>>()?)
}

pub(crate) fn say(problems: &mut Vec<String>, problem: String) {
    tracing::error!(worker = "sink", problem, "archive");
    if problems.len() < PROBLEMS_MAX {
        problems.push(problem);
    }
}
