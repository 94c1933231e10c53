//! What people may ask the database: one SELECT. DuckDB's own parser decides, never a pattern.
//!
//! `json_serialize_sql` takes SELECT statements only (`FROM x`, `VALUES`, `DESCRIBE`, `SHOW` and `SUMMARIZE` are
//! SELECTs to DuckDB). `prepare` alone would not do: of several statements it runs all but the last at once.

use duckdb::Connection;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::query::{QueryError, QueryErrorKind};

/// Longest SQL text accepted, in bytes.
pub(crate) const SQL_BYTES_MAX: usize = 256 * 1024;

/// Semicolons looked at, from the end, to find the one that ends the statement.
const SEMICOLONS_MAX: usize = 32;

#[derive(Deserialize)]
struct Parsed {
    error: bool,
    error_type: Option<String>,
    error_message: Option<String>,
    position: Option<String>,
    statements: Option<Vec<IgnoredAny>>,
}

/// The one SELECT in `sql`, without what may follow it (semicolon, comments), safe to put into parentheses on
/// lines of its own.
///
/// # Errors
/// The text is too long, does not parse, or is not exactly one SELECT.
pub(crate) fn single_select<'q>(connection: &Connection, sql: &'q str) -> Result<&'q str, QueryError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(refused(format!(
            "the query is {} bytes long; at most {SQL_BYTES_MAX} are allowed",
            sql.len()
        )));
    }
    if sql.contains('\0') {
        return Err(refused(
            "the query contains a NUL character; remove it".to_owned(),
        ));
    }
    let count = statements(connection, sql)?;
    if count == 0 {
        return Err(refused(
            "the query is empty; try: SELECT * FROM metric LIMIT 10".to_owned(),
        ));
    }
    if count > 1 {
        return Err(refused(format!(
            "only one SELECT statement is allowed; this text has {count}: send them one by one"
        )));
    }
    Ok(without_end(connection, sql))
}

/// The statement without its semicolon and what follows: a piece that parses as one statement, before a rest that
/// holds none. A semicolon within a literal splits neither so.
fn without_end<'q>(connection: &Connection, sql: &'q str) -> &'q str {
    let semicolons: Vec<usize> = sql
        .rmatch_indices(';')
        .map(|(at, _)| at)
        .take(SEMICOLONS_MAX)
        .collect();
    let is_end = |at: usize| {
        statements(connection, &sql[at + 1..]) == Ok(0) && statements(connection, &sql[..at]) == Ok(1)
    };
    let end = semicolons.into_iter().rev().find(|at| is_end(*at));
    end.map_or(sql, |at| &sql[..at])
}

/// How many SELECT statements the text is.
fn statements(connection: &Connection, sql: &str) -> Result<usize, QueryError> {
    let mut serialize = connection
        .prepare_cached("SELECT json_serialize_sql(CAST(? AS VARCHAR))::VARCHAR")
        .map_err(QueryError::from_duckdb)?;
    let json: String = serialize
        .query_row([sql], |row| row.get(0))
        .map_err(QueryError::from_duckdb)?;
    let parsed: Parsed = serde_json::from_str(&json).map_err(|error| unreadable(&json, &error))?;
    if !parsed.error {
        return Ok(parsed.statements.map_or(0, |statements| statements.len()));
    }
    let message = parsed.error_message.unwrap_or_default();
    if parsed.error_type.as_deref() == Some("not implemented") {
        return Err(refused(
            "only one SELECT statement is allowed; the database is read-only here. Instead of PRAGMA or CALL \
             use DESCRIBE, SHOW TABLES, SUMMARIZE or SELECT * FROM duckdb_tables(); EXPLAIN and PIVOT need the \
             DuckDB command line, while aiai is stopped"
                .to_owned(),
        ));
    }
    let place = parsed
        .position
        .map(|position| format!(" (at character {position})"));
    Err(QueryError {
        kind: QueryErrorKind::Syntax,
        message: format!("{message}{}", place.unwrap_or_default()),
    })
}

/// DuckDB writes a number past the largest double as what JSON does not have: infinity.
fn unreadable(json: &str, error: &serde_json::Error) -> QueryError {
    let line = json
        .lines()
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    // The error is at a letter of the word or at its sign.
    let near = line
        .as_bytes()
        .iter()
        .skip(error.column().saturating_sub(4))
        .take(8);
    let near: String = near.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    if near.contains("inf") {
        return refused(
            "a number in the query is larger than the largest double, 1.8e308; write a smaller one, or \
             'Infinity'::DOUBLE"
                .to_owned(),
        );
    }
    refused(format!("DuckDB's parser answered in an unknown form: {error}"))
}

fn refused(message: String) -> QueryError {
    QueryError {
        kind: QueryErrorKind::Refused,
        message,
    }
}
