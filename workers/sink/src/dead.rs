//! Dead letters: from a DEAD message to its row, stored once however often it was published.
//!
//! Nothing makes a dead letter unreadable: a header that is missing or wrong leaves its column null.

use std::collections::HashSet;

use anyhow::Context;
use duckdb::Connection;
use duckdb::arrow::datatypes::{TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use schemas::archive::{self, Job};
use schemas::{Kind, Origins, Time, headers};
use serde::Deserialize;

use crate::appending::{BytesColumn, Columns, NumberColumn, TextColumn, numbers};
use crate::kinds::kind_of;
use crate::progress::Progress;
use crate::ranges::SEQUENCE_MAX;
use crate::{Headers, StoredMessage};

/// The state of a letter about which nobody did anything yet.
const OPEN: &str = "open";
/// The stage whose work the sink does itself where it gave up.
const ROLLUP_STAGE: &str = "rollup";
/// The stage that writes files.
const ARCHIVE_STAGE: &str = "archive";
/// Stages that read what is accounted for elsewhere: what they give up on is stored, or a dead letter already.
const BEHIND_EVENTS: &[&str] = &[ROLLUP_STAGE, "route", "rules", "webhook", ARCHIVE_STAGE];
/// Subjects of what was made of events.
const MADE_OF_EVENTS: &[&str] = &["rollup.", "matches.", "alerts.", "archive."];

/// A dead letter, read from its headers.
pub(crate) struct DeadLetter<'a> {
    /// ULID of INGEST's epoch.
    pub(crate) epoch: Option<&'a str>,
    /// The INGEST messages it accounts for: one, or all those of an EVENTS message that was refused whole.
    pub(crate) origins: Origins,
    stage: &'a str,
    origin: Option<u64>,
    index: Option<u32>,
    message: StoredMessage<'a>,
}

/// What makes two dead letters the same: id of the epoch, stage, origin, index.
pub(crate) type Key = (u16, String, u64, Option<u32>);

impl<'a> DeadLetter<'a> {
    pub(crate) fn read(message: &StoredMessage<'a>) -> Self {
        let header = |name: &str| message.headers.get(name);
        let origin = header(headers::ORIGIN)
            .and_then(|value| value.parse().ok())
            .filter(|origin| (1..=SEQUENCE_MAX).contains(origin));
        let stage = header(headers::STAGE).unwrap_or_else(|| subject_token(message.subject, 1));
        // Of a stage behind EVENTS, or about what such a stage made.
        let subject = header(headers::SUBJECT).unwrap_or_default();
        let derived =
            BEHIND_EVENTS.contains(&stage) || MADE_OF_EVENTS.iter().any(|made| subject.starts_with(made));
        let origins = match origin {
            // Its events are accounted for elsewhere: only what was made of them is dead.
            _ if derived => Origins::default(),
            Some(origin) => Origins::from_iter([origin]),
            // A whole batch: no more origins than it has lines, whatever its header claims.
            None => header(headers::ORIGINS)
                .and_then(|value| value.parse().ok())
                .filter(|origins: &Origins| origins.len() <= lines(message.payload))
                .unwrap_or_default(),
        };
        DeadLetter {
            epoch: header(headers::EPOCH).filter(|epoch| ulid::Ulid::from_string(epoch).is_ok()),
            origins,
            stage,
            origin,
            index: header(headers::INDEX).and_then(|value| value.parse().ok()),
            message: *message,
        }
    }

    /// The EVENTS message, by epoch and sequence, whose aggregates were to be made by the stage that gave up.
    pub(crate) fn unmade_partial(&self) -> Option<(&'a str, u64)> {
        if self.stage != ROLLUP_STAGE {
            return None;
        }
        events_message(self.message.headers)
    }

    /// The archive job that was given up.
    pub(crate) fn given_up_job(&self) -> Option<Job> {
        let is_job = self.message.headers.get(headers::SUBJECT) == Some(archive::JOB_SUBJECT);
        (self.stage == ARCHIVE_STAGE && is_job)
            .then(|| Job::read(self.message.payload).ok())
            .flatten()
    }

