//! The tables, with the units of their columns as comments, for people who open the file in the DuckDB CLI.

use anyhow::{Context, bail};
use duckdb::{Connection, OptionalExt};

use crate::rollup_views::rollup_views;
use crate::{alerts, archive_views, migrate};

/// Version of the tables below. Raise it, and add a migration, when one of them changes.
pub(crate) const VERSION: u32 = 6;

/// A column: name, DuckDB type, comment.
pub(crate) type Column = (&'static str, &'static str, &'static str);

struct Table {
    name: &'static str,
    comment: &'static str,
    columns: &'static [&'static [Column]],
}

const EVENT_START: &[Column] = &[
    ("ts", "TIMESTAMP", "when it happened, UTC"),
    ("tenant", "VARCHAR", "whose it is, from the subject"),
    ("source", "VARCHAR", "who sent it"),
];

const EVENT_END: &[Column] = &[
    ("tags", "JSON", "labels, string to string: tags->>'region'"),
    ("session", "VARCHAR", "the agent's session"),
    ("work_item", "VARCHAR", "the task it belongs to"),
    ("trace_id", "VARCHAR", "the trace it belongs to"),
    ("v", "USMALLINT", "contract version"),
    (
        "origin",
        "UBIGINT",
        "sequence in INGEST of the message that carried it",
    ),
    ("idx", "UINTEGER", "position in that message, from 0"),
    ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
    (
        "stored",
        "TIMESTAMP",
        "when NATS stored the EVENTS message, UTC: arrival",
    ),
    (
        "events_seq",
        "UBIGINT",
        "sequence in EVENTS of the message that carried it; null: stored before version 3",
    ),
    (
        "events_epoch",
        "USMALLINT",
        "the epoch of EVENTS: epochs.id; null: stored before version 3",
    ),
];

const METRIC: &[Column] = &[
    ("name", "VARCHAR", "what was measured"),
    ("value", "DOUBLE", "the value measured, in the metric's own unit"),
    (
        "metric_type",
        "VARCHAR",
        "counter, cumulative, gauge or histogram",
    ),
];

const EVENT: &[Column] = &[
    ("name", "VARCHAR", "what happened"),
    ("data", "JSON", "anything more"),
];

const USAGE: &[Column] = &[
    ("model", "VARCHAR", "the model that answered"),
    ("provider", "VARCHAR", "who runs the model"),
    (
        "tokens_in",
        "BIGINT",
        "tokens sent, including cache reads and writes",
    ),
    ("tokens_out", "BIGINT", "tokens received, including reasoning"),
    (
        "tokens_cache_read",
        "BIGINT",
        "the part of tokens_in read from a cache",
    ),
    (
        "tokens_cache_write",
        "BIGINT",
        "the part of tokens_in written to a cache",
    ),
    (
        "tokens_reasoning",
        "BIGINT",
        "the part of tokens_out spent on reasoning",
    ),
    (
        "cost_usd",
        "DECIMAL(18,9)",
        "US dollars, exact; null when unpriced",
    ),
    (
        "cost_source",
        "VARCHAR",
        "provider, unpriced or price_table@<version>",
    ),
    ("latency_ms", "DOUBLE", "milliseconds to the last token"),
    ("ttft_ms", "DOUBLE", "milliseconds to the first token"),
    (
        "task_complexity",
        "VARCHAR",
        "trivial, simple, medium, complex or critical",
    ),
    ("status", "VARCHAR", "ok, error, rate_limited or timeout"),
    ("error", "VARCHAR", "what went wrong"),
    (
        "reservation",
        "VARCHAR",
        "the budget reservation the call used up",
    ),
];

