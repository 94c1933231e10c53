//! The figures of one run, as a table with their targets and as JSON.

use serde::Serialize;

use crate::BATCH_EVENTS;
use crate::http::{self, Rates};
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
    pub batches_by_nats: Vec<Rates>,
    pub batches_by_http: Vec<Rates>,
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
}

/// A line of the table.
struct Line {
    what: String,
    value: f64,
    decimals: usize,
    unit: &'static str,
    target: Option<Target>,
}

impl Line {
    fn new(what: impl Into<String>, value: f64, decimals: usize, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            decimals,
            unit,
            target: None,
        }
    }

    fn rate(what: &str, value: f64) -> Self {
        Self::new(what, value, 0, "events/s")
    }

    fn ratio(what: &str, value: f64, least: f64) -> Self {
        Self {
            target: Some(Target::AtLeast(least)),
            ..Self::new(what, value, 2, "×")
        }
    }

    fn at_most(self, most: f64) -> Self {
        Self {
            target: Some(Target::AtMost(most)),
            ..self
        }
    }
}

impl Figures {
    fn throughput(&self) -> Vec<Line> {
        let (relay, pipeline) = (median(&self.relay), median(&self.pipeline));
        let (all, batched) = (median(&self.all_workers), median(&self.batched));
        let cost = self.cost.microseconds_an_event;
        vec![
            Line::rate("bare relay", relay),
            Line::rate("ingest and sink", pipeline),
            Line::ratio("… of the relay", pipeline / relay, 0.8),
            Line::new("… processor time of aiai", cost, 1, "µs/event"),
            Line::rate("all workers", all),
            Line::ratio("… of the relay", all / relay, 0.65),
            Line::ratio("… of ingest and sink", all / pipeline, 0.8),
            Line::rate("one thread, no NATS", self.limit),
            Line::rate("messages of many events", batched),
            Line::ratio("… of one thread", batched / self.limit, 0.5),
            Line::new("memory under load", self.memory_megabytes, 0, "MB").at_most(400.0),
        ]
    }

    fn batches(&self) -> Vec<Line> {
        let middle =
            |rates: &[Rates], of: fn(&Rates) -> f64| median(&rates.iter().map(of).collect::<Vec<_>>());
        let (nats, http) = (&self.batches_by_nats, &self.batches_by_http);
        let stored = |rates| middle(rates, |rates| rates.stored);
        let acknowledged = |rates| middle(rates, |rates| rates.acknowledged);
        let title = |way: &str, what: &str| format!("{} events a batch, {way}, {what}", http::EVENTS);
        vec![
            Line::rate(&title("NATS", "acknowledged"), acknowledged(nats)),
            Line::rate(&title("HTTP", "acknowledged"), acknowledged(http)),
            Line::rate(&title("NATS", "stored"), stored(nats)),
            Line::rate(&title("HTTP", "stored"), stored(http)),
            Line::ratio("… of NATS", stored(http) / stored(nats), 0.75),
        ]
    }

    fn delays(&self) -> Vec<Line> {
        let slowest = self.recovery.iter().copied().fold(0.0, f64::max);
        let of = |latency: &Latency, quantile: &str, milliseconds: f64, most: f64| {
            let what = format!("queryable, {quantile}, {:.0} events/s", latency.per_second);
            Line::new(what, milliseconds, 0, "ms").at_most(most)
        };
        let mut lines: Vec<Line> = Vec::new();
        for latency in &self.latencies {
            lines.push(of(latency, "p50", latency.p50_milliseconds, 250.0));
            lines.push(of(latency, "p99", latency.p99_milliseconds, 1000.0));
        }
        lines.push(Line::new("recovery after kill -9, slowest", slowest, 1, "s").at_most(5.0));
        lines
    }

    fn backlog(&self) -> Vec<Line> {
        let drained = &self.drained;
        let disk = |what: &str, megabytes: f64| Line::new(what, megabytes, 0, "MB/million");
        vec![
            Line::rate("backlog stored", drained.per_second),
            Line::ratio("… of live", drained.per_second / median(&self.pipeline), 1.5),
            Line::new("… memory", drained.memory_megabytes, 0, "MB").at_most(400.0),
            disk("disk: INGEST", drained.ingest_megabytes_a_million),
            disk("disk: EVENTS", drained.events_megabytes_a_million),
            disk("disk: DuckDB", drained.database_megabytes_a_million),
        ]
    }

    fn rest(&self) -> Vec<Line> {
        let idle = &self.idle;
        vec![
            Line::new("chart of 30 days", self.chart_milliseconds, 0, "ms").at_most(150.0),
            Line::new("idle processor", idle.cpu_percent, 2, "% of a core").at_most(2.0),
            Line::new("idle memory", idle.memory_megabytes, 0, "MB").at_most(150.0),
        ]
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
        let lines = [
            self.throughput(),
            self.batches(),
            self.delays(),
            self.backlog(),
            self.rest(),
        ];
        for line in lines.into_iter().flatten() {
            let value = format!("{:.*}", line.decimals, line.value);
            let target = match line.target {
                Some(Target::AtLeast(target)) => judged("≥", target, line.value >= target),
                Some(Target::AtMost(target)) => judged("≤", target, line.value <= target),
                None => String::new(),
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
            "batches_by_nats": self.batches_by_nats, "batches_by_http": self.batches_by_http,
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
