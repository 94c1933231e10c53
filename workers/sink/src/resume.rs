//! Where an input continues, and what is done first: streams made anew, an older or a new database, gaps.
//!
//! Acts first and remembers afterwards: killed in between, the next start does the same again. Whatever was found is
//! told in one sentence (see `incidents`), with what came of it.

use std::path::PathBuf;

use anyhow::bail;
use bus::{CancellationToken, DurableState, StreamState};
use schemas::Time;
use schemas::alert::{Match, Severity};
use schemas::rollup::DAY_MICROSECONDS;

use crate::guard::Guard;
use crate::incidents::{
    ARCHIVE_RESTORED, DATABASE_NEW, DATABASE_RESTORED, Incident, STREAM_OLDER, STREAM_RECREATED, counted,
};
use crate::memory::{self, Fact};
use crate::restore::{Restored, Wanted};
use crate::trim::now_microseconds;
use crate::{Activity, Source, Store, folder};

/// Problems named in a sentence.
const PROBLEMS_NAMED_MAX: usize = 2;

/// What is to be known about inputs beside the database.
pub(crate) struct Resumption {
    /// The archive folder.
    pub(crate) folder: PathBuf,
    /// Days for which rows stay in the tables.
    pub(crate) raw_days: u32,
    pub(crate) guard: Guard,
    pub(crate) shutdown: CancellationToken,
    /// Inputs that were opened since the process started, with the newest message each is known to have held.
    pub(crate) opened: Vec<(Source, u64)>,
}

/// Where an input continues.
pub(crate) struct Resumed {
    pub(crate) sequence: u64,
    /// To be told of.
    pub(crate) alerts: Vec<Match>,
    pub(crate) activity: Activity,
}

/// An input about to be opened.
struct Opening<'a> {
    source: Source,
    stream: &'a StreamState,
    /// It was not opened before by this process.
    is_first: bool,
    /// The epoch it had when the database last knew it.
    previous: Option<String>,
    /// Every message up to here was processed.
    checkpoint: u64,
    /// Up to here it was acknowledged.
    acknowledged: u64,
}

impl Opening<'_> {
    /// The stream was made anew since the database last saw it.
    fn is_recreated(&self) -> bool {
        self.previous.is_some()
    }

    /// What is to be told of a stream that was moved beyond what is known of it.
    fn moved(&self, store: &Store) -> anyhow::Result<Option<Incident>> {
        let name = self.source.as_str();
        let fact = memory::recall(store.connection(), &memory::moved(name))?.unwrap_or_default();
        let Some((epoch, last)) = fact.split_once(' ') else {
            return Ok(None);
        };
        if epoch != self.stream.epoch || self.stream.first_sequence <= self.checkpoint {
            return Ok(None);
        }
        let only = match self.source {
            Source::Events => store.unprocessed(Source::Archived, epoch, self.checkpoint),
            _ => 0,
        };
        let only = match only {
            0 => String::new(),
            only => format!(
                "; {} stored and not archived yet stay in the database only",
                counted(only)
            ),
        };
        Ok(Some(Incident {
            rule: STREAM_OLDER,
            severity: Severity::Warning,
            key: name.to_owned(),
            message: format!(
                "the stream {name} ended at message {last} and the database has {} of it: NATS lost its last moments, or was \
                 restored from an older copy; everything in it was stored, so it was emptied and goes on at {}{only}",
                self.checkpoint, self.stream.first_sequence
            ),
        }))
    }

    /// The stream lost messages that were not processed.
    fn has_gap(&self) -> bool {
        self.checkpoint + 1 < self.stream.first_sequence
    }
}

impl Resumption {
    /// Notes how far a stream is known to reach.
    pub(crate) fn saw(&mut self, source: Source, last: u64) {
        if let Some((_, seen)) = self.opened.iter_mut().find(|(known, _)| *known == source) {
            *seen = last.max(*seen);
        }
    }