const DEAD: &[Column] = &[
    ("stage", "VARCHAR", "the worker that refused it"),
    ("kind", "VARCHAR", "its kind, or unknown"),
    ("reason", "VARCHAR", "code of the problem, e.g. unknown_field"),
    ("place", "VARCHAR", "where in the message the problem is"),
    ("problem", "VARCHAR", "the problem in words"),
    ("fix", "VARCHAR", "what to do about it"),
    ("origin", "UBIGINT", "sequence in INGEST of the original message"),
    (
        "idx",
        "UINTEGER",
        "position of the one bad item; null: the whole message",
    ),
    ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
    ("subject", "VARCHAR", "subject of the original message"),
    (
        "stored",
        "TIMESTAMP",
        "when NATS stored the original message, UTC",
    ),
    (
        "headers",
        "JSON",
        "all headers of the dead letter, the original ones among them",
    ),
    (
        "payload",
        "BLOB",
        "the original payload, or the bad item alone; null once it was dropped",
    ),
    ("dead_seq", "UBIGINT", "sequence in DEAD: its number for people"),
    ("dead_at", "TIMESTAMP", "when NATS stored the dead letter, UTC"),
    (
        "dead_epoch",
        "VARCHAR",
        "ULID of the epoch of DEAD; null: stored before version 5, and not known",
    ),
    (
        "source",
        "VARCHAR",
        "who sent it, where the payload can be read and says so",
    ),
    ("state", "VARCHAR", "open, replayed or dropped"),
    (
        "state_at",
        "TIMESTAMP",
        "since when, UTC; null: it was always open",
    ),
    (
        "replay_of",
        "UBIGINT",
        "its message was a replay itself: of the dead letter with this dead_seq",
    ),
    (
        "replay_count",
        "UTINYINT",
        "how often its message had been replayed; null: never",
    ),
];

const DEAD_NOTE: &[Column] = &[
    (
        "dead_epoch",
        "VARCHAR",
        "ULID of the epoch of DEAD; null as in dead",
    ),
    ("dead_seq", "UBIGINT", "the dead letter: dead.dead_seq"),
    (
        "deed",
        "VARCHAR",
        "replaying (is about to be), replayed or dropped",
    ),
    ("count", "UTINYINT", "which replay of its message this is"),
    ("stream", "VARCHAR", "the stream that took the replay"),
    ("sequence", "UBIGINT", "the replay's sequence there"),
    ("noted_at", "TIMESTAMP", "when NATS stored the note, UTC"),
];

const ROLLUP: &[Column] = &[
    ("name", "VARCHAR", "what was measured"),
    ("tenant", "VARCHAR", "whose it is"),
    (
        "source",
        "VARCHAR",
        "who sent it; __other__: series past the limit",
    ),
    ("tags", "JSON", "labels, sorted: equal sets are equal text"),
    ("bucket", "TIMESTAMP", "start of the bucket, UTC"),
    ("resolution", "VARCHAR", "width of the bucket: 1m, 1h or 1d"),
    ("count", "UBIGINT", "values measured"),
    ("sum", "DOUBLE", "their sum"),
    (
        "total",
        "DECIMAL(38,9)",
        "their exact sum; null where values are not whole numbers or money",
    ),
    ("min", "DOUBLE", "the smallest"),
    ("max", "DOUBLE", "the largest"),
    ("last", "DOUBLE", "the latest"),
    ("last_ts", "TIMESTAMP", "when the latest happened, UTC"),
    (
        "last_origin",
        "UBIGINT",
        "sequence in INGEST of the message that carried the latest",
    ),
    (
        "last_idx",
        "UINTEGER",
        "the latest one's position in that message",
    ),
    (
        "hist",
        "MAP(INTEGER, UBIGINT)",
        "distribution: logarithmic bucket to count; ask quantile_of(hist, 0.95)",
    ),
];

