//! Files whose content the tests decide. `AIAI_BLESS=1` writes them anew; read the difference before keeping it.

use std::fs;
use std::path::{Path, PathBuf};

/// A path in the crate's folder.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Compares a file with what it should hold, or writes it. The message says how to bless.
pub(crate) fn check_file(path: &Path, wanted: &[u8]) -> Result<(), String> {
    if std::env::var_os("AIAI_BLESS").is_some_and(|value| value == "1") {
        return fs::write(path, wanted).map_err(|error| format!("{}: {error}", path.display()));
    }
    let found = fs::read(path).unwrap_or_default();
    if found == wanted {
        return Ok(());
    }
    let (path, found, wanted) = (path.display(), found.escape_ascii(), wanted.escape_ascii());
    Err(format!(
        "{path} differs; if the new text is right, run with AIAI_BLESS=1\n  file {found}\n  now  {wanted}"
    ))
}
