//! The configuration section `gateway`.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::ensure;
use bus::Tokens;
use serde::{Deserialize, Serialize};

/// Settings of the gateway. Unknown keys are rejected; absent ones take the default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens; port 0 takes a free one, which the log names.
    pub listen: SocketAddr,
    /// Lets `listen` be an address that other machines reach, without tokens.
    pub allow_non_loopback: bool,
    /// Who may publish, and as which tenant. Empty: everybody who reaches the port.
    pub tokens: Tokens,
    /// Connections at the same time; further ones wait.
    pub connections_max: usize,
    /// Requests at the same time whose body is there; further ones get 429.
    pub requests_max: usize,
    /// Bodies held at the same time; beyond this requests get 429.
    pub bodies_max_megabytes: u32,
    /// A request's body has to be there within this time.
    pub body_timeout_seconds: u32,
    /// A connection may wait so long for the end of a request's headers, and for another request.
    pub idle_timeout_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8001)),
            allow_non_loopback: false,
            tokens: Tokens::default(),
            connections_max: 512,
            requests_max: 128,
            bodies_max_megabytes: 64,
            body_timeout_seconds: 20,
            idle_timeout_seconds: 30,
        }
    }
}

impl Config {
    /// Checks the bounds of every key.
    ///
    /// # Errors
    /// Names the key, its value and what is allowed.
    pub fn validate(&self) -> anyhow::Result<()> {
        let Self {
            listen,
            allow_non_loopback,
            tokens,
            connections_max,
            requests_max,
            bodies_max_megabytes,
            body_timeout_seconds,
            idle_timeout_seconds,
        } = self;
        tokens.validate("gateway", *listen, *allow_non_loopback)?;
        let seconds = 1..=600;
        for (key, value, allowed) in [
            ("connections_max", *connections_max, 1..=65_536),
            ("requests_max", *requests_max, 1..=4096),
            // At least room for the largest body, packed and unpacked.
            ("bodies_max_megabytes", *bodies_max_megabytes as usize, 4..=4095),
            ("body_timeout_seconds", *body_timeout_seconds as usize, seconds.clone()),
            ("idle_timeout_seconds", *idle_timeout_seconds as usize, seconds),
        ] {
            ensure!(
                allowed.contains(&value),
                "gateway.{key} is {value}: use {} to {}",
                allowed.start(),
                allowed.end()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn unknown_keys_and_values_out_of_bounds_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"lisen":"127.0.0.1:1"}"#).is_err());
        for (text, words) in [
            (r#"{"listen":"0.0.0.0:8001"}"#, "gateway.allow_non_loopback=true"),
            (r#"{"tokens":[{"token":"short"}]}"#, "gateway.tokens[0].token"),
            (r#"{"connections_max":0}"#, "gateway.connections_max"),
            (r#"{"requests_max":0}"#, "gateway.requests_max"),
            (r#"{"bodies_max_megabytes":3}"#, "use 4 to 4095"),
            (r#"{"body_timeout_seconds":0}"#, "gateway.body_timeout_seconds"),
            (r#"{"idle_timeout_seconds":601}"#, "gateway.idle_timeout_seconds"),
        ] {
            let config: Config = serde_json::from_str(text).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
