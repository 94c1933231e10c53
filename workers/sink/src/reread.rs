//! Rows as the EVENTS messages they came from: what a file or a table holds can be stored, or folded, once more.
//!
//! Numbers and JSON keep their text, so a row comes out as it went in. Read as a stream: memory holds one message and
//! DuckDB's own sorting, which spills.

use std::ops::ControlFlow;

use anyhow::Context;
use duckdb::Connection;
use duckdb::arrow::array::{Array, AsArray};
use duckdb::arrow::datatypes::{Int64Type, UInt64Type};
use schemas::{Kind, Origins, Time, headers};

use crate::schema;

/// An EVENTS message as its rows tell it.
#[derive(Debug, Default)]
pub(crate) struct Reread {
    /// Its sequence in EVENTS.
    pub(crate) sequence: u64,
    /// When NATS stored it, in microseconds.
    pub(crate) stored: i64,
    /// Canonical events, one a line.
    pub(crate) lines: Vec<u8>,
    epoch: String,
    origins: Origins,
    count: u64,
}

impl Reread {
    /// As worker ingest wrote them.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        vec![
            (headers::EPOCH.to_owned(), self.epoch.clone()),
            (headers::ORIGINS.to_owned(), self.origins.to_string()),
            (headers::COUNT.to_owned(), self.count.to_string()),
        ]
    }

    /// Its rows.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }
}

/// Calls `visit` with each message of a kind, in order. `rows`: what is selected from, with the columns of a file.
pub(crate) fn messages(
    connection: &Connection,
    kind: Kind,
    rows: &str,
    filter: &str,
    mut visit: impl FnMut(Reread) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT events_seq::UBIGINT, epoch_us(stored)::BIGINT, ingest_epoch::VARCHAR, origin::UBIGINT, idx::UBIGINT,
            epoch_us(ts)::BIGINT, {}
         FROM {rows} WHERE {filter} ORDER BY events_seq, origin, idx",
        rest(kind)
    );
    let mut statement = connection.prepare(&sql)?;
    // Its iterator panics where a query fails on the way; `step` returns the error.
    drop(statement.stream_arrow([])?);
    let mut open = Reread::default();
    while let Some(chunk) = statement.step()? {
        let columns = chunk.columns();
        let number = |at: usize| columns[at].as_primitive_opt::<UInt64Type>();
        let time = |at: usize| columns[at].as_primitive_opt::<Int64Type>();
        let text = |at: usize| columns[at].as_string_opt::<i32>();
        let (sequences, origins, indexes) = (number(0), number(3), number(4));
        let (Some(sequences), Some(origins), Some(indexes)) = (sequences, origins, indexes) else {
            anyhow::bail!("columns of another type than expected");
        };
        let (stored, times) = (time(1), time(5)).into_parts()?;
        let (epochs, rests) = (text(2), text(6)).into_parts()?;
        for row in 0..chunk.len() {
            if rests.is_null(row) {
                anyhow::bail!("a row of EVENTS message {} lacks a column", sequences.value(row));
            }
            let sequence = sequences.value(row);
            if sequence != open.sequence {
                let done = std::mem::take(&mut open);
                if done.count > 0 && visit(done)?.is_break() {
                    return Ok(());
                }
                open.sequence = sequence;
                open.stored = stored.value(row);
                open.epoch = epochs.value(row).to_owned();
            }
            open.origins.push(origins.value(row));
            open.count += 1;
            let line = format!(
                "{{\"o\":{},\"i\":{},\"timestamp\":\"{}\",{}}}\n",
                origins.value(row),
                indexes.value(row),
                Time(times.value(row)),
                rests.value(row)
            );
            open.lines.extend_from_slice(line.as_bytes());
        }
    }
    if open.count > 0 {
        let _ = visit(open)?;
    }
    Ok(())
}

/// Both parts of a pair, or an error.
trait Parts<A, B> {
    fn into_parts(self) -> anyhow::Result<(A, B)>;
}

impl<A, B> Parts<A, B> for (Option<A>, Option<B>) {
    fn into_parts(self) -> anyhow::Result<(A, B)> {
        self.0
            .zip(self.1)
            .context("columns of another type than expected")
    }
}

/// SQL for the fields of a canonical event but origin, index and time, without braces.
pub(crate) fn rest(kind: Kind) -> String {
    let field = |name: &str, value: &str| format!("coalesce(',\"{name}\":' || {value}, '')");
    let text = |name: &str| field(name, &format!("to_json(\"{name}\")::VARCHAR"));
    let own = schema::own(kind)
        .iter()
        .map(|(name, column_type, _)| match *column_type {
            "VARCHAR" => text(name),
            "TIMESTAMP" => field(name, &time(name)),
            _ => field(name, &format!("\"{name}\"::VARCHAR")),
        });
    let shared = [
        field("tags", "tags::VARCHAR"),
        text("session"),
        text("work_item"),
        text("trace_id"),
        text("source"),
        text("tenant"),
    ];
    let fields: Vec<String> = own.chain(shared).collect();
    format!("'\"v\":' || v::VARCHAR || {}", fields.join(" || "))
}

