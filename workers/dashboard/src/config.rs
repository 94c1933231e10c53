//! The configuration section `dashboard`.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Settings of the dashboard. Unknown keys are rejected; absent ones take the default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the page. Loopback only, unless `allow_non_loopback`: there is no authentication yet.
    pub listen: SocketAddr,
    /// Lets `listen` be an address that other machines may reach. Safe only where something else keeps strangers
    /// out: a container whose port is published on a loopback address, or a proxy that asks who it is.
    pub allow_non_loopback: bool,
    /// How many live streams (browser tabs) are served at once, 1 to 1024; further ones get 503.
    pub viewers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            allow_non_loopback: false,
            viewers_max: 64,
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
            viewers_max,
        } = self;
        ensure!(
            listen.ip().is_loopback() || *allow_non_loopback,
            "dashboard.listen is {listen}, which other machines can reach, and there is no authentication yet: \
             use 127.0.0.1:{port} (config key dashboard.listen or AIAI__DASHBOARD__LISTEN) \
             and reach it from elsewhere through `ssh -L {port}:127.0.0.1:{port} <this host>`; in a container, or \
             behind a proxy that asks for credentials, set dashboard.allow_non_loopback=true",
            port = listen.port(),
        );
        ensure!(
            (1..=1024).contains(viewers_max),
            "dashboard.viewers_max is {viewers_max}: use 1 to 1024"
        );
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
    fn other_machines_are_let_in_only_when_that_is_said() {
        let open = r#"{"listen":"0.0.0.0:8000","allow_non_loopback":true}"#;
        serde_json::from_str::<Config>(open).unwrap().validate().unwrap();
        let silent: Config = serde_json::from_str(r#"{"listen":"0.0.0.0:8000"}"#).unwrap();
        let error = silent.validate().unwrap_err().to_string();
        assert!(error.contains("dashboard.allow_non_loopback=true"), "{error}");
    }

    #[test]
    fn unknown_keys_and_values_out_of_bounds_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"lisen":"127.0.0.1:1"}"#).is_err());
        for (text, key) in [
            (r#"{"listen":"0.0.0.0:8000"}"#, "dashboard.listen"),
            (r#"{"listen":"[::]:8000"}"#, "dashboard.listen"),
            (r#"{"viewers_max":0}"#, "dashboard.viewers_max"),
            (r#"{"viewers_max":1025}"#, "dashboard.viewers_max"),
        ] {
            let config: Config = serde_json::from_str(text).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
