//! Which range is archived next. Pure: figures in, a range out.

use schemas::Origins;
use schemas::archive::Job;

/// What is known when a job is planned.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// ULID of the epoch of EVENTS.
    pub epoch: &'a str,
    /// The lowest sequence that EVENTS still holds (last + 1 when empty).
    pub stream_first: u64,
    /// The newest job, of whatever epoch.
    pub newest: Option<&'a Job>,
    /// The sink is done with everything up to here.
    pub checkpoint: u64,
    /// What was archived in this epoch.
    pub archived: Origins,
    /// Messages that make a job worth while.
    pub messages: u64,
}

/// A range that may become a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
    /// Nothing is gained by waiting for more.
    pub is_full: bool,
    /// Sequences that EVENTS lost before they were planned.
    pub lost: Option<(u64, u64)>,
}

/// The next range, if there is anything to archive: behind the newest job, within what the sink is done with, never over
/// what was archived before.
pub fn next(known: &Known<'_>) -> Option<Candidate> {
    let planned = known.newest.filter(|job| job.epoch == known.epoch);
    let wanted = behind_archived(&known.archived, planned.map_or(1, |job| job.last + 1));
    let first = behind_archived(&known.archived, wanted.max(known.stream_first));
    let lost = (wanted < known.stream_first).then(|| (wanted, known.stream_first - 1));
    let full = first.saturating_add(known.messages.max(1) - 1);
    let ranges = known.archived.ranges().iter();
    let next_archived = ranges.map(|range| *range.start()).find(|start| *start > first);
    let wall = next_archived.map_or(u64::MAX, |start| start - 1);
    let last = full.min(wall).min(known.checkpoint);
    (first <= last).then_some(Candidate {
        first,
        last,
        is_full: last == full || last == wall,
        lost,
    })
}

fn behind_archived(archived: &Origins, sequence: u64) -> u64 {
    let ranges = archived.ranges().iter();
    let held = ranges.clone().find(|range| range.contains(&sequence));
    held.map_or(sequence, |range| range.end() + 1)
}

/// How many messages of this mean size a job takes.
pub fn messages_for(job_bytes: u64, stream_bytes: u64, stream_messages: u64, messages_max: u64) -> u64 {
    let mean = stream_bytes / stream_messages.max(1);
    (job_bytes / mean.max(1)).clamp(1, messages_max.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: &str = "B";

    fn job(epoch: &str, first: u64, last: u64) -> Job {
        Job {
            epoch: epoch.into(),
            first,
            last,
        }
    }

    fn known<'a>(newest: Option<&'a Job>, stream_first: u64, checkpoint: u64) -> Known<'a> {
        Known {
            epoch: EPOCH,
            stream_first,
            newest,
            checkpoint,
            archived: Origins::default(),
            messages: 10,
        }
    }

    fn range(known: &Known<'_>) -> Option<(u64, u64, bool)> {
        next(known).map(|next| (next.first, next.last, next.is_full))
    }

    #[test]
    fn a_job_follows_the_one_before_it_within_what_the_sink_has() {
        let newest = job(EPOCH, 1, 20);
        assert_eq!(range(&known(Some(&newest), 1, 20)), None);
        assert_eq!(range(&known(Some(&newest), 1, 25)), Some((21, 25, false)));
        assert_eq!(range(&known(Some(&newest), 15, 99)), Some((21, 30, true)));
        assert_eq!(range(&known(None, 1, 0)), None);
    }

    #[test]
    fn a_new_epoch_starts_at_the_streams_first_sequence() {
        let old = job("A", 1, 5000);
        assert_eq!(range(&known(Some(&old), 1, 3)), Some((1, 3, false)));
    }

    #[test]
    fn what_the_stream_lost_is_named_and_passed_over() {
        let newest = job(EPOCH, 1, 20);
        let next = next(&known(Some(&newest), 31, 33)).unwrap();
        assert_eq!((next.first, next.last, next.lost), (31, 33, Some((21, 30))));
    }

    #[test]
    fn a_job_holds_messages_by_their_mean_size() {
        assert_eq!(messages_for(1000, 100, 10, 50), 50);
        assert_eq!(messages_for(1000, 1000, 10, 50), 10);
        assert_eq!(messages_for(1000, 10_000, 10, 50), 1);
        assert_eq!(messages_for(1000, 0, 0, 50), 50);
    }

    proptest! {
        #[test]
        fn ranges_never_overlap_and_leave_no_hole(
            steps in prop::collection::vec((0u64..30, 1u64..8), 1..40),
            archived in prop::collection::vec((1u64..60, 0u64..5), 0..4),
        ) {
            let mut before = Origins::default();
            archived.into_iter().for_each(|(start, more)| before.insert(start..=start + more));
            let (mut covered, mut newest, mut checkpoint) = (before.clone(), None, 0);
            for (progress, messages) in steps {
                checkpoint += progress;
                let plan = |newest: Option<&Job>| {
                    next(&Known { messages, archived: before.clone(), ..known(newest, 1, checkpoint) })
                };
                while let Some(found) = plan(newest.as_ref()) {
                    prop_assert!(found.last <= checkpoint && found.last - found.first < messages);
                    prop_assert!((found.first..=found.last).all(|at| !covered.contains(at)));
                    covered.insert(found.first..=found.last);
                    newest = Some(job(EPOCH, found.first, found.last));
                }
                prop_assert!((1..=checkpoint).all(|at| covered.contains(at)));
            }
        }
    }
}
