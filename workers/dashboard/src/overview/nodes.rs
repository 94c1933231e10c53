//! The machines, as their worker `node` reports them.

use askama::Template;
use schemas::overview::{NodeVitals, Overview};

use super::sparkline::{Sparkline, sparkline};
use crate::format::{Amount, age, bytes, percent};

/// Machines shown at most.
const NODES_MAX: usize = 16;
/// A node reports every 5 s; after six silent turns its numbers are old.
const SILENT_MS: i64 = 30_000;

/// One card a machine.
#[derive(Template)]
#[template(path = "overview/nodes.html")]
pub(crate) struct Nodes {
    cards: Vec<NodeCard>,
    omitted: usize,
}

struct NodeCard {
    host: String,
    /// How long it has said nothing, if for too long.
    silent: Option<String>,
    gauges: [Gauge; 2],
    load: Option<String>,
    disk: Option<Share>,
    receives: Option<Amount>,
    sends: Option<Amount>,
}

/// A percentage now and over the last 15 minutes.
struct Gauge {
    name: &'static str,
    now: Option<Amount>,
    detail: Option<Share>,
    history: Sparkline,
}

/// So much of so much.
struct Share {
    used: Amount,
    total: Amount,
    percent: f64,
}

impl Share {
    fn new(used: Option<f64>, total: Option<f64>) -> Option<Self> {
        let (used, total) = (used?, total.filter(|total| *total > 0.0)?);
        let percent = (used / total * 100.0).clamp(0.0, 100.0);
        Some(Self {
            used: bytes(used),
            total: bytes(total),
            percent: (percent * 10.0).round() / 10.0,
        })
    }
}

impl Nodes {
    /// From the sink's answer.
    pub(crate) fn new(overview: &Overview) -> Self {
        let cards = overview
            .nodes
            .iter()
            .take(NODES_MAX)
            .map(|node| NodeCard::new(node, overview.at_ms));
        Self {
            cards: cards.collect(),
            omitted: overview.nodes.len().saturating_sub(NODES_MAX),
        }
    }
}

impl NodeCard {
    fn new(node: &NodeVitals, now_ms: i64) -> Self {
        let silence_ms = now_ms.saturating_sub(node.at_ms);
        let memory = Share::new(node.memory_used_bytes, node.memory_total_bytes);
        Self {
            host: node.host.clone(),
            silent: (silence_ms > SILENT_MS).then(|| age(silence_ms)),
            gauges: [
                Gauge {
                    name: "CPU",
                    now: node.cpu_percent.map(percent),
                    detail: None,
                    history: sparkline(&node.cpu_history),
                },
                Gauge {
                    name: "Memory",
                    now: memory.as_ref().map(|memory| percent(memory.percent)),
                    detail: memory,
                    history: sparkline(&node.memory_history),
                },
            ],
            load: node
                .load_1m
                .filter(|load| load.is_finite())
                .map(|load| format!("{load:.2}")),
            disk: Share::new(node.disk_used_bytes, node.disk_total_bytes),
            receives: node.network_rx_bytes_per_second.map(bytes),
            sends: node.network_tx_bytes_per_second.map(bytes),
        }
    }
}
