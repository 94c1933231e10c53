//! The configuration section `otlp`.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::ensure;
use bus::Tokens;
use serde::{Deserialize, Serialize};

/// Settings of the worker. Unknown keys are rejected; absent ones take the default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of OTLP/HTTP; port 0 takes a free one, which the log names.
    pub listen_http: SocketAddr,
    /// Address of OTLP/gRPC, likewise.
    pub listen_grpc: SocketAddr,
    /// Lets both be addresses that other machines reach, without tokens.
    pub allow_non_loopback: bool,
    /// Who may send, and as which tenant. Empty: everybody who reaches the ports.
    pub tokens: Tokens,
    /// Connections at the same time, of each protocol; further ones wait.
    pub connections_max: usize,
    /// Megabytes of one request once it is decompressed.
    pub body_megabytes_max: usize,
    /// Megabytes of all requests at the same time, with what they are decoded to; beyond this requests get 429.
    pub memory_megabytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_http: SocketAddr::from((Ipv4Addr::LOCALHOST, 4318)),
            listen_grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 4317)),
            allow_non_loopback: false,
            tokens: Tokens::default(),
            connections_max: 512,
            body_megabytes_max: 16,
            memory_megabytes: 256,
        }
    }
}

impl Config {
    /// Checks the bounds of every key.
    ///
    /// # Errors
    /// Names the key, its value and what is allowed.
    pub fn validate(&self) -> anyhow::Result<()> {
        for listen in [self.listen_http, self.listen_grpc] {
            self.tokens.validate("otlp", listen, self.allow_non_loopback)?;
        }
        let body = self.body_megabytes_max;
        for (key, value, allowed) in [
            ("connections_max", self.connections_max, 1..=65_536),
            ("body_megabytes_max", body, 1..=64),
            // Room for the largest body, packed and unpacked, and what it is decoded to.
            (
                "memory_megabytes",
                self.memory_megabytes,
                body.saturating_mul(4)..=65_536,
            ),
        ] {
            let (from, to) = (allowed.start(), allowed.end());
            ensure!(
                allowed.contains(&value),
                "otlp.{key} is {value}: use {from} to {to}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_bounds_are_refused() {
        Config::default().validate().unwrap();
        for (json, key) in [
            (r#"{"listen_grpc":"0.0.0.0:4317"}"#, "otlp.tokens"),
            (r#"{"listen_http":"0.0.0.0:4318"}"#, "otlp.tokens"),
            (r#"{"body_megabytes_max":0}"#, "otlp.body_megabytes_max"),
            (r#"{"memory_megabytes":63}"#, "otlp.memory_megabytes"),
            (r#"{"connections_max":0}"#, "otlp.connections_max"),
        ] {
            let config: Config = serde_json::from_str(json).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
