//! Connecting: one named connection a worker, reconnecting for ever once it stood.
//!
//! The first connection must succeed within its timeout: a wrong URL ends in one clear message
//! and not in a process that waits for ever. Later losses are repaired silently.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The oldest server whose JetStream has what we use.
pub(crate) const SERVER_NEEDED: &str = "2.12.0";

/// Messages a subscription buffers; exceeds 1.5 × the largest pull, so that none is dropped.
const SUBSCRIPTION_CAPACITY: usize = 64 * 1024;

/// A connection whose other end has vanished without a word is given up after three unanswered pings.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The `[nats]` section.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// A running server, `nats://[user:password@]host:port`, several separated by commas.
    /// Empty: `aiai up` starts its own; other commands use 127.0.0.1:4222.
    pub url: String,
    /// A `.creds` file; empty: none.
    pub credentials_file: PathBuf,
    /// The address on which `aiai up` lets its own server listen.
    pub listen: std::net::SocketAddr,
    /// How long the first connection may take.
    pub connect_timeout_seconds: u32,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            credentials_file: PathBuf::new(),
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 4222)),
            connect_timeout_seconds: 5,
        }
    }
}

impl NatsConfig {
    /// The URL to connect to.
    #[must_use]
    pub fn effective_url(&self) -> String {
        if self.url.is_empty() {
            format!("nats://{}", self.listen)
        } else {
            self.url.clone()
        }
    }
}

/// `nats://user:secret@host:4222` without what precedes the `@`.
#[must_use]
pub fn without_credentials(url: &str) -> String {
    url.split(',')
        .map(|one| match (one.split_once("://"), one.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            _ => one.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

/// Connects and checks the server's version and JetStream.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::Unauthorized`], [`Error::ServerTooOld`], [`Error::NoJetStream`].
pub(crate) async fn connect(config: &NatsConfig, name: &str) -> Result<async_nats::Client> {
    let url = config.effective_url();
    let shown = without_credentials(&url);
    let addresses = url
        .split(',')
        .map(|one| one.trim().parse::<ServerAddr>())
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| Error::Unreachable {
            url: shown.clone(),
            source: error.into(),
        })?;
    let timeout = Duration::from_secs(config.connect_timeout_seconds.into());
    let mut options = ConnectOptions::new()
        .name(format!("aiai-{name}"))
        .connection_timeout(timeout)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(8192)
        .read_buffer_capacity(u16::MAX)
        .ping_interval(PING_INTERVAL)
        .max_reconnects(None)
        .event_callback({
            let name = name.to_owned();
            move |event| {
                report(&name, &event);
                std::future::ready(())
            }
        });
    let path = &config.credentials_file;
    if !path.as_os_str().is_empty() {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::io(
                format!("cannot read nats.credentials_file {}", path.display()),
                error,
            )
        })?;
        options = options.credentials(&text).map_err(|error| {
            Error::io(
                format!("{} is not a NATS credentials file", path.display()),
                error,
            )
        })?;
    }
    let client = tokio::time::timeout(timeout, options.connect(addresses))
        .await
        .map_err(|elapsed| Error::Unreachable {
            url: shown.clone(),
            source: elapsed.into(),
        })?
        .map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Error::Unauthorized { url: shown.clone() }
            }
            _ => Error::Unreachable {
                url: shown.clone(),
                source: error.into(),
            },
        })?;
    let info = client.server_info();
    if too_old(&info.version) {
        return Err(Error::ServerTooOld {
            found: info.version,
            place: shown,
            needed: SERVER_NEEDED,
        });
    }
    if !info.jetstream {
        return Err(Error::NoJetStream { url: shown });
    }
    Ok(client)
}

/// Whether a version such as `2.15.1` or `2.12.0-RC.1` is below [`SERVER_NEEDED`].
pub(crate) fn too_old(version: &str) -> bool {
    match (
        semver::Version::parse(version.trim_start_matches('v')),
        semver::Version::parse(SERVER_NEEDED),
    ) {
        (Ok(found), Ok(needed)) => {
            (found.major, found.minor, found.patch) < (needed.major, needed.minor, needed.patch)
        }
        _ => true,
    }
}

fn report(name: &str, event: &Event) {
    match event {
        Event::Connected => tracing::debug!(worker = name, "connected to NATS"),
        Event::Disconnected => tracing::warn!(worker = name, "lost NATS; reconnecting"),
        Event::SlowConsumer(id) => {
            tracing::warn!(
                worker = name,
                subscription = id,
                "messages dropped by a full buffer: what a durable reads comes again, what is only looked at as it passes is gone"
            );
        }
        Event::ServerError(error) => tracing::warn!(worker = name, %error, "nats-server reports an error"),
        other => tracing::debug!(worker = name, event = %other, "NATS connection event"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show() {
        assert_eq!(without_credentials("nats://u:p@h:4222"), "nats://h:4222");
        assert_eq!(
            without_credentials("nats://u:p@a:1,nats://b:2"),
            "nats://a:1,nats://b:2"
        );
        assert_eq!(without_credentials("token@h"), "h");
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(too_old("2.9.25") && too_old("2.11.99") && too_old("garbage"));
        assert!(!too_old("2.12.0") && !too_old("2.12.0-RC.1") && !too_old("v2.15.1") && !too_old("3.0.0"));
    }
}
