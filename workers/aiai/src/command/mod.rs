//! Commands that are not long-running processes; one file each.

pub mod archive;
pub mod config;
pub mod dead;
pub mod health;
pub mod ledger;
pub mod metrics;
pub mod period;
pub mod prices;
pub mod publish;
pub mod query;
pub mod route;
mod sql;
pub mod status;
pub mod tap;
pub mod topology;
pub mod usage;

use bus::{CancellationToken, Context};

use crate::config::Config;

/// A connection for a command.
pub async fn connect(config: &Config) -> bus::Result<Context> {
    Context::connect(&config.nats, &config.streams, "cli", CancellationToken::new()).await
}
