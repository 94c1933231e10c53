//! Every copy of every worker.

use askama::Template;
use schemas::live::Worker;

use super::UNANSWERED;
use crate::{
    format::{Amount, age, clock, count, rate},
    picture::Known,
};

/// A copy reports every 5 s; after two silent turns it is marked.
const SILENT_MS: i64 = 12_000;

/// A row a copy.
#[derive(Template)]
#[template(path = "pipeline/workers.html")]
pub(crate) struct Workers {
    rows: Vec<Row>,
    omitted: u64,
    unanswered: &'static str,
}

struct Row {
    worker: String,
    instance: String,
    host: String,
    pid: u32,
    version: String,
    uptime: String,
    started: String,
    rates: [(&'static str, Option<Amount>); 3],
    backlog: Amount,
    dead: Option<Amount>,
    retried: Option<Amount>,
    trouble: Option<String>,
    /// How long it has said nothing, if for too long.
    silent: Option<String>,
}

impl Workers {
    /// From what the feed said.
    pub(crate) fn new(known: &Known) -> Self {
        let pipeline = known.pipeline.as_deref();
        let workers = pipeline.iter().flat_map(|pipeline| &pipeline.workers);
        Self {
            rows: workers.map(|copy| Row::new(copy, known.feed_ms)).collect(),
            omitted: pipeline.map_or(0, |pipeline| pipeline.workers_omitted),
            unanswered: UNANSWERED,
        }
    }
}

impl Row {
    fn new(copy: &Worker, now_ms: i64) -> Self {
        let silence_ms = now_ms.saturating_sub(copy.heard_ms);
        let some = |number: u64| (number > 0).then(|| count(number));
        Self {
            worker: copy.worker.clone(),
            instance: copy.instance.clone(),
            host: copy.host.clone(),
            pid: copy.pid,
            version: copy.version.clone(),
            uptime: age(now_ms.saturating_sub(copy.started_ms)),
            started: clock(copy.started_ms, now_ms),
            rates: [
                ("In/s", copy.received_per_second.map(rate)),
                ("Out/s", copy.published_per_second.map(rate)),
                ("Events/s", copy.events_per_second.map(rate)),
            ],
            backlog: count(copy.backlog),
            dead: some(copy.dead),
            retried: some(copy.retried),
            trouble: copy.trouble.clone(),
            silent: (silence_ms > SILENT_MS).then(|| age(silence_ms)),
        }
    }
}
