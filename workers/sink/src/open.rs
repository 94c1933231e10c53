//! Opening the database file: limits set, the outside world shut out, every refusal with its fix.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use duckdb::{Config, Connection};

use crate::archive_views;
use crate::schema::{self, quote};

/// Limits of the database. They hold for all connections together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Memory DuckDB may use, in MiB; what does not fit spills to disk.
    pub memory_limit_mb: u64,
    /// Disk space for spilling, in MiB.
    pub spill_limit_mb: u64,
    /// Threads DuckDB may use.
    pub threads: u32,
    /// Series of one name in one hour; further ones are added up as `__other__`.
    pub series_max: usize,
    /// The only folder SQL may read files from.
    pub archive_folder: Option<PathBuf>,
    /// Size of the write-ahead log, in MiB, at which it is folded into the file. Its rows are in memory
    /// until then, half as large again. Measured: 16 costs a third of the write rate, above 32 little is gained.
    pub wal_autocheckpoint_mb: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            memory_limit_mb: 192,
            spill_limit_mb: 4096,
            threads: 1,
            series_max: 10_000,
            archive_folder: None,
            wal_autocheckpoint_mb: 32,
        }
    }
}

/// Opens or creates the database, and locks its configuration.
///
/// # Errors
/// The folder cannot be written, the file is in use, is no database, or is of a newer version.
pub(crate) fn open(path: &Path, settings: &Settings) -> anyhow::Result<Connection> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| {
            format!(
                "could not create the data folder {}: create it writable for this user, or set another",
                folder.display()
            )
        })?;
    }
    let config = Config::default()
        .enable_autoload_extension(false)?
        .max_memory(&format!("{}MiB", settings.memory_limit_mb))?
        .threads(i64::from(settings.threads.max(1)))?;
    let connection =
        Connection::open_with_flags(path, config).map_err(|error| explain(path, &error.to_string()))?;
    connection.execute_batch(&format!(
        "SET checkpoint_threshold = '{}MiB'",
        settings.wal_autocheckpoint_mb
    ))?;
    schema::prepare(&connection).map_err(|error| {
        let text = format!("{error:#}");
        if text.contains("read-only") || text.contains("Permission denied") {
            explain(path, &text)
        } else {
            error.context(format!("database {}", path.display()))
        }
    })?;
    lock_down(&connection, settings).context("could not restrict the database's configuration")?;
    // With its files they come into being in the keeper's first round, which looks whether they are there.
    archive_views::create_without_files(&connection)?;
    Ok(connection)
}

/// No files but the archive's, no extensions, and no way to change that.
fn lock_down(connection: &Connection, settings: &Settings) -> anyhow::Result<()> {
    if let Some(folder) = &settings.archive_folder {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not create the archive folder {}", folder.display()))?;
        let folder = std::path::absolute(folder)?;
        let folder = folder
            .to_str()
            .context("the archive folder's name is not UTF-8")?;
        connection.execute_batch(&format!("SET allowed_directories = [{}]", quote(folder)))?;
    }
    connection.execute_batch(&format!(
        "SET max_temp_directory_size = '{}MiB';
         SET enable_external_access = false;
         SET lock_configuration = true;",
        settings.spill_limit_mb
    ))?;
    Ok(())
}

/// Turns DuckDB's reason for not opening the file into one with a fix.
fn explain(path: &Path, reason: &str) -> anyhow::Error {
    let file = path.display();
    if reason.contains("Could not set lock") || reason.contains("Conflicting lock") {
        let holder = reason
            .split_once("(PID ")
            .and_then(|(_, rest)| rest.split_once(')'))
            .map_or_else(
                || "another process".to_owned(),
                |(pid, _)| format!("process {pid}"),
            );
        return anyhow!(
            "the database {file} is in use by {holder}: stop it, or ask it with `aiai query \"SELECT …\"`"
        );
    }
    if reason.contains("replaying WAL") {
        return anyhow!(
            "the log {file}.wal does not belong to {file} ({reason}): put back the log that was copied with it, or move this \
             one away; what is missing then comes from the streams and the archive"
        );
    }
    if reason.contains("not a valid DuckDB database") {
        return anyhow!("{file} is not a DuckDB database: move it away, or set another data folder");
    }
    if reason.contains("Permission denied") || reason.to_lowercase().contains("read-only") {
        return anyhow!("{file} cannot be written: give this user write access to it and its folder");
    }
    if reason.contains("newer version") || reason.contains("storage version") {
        return anyhow!("{file} was written by a newer DuckDB: run the newer aiai that wrote it ({reason})");
    }
    anyhow!("could not open the database {file}: {reason}")
}
