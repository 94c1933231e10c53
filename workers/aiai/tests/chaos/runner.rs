//! The processes, what happens to them, and a supervisor that starts again whatever has ended.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::fleet::Fleet;
use crate::harness::proxy::Proxy;
use crate::harness::until;
use crate::harness::wire::{Message, Wire};
use crate::schedule::{Fault, NATS, PROCESSES, Way};

/// What ended by itself is started again after this time.
const RESTART: Duration = Duration::from_millis(300);
/// For everything to come up.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// For a chosen moment to come.
const MOMENT_TIMEOUT: Duration = Duration::from_secs(3);

/// Small limits, so that much happens in a short time.
const SETTINGS: [&str; 15] = [
    "archive.job_messages_max=500",
    "dashboard.listen=127.0.0.1:0",
    "gateway.listen=127.0.0.1:0",
    "otlp.listen_http=127.0.0.1:0",
    "otlp.listen_grpc=127.0.0.1:0",
    "node.interval_seconds=2",
    "sink.commit.flush_milliseconds=50",
    "sink.commit.rows_max=5000",
    "sink.retain.interval_seconds=5",
    "sink.retain.raw_days=0",
    "sink.rollup.compact_interval_seconds=5",
    "sink.trim.interval_seconds=1",
    "sink.trim.retain_hours=1",
    "sink.wal_megabytes=1",
    "streams.events_max_megabytes=64",
];

