//! How large everything is: database, streams, archive.

use askama::Template;
use schemas::live::ArchiveState;

use crate::{
    format::{Amount, bytes, count},
    picture::Known,
    queries::QueryError,
};

/// Sizes, each where it is known.
#[derive(Template)]
#[template(path = "pipeline/storage.html")]
pub(crate) struct Storage {
    server: String,
    server_version: String,
    streams: Option<Amount>,
    database: Option<(String, Amount, Amount)>,
    archive: Option<Vec<State>>,
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
            archive: archive
                .and_then(|archive| archive.value.as_ref())
                .map(|states| states.iter().map(State::new).collect()),
            archive_problem: archive
                .and_then(|archive| archive.problem.as_ref())
                .map(QueryError::of_sink),
        }
    }
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
