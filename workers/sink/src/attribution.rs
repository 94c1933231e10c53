//! Of which kind the messages are that are neither stored nor dead: INGEST is asked, never more than a bounded number
//! of times. What it cannot say at this moment stays unattributed; nothing is guessed.
//!
//! A short hole is looked up message by message, which is exact whatever goes on: a sequence never changes its
//! subject. A long one is counted with consumers that are never read, from its start and from behind its end; that is
//! exact if the stream ended at the same sequence before and after.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use bus::{Context, Placed, topology};
use schemas::ledger::{KINDS, Missing, NAMED_MAX};
use schemas::live::cut;
use schemas::{Kind, subjects};
use tokio::time::timeout;

use crate::kinds::place;
use crate::ledger::{Found, Holes, length};

/// Messages looked up one by one, of those pending.
const LOOKED_UP_MAX: usize = 100;
/// A hole up to this length is looked up, a longer one is counted.
const SHORT: u64 = 50;
/// Holes counted.
const COUNTED_MAX: usize = 4;
/// For everything INGEST is asked in one round.
const PATIENCE: Duration = Duration::from_secs(2);

const IN_STREAM: &str = "INGEST still has it: it was acknowledged, and nothing that was made of it arrived";
const GONE: &str = "INGEST no longer has it: it was deleted there before it was stored";

/// Remembers what INGEST said, as long as it is needed.
#[derive(Debug, Default)]
pub(crate) struct Attribution {
    epoch: String,
    placed: BTreeMap<u64, Known>,
    /// The last answer about holes, and the holes.
    counted: Option<(Holes, Found)>,
}

/// What is known of a message.
#[derive(Debug, Clone, Default)]
struct Known {
    /// None: the stream did not have it whenever it was asked.
    placed: Option<Placed>,
    /// The stream was asked after the message was found to be missing; and still had it.
    asked: bool,
    still_there: bool,
}

/// What is to be asked about some holes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Questions {
    /// One by one.
    each: Vec<u64>,
    /// As a whole.
    counted: Vec<RangeInclusive<u64>>,
}

impl Questions {
    fn about(holes: &[RangeInclusive<u64>], each_max: usize) -> Self {
        let (short, mut long): (Vec<_>, Vec<_>) = holes
            .iter()
            .cloned()
            .partition(|hole| length(std::slice::from_ref(hole)) <= SHORT);
        long.sort_by_key(|hole| std::cmp::Reverse(length(std::slice::from_ref(hole))));
        long.truncate(COUNTED_MAX);
        Questions {
            each: short.into_iter().flatten().take(each_max).collect(),
            counted: long,
        }
    }
}

impl Attribution {
    /// Asks; and says whether another try might tell more, because the stream grew meanwhile.
    pub(crate) async fn find(&mut self, epoch: &str, holes: &Holes, context: &Context) -> (Found, bool) {
        if self.epoch != epoch {
            *self = Attribution {
                epoch: epoch.to_owned(),
                ..Attribution::default()
            };
        }
        if let Some((known, found)) = &self.counted
            && known == holes
        {
            return (found.clone(), false);
        }
        let asked = timeout(PATIENCE, self.ask(holes, context)).await;
        match asked {
            Ok(Ok((found, whole))) => {
                self.counted = whole.then(|| (holes.clone(), found.clone()));
                (found, !whole)
            }
            Ok(Err(error)) => {
                tracing::debug!(
                    worker = "sink",
                    error = bus::chain(&error),
                    "kinds not told apart"
                );
                (Found::default(), false)
            }
            Err(_) => {
                tracing::debug!(worker = "sink", "kinds not told apart in time");
                (Found::default(), false)
            }
        }
    }

