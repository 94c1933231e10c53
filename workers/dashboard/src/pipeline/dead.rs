//! The newest dead letters, and some of the events that passed.

use askama::Template;
use schemas::live::DeadLetter;

use super::UNANSWERED;
use crate::{format::clock, overview::kind_class, picture::Known};

/// The newest dead letters with their reasons.
#[derive(Template)]
#[template(path = "pipeline/dead.html")]
pub(crate) struct Dead {
    rows: Vec<Letter>,
    known: bool,
    unanswered: &'static str,
}

struct Letter {
    letter: DeadLetter,
    time: String,
}

impl Dead {
    /// From what the feed said.
    pub(crate) fn new(known: &Known) -> Self {
        let pipeline = known.pipeline.as_deref();
        let letters = pipeline.iter().flat_map(|pipeline| &pipeline.dead);
        Self {
            rows: letters
                .map(|letter| Letter {
                    time: clock(letter.at_ms, known.feed_ms),
                    letter: letter.clone(),
                })
                .collect(),
            known: pipeline.is_some_and(|pipeline| !pipeline.streams.is_empty()),
            unanswered: UNANSWERED,
        }
    }
}

/// Events that passed while somebody looked.
#[derive(Template)]
#[template(path = "pipeline/samples.html")]
pub(crate) struct Samples {
    rows: Vec<Passed>,
}

struct Passed {
    time: String,
    kind: String,
    class: &'static str,
    name: String,
    source: String,
}

impl Samples {
    /// From what the feed said.
    pub(crate) fn new(known: &Known) -> Self {
        let passed = known.samples.iter().map(|sample| Passed {
            time: clock(sample.at_ms, known.feed_ms),
            kind: sample.kind.clone(),
            class: kind_class(&sample.kind),
            name: sample.name.clone(),
            source: sample.source.clone(),
        });
        Self {
            rows: passed.collect(),
        }
    }
}
