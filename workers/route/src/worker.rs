//! The worker: answers `route.decide`, watches calls, and shares with its copies what is cooled down.
//!
//! Each decision is made from memory; only the probe of a cooled model asks NATS first, so that of all copies
//! one sends it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::stage::BatchConfig;
use bus::{Bucket, Bytes, Context, Delivery, Endpoint, Failure, Input, Outbox, Watched, topology};
use schemas::price::PriceTable;
use schemas::route::{self, Request};
use schemas::{CallStatus, Text, read_lines};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::cooling::{Change, Cooled, Cooling, WINDOW_MS};
use crate::decide::{Choice, Health, Refusal, decide};
use crate::models::{Model, Models};
use crate::rules::{Rules, RulesStage, Webhooks, webhook};

/// Decisions made at the same time.
const CONCURRENCY: usize = 64;
/// Changes on their way to the other copies. A change is rare: a model has one in half a minute at most.
const CHANGES_MAX: usize = 1024;
/// Attempts to share a change; after that only this copy knows it.
const SHARE_ATTEMPTS: u32 = 5;
/// Probes that one decision tries to get before it does without.
const PROBES_MAX: usize = 4;

/// What all parts of one copy work on.
#[derive(Debug)]
struct Shared {
    models: Models,
    prices: PriceTable,
    cooling: Mutex<Cooling>,
    bucket: Bucket,
}

/// What the worker goes by.
#[derive(Debug)]
pub struct Tables {
    /// The models to choose from.
    pub models: Models,
    /// What they cost.
    pub prices: PriceTable,
    /// Which events somebody should hear of.
    pub rules: Rules,
    /// A webhook that failed is called again after this time, then after four times as long, and so on.
    pub webhook_retry: Duration,
}

/// Runs until the process is to end.
///
/// # Errors
/// When the service cannot be registered, webhooks cannot be called, or the worker cannot go on.
pub async fn run(tables: Tables, context: Context) -> anyhow::Result<()> {
    let Tables {
        models,
        prices,
        rules,
        webhook_retry,
    } = tables;
    let rules = Arc::new(rules);
    let webhooks = Webhooks::new(rules.clone(), webhook_retry)?;
    let shared = Arc::new(Shared {
        cooling: Mutex::new(Cooling::new(models.models.len())),
        bucket: context.bucket(topology::COOLING_BUCKET),
        models,
        prices,
    });
    let (sender, changes) = mpsc::channel(CHANGES_MAX);
    let watching =
        bus::stage::run::<Calls>((shared.clone(), sender), BatchConfig::default(), context.clone());
    let ruling = bus::stage::run::<RulesStage>(rules, BatchConfig::default(), context.clone());
    let calling = bus::job::run(webhooks, webhook::CONCURRENCY, context.clone());
    tokio::try_join!(
        serve(&context, shared.clone()),
        watching,
        ruling,
        calling,
        async {
            shared.watch().await;
            Ok(())
        },
        async {
            shared.share(changes, &context).await;
            Ok(())
        },
    )?;
    Ok(())
}

