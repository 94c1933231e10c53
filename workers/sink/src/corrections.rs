//! Costs that were computed again: kept beside the archive's files, which stay as they are.
//!
//! Invariants: a batch of corrections is written to a file in the archive folder first, then its rows, its place in the view
//! `usage_all` and the difference in the aggregates are one transaction, and that transaction notes the file. A file that is not
//! noted is taken over when the sink starts: what a crash left behind, and what a database that was lost or is an older copy
//! does not have. So each file counts once, and a restored archive has its corrections.
//! Rows that come later than their correction (they are being restored) are put right by the keeper's rounds.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use duckdb::arrow::datatypes::{DataType, Decimal128Type, UInt32Type, UInt64Type};
use duckdb::{Connection, params};
use schemas::rerate::CORRECTIONS_FOLDER;
use schemas::rollup::{At, CostChange, Partial};
use schemas::{Money, Time};
use serde::{Deserialize, Serialize};

use crate::RangeSet;
use crate::appending::{self, NumberColumn, TextColumn, numbers};
use crate::migrate::in_transaction;
use crate::rollup::Rollups;
use crate::schema::{Column, quote};

/// The table `cost_correction`.
pub(crate) const COLUMNS: &[Column] = &[
    ("ingest_epoch", "VARCHAR", "ULID of INGEST's epoch"),
    ("origin", "UBIGINT", "the call: usage.origin"),
    ("idx", "UINTEGER", "the call: usage.idx"),
    ("cost_usd", "DECIMAL(18,9)", "what it cost, US dollars"),
    ("cost_source", "VARCHAR", "price_table@<version>"),
    (
        "first_usd",
        "DECIMAL(18,9)",
        "what it cost when it came, US dollars; null: it had no price",
    ),
    ("file", "VARCHAR", "the file of corrections it is from"),
    ("pending", "BOOLEAN", "its row may still be on its way"),
];

/// Where a row of a table and its correction are the same call; `i` are the epochs of INGEST.
const SAME_CALL: &str = "usage.epoch = n.epoch AND usage.origin = n.origin AND usage.idx = n.idx";

/// One call, as a line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Correction {
    pub(crate) ingest_epoch: String,
    pub(crate) origin: u64,
    pub(crate) idx: u32,
    pub(crate) ts: Time,
    pub(crate) tenant: String,
    pub(crate) source: String,
    /// Of its series.
    pub(crate) tags: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before_usd: Option<Money>,
    pub(crate) cost_usd: Money,
    pub(crate) cost_source: String,
}

/// Writes a batch to a file of its own, and gives the file's name. Durable when it returns.
pub(crate) fn write(archive: &Path, batch: &[Correction]) -> anyhow::Result<String> {
    let folder = archive.join(CORRECTIONS_FOLDER);
    let name = format!("{}.ndjson", ulid::Ulid::generate());
    let written = write_file(&folder, &name, batch);
    written.with_context(|| {
        format!(
            "corrections cannot be written to {}; let the sink write there, or point archive.folder elsewhere",
            folder.display()
        )
    })?;
    Ok(name)
}

fn write_file(folder: &Path, name: &str, batch: &[Correction]) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let aside = folder.join(format!("{name}.tmp"));
    let mut lines = Vec::new();
    for correction in batch {
        serde_json::to_writer(&mut lines, correction)?;
        lines.push(b'\n');
    }
    let mut file = File::create(&aside)?;
    file.write_all(&lines)?;
    file.sync_all()?;
    fs::rename(&aside, folder.join(name))?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Takes over the files that the database does not know. How many calls were corrected.
pub(crate) fn take_over(connection: &Connection, archive: &Path, series_max: usize) -> anyhow::Result<u64> {
    let mut corrected = 0;
    for path in unknown_files(connection, archive)? {
        let text = fs::read_to_string(&path)?;
        let lines = schemas::read_lines::<Correction>(text.as_bytes());
        let batch = lines.with_context(|| {
            format!(
                "{} is not a file of corrections; restore it from a backup, or move it away",
                path.display()
            )
        })?;
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        apply(connection, name, &batch, series_max)?;
        corrected += batch.len() as u64;
    }
    Ok(corrected)
}