const TABLES: &[Table] = &[
    Table {
        name: "metric",
        comment: "measurements, one row each",
        columns: &[EVENT_START, METRIC, EVENT_END],
    },
    Table {
        name: "event",
        comment: "things that happened, one row each",
        columns: &[EVENT_START, EVENT, EVENT_END],
    },
    Table {
        name: "usage",
        comment: "model calls, one row each; token counts are inclusive",
        columns: &[EVENT_START, USAGE, EVENT_END],
    },
    Table {
        name: "rollup",
        comment: "aggregates as they came: ask the views rollup_1m, rollup_1h and rollup_1d, which merge them",
        columns: &[ROLLUP],
    },
    Table {
        name: "alert_match",
        comment: "what rules found, as it came: ask the view alert, which merges it",
        columns: &[alerts::COLUMNS],
    },
    Table {
        name: "dead",
        comment: "dead letters: refused messages with the reason, as they came",
        columns: &[DEAD],
    },
    Table {
        name: "dead_note",
        comment: "what people did about dead letters, as it came",
        columns: &[DEAD_NOTE],
    },
    Table {
        name: "duplicates",
        comment: "origins that came in more than one EVENTS message; stored once",
        columns: &[&[
            ("events_epoch", "VARCHAR", "ULID of the epoch of EVENTS"),
            (
                "events_seq",
                "UBIGINT",
                "sequence in EVENTS of the message that was not stored again",
            ),
            ("origin", "UBIGINT", "sequence in INGEST"),
            ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
        ]],
    },
    Table {
        name: "epochs",
        comment: "lives of streams: a stream deleted and created again has a new epoch",
        columns: &[&[
            (
                "id",
                "USMALLINT",
                "what the column epoch of the other tables refers to",
            ),
            ("stream", "VARCHAR", "the stream"),
            ("epoch", "VARCHAR", "ULID from the stream's metadata"),
            (
                "first_seen",
                "TIMESTAMP",
                "when its first message was stored by NATS, UTC",
            ),
        ]],
    },
    Table {
        name: "origin_sets",
        comment: "which INGEST messages were stored or dead-lettered, as ranges of sequences: all chunks together",
        columns: &[&[
            ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
            (
                "outcome",
                "VARCHAR",
                "stored or dead; dead/<kind>: the dead ones of that kind, of which one that is stored too counts as stored",
            ),
            ("ranges", "VARCHAR", "inclusive ranges: 1-1950,1952"),
            (
                "chunk",
                "UBIGINT",
                "a range is in the row of the 16384 sequences in which it begins",
            ),
        ]],
    },
    Table {
        name: "ledger_kind",
        comment: "what became of INGEST messages, by epoch and kind: ask aiai ledger, which adds it up",
        columns: &[&[
            ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
            (
                "kind",
                "VARCHAR",
                "the kind that the subject names, or unknown if it names none",
            ),
            (
                "stored",
                "UBIGINT",
                "messages stored; those an older version stored and the tables no longer have are missing here",
            ),
            (
                "duplicates",
                "UBIGINT",
                "messages that came in another EVENTS message again, since version 4",
            ),
            (
                "events_stored",
                "UBIGINT",
                "rows stored; null: not known, an older version stored them",
            ),
            (
                "items_dead",
                "UBIGINT",
                "single items of messages with a dead letter",
            ),
        ]],
    },
    Table {
        name: "ledger_epoch",
        comment: "how far INGEST is known to have got, where that is further than what is stored or dead",
        columns: &[&[
            ("epoch", "VARCHAR", "ULID of INGEST's epoch"),
            ("published", "UBIGINT", "its last sequence when somebody looked"),
        ]],
    },
    Table {
        name: "archive_file",
        comment: "the files of the archive",
        columns: &[archive_views::FILE],
    },
    Table {
        name: "checkpoint",
        comment: "how far each stream was processed",
        columns: &[&[
            (
                "stream",
                "VARCHAR",
                "EVENTS, ROLLUP, ALERTS, ARCHIVE or DEAD; EVENTS/rollup, /archive, /refused, /unseen: which of EVENTS are \
                 in rollup, are archived, became dead letters, were lost before they came here",
            ),
            ("epoch", "VARCHAR", "ULID of that stream's epoch"),
            (
                "seq",
                "UBIGINT",
                "every message up to this sequence was processed",
            ),
            (
                "beyond",
                "VARCHAR",
                "processed sequences past the first hole, as ranges; normally empty",
            ),
        ]],
    },
];

