//! Events as Parquet files, for ever: plans jobs, writes files, publishes what was written.
//!
//! Invariants: every sequence of EVENTS is in exactly one job (of two planners one wins, by the fence on
//! `archive.job`); a row that the sink stored is in exactly one file, one it did not store in none; a job done again
//! leaves the same bytes; what hinders a job is waited out, never a reason to give it up.
//! Deliberately absent: deleting. Files stay until somebody removes them; rows go only under the sink's hands.

mod columns;
mod config;
mod execute;
mod file;
mod part;
mod plan;
mod planner;
mod verify;

use std::path::Path;

use bus::Context;

pub use columns::Stamp;
pub use config::Config;
pub use file::{Aside, Folder, Trouble, Written};
pub use part::{DAYS_MAX, Draft, Failure, Message, PART_BYTES_MAX, Part};
pub use verify::{Listed, Problem, unlisted, verify};

/// Plans and archives until the process is to end.
///
/// # Errors
/// When the worker cannot go on.
pub async fn run(config: Config, folder: &Path, context: Context) -> anyhow::Result<()> {
    let folder = Folder::new(folder, context.instance());
    let sweeping = folder.clone();
    tokio::task::spawn_blocking(move || sweeping.sweep());
    let planning = async {
        planner::run(&config, &context).await;
        Ok(())
    };
    let executor = execute::Executor::new(folder, context.clone());
    tokio::try_join!(planning, bus::job::run(executor, 1, context.clone())).map(|_| ())
}