    /// The kind under which the ledger counts it.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let header = |name: &str| self.message.headers.get(name);
        kind_of(header(headers::SUBJECT), header(headers::KIND))
    }

    /// Whether it is about a single item of a message of INGEST.
    pub(crate) fn is_of_one_item(&self) -> bool {
        self.index.is_some() && !self.origins.is_empty()
    }

    /// What its repeats would share; none if it does not say which message it is about.
    pub(crate) fn key(&self, epoch: u16) -> Option<Key> {
        Some((epoch, self.stage.to_owned(), self.origin?, self.index))
    }
}

/// Who sent a payload: the `source` of its one object, or the one that all its objects name. Deliberately as the sender
/// wrote it: what cannot be read has none.
fn source_of(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Sender {
        source: Option<String>,
    }
    let is_array = payload.trim_ascii_start().starts_with(b"[");
    let senders: Vec<Sender> = if is_array {
        serde_json::from_slice(payload).ok()?
    } else {
        let objects = serde_json::Deserializer::from_slice(payload).into_iter();
        objects.collect::<Result<_, _>>().ok()?
    };
    let mut sources = senders.into_iter().map(|sender| sender.source);
    let first = sources.next()??;
    sources
        .all(|source| source.as_deref() == Some(&first))
        .then_some(first)
}

/// To version 5: letters have a state. All that are there are open; where there was only one epoch of DEAD they are of it.
pub(crate) fn add_states(connection: &Connection) -> anyhow::Result<()> {
    connection.execute_batch(
        "ALTER TABLE dead ADD COLUMN IF NOT EXISTS dead_epoch VARCHAR;
         ALTER TABLE dead ADD COLUMN IF NOT EXISTS source VARCHAR;
         ALTER TABLE dead ADD COLUMN IF NOT EXISTS state VARCHAR;
         ALTER TABLE dead ADD COLUMN IF NOT EXISTS state_at TIMESTAMP;
         ALTER TABLE dead ADD COLUMN IF NOT EXISTS replay_of UBIGINT;
         ALTER TABLE dead ADD COLUMN IF NOT EXISTS replay_count UTINYINT;
         UPDATE dead SET state = 'open',
            source = TRY(json_extract_string(decode(payload), '$.source')),
            dead_epoch = (SELECT min(epoch) FROM checkpoint WHERE stream = 'DEAD' HAVING count(*) = 1);",
    )?;
    Ok(())
}

