//! Whether the file at the database's path still is the one that is open.
//!
//! Deleted or replaced under us, Linux lets us go on writing into a file that nobody will ever find again. What was
//! acknowledged to NATS by then is still in the streams; so the sink stops at once and says why.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::bail;
use duckdb::Connection;

/// Remembers which file was opened.
#[derive(Debug)]
pub(crate) struct Guard {
    path: PathBuf,
    /// Device and number of the file. None: it could not be looked at.
    opened: Option<(u64, u64)>,
}

impl Guard {
    /// Of the file that was just opened.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            opened: identity(path).ok(),
            path: path.to_owned(),
        }
    }

    /// Where the file is not there any more, the database stays open for good: closing it would remove the log that is
    /// at its path, which may be that of the file there now. Its own log goes: the other file could not be opened with it.
    ///
    /// # Errors
    /// It is another file now, or none.
    pub(crate) fn check(&self, connection: &Connection) -> anyhow::Result<()> {
        let checked = self.look();
        if checked.is_err() {
            std::mem::forget(connection.try_clone()?);
            self.remove_own_log();
        }
        checked
    }

    /// Removes the log at the database's path, if it is the one that this process has open.
    fn remove_own_log(&self) {
        let mut log = self.path.clone().into_os_string();
        log.push(".wal");
        let Ok(log) = fs::canonicalize(log) else { return };
        let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        if targets.any(|target| target == log) {
            // If it stays, the next start names it.
            let _ = fs::remove_file(log);
        }
    }

    fn look(&self) -> anyhow::Result<()> {
        let path = self.path.display();
        match identity(&self.path) {
            Ok(found) if self.opened.is_none_or(|opened| opened == found) => Ok(()),
            Ok(_) => bail!(
                "the database {path} was replaced while the sink had it open, and nothing more is stored: start aiai \
                 again, it goes on with the file that is there now and gets the rest from the streams and the archive"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "the database {path} was deleted while the sink had it open, and nothing more is stored: put a copy back \
                 or leave it, and start aiai again, it gets the rest from the streams and the archive"
            ),
            // The disk may have its troubles; the next commit will tell.
            Err(_) => Ok(()),
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_or_none_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let guard = Guard::new(&path);
        fs::write(&path, "changed").unwrap();
        guard.look().unwrap();
        let other = folder.path().join("b");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(guard.look().unwrap_err().to_string().contains("was replaced"));
        fs::remove_file(&path).unwrap();
        assert!(guard.look().unwrap_err().to_string().contains("was deleted"));
    }
}
