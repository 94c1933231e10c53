//! node: this machine's processor, memory, disks, network and load, every few seconds.
//!
//! Publishes to `ingest.metric` exactly as any agent would: an array of metrics, acknowledged.
//! A sample that cannot be published is left out; the gap is shown as a gap.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::{Bytes, Context};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sysinfo::{Disks, Networks, System};

/// The `[node]` section.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Between two samples.
    pub interval_seconds: u32,
    /// The machine's name in the data; empty: its host name.
    pub host: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval_seconds: 5,
            host: String::new(),
        }
    }
}

/// Samples until the process is to end.
///
/// # Errors
/// When the interval is 0, or the machine does not let itself be read.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.interval_seconds > 0,
        "node.interval_seconds is 0; use 1 or more"
    );
    let host = if config.host.is_empty() {
        bus::heartbeat::host()
    } else {
        config.host
    };
    let mut ticks = tokio::time::interval(Duration::from_secs(config.interval_seconds.into()));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sampler =
        Sampler::new(host).context("this machine's vital signs cannot be read; run without worker node")?;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = context.shutdown().cancelled() => return Ok(()),
        }
        // Reading /proc and statfs blocks.
        let (back, payload) = tokio::task::spawn_blocking(move || {
            let payload = sampler.sample();
            (sampler, payload)
        })
        .await?;
        sampler = back;
        let Some(payload) = payload else { continue };
        let published = tokio::select! {
            published = context.publish("ingest.metric", payload) => published,
            () = context.shutdown().cancelled() => return Ok(()),
        };
        match published {
            Ok(_) => context.set_trouble(None),
            Err(error) => {
                let text = bus::chain(&error);
                tracing::warn!(worker = "node", error = text, "sample not published");
                context.set_trouble(Some(text));
            }
        }
    }
}

/// Holds what rates are computed from.
struct Sampler {
    host: String,
    system: System,
    disks: Disks,
    networks: Networks,
    before: Option<Instant>,
}

impl Sampler {
    fn new(host: String) -> anyhow::Result<Self> {
        Ok(Self {
            host,
            system: System::new()?,
            disks: Disks::new_with_refreshed_list()?,
            networks: Networks::new_with_refreshed_list()?,
            before: None,
        })
    }

    /// One array of metrics; `None` for the first call, which has no rates yet.
    fn sample(&mut self) -> Option<Bytes> {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.disks.refresh(true);
        self.networks.refresh(true);
        let elapsed = self
            .before
            .replace(Instant::now())?
            .elapsed()
            .as_secs_f64()
            .max(0.001);
        let mut metrics = vec![
            self.metric("node.cpu_percent", f64::from(self.system.global_cpu_usage())),
            self.metric("node.memory_used_bytes", float(self.system.used_memory())),
            self.metric("node.memory_total_bytes", float(self.system.total_memory())),
            self.metric("node.swap_used_bytes", float(self.system.used_swap())),
        ];
        if let Ok(load) = System::load_average() {
            metrics.push(self.metric("node.load_1m", load.one));
            metrics.push(self.metric("node.load_5m", load.five));
            metrics.push(self.metric("node.load_15m", load.fifteen));
        }
        let (mut received, mut sent) = (0, 0);
        for (name, network) in self.networks.iter() {
            if name != "lo" && name != "lo0" {
                received += network.received();
                sent += network.transmitted();
            }
        }
        metrics.push(self.metric("node.network_rx_bytes_per_second", float(received) / elapsed));
        metrics.push(self.metric("node.network_tx_bytes_per_second", float(sent) / elapsed));
        metrics.extend(self.disk_metrics());
        Some(Bytes::from(Value::Array(metrics).to_string()))
    }

    /// The disk that holds `/`, and every other real one once.
    fn disk_metrics(&self) -> Vec<Value> {
        let mut seen = std::collections::BTreeSet::new();
        let mut metrics = Vec::new();
        for disk in self.disks.iter() {
            let total = disk.total_space();
            if total == 0 || !seen.insert(disk.name().to_owned()) {
                continue;
            }
            let mount = disk.mount_point().to_string_lossy().into_owned();
            let used = total.saturating_sub(disk.available_space());
            for (name, bytes) in [("node.disk_used_bytes", used), ("node.disk_total_bytes", total)] {
                let mut metric = self.metric(name, float(bytes));
                metric["tags"]["mount"] = json!(mount);
                metrics.push(metric);
            }
        }
        metrics
    }

    fn metric(&self, name: &str, value: f64) -> Value {
        json!({
            "name": name, "value": value, "metric_type": "gauge",
            "source": format!("node/{}", self.host), "tags": {"host": self.host},
        })
    }
}

/// Bytes as the number a metric carries; exact up to 8 PiB.
#[allow(clippy::cast_precision_loss)]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_sample_has_every_vital_sign_and_the_host() {
        let mut sampler = Sampler::new("test-host".into()).expect("vital signs");
        assert!(sampler.sample().is_none());
        let payload = sampler.sample().expect("a sample");
        let metrics: Vec<Value> = serde_json::from_slice(&payload).expect("an array");
        for name in [
            "node.cpu_percent",
            "node.memory_used_bytes",
            "node.memory_total_bytes",
            "node.load_1m",
        ] {
            let metric = metrics.iter().find(|metric| metric["name"] == name).expect(name);
            assert!(metric["value"].as_f64().expect("a number") >= 0.0);
            assert_eq!(metric["source"], "node/test-host");
            assert_eq!(metric["tags"]["host"], "test-host");
        }
    }
}
