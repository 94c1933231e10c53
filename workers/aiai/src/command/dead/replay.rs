//! `aiai dead replay`: publishes the messages of dead letters again.
//!
//! Order, for about a second's worth of letters at a time: a note that they are about to be replayed, each message
//! with its acknowledgement, a note of what they became. Interrupted anywhere and begun again, nothing is published
//! twice: within the duplicate window by the id of the message; later the first note says that there may be a
//! replay already, and the stream is searched for it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use bus::Context;
use jiff::Timestamp;
use schemas::dead::{Deed, Noted};
use schemas::{Origins, headers};
use serde::Deserialize;
use tokio::time::{Interval, MissedTickBehavior};

use super::contents::{self, Contents};
use super::plan::{self, Asked, Step};
use super::results::{Became, Results, sum};
use super::select::{self, Letter};
use super::{confirm, notes};
use crate::cli::dead::DeadReplay;
use crate::command::sql;
use crate::config::Config;

/// After so many letters in a row that could not be published, the others are not tried.
const FAILURES_MAX: u32 = 3;
/// Letters of one note at most: as many are in doubt when a replay is interrupted.
const TOGETHER_MAX: usize = 50;
/// An interrupted replay was published within so many microseconds of its first note, or never.
const INTERRUPTED_WITHIN: i64 = 600_000_000;

/// Replays.
pub(super) async fn replay(config: &Config, options: &DeadReplay) -> anyhow::Result<ExitCode> {
    let context = crate::command::connect(config).await?;
    let chosen = &options.chosen;
    let letters = select::letters(&context, chosen, options.again).await?;
    let steps = steps(&context, &letters, options).await?;
    let counts = counts(&steps);
    let has_work = counts.contains_key(&Became::WouldReplay);
    let go_on = chosen.dry_run || !has_work || confirm::is_confirmed(&sum(&counts), chosen.yes)?;
    if !go_on {
        return Ok(ExitCode::SUCCESS);
    }
    let mut results = Results::new(chosen.output, letters.len())?;
    let mut due = Vec::new();
    for (letter, step) in &steps {
        match step {
            Step::Skip(why) => results.say(letter, Became::Skipped, None, Some(why))?,
            Step::Replay { stream, .. } if chosen.dry_run => {
                results.say(letter, Became::WouldReplay, Some((stream, None)), None)?;
            }
            Step::Replay { stream, count } => due.push((*letter, *stream, *count)),
        }
    }
    let mut replaying = Replaying::new(context, options.rate, results);
    replaying.all(&due).await?;
    Ok(if replaying.finish().await? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is to be done with each letter.
async fn steps<'l>(
    context: &Context,
    letters: &'l [Letter],
    options: &DeadReplay,
) -> anyhow::Result<Vec<(&'l Letter, Step)>> {
    let stored = stored(context, letters).await?;
    let asked = Asked {
        by_number: !options.chosen.ids.is_empty(),
        again: options.again,
    };
    let step = |letter: &'l Letter| {
        let is_stored = letter.ingest_epoch.as_ref().zip(letter.origin);
        let is_stored = is_stored.is_some_and(|(epoch, origin)| {
            stored.get(epoch).is_some_and(|set| set.contains(origin)) && letter.stage == "ingest"
        });
        (letter, plan::step(letter, asked, is_stored))
    };
    Ok(letters.iter().map(step).collect())
}

/// Which INGEST messages have their events in the tables, by epoch.
async fn stored(context: &Context, letters: &[Letter]) -> anyhow::Result<BTreeMap<String, Origins>> {
    #[derive(Deserialize)]
    struct Set {
        ranges: String,
    }
    let epochs: BTreeSet<&String> = letters
        .iter()
        .filter_map(|letter| letter.ingest_epoch.as_ref())
        .collect();
    let mut stored = BTreeMap::new();
    for epoch in epochs {
        let select = format!(
            "SELECT ranges FROM origin_sets JOIN epochs ON epochs.id = origin_sets.epoch \
             WHERE outcome = 'stored' AND epochs.epoch = {}",
            sql::literal(epoch)
        );
        for set in sql::rows::<Set>(context, &select).await? {
            let chunk: Origins = set.ranges.parse()?;
            let all: &mut Origins = stored.entry(epoch.clone()).or_default();
            chunk.ranges().iter().cloned().for_each(|range| all.insert(range));
        }
    }
    Ok(stored)
}

fn counts(steps: &[(&Letter, Step)]) -> BTreeMap<Became, u64> {
    let mut counts = BTreeMap::new();
    for (_, step) in steps {
        let became = match step {
            Step::Replay { .. } => Became::WouldReplay,
            Step::Skip(_) => Became::Skipped,
        };
        *counts.entry(became).or_default() += 1;
    }
    counts
}

/// A letter, the stream that takes its message, and the count of the replay.
type Due<'l> = (&'l Letter, &'static str, u8);

/// Replays on their way.
struct Replaying {
    context: Context,
    rate: usize,
    paced: Interval,
    results: Results,
    failures: u32,
    last_note: Option<u64>,
}

