//! Single faults at chosen moments: between the acknowledgement of what a worker made and its own, between a commit and
//! its acknowledgement, with an acknowledgement lost on its way, in a checkpoint. Everything is compared one by one.
//!
//! The worker that is struck reaches nats-server through a proxy which stops its words at that moment.

mod harness;

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use harness::author::Author;
use harness::fleet::Fleet;
use harness::load::{Book, Outcome};
use harness::proxy::{Frame, Proxy, Verdict};
use harness::rest::{self, SOON_ARCHIVED};
use harness::until;
use harness::wire::{Message, Wire};
use rustix::process::Signal;

/// For a moment to come, on a busy machine.
const MOMENT_TIMEOUT: Duration = Duration::from_secs(60);
const REST_TIMEOUT: Duration = Duration::from_secs(90);
const WORKERS: [&str; 5] = ["sink", "ingest", "rollup", "route", "archive"];

/// What happens at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    /// SIGKILL for the worker; the message is lost with all that follow it.
    Kill,
    /// The connection breaks; the message is lost.
    Cut,
    /// The message is lost, and nobody is told.
    Lose,
}

/// All workers, one of them through a proxy.
struct Scene {
    fleet: Fleet,
    proxy: Proxy,
    victim: &'static str,
    settings: Vec<&'static str>,
    books: Vec<Book>,
}

impl Scene {
    fn start(victim: &'static str, more: &[&'static str]) -> Self {
        let fleet = Fleet::start();
        let mut scene = Self {
            proxy: Proxy::start(&fleet.url),
            fleet,
            victim,
            settings: [&SOON_ARCHIVED, more].concat(),
            books: Vec::new(),
        };
        for worker in WORKERS {
            scene.run(worker);
        }
        scene.fleet.ask("SELECT 1");
        scene
    }

    fn run(&mut self, worker: &'static str) {
        let url = if worker == self.victim {
            self.proxy.url.clone()
        } else {
            self.fleet.url.clone()
        };
        self.fleet.run_as(worker, worker, &url, &self.settings);
    }

    /// Messages of every sort, all acknowledged.
    fn publish(&mut self, messages: u64) {
        let author = Author::new(self.books.len() as u64 + 1, 4);
        let all: Vec<Message> = (0..messages)
            .map(|number| author.script(number).message)
            .collect();
        let mut wire = Wire::connect(&self.fleet.url).expect("connects");
        let mut outcomes = Vec::new();
        // In pieces, so that they are not one batch.
        for some in all.chunks(50) {
            outcomes.extend(wire.store(some).into_iter().map(Outcome::Acknowledged));
            std::thread::sleep(Duration::from_millis(30));
        }
        self.books.push(Book { author, outcomes });
    }

    /// Strikes when the message after `before` of them comes by.
    fn at(&self, moment: fn(&Frame<'_>) -> bool, before: u64, strike: Strike) -> mpsc::Receiver<()> {
        let (sender, struck) = mpsc::channel();
        let mut seen = 0;
        self.proxy.watch(move |frame| {
            if !moment(frame) {
                return Verdict::Pass;
            }
            seen += 1;
            if seen <= before {
                return Verdict::Pass;
            }
            let first = sender.send(()).is_ok() && seen == before + 1;
            match strike {
                Strike::Kill => Verdict::Swallow,
                Strike::Cut if first => Verdict::Cut,
                Strike::Lose if first => Verdict::Swallow,
                Strike::Cut | Strike::Lose => Verdict::Pass,
            }
        });
        struck
    }

    /// SIGKILL, and a new start at once.
    fn kill(&mut self) {
        self.fleet.kill(self.victim);
        self.proxy.unwatch();
        self.proxy.cut_all();
        self.run(self.victim);
    }

    fn compare(mut self) {
        self.fleet.at_rest(rest::newest(&self.books), REST_TIMEOUT);
        self.fleet.compare(&self.books);
        self.fleet.stop();
    }
}

