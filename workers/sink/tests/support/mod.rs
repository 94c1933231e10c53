//! Messages to store, and a database to look into.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub mod calls;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use schemas::{Origins, Time};
use serde_json::Value;
use sink::{Limits, Part, QueryError, Reader, Settings, Source, Store, StoredMessage, Summary};

pub const INGEST_EPOCH: &str = "01JD00000000000000000000A1";
pub const EVENTS_EPOCH: &str = "01JD00000000000000000000B1";
pub const DEAD_EPOCH: &str = "01JD00000000000000000000C1";
/// 2026-11-20T12:00:00Z in microseconds.
pub const NOON: i64 = 1_795_176_000_000_000;

/// A message that can be delivered as often as wanted.
#[derive(Debug, Clone)]
pub struct Message {
    pub source: Source,
    pub epoch: String,
    pub sequence: u64,
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
    pub stored: i64,
}

impl Message {
    pub fn borrow(&self) -> StoredMessage<'_> {
        StoredMessage {
            source: self.source,
            stream_epoch: &self.epoch,
            sequence: self.sequence,
            subject: &self.subject,
            headers: &self.headers,
            payload: &self.payload,
            stored: Time(self.stored),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// An EVENTS message of these lines, for these origins.
pub fn events(sequence: u64, kind: &str, origins: &Origins, lines: &[String]) -> Message {
    Message {
        source: Source::Events,
        epoch: EVENTS_EPOCH.to_owned(),
        sequence,
        subject: format!("events.{kind}"),
        headers: Vec::new(),
        payload: lines.concat().into_bytes(),
        stored: NOON,
    }
    .header("Aiai-Epoch", INGEST_EPOCH)
    .header("Aiai-Origins", &origins.to_string())
    .header("Aiai-Count", &lines.len().to_string())
}

/// A metric line; every origin carries two of them.
pub fn metric_line(origin: u64, index: u32) -> String {
    format!(
        "{{\"o\":{origin},\"i\":{index},\"tenant\":\"default\",\"timestamp\":\"2026-11-20T11:59:59.500000Z\",\
         \"source\":\"agent-{}\",\"name\":\"queue.depth\",\"value\":{origin}.5,\"metric_type\":\"gauge\",\
         \"tags\":{{\"region\":\"eu\"}},\"v\":1}}\n",
        origin % 3
    )
}

/// An EVENTS message with two metric lines for every origin.
pub fn metrics(sequence: u64, origins: impl IntoIterator<Item = u64>) -> Message {
    let origins: Vec<u64> = origins.into_iter().collect();
    let lines: Vec<String> = origins
        .iter()
        .flat_map(|&origin| [metric_line(origin, 0), metric_line(origin, 1)])
        .collect();
    events(sequence, "metric", &origins.into_iter().collect(), &lines)
}

/// A dead letter about a whole message, or about one item of it.
pub fn dead(sequence: u64, origin: u64, index: Option<u32>) -> Message {
    let message = Message {
        source: Source::Dead,
        epoch: DEAD_EPOCH.to_owned(),
        sequence,
        subject: "dead.ingest.metric".to_owned(),
        headers: vec![("traceparent".to_owned(), "00-ab".to_owned())],
        payload: b"{\"nam\":\xff}".to_vec(),
        stored: NOON,
    }
    .header("Aiai-Stage", "ingest")
    .header("Aiai-Kind", "metric")
    .header("Aiai-Reason", "unknown_field")
    .header("Aiai-Epoch", INGEST_EPOCH)
    .header("Aiai-Origin", &origin.to_string())
    .header("Aiai-Stored", "2026-11-20T11:00:00.000001Z");
    match index {
        Some(index) => message.header("Aiai-Index", &index.to_string()),
        None => message,
    }
}

pub fn open(folder: &Path) -> Store {
    Store::open(&folder.join("aiai.duckdb"), &Settings::default()).unwrap()
}

pub fn commit(store: &mut Store, messages: &[&Message]) -> sink::Outcome {
    let batch: Vec<StoredMessage<'_>> = messages.iter().map(|message| message.borrow()).collect();
    store.commit(&batch).unwrap()
}

pub const LIMITS: Limits = Limits {
    rows_max: 100_000,
    bytes_max: 64 << 20,
    time_seconds: 30,
};

/// Runs a query to its end: column names and rows.
pub fn run(
    reader: &Reader,
    sql: &str,
    limits: &Limits,
) -> Result<(Vec<String>, Vec<Value>, Summary), QueryError> {
    let (mut names, mut rows) = (Vec::new(), Vec::new());
    let summary = reader.run_sql(sql, limits, &Arc::new(AtomicBool::new(false)), |part| {
        match part {
            Part::Columns(columns) => names = columns.into_iter().map(|column| column.name).collect(),
            Part::Rows { ndjson, count } => {
                let before = rows.len();
                let text = String::from_utf8(ndjson).unwrap();
                rows.extend(
                    text.lines()
                        .map(|line| serde_json::from_str::<Value>(line).unwrap()),
                );
                assert_eq!(rows.len() - before, count as usize);
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok((names, rows, summary))
}

/// The rows of a query that must succeed.
pub fn rows(store: &Store, sql: &str) -> Vec<Value> {
    run(&store.reader().unwrap(), sql, &LIMITS).unwrap().1
}
