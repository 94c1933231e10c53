//! What the tests of the real executable share: an `aiai up` of their own, and ways to look at what it did.
//!
//! Each test has its own folder and its own ports, so tests run side by side. Every wait is for a
//! condition, with a deadline. Whatever happens, nothing that was started outlives its test.

#![allow(dead_code, unused_imports, reason = "no test program uses all of it")]

mod asking;
pub mod author;
pub mod browser;
pub mod compare;
mod extra;
pub mod fleet;
pub mod golden;
pub mod http;
pub mod jetstream;
pub mod load;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod random;
pub mod rest;
pub mod rollups;
pub mod sample;
pub mod wire;

pub use asking::{Ledger, http_get};
pub use extra::Extra;
use ports::free_port;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// From the order to stop to the end of the process.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// From the start to the banner, on a machine that is busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Everything published is stored within this time.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Polls until there is a value; panics, saying what it waited for, when it takes too long.
pub fn until<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            started.elapsed() < timeout,
            "waited {} s in vain for {what}",
            timeout.as_secs()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says something on standard error, past the test runner's capture.
pub fn say(what: &str) {
    let _ = std::io::stderr().write_all(format!("{what}\n").as_bytes());
}

/// Says what is not tested here.
pub fn skipped(what: &str) {
    say(&format!("\nNOT TESTED: {what}"));
}

/// The value of a variable that scripts/test sets where it can; says what is not tested without it.
pub fn tool(variable: &str, without: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        skipped(&format!(
            "{without} ({variable} is not set; scripts/test sets it)"
        ));
    }
    value
}

/// The executable, free of the settings of whoever runs the tests.
pub fn aiai() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aiai"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AIAI_") {
            command.env_remove(name);
        }
    }
    command.env("NATS_SERVER", nats_server()).env("COLUMNS", "100");
    command
}

/// What scripts/test chose, or what lies in `.tools`.
pub fn nats_server() -> PathBuf {
    let given = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nats-server"))
}

