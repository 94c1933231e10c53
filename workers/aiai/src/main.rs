//! aiai, the one executable: all workers in one process, some of them, or a command.
//!
//! Only wiring: workers meet at subjects, and everything that knows NATS or DuckDB is elsewhere.
//! Data goes to standard output, messages to standard error.

mod arena;
mod cli;
mod command;
mod config;
mod failure;
mod output;
mod registry;
mod tables;
mod up;
mod workers;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{ArchiveCommand, Cli, Command, ConfigCommand, RouteCommand, TopologyCommand};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Up(_) | Command::Run(_)) {
        arena::use_one();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&anyhow::anyhow!("no threads to run on: {error}")),
    };
    let result = runtime.block_on(run(cli));
    // Blocking work that was given up (a stuck read of standard input) must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    match result {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let usage = |error: anyhow::Error| failure::Usage(bus::chain(error.as_ref()));
    let loaded = config::load(&cli.settings).map_err(usage)?;
    if let Command::Config {
        command: ConfigCommand::Show(show),
    } = &cli.command
    {
        return command::config::show(&loaded, show);
    }
    let config = loaded.config;
    let mut log = config.log.clone();
    let works = matches!(cli.command, Command::Up(_) | Command::Run(_));
    if !works && log == bus::telemetry::LogConfig::default() {
        log.level = "warn".into();
    }
    bus::telemetry::init(&log).map_err(usage)?;
    match cli.command {
        Command::Up(options) => Box::pin(up::up(config, &options)).await,
        Command::Run(options) => workers::run(config, &options).await,
        Command::Topology {
            command: TopologyCommand::Plan(options),
        } => command::topology::plan(&config, &options).await,
        Command::Topology {
            command: TopologyCommand::Apply,
        } => command::topology::apply(&config).await,
        Command::Pub(options) => command::publish::publish(&config, &options).await,
        Command::Status(options) => command::status::status(&config, &options).await,
        Command::Health => command::health::health(&config).await,
        Command::Ledger(options) => command::ledger::ledger(&config, &options).await,
        Command::Tap(options) => command::tap::tap(&config, &options).await,
        Command::Metrics(options) => command::metrics::metrics(&config, &options).await,
        Command::Usage(options) => command::usage::usage(&config, &options).await,
        Command::Query(options) => command::query::query(&config, &options).await,
        Command::Dead { command } => command::dead::run(&config, &command).await,
        Command::Prices { command } => command::prices::run(&config, &command).await,
        Command::Route {
            command: RouteCommand::Decide(options),
        } => command::route::decide(&config, &options).await,
        Command::Route {
            command: RouteCommand::Check,
        } => command::route::check(&config),
        Command::Archive {
            command: ArchiveCommand::List(options),
        } => command::archive::list(&config, &options).await,
        Command::Archive {
            command: ArchiveCommand::Verify,
        } => command::archive::verify(&config).await,
        Command::Config { .. } => Ok(ExitCode::SUCCESS),
    }
}
