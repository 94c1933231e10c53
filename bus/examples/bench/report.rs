//! The figures of one run, as a table with their targets and as JSON.

use serde::Serialize;

use crate::BATCH_EVENTS;
use crate::load::EVENT;

/// What an idle `aiai up` costs, without its nats-server.
#[derive(Default, Serialize)]
pub struct Idle {
    pub cpu_percent: f64,
    pub memory_megabytes: f64,
}

/// What a round cost the process under test.
#[derive(Default, Serialize)]
pub struct Cost {
    /// Of processor time, both cores together.
    pub microseconds_an_event: f64,
    /// At its highest.
    pub memory_megabytes: f64,
}

/// From publish to queryable, at one rate.
#[derive(Default, Serialize)]
pub struct Latency {
    pub per_second: f64,
    pub events: usize,
    pub p50_milliseconds: f64,
    pub p99_milliseconds: f64,
}

/// A backlog stored, and bytes on disk, in megabytes for a million events.
#[derive(Default, Serialize)]
pub struct Drained {
    pub per_second: f64,
    pub memory_megabytes: f64,
    pub ingest_megabytes_a_million: f64,
    pub events_megabytes_a_million: f64,
    pub database_megabytes_a_million: f64,
}

/// Everything measured; rates are events a second, one for each round.
#[derive(Default)]
pub struct Figures {
    pub messages: u64,
    pub backlog: u64,
    pub relay: Vec<f64>,
    pub pipeline: Vec<f64>,
    pub all_workers: Vec<f64>,
    pub batched: Vec<f64>,
    pub limit: f64,
    pub cost: Cost,
    pub memory_megabytes: f64,
    pub latencies: Vec<Latency>,
    pub drained: Drained,
    pub recovery: Vec<f64>,
    pub chart_milliseconds: f64,
    pub idle: Idle,
}

/// What a ratio or figure is to be.
enum Target {
    AtLeast(f64),
    AtMost(f64),
    None,
}

/// A line of the table.
struct Line {
    what: String,
    value: f64,
    decimals: usize,
    unit: &'static str,
    target: Target,
}

impl Figures {
    fn lines(&self) -> Vec<Line> {
        let line = |what: &str, value, decimals, unit, target| Line {
            what: what.to_owned(),
            value,
            decimals,
            unit,
            target,
        };
        let (relay, pipeline) = (median(&self.relay), median(&self.pipeline));
        let (all, batched) = (median(&self.all_workers), median(&self.batched));
        let (ratio, drained) = ("×", &self.drained);
        let rate = "events/s";
        let mut lines = vec![
            line("bare relay", relay, 0, "messages/s", Target::None),
            line("ingest and sink", pipeline, 0, rate, Target::None),
            line("… of the relay", pipeline / relay, 2, ratio, Target::AtLeast(0.8)),
            line("… processor time of aiai", self.cost.microseconds_an_event, 1, "µs/event", Target::None),
            line("all workers", all, 0, rate, Target::None),
            line("… of the relay", all / relay, 2, ratio, Target::AtLeast(0.65)),
            line("… of ingest and sink", all / pipeline, 2, ratio, Target::AtLeast(0.8)),
            line("one thread, no NATS", self.limit, 0, rate, Target::None),
            line("messages of many events", batched, 0, rate, Target::None),
            line("… of one thread", batched / self.limit, 2, ratio, Target::AtLeast(0.5)),
            line("memory under load", self.memory_megabytes, 0, "MB", Target::AtMost(400.0)),
        ];
        for latency in &self.latencies {
            let at = |quantile: &str| format!("queryable, {quantile}, {:.0} events/s", latency.per_second);
            lines.push(line(&at("p50"), latency.p50_milliseconds, 0, "ms", Target::AtMost(250.0)));
            lines.push(line(&at("p99"), latency.p99_milliseconds, 0, "ms", Target::AtMost(1000.0)));
        }
        let slowest = self.recovery.iter().copied().fold(0.0, f64::max);
        lines.extend([
            line("backlog stored", drained.per_second, 0, rate, Target::None),
            line("… of live", drained.per_second / pipeline, 2, ratio, Target::AtLeast(1.5)),
            line("… memory", drained.memory_megabytes, 0, "MB", Target::AtMost(400.0)),
            line("recovery after kill -9, slowest", slowest, 1, "s", Target::AtMost(5.0)),
            line("disk: INGEST", drained.ingest_megabytes_a_million, 0, "MB/million", Target::None),
            line("disk: EVENTS", drained.events_megabytes_a_million, 0, "MB/million", Target::None),
            line("disk: DuckDB", drained.database_megabytes_a_million, 0, "MB/million", Target::None),
            line("chart of 30 days", self.chart_milliseconds, 0, "ms", Target::AtMost(150.0)),
            line("idle processor", self.idle.cpu_percent, 2, "% of a core", Target::AtMost(2.0)),
            line("idle memory", self.idle.memory_megabytes, 0, "MB", Target::AtMost(150.0)),
        ]);
        lines
    }

    /// As a table.
    pub fn print(&self) {
        println!(
            "single events of {} bytes, {} a round; {BATCH_EVENTS} in a message of many; medians of {} rounds; a backlog of {}",
            EVENT.len(),
            self.messages,
            self.relay.len(),
            self.backlog
        );
        println!("{:<36} {:>10} {:<12} {:<10}", "", "measured", "", "target");
        for line in self.lines() {
            let value = format!("{:.*}", line.decimals, line.value);
            let target = match line.target {
                Target::AtLeast(target) => judged("≥", target, line.value >= target),
                Target::AtMost(target) => judged("≤", target, line.value <= target),
                Target::None => String::new(),
            };
            let text = format!("{:<36} {value:>10} {:<12} {target}", line.what, line.unit);
            println!("{}", text.trim_end());
        }
        for (name, rates) in [
            ("bare relay", &self.relay),
            ("ingest and sink", &self.pipeline),
            ("all workers", &self.all_workers),
            ("messages of many events", &self.batched),
        ] {
            println!("rounds of {name}: {}", each(rates));
        }
    }

    /// Everything, in the units that the names end with.
    pub fn json(&self) -> serde_json::Value {
        let (relay, pipeline) = (median(&self.relay), median(&self.pipeline));
        serde_json::json!({
            "messages": self.messages, "payload_bytes": EVENT.len(), "events_a_batched_message": BATCH_EVENTS,
            "relay_per_second": self.relay,
            "pipeline_per_second": self.pipeline, "pipeline_to_relay": pipeline / relay,
            "pipeline_microseconds_an_event": self.cost.microseconds_an_event,
            "all_workers_per_second": self.all_workers,
            "all_workers_to_relay": median(&self.all_workers) / relay,
            "all_workers_to_pipeline": median(&self.all_workers) / pipeline,
            "batched_per_second": self.batched, "one_thread_per_second": self.limit,
            "batched_to_one_thread": median(&self.batched) / self.limit,
            "memory_megabytes": self.memory_megabytes,
            "latencies": self.latencies,
            "backlog": self.backlog, "backlog_stored": self.drained,
            "backlog_to_pipeline": self.drained.per_second / pipeline,
            "recovery_seconds": self.recovery,
            "chart_milliseconds": self.chart_milliseconds, "idle": self.idle,
        })
    }
}

fn judged(sign: &str, target: f64, held: bool) -> String {
    format!("{sign} {target:<8} {}", if held { "yes" } else { "NO" })
}

/// The middle one; of an even number the lower one, which flatters nobody.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

fn each(values: &[f64]) -> String {
    let texts: Vec<_> = values.iter().map(|value| format!("{value:.0}")).collect();
    texts.join(", ")
}