type Moment = fn(&Frame<'_>) -> bool;

/// All of a worker's moments, one after another: what one leaves behind, the next one meets.
fn struck(victim: &'static str, moments: &[(&str, Moment, Strike)]) {
    let mut scene = Scene::start(victim, &[]);
    for (what, moment, strike) in moments {
        for before in [0, 3] {
            let struck = scene.at(*moment, before, *strike);
            scene.publish(300);
            let what = format!("{victim}: {what}, {strike:?} after {before}");
            until(&what, MOMENT_TIMEOUT, || struck.try_recv().ok());
            match strike {
                Strike::Kill => scene.kill(),
                Strike::Cut | Strike::Lose => scene.proxy.unwatch(),
            }
        }
    }
    scene.publish(200);
    scene.compare();
}

#[test]
fn ingest_between_puback_and_ack() {
    let acknowledges: Moment = |frame| frame.acknowledges("INGEST.ingest");
    let is_stored: Moment = |frame| frame.stored_in("EVENTS");
    struck(
        "ingest",
        &[
            (
                "its events are stored and nothing is acknowledged",
                acknowledges,
                Strike::Kill,
            ),
            (
                "its events are stored and nothing is acknowledged",
                acknowledges,
                Strike::Cut,
            ),
            (
                "it does not hear that its events are stored",
                is_stored,
                Strike::Kill,
            ),
            (
                "it does not hear that its events are stored",
                is_stored,
                Strike::Lose,
            ),
        ],
    );
}

#[test]
fn rollup_between_puback_and_ack() {
    let acknowledges: Moment = |frame| frame.acknowledges("EVENTS.rollup");
    let is_stored: Moment = |frame| frame.stored_in("ROLLUP");
    struck(
        "rollup",
        &[
            (
                "its aggregates are stored and nothing is acknowledged",
                acknowledges,
                Strike::Kill,
            ),
            (
                "it does not hear that its aggregates are stored",
                is_stored,
                Strike::Kill,
            ),
            (
                "it does not hear that its aggregates are stored",
                is_stored,
                Strike::Lose,
            ),
        ],
    );
}

#[test]
fn rules_between_puback_and_ack() {
    let acknowledges: Moment = |frame| frame.acknowledges("EVENTS.rules");
    let is_stored: Moment = |frame| frame.stored_in("ALERTS");
    struck(
        "route",
        &[
            (
                "its matches are stored and nothing is acknowledged",
                acknowledges,
                Strike::Kill,
            ),
            (
                "it does not hear that its matches are stored",
                is_stored,
                Strike::Kill,
            ),
            (
                "it does not hear that its matches are stored",
                is_stored,
                Strike::Lose,
            ),
        ],
    );
}

#[test]
fn archive_between_puback_and_ack() {
    let acknowledges: Moment = |frame| frame.acknowledges("ARCHIVE.archive");
    let is_stored: Moment = |frame| frame.stored_in("ARCHIVE");
    struck(
        "archive",
        &[
            (
                "its files are known and nothing is acknowledged",
                acknowledges,
                Strike::Kill,
            ),
            (
                "it does not hear that its job or files are known",
                is_stored,
                Strike::Kill,
            ),
            (
                "it does not hear that its job or files are known",
                is_stored,
                Strike::Lose,
            ),
        ],
    );
}

#[test]
fn sink_between_commit_and_ack() {
    let events: Moment = |frame| frame.acknowledges("EVENTS.sink");
    let aggregates: Moment = |frame| frame.acknowledges("ROLLUP.sink");
    struck(
        "sink",
        &[
            (
                "rows are committed and nothing is acknowledged",
                events,
                Strike::Kill,
            ),
            (
                "rows are committed and nothing is acknowledged",
                events,
                Strike::Cut,
            ),
            (
                "rows are committed and one is not acknowledged",
                events,
                Strike::Lose,
            ),
            (
                "aggregates are committed and nothing is acknowledged",
                aggregates,
                Strike::Kill,
            ),
        ],
    );
}

/// Longer than its messages are waited for: it then finds them twice, as they came and as they came again.
#[test]
fn ingest_sleeps_and_is_given_its_messages_again() {
    let mut scene = Scene::start("ingest", &["streams.ack_wait_seconds=1"]);
    let mut wire = Wire::connect(&scene.fleet.url).expect("connects");
    for _ in 0..3 {
        scene.fleet.signal("ingest", Signal::STOP);
        scene.publish(300);
        until("messages to be delivered again", MOMENT_TIMEOUT, || {
            let info = wire
                .ask("$JS.API.CONSUMER.INFO.INGEST.ingest", "")
                .expect("an answer");
            (info["num_redelivered"].as_u64() >= Some(300)).then_some(())
        });
        scene.fleet.signal("ingest", Signal::CONT);
        scene.publish(100);
    }
    scene.compare();
}

#[test]
fn sink_is_killed_while_its_log_is_folded_into_the_file() {
    let mut scene = Scene::start(
        "sink",
        &["sink.wal_megabytes=1", "sink.commit.flush_milliseconds=10"],
    );
    let data = scene.fleet.data();
    // The file is written from the beginning of a checkpoint on; the log is emptied at its end.
    let written = || {
        fs::metadata(data.join("aiai.duckdb"))
            .and_then(|file| file.modified())
            .ok()
    };
    let log_bytes = || fs::metadata(data.join("aiai.duckdb.wal")).map_or(0, |file| file.len());
    for round in 0..6 {
        // A stopped sink finds a backlog, and much to write.
        scene.fleet.signal("sink", Signal::STOP);
        scene.publish(1000);
        let (begun, mut last) = (written(), log_bytes());
        scene.fleet.signal("sink", Signal::CONT);
        until("a checkpoint", MOMENT_TIMEOUT, || {
            for _ in 0..2000 {
                let before = std::mem::replace(&mut last, log_bytes());
                let is_now = if round % 2 == 0 {
                    written() != begun
                } else {
                    last < before
                };
                if is_now {
                    return Some(());
                }
            }
            None
        });
        scene.kill();
    }
    scene.compare();
}