/// A time as JSON, with microseconds. (A year before 1 is one of DuckDB's BC, which RFC 3339 does not have: year 0000 is
/// 1 BC.)
fn time(name: &str) -> String {
    format!(
        "'\"' || printf('%04d', extract(year FROM \"{name}\")) || strftime(\"{name}\", '-%m-%dT%H:%M:%S.%fZ') || '\"'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Source, Store, StoredMessage};

    const INGEST_EPOCH: &str = "01JD00000000000000000000A1";
    const EVENTS_EPOCH: &str = "01JD00000000000000000000B1";

    /// Lines of each kind with whatever is hard to keep.
    const LINES: [(Kind, &str); 7] = [
        (
            Kind::Metric,
            r#"{"o":7,"i":0,"timestamp":"2026-11-20T11:59:59.000001Z","v":1,"name":"größe \"q\"\n☕","value":5e-324,"metric_type":"histogram","distribution":{ "count":1,"bounds":[],"counts":[1] },"tags":{"a b":"c,\"d\""},"session":"s","source":"x","tenant":"t"}
{"o":7,"i":1,"timestamp":"1969-12-31T23:59:59.999999Z","v":1,"name":"n","value":-0.0,"source":"x","tenant":"t"}
{"o":9,"i":0,"timestamp":"9999-12-30T21:59:59.999999Z","v":1,"name":"n","value":1.7976931348623157e308,"source":"x","tenant":"t"}
"#,
        ),
        (
            Kind::Event,
            r#"{"o":1,"i":0,"timestamp":"2026-11-20T11:59:59.000001Z","v":1,"name":"e","data":{ "spaces" : [ 1 , 2 ] , "twice":1, "twice":12345678901234567890.12345678901234567890 },"work_item":"w","trace_id":"i","source":"x","tenant":"t"}
"#,
        ),
        (
            Kind::Usage,
            r#"{"o":1,"i":0,"timestamp":"2026-11-20T11:59:59.000001Z","v":1,"model":"m","provider":"p","tokens_in":9223372036854775807,"tokens_out":0,"cost_usd":123456.123456789,"cost_source":"provider","latency_ms":0.1,"status":"ok","reservation":"r","source":"x","tenant":"t"}
"#,
        ),
        (
            Kind::Step,
            r#"{"o":1,"i":0,"timestamp":"2026-11-20T11:59:59.000001Z","v":1,"name":"s","span_id":"a","parent_id":"b","operation":"chat","start":"0000-01-01T00:00:00.000000Z","end":"9999-12-30T21:59:59.999999Z","status":"error","error":"e \"q\"","attributes":{ "a.b" : 1 },"source":"x","tenant":"t"}
{"o":1,"i":1,"timestamp":"2026-11-20T11:59:59.000001Z","v":1,"name":"s","start":"1969-12-31T23:59:59.000010Z","status":"ok","source":"x","tenant":"t"}
"#,
        ),
        (
            Kind::Message,
            r#"{"o":1,"i":0,"timestamp":"2026-11-20T11:59:59.000001Z","v":1,"body":"b\n☕","channel":"c","from":"f","to":"g","source":"x","tenant":"t"}
"#,
        ),
        (
            Kind::Session,
            r#"{"o":1,"i":0,"timestamp":"2026-11-20T11:59:59.000001Z","v":1,"state":"ended","title":"t","data":[1],"session":"s","source":"x","tenant":"t"}
"#,
        ),
        (
            Kind::WorkItem,
            r#"{"o":1,"i":0,"timestamp":"2026-11-20T11:59:59.000001Z","v":1,"state":"done","title":"t","project":"p","assignee":"a","parent":"w","data":{},"work_item":"w","source":"x","tenant":"t"}
"#,
        ),
    ];

    #[test]
    fn rows_become_the_message_they_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("a.duckdb"), &Settings::default()).unwrap();
        for (kind, lines) in LINES {
            let sequence = kind as u64 + 1;
            let epoch = format!("{}{sequence}", &INGEST_EPOCH[..25]);
            let mut origins = Origins::new();
            for line in lines.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                origins.push(line["o"].as_u64().unwrap());
            }
            let headers = vec![
                (headers::EPOCH.to_owned(), epoch.clone()),
                (headers::ORIGINS.to_owned(), origins.to_string()),
                (headers::COUNT.to_owned(), lines.lines().count().to_string()),
            ];
            let outcome = store
                .commit(&[StoredMessage {
                    source: Source::Events,
                    stream_epoch: EVENTS_EPOCH,
                    sequence,
                    subject: &format!("events.{kind}"),
                    headers: &headers,
                    payload: lines.as_bytes(),
                    stored: Time(77),
                }])
                .unwrap();
            assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
            let from = format!("(SELECT *, '{epoch}' AS ingest_epoch FROM {kind})");
            let mut found = Vec::new();
            messages(store.connection(), kind, &from, "true", |message| {
                found.push(message);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].sequence, found[0].stored), (sequence, 77));
            assert_eq!(found[0].headers(), headers);
            // Numbers may be written otherwise, but are the same.
            let again = String::from_utf8(found[0].lines.clone()).unwrap();
            let same = |text: &str| text.replace("e+308", "e308");
            assert_eq!(same(&again), lines);
        }
    }
}
