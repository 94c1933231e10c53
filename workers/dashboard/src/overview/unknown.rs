//! What is not known yet, as reasons of the verdict: it does not count as well.

use schemas::live::Overview;

use super::status::{Level, Reason};
use crate::{picture::Known, queries::QueryError};

/// What is still asked for, and what cannot be had although the sink answers.
pub(super) fn reasons(overview: &Overview, known: &Known) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if overview.sink.problem.is_none() {
        if overview.sink.value.is_none() {
            reasons.push(asking("the sink's numbers"));
        }
        match &overview.alerts.problem {
            Some(problem) => reasons.push(unread_alerts(&QueryError::of_sink(problem))),
            None if !known.knows_alerts() => reasons.push(asking("alerts")),
            None => {}
        }
    }
    let pipeline = known.pipeline.as_deref();
    if pipeline.is_some_and(|pipeline| pipeline.streams.is_empty() && pipeline.problem.is_none()) {
        reasons.push(asking("the figures of streams"));
    }
    reasons
}

fn asking(what: &str) -> Reason {
    Reason {
        level: Level::Asking,
        problem: format!("{what} are still being asked for"),
        fix: "this page fills in by itself",
        command: String::new(),
    }
}

fn unread_alerts(problem: &QueryError) -> Reason {
    Reason {
        level: Level::Attention,
        problem: format!("alerts could not be read: {problem}"),
        fix: problem.fix(),
        command: problem.command().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::live::Problem;

    use super::super::judge;
    use super::*;

    const NOW_MS: i64 = 1_795_176_000_000;

    /// Everything is known and well, but for this.
    fn known(change: impl FnOnce(&mut Overview)) -> Known {
        let mut overview = Overview::default();
        overview.sink.value = Some(schemas::overview::Overview {
            at_ms: NOW_MS,
            newest_event_ms: Some(NOW_MS),
            ..Default::default()
        });
        overview.alerts.value = Some(vec![]);
        overview.alerts.answered_ms = Some(NOW_MS - 1_000);
        change(&mut overview);
        Known {
            overview: Some(Arc::new(overview)),
            feed_ms: NOW_MS,
            ..Known::default()
        }
    }

    #[test]
    fn what_is_still_asked_for_is_not_well() {
        assert_eq!(judge(&known(|_| {})).level, Level::Ok);
        let no_streams = Known {
            pipeline: Some(Arc::default()),
            ..known(|_| {})
        };
        for (known, words) in [
            (known(|told| told.alerts.value = None), "alerts are still"),
            (
                known(|told| told.alerts.answered_ms = Some(NOW_MS - 3_600_000)),
                "alerts are still",
            ),
            (
                known(|told| told.sink.value = None),
                "the sink's numbers are still",
            ),
            (no_streams, "the figures of streams are still"),
        ] {
            let status = judge(&known);
            assert_eq!((status.level, status.headline), (Level::Asking, "Still asking"));
            assert!(status.reasons[0].problem.contains(words), "{:?}", status.reasons);
        }
    }

    #[test]
    fn alerts_that_cannot_be_read_are_not_well_either() {
        let failed = known(|told| told.alerts.problem = Some(Problem::Failed("broken".into())));
        let status = judge(&failed);
        assert_eq!(status.level, Level::Attention);
        let problem = &status.reasons[0].problem;
        assert!(problem.starts_with("alerts could not be read:"), "{problem}");
    }
}