async fn serve(context: &Context, shared: Arc<Shared>) -> anyhow::Result<()> {
    let endpoint = Endpoint {
        name: "decide",
        subject: route::SUBJECT,
        concurrency: CONCURRENCY,
        handler: Arc::new(move |request| {
            let shared = shared.clone();
            Box::pin(async move {
                match shared.answer(request.payload()).await {
                    Ok(body) => request.end(body).await,
                    Err((code, text)) => request.fail(code, &text).await,
                }
            })
        }),
    };
    let about = "which model to call: JSON in, JSON out";
    Ok(context.serve("route", about, vec![endpoint]).await?)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    fn cooling(&self) -> MutexGuard<'_, Cooling> {
        self.cooling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The decision as JSON, or a code as in HTTP and the text.
    async fn answer(&self, body: &[u8]) -> Result<Bytes, (usize, String)> {
        let request = Request::read(body).map_err(|text| (400, text))?;
        let choice = self.choose(&request).await.map_err(|refusal| match refusal {
            Refusal::Bad(text) => (400, text),
            Refusal::Nothing(text) => (404, text),
        })?;
        let json = serde_json::to_vec(&choice.decision).map_err(|error| (500, error.to_string()))?;
        Ok(Bytes::from(json))
    }

    async fn choose(&self, request: &Request) -> Result<Choice, Refusal> {
        let now = now_ms();
        let mut without: Vec<usize> = Vec::new();
        loop {
            let (choice, probe) = {
                let cooling = self.cooling();
                let health = |at: usize| match cooling.health(at, now) {
                    Health::Probe if without.contains(&at) || without.len() >= PROBES_MAX => {
                        Health::Cooled(now)
                    }
                    health => health,
                };
                let choice = decide(request, &self.models, &self.prices, health)?;
                let chosen = health(choice.at);
                let probe = cooling.probe(choice.at, now).filter(|_| chosen == Health::Probe);
                (choice, probe)
            };
            let Some(probe) = probe else { return Ok(choice) };
            if self.publish(&probe).await.unwrap_or(false) {
                return Ok(choice);
            }
            without.push(choice.at);
        }
    }

    fn key(model: &Model) -> String {
        let part = bus::bucket::key_part;
        format!("{}.{}", part(&model.provider), part(&model.name))
    }

    /// Makes a change known; false if somebody else was faster.
    async fn publish(&self, change: &Change) -> bus::Result<bool> {
        let value = change
            .state
            .as_ref()
            .and_then(|state| serde_json::to_vec(state).ok());
        let key = Self::key(&self.models.models[change.at]);
        self.bucket
            .change(&key, value.map(Bytes::from), change.revision)
            .await
    }

    async fn share(&self, mut changes: mpsc::Receiver<Change>, context: &Context) {
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = context.shutdown().cancelled() => return,
            };
            let Some(change) = change else { return };
            let model = &self.models.models[change.at].name;
            match &change.state {
                Some(state) => {
                    tracing::warn!(
                        model,
                        seconds = state.period_seconds,
                        reason = state.reason,
                        "model cooled down"
                    );
                }
                None => tracing::info!(model, "model is well again"),
            }
            for attempt in 1..=SHARE_ATTEMPTS {
                let Err(error) = self.publish(&change).await else {
                    break;
                };
                let error = bus::chain(&error);
                tracing::warn!(model, attempt, error, "other copies of route do not know it yet");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    () = context.shutdown().cancelled() => return,
                }
            }
        }
    }

    async fn watch(&self) {
        let keys: Vec<String> = self.models.models.iter().map(Self::key).collect();
        self.bucket
            .watch(|watched| match watched {
                Watched::Opened => self.cooling().forget(),
                Watched::Value { key, value, revision } => {
                    // Another copy may have another list.
                    let Some(at) = keys.iter().position(|own| *own == key) else {
                        return;
                    };
                    let state = value.and_then(|json| serde_json::from_slice::<Cooled>(&json).ok());
                    self.cooling().set(at, state, revision);
                }
            })
            .await;
    }
}

/// What matters of a usage event here.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    provider: Option<Text<'a>>,
    status: Option<CallStatus>,
}

/// Looks at every model call.
struct Calls {
    shared: Arc<Shared>,
    changes: mpsc::Sender<Change>,
}

impl bus::Stage for Calls {
    const NAME: &'static str = "route";
    type Config = (Arc<Shared>, mpsc::Sender<Change>);

    fn input() -> Input {
        Input::new(topology::EVENTS, Self::NAME)
    }

    fn start((shared, changes): Self::Config, _: &Context) -> anyhow::Result<Self> {
        Ok(Self { shared, changes })
    }

    fn process(&mut self, message: &Delivery, _: &mut Outbox) -> Result<(), Failure> {
        let (now, at_ms) = (
            now_ms(),
            u64::try_from(message.stored_microseconds() / 1000).unwrap_or(0),
        );
        if at_ms.saturating_add(WINDOW_MS) < now {
            return Ok(());
        }
        let calls: Vec<Call<'_>> = match read_lines(message.payload()) {
            Ok(calls) => calls,
            Err(error) => {
                // The sink keeps it as a dead letter; a second one would be counted twice.
                tracing::warn!(sequence = message.sequence(), %error, "a batch of usage events cannot be read");
                return Ok(());
            }
        };
        let mut cooling = self.shared.cooling();
        for call in calls {
            let Some(at) = self.shared.models.find(call.provider.as_deref(), &call.model) else {
                continue;
            };
            let model = &self.shared.models.models[at];
            let status = call.status.unwrap_or(CallStatus::Ok);
            let change = cooling.observe(at, (&model.provider, &model.name), status, at_ms, now);
            if let Some(change) = change
                && self.changes.try_send(change).is_err()
            {
                tracing::warn!(
                    model = model.name,
                    "too many changes at once; only this copy knows this one"
                );
            }
        }
        Ok(())
    }
}
