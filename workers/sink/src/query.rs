//! SQL from people and programs: read-only, bounded in time, rows and bytes, stoppable.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use duckdb::Connection;
use duckdb::arrow::array::Array;

use crate::gate;
use crate::row_json::{Form, write_row, write_string};
use crate::watchdog::{Stopped, guard};

/// Bytes of rows gathered before they are handed over.
const PART_BYTES: usize = 128 * 1024;

/// What a query may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows; what follows is cut off and said so.
    pub rows_max: u64,
    /// Bytes of JSON rows; what follows is cut off and said so.
    pub bytes_max: u64,
    /// Seconds; a query that takes longer is stopped and fails.
    pub time_seconds: u64,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, unique in the result and the key in every row.
    pub name: String,
    /// Its DuckDB type, e.g. `DECIMAL(18,9)`.
    pub duckdb_type: String,
}

/// A piece of an answer: the columns come first, then rows.
#[derive(Debug)]
pub enum Part {
    /// All columns, in order.
    Columns(Vec<Column>),
    /// Some rows: one JSON object a line.
    Rows {
        /// The lines.
        ndjson: Vec<u8>,
        /// How many there are.
        count: u64,
    },
}

/// Which limit cut a result off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// [`Limits::rows_max`].
    Rows,
    /// [`Limits::bytes_max`].
    Bytes,
    /// The receiver wanted no more.
    Receiver,
}

/// How a query ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Rows handed over.
    pub rows: u64,
    /// Whether there were more, and why they are not here.
    pub truncated: Option<Truncation>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What went wrong with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// Not SQL.
    Syntax,
    /// Not a single SELECT, or it reaches outside the database.
    Refused,
    /// It names a table, column or function that is not there, or its values do not fit.
    Invalid,
    /// It took longer than allowed.
    Timeout,
    /// It needs more memory than allowed.
    Memory,
    /// Whoever asked no longer wants the answer.
    Cancelled,
    /// The database failed.
    Failed,
}

/// Why a query has no answer, in words that name the fix where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// What went wrong.
    pub kind: QueryErrorKind,
    /// The problem and what to do about it.
    pub message: String,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for QueryError {}

/// A connection for queries: one at a time, on one thread.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    pub(crate) fn new(connection: Connection) -> Self {
        Reader { connection }
    }

    /// Runs one SELECT and hands its rows to `emit` as they come; `emit` may stop it, and so may `cancel`, from
    /// any thread.
    ///
    /// # Errors
    /// The SQL is refused or wrong, or the query was stopped. Rows handed over before are then worthless.
    pub fn run_sql(
        &self,
        sql: &str,
        limits: &Limits,
        cancel: &Arc<AtomicBool>,
        emit: impl FnMut(Part) -> ControlFlow<()>,
    ) -> Result<Summary, QueryError> {
        let start = Instant::now();
        let timeout = Duration::from_secs(limits.time_seconds);
        let interrupt = self.connection.interrupt_handle();
        let (result, stopped) = guard(&interrupt, timeout, cancel, || self.run(sql, limits, emit));
        // Ends the read-only transaction; there is none if the query was refused.
        let _ = self.connection.execute_batch("ROLLBACK");
        match (result, stopped) {
            (Ok((rows, truncated)), _) => Ok(Summary {
                rows,
                truncated,
                elapsed: start.elapsed(),
            }),
            (Err(_), Some(Stopped::Timeout)) => Err(QueryError {
                kind: QueryErrorKind::Timeout,
                message: format!(
                    "the query was stopped after {} s; narrow it, e.g. WHERE ts > now()::TIMESTAMP - INTERVAL 1 HOUR, or raise \
                     the time limit",
                    limits.time_seconds
                ),
            }),
            (Err(_), Some(Stopped::Cancelled)) => Err(QueryError {
                kind: QueryErrorKind::Cancelled,
                message: "the query was cancelled".to_owned(),
            }),
            (Err(error), None) => Err(error),
        }
    }

    fn run(
        &self,
        sql: &str,
        limits: &Limits,
        mut emit: impl FnMut(Part) -> ControlFlow<()>,
    ) -> Result<(u64, Option<Truncation>), QueryError> {
        let select = gate::single_select(&self.connection, sql)?;
        self.connection
            .execute_batch("BEGIN TRANSACTION READ ONLY")
            .map_err(QueryError::from_duckdb)?;
        let columns = self.describe(select)?;
        let forms: Vec<Form> = columns
            .iter()
            .map(|column| Form::of(&column.duckdb_type))
            .collect();
        let keys: Vec<String> = columns.iter().map(|column| key(&column.name)).collect();
        let list =
            |item: &dyn Fn(usize) -> String| (0..columns.len()).map(item).collect::<Vec<_>>().join(", ");
        let wrapped = format!(
            "SELECT {} FROM (\n{select}\n) AS aiai_query({}) LIMIT {}",
            list(&|at| forms[at].select(&format!("c{at}"), &columns[at].duckdb_type)),
            list(&|at| format!("c{at}")),
            limits.rows_max.saturating_add(1).min(i64::MAX.unsigned_abs())
        );
        let mut statement = self
            .connection
            .prepare(&wrapped)
            .map_err(QueryError::from_duckdb)?;
        // Its iterator panics where a query fails on the way; `step` returns the error.
        drop(statement.stream_arrow([]).map_err(QueryError::from_duckdb)?);
        if emit(Part::Columns(columns)).is_break() {
            return Ok((0, Some(Truncation::Receiver)));
        }
        let mut rows = Rows::new(limits, emit);
        while let Some(chunk) = statement.step().map_err(QueryError::from_duckdb)? {
            for row in 0..chunk.len() {
                let written = rows.add(|out| write_row(out, &keys, &forms, chunk.columns(), row));
                if let ControlFlow::Break(truncation) = written {
                    return rows.finish(Some(truncation));
                }
            }
        }
        rows.finish(None)
    }

    fn describe(&self, select: &str) -> Result<Vec<Column>, QueryError> {
        // Selecting from it gives repeated names different ones: a, a_1.
        let sql = format!("DESCRIBE SELECT * FROM (\n{select}\n) AS aiai_query");
        let mut statement = self.connection.prepare(&sql).map_err(QueryError::from_duckdb)?;
        let columns = statement.query_map([], |row| {
            Ok(Column {
                name: row.get(0)?,
                duckdb_type: row.get(1)?,
            })
        });
        columns
            .and_then(Iterator::collect)
            .map_err(QueryError::from_duckdb)
    }
}

