//! The table of archived files, and the views that read rows and files together: no row twice, none missing.
//!
//! A file counts from the moment its rows are no longer in the table (`cold`); the views name exactly those files,
//! and are made anew in the transaction that moves rows out.

use std::path::Path;

use anyhow::Context;
use duckdb::Connection;
use schemas::Kind;

use crate::schema::{self, Column, quote};

/// The table `archive_file`.
pub(crate) const FILE: &[Column] = &[
    ("events_epoch", "VARCHAR", "ULID of the epoch of EVENTS"),
    ("first_seq", "UBIGINT", "the first sequence of EVENTS it covers"),
    ("last_seq", "UBIGINT", "the last sequence of EVENTS it covers"),
    ("kind", "VARCHAR", "the kind of its rows: the table they were in"),
    (
        "date",
        "DATE",
        "the UTC day of its rows; of many very old days, the first",
    ),
    ("path", "VARCHAR", "where it is in the archive folder"),
    ("rows", "UBIGINT", "its rows"),
    ("bytes", "UBIGINT", "its size"),
    ("sha256", "VARCHAR", "of its bytes, in hexadecimal digits"),
    ("min_ts", "TIMESTAMP", "when the oldest of its rows happened, UTC"),
    ("max_ts", "TIMESTAMP", "when the newest of its rows happened, UTC"),
    (
        "archived_at",
        "TIMESTAMP",
        "when NATS stored the news that it was written, UTC",
    ),
    (
        "state",
        "VARCHAR",
        "copy: its rows are in the table, too; cold: they are only here; missing: they were only here and it is gone",
    ),
    (
        "layout",
        "USMALLINT",
        "which columns it has: 2, all of its table; 1 or null, those of versions before 6",
    ),
];

/// Makes a view `<kind>_all` for each kind, within the caller's transaction or in none. DuckDB looks into the first file of
/// each.
pub(crate) fn create(connection: &Connection, folder: Option<&Path>) -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let files = match folder {
            Some(folder) => cold_files(connection, folder, kind)?,
            None => Files::default(),
        };
        connection
            .execute_batch(&view(kind, &files))
            .with_context(|| format!("could not make the view {kind}_all; run `aiai archive verify`"))?;
    }
    Ok(())
}

/// The views without any file.
pub(crate) fn create_without_files(connection: &Connection) -> anyhow::Result<()> {
    create(connection, None)
}

/// Names of files as SQL literals, those without later columns apart.
#[derive(Default)]
struct Files {
    today: Vec<String>,
    first_layout: Vec<String>,
}

fn cold_files(connection: &Connection, folder: &Path, kind: Kind) -> anyhow::Result<Files> {
    let folder = std::path::absolute(folder)?;
    let sql = "SELECT path, coalesce(layout, 1) FROM archive_file WHERE kind = ? AND state = 'cold' ORDER BY min_ts, path";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([kind.as_str()])?;
    let mut files = Files::default();
    while let Some(row) = rows.next()? {
        let (path, layout): (String, u16) = (row.get(0)?, row.get(1)?);
        let file = folder.join(path);
        let name = file.to_str().context("the archive folder's name is not UTF-8")?;
        match layout {
            1 if has_later_columns(kind) => files.first_layout.push(quote(name)),
            _ => files.today.push(quote(name)),
        }
    }
    Ok(files)
}

fn has_later_columns(kind: Kind) -> bool {
    schema::own(kind).iter().any(|(name, ..)| is_later(kind, name))
}

/// Whether files of the first layout have no such column.
pub(crate) fn is_later(kind: Kind, column: &str) -> bool {
    let later: &[&str] = match kind {
        Kind::Metric => &["distribution"],
        Kind::Usage => &["tokens_cache_write_1h", "service_tier"],
        Kind::Event | Kind::Step | Kind::Message | Kind::Session | Kind::WorkItem => &[],
    };
    later.contains(&column)
}

fn view(kind: Kind, files: &Files) -> String {
    let columns: Vec<&Column> = schema::columns_of(kind.as_str()).collect();
    let names: Vec<String> = columns.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
    let mut sql = format!(
        "CREATE OR REPLACE VIEW {kind}_all AS SELECT {} FROM {kind}",
        names.join(", ")
    );
    for (files, is_today) in [(&files.first_layout, false), (&files.today, true)] {
        if files.is_empty() {
            continue;
        }
        let in_file: Vec<String> = columns
            .iter()
            .map(|(name, column_type, _)| match is_today || !is_later(kind, name) {
                true => corrected(kind, name).unwrap_or_else(|| in_file(name, column_type)),
                false => format!("NULL::{column_type} AS \"{name}\""),
            })
            .collect();
        sql.push_str(&format!(
            " UNION ALL SELECT {} FROM read_parquet([{}], hive_partitioning = false) AS f
             LEFT JOIN epochs AS i ON i.stream = 'INGEST' AND i.epoch = f.ingest_epoch
             LEFT JOIN epochs AS e ON e.stream = 'EVENTS' AND e.epoch = f.events_epoch{}",
            in_file.join(", "),
            files.join(", "),
            if kind == Kind::Usage { CORRECTIONS } else { "" }
        ));
    }
    sql.push_str(&format!(
        "; COMMENT ON VIEW {kind}_all IS 'all rows of {kind}, of the table and of the archive''s files';"
    ));
    sql
}

