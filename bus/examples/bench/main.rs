//! The bench: what the pipeline does against a bare relay, and all workers against two, in one run on one machine.
//!
//! Both move the same single-event messages from the same pipelined publisher through a fresh
//! nats-server. The relay pulls and acknowledges them, no more; the pipeline validates them and stores
//! them in DuckDB. Rounds alternate, medians are compared: claims are ratios, never times.
//! Started by `scripts/bench`, which gives the path of the executable under test.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod chart;
mod report;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::{self, consumer::PullConsumer, context::PublishAckFuture};
use bus::testing::TestServer;
use bus::topology::StreamsConfig;
use bus::{Bytes, CancellationToken, Context};
use futures_util::StreamExt;

const PAYLOAD: &str = r#"{"name":"queue.depth","value":42.5,"source":"agent-7","tags":{"region":"fsn1","model":"opus"},"session":"s-123456","timestamp":"2026-11-20T07:00:00.123Z"}"#;
/// PubAcks awaited at the same time.
const WINDOW: usize = 4000;
/// A round that takes longer has failed.
const ROUND_TIMEOUT: Duration = Duration::from_secs(180);
const IDLE_SECONDS: u64 = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments
        .next()
        .context("usage: bench AIAI MONTH [MESSAGES] [ROUNDS] [JSON-FILE]")?;
    let binary = std::fs::canonicalize(&binary).with_context(|| format!("there is no {binary}"))?;
    let month = arguments
        .next()
        .context("the second argument is the example `month`")?;
    let messages: u64 = arguments.next().map_or(Ok(300_000), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let report = arguments.next().map(PathBuf::from);
    ensure!(messages > 0 && rounds > 0, "at least one message and one round");

    let few = ["ingest", "sink"].map(str::to_owned);
    let all = workers(&binary)?;
    let mut found = report::Figures {
        messages,
        ..report::Figures::default()
    };
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}: bare relay, {messages} messages");
        found.relay.push(Box::pin(timed(run_relay(messages))).await?);
        eprintln!("round {round} of {rounds}: ingest and sink, {messages} messages");
        found
            .pipeline
            .push(Box::pin(timed(run_pipeline(&binary, messages, &few))).await?);
        eprintln!(
            "round {round} of {rounds}: all {} workers, {messages} messages",
            all.len()
        );
        found
            .all_workers
            .push(Box::pin(timed(run_pipeline(&binary, messages, &all))).await?);
    }
    eprintln!("chart: 30 days of hourly rollups of 1,000 series");
    found.chart_milliseconds = chart::measure(&binary, Path::new(&month)).await?;
    eprintln!("idle: `aiai up` for {IDLE_SECONDS} s");
    found.idle = measure_idle(&binary).await?;
    found.print(report.as_deref())
}

