//! The configuration section `otlp`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Settings of the worker. Unknown keys are rejected; absent ones take the default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of OTLP/HTTP. Loopback only, unless there are tokens.
    pub listen_http: SocketAddr,
    /// Address of OTLP/gRPC, likewise.
    pub listen_grpc: SocketAddr,
    /// Who may send, and as which tenant. None: whoever reaches the ports.
    pub tokens: Vec<Token>,
    /// Megabytes of one request once it is decompressed, 1 to 64.
    pub body_megabytes_max: usize,
    /// Megabytes of all requests at the same time, decoded ones included: at least four times `body_megabytes_max`.
    pub memory_megabytes: usize,
}

/// What a sender shows as `Authorization: Bearer <token>`.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The secret.
    pub token: String,
    /// Whose it is.
    pub tenant: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token of {}", self.tenant)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_http: SocketAddr::from((Ipv4Addr::LOCALHOST, 4318)),
            listen_grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 4317)),
            tokens: Vec::new(),
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
        for (key, listen) in [
            ("otlp.listen_http", self.listen_http),
            ("otlp.listen_grpc", self.listen_grpc),
        ] {
            ensure!(
                listen.ip().is_loopback() || !self.tokens.is_empty(),
                "{key} is {listen}, which other machines can reach, and otlp.tokens is empty: use 127.0.0.1:{}, or \
                 give each sender a token",
                listen.port(),
            );
        }
        for token in &self.tokens {
            ensure!(
                token.token.len() >= 16 && token.token.bytes().all(|byte| byte.is_ascii_graphic()),
                "otlp.tokens has a token of tenant {} that is shorter than 16 printable characters: use a longer one",
                token.tenant
            );
            ensure!(
                is_tenant(&token.tenant),
                "otlp.tokens names the tenant {:?}: use letters, digits, - and _, at most 64",
                token.tenant
            );
        }
        let (body, memory) = (self.body_megabytes_max, self.memory_megabytes);
        ensure!((1..=64).contains(&body), "otlp.body_megabytes_max is {body}: use 1 to 64");
        ensure!(
            (body * 4..=64 * 1024).contains(&memory),
            "otlp.memory_megabytes is {memory}: use {} (four times body_megabytes_max) to 65536",
            body * 4
        );
        Ok(())
    }
}

/// Whether it can be a token of a subject.
pub(crate) fn is_tenant(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn others_are_let_in_only_with_tokens() {
        Config::default().validate().unwrap();
        let error = config(r#"{"listen_grpc":"0.0.0.0:4317"}"#).validate().unwrap_err().to_string();
        assert!(error.contains("otlp.listen_grpc") && error.contains("otlp.tokens"), "{error}");
        let open = r#"{"listen_http":"0.0.0.0:4318","tokens":[{"token":"0123456789abcdef","tenant":"acme"}]}"#;
        config(open).validate().unwrap();
        assert!(!format!("{:?}", config(open)).contains("0123456789abcdef"));
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for (json, key) in [
            (r#"{"body_megabytes_max":0}"#, "body_megabytes_max"),
            (r#"{"memory_megabytes":63}"#, "memory_megabytes"),
            (r#"{"tokens":[{"token":"short","tenant":"a"}]}"#, "tokens"),
            (r#"{"tokens":[{"token":"0123456789abcdef","tenant":"a.b"}]}"#, "tenant"),
        ] {
            let error = config(json).validate().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
