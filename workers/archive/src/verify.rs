//! Whether the files are what the manifest says. Reads every byte.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use schemas::rerate::CORRECTIONS_FOLDER;
use sha2::{Digest, Sha256};

use crate::file::{age, walk};

/// A file without an entry may be so young that its manifest is still on its way.
const YOUNG: Duration = Duration::from_secs(600);

/// A file as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// In the archive folder.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// Something wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, in the archive folder.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub fix: &'static str,
}

const RESTORE: &str =
    "restore it from a backup; until then its rows are missing from the views `…_all`, or still in the table";

/// Compares one file with the manifest.
pub fn verify(folder: &Path, listed: &Listed) -> Option<Problem> {
    let problem = compare(&folder.join(&listed.path), listed)?;
    Some(Problem {
        path: listed.path.clone(),
        problem,
        fix: RESTORE,
    })
}

fn compare(path: &Path, listed: &Listed) -> Option<String> {
    let bytes = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("is not there".into()),
        Err(error) => return Some(format!("cannot be looked at: {error}")),
    };
    if bytes != listed.bytes {
        return Some(format!("has {bytes} bytes, not {}", listed.bytes));
    }
    match sha256(path) {
        Ok(sha256) if sha256 != listed.sha256 => {
            return Some(format!("has SHA-256 {sha256}, not {}", listed.sha256));
        }
        Ok(_) => {}
        Err(error) => return Some(format!("cannot be read: {error}")),
    }
    match rows(path) {
        Ok(rows) if rows != listed.rows => Some(format!("has {rows} rows, not {}", listed.rows)),
        Ok(_) => None,
        Err(error) => Some(format!("is not a readable Parquet file: {error}")),
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn rows(path: &Path) -> Result<u64, parquet::errors::ParquetError> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    Ok(u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default())
}

/// The files in the folder that the manifest does not list; they are left alone.
pub fn unlisted(folder: &Path, listed: &[Listed]) -> Vec<Problem> {
    let known: HashSet<&str> = listed.iter().map(|file| file.path.as_str()).collect();
    let mut problems = Vec::new();
    for file in walk(folder) {
        let path = file
            .strip_prefix(folder)
            .unwrap_or(&file)
            .to_string_lossy()
            .into_owned();
        if path.starts_with(CORRECTIONS_FOLDER) {
            continue;
        }
        let is_young = age(&file).is_none_or(|age| age < YOUNG);
        if !known.contains(path.as_str()) && !is_young {
            problems.push(Problem {
                path,
                problem: "is not in the manifest".into(),
                fix: "move it out of the archive folder; no view reads it",
            });
        }
    }
    problems
}
