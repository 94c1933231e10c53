//! A preview of the look, for developers of the page: it serves made-up, moving numbers and measures nothing.
//!
//! `cargo run --release -p dashboard --example preview [full|trouble|empty|down|lost|silent] [port]`

#![allow(clippy::print_stdout, reason = "a developer's tool says where it listens")]

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dashboard::{Asked, Config, Queries, QueryError, RouteError};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use schemas::live::{Alert, Body, Message, Pipeline, Problem, Snapshot, Stream};
use schemas::overview::{
    BUCKET_SECONDS, BUCKETS, DatabaseInfo, KindTotal, Ledger, NodeVitals, Overview, Rate, RateSeries,
    SourceActivity, UsageToday,
};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Preview {
    scene: String,
    started: Instant,
}

impl Preview {
    fn told(&self) -> schemas::live::Overview {
        let mut told = schemas::live::Overview::default();
        told.sink.answered_ms = Some(now_ms());
        told.alerts.answered_ms = told.sink.answered_ms;
        told.alerts.value = Some(match self.scene.as_str() {
            "trouble" => alerts(),
            _ => vec![],
        });
        match self.scene.as_str() {
            "down" => told.sink.problem = Some(Problem::Unreachable),
            "empty" => told.sink.value = Some(empty()),
            "trouble" => told.sink.value = Some(trouble()),
            _ => told.sink.value = Some(full()),
        }
        told
    }

    fn is_lost(&self) -> bool {
        self.scene == "lost" && self.started.elapsed() > Duration::from_secs(3)
    }
}

impl Queries for Preview {
    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Message>, QueryError>> {
        let messages = stream::unfold((self.clone(), 1), |(preview, sequence)| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if preview.is_lost() {
                std::future::pending::<()>().await;
            }
            let message = Message {
                feed: "preview".to_owned(),
                sequence,
                at_ms: now_ms(),
                body: Body::Overview(Box::new(preview.told())),
            };
            Some((message, (preview, sequence + 1)))
        });
        Box::pin(async move { Ok(messages.boxed()) })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, QueryError>> {
        Box::pin(async {
            if self.scene == "silent" {
                std::future::pending::<()>().await;
            }
            if self.is_lost() {
                return Err(QueryError::Unreachable(Asked::Feed));
            }
            Ok(Snapshot {
                feed: "preview".to_owned(),
                at_ms: now_ms(),
                overview: self.told(),
                pipeline: pipeline(),
                ..Snapshot::default()
            })
        })
    }

    fn sql(&self, _: String) -> BoxFuture<'_, Result<bus::Bytes, QueryError>> {
        Box::pin(async { Err(QueryError::Unreachable(Asked::Sink)) })
    }

    fn route(&self, _: bus::Bytes) -> BoxFuture<'_, Result<bus::Bytes, RouteError>> {
        let (code, text) = (503, "there is no route worker in a preview".to_owned());
        Box::pin(async move { Err(RouteError { code, text }) })
    }
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_millis() as i64)
}

/// A repeatable number from 0 to 1 for each bucket of time.
fn noise(bucket: i64, salt: i64) -> f64 {
    let mixed = (bucket.wrapping_mul(0x9E37_79B9) ^ salt.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0x2545_F491);
    ((mixed >> 7) & 0xffff) as f64 / 65_535.0
}

/// Buckets up to now; the open one holds its part of the events.
fn rate(events: impl Fn(i64, i64) -> u64) -> Rate {
    let bucket_ms = i64::from(BUCKET_SECONDS) * 1000;
    let open = now_ms() / bucket_ms;
    let passed = (now_ms() % bucket_ms) as f64 / bucket_ms as f64;
    let series = |(salt, kind): (i64, &str)| {
        let mut counts: Vec<u64> = (0..BUCKETS as i64)
            .rev()
            .map(|back| events(open - back, salt))
            .collect();
        if let Some(last) = counts.last_mut() {
            *last = (*last as f64 * passed) as u64;
        }
        RateSeries {
            kind: kind.to_owned(),
            events: counts,
        }
    };
    let kinds: Vec<RateSeries> = [(1, "metric"), (2, "event"), (3, "usage")]
        .into_iter()
        .map(series)
        .collect();
    let last_closed: u64 = kinds.iter().map(|kind| kind.events[BUCKETS - 2]).sum();
    Rate {
        per_second_now: last_closed as f64 / f64::from(BUCKET_SECONDS),
        bucket_seconds: BUCKET_SECONDS,
        end_ms: (open + 1) * bucket_ms,
        kinds,
    }
}

fn wave(bucket: i64, salt: i64) -> u64 {
    let slow = (bucket as f64 / 11.0 + salt as f64).sin() * 0.3 + 0.7;
    let base = [0.0, 820.0, 260.0, 110.0][salt as usize];
    (base * slow * (0.75 + 0.5 * noise(bucket, salt))) as u64
}

fn empty() -> Overview {
    let database = DatabaseInfo {
        path: "data/aiai.duckdb".into(),
        bytes: 798_720,
        wal_bytes: 0,
    };
    Overview {
        at_ms: now_ms(),
        rate: rate(|_, _| 0),
        database,
        ..Overview::default()
    }
}

