//! The `[archive]` section.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The `[archive]` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the files are. Empty: `archive` in the data folder.
    pub folder: String,
    /// A job is planned once it has so many bytes of events.
    pub job_megabytes: u64,
    /// It holds at most so many messages.
    pub job_messages_max: u64,
    /// It is planned, however small, once its oldest message is so old.
    pub job_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            folder: String::new(),
            job_megabytes: 32,
            job_messages_max: 100_000,
            job_seconds: 3600,
        }
    }
}

impl Config {
    /// Where the files are.
    pub fn folder_in(&self, data: &Path) -> PathBuf {
        if self.folder.is_empty() {
            data.join("archive")
        } else {
            PathBuf::from(&self.folder)
        }
    }
}
