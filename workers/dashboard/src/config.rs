//! The configuration section `dashboard`.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Settings of the dashboard. Unknown keys are rejected; absent ones take the default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the pages. Loopback only: there is no authentication yet.
    pub listen: SocketAddr,
    /// How many live streams (browser tabs) are served at once, 1 to 1024; further ones get 503.
    pub viewers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
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
        let Self { listen, viewers_max } = self;
        ensure!(
            listen.ip().is_loopback(),
            "dashboard.listen is {listen}, which other machines can reach, and there is no authentication yet: \
             use 127.0.0.1:{port} (config key dashboard.listen or AIAI__DASHBOARD__LISTEN) \
             and reach it from elsewhere through `ssh -L {port}:127.0.0.1:{port} <this host>`",
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