/// Creates the tables in a new database; leaves a database of this version alone.
///
/// # Errors
/// The database was written by a newer version, is somebody else's, or cannot be written.
pub(crate) fn prepare(connection: &Connection) -> anyhow::Result<()> {
    match version(connection)? {
        Some(VERSION) => Ok(()),
        Some(newer) if newer > VERSION => bail!(
            "the database has schema version {newer}, this aiai knows {VERSION}: \
             run the newer aiai that wrote it, or point data at another folder"
        ),
        Some(older) => migrate::upgrade(connection, older, create_sql)
            .context("could not bring the tables to the version of this aiai"),
        None => migrate::in_transaction(connection, |connection| {
            Ok(connection.execute_batch(&create_sql())?)
        })
        .context("could not create the tables"),
    }
}

/// A ULID that tells this database from every other; made when first asked for.
pub(crate) fn database_id(connection: &Connection) -> anyhow::Result<String> {
    let id = ulid::Ulid::generate().to_string();
    connection.execute(
        "INSERT INTO aiai_meta SELECT 'database_id', ?
         WHERE NOT EXISTS (SELECT 1 FROM aiai_meta WHERE key = 'database_id')",
        [id],
    )?;
    let value = "SELECT value FROM aiai_meta WHERE key = 'database_id'";
    Ok(connection.query_row(value, [], |row| row.get(0))?)
}

fn version(connection: &Connection) -> anyhow::Result<Option<u32>> {
    let meta = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'aiai_meta'";
    if connection.query_row(meta, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(None);
    }
    let value = "SELECT value FROM aiai_meta WHERE key = 'schema_version'";
    let text: Option<String> = connection.query_row(value, [], |row| row.get(0)).optional()?;
    match text.as_deref().map(str::parse) {
        Some(Ok(version)) => Ok(Some(version)),
        _ => bail!("the table aiai_meta names no schema version: point data at another folder"),
    }
}

/// Creates what is missing, and says what everything means.
fn create_sql() -> String {
    let mut sql = String::new();
    for table in TABLES {
        let columns = || table.columns.iter().copied().flatten();
        let list: Vec<String> = columns()
            .map(|(name, kind, _)| format!("{name} {kind}"))
            .collect();
        let name = table.name;
        sql.push_str(&format!(
            "CREATE TABLE IF NOT EXISTS {name}({});",
            list.join(", ")
        ));
        sql.push_str(&format!("COMMENT ON TABLE {name} IS {};", quote(table.comment)));
        for (column, _, comment) in columns() {
            sql.push_str(&format!(
                "COMMENT ON COLUMN {name}.{column} IS {};",
                quote(comment)
            ));
        }
    }
    sql.push_str("CREATE TABLE IF NOT EXISTS aiai_meta(key VARCHAR, value VARCHAR);");
    sql.push_str(&rollup_views());
    sql.push_str(&alert_view());
    sql.push_str("DELETE FROM aiai_meta WHERE key = 'schema_version';");
    sql.push_str(&format!(
        "INSERT INTO aiai_meta VALUES ('schema_version', '{VERSION}');"
    ));
    sql
}

/// The view that merges what rules found.
fn alert_view() -> String {
    let rows = alerts::merged("true");
    format!("CREATE OR REPLACE VIEW alert AS SELECT * EXCLUDE (stored) FROM ({rows});")
}

/// The columns of the table of a kind, in order.
pub(crate) fn columns_of(kind: &str) -> impl Iterator<Item = &'static Column> {
    let table = TABLES.iter().find(move |table| table.name == kind);
    table
        .into_iter()
        .flat_map(|table| table.columns.iter().copied().flatten())
}

/// A text as an SQL literal.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
