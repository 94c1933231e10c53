//! `aiai archive list` and `verify`: the files of the archive.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use bus::Bytes;
use schemas::query::{self, Line};
use serde::Deserialize;

use crate::cli;
use crate::config::Config;
use crate::failure::UNHEALTHY;
use crate::output;

/// The columns of `list`, oldest rows first.
const LIST: &str = "SELECT kind, date, state, rows, bytes, min_ts, max_ts, first_seq, last_seq, events_epoch, path, sha256 \
    FROM archive_file ORDER BY kind, date, events_epoch, first_seq";
/// What `verify` compares files with.
const MANIFEST: &str = "SELECT path, rows, bytes, sha256 FROM archive_file ORDER BY path";
/// Files in one answer: what the sink gives at most.
const FILES_MAX: u64 = 1_000_000;
/// The sink reads one table.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Prints the manifest.
pub async fn list(config: &Config, options: &cli::ArchiveList) -> anyhow::Result<ExitCode> {
    let query = cli::Query {
        sql: LIST.to_owned(),
        output: options.output,
        rows: FILES_MAX,
        timeout: 30,
    };
    super::query::query(config, &query).await
}

/// A row of the manifest.
#[derive(Deserialize)]
struct Row {
    path: String,
    rows: u64,
    bytes: u64,
    sha256: String,
}

impl From<Row> for archive::Listed {
    fn from(row: Row) -> Self {
        Self {
            path: row.path,
            rows: row.rows,
            bytes: row.bytes,
            sha256: row.sha256,
        }
    }
}

/// Compares every file with the manifest; prints each problem with its fix.
pub async fn verify(config: &Config) -> anyhow::Result<ExitCode> {
    let folder = config.archive_folder();
    if let Err(error) = std::fs::read_dir(&folder) {
        bail!(
            "the archive folder {} cannot be read ({error}): run this where worker archive runs, with its --data or archive.folder",
            folder.display()
        );
    }
    let listed = manifest(config).await?;
    let checked = tokio::task::spawn_blocking(move || check(&folder, &listed)).await?;
    output::print(&checked.text)?;
    Ok(if checked.is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNHEALTHY)
    })
}

/// What `verify` says.
struct Checked {
    text: String,
    is_good: bool,
}

fn check(folder: &Path, listed: &[archive::Listed]) -> Checked {
    let broken = listed.iter().filter_map(|file| archive::verify(folder, file));
    let problems: Vec<archive::Problem> = broken.chain(archive::unlisted(folder, listed)).collect();
    let mut text = String::new();
    for problem in &problems {
        text.push_str(&format!(
            "{}: {}; {}\n",
            problem.path, problem.problem, problem.fix
        ));
    }
    let (rows, bytes) = listed.iter().fold((0, 0), |(rows, bytes), file| {
        (rows + file.rows, bytes + file.bytes)
    });
    text.push_str(&format!(
        "{} files, {rows} rows, {bytes} bytes in the manifest; {} problems in {}\n",
        listed.len(),
        problems.len(),
        folder.display()
    ));
    Checked {
        text,
        is_good: problems.is_empty(),
    }
}

async fn manifest(config: &Config) -> anyhow::Result<Vec<archive::Listed>> {
    let context = super::connect(config).await?;
    let request = query::Request {
        sql: MANIFEST.to_owned(),
        rows_max: Some(FILES_MAX),
        timeout_seconds: None,
    };
    let body = Bytes::from(serde_json::to_vec(&request)?);
    let mut answer = Vec::new();
    context
        .request_each(query::SUBJECT, "sink", body, TIMEOUT, |part| answer.push(part))
        .await?;
    let mut listed = Vec::new();
    for part in &answer {
        for line in std::str::from_utf8(part)?.lines() {
            match query::line(line)? {
                Line::Row(row) => listed.push(serde_json::from_str::<Row>(row)?.into()),
                Line::End(end) if end.truncated.is_some() => {
                    bail!("the manifest is longer than one answer; raise sink.query.rows_max")
                }
                Line::Columns(_) | Line::End(_) => {}
            }
        }
    }
    Ok(listed)
}
