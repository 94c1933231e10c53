//! dashboard-feed: gathers what live views show, once for all of them.
//!
//! Reads events as they pass, alerts, heartbeats, the figures of streams, and asks the sink; writes small messages on
//! `live.>` ([`schemas::live`]) and answers `feed.snapshot`. Invariants: no message is larger than
//! [`schemas::live::MESSAGE_BYTES_MAX`], none is sent more often than four times a second on one subject, and while nobody listens only
//! heartbeats are read. A sink that does not answer hinders nothing else.
//!
//! Any number of copies may run; each tells the same. Nothing of it is stored, and nothing depends on it but views.

mod asking;
mod copies;
mod feed;
mod passing;
mod readings;
mod streams;
mod traffic;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// The `[dashboard_feed]` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often the sink is asked while somebody looks, 250 to 60 000 milliseconds.
    pub refresh_milliseconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            refresh_milliseconds: 500,
        }
    }
}

impl Config {
    fn validate(&self) -> anyhow::Result<()> {
        let Self { refresh_milliseconds } = self;
        ensure!(
            (250..=60_000).contains(refresh_milliseconds),
            "dashboard_feed.refresh_milliseconds is {refresh_milliseconds}: use 250 to 60000",
        );
        Ok(())
    }
}

/// Feeds until the process is to end.
///
/// # Errors
/// When the configuration cannot work, or the service cannot be registered.
pub async fn run(config: Config, context: bus::Context) -> anyhow::Result<()> {
    config.validate()?;
    feed::run(&config, context).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_flood_or_starve_is_refused() {
        Config::default().validate().unwrap();
        for refresh_milliseconds in [0, 249, 60_001] {
            let config = Config { refresh_milliseconds };
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("dashboard_feed.refresh_milliseconds"), "{error}");
        }
    }
}
