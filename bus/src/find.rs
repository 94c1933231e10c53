//! Finding a nats-server executable that is new enough.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::connect::{SERVER_NEEDED, too_old};
use crate::error::{Error, Result};

/// Finds the executable: `$NATS_SERVER`, `.tools/` here or in a parent folder, PATH.
///
/// # Errors
/// [`Error::ServerNotFound`]; [`Error::Io`] when `$NATS_SERVER` names no file; [`Error::ServerTooOld`].
pub fn find() -> Result<PathBuf> {
    let path = locate()?;
    let output = Command::new(&path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Error::io(
                format!(
                    "cannot execute {}; set NATS_SERVER to a nats-server",
                    path.display()
                ),
                error,
            )
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .trim()
        .rsplit([' ', ':'])
        .next()
        .unwrap_or_default()
        .trim_start_matches('v')
        .to_owned();
    if too_old(&version) {
        return Err(Error::ServerTooOld {
            found: if version.is_empty() {
                "(no version)".into()
            } else {
                version
            },
            place: path.display().to_string(),
            needed: SERVER_NEEDED,
        });
    }
    Ok(path)
}

fn locate() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return match path.metadata() {
            Ok(_) => Ok(path),
            Err(error) => Err(Error::io(
                format!(
                    "NATS_SERVER names {}, which cannot be read; correct or unset it",
                    path.display()
                ),
                error,
            )),
        };
    }
    let here = std::env::current_dir().unwrap_or_default();
    let tools = here.ancestors().map(|folder| folder.join(".tools/nats-server"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    tools
        .chain(on_path)
        .find(|candidate| candidate.is_file())
        .ok_or(Error::ServerNotFound)
}
