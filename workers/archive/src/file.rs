//! Files: written aside, synced, renamed. Whoever reads one reads all of it.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use schemas::archive::METADATA_KEY;
use sha2::{Digest, Sha256};

/// Ending of a file being written, behind the name it will have and the process that writes it.
const ASIDE: &str = ".tmp";
/// Nobody writes a file for so long.
const ABANDONED: Duration = Duration::from_secs(3600);
/// What DuckDB makes of its own tables: readers skip groups whose times do not match.
const ROW_GROUP_ROWS: usize = 122_880;
/// Numbers that mostly grow from row to row: their differences are stored.
const GROWING: [&str; 4] = ["ts", "stored", "origin", "events_seq"];

/// The archive folder, as one process writes to it.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// Tells this process's files being written from those of others.
    writer: String,
}

/// A file that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Its size.
    pub bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// A whole file that nobody sees yet. Removed when it is dropped before it is put into its place.
#[derive(Debug)]
pub struct Aside {
    folder: Folder,
    path: PathBuf,
    target: PathBuf,
    /// What is in it.
    pub written: Written,
}

impl Aside {
    /// Gives it its name, in place of what may have had it.
    ///
    /// # Errors
    /// The disk does not let us. What was there before is still there.
    pub fn put_in_place(self) -> Result<Written, Trouble> {
        let parent = self.target.parent().unwrap_or(&self.folder.root);
        let named = fs::rename(&self.path, &self.target).and_then(|()| self.folder.sync(parent));
        named.map_err(|error| Trouble::new(&self.target, error))?;
        Ok(self.written.clone())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Gone when it is in place. It would only take up space; where it cannot be removed, the next attempt does.
        let _ = fs::remove_file(&self.path);
    }
}

/// The disk does not let us write.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {} ({fix}; nothing is lost, what is not archived stays in NATS and in the database)", .path.display())]
pub struct Trouble {
    path: PathBuf,
    fix: &'static str,
    source: io::Error,
}

impl Trouble {
    fn new(path: &Path, source: io::Error) -> Self {
        let fix = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free disk space",
            io::ErrorKind::PermissionDenied => "give this user write access to the folder",
            io::ErrorKind::ReadOnlyFilesystem => "make the file system writable",
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                "move away the file that is where the folder should be"
            }
            _ => "see to the disk, or set archive.folder to another one",
        };
        Self {
            path: path.to_owned(),
            fix,
            source,
        }
    }
}

impl Folder {
    /// The folder, for a writer with a name of its own.
    pub fn new(root: &Path, writer: &str) -> Self {
        Self {
            root: root.to_owned(),
            writer: writer.to_owned(),
        }
    }

    /// Writes rows aside the file with this path in the folder, whether or not that is there. `contents`: what the file
    /// says about itself and those written with it.
    ///
    /// # Errors
    /// The disk is full or does not let us write.
    pub fn write_aside(&self, path: &str, rows: &RecordBatch, contents: &str) -> Result<Aside, Trouble> {
        let target = self.root.join(path);
        let parent = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(|error| Trouble::new(parent, error))?;
        remove_left_over(&target);
        let mut name = target.clone().into_os_string();
        name.push(format!(".{}{ASIDE}", self.writer));
        let mut aside = Aside {
            folder: self.clone(),
            path: PathBuf::from(name),
            target,
            written: Written::default(),
        };
        aside.written =
            write_file(&aside.path, rows, contents).map_err(|error| Trouble::new(&aside.target, error))?;
        Ok(aside)
    }

    /// Makes a new name survive a crash: a folder's own, and those of the folders that may be new.
    fn sync(&self, folder: &Path) -> io::Result<()> {
        for folder in folder
            .ancestors()
            .take_while(|folder| folder.starts_with(&self.root))
        {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Removes what processes that were killed long ago left half written. Fresh ones may still be in work; they go
    /// when their job is done again.
    pub fn sweep(&self) {
        for path in walk(&self.root) {
            let is_aside = path.to_string_lossy().ends_with(ASIDE);
            if is_aside && age(&path).is_some_and(|age| age > ABANDONED) {
                remove(&path);
            }
        }
    }
}

/// Removes what others left of the same file when they were killed.
fn remove_left_over(target: &Path) {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return;
    };
    let name = name.to_string_lossy();
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        if found.starts_with(&*name) && found.ends_with(ASIDE) {
            remove(&entry.path());
        }
    }
}

fn remove(path: &Path) {
    let file = path.display();
    match fs::remove_file(path) {
        Ok(()) => tracing::info!(worker = "archive", %file, "removed what was left half written"),
        Err(error) => tracing::warn!(worker = "archive", %file, %error, "what was left half written stays"),
    }
}

/// How long ago a file was last written to.
pub(crate) fn age(path: &Path) -> Option<Duration> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    SystemTime::now().duration_since(modified).ok()
}

/// All files below a folder, as deep as the archive goes. What cannot be read is passed over.
pub(crate) fn walk(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < 8 => folders.push((entry.path(), depth + 1)),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort_unstable();
    files
}

fn write_file(path: &Path, rows: &RecordBatch, contents: &str) -> io::Result<Written> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let mut out = Hashing {
        inner: BufWriter::with_capacity(1 << 20, file),
        hash: Sha256::new(),
        bytes: 0,
    };
    let mut writer =
        ArrowWriter::try_new(&mut out, rows.schema(), Some(properties(contents))).map_err(as_io)?;
    writer.write(rows).map_err(as_io)?;
    writer.close().map_err(as_io)?;
    out.inner.flush()?;
    out.inner.get_ref().sync_all()?;
    let digest = out.hash.finalize();
    let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Written {
        bytes: out.bytes,
        sha256: digits.concat(),
    })
}

fn properties(contents: &str) -> WriterProperties {
    let contents = KeyValue::new(METADATA_KEY.to_owned(), contents.to_owned());
    let mut properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![contents]))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for column in GROWING {
        properties = properties
            .set_column_dictionary_enabled(column.into(), false)
            .set_column_encoding(column.into(), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

/// The error of the disk, where the writer carries one.
fn as_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

/// Counts and hashes what passes through.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