/// What `aiai run --list` lists.
fn workers(binary: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new(binary).args(["run", "--list"]).output()?;
    let names = std::str::from_utf8(&output.stdout)?.lines();
    Ok(names
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

/// Messages a second.
async fn timed(round: impl Future<Output = anyhow::Result<f64>>) -> anyhow::Result<f64> {
    tokio::time::timeout(ROUND_TIMEOUT, round)
        .await
        .context("a round took more than three minutes")?
}

#[allow(clippy::cast_precision_loss)]
fn rate(messages: u64, elapsed: Duration) -> f64 {
    messages as f64 / elapsed.as_secs_f64()
}

/// Publishes with a window of pending acknowledgements.
async fn publish(url: String, messages: u64) -> anyhow::Result<()> {
    let client = async_nats::ConnectOptions::new()
        .client_capacity(8192)
        .connect(url)
        .await?;
    let jetstream = jetstream::ContextBuilder::new()
        .max_ack_inflight(WINDOW * 2)
        .ack_timeout(Duration::from_secs(30))
        .build(client);
    let mut pending: VecDeque<PublishAckFuture> = VecDeque::with_capacity(WINDOW);
    for _ in 0..messages {
        if pending.len() >= WINDOW
            && let Some(oldest) = pending.pop_front()
        {
            oldest.await?;
        }
        pending.push_back(
            jetstream
                .publish("ingest.metric", Bytes::from_static(PAYLOAD.as_bytes()))
                .await?,
        );
    }
    for ack in pending {
        ack.await?;
    }
    Ok(())
}

async fn connect(server: &TestServer) -> anyhow::Result<Context> {
    let context = Context::connect(
        &server.config(),
        &StreamsConfig::default(),
        "bench",
        CancellationToken::new(),
    )
    .await?;
    context.ensure_topology().await?;
    Ok(context)
}

/// Pulls and acknowledges each message, nothing else.
async fn run_relay(messages: u64) -> anyhow::Result<f64> {
    let server = TestServer::start().await?;
    connect(&server).await?;
    let client = async_nats::ConnectOptions::new()
        .subscription_capacity(64 * 1024)
        .client_capacity(8192)
        .connect(server.url())
        .await?;
    let consumer: PullConsumer = jetstream::new(client.clone())
        .get_consumer_from_stream("ingest", "INGEST")
        .await?;
    let mut pulled = consumer
        .stream()
        .max_messages_per_batch(2000)
        .expires(Duration::from_secs(30))
        .heartbeat(Duration::from_secs(5))
        .messages()
        .await?;
    let started = Instant::now();
    let publisher = tokio::spawn(publish(server.url().to_owned(), messages));
    for _ in 0..messages {
        let message = pulled.next().await.context("the subscription ended")??;
        message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
    }
    client.flush().await?;
    publisher.await??;
    Ok(rate(messages, started.elapsed()))
}

/// A process of ours that ends with us.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(binary: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<Process> {
    let child = Command::new(binary)
        .args(arguments)
        .arg("--data")
        .arg(data)
        .current_dir(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(data.join("log"))?)
        .spawn()
        .with_context(|| format!("cannot execute {}", binary.display()))?;
    Ok(Process(child))
}

/// Until every event is a row.
async fn run_pipeline(binary: &Path, messages: u64, workers: &[String]) -> anyhow::Result<f64> {
    let server = TestServer::start().await?;
    let context = connect(&server).await?;
    let data = tempfile::tempdir()?;
    let mut arguments = vec!["run"];
    arguments.extend(workers.iter().map(String::as_str));
    arguments.extend([
        "--nats-url",
        server.url(),
        "--set",
        "dashboard.listen=127.0.0.1:0",
    ]);
    let _process = start(binary, data.path(), &arguments)?;
    while count(&context).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = count(&context).await?;
    let started = Instant::now();
    let publisher = tokio::spawn(publish(server.url().to_owned(), messages));
    publisher.await??;
    while count(&context).await? < before + messages {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let elapsed = started.elapsed();
    ensure!(
        count(&context).await? == before + messages,
        "more rows than messages"
    );
    Ok(rate(messages, elapsed))
}

/// Rows of the bench in the database.
async fn count(context: &Context) -> anyhow::Result<u64> {
    let sql = "SELECT count(*) AS n FROM metric WHERE name = 'queue.depth'";
    let answer = context
        .request("query.sql", "sink", Bytes::from(sql), Duration::from_secs(10))
        .await?;
    let row = std::str::from_utf8(&answer)?.lines().nth(1).context("no row")?;
    let row: serde_json::Value = serde_json::from_str(row)?;
    row["n"].as_u64().context("no count")
}

/// The process without its nats-server child, after it has settled.
async fn measure_idle(binary: &Path) -> anyhow::Result<report::Idle> {
    let data = tempfile::tempdir()?;
    let listen = [
        "up",
        "--set",
        "nats.listen=127.0.0.1:0",
        "--set",
        "dashboard.listen=127.0.0.1:0",
    ];
    let process = start(binary, data.path(), &listen)?;
    let pid = process.0.id();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, _) = usage(pid)?;
    tokio::time::sleep(Duration::from_secs(IDLE_SECONDS)).await;
    let (after, memory_megabytes) = usage(pid)?;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(pid)?).context("no pid")?,
        rustix::process::Signal::TERM,
    )?;
    let mut process = process;
    let ended = Instant::now();
    while process.0.try_wait()?.is_none() {
        if ended.elapsed() > Duration::from_secs(10) {
            bail!("aiai up did not end within 10 s");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(report::Idle {
        cpu_percent: (after - before) * 100.0 / IDLE_SECONDS as f64,
        memory_megabytes,
    })
}

/// Processor seconds used so far and resident megabytes, from /proc (Linux).
fn usage(pid: u32) -> anyhow::Result<(f64, f64)> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).context("idle is measured on Linux only")?;
    let after_name = stat.rsplit(')').next().context("stat")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("VmRSS")?;
    let kilobytes: f64 = resident.split_whitespace().next().context("VmRSS")?.parse()?;
    Ok((ticks / 100.0, kilobytes / 1024.0))
}
