//! How rows are printed: table for people, ndjson, json and csv for programs.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde_json::value::RawValue;

/// A way to print rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// One array.
    Json,
    /// One object a line.
    Ndjson,
    /// Comma-separated, with a header line.
    Csv,
}

impl Format {
    /// Table on a terminal, ndjson in a pipe.
    pub fn or_default(chosen: Option<Self>) -> Self {
        chosen.unwrap_or_else(|| {
            if io::stdout().is_terminal() {
                Self::Table
            } else {
                Self::Ndjson
            }
        })
    }
}

/// Writes text to standard output. A reader that has gone away ends the program quietly.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Says something to people, on standard error. Where nobody listens it is lost.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "aiai: {text}");
}

/// Asks people something: as [`say`], and the line stays open for the answer.
pub fn ask(text: &str) {
    let _ = write!(io::stderr().lock(), "{text}");
}

/// Writes rows as they come; `finish` ends the document.
pub struct Printer<W: Write> {
    format: Format,
    out: W,
    columns: Vec<String>,
    rows: u64,
    table: Option<comfy_table::Table>,
}

impl<W: Write> Printer<W> {
    /// Prints rows with these columns, in this order.
    pub fn new(format: Format, columns: Vec<String>, mut out: W) -> io::Result<Self> {
        let mut table = None;
        match format {
            Format::Table => {
                let mut empty = comfy_table::Table::new();
                empty.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
                empty.set_header(&columns);
                table = Some(empty);
            }
            Format::Csv => write_csv(&mut out, columns.iter().map(String::as_str))?,
            Format::Json => out.write_all(b"[")?,
            Format::Ndjson => {}
        }
        Ok(Self {
            format,
            out,
            columns,
            rows: 0,
            table,
        })
    }

    /// Prints one row; `line` is its JSON text.
    pub fn row(&mut self, line: &str) -> anyhow::Result<()> {
        self.rows += 1;
        match self.format {
            Format::Ndjson => writeln!(self.out, "{line}")?,
            Format::Json => {
                let comma = if self.rows > 1 { "," } else { "" };
                write!(self.out, "{comma}\n  {line}")?;
            }
            Format::Csv => {
                let cells = self.cells(line)?;
                write_csv(&mut self.out, cells.iter().map(String::as_str))?;
            }
            Format::Table => {
                let cells = self.cells(line)?;
                if let Some(table) = &mut self.table {
                    table.add_row(cells.iter().map(|cell| harmless(cell)));
                }
            }
        }
        Ok(())
    }

    fn cells(&self, line: &str) -> anyhow::Result<Vec<String>> {
        let row: HashMap<String, &RawValue> = serde_json::from_str(line)?;
        Ok(self
            .columns
            .iter()
            .map(|column| {
                row.get(column)
                    .map_or_else(String::new, |value| cell(value.get()))
            })
            .collect())
    }

    /// Ends the document and gives the number of rows.
    pub fn finish(mut self) -> io::Result<u64> {
        match self.format {
            Format::Table => {
                if let Some(table) = &self.table {
                    writeln!(self.out, "{table}")?;
                }
            }
            Format::Json => self
                .out
                .write_all(if self.rows > 0 { b"\n]\n" } else { b"]\n" })?,
            Format::Csv | Format::Ndjson => {}
        }
        self.out.flush()?;
        Ok(self.rows)
    }
}

/// What agents wrote, for a terminal: nothing in it moves the cursor, changes colours or turns the line around.
pub fn harmless(text: &str) -> std::borrow::Cow<'_, str> {
    let acts = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(acts) {
        return text.into();
    }
    let shown = |c: char| {
        if acts(c) {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(shown).collect::<String>().into()
}

/// A JSON value as a cell: text without quotes, null as nothing, all else as it stands: a decimal read as
/// a double would lose digits.
fn cell(json: &str) -> String {
    match json {
        "null" => String::new(),
        _ => serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned()),
    }
}

fn write_csv<'a>(out: &mut impl Write, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().from_writer(out);
    writer.write_record(cells)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, rows: &[&str]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(format, vec!["b".into(), "a".into()], &mut out).expect("starts");
        for row in rows {
            printer.row(row).expect("prints");
        }
        assert_eq!(printer.finish().expect("ends"), rows.len() as u64);
        String::from_utf8(out).expect("text")
    }

    const ROWS: &[&str] = &[
        r#"{"b":"x, \"y\"","a":1234567890.123456789}"#,
        r#"{"b":null,"a":{"c":[1.50]}}"#,
    ];

    #[test]
    fn every_format_keeps_columns_in_order_and_values_whole() {
        assert_eq!(
            printed(Format::Ndjson, ROWS),
            format!("{}\n{}\n", ROWS[0], ROWS[1])
        );
        assert_eq!(
            printed(Format::Csv, ROWS),
            "b,a\n\"x, \"\"y\"\"\",1234567890.123456789\n,\"{\"\"c\"\":[1.50]}\"\n"
        );
        let json: serde_json::Value = serde_json::from_str(&printed(Format::Json, ROWS)).expect("valid json");
        assert_eq!(json[1]["a"]["c"][0], 1.5);
        assert_eq!(printed(Format::Json, &[]), "[]\n");
        let acting = printed(Format::Table, &[r#"{"b":"\u001b[31mred\u202e\r\n","a":1}"#]);
        assert!(
            acting.contains(r"\u{1b}[31mred\u{202e}\r") && !acting.contains('\u{1b}'),
            "{acting}"
        );
        let table = printed(Format::Table, ROWS);
        assert!(
            table.contains("x, \"y\"") && table.find('b') < table.find('a'),
            "{table}"
        );
    }
}