/// A column's name as a JSON key with its colon.
fn key(name: &str) -> String {
    let mut key = Vec::new();
    write_string(&mut key, name);
    key.push(b':');
    String::from_utf8_lossy(&key).into_owned()
}

/// Rows on their way out.
struct Rows<'l, E> {
    limits: &'l Limits,
    emit: E,
    ndjson: Vec<u8>,
    count: u64,
    rows: u64,
    bytes: u64,
}

impl<'l, E: FnMut(Part) -> ControlFlow<()>> Rows<'l, E> {
    fn new(limits: &'l Limits, emit: E) -> Self {
        Rows {
            limits,
            emit,
            ndjson: Vec::with_capacity(PART_BYTES),
            count: 0,
            rows: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> ControlFlow<Truncation> {
        if self.rows >= self.limits.rows_max {
            return ControlFlow::Break(Truncation::Rows);
        }
        let before = self.ndjson.len();
        write(&mut self.ndjson);
        let bytes = self.bytes + (self.ndjson.len() - before) as u64;
        if bytes > self.limits.bytes_max {
            self.ndjson.truncate(before);
            return ControlFlow::Break(Truncation::Bytes);
        }
        self.bytes = bytes;
        self.rows += 1;
        self.count += 1;
        if self.ndjson.len() >= PART_BYTES && self.flush().is_break() {
            return ControlFlow::Break(Truncation::Receiver);
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) -> ControlFlow<()> {
        if self.count == 0 {
            return ControlFlow::Continue(());
        }
        let count = std::mem::take(&mut self.count);
        let ndjson = std::mem::take(&mut self.ndjson);
        (self.emit)(Part::Rows { ndjson, count })
    }

    fn finish(mut self, truncated: Option<Truncation>) -> Result<(u64, Option<Truncation>), QueryError> {
        let flushed = self.flush();
        let truncated = truncated.or(flushed.is_break().then_some(Truncation::Receiver));
        Ok((self.rows, truncated))
    }
}

impl QueryError {
    /// DuckDB's own words, with the fix where they lack one.
    pub(crate) fn from_duckdb(error: duckdb::Error) -> Self {
        let text = match error {
            duckdb::Error::DuckDBFailure(_, Some(text)) => text,
            duckdb::Error::InvalidParameterCount(..) => {
                "Binder Error: the query has parameters ($1 or ?), which have no values here: write the values into it"
                    .to_owned()
            }
            other => other.to_string(),
        };
        // The excerpt that DuckDB adds is of our wrapping, not of what was asked.
        let text = text.split("\n\nLINE ").next().unwrap_or(&text).trim_end();
        let (kind, fix) = match text.split(':').next().unwrap_or_default() {
            "Parser Error" => (QueryErrorKind::Syntax, ""),
            "Permission Error" => (
                QueryErrorKind::Refused,
                "; queries can read the tables of this database and the archive folder only",
            ),
            "Out of Memory Error" => (
                QueryErrorKind::Memory,
                "; aggregate or filter more, or raise sink.memory_limit_megabytes",
            ),
            "IO Error" if text.contains(".parquet") => (
                QueryErrorKind::Failed,
                "; if it is a file of the archive, it was removed a moment ago: ask again in a minute, see `aiai archive verify`",
            ),
            "IO Error" | "INTERNAL Error" | "FATAL Error" | "INTERRUPT Error" => (QueryErrorKind::Failed, ""),
            "Catalog Error" if text.contains("Table with name") => (
                QueryErrorKind::Invalid,
                "; SHOW TABLES lists the tables there are",
            ),
            _ => (QueryErrorKind::Invalid, ""),
        };
        QueryError {
            kind,
            message: format!("{text}{fix}"),
        }
    }
}
