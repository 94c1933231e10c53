//! Streams and who reads them.

use askama::Template;
use schemas::live::{Durable, Stream};

use super::UNANSWERED;
use crate::{
    format::{Amount, bytes, count, percent, rate},
    overview::{reader, share},
    picture::Known,
};

/// A reader whose oldest message waits longer is marked.
const LATE_SECONDS: f64 = 10.0;

/// A table row a stream, and below it one for each reader.
#[derive(Template)]
#[template(path = "pipeline/streams.html")]
pub(crate) struct Streams {
    rows: Vec<Row>,
    problem: Option<String>,
    unanswered: &'static str,
}

struct Row {
    name: String,
    per_second: Option<Amount>,
    messages: Amount,
    size: Amount,
    /// Of what it may hold.
    share: Option<Amount>,
    full: bool,
    readers: Vec<Reader>,
}

struct Reader {
    name: String,
    /// Whether a copy of its worker reports.
    runs: bool,
    worker: String,
    per_second: Option<Amount>,
    lag_messages: Amount,
    lag: Option<String>,
    late: bool,
}

impl Streams {
    /// From what the feed said.
    pub(crate) fn new(known: &Known) -> Self {
        let pipeline = known.pipeline.as_deref();
        let running = |worker: &str| {
            pipeline.is_some_and(|pipeline| pipeline.workers.iter().any(|copy| copy.worker == worker))
        };
        let streams = pipeline.iter().flat_map(|pipeline| &pipeline.streams);
        Self {
            rows: streams.map(|stream| Row::new(stream, &running)).collect(),
            problem: pipeline.and_then(|pipeline| pipeline.problem.clone()),
            unanswered: UNANSWERED,
        }
    }
}

impl Row {
    fn new(stream: &Stream, running: &impl Fn(&str) -> bool) -> Self {
        let share = share(stream);
        Self {
            name: stream.name.clone(),
            per_second: stream.per_second.map(rate),
            messages: count(stream.messages),
            size: bytes(stream.bytes as f64),
            share: stream.bytes_max.map(|_| percent(share * 100.0)),
            full: share > 0.7,
            readers: stream
                .durables
                .iter()
                .map(|durable| Reader::new(durable, running))
                .collect(),
        }
    }
}

impl Reader {
    fn new(durable: &Durable, running: &impl Fn(&str) -> bool) -> Self {
        let worker = reader(&durable.name);
        Self {
            name: durable.name.clone(),
            runs: running(worker),
            worker: worker.to_owned(),
            per_second: durable.per_second.map(rate),
            lag_messages: count(durable.lag_messages),
            lag: durable.lag_seconds.map(lag),
            late: durable.lag_seconds.is_some_and(|lag| lag > LATE_SECONDS),
        }
    }
}

/// `0.4 s`, `12 s`, `3 min`.
fn lag(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1}\u{202f}s")
    } else {
        crate::format::age((seconds * 1000.0) as i64)
    }
}
