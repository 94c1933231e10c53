//! `/health` and Prometheus `/metrics` of the workers in this process.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::http::{self, Limits};
use crate::{gauge, heartbeat};

/// Media type of the Prometheus text format.
pub const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A few scrapers and health checks.
const LIMITS: Limits = Limits {
    connections_max: 64,
    idle_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(10),
    grace: Duration::from_secs(1),
};

/// The `[monitor]` section.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorConfig {
    /// Where `/health` and `/metrics` are served; port 0 takes a free one, which the log names.
    pub listen: SocketAddr,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// Takes the port, before any work is done.
///
/// # Errors
/// When the address is taken, or other machines could reach it.
pub async fn bind(config: &MonitorConfig) -> Result<TcpListener> {
    if !config.listen.ip().is_loopback() {
        return Err(Error::NotLoopback {
            key: "monitor.listen",
            address: config.listen,
        });
    }
    TcpListener::bind(config.listen).await.map_err(|source| {
        Error::io(
            format!(
                "cannot listen on {}; choose another monitor.listen (AIAI__MONITOR__LISTEN)",
                config.listen
            ),
            source,
        )
    })
}

/// Serves until the process is to end.
pub async fn serve(listener: TcpListener, workers: Vec<Context>, shutdown: CancellationToken) {
    let app = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(workers);
    http::serve(listener, app, LIMITS, shutdown).await;
}

async fn health(State(workers): State<Vec<Context>>) -> impl IntoResponse {
    let report: Vec<_> = workers
        .iter()
        .map(|worker| serde_json::json!({"worker": worker.worker(), "trouble": worker.trouble()}))
        .collect();
    let healthy = workers.iter().all(|worker| worker.trouble().is_none());
    let status = if healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        axum::Json(serde_json::json!({"healthy": healthy, "workers": report})),
    )
}

async fn metrics(State(workers): State<Vec<Context>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics_text(&workers))
}

/// The figures of workers in the Prometheus text format, version 0.0.4.
#[must_use]
pub fn metrics_text(workers: &[Context]) -> String {
    let beats: Vec<_> = workers
        .iter()
        .map(|worker| heartbeat::current(worker, 0))
        .collect();
    let mut text = exposition(&beats);
    for gauge in workers.iter().flat_map(Context::gauges) {
        gauge::write(&mut text, &gauge);
    }
    text
}

/// The Prometheus text format, version 0.0.4.
fn exposition(beats: &[heartbeat::Heartbeat]) -> String {
    type Figure = fn(&heartbeat::Heartbeat) -> u64;
    let families: [(&str, &str, &str, Figure); 8] = [
        (
            "aiai_messages_received_total",
            "counter",
            "Messages delivered to the worker.",
            |beat| beat.received,
        ),
        (
            "aiai_messages_acked_total",
            "counter",
            "Messages the worker acknowledged.",
            |beat| beat.acked,
        ),
        (
            "aiai_messages_retried_total",
            "counter",
            "Messages sent back for another attempt.",
            |beat| beat.retried,
        ),
        (
            "aiai_dead_letters_total",
            "counter",
            "Dead letters the worker published.",
            |beat| beat.dead,
        ),
        (
            "aiai_messages_published_total",
            "counter",
            "Messages the worker published.",
            |beat| beat.published,
        ),
        (
            "aiai_events_total",
            "counter",
            "Events the worker published or stored.",
            |beat| beat.events,
        ),
        (
            "aiai_backlog_messages",
            "gauge",
            "Messages of its input that wait.",
            |beat| beat.backlog,
        ),
        (
            "aiai_worker_healthy",
            "gauge",
            "1 when nothing hinders the worker.",
            |beat| u64::from(beat.trouble.is_none()),
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, figure) in families {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for beat in beats {
            text.push_str(&format!(
                "{name}{{worker=\"{}\",instance=\"{}\"}} {}\n",
                beat.worker,
                beat.instance,
                figure(beat)
            ));
        }
    }
    text
}
