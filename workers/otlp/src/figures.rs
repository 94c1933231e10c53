//! The worker's figures on `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bus::{Context, Gauge};

use crate::receive::Figures;

const INTERVAL: Duration = Duration::from_secs(2);

/// Shows the figures until the process is to end.
pub(crate) async fn publish(figures: &Figures, context: &Context) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => context.set_gauges(gauges(figures), INTERVAL * 5),
            () = context.shutdown().cancelled() => return,
        }
    }
}

fn gauges(figures: &Figures) -> Vec<Gauge> {
    let gauge = |name, help, figure: &AtomicU64| Gauge {
        name,
        help,
        series: vec![(vec![], figure.load(Relaxed))],
    };
    vec![
        gauge(
            "aiai_otlp_requests",
            "Requests since the start.",
            &figures.requests,
        ),
        gauge(
            "aiai_otlp_requests_refused",
            "Requests of which nothing was stored.",
            &figures.refused,
        ),
        gauge(
            "aiai_otlp_items_rejected",
            "Spans, log records and data points that could not be stored.",
            &figures.rejected,
        ),
        gauge(
            "aiai_otlp_cuts",
            "Texts and attributes cut or left out because they were too large.",
            &figures.cuts,
        ),
        gauge(
            "aiai_otlp_points_without_value",
            "Data points that say themselves that they have no value.",
            &figures.without_value,
        ),
    ]
}
