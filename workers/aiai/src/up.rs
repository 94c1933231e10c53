//! `aiai up`: everything in one process.
//!
//! Order matters: what can fail on this machine (data folder, ports, database, nats-server
//! executable) is taken or checked before anything is started.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use bus::server::{self, Server};

use crate::cli;
use crate::config::Config;
use crate::registry::WORKERS;
use crate::workers::{self, Running};

/// Runs until stopped.
pub async fn up(mut config: Config, _: &cli::Up) -> anyhow::Result<ExitCode> {
    let own = config.nats.url.is_empty();
    let binary = own.then(server::find).transpose()?;
    let _lock = lock(&config.data)?;
    let prepared = workers::prepare(&config, WORKERS.iter().collect()).await?;
    let mut server = None;
    if let Some(binary) = binary {
        let started = Server::start(binary, config.nats.listen, &config.data.join("nats")).await?;
        config.nats.url = started.url().to_owned();
        server = Some(started);
    }
    let result = match workers::start(&config, prepared).await {
        Ok(running) => {
            // Whether anybody reads it must not matter to what runs.
            let _ = std::io::stdout().write_all(banner(&config, server.as_ref(), &running).as_bytes());
            let lost = async {
                match &mut server {
                    Some(server) => server.keep_running().await.into(),
                    None => std::future::pending().await,
                }
            };
            running.until_stopped(lost).await
        }
        Err(error) => Err(error),
    };
    if let Some(server) = server {
        server.stop().await;
    }
    result
}

/// Makes the data folder ours: two processes on the same files would harm both.
fn lock(data: &Path) -> anyhow::Result<File> {
    let unwritable = || {
        format!(
            "cannot write the data folder {}; choose another with --data",
            data.display()
        )
    };
    std::fs::create_dir_all(data).with_context(unwritable)?;
    let path = data.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(anyhow!(
            "another aiai is up on the data folder {}; stop it, or choose another folder with --data",
            data.display()
        )),
        Err(TryLockError::Error(error)) => Err(error).with_context(unwritable),
    }
}

/// What runs, where, and the three things to do next.
fn banner(config: &Config, server: Option<&Server>, running: &Running) -> String {
    let shown = bus::without_credentials(&config.nats.url);
    let nats = match server {
        Some(server) if server.was_taken_over() => {
            format!(
                "{shown} (nats-server pid {}, left running by an earlier aiai)",
                server.pid()
            )
        }
        Some(server) => format!("{shown} (nats-server pid {})", server.pid()),
        None => format!("{shown} (given)"),
    };
    let names: Vec<_> = WORKERS.iter().map(|worker| worker.name).collect();
    let listening: Vec<_> = running
        .addresses
        .iter()
        .map(|(worker, address)| format!("  {worker:<10} http://{address}\n"))
        .collect();
    format!(
        "aiai {version} is up\n\
         {listening}\
         \u{20} nats       {nats}\n\
         \u{20} database   {database}\n\
         \u{20} workers    {names}\n\
         \u{20} monitor    http://{monitor}/metrics\n\n\
         publish:  aiai pub metric '{{\"name\":\"hello\",\"value\":1}}'\n\
         query:    aiai query 'SELECT * FROM metric ORDER BY ts DESC LIMIT 5'\n\
         stop:     Ctrl-C\n",
        version = env!("CARGO_PKG_VERSION"),
        listening = listening.concat(),
        database = config.data.join(sink::DATABASE_FILE).display(),
        names = names.join(", "),
        monitor = running.monitor,
    )
}
