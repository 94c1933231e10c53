//! `aiai dead`: dead letters, from the list to the replay.
//!
//! Letters are read from the database, through the sink; what is done about them goes to NATS: the message, then a
//! note on stream DEAD that the sink applies. Which letters can be replayed, and how, is decided in [`plan`] (pure).

mod confirm;
mod contents;
mod drop;
mod list;
mod notes;
mod plan;
mod replay;
mod results;
mod select;
mod show;

use std::process::ExitCode;

use crate::cli::dead::DeadCommand;
use crate::config::Config;

/// Does what was asked.
pub async fn run(config: &Config, command: &DeadCommand) -> anyhow::Result<ExitCode> {
    match command {
        DeadCommand::List(options) => list::list(config, options).await,
        DeadCommand::Show(options) => show::show(config, options).await,
        DeadCommand::Replay(options) => replay::replay(config, options).await,
        DeadCommand::Drop(options) => drop::drop_letters(config, options).await,
    }
}
