//! Several processes on one nats-server, as on several machines: what `aiai run` is for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

pub use super::ports::free_port;
use super::{Ledger, STOP_TIMEOUT, aiai, nats_server, process, rows, send, until};

/// For one process to come up, or everything to be stored, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A process of the fleet.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) child: Child,
}

/// A folder with processes on it. None outlives it.
pub struct Fleet {
    folder: TempDir,
    pub(super) members: Vec<Member>,
    /// `nats://…`
    pub url: String,
    /// Whether the folder stays, with its logs, when the test fails.
    pub keep_when_failed: bool,
}

impl Fleet {
    /// A folder in which nothing runs yet.
    pub fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            members: Vec::new(),
            url: format!("nats://127.0.0.1:{}", free_port()),
            keep_when_failed: false,
        }
    }

    /// A nats-server with the settings of nats/server.conf, ready.
    pub fn start() -> Self {
        let mut fleet = Self::empty();
        fleet.start_nats();
        fleet.await_nats();
        fleet
    }

    /// The nats-server, on the same port and files as before; does not wait.
    pub fn start_nats(&mut self) {
        let port = self.url.rsplit(':').next().expect("a port").to_owned();
        let mut server = Command::new(nats_server());
        server
            .arg("-c")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nats/server.conf"))
            .args(["-p", &port, "-sd"])
            .arg(self.folder().join("nats"));
        self.spawn("nats", server);
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What a process logged so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Starts a process under a name.
    pub fn spawn(&mut self, name: &str, mut command: Command) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder().join(format!("{name}.log")))
            .expect("a log file");
        let child = command
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a process starts");
        self.members.push(Member {
            name: name.to_owned(),
            child,
        });
    }

    /// `aiai run <worker>`, and what to set.
    pub fn run(&mut self, worker: &str, settings: &[&str]) {
        let url = self.url.clone();
        self.run_as(worker, worker, &url, settings);
    }

    /// `aiai run <worker>` under a name of its own, by a way of its own to nats-server.
    pub fn run_as(&mut self, name: &str, worker: &str, url: &str, settings: &[&str]) {
        let mut command = aiai();
        command.args(["run", worker, "--data", "data", "--nats-url", url]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        self.spawn(name, command);
    }

    /// The process with this name, if it runs.
    pub fn pid(&self, name: &str) -> Option<u32> {
        let member = self.members.iter().find(|member| member.name == name);
        member.map(|member| member.child.id())
    }

    /// Sends a signal to the process with this name, if it runs.
    pub fn signal(&self, name: &str, signal: Signal) {
        if let Some(pid) = self.pid(name) {
            send(pid, signal);
        }
    }

    /// Takes note of those that have ended, and says how.
    pub fn ended(&mut self) -> Vec<(String, ExitStatus)> {
        let mut ended = Vec::new();
        self.members
            .retain_mut(|member| match member.child.try_wait().expect("a status") {
                Some(status) => {
                    ended.push((member.name.clone(), status));
                    false
                }
                None => true,
            });
        ended
    }

    /// Waits until NATS takes connections.
    pub fn await_nats(&mut self) {
        let address = self.url.trim_start_matches("nats://").to_owned();
        until("nats-server", TIMEOUT, || {
            self.all_live();
            std::net::TcpStream::connect(&address).ok()
        });
    }

    /// Panics if one has ended.
    pub fn all_live(&mut self) {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if let Some(status) = member.child.try_wait().expect("a status") {
                let name = member.name.clone();
                panic!("{name} ended with {status}:\n{}", self.log(&name));
            }
        }
    }

    /// SIGKILL for one process.
    pub fn kill(&mut self, name: &str) {
        let at = self.members.iter().position(|member| member.name == name);
        let mut member = self.members.remove(at.expect("it runs"));
        member.child.kill().expect("killed");
        member.child.wait().expect("gone");
    }

    /// SIGTERM for all but nats-server; each ends in time, with exit code 0. Then nats-server.
    pub fn stop(&mut self) {
        for workers in [true, false] {
            let names = |member: &Member| (member.name != "nats") == workers;
            for member in self.members.iter().filter(|member| names(member)) {
                send(member.child.id(), Signal::TERM);
            }
            for at in 0..self.members.len() {
                if !names(&self.members[at]) {
                    continue;
                }
                let member = &mut self.members[at];
                let status = until(&format!("the end of {}", member.name), STOP_TIMEOUT * 3, || {
                    member.child.try_wait().expect("a status")
                });
                let name = member.name.clone();
                // nats-server reports its signal as code 1.
                assert!(
                    !workers || status.code() == Some(0),
                    "{name}: {status}\n{}",
                    self.log(&name)
                );
            }
        }
        self.members.clear();
    }

    /// A command of the CLI against this server.
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = aiai();
        command.current_dir(self.folder()).args(arguments);
        command.args(["--nats-url", &self.url]);
        command
    }

    /// Rows of one SELECT; none while nobody answers.
    pub fn try_query(&self, sql: &str) -> Option<Vec<Value>> {
        let output = process::run(self.cli(&["query", sql, "-o", "ndjson", "--rows", "1000000"]));
        output.ok().then(|| rows(&output.stdout))
    }

    /// How many copies of a worker live, by `aiai status`.
    pub fn heartbeats(&self, worker: &str) -> usize {
        let output = process::run(self.cli(&["status", "-o", "json"]));
        let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
        let beats = report["workers"].as_array().expect("workers").iter();
        beats.filter(|beat| beat["worker"] == worker).count()
    }

    /// The ledger, once it knows of so many messages (or more) and none of them is pending.
    pub fn settled(&mut self, published_min: u64) -> Ledger {
        until("the ledger to settle", TIMEOUT, || {
            self.all_live();
            let output = process::run(self.cli(&["ledger", "-o", "ndjson"]));
            let ledger = Ledger::read(rows(&output.stdout).first()?);
            assert_eq!(ledger.missing, 0, "{output:?}");
            (ledger.published >= published_min && ledger.pending == 0).then_some(ledger)
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
        let failed = std::thread::panicking() && self.keep_when_failed;
        if failed || std::env::var_os("AIAI_TEST_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            super::say(&format!("kept for a look: {}", self.folder().display()));
        }
    }
}
