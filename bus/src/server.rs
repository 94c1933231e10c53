//! A nats-server of our own: found, checked, started as a child, stopped by pid.
//!
//! It runs in its own process group, so that Ctrl-C reaches us first and we drain before it ends.
//! When aiai was killed, its server lives on and agents can keep publishing; the next start takes
//! it over (recognised by a name kept in the data folder) instead of starting a second on the same files.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::error::{Error, Result, chain};

pub use crate::find::find;

/// Ready to take connections within this time.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Ended after SIGTERM within this time; then SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a running server is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// So often within [`RESTART_WINDOW`] a server that ended by itself is started again.
const RESTARTS_MAX: usize = 3;
/// See [`RESTARTS_MAX`].
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// What every server of ours is started with; command-line flags add addresses and folders.
const CONFIGURATION: &str = include_str!("../../nats/server.conf");

/// A running nats-server that we started or took over.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    pid: u32,
    url: String,
    address: SocketAddr,
    folder: PathBuf,
    binary: PathBuf,
}

impl Server {
    /// Starts a server with its files under `folder`, or takes over the one left running there.
    ///
    /// `listen` with port 0 lets the server choose a free port.
    ///
    /// # Errors
    /// When the port is taken, the folder cannot be written, or the server does not come up.
    pub async fn start(binary: PathBuf, listen: SocketAddr, folder: &Path) -> Result<Self> {
        let make = |what: &str, error| {
            Error::io(
                format!("cannot {what} {}; choose another data folder", folder.display()),
                error,
            )
        };
        std::fs::create_dir_all(folder).map_err(|error| make("create", error))?;
        let folder = std::fs::canonicalize(folder).map_err(|error| make("read", error))?;
        let name = name_in(&folder)?;
        if let Some(left) = left_running(&folder, &name, &binary).await {
            if left.address == listen || listen.port() == 0 {
                return Ok(left);
            }
            left.stop().await;
        }
        if listen.port() != 0 {
            drop(TcpListener::bind(listen).map_err(|error| {
                Error::io(
                    format!(
                        "cannot start nats-server on {listen}; to use the server there set nats.url \
                         (AIAI__NATS__URL=nats://{listen}), or choose another nats.listen (AIAI__NATS__LISTEN)"
                    ),
                    error,
                )
            })?);
        }
        Self::spawn(binary, listen, folder, &name).await
    }