    /// What was processed of a stream, if it ends before: it is older than the database. Everything in it was processed
    /// then, so that it can go.
    pub(crate) fn ahead_of(&self, store: &Store, source: Source, stream: &StreamState) -> Option<u64> {
        let known = store.progress.processed(source, &stream.epoch)?.last()?;
        let is_done = store.unprocessed(source, &stream.epoch, stream.last_sequence) == 0;
        if known <= stream.last_sequence || !is_done || self.guard.check(store.connection()).is_err() {
            return None;
        }
        let fact = (
            memory::moved(source.as_str()),
            format!("{} {}", stream.epoch, stream.last_sequence),
        );
        memory::remember(store.connection(), &[fact], &[], Time(now_microseconds())).ok()?;
        Some(known)
    }

    /// Finds out what happened, does what is to be done, and says where the input continues.
    ///
    /// # Errors
    /// When the sink must not go on with this stream, or the database fails.
    pub(crate) fn resume(
        &mut self,
        store: &mut Store,
        source: Source,
        stream: &StreamState,
        durable: Option<&DurableState>,
    ) -> anyhow::Result<Resumed> {
        self.guard.check(store.connection())?;
        let opening = Opening {
            source,
            stream,
            is_first: self.opened.iter().all(|(known, _)| *known != source),
            previous: previous(store, source, &stream.epoch)?,
            checkpoint: store.checkpoint(source, &stream.epoch),
            acknowledged: durable.map_or(0, |durable| durable.ack_floor),
        };
        refuse_older(store, source, stream)?;
        let moved = opening.moved(store)?;
        let mut facts = vec![(memory::epoch_of(source.as_str()), stream.epoch.clone())];
        let mut incidents: Vec<Incident> = self.recreated(store, &opening).into_iter().collect();
        incidents.extend(moved.clone());
        let mut alerts = Vec::new();
        let mut activity = Activity::default();
        match source {
            Source::Events => {
                store.events_begin(&stream.epoch, stream.last_sequence);
                store.own_partials(&stream.epoch)?;
                if opening.is_recreated() || moved.is_some() {
                    // Worker rollup may have had some of it still to read.
                    let (_, found) = store.make_missing_partials()?;
                    alerts.extend(found);
                }
                let is_new = opening.previous.is_none() && !store.progress.knows(source);
                let restored = self.restore(store, &opening)?;
                if self.shutdown.is_cancelled() {
                    return Ok(Resumed::at(store, &opening));
                }
                incidents.extend(returned(store, &opening, is_new, &restored));
                alerts.extend(restored.alerts);
                activity = restored.activity;
            }
            Source::Rollup if opening.is_recreated() || opening.has_gap() || moved.is_some() => {
                let (made, found) = store.make_missing_partials()?;
                tracing::info!(
                    worker = "sink",
                    made,
                    "partials that ROLLUP lost were made from the rows"
                );
                alerts.extend(found);
                facts.extend(store.make_own_partials());
            }
            Source::Archive if opening.is_recreated() || opening.has_gap() || moved.is_some() => {
                // Manifests went with it: the files themselves say what was archived.
                self.restore_files(store)?;
            }
            Source::Alerts | Source::Dead if opening.has_gap() && opening.checkpoint > 0 => {
                incidents.push(passed_over(&opening));
            }
            _ => {}
        }
        if opening.has_gap() {
            store.begin_at(source, &stream.epoch, stream.first_sequence);
            store.commit(&[])?;
        }
        if moved.is_some() {
            facts.push((memory::moved(source.as_str()), String::new()));
        }
        alerts.extend(remember(store, &opening, &facts, &incidents)?);
        self.opened.retain(|(known, _)| *known != source);
        self.opened.push((source, stream.last_sequence));
        Ok(Resumed {
            alerts,
            activity,
            ..Resumed::at(store, &opening)
        })
    }