/// Costs that were computed again since the file was written.
const CORRECTIONS: &str = "
             LEFT JOIN cost_correction AS c
                ON c.ingest_epoch = f.ingest_epoch AND c.origin = f.origin AND c.idx = f.idx";

/// A column that corrections have.
fn corrected(kind: Kind, name: &str) -> Option<String> {
    let is_corrected = kind == Kind::Usage && matches!(name, "cost_usd" | "cost_source");
    is_corrected.then(|| format!("coalesce(c.{name}, f.{name}) AS {name}"))
}

/// A column of a table as its files have it.
fn in_file(name: &str, column_type: &str) -> String {
    match (name, column_type) {
        ("epoch", _) => "i.id AS epoch".into(),
        ("events_epoch", _) => "e.id AS events_epoch".into(),
        (_, "JSON") => format!("f.\"{name}\"::JSON AS \"{name}\""),
        _ => format!("f.\"{name}\""),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use schemas::Time;
    use schemas::archive::{File, LAYOUT, path};

    use super::*;
    use crate::archive::note_file;
    use crate::loading;

    const EPOCH: &str = "01JD00000000000000000000B1";

    /// A file with one row, with the columns of a layout.
    fn cold_file(connection: &Connection, folder: &Path, sequence: u64, layout: u16) -> File {
        let date = "2026-11-20".to_owned();
        let name = path(Kind::Metric, &date, EPOCH, sequence, sequence);
        let file = folder.join(&name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let columns: Vec<String> = schema::columns_of("metric")
            .filter(|(column, ..)| layout == LAYOUT || !is_later(Kind::Metric, column))
            .map(|(column, kind, _)| match (*column, *kind) {
                ("events_seq", _) => format!("{sequence}::UBIGINT AS events_seq"),
                ("epoch", _) => "NULL::VARCHAR AS ingest_epoch".to_owned(),
                ("events_epoch", _) => format!("'{EPOCH}' AS events_epoch"),
                ("distribution", _) => "'{\"count\":7}' AS distribution".to_owned(),
                (_, "JSON") => format!("NULL::VARCHAR AS \"{column}\""),
                _ => format!("NULL::{kind} AS \"{column}\""),
            })
            .collect();
        let sql = format!("COPY (SELECT {}) TO '{}'", columns.join(", "), file.display());
        connection.execute_batch(&sql).unwrap();
        File {
            first: sequence,
            last: sequence,
            kind: Kind::Metric,
            date,
            path: name,
            rows: 1,
            bytes: 1,
            sha256: String::new(),
            min_ts: Time(0),
            max_ts: Time(0),
            layout,
        }
    }

    fn distributions(connection: &Connection, from: &str) -> Vec<Option<String>> {
        let sql = format!("SELECT distribution->>'count' FROM {from} ORDER BY events_seq");
        let mut statement = connection.prepare(&sql).unwrap();
        let found = statement.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    }

    #[test]
    fn files_of_the_first_layout_are_read_beside_those_of_today() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open_in_memory().unwrap();
        schema::prepare(&connection).unwrap();
        let files = [(1, 1), (2, LAYOUT), (3, 1)]
            .map(|(sequence, layout)| cold_file(&connection, folder.path(), sequence, layout));
        for file in &files {
            note_file(&connection, EPOCH, file, Time(0), "cold").unwrap();
        }
        // As a database of version 5 had noted it.
        connection
            .execute_batch("UPDATE archive_file SET layout = NULL WHERE first_seq = 3")
            .unwrap();
        create(&connection, Some(folder.path())).unwrap();
        let wanted = [None, Some("7".to_owned()), None];
        assert_eq!(distributions(&connection, "metric_all"), wanted);
        for (file, wanted) in files.iter().zip(&wanted) {
            let from = loading::from(Kind::Metric, folder.path(), &[file]);
            assert_eq!(
                distributions(
                    &connection,
                    &format!("(SELECT * REPLACE (distribution::JSON AS distribution) FROM {from})")
                ),
                std::slice::from_ref(wanted)
            );
            let found = loading::layout(Kind::Metric, &folder.path().join(&file.path), &connection);
            assert_eq!(found.unwrap(), file.layout);
        }
    }
}