fn full() -> Overview {
    let now = now_ms();
    let rate = rate(wave);
    let stored = 1_000_000 + (now / 10 % 10_000_000) as u64;
    let source = |(source, events_15m, ago): (&str, u64, i64)| SourceActivity {
        source: source.to_owned(),
        events_15m,
        last_seen_ms: now - ago,
    };
    Overview {
        at_ms: now,
        newest_event_ms: Some(now - 380),
        kinds_total: vec![
            KindTotal {
                kind: "metric".into(),
                events: stored / 10 * 7,
            },
            KindTotal {
                kind: "event".into(),
                events: stored / 5,
            },
            KindTotal {
                kind: "usage".into(),
                events: stored / 10,
            },
        ],
        rate,
        sources: [
            ("planner", 48_211, 400),
            ("coder/refactor", 30_118, 900),
            ("node/atlas", 10_800, 2_100),
            ("reviewer", 4_902, 12_000),
            ("nightly-evaluation/long-context-suite", 611, 190_000),
        ]
        .map(source)
        .to_vec(),
        sources_omitted: 3,
        nodes: vec![node(now, "atlas", 1), node(now, "juniper", 2)],
        usage_today: Some(UsageToday {
            calls: 18_442,
            errors: 37,
            unpriced: 12,
            cost_usd: "214.087342100".into(),
            tokens_in: 48_220_118,
            tokens_out: 3_918_204,
            tokens_cache_read: 31_008_776,
            tokens_reasoning: 1_204_551,
        }),
        ledger: Ledger {
            epoch: "01KAGB6Z3V1Q8R4N7T5W9X2Y0C".into(),
            published: stored + 214,
            stored,
            pending: 214,
            ..Ledger::default()
        },
        dead_open: 0,
        database: DatabaseInfo {
            path: "data/aiai.duckdb".into(),
            bytes: 734_003_200,
            wal_bytes: 4_214_000,
        },
    }
}

fn pipeline() -> Pipeline {
    let stream = |name: &str| Stream {
        name: name.to_owned(),
        ..Stream::default()
    };
    Pipeline {
        server: "127.0.0.1:4222".into(),
        streams: ["INGEST", "EVENTS", "DEAD"].map(stream).to_vec(),
        ..Pipeline::default()
    }
}

fn alerts() -> Vec<Alert> {
    let alert = |(rule, severity, message, ago_ms): (&str, &str, &str, i64)| Alert {
        rule: rule.to_owned(),
        severity: severity.to_owned(),
        key: "coder/refactor".to_owned(),
        message: message.to_owned(),
        count: 1_204,
        first_ms: now_ms() - ago_ms - 50_000,
        last_ms: now_ms() - ago_ms,
    };
    let mut alerts: Vec<Alert> = [
        ("disk_full", "critical", "the disk of atlas is 97 % full", 300_000),
        (
            "rule_failed",
            "warning",
            "rule slow-calls: value.latency is not a number",
            12_000,
        ),
        (
            "a-rule-whose-author-likes-long-and-telling-names",
            "warning",
            "more than 100 calls a minute failed, by provider and model",
            400_000,
        ),
    ]
    .map(alert)
    .to_vec();
    alerts.extend((0..12).map(|n| alert(("deploy", "info", "a new version is out", n * 60_000))));
    alerts
}

fn trouble() -> Overview {
    let mut overview = full();
    overview.rate = rate(|bucket, salt| match bucket % 97 {
        20..34 => 0,
        50 => 60_000,
        _ => wave(bucket, salt),
    });
    overview.newest_event_ms = Some(now_ms() - 130_000);
    overview.ledger.dead = 3;
    overview.ledger.missing = 2;
    overview.ledger.duplicates = 4;
    overview.ledger.published += 5;
    overview.nodes[1].at_ms -= 95_000;
    overview
}

fn node(now: i64, host: &str, salt: i64) -> NodeVitals {
    let bucket = now / 10_000;
    let history = |salt: i64, base: f64, swing: f64| -> Vec<Option<f64>> {
        let value = |back: i64| {
            let known = !(30..41).contains(&(back + salt * 7));
            known.then(|| {
                base + swing * noise(bucket - back, salt) + swing * ((bucket - back) as f64 / 9.0).sin()
            })
        };
        (0..BUCKETS as i64).rev().map(value).collect()
    };
    let cpu_history = history(salt, 28.0, 14.0);
    NodeVitals {
        host: host.to_owned(),
        at_ms: now - 2_100,
        cpu_percent: cpu_history.last().copied().flatten(),
        memory_used_bytes: Some(11.7e9),
        memory_total_bytes: Some(33.4e9),
        load_1m: Some(1.42),
        disk_used_bytes: Some(212e9),
        disk_total_bytes: Some(512e9),
        network_rx_bytes_per_second: Some(1.84e6),
        network_tx_bytes_per_second: Some(412e3),
        cpu_history,
        memory_history: history(salt + 4, 35.0, 1.5),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let scene = arguments.next().unwrap_or_else(|| "full".to_owned());
    let port: u16 = arguments.next().map_or(Ok(8000), |port| port.parse())?;
    let config = Config {
        listen: ([127, 0, 0, 1], port).into(),
        ..Config::default()
    };
    let listener = dashboard::bind(&config).await?;
    let shutdown = CancellationToken::new();
    println!(
        "preview of the look, scene {scene}, with made-up numbers: http://{}/",
        listener.local_addr()?
    );
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    dashboard::serve(
        config,
        Arc::new(Preview {
            scene,
            started: Instant::now(),
        }),
        listener,
        shutdown,
    )
    .await
}