    /// What is to be told of a stream that was made anew.
    fn recreated(&self, store: &Store, opening: &Opening<'_>) -> Option<Incident> {
        let previous = opening.previous.as_ref()?;
        let (source, epoch) = (opening.source, &opening.stream.epoch);
        let name = source.as_str();
        let stored = store.checkpoint(source, previous);
        let seen = self.opened.iter().find(|(known, _)| *known == source);
        let lost = match seen {
            Some((_, seen)) => {
                let lost = store.unprocessed(source, previous, *seen);
                format!("{} not stored yet went with it", counted(lost))
            }
            None => format!("what it held behind message {stored}, the last one stored of it, went with it"),
        };
        let after = match source {
            Source::Events => match store.unprocessed(Source::Archived, previous, stored) {
                0 => "; what they were made of is read again from INGEST".to_owned(),
                only => format!(
                    "; what they were made of is read again from INGEST; {only} that were stored and not archived are only \
                     in the database"
                ),
            },
            Source::Rollup => "; aggregates are made from the rows".to_owned(),
            Source::Dead => "; what they were made of is rejected again from INGEST".to_owned(),
            Source::Archive => "; the archive folder says what was archived".to_owned(),
            _ => String::new(),
        };
        Some(Incident {
            rule: STREAM_RECREATED,
            severity: Severity::Warning,
            key: name.to_owned(),
            message: format!(
                "the stream {name} was made anew (epoch {epoch} after {previous}): {lost}{after}; going on with the new one"
            ),
        })
    }

    /// Gets back what the archive has, where it may have something.
    fn restore(&self, store: &mut Store, opening: &Opening<'_>) -> anyhow::Result<Restored> {
        if !(opening.is_first || opening.is_recreated() || opening.has_gap()) {
            return Ok(Restored::default());
        }
        let stream = opening.stream;
        let beyond = folder::parts(&self.folder)
            .into_iter()
            .find(|part| part.epoch == stream.epoch && part.last > stream.last_sequence);
        if let Some(part) = beyond {
            bail!(older(
                opening.source,
                stream.last_sequence,
                part.last,
                "the archive"
            ));
        }
        self.restore_files(store)
    }

    fn restore_files(&self, store: &mut Store) -> anyhow::Result<Restored> {
        let now = Time(now_microseconds());
        store.restore(&Wanted {
            folder: &self.folder,
            cold_before: Time(now.0 - i64::from(self.raw_days) * DAY_MICROSECONDS),
            now,
            is_cancelled: &|| self.shutdown.is_cancelled(),
        })
    }
}

impl Resumed {
    fn at(store: &Store, opening: &Opening<'_>) -> Self {
        let stream = opening.stream;
        let checkpoint = store.checkpoint(opening.source, &stream.epoch);
        Self {
            sequence: checkpoint.max(stream.first_sequence.saturating_sub(1)) + 1,
            alerts: Vec::new(),
            activity: Activity::default(),
        }
    }
}

/// The epoch that the database knew before this one.
fn previous(store: &Store, source: Source, epoch: &str) -> anyhow::Result<Option<String>> {
    let remembered = memory::recall(store.connection(), &memory::epoch_of(source.as_str()))?;
    let known = remembered.or_else(|| store.progress.newest_epoch(source));
    Ok(known.filter(|known| known != epoch))
}

