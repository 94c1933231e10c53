//! Whether archived files still are what was written.
//!
//! Size and both ends are looked at each time, which is cheap. What is inside is read again only where a file was
//! changed after it had been noted, and once for each change. Deliberately absent: reading all files now and then;
//! `aiai archive verify` does that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemas::Time;
use sha2::{Digest, Sha256};

/// The bytes with which a Parquet file begins and ends.
const MAGIC: [u8; 4] = *b"PAR1";
/// Read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// A file as the manifest has it.
pub(crate) struct Noted {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
    pub(crate) archived_at: Time,
}

/// Remembers which changed files were read.
#[derive(Default)]
pub(crate) struct Intact {
    read: RefCell<HashMap<PathBuf, (SystemTime, bool)>>,
}

impl Intact {
    /// Whether the file is there, whole and unchanged.
    pub(crate) fn is(&self, folder: &Path, noted: &Noted) -> bool {
        self.look(folder.join(&noted.path), noted).unwrap_or(false)
    }

    fn look(&self, path: PathBuf, noted: &Noted) -> io::Result<bool> {
        let mut file = File::open(&path)?;
        let metadata = file.metadata()?;
        if metadata.len() != noted.bytes || noted.bytes < 8 {
            return Ok(false);
        }
        let (mut first, mut last) = ([0; 4], [0; 4]);
        file.read_exact(&mut first)?;
        file.seek(SeekFrom::End(-4))?;
        file.read_exact(&mut last)?;
        if first != MAGIC || last != MAGIC {
            return Ok(false);
        }
        let modified = metadata.modified()?;
        let archived_at = u64::try_from(noted.archived_at.0).unwrap_or(0);
        if modified <= UNIX_EPOCH + Duration::from_micros(archived_at) {
            return Ok(true);
        }
        let mut read = self.read.borrow_mut();
        if let Some((_, is_same)) = read.get(&path).filter(|(at, _)| *at == modified) {
            return Ok(*is_same);
        }
        let is_same = sha256(file)? == noted.sha256;
        read.insert(path, (modified, is_same));
        Ok(is_same)
    }
}

pub(crate) fn sha256(mut file: File) -> io::Result<String> {
    file.rewind()?;
    let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK_BYTES]);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(&block[..read]);
    }
    let digits: Vec<String> = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digits.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changed_in_its_middle_is_not_intact_until_it_is_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let whole = b"PAR1 rows and footer PAR1";
        std::fs::write(&path, whole).unwrap();
        let mut noted = Noted {
            path: "a.parquet".to_owned(),
            bytes: whole.len() as u64,
            sha256: sha256(File::open(&path).unwrap()).unwrap(),
            archived_at: Time(0),
        };
        let intact = Intact::default();
        assert!(intact.is(folder.path(), &noted));
        let touch = |seconds| {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))
                .unwrap();
        };
        std::fs::write(&path, b"PAR1 rows and f00ter PAR1").unwrap();
        touch(2_000_000_000);
        assert!(!intact.is(folder.path(), &noted));
        std::fs::write(&path, whole).unwrap();
        touch(2_000_000_001);
        assert!(intact.is(folder.path(), &noted));
        // Not changed since it was noted: not read.
        noted.sha256.clear();
        noted.archived_at = Time(2_000_000_002_000_000);
        assert!(intact.is(folder.path(), &noted));
        noted.bytes += 1;
        assert!(!intact.is(folder.path(), &noted));
    }
}
