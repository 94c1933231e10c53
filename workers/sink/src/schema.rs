//! The tables, with the units of their columns as comments, for people who open the file in the DuckDB CLI.

use anyhow::{Context, bail};
use duckdb::{Connection, OptionalExt};

mod kinds;
mod tables;

pub(crate) use kinds::own;
use tables::TABLES;

use crate::rollup_views::rollup_views;
use crate::{alerts, migrate};

/// Version of the tables below. Raise it, and add a migration, when one of them changes.
pub(crate) const VERSION: u32 = 7;

/// A column: name, DuckDB type, comment.
pub(crate) type Column = (&'static str, &'static str, &'static str);

struct Table {
    name: &'static str,
    comment: &'static str,
    columns: &'static [&'static [Column]],
}

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
            .map(|(name, kind, _)| format!("\"{name}\" {kind}"))
            .collect();
        let name = table.name;
        sql.push_str(&format!(
            "CREATE TABLE IF NOT EXISTS {name}({});",
            list.join(", ")
        ));
        sql.push_str(&format!("COMMENT ON TABLE {name} IS {};", quote(table.comment)));
        for (column, _, comment) in columns() {
            sql.push_str(&format!(
                "COMMENT ON COLUMN {name}.\"{column}\" IS {};",
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
