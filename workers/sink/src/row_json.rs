//! Rows of a result as JSON objects, one a line: valid JSON whatever the values are.
//!
//! Numbers that JSON cannot write (NaN, infinities) become the strings "NaN", "Infinity" and "-Infinity".
//! HUGEINT and DECIMAL keep all their digits. Times, UUIDs, BLOBs and the like are DuckDB's own text.

use duckdb::arrow::array::{Array, ArrayRef, AsArray};
use serde_json::value::RawValue;

/// How the text of a column is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The text is JSON already, but for numbers JSON cannot write.
    Json,
    /// The text is to become a string.
    Text,
}

impl Form {
    /// The form of a column of this DuckDB type.
    pub(crate) fn of(duckdb_type: &str) -> Form {
        let is_nested = duckdb_type.ends_with(']') || duckdb_type.contains('(');
        match duckdb_type {
            "BOOLEAN" | "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "HUGEINT" | "UTINYINT"
            | "USMALLINT" | "UINTEGER" | "UBIGINT" | "UHUGEINT" | "FLOAT" | "DOUBLE" | "JSON" | "VARIANT" => {
                Form::Json
            }
            _ if duckdb_type.starts_with("ENUM(") && !duckdb_type.ends_with(']') => Form::Text,
            _ if is_nested => Form::Json,
            _ => Form::Text,
        }
    }

    /// The SQL that gives a column as text of this form.
    pub(crate) fn select(self, column: &str, duckdb_type: &str) -> String {
        match self {
            // As text, a FLOAT is as short as it can be; as JSON it would get the digits of a DOUBLE.
            Form::Json if matches!(duckdb_type, "FLOAT" | "JSON") => format!("CAST({column} AS VARCHAR)"),
            Form::Json => format!("CAST(to_json({column}) AS VARCHAR)"),
            Form::Text => format!("CAST({column} AS VARCHAR)"),
        }
    }
}

/// Writes row `row` of `columns` as one line: `keys` are JSON strings with their colon.
pub(crate) fn write_row(
    out: &mut Vec<u8>,
    keys: &[String],
    forms: &[Form],
    columns: &[ArrayRef],
    row: usize,
) {
    out.push(b'{');
    for (position, ((key, form), column)) in keys.iter().zip(forms).zip(columns).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key.as_bytes());
        let Some(texts) = column.as_string_opt::<i32>().filter(|texts| !texts.is_null(row)) else {
            out.extend_from_slice(b"null");
            continue;
        };
        match form {
            Form::Json => write_json(out, texts.value(row)),
            Form::Text => write_string(out, texts.value(row)),
        }
    }
    out.extend_from_slice(b"}\n");
}

pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Writes what DuckDB calls JSON as what JSON calls JSON, on one line.
fn write_json(out: &mut Vec<u8>, text: &str) {
    let is_valid = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok();
    let has_breaks = text.contains(['\n', '\r']);
    if !has_breaks && is_valid(text) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let repaired = quote_numbers(text);
    if is_valid(&repaired) {
        out.extend_from_slice(repaired.as_bytes());
    } else {
        write_string(out, text);
    }
}

/// Puts NaN and infinities, which DuckDB writes bare, into quotes; turns line breaks between tokens into spaces.
fn quote_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '-' | 'a'..='z' | 'A'..='Z' => {
                let end = rest[1..].find(|c: char| !c.is_ascii_alphabetic());
                end.map_or(rest.len(), |end| end + 1)
            }
            _ => first.len_utf8(),
        };
        let (token, following) = rest.split_at(length);
        match token.to_ascii_lowercase().as_str() {
            "nan" | "-nan" => out.push_str("\"NaN\""),
            "inf" | "infinity" => out.push_str("\"Infinity\""),
            "-inf" | "-infinity" => out.push_str("\"-Infinity\""),
            "\n" | "\r" => out.push(' '),
            _ => out.push_str(token),
        }
        rest = following;
    }
    out
}

/// Length of the JSON string at the start of `text`, quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_json(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_json_lacks_become_strings_and_nothing_else_changes() {
        assert_eq!(
            written(r#"{"a":NaN,"NaN":[-Infinity,1e5,-2,"Infinity \" NaN"],"b":nan}"#),
            r#"{"a":"NaN","NaN":["-Infinity",1e5,-2,"Infinity \" NaN"],"b":"NaN"}"#
        );
        assert_eq!(written("-inf"), "\"-Infinity\"");
        assert_eq!(written("{\"a\":\n1}"), "{\"a\": 1}");
        assert_eq!(written("{\"a\":"), r#""{\"a\":""#, "no JSON at all is a string");
        assert_eq!(
            written("170141183460469231731687303715884105727"),
            "170141183460469231731687303715884105727"
        );
    }

    #[test]
    fn forms_follow_types() {
        for json in [
            "BIGINT",
            "DECIMAL(18,9)",
            "JSON",
            "VARCHAR[]",
            "STRUCT(a VARCHAR)",
            "MAP(VARCHAR, INTEGER)",
        ] {
            assert_eq!(Form::of(json), Form::Json, "{json}");
        }
        for text in [
            "VARCHAR",
            "BLOB",
            "TIMESTAMP",
            "TIMESTAMP WITH TIME ZONE",
            "UUID",
            "BIT",
            "ENUM('a', 'b')",
        ] {
            assert_eq!(Form::of(text), Form::Text, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_line_of_valid_json(text in "[ -~\\n\u{e9}]{0,40}") {
            let line = written(&text);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{}", line);
            prop_assert!(!line.contains('\n'));
        }
    }
}
