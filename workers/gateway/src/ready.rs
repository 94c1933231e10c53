//! `/ready`: whether what is published now gets through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Context, StreamFigures, heartbeat, topology};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;

/// Asked more often, the last answer is good enough.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// NATS answers in time, or counts as missing.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Without them nothing comes to the database.
const WORKERS: [&str; 2] = ["ingest", "sink"];

/// What is missing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Missing {
    /// What is missing.
    problem: String,
    /// What to do about it.
    fix: String,
}

/// The answer of `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "Readiness", description = "Whether what is published now gets into the database.")]
pub(crate) struct Readiness {
    /// Whether nothing is missing.
    pub(crate) ready: bool,
    /// What is missing.
    missing: Vec<Missing>,
}

impl Readiness {
    fn new(missing: Vec<Missing>) -> Self {
        Self {
            ready: missing.is_empty(),
            missing,
        }
    }
}

fn missing(problem: impl Into<String>, fix: impl Into<String>) -> Missing {
    Missing {
        problem: problem.into(),
        fix: fix.into(),
    }
}

/// Asks seldom, whoever asks how often.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Option<(Instant, Readiness)>>>);

impl Watch {
    pub(crate) async fn look(&self, context: &Context) -> Readiness {
        // Who comes meanwhile waits for the same answer.
        let mut last = self.0.lock().await;
        if let Some((at, readiness)) = &*last
            && at.elapsed() < GOOD_FOR
        {
            return readiness.clone();
        }
        let found = tokio::time::timeout(TIMEOUT, look(context)).await;
        let readiness = Readiness::new(found.unwrap_or_else(|_| vec![silent("it does not answer in time")]));
        *last = Some((Instant::now(), readiness.clone()));
        readiness
    }
}

fn silent(why: &str) -> Missing {
    missing(format!("NATS: {why}"), "see that nats-server runs: `aiai status`")
}

async fn look(context: &Context) -> Vec<Missing> {
    if !context.is_connected() {
        return vec![silent("no connection")];
    }
    let mut all = Vec::new();
    for name in [topology::INGEST, topology::EVENTS] {
        match context.stream_figures(name).await {
            Ok(figures) => all.extend(full(&figures)),
            Err(error) => all.push(missing(
                format!("stream {name}: {}", bus::chain(&error)),
                "aiai topology apply, or start aiai",
            )),
        }
    }
    match heartbeat::present(context).await {
        Ok(beats) => {
            let lives = |name: &str| beats.iter().any(|(beat, _)| beat.worker == name);
            let dead = WORKERS.into_iter().filter(|name| !lives(name));
            all.extend(dead.map(|name| missing(format!("no worker {name} lives"), format!("aiai run {name}"))));
        }
        Err(error) => all.push(silent(&bus::chain(&error))),
    }
    all
}

/// Whether a message of the largest size is refused.
fn full(figures: &StreamFigures) -> Option<Missing> {
    let StreamFigures {
        name,
        bytes,
        bytes_max,
        ..
    } = figures;
    let bytes_max = (*bytes_max)?;
    let room = bytes_max.saturating_sub(*bytes);
    (room < topology::MESSAGE_BYTES_MAX as u64).then(|| {
        missing(
            format!("stream {name} is full: {bytes} of {bytes_max} bytes"),
            "see with `aiai status` which worker is behind",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_full_when_a_large_message_has_no_room() {
        let figures = |bytes, bytes_max| StreamFigures {
            name: "INGEST".into(),
            messages: 1,
            bytes,
            bytes_max,
            last_sequence: 1,
            durables: vec![],
        };
        let megabyte = topology::MESSAGE_BYTES_MAX as u64;
        assert_eq!(full(&figures(u64::MAX, None)), None);
        assert_eq!(full(&figures(megabyte, Some(2 * megabyte))), None);
        let found = full(&figures(megabyte + 1, Some(2 * megabyte))).unwrap();
        assert!(found.problem.contains("INGEST is full"), "{found:?}");
    }
}
