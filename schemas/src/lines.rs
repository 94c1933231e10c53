//! The payload of an EVENTS message: canonical events of one kind, one a line.

use serde::Deserialize;

/// Why the payload of an EVENTS message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads every line into a row that borrows from `payload`; blank lines are skipped.
///
/// The lines are trusted to be what [`crate::Item::write_line`] wrote: types are checked, limits are not.
///
/// # Errors
/// The first line which is not UTF-8 or not a `T`.
pub fn read_lines<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<Vec<T>, LineError> {
    let text = std::str::from_utf8(payload).map_err(|error| {
        let line = 1 + memchr::memchr_iter(b'\n', &payload[..error.valid_up_to()]).count();
        LineError {
            line,
            problem: format!("is not UTF-8 at byte {} of the payload", error.valid_up_to()),
        }
    })?;
    let mut rows = Vec::with_capacity(memchr::memchr_iter(b'\n', payload).count() + 1);
    for (number, line) in split_lines(text).enumerate() {
        if is_blank(line) {
            continue;
        }
        let row = serde_json::from_str(line).map_err(|error| LineError {
            line: number + 1,
            problem: error.to_string(),
        })?;
        rows.push(row);
    }
    Ok(rows)
}

/// The pieces between line feeds. (`str::lines` looks for them a byte at a time.)
pub(crate) fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match memchr::memchr(b'\n', text.as_bytes()) {
            Some(end) => {
                rest = Some(&text[end + 1..]);
                Some(&text[..end])
            }
            None => rest.take(),
        }
    })
}

/// Nothing but what JSON calls whitespace.
pub(crate) fn is_blank(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;

    #[test]
    fn names_the_line_that_cannot_be_read() {
        let good = "{\"name\":\"a\",\"value\":1}\n";
        let rows: Vec<Metric<'_>> = read_lines(good.as_bytes()).unwrap();
        assert_eq!((rows.len(), &*rows[0].name), (1, "a"));
        let bad = format!("{good}\n\r\n{{\"name\":1}}\n");
        let error = read_lines::<Metric<'_>>(bad.as_bytes()).unwrap_err();
        assert_eq!(error.line, 4);
        assert!(error.problem.contains("expected a string"), "{error}");
        assert_eq!(read_lines::<Metric<'_>>(b"{}\n\xff").unwrap_err().line, 2);
        assert_eq!(read_lines::<Metric<'_>>(b"").unwrap().len(), 0);
    }
}