    async fn ask(&mut self, holes: &Holes, context: &Context) -> bus::Result<(Found, bool)> {
        let mut found = Found::default();
        // The lowest missing ones are named, however long their hole is.
        let named: Vec<u64> = holes.missing.iter().cloned().flatten().take(NAMED_MAX).collect();
        let pending = Questions::about(&holes.pending, LOOKED_UP_MAX);
        let missing = match length(&holes.missing) <= NAMED_MAX as u64 {
            true => Questions {
                each: named.clone(),
                ..Questions::default()
            },
            false => Questions::about(&holes.missing, LOOKED_UP_MAX),
        };
        let wanted = |sequence: &u64| {
            [&named, &pending.each, &missing.each]
                .iter()
                .any(|list| list.contains(sequence))
        };
        self.placed.retain(|sequence, _| wanted(sequence));
        for sequence in &named {
            let known = self.place(*sequence, context, true).await?;
            found.messages.push(describe(*sequence, known));
        }
        for (each, kinds, is_final) in [
            (&pending.each, &mut found.pending, false),
            (&missing.each, &mut found.missing, true),
        ] {
            for sequence in each {
                if let Some(placed) = self.place(*sequence, context, is_final).await?.placed {
                    kinds[place(subjects::kind_named(&placed.subject))] += 1;
                }
            }
        }
        if pending.counted.is_empty() && missing.counted.is_empty() {
            return Ok((found, true));
        }
        let mut counted = Found::default();
        for (ranges, kinds) in [
            (&pending.counted, &mut counted.pending),
            (&missing.counted, &mut counted.missing),
        ] {
            for range in ranges {
                count(range, holes.published, context, kinds).await?;
            }
        }
        let state = context.stream_state(topology::INGEST).await?;
        let stood_still = state.epoch == self.epoch && state.last_sequence == holes.published;
        if stood_still {
            for (kinds, more) in [
                (&mut found.pending, counted.pending),
                (&mut found.missing, counted.missing),
            ] {
                kinds.iter_mut().zip(more).for_each(|(kind, more)| *kind += more);
            }
        }
        Ok((found, stood_still))
    }

    /// Looks a message up once; one that is missing once more, if it was pending before. One that is pending and not
    /// there may have been trimmed just now: no answer for good.
    async fn place(&mut self, sequence: u64, context: &Context, missing: bool) -> bus::Result<Known> {
        let before = self.placed.get(&sequence).cloned().unwrap_or_default();
        if before.asked || (before.placed.is_some() && !missing) {
            return Ok(before);
        }
        let placed = context.placed(topology::INGEST, sequence).await?;
        let known = Known {
            still_there: placed.is_some(),
            placed: placed.or(before.placed),
            asked: missing,
        };
        if known.asked || known.placed.is_some() {
            self.placed.insert(sequence, known.clone());
        }
        Ok(known)
    }
}

fn describe(sequence: u64, known: Known) -> Missing {
    let cause = if known.still_there { IN_STREAM } else { GONE };
    let (subject, stored) = known
        .placed
        .map(|placed| (cut(&placed.subject), placed.stored))
        .unzip();
    Missing {
        sequence,
        subject,
        stored,
        cause: cause.to_owned(),
    }
}

/// Adds how many messages of each kind a range holds.
async fn count(
    range: &RangeInclusive<u64>,
    last: u64,
    context: &Context,
    kinds: &mut [u64; KINDS.len()],
) -> bus::Result<()> {
    let mut filters: Vec<Vec<String>> = Kind::ALL
        .iter()
        .map(|kind| subjects::ingest_filters(*kind).into())
        .collect();
    filters.push(Vec::new());
    let from = context
        .count_from(topology::INGEST, *range.start(), &filters)
        .await?;
    let behind = if *range.end() < last {
        context
            .count_from(topology::INGEST, range.end() + 1, &filters)
            .await?
    } else {
        vec![0; filters.len()]
    };
    let mut within = from
        .iter()
        .zip(&behind)
        .map(|(from, behind)| from.saturating_sub(*behind));
    let mut named = 0;
    for kind in Kind::ALL {
        let count = within.next().unwrap_or(0);
        named += count;
        kinds[place(Some(kind))] += count;
    }
    kinds[place(None)] += within.next().unwrap_or(0).saturating_sub(named);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_holes_are_looked_up_and_the_longest_counted() {
        let holes: Vec<RangeInclusive<u64>> = vec![
            3..=4,
            10..=59,
            100..=150,
            200..=300,
            400..=600,
            700..=900,
            1000..=1300,
            2000..=2100,
        ];
        let questions = Questions::about(&holes, 10);
        assert_eq!(questions.each, [3, 4, 10, 11, 12, 13, 14, 15, 16, 17]);
        assert_eq!(questions.counted, [1000..=1300, 400..=600, 700..=900, 200..=300]);
        assert_eq!(Questions::about(&[], 10), Questions::default());
    }
}
