//! ingest: validates what agents published and turns it into canonical events, model calls with their cost.
//!
//! Reads INGEST; writes `events.<kind>` as NDJSON batches and `dead.ingest.<kind>`. Any number of
//! copies share the durable `ingest`. A pure function of each message and of the price table it was
//! started with: no state, no clock, no look-ups elsewhere.

use bus::{Context, DeadLetter, Delivery, Failure, Input, Outbox, topology};
use schemas::price::PriceTable;
use schemas::{CloudEvent, Decoded, Incoming, Item, Time, decode, headers, subjects};

/// The `[ingest]` section: how events are batched on their way out.
pub type Config = bus::stage::BatchConfig;

/// The worker.
#[derive(Debug)]
pub struct Ingest {
    prices: PriceTable,
}

impl bus::Stage for Ingest {
    const NAME: &'static str = "ingest";
    type Config = PriceTable;

    fn input() -> Input {
        Input::new(topology::INGEST, Self::NAME)
    }

    fn start(prices: PriceTable, _: &Context) -> anyhow::Result<Self> {
        Ok(Self { prices })
    }

    fn process(&mut self, message: &Delivery, out: &mut Outbox) -> Result<(), Failure> {
        let payload = message.payload();
        let said = Said::by(message);
        let incoming = Incoming {
            subject: message.subject(),
            content_type: said.content_type,
            trace_parent: said.trace_parent,
            cloud_event: said.cloud_event,
            payload,
            origin: message.sequence(),
            stored: first_stored(message),
        };
        let mut whole = None;
        decode(&incoming, |decoded| match decoded {
            Decoded::Item { kind, mut item, .. } => {
                if let Item::Usage(usage) = &mut item {
                    self.prices.apply(usage);
                }
                out.line(subjects::events(kind), |lines| item.write_line(lines));
            }
            Decoded::Rejected {
                index: Some(index),
                payload: item,
                rejection,
            } => out.dead(DeadLetter {
                kind: last_token(incoming.subject).to_owned(),
                payload: payload.slice_ref(item),
                index: Some(index),
                rejection,
            }),
            Decoded::Rejected {
                index: None,
                rejection,
                ..
            } => whole = Some(rejection),
        });
        whole.map_or(Ok(()), |rejection| Err(Failure::Reject { rejection }))
    }
}

/// What the headers of a message say about its payload. Their names are those of HTTP too, where case means nothing.
#[derive(Default)]
struct Said<'m> {
    content_type: Option<&'m str>,
    trace_parent: Option<&'m str>,
    cloud_event: Option<CloudEvent<'m>>,
}

impl<'m> Said<'m> {
    fn by(message: &'m Delivery) -> Self {
        let mut said = Said::default();
        let mut has_attributes = false;
        for (name, value) in message.headers() {
            if name.eq_ignore_ascii_case(headers::CONTENT_TYPE) {
                said.content_type = said.content_type.or(Some(value));
            } else if name.eq_ignore_ascii_case(headers::TRACE_PARENT) {
                said.trace_parent = said.trace_parent.or(Some(value));
            } else if name
                .get(..3)
                .is_some_and(|start| start.eq_ignore_ascii_case("ce-"))
            {
                has_attributes = true;
            }
        }
        if has_attributes {
            let found = |name: &str| {
                message
                    .headers()
                    .find(|(found, _)| found.eq_ignore_ascii_case(name))
            };
            said.cloud_event = CloudEvent::from_headers(|name| found(name).map(|(_, value)| value));
        }
        said
    }
}

/// When NATS stored the message; of a replay, when it was stored first: the time of an event that names none stays what
/// it was. Whoever makes this up could as well have written a timestamp.
fn first_stored(message: &Delivery) -> Time {
    let stored = Time(message.stored_microseconds());
    let first = message.header(headers::REPLAY_OF).and_then(|_| {
        let first: Time = message.header(headers::STORED)?.parse().ok()?;
        (first <= stored).then_some(first)
    });
    first.unwrap_or(stored)
}

fn last_token(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or(subject)
}
