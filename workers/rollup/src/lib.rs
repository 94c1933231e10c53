//! rollup: folds each EVENTS message into one partial aggregate.
//!
//! Reads EVENTS; writes `rollup.partial`, one message for each that it reads, with an identity of its own: a
//! redelivery publishes nothing new. Any number of copies share the durable `rollup`. A pure function of each
//! message. What it refuses is a dead letter, and the sink folds that message itself.

use bus::{Context, Delivery, Failure, Input, Outbox, topology};
use schemas::rollup::{Partial, PartialError};
use schemas::{Reason, Rejection, subjects};

/// The `[rollup]` section: how partials are gathered on their way out.
pub type Config = bus::stage::BatchConfig;

/// The worker.
#[derive(Debug)]
pub struct Rollup;

impl bus::Stage for Rollup {
    const NAME: &'static str = "rollup";
    type Config = ();

    fn input() -> Input {
        Input::new(topology::EVENTS, Self::NAME)
    }

    fn start((): (), _: &Context) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn process(&mut self, message: &Delivery, out: &mut Outbox) -> Result<(), Failure> {
        let partial =
            Partial::of_events(message.subject(), message.payload()).map_err(|error| Failure::Reject {
                rejection: malformed(&error),
            })?;
        out.message(subjects::ROLLUP_PARTIAL, partial.to_ndjson());
        Ok(())
    }
}

fn malformed(error: &PartialError) -> Rejection {
    let fix = "only worker ingest writes to events.>: find out who published it";
    Rejection::new(Reason::MalformedBatch, "payload", bus::chain(error), fix)
}