/// By name, which begins with the time.
fn unknown_files(connection: &Connection, archive: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(archive.join(CORRECTIONS_FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let known = "SELECT count(*) FROM cost_correction_file WHERE file = ?";
        if name.ends_with(".ndjson") && connection.query_row(known, [name], |row| row.get::<_, i64>(0))? == 0
        {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Rows, view and aggregates in one transaction, once for each file.
pub(crate) fn apply(
    connection: &Connection,
    file: &str,
    batch: &[Correction],
    series_max: usize,
) -> anyhow::Result<()> {
    let mut delta = Partial::default();
    for correction in batch {
        delta.note_cost(&CostChange {
            tenant: &correction.tenant,
            source: &correction.source,
            tags: &correction.tags,
            at: At {
                time: correction.ts,
                origin: correction.origin,
                index: correction.idx,
            },
            before: correction.before_usd,
            after: correction.cost_usd,
        });
    }
    in_transaction(connection, |connection| {
        connection.execute(
            "INSERT INTO cost_correction_file(file, corrections) VALUES (?, ?)",
            params![file, batch.len() as u64],
        )?;
        append(connection, file, batch)?;
        let newer = format!("n.file = {}", quote(file));
        connection.execute_batch(&format!(
            "UPDATE cost_correction SET first_usd = c.first_usd FROM cost_correction AS c
             WHERE cost_correction.file = {} AND c.file <> cost_correction.file
                AND c.ingest_epoch = cost_correction.ingest_epoch AND c.origin = cost_correction.origin
                AND c.idx = cost_correction.idx",
            quote(file)
        ))?;
        connection.execute_batch(&format!(
            "DELETE FROM cost_correction AS c USING cost_correction AS n
             WHERE {newer} AND c.file <> n.file
                AND c.ingest_epoch = n.ingest_epoch AND c.origin = n.origin AND c.idx = n.idx"
        ))?;
        put_right(connection, &newer)?;
        settle(connection)?;
        // Of its own: the writer's folds what it has itself, and merges on read what it has not.
        Rollups::apart(series_max).append(connection, delta)?;
        Ok(())
    })
}

/// The rows of `usage_all` with the costs they came with: what aggregates are made of, since differences were added already.
pub(crate) const ROWS_AS_THEY_CAME: &str =
    "(SELECT u.* REPLACE (CASE WHEN c.file IS NULL THEN u.cost_usd ELSE c.first_usd END AS cost_usd)
      FROM usage_all AS u LEFT JOIN epochs AS i ON i.stream = 'INGEST' AND i.id = u.epoch
      LEFT JOIN cost_correction AS c ON c.ingest_epoch = i.epoch AND c.origin = u.origin AND c.idx = u.idx)";

/// Puts right rows that came after their correction.
pub(crate) fn catch_up(connection: &Connection) -> anyhow::Result<()> {
    let pending = "SELECT count(*) FROM cost_correction WHERE pending";
    if connection.query_row(pending, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(());
    }
    in_transaction(connection, |connection| {
        put_right(connection, "n.pending")?;
        settle(connection)
    })
}

/// Writes costs into the rows that are in the table.
fn put_right(connection: &Connection, filter: &str) -> anyhow::Result<()> {
    connection.execute_batch(&format!(
        "UPDATE usage SET cost_usd = n.cost_usd, cost_source = n.cost_source
         FROM (SELECT i.id AS epoch, n.origin, n.idx, n.cost_usd, n.cost_source
               FROM cost_correction AS n JOIN epochs AS i ON i.stream = 'INGEST' AND i.epoch = n.ingest_epoch
               WHERE {filter}) AS n
         WHERE {SAME_CALL} AND (usage.cost_usd IS DISTINCT FROM n.cost_usd
            OR usage.cost_source IS DISTINCT FROM n.cost_source)"
    ))?;
    Ok(())
}

/// No longer waits for rows that are stored, in the table or in files.
fn settle(connection: &Connection) -> anyhow::Result<()> {
    let mut stored = Vec::new();
    let sql = "SELECT i.epoch, o.ranges FROM epochs AS i JOIN origin_sets AS o ON o.epoch = i.id AND o.outcome = ?
               WHERE i.stream = 'INGEST' AND i.epoch IN (SELECT ingest_epoch FROM cost_correction WHERE pending)";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(["stored"])?;
    while let Some(row) = rows.next()? {
        stored.push((
            row.get::<_, String>(0)?,
            RangeSet::parse(&row.get::<_, String>(1)?)?,
        ));
    }
    for (epoch, set) in stored {
        for range in set.ranges() {
            connection.execute(
                "UPDATE cost_correction SET pending = false
                 WHERE pending AND ingest_epoch = ? AND origin BETWEEN ? AND ?",
                params![epoch, range.start(), range.end()],
            )?;
        }
    }
    Ok(())
}

fn append(connection: &Connection, file: &str, batch: &[Correction]) -> anyhow::Result<()> {
    let (mut epochs, mut sources, mut files) = (
        TextColumn::default(),
        TextColumn::default(),
        TextColumn::default(),
    );
    let money = || NumberColumn::<Decimal128Type>::with_type(DataType::Decimal128(18, 9));
    let (mut costs, mut firsts) = (money(), money());
    let (mut origins, mut indexes) = (Vec::new(), Vec::new());
    for correction in batch {
        epochs.push(Some(&correction.ingest_epoch));
        origins.push(correction.origin);
        indexes.push(correction.idx);
        costs.push(Some(correction.cost_usd.0.into()));
        firsts.push(correction.before_usd.map(|before| before.0.into()));
        sources.push(Some(&correction.cost_source));
        files.push(Some(file));
    }
    let columns = vec![
        ("ingest_epoch", epochs.take()),
        ("origin", numbers::<UInt64Type>(&mut origins)),
        ("idx", numbers::<UInt32Type>(&mut indexes)),
        ("cost_usd", costs.take()),
        ("cost_source", sources.take()),
        ("first_usd", firsts.take()),
        ("file", files.take()),
    ];
    appending::append(connection, "cost_correction", columns)?;
    let all = "UPDATE cost_correction SET pending = true WHERE file = ?";
    connection.execute(all, [file])?;
    Ok(())
}
