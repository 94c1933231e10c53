//! What passes on the bus, whatever becomes of it: there is something to see while no sink answers.

use askama::Template;

use crate::{
    format::{Amount, count, rate},
    picture::Known,
};

/// One line below the verdict.
#[derive(Template)]
#[template(path = "overview/traffic.html")]
pub(crate) struct Traffic {
    per_second: Option<Amount>,
    /// Messages that wait for the sink, once known.
    waiting: Option<Amount>,
    /// Whether the sink's own numbers are missing or old.
    alone: bool,
}

impl Traffic {
    /// From what the feed said.
    pub(crate) fn new(known: &Known) -> Self {
        let overview = known.overview.as_ref();
        let durables = known.pipeline.iter().flat_map(|pipeline| &pipeline.streams);
        let durables = durables.flat_map(|stream| &stream.durables);
        let waiting: u64 = durables
            .filter(|durable| durable.name == "sink")
            .map(|durable| durable.lag_messages)
            .sum();
        let any = known
            .pipeline
            .as_ref()
            .is_some_and(|pipeline| !pipeline.streams.is_empty());
        Self {
            per_second: overview
                .and_then(|overview| overview.traffic.per_second)
                .map(rate),
            waiting: any.then(|| count(waiting)),
            alone: overview
                .is_some_and(|overview| overview.sink.value.is_none() || overview.sink.problem.is_some()),
        }
    }
}