/// A stream that ends before what was processed of it is one that was taken from an older copy.
fn refuse_older(store: &Store, source: Source, stream: &StreamState) -> anyhow::Result<()> {
    let processed = store.progress.processed(source, &stream.epoch);
    match processed.and_then(crate::RangeSet::last) {
        Some(known) if known > stream.last_sequence => {
            bail!(older(source, stream.last_sequence, known, "the database"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn older(source: Source, last: u64, known: u64, who: &str) -> String {
    older_stream(source.as_str(), last, known, who)
}

/// Why nothing is stored of a NATS that is older than what was stored.
pub(crate) fn older_stream(name: &str, last: u64, known: u64, who: &str) -> String {
    format!(
        "NATS was restored from an older copy: its stream {name} ends at message {last}, {who} has {known} of it, and new \
         messages would be taken for known ones; nothing is stored and nothing is trimmed. Stop aiai and put back newer \
         files of NATS, or the copies of the database and of the archive folder that were made before that of NATS; or, if \
         what the stream holds now may be given up, run: nats stream purge {name} --seq={}",
        known + 1
    )
}

/// What is to be told of a database that does not have what it should.
fn returned(store: &Store, opening: &Opening<'_>, is_new: bool, restored: &Restored) -> Option<Incident> {
    let stream = opening.stream;
    let removed = 1..=stream.first_sequence.saturating_sub(1);
    let absent = store.progress.absent(opening.source, &stream.epoch, removed);
    let unseen: u64 = absent.iter().map(|range| range.end() - range.start() + 1).sum();
    let was_read = opening.acknowledged > opening.checkpoint;
    let cause = if is_new && (was_read || restored.rows > 0 || unseen > 0) {
        (
            DATABASE_NEW,
            "the database is new, though events were stored before: it was deleted, or this is another data folder".to_owned(),
        )
    } else if !is_new && !opening.is_recreated() && (opening.has_gap() || (opening.is_first && was_read)) {
        (
            DATABASE_RESTORED,
            format!(
                "the database is older than the streams, a copy was put back: it ends at message {} of EVENTS",
                opening.checkpoint
            ),
        )
    } else if restored.rows > 0 || !restored.problems.is_empty() {
        (
            ARCHIVE_RESTORED,
            "the archive holds what the database did not have".to_owned(),
        )
    } else {
        return None;
    };
    let (rule, cause) = cause;
    let from_stream =
        (stream.last_sequence + 1).saturating_sub(stream.first_sequence.max(opening.checkpoint + 1));
    let mut message = format!(
        "{cause}; {} rows ({} messages of EVENTS) came back from the archive, {from_stream} messages come from the stream",
        restored.rows, restored.messages
    );
    if unseen > 0 {
        let ranges: Vec<String> = absent
            .iter()
            .take(PROBLEMS_NAMED_MAX)
            .map(|range| format!("{} to {}", range.start(), range.end()))
            .collect();
        let more = if absent.len() > ranges.len() {
            " and more"
        } else {
            ""
        };
        message.push_str(&format!(
            "; {unseen} messages of EVENTS are in neither ({}{more}): put back a newer copy of the database, or their files \
             into the archive folder, if you have them",
            ranges.join(", ")
        ));
    } else {
        message.push_str("; no message of EVENTS is missing");
    }
    for problem in restored.problems.iter().take(PROBLEMS_NAMED_MAX) {
        message.push_str(&format!("; {problem}"));
    }
    let is_whole = unseen == 0 && restored.problems.is_empty();
    Some(Incident {
        rule,
        severity: if is_whole {
            Severity::Warning
        } else {
            Severity::Critical
        },
        key: opening.source.as_str().to_owned(),
        message,
    })
}

/// Alerts and dead letters that the database lacks and nobody else has.
fn passed_over(opening: &Opening<'_>) -> Incident {
    let (from, to) = (opening.checkpoint + 1, opening.stream.first_sequence - 1);
    let name = opening.source.as_str();
    Incident {
        rule: DATABASE_RESTORED,
        severity: Severity::Critical,
        key: name.to_owned(),
        message: format!(
            "the database is older than the streams: messages {from} to {to} of {name} are trimmed already, and not in it"
        ),
    }
}

fn remember(
    store: &Store,
    opening: &Opening<'_>,
    facts: &[Fact],
    incidents: &[Incident],
) -> anyhow::Result<Vec<Match>> {
    let name = memory::epoch_of(opening.source.as_str());
    let known = memory::recall(store.connection(), &name)?;
    if incidents.is_empty() && facts.len() == 1 && known.as_ref() == Some(&opening.stream.epoch) {
        return Ok(Vec::new());
    }
    memory::remember(store.connection(), facts, incidents, Time(now_microseconds()))
}