/// What is due later.
enum Action {
    Start(&'static str),
    Continue(&'static str),
    Clear(Way),
}

/// A poison message, and whether it was stored.
pub struct Poison {
    pub subject: &'static str,
    pub mark: String,
    pub stored: bool,
}

/// The processes, and what is done to them.
pub struct Runner {
    pub fleet: Fleet,
    /// How often each fault struck.
    pub faults: BTreeMap<String, u64>,
    /// Processes that ended without a signal of ours, by name and how.
    pub ended: BTreeMap<String, u64>,
    pub poisons: Vec<Poison>,
    /// Memory of each process in MB when everything was up.
    pub megabytes_before: BTreeMap<&'static str, u64>,
    workers: Proxy,
    agents: Proxy,
    settings: Vec<String>,
    due: Vec<(Instant, Action)>,
    /// Which of them we have asked to end, and how long they stay away.
    asked: Vec<(&'static str, Duration)>,
}

impl Runner {
    /// Everything up and answering.
    pub fn start(minutes: u64) -> Self {
        let mut fleet = Fleet::start();
        fleet.keep_when_failed = true;
        let mut settings: Vec<String> = SETTINGS.map(str::to_owned).into();
        // Not so many files that reading them all is what takes the time.
        settings.push(format!("archive.job_seconds={}", minutes.max(3)));
        let mut runner = Self {
            workers: Proxy::start(&fleet.url),
            agents: Proxy::start(&fleet.url),
            fleet,
            faults: BTreeMap::new(),
            ended: BTreeMap::new(),
            poisons: Vec::new(),
            megabytes_before: BTreeMap::new(),
            settings,
            due: Vec::new(),
            asked: Vec::new(),
        };
        for (name, _) in PROCESSES {
            runner.run(name);
        }
        until("an answer of the sink", START_TIMEOUT, || {
            runner.fleet.try_query("SELECT 1")
        });
        runner.megabytes_before = runner.megabytes();
        runner
    }

    fn run(&mut self, name: &'static str) {
        if name == NATS {
            return self.fleet.start_nats();
        }
        let worker = PROCESSES.iter().find(|(known, _)| *known == name);
        let worker = worker.expect("a process").1;
        let proxied = name == "sink" || name.ends_with("-1");
        let url = if proxied {
            self.workers.url.clone()
        } else {
            self.fleet.url.clone()
        };
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        self.fleet.run_as(name, worker, &url, &settings);
    }

    /// Where clients of a proxy connect.
    pub fn url(&self, way: Way) -> String {
        self.proxy(way).url.clone()
    }

    fn proxy(&self, way: Way) -> &Proxy {
        match way {
            Way::Workers => &self.workers,
            Way::Agents => &self.agents,
        }
    }

    fn later(&mut self, after: Duration, action: Action) {
        self.due.push((Instant::now() + after, action));
    }

    /// Lets a thing go wrong.
    pub fn strike(&mut self, fault: &Fault) {
        *self.faults.entry(fault.name()).or_default() += 1;
        match *fault {
            Fault::Kill(name, back) => self.end(name, Signal::KILL, back),
            Fault::Terminate(name, back) => self.end(name, Signal::TERM, back),
            Fault::Stop(name, time) => {
                self.fleet.signal(name, Signal::STOP);
                self.later(time, Action::Continue(name));
            }
            Fault::KillInCommit => self.kill_sink_when(|before, now| now > before),
            Fault::KillInCheckpoint => self.kill_sink_when(|before, now| now < before),
            Fault::CutAll(way) => self.proxy(way).cut_all(),
            Fault::CutOne(way, which) => self.proxy(way).cut_one(which),
            Fault::Stall(way, time) => self.proxy(way).stall(time),
            Fault::Delay(way, time) => {
                self.proxy(way).delay(Duration::from_millis(100));
                self.later(time, Action::Clear(way));
            }
            Fault::HalfOpen(way, time) => {
                self.proxy(way).half_open();
                self.later(time, Action::Clear(way));
            }
            Fault::DeleteDurable(stream, durable) => {
                self.publish(&format!("$JS.API.CONSUMER.DELETE.{stream}.{durable}"), "");
            }
            Fault::Poison(subject) => {
                let mark = format!("poison {} from nowhere", self.poisons.len());
                let stored = self.publish(subject, &mark);
                self.poisons.push(Poison {
                    subject,
                    mark,
                    stored,
                });
            }
        }
    }

    fn end(&mut self, name: &'static str, signal: Signal, back: Duration) {
        if self.fleet.pid(name).is_some() {
            self.asked.push((name, back));
            self.fleet.signal(name, signal);
        }
    }

    /// Kills the sink when the size of its log changes as told, or when that takes too long.
    fn kill_sink_when(&mut self, is_moment: impl Fn(u64, u64) -> bool) {
        let log = self.fleet.data().join("aiai.duckdb.wal");
        let size = || fs::metadata(&log).map_or(0, |file| file.len());
        let (begun, mut last) = (Instant::now(), size());
        while begun.elapsed() < MOMENT_TIMEOUT {
            let before = std::mem::replace(&mut last, size());
            if is_moment(before, last) {
                break;
            }
        }
        self.end("sink", Signal::KILL, RESTART);
    }

    /// Whether a stream has stored it. Past the proxies, and not for long.
    fn publish(&self, subject: &str, payload: &str) -> bool {
        let patience = Duration::from_secs(1);
        let Ok(mut wire) = Wire::connect_with(&self.fleet.url, patience) else {
            return false;
        };
        let answers = wire.exchange(&[Message::new(subject, payload)]);
        matches!(answers.first(), Some(Some(Ok(_))))
    }

    /// Does what is due, and starts again what has ended.
    pub fn tend(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.due)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.due = later;
        for (_, action) in due as Vec<_> {
            match action {
                Action::Start(name) if self.fleet.pid(name).is_none() => self.run(name),
                Action::Start(_) => {}
                Action::Continue(name) => self.fleet.signal(name, Signal::CONT),
                Action::Clear(way) => self.clear(way),
            }
        }
        for (ended, status) in self.fleet.ended() {
            let Some(name) = PROCESSES
                .iter()
                .map(|(name, _)| *name)
                .chain([NATS])
                .find(|name| *name == ended)
            else {
                continue;
            };
            assert_ne!(
                status.code(),
                Some(101),
                "{name} panicked:\n{}",
                self.fleet.log(name)
            );
            let asked = self.asked.iter().position(|(asked, _)| *asked == name);
            let back = asked.map(|at| self.asked.swap_remove(at).1);
            if back.is_none() {
                *self.ended.entry(format!("{name}: {status}")).or_default() += 1;
            }
            self.later(back.unwrap_or(RESTART), Action::Start(name));
        }
    }

    fn clear(&self, way: Way) {
        let proxy = self.proxy(way);
        proxy.delay(Duration::ZERO);
        proxy.stall(Duration::ZERO);
        proxy.cut_half_open();
    }

    /// Names of those that do not run now.
    pub fn down(&self) -> Vec<&'static str> {
        let names = PROCESSES.iter().map(|(name, _)| *name).chain([NATS]);
        names.filter(|name| self.fleet.pid(name).is_none()).collect()
    }

    /// Memory of each process that runs, in MB.
    pub fn megabytes(&self) -> BTreeMap<&'static str, u64> {
        let resident = |name: &str| {
            let status = fs::read_to_string(format!("/proc/{}/status", self.fleet.pid(name)?)).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kilobytes / 1024)
        };
        let names = PROCESSES.iter().map(|(name, _)| *name).chain([NATS]);
        names.filter_map(|name| Some((name, resident(name)?))).collect()
    }

    /// The end of all faults: everything runs.
    pub fn heal(&mut self) {
        for way in [Way::Workers, Way::Agents] {
            self.clear(way);
        }
        for (name, _) in PROCESSES {
            self.fleet.signal(name, Signal::CONT);
        }
        self.fleet.signal(NATS, Signal::CONT);
        until("everything to run", START_TIMEOUT, || {
            self.tend();
            let idle = self.due.is_empty() && self.down().is_empty();
            idle.then_some(())
        });
    }

    /// SIGTERM for all; each ends in time.
    pub fn stop(&mut self) {
        self.fleet.stop();
    }
}
