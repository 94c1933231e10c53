//! What machines say about themselves: the newest values, and 15 minutes of CPU and memory.

use std::collections::BTreeMap;

use schemas::overview::{BUCKETS, NodeVitals};

use crate::activity::{NodeSample, SECOND};
use crate::rate_window::{BUCKET, first_bucket};

/// Machines kept.
const HOSTS_MAX: usize = 256;
/// File systems kept of one machine.
const MOUNTS_MAX: usize = 32;
/// Buckets kept.
const SLOTS: i64 = BUCKETS as i64 + 6;

/// All machines that report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vitals {
    hosts: BTreeMap<String, Host>,
}

/// The newest value of a metric, and when it was measured in microseconds.
type Newest = (i64, f64);

#[derive(Debug, Clone, Default)]
struct Host {
    at: i64,
    cpu_percent: Option<Newest>,
    memory_used: Option<Newest>,
    memory_total: Option<Newest>,
    load_1m: Option<Newest>,
    network_rx: Option<Newest>,
    network_tx: Option<Newest>,
    disks: BTreeMap<String, Disk>,
    history: BTreeMap<i64, Bucket>,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    used: Option<Newest>,
    total: Option<Newest>,
}

/// Sums and counts of one bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    cpu: (f64, u32),
    memory_used: (f64, u32),
}

impl Vitals {
    pub(crate) fn add(&mut self, sample: &NodeSample) {
        if !self.hosts.contains_key(&sample.host) && self.hosts.len() >= HOSTS_MAX {
            let oldest = self.hosts.iter().min_by_key(|(_, host)| host.at);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                return;
            };
            self.hosts.remove(&name);
        }
        self.hosts.entry(sample.host.clone()).or_default().add(sample);
    }

    /// Every machine that reported within the window ending at `now`, in seconds since 1970.
    pub(crate) fn nodes(&self, now: i64) -> Vec<NodeVitals> {
        let first = first_bucket(now);
        let recent = self.hosts.iter();
        let recent = recent.filter(|(_, host)| host.at >= first * BUCKET * SECOND);
        recent.map(|(name, host)| host.vitals(name, first)).collect()
    }
}

impl Host {
    fn add(&mut self, sample: &NodeSample) {
        self.at = self.at.max(sample.ts);
        let bucket = sample.ts.div_euclid(BUCKET * SECOND);
        let disk = sample.mount.as_deref().unwrap_or("/");
        match sample.name.as_str() {
            "cpu_percent" => {
                newest(&mut self.cpu_percent, sample);
                count(&mut self.history.entry(bucket).or_default().cpu, sample.value);
            }
            "memory_used_bytes" => {
                newest(&mut self.memory_used, sample);
                count(
                    &mut self.history.entry(bucket).or_default().memory_used,
                    sample.value,
                );
            }
            "memory_total_bytes" => newest(&mut self.memory_total, sample),
            "load_1m" => newest(&mut self.load_1m, sample),
            "network_rx_bytes_per_second" => newest(&mut self.network_rx, sample),
            "network_tx_bytes_per_second" => newest(&mut self.network_tx, sample),
            "disk_used_bytes" if self.takes(disk) => {
                newest(&mut self.disks.entry(disk.to_owned()).or_default().used, sample);
            }
            "disk_total_bytes" if self.takes(disk) => {
                newest(&mut self.disks.entry(disk.to_owned()).or_default().total, sample);
            }
            _ => {}
        }
        while self.history.len() > SLOTS as usize {
            self.history.pop_first();
        }
    }

    fn takes(&self, mount: &str) -> bool {
        self.disks.len() < MOUNTS_MAX || self.disks.contains_key(mount)
    }

    /// The root file system, or else the largest.
    fn disk(&self) -> Option<&Disk> {
        let size = |disk: &&Disk| disk.total.map_or(0.0, |(_, bytes)| bytes);
        self.disks
            .get("/")
            .or_else(|| self.disks.values().max_by(|a, b| size(a).total_cmp(&size(b))))
    }

    fn vitals(&self, name: &str, first: i64) -> NodeVitals {
        let value = |newest: Option<Newest>| newest.map(|(_, value)| value);
        let disk = self.disk();
        let total = value(self.memory_total).filter(|total| *total > 0.0);
        let history = |of: fn(&Bucket) -> (f64, u32)| -> Vec<Option<f64>> {
            let buckets = first..first + BUCKETS as i64;
            let mean = |(sum, count): (f64, u32)| (count > 0).then(|| sum / f64::from(count));
            buckets
                .map(|bucket| self.history.get(&bucket).map(of).and_then(mean))
                .collect()
        };
        let memory = history(|bucket| bucket.memory_used);
        NodeVitals {
            host: name.to_owned(),
            at_ms: self.at.div_euclid(1000),
            cpu_percent: value(self.cpu_percent),
            memory_used_bytes: value(self.memory_used),
            memory_total_bytes: value(self.memory_total),
            load_1m: value(self.load_1m),
            disk_used_bytes: value(disk.and_then(|disk| disk.used)),
            disk_total_bytes: value(disk.and_then(|disk| disk.total)),
            network_rx_bytes_per_second: value(self.network_rx),
            network_tx_bytes_per_second: value(self.network_tx),
            cpu_history: history(|bucket| bucket.cpu),
            memory_history: memory
                .into_iter()
                .map(|used| Some(used? / total? * 100.0))
                .collect(),
        }
    }
}

fn newest(known: &mut Option<Newest>, sample: &NodeSample) {
    if known.is_none_or(|(ts, _)| ts <= sample.ts) {
        *known = Some((sample.ts, sample.value));
    }
}

fn count((sum, count): &mut (f64, u32), value: f64) {
    *sum += value;
    *count = count.saturating_add(1);
}
