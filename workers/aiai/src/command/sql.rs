//! SQL made from what a person typed: every text becomes a literal or a name here, and nowhere else.

use bus::{Bytes, Context};
use schemas::query::{self, Line};
use serde::de::DeserializeOwned;

use std::time::Duration;

/// For an answer of a few rows.
const TIMEOUT: Duration = Duration::from_secs(10);

/// More than a few.
const ROWS_MAX: u64 = 10_000;

/// A text as an SQL literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A text as the name of a column.
pub fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The value of a tag. As a JSON pointer: a plain key that begins with `$` or `/` would be taken for a path.
pub fn tag(key: &str) -> String {
    let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
    // In parentheses: to DuckDB `a->>b = c` is `a->>(b = c)`.
    format!("(tags->>{})", literal(&pointer))
}

/// A SELECT of `keys` and `hist`, the distributions of all rows of a group added up, bucket by bucket: in a merge of
/// whole maps DuckDB would hold all of them in memory. `columns` gives the keys their names.
pub fn merged(columns: &str, keys: &str, from: &str) -> String {
    format!(
        "SELECT {keys}, map_from_entries(list({{'key': k, 'value': c}} ORDER BY k)) AS hist \
         FROM (SELECT {keys}, e.key AS k, sum(e.value)::UBIGINT AS c \
            FROM (SELECT {columns}, unnest(map_entries(hist)) AS e FROM {from} AND hist IS NOT NULL) GROUP BY ALL) \
         GROUP BY {keys}"
    )
}

/// Asks the sink for a few rows.
pub async fn rows<T: DeserializeOwned>(context: &Context, sql: &str) -> anyhow::Result<Vec<T>> {
    rows_up_to(context, sql, ROWS_MAX).await
}

/// Asks the sink for at most so many rows.
pub async fn rows_up_to<T: DeserializeOwned>(
    context: &Context,
    sql: &str,
    rows_max: u64,
) -> anyhow::Result<Vec<T>> {
    let mut rows = Vec::new();
    let mut broken = None;
    let request = query::Request {
        sql: sql.to_owned(),
        rows_max: Some(rows_max),
        timeout_seconds: None,
    };
    let body = Bytes::from(serde_json::to_vec(&request)?);
    context
        .request_each(query::SUBJECT, "sink", body, TIMEOUT, |part| {
            if let Err(error) = take(&part, &mut rows) {
                broken = Some(error);
            }
        })
        .await?;
    broken.map_or(Ok(rows), Err)
}

fn take<T: DeserializeOwned>(part: &[u8], rows: &mut Vec<T>) -> anyhow::Result<()> {
    for line in std::str::from_utf8(part)?.lines() {
        if let Line::Row(row) = query::line(line)? {
            rows.push(serde_json::from_str(row)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;
    use sink::{Limits, Part, Store};

    use super::*;

    /// The rows of a SELECT, through the gate that the sink has for people.
    fn select(store: &Store, sql: &str) -> String {
        let limits = Limits {
            rows_max: 10,
            bytes_max: 1_000_000,
            time_seconds: 10,
        };
        let mut text = Vec::new();
        let reader = store.reader().expect("a reader");
        let done = reader.run_sql(sql, &limits, &Arc::default(), |part| {
            if let Part::Rows { ndjson, .. } = part {
                text.extend_from_slice(&ndjson);
            }
            ControlFlow::Continue(())
        });
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn whatever_is_typed_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path: &Path = &folder.path().join("test.duckdb");
        let store = Store::open(path, &sink::Settings::default()).expect("a database");
        // Characters that mean something to SQL, JSON paths and JSON pointers, and any others but NUL.
        let texts = r#"([$/~.'"\\;*\[\]{}#@-]|--|[^\x00]){0,12}"#;
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
        let done = runner.run(&(texts, texts), |(key, value)| {
            let json = serde_json::json!({ &key: &value, "other": "x" }).to_string();
            let column = if key.is_empty() { "a" } else { key.as_str() };
            let sql = format!(
                "SELECT {} AS {}, {} AS \"the tag\" FROM (SELECT {}::JSON AS tags) WHERE {} = {}",
                literal(&value),
                name(column),
                tag(&key),
                literal(&json),
                tag(&key),
                literal(&value)
            );
            let row: serde_json::Value = serde_json::from_str(&select(&store, &sql)).expect("a row");
            prop_assert_eq!(&row[column], &serde_json::json!(value), "{}", sql);
            prop_assert_eq!(&row["the tag"], &serde_json::json!(value), "{}", sql);
            Ok(())
        });
        done.unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn texts_stay_texts() {
        assert_eq!(literal("it's; DROP TABLE x; --"), "'it''s; DROP TABLE x; --'");
        assert_eq!(name("a\"b"), "\"a\"\"b\"");
        assert_eq!(tag("region"), "(tags->>'/region')");
        assert_eq!(tag("$.a/b~'c"), "(tags->>'/$.a~1b~0''c')");
    }
}
