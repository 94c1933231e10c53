//! The figures of one run, as text with their targets and as JSON.

use std::path::Path;

use crate::PAYLOAD;

/// What an idle `aiai up` costs, without its nats-server.
#[derive(Default)]
pub struct Idle {
    pub cpu_percent: f64,
    pub memory_megabytes: f64,
}

/// Everything measured; rates are messages a second, one for each round.
#[derive(Default)]
pub struct Figures {
    pub messages: u64,
    pub relay: Vec<f64>,
    pub pipeline: Vec<f64>,
    pub all_workers: Vec<f64>,
    pub chart_milliseconds: f64,
    pub idle: Idle,
}

impl Figures {
    /// Prints it, and writes it to the file if there is one.
    pub fn print(&self, report: Option<&Path>) -> anyhow::Result<()> {
        let (relay, pipeline, all) = (
            median(&self.relay),
            median(&self.pipeline),
            median(&self.all_workers),
        );
        let (ratio, all_ratio) = (pipeline / relay, all / pipeline);
        let bytes = PAYLOAD.len();
        println!(
            "single-event messages of {bytes} bytes, {} a round, medians of {} rounds",
            self.messages,
            self.relay.len()
        );
        let rates = |name: &str, rate: f64, each_of: &[f64]| {
            println!("  {name:<22} {rate:>10.0} messages/s   {}", each(each_of));
        };
        rates("bare relay", relay, &self.relay);
        rates("ingest and sink", pipeline, &self.pipeline);
        rates("all workers", all, &self.all_workers);
        println!("  ratio to the relay     {ratio:>10.2}              (target: at least 0.70)");
        println!("  all to ingest and sink {all_ratio:>10.2}              (target: at least 0.80)");
        println!("a chart of 30 days, hourly rollups of 1,000 series, with the start of `aiai metrics`");
        println!(
            "  time                   {:>10.0} ms           (target: at most 150)",
            self.chart_milliseconds
        );
        println!("idle, aiai up without its nats-server");
        println!(
            "  processor              {:>10.2} % of a core  (target: under 2)",
            self.idle.cpu_percent
        );
        println!(
            "  memory                 {:>10.0} MB           (target: under 150)",
            self.idle.memory_megabytes
        );
        let Some(path) = report else { return Ok(()) };
        let json = serde_json::json!({
            "messages": self.messages, "payload_bytes": bytes,
            "relay_per_second": self.relay, "pipeline_per_second": self.pipeline, "ratio": ratio,
            "all_workers_per_second": self.all_workers, "all_workers_ratio": all_ratio,
            "chart_milliseconds": self.chart_milliseconds,
            "idle_cpu_percent": self.idle.cpu_percent, "idle_memory_megabytes": self.idle.memory_megabytes,
        });
        Ok(std::fs::write(path, serde_json::to_string_pretty(&json)? + "\n")?)
    }
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn each(values: &[f64]) -> String {
    let texts: Vec<_> = values.iter().map(|value| format!("{value:.0}")).collect();
    format!("({})", texts.join(", "))
}
