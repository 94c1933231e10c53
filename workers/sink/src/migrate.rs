//! Bringing an older database to the tables of today. Nothing is lost and nothing is copied.

use anyhow::Context;
use duckdb::{Connection, params};
use schemas::Kind;

use crate::schema::columns_of;
use crate::{RangeSet, Source, dead, kinds, origin_sets};

/// Runs a change as a whole or not at all.
pub(crate) fn in_transaction<T>(
    connection: &Connection,
    change: impl FnOnce(&Connection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    connection.execute_batch("BEGIN")?;
    let changed = change(connection).and_then(|value| {
        connection.execute_batch("COMMIT")?;
        Ok(value)
    });
    if changed.is_err() {
        // Fails where no transaction is open any more.
        let _ = connection.execute_batch("ROLLBACK");
    }
    changed
}

/// From any older version to today's, one step after the other.
pub(crate) fn upgrade(
    connection: &Connection,
    from: u32,
    create: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    in_transaction(connection, |connection| {
        if from < 7 {
            add_columns(connection)?;
        }
        if from < 5 {
            dead::add_states(connection)?;
        }
        if from < 6 {
            origin_sets::divide(connection, from >= 4)?;
        }
        connection.execute_batch(&create())?;
        if from < 3 {
            begin_archive(connection)?;
        }
        if from < 4 {
            kinds::fill(connection).context("could not count what is stored by kind")?;
        }
        Ok(())
    })
}

/// The columns that tables of events, and the table of files, did not have in an older version; null in rows that are
/// there. Tables that are missing altogether are created afterwards.
fn add_columns(connection: &Connection) -> anyhow::Result<()> {
    for table in Kind::ALL.map(Kind::as_str).into_iter().chain(["archive_file"]) {
        for (name, kind, _) in columns_of(table) {
            let sql = format!("ALTER TABLE IF EXISTS {table} ADD COLUMN IF NOT EXISTS \"{name}\" {kind}");
            connection.execute_batch(&sql)?;
        }
    }
    Ok(())
}

/// From version 1 or 2 to 3. Version 1 had no rollup, version 2 knew nothing of the archive.
///
/// Rows do not say which EVENTS message they came from until now, and nobody can find out. They stay in the table for
/// good (their sequence is null), and the archive begins behind them.
fn begin_archive(connection: &Connection) -> anyhow::Result<()> {
    let mut processed = Vec::new();
    let mut statement = connection.prepare("SELECT epoch, seq, beyond FROM checkpoint WHERE stream = ?")?;
    let mut rows = statement.query([Source::Events.as_str()])?;
    while let Some(row) = rows.next()? {
        let (epoch, seq, beyond): (String, u64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let beyond = RangeSet::parse(&beyond).context("checkpoint.beyond is not ranges")?;
        processed.push((epoch, beyond.last().unwrap_or(seq).max(seq)));
    }
    for (epoch, last) in processed {
        connection.execute(
            "INSERT INTO checkpoint(stream, epoch, seq, beyond) VALUES (?, ?, ?, '')",
            params![Source::Archived.as_str(), epoch, last],
        )?;
    }
    Ok(())
}