/// A running `aiai up`.
struct Up {
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// A folder of its own with an `aiai up` on it.
pub struct World {
    folder: TempDir,
    up: Option<Up>,
    /// `--set` of `aiai up` at every further start, as `section.key=value`.
    pub settings: Vec<String>,
    /// Where NATS listens, at every start.
    listen: String,
    /// `host:port`; kept over restarts, as what is open in a browser expects.
    pub dashboard: String,
    /// `host:port`, another one after each start.
    pub gateway: String,
    /// `host:port` of OTLP/HTTP.
    pub otlp: String,
    nats_pid: u32,
}

impl World {
    /// A folder in which nothing runs yet.
    pub fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            up: None,
            settings: Vec::new(),
            listen: format!("127.0.0.1:{}", free_port()),
            dashboard: format!("127.0.0.1:{}", free_port()),
            gateway: String::new(),
            otlp: String::new(),
            nats_pid: 0,
        }
    }

    /// `aiai up` in a new folder with settings of its own, ready.
    pub fn start_with(settings: &[&str]) -> Self {
        let mut world = Self::empty();
        world.set(settings);
        world.restart();
        world
    }

    /// `aiai up` in a new folder, ready.
    pub fn start() -> Self {
        let mut world = Self::empty();
        world.restart();
        world
    }

    /// What to set at every further start, as KEY=VALUE.
    pub fn set(&mut self, settings: &[&str]) {
        self.settings
            .extend(settings.iter().map(|&setting| setting.to_owned()));
    }

    /// The folder; `data` in it is aiai's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    pub fn database(&self) -> PathBuf {
        self.data().join("aiai.duckdb")
    }

    /// `nats://…`
    pub fn url(&self) -> String {
        format!("nats://{}", self.listen)
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("up.log")).unwrap_or_default()
    }

    /// `aiai up` on these files, as a command that was not run yet.
    pub fn up_command(&self) -> Command {
        let mut command = aiai();
        command.current_dir(self.folder()).args(["up", "--data", "data"]);
        command.args(["--set", &format!("dashboard.listen={}", self.dashboard)]);
        command.args(["--set", &format!("nats.listen={}", self.listen)]);
        for key in ["gateway.listen", "otlp.listen_http", "otlp.listen_grpc"] {
            command.args(["--set", &format!("{key}=127.0.0.1:0")]);
        }
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    /// Starts `aiai up` again on the same files and the same NATS port, and waits until it is up.
    pub fn restart(&mut self) {
        self.spawn();
        self.ready();
    }

    /// Starts `aiai up` and does not wait.
    pub fn spawn(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder().join("up.log"))
            .expect("a log file");
        let mut child = self
            .up_command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("aiai starts");
        let stdout = child.stdout.take().expect("standard output");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        self.up = Some(Up { child, lines });
    }

    /// Waits for the banner and reads it; it ends with how to stop.
    pub fn ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut banner = String::new();
        while !banner.contains("\nstop:") {
            let left = deadline.saturating_duration_since(Instant::now());
            let up = self.up.as_ref().expect("aiai was started");
            match up.lines.recv_timeout(left) {
                Ok(line) => banner.push_str(&format!("\n{line}")),
                Err(error) => panic!("aiai up did not come up ({error}):{banner}\n{}", self.log()),
            }
        }
        let word = |row: &str, at: usize| {
            let line = banner
                .lines()
                .find(|line| line.trim_start().starts_with(row))
                .expect("a row of the banner");
            line.split_whitespace().nth(at).expect("a word").to_owned()
        };
        self.dashboard = word("dashboard", 1).trim_start_matches("http://").to_owned();
        self.gateway = word("gateway", 1).trim_start_matches("http://").to_owned();
        self.otlp = word("otlp", 1).trim_start_matches("http://").to_owned();
        self.listen = word("nats ", 1).trim_start_matches("nats://").to_owned();
        let pid: String = word("nats ", 4).chars().filter(char::is_ascii_digit).collect();
        self.nats_pid = pid.parse().expect("the pid of nats-server");
    }

    /// Whether the last start took over a nats-server that was left running.
    pub fn nats_pid(&self) -> u32 {
        self.nats_pid
    }

    /// Waits until another nats-server runs on these files than the one known.
    pub fn await_new_nats(&mut self) {
        let file = self.folder().join("data/nats/nats-server.pid");
        let known = self.nats_pid;
        self.nats_pid = until("a new nats-server", START_TIMEOUT, || {
            let pid = fs::read_to_string(&file).ok()?.trim().parse().ok()?;
            (pid != known && is_alive(pid)).then_some(pid)
        });
    }

    /// Sends the signal, and asserts an orderly end: exit code 0 in time, and no nats-server left.
    pub fn stop(&mut self, signal: Signal) {
        let mut up = self.up.take().expect("aiai is up");
        let asked = Instant::now();
        send(up.child.id(), signal);
        let status = until("the end of aiai up", STOP_TIMEOUT * 3, || {
            up.child.try_wait().expect("a status")
        });
        let took = asked.elapsed();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert!(took < STOP_TIMEOUT, "stopping took {took:?}:\n{}", self.log());
        assert!(!is_alive(self.nats_pid), "nats-server was left running");
    }

    /// Waits until `aiai up` ends without being asked to, and gives its exit code.
    pub fn ends(&mut self) -> Option<i32> {
        let mut up = self.up.take().expect("aiai is up");
        let status = until("the end of aiai up", STOP_TIMEOUT * 3, || {
            up.child.try_wait().expect("a status")
        });
        status.code()
    }

    /// SIGKILL for `aiai up`, wherever it is; nats-server lives on.
    pub fn kill(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = up.child.kill();
            let _ = up.child.wait();
        }
    }

    /// A signal for `aiai up`.
    pub fn signal(&self, signal: Signal) {
        send(self.up.as_ref().expect("aiai is up").child.id(), signal);
    }

    /// SIGKILL for nats-server.
    pub fn kill_nats(&self) {
        kill_and_wait(self.nats_pid);
    }

    /// A command of the CLI against this server.
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = aiai();
        command.current_dir(self.folder()).args(arguments);
        command.args(["--nats-url", &self.url()]);
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
        // Also one that was started by an aiai that did not live to say so. It removes the file when it ends.
        let pid = fs::read_to_string(self.data().join("nats/nats-server.pid"));
        if let Some(pid) = pid.ok().and_then(|text| text.trim().parse().ok()) {
            kill_and_wait(pid);
        }
    }
}

/// A client program of these tests.
pub fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// NDJSON as values.
pub fn rows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a row"))
        .collect()
}

/// Sends a signal to a process, if it is there.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether there is a process that is not a zombie: in a container nobody may collect orphans.
pub fn is_alive(pid: u32) -> bool {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        return !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    !Path::new("/proc/self").exists()
        && pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

fn kill_and_wait(pid: u32) {
    send(pid, Signal::KILL);
    let started = Instant::now();
    while is_alive(pid) && started.elapsed() < STOP_TIMEOUT {
        std::thread::sleep(Duration::from_millis(5));
    }
}
