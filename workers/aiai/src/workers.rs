//! Running workers: prepare all, connect each, wait for the order to stop, drain.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bus::{CancellationToken, Context};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli;
use crate::config::Config;
use crate::failure::Usage;
use crate::output;
use crate::registry::{Ready, WORKERS, Worker};

/// After the first signal workers have this long to finish their batches.
const GRACE: Duration = Duration::from_millis(3500);

/// Workers that have what they need of this machine.
pub struct Prepared {
    workers: Vec<(&'static Worker, Ready)>,
    monitor: tokio::net::TcpListener,
}

/// Workers at work.
pub struct Running {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    helpers: JoinSet<()>,
    shutdown: CancellationToken,
    /// Where `/health` and `/metrics` are.
    pub monitor: std::net::SocketAddr,
    /// Workers that listen, by name, and where.
    pub addresses: Vec<(&'static str, std::net::SocketAddr)>,
    interrupt: Signal,
    terminate: Signal,
}

/// `aiai run`.
pub async fn run(config: Config, options: &cli::Run) -> anyhow::Result<ExitCode> {
    if options.list {
        list()?;
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = options
        .workers
        .iter()
        .map(|name| {
            WORKERS.iter().find(|worker| worker.name == *name).ok_or_else(|| {
                let known: Vec<_> = WORKERS.iter().map(|worker| worker.name).collect();
                Usage(format!(
                    "there is no worker `{name}`; choose from {}",
                    known.join(", ")
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let prepared = prepare(&config, chosen).await?;
    let running = start(&config, prepared).await?;
    let url = bus::without_credentials(&config.nats.effective_url());
    tracing::info!(workers = options.workers.join(","), nats = url, monitor = %running.monitor, "running");
    for (worker, address) in &running.addresses {
        tracing::info!(worker, address = %format_args!("http://{address}"), "listening");
    }
    running.until_stopped(std::future::pending()).await
}

fn list() -> anyhow::Result<()> {
    let lines: Vec<_> = WORKERS
        .iter()
        .map(|worker| format!("{:<14} {}\n", worker.name, worker.about))
        .collect();
    output::print(&lines.concat())
}

/// Takes files and ports.
pub async fn prepare(config: &Config, chosen: Vec<&'static Worker>) -> anyhow::Result<Prepared> {
    let monitor = bus::monitor::bind(&config.monitor).await?;
    let mut workers = Vec::new();
    for worker in chosen {
        workers.push((worker, (worker.prepare)(config).await?));
    }
    Ok(Prepared { workers, monitor })
}

/// Connects every worker, sees that the topology is there, and starts them.
pub async fn start(config: &Config, prepared: Prepared) -> anyhow::Result<Running> {
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let mut helpers = JoinSet::new();
    let mut contexts: Vec<Context> = Vec::new();
    let mut addresses = Vec::new();
    for (worker, ready) in prepared.workers {
        let context = Context::connect(&config.nats, &config.streams, worker.name, shutdown.clone()).await?;
        if contexts.is_empty() {
            context.ensure_topology().await?;
        }
        contexts.push(context.clone());
        helpers.spawn(bus::heartbeat::run(context.clone()));
        addresses.extend(ready.address.map(|address| (worker.name, address)));
        tasks.spawn(async move { (worker.name, (ready.start)(context).await) });
    }
    let monitor = prepared
        .monitor
        .local_addr()
        .context("the monitor has no address")?;
    helpers.spawn(bus::monitor::serve(prepared.monitor, contexts, shutdown.clone()));
    Ok(Running {
        tasks,
        helpers,
        shutdown,
        monitor,
        addresses,
        // From here on: whoever was told that it is up may stop it.
        interrupt: signal(SignalKind::interrupt()).context("signals cannot be received")?,
        terminate: signal(SignalKind::terminate()).context("signals cannot be received")?,
    })
}

impl Running {
    /// Waits for a signal, a failed worker or what `lost` says is lost, then drains.
    pub async fn until_stopped(
        mut self,
        lost: impl Future<Output = anyhow::Error>,
    ) -> anyhow::Result<ExitCode> {
        let failed = tokio::select! {
            // Whoever signals all processes at once does not mean a failure of one.
            biased;
            _ = self.interrupt.recv() => None,
            _ = self.terminate.recv() => None,
            ended = self.tasks.join_next() => Some(early_end(ended)),
            error = lost => Some(error),
        };
        if failed.is_none() {
            tracing::info!("stopping: finishing what was begun; a second signal ends at once");
        }
        self.shutdown.cancel();
        let Self {
            mut tasks,
            mut helpers,
            mut interrupt,
            mut terminate,
            ..
        } = self;
        let drained = tokio::select! {
            drained = tokio::time::timeout(GRACE, drain(&mut tasks, &mut helpers)) => drained.unwrap_or_else(|_| {
                tracing::warn!("not everything could be finished in time; what is left comes again at the next start");
                Ok(())
            }),
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        };
        if let Some(error) = failed {
            return Err(error);
        }
        drained.map(|()| ExitCode::SUCCESS)
    }
}

async fn drain(
    tasks: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    helpers: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let mut first = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let (name, result) = ended?;
        if let Err(error) = result {
            tracing::error!(
                worker = name,
                error = format!("{error:#}"),
                "worker ended with an error"
            );
            first = first.and(Err(error));
        }
    }
    while helpers.join_next().await.is_some() {}
    first
}

/// No worker ends before the order to stop.
fn early_end(
    ended: Option<Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>>,
) -> anyhow::Error {
    match ended {
        Some(Ok((name, Err(error)))) => error.context(format!("worker {name} cannot go on")),
        Some(Ok((name, Ok(())))) => {
            anyhow::anyhow!("worker {name} ended by itself; this is a defect of aiai, please report it")
        }
        Some(Err(error)) => {
            anyhow::Error::new(error).context("a worker panicked; this is a defect of aiai, please report it")
        }
        None => anyhow::anyhow!("there is no worker to run"),
    }
}
