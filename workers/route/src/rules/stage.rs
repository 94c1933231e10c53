//! Rules on the bus: each EVENTS message is shown to them, and what they found goes to ALERTS.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bytes, Context, Delivery, Input, Notice, Outbox, topology};
use schemas::{Kind, alert, headers};

use super::file::Rules;
use super::matching::{Batch, Failure, Found, evaluate};

/// Alerts remembered as told; twice as many at most.
const TOLD_MAX: usize = 10_000;
/// A message that takes longer than this has costly rules.
const SLOW: Duration = Duration::from_secs(1);

/// Shows events to rules. Any number of copies.
pub struct RulesStage {
    rules: Arc<Rules>,
    told: Told,
    failed: HashSet<String>,
    slow: bool,
}

impl bus::Stage for RulesStage {
    const NAME: &'static str = "rules";
    type Config = Arc<Rules>;

    fn input() -> Input {
        Input::new(topology::EVENTS, Self::NAME)
    }

    fn start(rules: Self::Config, _: &Context) -> anyhow::Result<Self> {
        Ok(Self {
            rules,
            told: Told::default(),
            failed: HashSet::new(),
            slow: false,
        })
    }

    fn process(&mut self, message: &Delivery, out: &mut Outbox) -> Result<(), bus::Failure> {
        let kind = message.subject().rsplit('.').next().and_then(Kind::parse);
        let Some(kind) = kind.filter(|kind| self.rules.look_at(*kind)) else {
            return Ok(());
        };
        let begun = Instant::now();
        let batch = Batch {
            kind,
            epoch: message.header(headers::EPOCH).unwrap_or_default(),
            payload: message.payload(),
            stored_ms: message.stored_microseconds().div_euclid(1000),
        };
        let found = match evaluate(&self.rules, batch) {
            Ok(found) => found,
            Err(error) => {
                // The sink keeps it as a dead letter; a second one would be counted twice.
                tracing::warn!(sequence = message.sequence(), %error, "a batch of events cannot be read");
                return Ok(());
            }
        };
        self.note(&found, begun.elapsed());
        self.publish(found, message.attempt() > 1, out)?;
        Ok(())
    }
}

impl RulesStage {
    fn publish(&mut self, found: Found, again: bool, out: &mut Outbox) -> Result<(), serde_json::Error> {
        if found.matches.is_empty() {
            return Ok(());
        }
        out.message(alert::MATCHES_SUBJECT, alert::to_ndjson(&found.matches));
        for forward in found.forwards {
            out.notify(Notice {
                subject: forward.subject,
                payload: forward.payload,
                id: forward.id,
                stored: false,
            });
        }
        for alert in found.alerts {
            if self.told.is_new(&alert.id) || again {
                out.notify(Notice {
                    subject: alert::subject(alert.severity, &alert.rule),
                    payload: Bytes::from(serde_json::to_vec(&alert)?),
                    id: alert.id,
                    stored: true,
                });
            }
        }
        Ok(())
    }

    fn note(&mut self, found: &Found, took: Duration) {
        for Failure { rule, reason } in &found.failures {
            if self.failed.insert(rule.clone()) {
                tracing::warn!(
                    rule,
                    reason,
                    "a rule cannot be evaluated on some events; said once, counted as alert {}",
                    alert::FAILED_RULE
                );
            }
        }
        if took > SLOW && !std::mem::replace(&mut self.slow, true) {
            let (events, milliseconds) = (found.events, took.as_millis());
            tracing::warn!(
                events,
                milliseconds,
                "rules are slow; said once: make them cheaper, or run more copies of route"
            );
        }
    }
}

/// What this copy has told, so that it does not tell it with every message. Only an economy: ALERTS stores an id
/// once. Whoever is first here is not acknowledged before its alert is stored, and otherwise comes again, to be
/// told again whatever is remembered.
#[derive(Debug, Default)]
struct Told {
    newer: HashSet<String>,
    older: HashSet<String>,
}

impl Told {
    fn is_new(&mut self, id: &str) -> bool {
        if self.newer.contains(id) || self.older.contains(id) {
            return false;
        }
        if self.newer.len() >= TOLD_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(id.to_owned())
    }
}