impl Replaying {
    fn new(context: Context, rate: u32, results: Results) -> Self {
        let mut paced = tokio::time::interval(Duration::from_secs_f64(1.0 / f64::from(rate.max(1))));
        paced.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            context,
            rate: rate.max(1) as usize,
            paced,
            results,
            failures: 0,
            last_note: None,
        }
    }

    async fn all(&mut self, due: &[Due<'_>]) -> anyhow::Result<()> {
        let mut rest = due;
        while !rest.is_empty() && self.failures < FAILURES_MAX {
            let letters: Vec<&Letter> = rest
                .iter()
                .take(self.rate.min(TOGETHER_MAX))
                .map(|(letter, ..)| *letter)
                .collect();
            let count = contents::together(&letters);
            let (now, later) = rest.split_at(count);
            let contents = contents::read(&self.context, &letters[..count]).await?;
            self.some(now, &contents).await?;
            rest = later;
        }
        for (letter, stream, _) in rest {
            let why = format!("not tried: {FAILURES_MAX} in a row could not be published");
            self.results
                .say(letter, Became::Failed, Some((stream, None)), Some(&why))?;
        }
        Ok(())
    }

    /// Replays letters of one epoch of DEAD.
    async fn some(&mut self, due: &[Due<'_>], contents: &BTreeMap<u64, Contents>) -> anyhow::Result<()> {
        let epoch = due.first().and_then(|(letter, ..)| letter.epoch.as_deref());
        let mut fresh = Vec::new();
        let mut done = Vec::new();
        for (letter, stream, count) in due {
            match self.earlier(letter, stream, *count).await {
                Ok(None) => fresh.push((*letter, *stream, *count)),
                Ok(Some(sequence)) => {
                    let detail = "it was published before, when a replay was interrupted";
                    let place = Some((*stream, Some(sequence)));
                    self.results.say(letter, Became::Replayed, place, Some(detail))?;
                    done.push(noted(letter, *count, stream, sequence));
                }
                // Of this letter alone: it says nothing about the others.
                Err(error) => {
                    let why = bus::chain(error.as_ref());
                    self.results
                        .say(letter, Became::Failed, Some((stream, None)), Some(&why))?;
                }
            }
        }
        if !fresh.is_empty() {
            let begun = fresh.iter().map(|(letter, _, count)| Noted {
                letter: letter.id,
                count: Some(*count),
                stream: None,
                sequence: None,
            });
            notes::publish(&self.context, Deed::Replaying, epoch, begun.collect()).await?;
        }
        for (letter, stream, count) in fresh {
            if self.failures >= FAILURES_MAX {
                self.fail(
                    letter,
                    stream,
                    &anyhow::anyhow!("not tried: too many failed before it"),
                )?;
                continue;
            }
            self.paced.tick().await;
            match self.one(letter, stream, count, contents.get(&letter.id)).await {
                Ok(sequence) => {
                    self.failures = 0;
                    self.results
                        .say(letter, Became::Replayed, Some((stream, Some(sequence))), None)?;
                    done.push(noted(letter, count, stream, sequence));
                }
                Err(error) => self.fail(letter, stream, &error)?,
            }
        }
        if !done.is_empty() {
            self.last_note = Some(notes::publish(&self.context, Deed::Replayed, epoch, done).await?);
        }
        Ok(())
    }

    /// Where the message of a replay that was interrupted is, if it was published and its id protects no more.
    async fn earlier(&self, letter: &Letter, stream: &str, count: u8) -> anyhow::Result<Option<u64>> {
        let Some(begun) = letter.begun_us.filter(|_| letter.begun == count) else {
            return Ok(None);
        };
        let window = self.context.duplicate_window(stream).await?;
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        if Timestamp::now().as_microsecond() - begun < window / 2 {
            return Ok(None);
        }
        let state = self.context.stream_state(stream).await?;
        let from = self.context.sequence_at(&state, stream, begun).await?;
        let to = self
            .context
            .sequence_at(&state, stream, begun + INTERRUPTED_WITHIN)
            .await?;
        let wanted = [
            (headers::REPLAY_OF, letter.id.to_string()),
            (headers::REPLAY_COUNT, count.to_string()),
        ];
        if let Some(found) = self.context.find_by_headers(stream, from, to, &wanted).await? {
            return Ok(Some(found));
        }
        anyhow::ensure!(
            from > state.first_sequence || state.first_sequence <= 1,
            "a replay of it was interrupted, and {stream} no longer tells whether it was published; if its events are \
             missing, replay it with --again, else `aiai dead drop {}`",
            letter.id
        );
        Ok(None)
    }

    async fn one(
        &self,
        letter: &Letter,
        stream: &str,
        count: u8,
        contents: Option<&Contents>,
    ) -> anyhow::Result<u64> {
        let contents = contents
            .ok_or_else(|| anyhow::anyhow!("its payload is gone; see `aiai dead show {}`", letter.id))?;
        let map = plan::headers_of(letter, &contents.headers, stream, count);
        let subject = letter.subject.as_deref().unwrap_or_default();
        let id = plan::message_id(letter, count);
        let stored = self
            .context
            .publish_with_headers(subject, &map, contents.payload.clone(), &id)
            .await?;
        Ok(stored.sequence)
    }

    fn fail(&mut self, letter: &Letter, stream: &str, error: &anyhow::Error) -> anyhow::Result<()> {
        self.failures += 1;
        let why = bus::chain(error.as_ref());
        self.results
            .say(letter, Became::Failed, Some((stream, None)), Some(&why))
    }

    /// Whether nothing failed.
    async fn finish(self) -> anyhow::Result<bool> {
        if let Some(last) = self.last_note
            && !notes::applied(&self.context, last).await?
        {
            crate::output::say("the sink has not read that yet; lists show it once it has");
        }
        self.results.finish()
    }
}

fn noted(letter: &Letter, count: u8, stream: &str, sequence: u64) -> Noted {
    Noted {
        letter: letter.id,
        count: Some(count),
        stream: Some(stream.to_owned()),
        sequence: Some(sequence),
    }
}
