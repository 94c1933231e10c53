//! The answer of `query.sql`: NDJSON that any client can read.
//!
//! The first line is `{"columns":[{"name":…,"type":…}]}`, then one JSON object a row, and last
//! `{"end":{"rows":…,"truncated":…}}`. A row's own columns never make it look like one of the two:
//! only the first and the last line are read so.

use serde::{Deserialize, Serialize};

/// Where SQL is asked.
pub const SUBJECT: &str = "query.sql";
/// Where the first screen's figures are asked.
pub const OVERVIEW_SUBJECT: &str = "query.overview";
/// Where the ledger is asked: [`crate::ledger::Report`] as JSON.
pub const LEDGER_SUBJECT: &str = "query.ledger";

/// A request; a body that is not such an object is taken as the SQL itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// One SELECT, DESCRIBE, SHOW or SUMMARIZE.
    pub sql: String,
    /// At most so many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_max: Option<u64>,
    /// Give up after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

impl Request {
    /// Reads a request's body.
    ///
    /// # Errors
    /// When it is not text, or starts as a JSON object and is not a request.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let text =
            std::str::from_utf8(body).map_err(|_| "the query is not UTF-8; send SQL as text".to_owned())?;
        if text.trim_start().starts_with('{') {
            return serde_json::from_str(text).map_err(|error| {
                format!("the request is not {{\"sql\": …, \"rows_max\": …, \"timeout_seconds\": …}}: {error}")
            });
        }
        Ok(Self {
            sql: text.to_owned(),
            rows_max: None,
            timeout_seconds: None,
        })
    }
}

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Unique within the answer.
    pub name: String,
    /// DuckDB's name of the type.
    #[serde(rename = "type")]
    pub column_type: String,
}

/// How the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Rows sent.
    pub rows: u64,
    /// There were more, and which limit cut them off.
    pub truncated: Option<Cut>,
}

/// A limit of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// `rows_max`.
    Rows,
    /// `sink.query.megabytes_max`.
    Bytes,
}

/// One line of the answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The first.
    Columns(Vec<Column>),
    /// A row's JSON text.
    Row(&'a str),
    /// The last.
    End(End),
}

const COLUMNS_PREFIX: &str = "{\"columns\":[";
const END_PREFIX: &str = "{\"end\":{\"rows\":";

/// The first line.
pub fn columns_line(columns: &[Column]) -> String {
    serde_json::json!({ "columns": columns }).to_string()
}

/// The last line.
pub fn end_line(end: End) -> String {
    let truncated = match end.truncated {
        None => "null",
        Some(Cut::Rows) => "\"rows\"",
        Some(Cut::Bytes) => "\"bytes\"",
    };
    format!("{END_PREFIX}{},\"truncated\":{truncated}}}}}", end.rows)
}

/// Reads one line.
///
/// # Errors
/// When a first or last line is not as written by [`columns_line`] or [`end_line`].
pub fn line(text: &str) -> Result<Line<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct First {
        columns: Vec<Column>,
    }
    #[derive(Deserialize)]
    struct Last {
        end: End,
    }
    // A row is an object with the columns' names; one called `columns` or `end` does not have this shape.
    if text.starts_with(COLUMNS_PREFIX)
        && let Ok(first) = serde_json::from_str::<First>(text)
    {
        return Ok(Line::Columns(first.columns));
    }
    if text.starts_with(END_PREFIX) {
        return serde_json::from_str::<Last>(text).map(|last| Line::End(last.end));
    }
    Ok(Line::Row(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_written() {
        let columns = vec![Column {
            name: "a".into(),
            column_type: "BIGINT".into(),
        }];
        assert_eq!(line(&columns_line(&columns)).unwrap(), Line::Columns(columns));
        let end = End {
            rows: 3,
            truncated: Some(Cut::Rows),
        };
        assert_eq!(line(&end_line(end)).unwrap(), Line::End(end));
        assert_eq!(line(r#"{"end":5}"#).unwrap(), Line::Row(r#"{"end":5}"#));
    }

    #[test]
    fn a_request_is_sql_or_an_object() {
        assert_eq!(Request::read(b"SELECT 1").unwrap().sql, "SELECT 1");
        let request = Request::read(br#"{"sql":"SELECT 1","rows_max":5}"#).unwrap();
        assert_eq!((request.sql.as_str(), request.rows_max), ("SELECT 1", Some(5)));
        assert!(Request::read(br#"{"sq":"SELECT 1"}"#).unwrap_err().contains("sq"));
    }
}
