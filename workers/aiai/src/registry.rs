//! Every worker, in one list. A new one is one line here.

use std::net::SocketAddr;
use std::time::Duration;

use bus::Context;
use futures_util::future::BoxFuture;

use crate::config::Config;
use crate::tables;

/// Starts a prepared worker; it runs until the process is to end.
pub type Start = Box<dyn FnOnce(Context) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// A worker that has what it needs of this machine.
pub struct Ready {
    /// Starts it.
    pub start: Start,
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
}

/// One worker.
pub struct Worker {
    /// Its name on the command line, in the configuration and in heartbeats.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Takes what it needs of this machine (files, ports) and fails before any work is done.
    pub prepare: fn(&Config) -> BoxFuture<'static, anyhow::Result<Ready>>,
}

/// All of them, in the order in which `aiai up` starts them.
pub const WORKERS: &[Worker] = &[
    Worker {
        name: "sink",
        about: "stores events in DuckDB and answers query.*",
        prepare: sink,
    },
    Worker {
        name: "ingest",
        about: "validates what agents publish: INGEST to EVENTS",
        prepare: ingest,
    },
    Worker {
        name: "rollup",
        about: "folds events into partial aggregates: EVENTS to ROLLUP",
        prepare: rollup,
    },
    Worker {
        name: "archive",
        about: "writes events to Parquet files: EVENTS to the archive folder",
        prepare: archive,
    },
    Worker {
        name: "route",
        about: "answers route.decide; applies rules: EVENTS to ALERTS, webhooks",
        prepare: route,
    },
    Worker {
        name: "node",
        about: "publishes this machine's vital signs",
        prepare: node,
    },
    Worker {
        name: "dashboard-feed",
        about: "gathers what live pages show: live.>",
        prepare: dashboard_feed,
    },
    Worker {
        name: "dashboard",
        about: "serves the live pages",
        prepare: dashboard,
    },
    Worker {
        name: "gateway",
        about: "takes in what agents publish by HTTP: to INGEST",
        prepare: gateway,
    },
    Worker {
        name: "otlp",
        about: "takes in what OpenTelemetry SDKs send: to INGEST",
        prepare: otlp,
    },
];

fn ready<F>(run: impl FnOnce(Context) -> F + Send + 'static) -> Ready
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    Ready {
        start: Box::new(move |context| Box::pin(run(context))),
        address: None,
    }
}

fn ingest(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let (batch, prices) = (config.ingest.clone(), tables::prices(config));
    Box::pin(async move {
        let prices = prices?;
        Ok(ready(move |context| {
            bus::stage::run::<ingest::Ingest>(prices, batch, context)
        }))
    })
}

fn rollup(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let batch = config.rollup.clone();
    Box::pin(async move {
        Ok(ready(move |context| {
            bus::stage::run::<rollup::Rollup>((), batch, context)
        }))
    })
}

fn sink(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let (settings, data, archive) = (config.sink.clone(), config.data.clone(), config.archive_folder());
    Box::pin(async move {
        let open = move || sink::Sink::open(&settings, &data, &archive);
        let sink = tokio::task::spawn_blocking(open).await??;
        Ok(ready(move |context| sink.run(context)))
    })
}

fn archive(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let (settings, folder) = (config.archive.clone(), config.archive_folder());
    Box::pin(async move {
        Ok(ready(move |context| async move {
            archive::run(settings, &folder, context).await
        }))
    })
}

fn route(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let (models, prices, rules) = (
        tables::models(config),
        tables::prices(config),
        tables::rules(config),
    );
    let webhook_retry = Duration::from_millis(config.route.webhook_retry_milliseconds.into());
    Box::pin(async move {
        let tables = route::Tables {
            models: models?,
            prices: prices?,
            rules: rules?,
            webhook_retry,
        };
        Ok(ready(move |context| route::run(tables, context)))
    })
}

fn node(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let settings = config.node.clone();
    Box::pin(async move { Ok(ready(move |context| node::run(settings, context))) })
}

fn dashboard_feed(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let settings = config.dashboard_feed.clone();
    Box::pin(async move { Ok(ready(move |context| dashboard_feed::run(settings, context))) })
}

fn dashboard(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let settings = config.dashboard.clone();
    Box::pin(async move {
        let listener = dashboard::bind(&settings).await?;
        let address = listener.local_addr()?;
        Ok(Ready {
            address: Some(address),
            ..ready(move |context| dashboard::run(settings, listener, context))
        })
    })
}

fn gateway(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let settings = config.gateway.clone();
    Box::pin(async move {
        let listener = gateway::bind(&settings).await?;
        let address = listener.local_addr()?;
        Ok(Ready {
            address: Some(address),
            ..ready(move |context| gateway::run(settings, listener, context))
        })
    })
}

fn otlp(config: &Config) -> BoxFuture<'static, anyhow::Result<Ready>> {
    let settings = config.otlp.clone();
    Box::pin(async move {
        let listeners = otlp::bind(&settings).await?;
        let address = listeners.http_address()?;
        Ok(Ready {
            address: Some(address),
            ..ready(move |context| otlp::run(settings, listeners, context))
        })
    })
}
