//! What the gateway counts, for `/metrics`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::StatusCode;

use crate::problem::SORTS;

/// Counters since the start.
#[derive(Debug)]
pub(crate) struct Figures {
    answers: Vec<(StatusCode, AtomicU64)>,
    bytes: AtomicU64,
}

impl Default for Figures {
    fn default() -> Self {
        let mut statuses: Vec<_> = SORTS.iter().map(|sort| sort.status).collect();
        statuses.extend([StatusCode::OK, StatusCode::ACCEPTED]);
        statuses.sort_unstable();
        statuses.dedup();
        Self {
            answers: statuses.into_iter().map(|status| (status, AtomicU64::new(0))).collect(),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Figures {
    pub(crate) fn answered(&self, status: StatusCode) {
        if let Some((_, count)) = self.answers.iter().find(|(known, _)| *known == status) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn accepted(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// The Prometheus text format; `under_way` requests, and bodies of so many bytes, are held now.
    pub(crate) fn write(&self, text: &mut String, under_way: usize, held_bytes: usize) {
        text.push_str(
            "# HELP aiai_gateway_answers_total Requests answered, by status.\n\
             # TYPE aiai_gateway_answers_total counter\n",
        );
        for (status, count) in &self.answers {
            let (status, count) = (status.as_u16(), count.load(Relaxed));
            line(text, &format!("aiai_gateway_answers_total{{status=\"{status}\"}}"), count);
        }
        for (name, kind, help, value) in [
            (
                "aiai_gateway_accepted_bytes_total",
                "counter",
                "Bytes of accepted bodies, unpacked.",
                self.bytes.load(Relaxed),
            ),
            (
                "aiai_gateway_requests",
                "gauge",
                "Requests being checked or stored now.",
                under_way as u64,
            ),
            (
                "aiai_gateway_held_bytes",
                "gauge",
                "Bytes of bodies held now.",
                held_bytes as u64,
            ),
        ] {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            line(text, name, value);
        }
    }
}

fn line(text: &mut String, series: &str, value: u64) {
    let written = writeln!(text, "{series} {value}");
    debug_assert!(written.is_ok(), "a string takes everything");
}