fn lines(payload: &[u8]) -> u64 {
    payload.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The EVENTS message, by epoch and sequence, that a message was made of.
pub(crate) fn events_message(map: &dyn Headers) -> Option<(&str, u64)> {
    let epoch = map
        .get(headers::EVENTS_EPOCH)
        .filter(|epoch| ulid::Ulid::from_string(epoch).is_ok())?;
    let sequence = map.get(headers::EVENTS_SEQUENCE)?.parse().ok()?;
    (1..=SEQUENCE_MAX)
        .contains(&sequence)
        .then_some((epoch, sequence))
}

/// The token of a subject at this position, or nothing.
fn subject_token(subject: &str, position: usize) -> &str {
    subject.split('.').nth(position).unwrap_or_default()
}

/// Which dead letters are in the database, of those this batch might repeat.
pub(crate) fn known_keys(
    connection: &Connection,
    progress: &Progress,
    letters: &[DeadLetter<'_>],
) -> anyhow::Result<HashSet<Key>> {
    let mut wanted: Vec<(u16, u64)> = letters
        .iter()
        .filter_map(|letter| {
            let (name, origin) = (letter.epoch?, letter.origin?);
            match progress.known_epoch(name) {
                Some(epoch) => epoch.dead.contains(origin).then_some((epoch.id, origin)),
                None => Some((progress.known_foreign_epoch(name)?, origin)),
            }
        })
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut known = HashSet::new();
    // Numbers only: nothing to quote. In pieces, so that no statement grows without bound.
    for piece in wanted.chunks(1000) {
        let list: Vec<String> = piece
            .iter()
            .map(|(epoch, origin)| format!("({epoch},{origin})"))
            .collect();
        let sql = format!(
            "SELECT epoch, stage, origin, idx FROM dead WHERE (epoch, origin) IN (VALUES {})",
            list.join(",")
        );
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            known.insert((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        }
    }
    Ok(known)
}

/// The table `dead` as columns being filled.
#[derive(Default)]
pub(crate) struct DeadColumns {
    stage: TextColumn,
    kind: TextColumn,
    reason: TextColumn,
    place: TextColumn,
    problem: TextColumn,
    fix: TextColumn,
    origin: NumberColumn<UInt64Type>,
    idx: NumberColumn<UInt32Type>,
    epoch: NumberColumn<UInt16Type>,
    subject: TextColumn,
    stored: NumberColumn<TimestampMicrosecondType>,
    headers: TextColumn,
    payload: BytesColumn,
    dead_seq: Vec<u64>,
    dead_at: Vec<i64>,
    dead_epoch: TextColumn,
    source: TextColumn,
    state: TextColumn,
    replay_of: NumberColumn<UInt64Type>,
    replay_count: NumberColumn<UInt8Type>,
}

impl DeadColumns {
    pub(crate) fn push(&mut self, letter: &DeadLetter<'_>, epoch: Option<u16>) -> anyhow::Result<()> {
        let message = &letter.message;
        let header = |name: &str| message.headers.get(name);
        let kind = header(headers::KIND).unwrap_or_else(|| subject_token(message.subject, 2));
        let stored: Option<Time> = header(headers::STORED).and_then(|value| value.parse().ok());
        self.stage.push(Some(letter.stage));
        self.kind.push(Some(kind));
        self.reason.push(header(headers::REASON));
        self.place.push(header(headers::PLACE));
        self.problem.push(header(headers::PROBLEM));
        self.fix.push(header(headers::FIX));
        self.origin.push(letter.origin);
        self.idx.push(letter.index);
        self.epoch.push(epoch);
        self.subject.push(header(headers::SUBJECT));
        self.stored.push(stored.map(|stored| stored.0));
        self.headers.push(Some(&headers_json(message)?));
        self.payload.push(message.payload);
        self.dead_seq.push(message.sequence);
        self.dead_at.push(message.stored.0);
        self.dead_epoch.push(Some(message.stream_epoch));
        self.source.push(source_of(message.payload).as_deref());
        self.state.push(Some(OPEN));
        let number = |name: &str| header(name)?.parse().ok();
        self.replay_of.push(number(headers::REPLAY_OF));
        self.replay_count
            .push(header(headers::REPLAY_COUNT).and_then(|count| count.parse().ok()));
        Ok(())
    }

    pub(crate) fn rows(&self) -> usize {
        self.dead_seq.len()
    }

    pub(crate) fn take(&mut self) -> Columns {
        vec![
            ("stage", self.stage.take()),
            ("kind", self.kind.take()),
            ("reason", self.reason.take()),
            ("place", self.place.take()),
            ("problem", self.problem.take()),
            ("fix", self.fix.take()),
            ("origin", self.origin.take()),
            ("idx", self.idx.take()),
            ("epoch", self.epoch.take()),
            ("subject", self.subject.take()),
            ("stored", self.stored.take()),
            ("headers", self.headers.take()),
            ("payload", self.payload.take()),
            ("dead_seq", numbers::<UInt64Type>(&mut self.dead_seq)),
            ("dead_at", numbers::<TimestampMicrosecondType>(&mut self.dead_at)),
            ("dead_epoch", self.dead_epoch.take()),
            ("source", self.source.take()),
            ("state", self.state.take()),
            ("replay_of", self.replay_of.take()),
            ("replay_count", self.replay_count.take()),
        ]
    }
}

/// All headers as one JSON object; of repeated names the last value counts.
fn headers_json(message: &StoredMessage<'_>) -> anyhow::Result<String> {
    let mut map = serde_json::Map::new();
    message.headers.for_each(&mut |name, value| {
        map.insert(name.to_owned(), value.into());
    });
    serde_json::to_string(&map).context("headers as JSON")
}
