//! How large everything is: database, streams, archive.

use askama::Template;
use schemas::live::{Answer, ArchiveState};

use crate::{
    format::{Amount, age, bytes, count},
    picture::Known,
    queries::QueryError,
};

/// The feed asks every 10 s and waits 4 s for the answer.
const ARCHIVE_STALE_AFTER_MS: i64 = 20_000;

/// Sizes, each where it is known.
#[derive(Template)]
#[template(path = "pipeline/storage.html")]
pub(crate) struct Storage {
    server: String,
    server_version: String,
    streams: Option<Amount>,
    database: Option<(String, Amount, Amount)>,
    /// How old the sink's numbers are, if they are old.
    database_age: Option<String>,
    /// None: nobody has answered yet.
    archive: Option<Vec<State>>,
    /// How old the answer about the archive is, if it is old.
    archive_age: Option<String>,
    archive_problem: Option<QueryError>,
}

struct State {
    name: String,
    missing: bool,
    files: Amount,
    rows: Amount,
    size: Amount,
}

impl Storage {
    /// From what the feed said.
    pub(crate) fn new(known: &Known) -> Self {
        let pipeline = known.pipeline.as_deref();
        let sink = known
            .overview
            .as_ref()
            .and_then(|overview| overview.sink.value.as_ref());
        let streams = pipeline
            .map(|pipeline| &pipeline.streams)
            .filter(|streams| !streams.is_empty());
        let archive = pipeline.map(|pipeline| &pipeline.archive);
        Self {
            server: pipeline
                .map(|pipeline| pipeline.server.clone())
                .unwrap_or_default(),
            server_version: pipeline
                .map(|pipeline| pipeline.server_version.clone())
                .unwrap_or_default(),
            streams: streams.map(|streams| bytes(streams.iter().map(|stream| stream.bytes as f64).sum())),
            database: sink.map(|sink| {
                let database = &sink.database;
                let (file, log) = (bytes(database.bytes as f64), bytes(database.wal_bytes as f64));
                (database.path.clone(), file, log)
            }),
            database_age: known.sink_stale(),
            archive_age: archive.and_then(|archive| archive_age(archive, known)),
            archive: archive
                .and_then(|archive| archive.value.as_ref())
                .map(|states| states.iter().map(State::new).collect()),
            archive_problem: archive
                .and_then(|archive| archive.problem.as_ref())
                .map(QueryError::of_sink),
        }
    }
}

fn archive_age(archive: &Answer<Vec<ArchiveState>>, known: &Known) -> Option<String> {
    let age_ms = known.now_ms().saturating_sub(archive.answered_ms?);
    let old = archive.problem.is_some() || age_ms > ARCHIVE_STALE_AFTER_MS;
    old.then(|| age(age_ms))
}

impl State {
    fn new(state: &ArchiveState) -> Self {
        Self {
            name: match state.state.as_str() {
                "copy" => "archived, still in the tables too".to_owned(),
                "cold" => "in the archive only".to_owned(),
                "missing" => "gone: the files are missing".to_owned(),
                other => other.to_owned(),
            },
            missing: state.state == "missing",
            files: count(state.files),
            rows: count(state.rows),
            size: bytes(state.bytes as f64),
        }
    }
}
