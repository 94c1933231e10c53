//! The processes under test, and how they are asked.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bus::testing::TestServer;
use bus::topology::StreamsConfig;
use bus::{Bytes, CancellationToken, Context};
use tempfile::TempDir;

/// For a process to come up, or to end.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The executables of one build.
pub struct Programs {
    pub aiai: PathBuf,
    pub month: PathBuf,
    pub throughput: PathBuf,
    /// What `aiai run --list` lists.
    pub workers: Vec<String>,
}

impl Programs {
    /// In the folder of a build.
    pub fn find(folder: &Path) -> anyhow::Result<Self> {
        let of = |name: &str| {
            let path = folder.join(name);
            std::fs::canonicalize(&path).with_context(|| format!("there is no {}", path.display()))
        };
        let aiai = of("aiai")?;
        let output = Command::new(&aiai).args(["run", "--list"]).output()?;
        let names = std::str::from_utf8(&output.stdout)?.lines();
        Ok(Self {
            workers: names
                .filter_map(|line| line.split(' ').next())
                .map(str::to_owned)
                .collect(),
            aiai,
            month: of("examples/month")?,
            throughput: of("examples/throughput")?,
        })
    }
}

/// A process of ours that ends with us.
pub struct Process(pub Child);

impl Process {
    pub fn start(aiai: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(data.join("log"))?;
        let child = Command::new(aiai)
            .args(arguments)
            .arg("--data")
            .arg(data)
            .current_dir(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot execute {}", aiai.display()))?;
        Ok(Self(child))
    }

    /// Processor seconds used so far, from /proc (Linux).
    pub fn processor_seconds(&self) -> anyhow::Result<f64> {
        processor_seconds(self.0.id())
    }

    /// A field of /proc/…/status in megabytes: `VmRSS` now, `VmHWM` at its highest.
    pub fn memory_megabytes(&self, field: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kilobytes: f64 = line
            .and_then(|line| line.split_whitespace().next())
            .with_context(|| format!("no {field} in /proc"))?
            .parse()?;
        Ok(kilobytes / 1024.0)
    }

    /// SIGTERM, and the wait for the end.
    pub async fn end(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id())?).context("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let started = Instant::now();
        while self.0.try_wait()?.is_none() {
            ensure!(started.elapsed() < TIMEOUT, "aiai did not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processor seconds a process used so far.
pub fn processor_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("measured on Linux only")?;
    let after_name = stat.rsplit(')').next().context("stat")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// A nats-server with our streams, and a folder for the database.
pub struct World {
    pub server: TestServer,
    pub context: Context,
    pub data: TempDir,
}

impl World {
    pub async fn new() -> anyhow::Result<Self> {
        let server = TestServer::start().await?;
        let context = Context::connect(
            &server.config(),
            &StreamsConfig::default(),
            "bench",
            CancellationToken::new(),
        )
        .await?;
        context.ensure_topology().await?;
        Ok(Self {
            server,
            context,
            data: tempfile::tempdir()?,
        })
    }

    /// Starts workers in one process; back once the sink, if it is among them, answers.
    pub async fn run(&self, aiai: &Path, workers: &[String]) -> anyhow::Result<Process> {
        let mut arguments = vec!["run"];
        arguments.extend(workers.iter().map(String::as_str));
        arguments.extend([
            "--nats-url",
            self.server.url(),
            "--set",
            "dashboard.listen=127.0.0.1:0",
            "--set",
            "gateway.listen=127.0.0.1:0",
            "--set",
            "otlp.listen_http=127.0.0.1:0",
            "--set",
            "otlp.listen_grpc=127.0.0.1:0",
        ]);
        let mut process = Process::start(aiai, self.data.path(), &arguments)?;
        let started = Instant::now();
        while workers.iter().any(|name| name == "sink") && self.count().await.is_err() {
            ensure!(process.0.try_wait()?.is_none(), "aiai ended: {}", self.log());
            ensure!(
                started.elapsed() < TIMEOUT,
                "the sink does not answer: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(process)
    }

    /// Where a worker listens, by the log.
    pub async fn address_of(&self, worker: &str) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            let log = self.log();
            let line = log
                .lines()
                .find(|line| line.contains("listening") && line.contains(&format!("worker=\"{worker}\"")));
            if let Some((_, rest)) = line.and_then(|line| line.split_once("http://")) {
                return Ok(rest.split_whitespace().next().unwrap_or_default().to_owned());
            }
            ensure!(started.elapsed() < TIMEOUT, "{worker} does not listen: {log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }

    /// One number by SQL.
    pub async fn ask(&self, sql: &str) -> anyhow::Result<u64> {
        let body = Bytes::from(sql.to_owned());
        let answer = self
            .context
            .request("query.sql", "sink", body, Duration::from_secs(10))
            .await?;
        let row = std::str::from_utf8(&answer)?.lines().nth(1).context("no row")?;
        let row: serde_json::Value = serde_json::from_str(row)?;
        row["n"].as_u64().context("no number n")
    }

    /// Rows of the bench in the database.
    pub async fn count(&self) -> anyhow::Result<u64> {
        self.ask("SELECT count(*) AS n FROM metric WHERE source = 'agent-7'")
            .await
    }

    /// Waits until exactly so many rows are there.
    pub async fn stored(&self, rows: u64, timeout: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let found = self.count().await?;
            ensure!(found <= rows, "{found} rows instead of {rows}");
            if found == rows {
                return Ok(());
            }
            if started.elapsed() > timeout {
                bail!("{found} of {rows} rows after {timeout:?}: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