    async fn spawn(binary: PathBuf, listen: SocketAddr, folder: PathBuf, name: &str) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let unwritable = |error| {
            Error::io(
                format!("cannot write {}; choose another data folder", folder.display()),
                error,
            )
        };
        let configuration = folder.join("server.conf");
        std::fs::write(&configuration, CONFIGURATION).map_err(unwritable)?;
        remove_ports_files(&folder);
        let log = folder.join("server.log");
        let output = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(unwritable)?;
        let port = if listen.port() == 0 {
            "-1".to_owned()
        } else {
            listen.port().to_string()
        };
        let child = Command::new(&binary)
            .arg("-c")
            .arg(&configuration)
            .args(["-a", &listen.ip().to_string(), "-p", &port, "-n", name])
            .arg("-sd")
            .arg(&folder)
            .arg("-P")
            .arg(folder.join("nats-server.pid"))
            .arg("--ports_file_dir")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(unwritable)?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| Error::io(format!("cannot execute {}", binary.display()), error))?;
        let pid = child.id();
        let mut server = Self {
            child: Some(child),
            pid,
            url: String::new(),
            address: listen,
            folder,
            binary,
        };
        server.await_ready(&log).await?;
        Ok(server)
    }

    async fn await_ready(&mut self, log: &Path) -> Result<()> {
        let failed = |reason: String| Error::ServerFailed {
            reason,
            log: log.to_path_buf(),
        };
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return Err(failed(format!("it ended with {status}: {}", last_line(log))));
            }
            if let Some(address) = ports_file(&self.folder, self.pid) {
                self.address = address;
                self.url = format!("nats://{address}");
                if server_name(&self.url).await.is_some() {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.signal(Signal::KILL);
        Err(failed(format!(
            "it was not ready within {} s",
            START_TIMEOUT.as_secs()
        )))
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it was left by an earlier aiai.
    #[must_use]
    pub const fn was_taken_over(&self) -> bool {
        self.child.is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = rustix::process::kill_process(pid, signal)
        {
            tracing::debug!(pid = self.pid, %error, "nats-server was not there to be signalled");
        }
    }

    fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => i32::try_from(self.pid)
                .ok()
                .and_then(Pid::from_raw)
                .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok()),
        }
    }

    /// Watches over it: when it ends unasked it is started again, on the same address and files.
    /// Comes back only when that is needed too often to help.
    pub async fn keep_running(&mut self) -> Error {
        let mut restarts: Vec<Instant> = Vec::new();
        loop {
            while self.is_running() {
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
            let log = self.folder.join("server.log");
            restarts.retain(|at| at.elapsed() < RESTART_WINDOW);
            if restarts.len() >= RESTARTS_MAX {
                return Error::ServerEnded { pid: self.pid, log };
            }
            restarts.push(Instant::now());
            tracing::error!(
                pid = self.pid,
                log = %log.display(),
                "nats-server ended by itself; starting it again"
            );
            let (binary, folder) = (self.binary.clone(), self.folder.clone());
            let started = match name_in(&folder) {
                Ok(name) => Self::spawn(binary, self.address, folder, &name).await,
                Err(error) => Err(error),
            };
            match started {
                Ok(server) => *self = server,
                Err(error) => tracing::error!(error = chain(&error), "nats-server did not start"),
            }
        }
    }

    /// Asks it to end and waits; kills it when it does not.
    pub async fn stop(mut self) {
        if self.is_running() {
            self.signal(Signal::TERM);
            self.await_end().await;
        }
    }

    /// Kills it without warning, as a power cut would, and starts it again on the same port and files.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn kill_and_restart(mut self) -> Result<Self> {
        self.signal(Signal::KILL);
        self.await_end().await;
        Self::start(self.binary.clone(), self.address, &self.folder.clone()).await
    }

    async fn await_end(&mut self) {
        let asked = Instant::now();
        while self.is_running() {
            if asked.elapsed() > STOP_TIMEOUT {
                self.signal(Signal::KILL);
            }
            // It is nobody's child and nobody collects it: dead, but still in the process table.
            if asked.elapsed() > STOP_TIMEOUT * 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The server's name, made once for a folder: tells our server from a stranger on the same port.
fn name_in(folder: &Path) -> Result<String> {
    let path = folder.join("name");
    if let Ok(name) = std::fs::read_to_string(&path)
        && !name.trim().is_empty()
    {
        return Ok(name.trim().to_owned());
    }
    let name = format!("aiai-{}", ulid::Ulid::generate());
    std::fs::write(&path, &name).map_err(|error| {
        Error::io(
            format!("cannot write {}; choose another data folder", path.display()),
            error,
        )
    })?;
    Ok(name)
}

/// A server that an earlier aiai left on this folder.
async fn left_running(folder: &Path, name: &str, binary: &Path) -> Option<Server> {
    let pid: u32 = std::fs::read_to_string(folder.join("nats-server.pid"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let address = ports_file(folder, pid)?;
    let url = format!("nats://{address}");
    if server_name(&url).await.as_deref() != Some(name) {
        return None;
    }
    Some(Server {
        child: None,
        pid,
        url,
        address,
        folder: folder.to_path_buf(),
        binary: binary.to_path_buf(),
    })
}

/// The address in `nats-server_<pid>.ports`, which the server writes when it listens.
fn ports_file(folder: &Path, pid: u32) -> Option<SocketAddr> {
    let suffix = format!("_{pid}.ports");
    let path = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.to_string_lossy().ends_with(&suffix))?;
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    ports
        .get("nats")?
        .get(0)?
        .as_str()?
        .strip_prefix("nats://")?
        .parse()
        .ok()
}

fn remove_ports_files(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "ports")
        {
            // A leftover of a killed server; a new one writes its own under another pid.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

async fn server_name(url: &str) -> Option<String> {
    let connect = async_nats::ConnectOptions::new()
        .connection_timeout(Duration::from_secs(2))
        .connect(url);
    let client = tokio::time::timeout(Duration::from_secs(3), connect)
        .await
        .ok()?
        .ok()?;
    Some(client.server_info().server_name)
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("(its log is empty)").to_owned()
}
