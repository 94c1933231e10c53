//! Backpressure: whatever is full, publishers that wait for an acknowledgement are told, nothing that was acknowledged
//! is lost, and everything catches up by itself.

mod harness;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use harness::author::Author;
use harness::fleet::{Fleet, free_port};
use harness::load::{Book, Load, Outcome, Style};
use harness::rest::{self, SOON_ARCHIVED};
use harness::{http_get, until};
use rustix::process::Signal;

const TIMEOUT: Duration = Duration::from_secs(60);
const REST_TIMEOUT: Duration = Duration::from_secs(120);

/// All workers on small streams, and where their health is told.
struct Narrow {
    fleet: Fleet,
    settings: Vec<String>,
    ports: Vec<(&'static str, u16)>,
}

impl Narrow {
    fn start(sizes: &[&str]) -> Self {
        let mut narrow = Self {
            fleet: Fleet::start(),
            settings: SOON_ARCHIVED
                .iter()
                .chain(sizes)
                .map(|&text| text.to_owned())
                .collect(),
            ports: Vec::new(),
        };
        narrow.settings.push("sink.trim.interval_seconds=1".into());
        for worker in ["sink", "ingest", "rollup", "route", "archive"] {
            narrow.ports.push((worker, free_port()));
            narrow.run(worker);
        }
        narrow.fleet.ask("SELECT 1");
        narrow
    }

    fn run(&mut self, worker: &'static str) {
        let monitor = format!("monitor.listen={}", self.monitor(worker));
        let settings: Vec<&str> = self
            .settings
            .iter()
            .map(String::as_str)
            .chain([monitor.as_str()])
            .collect();
        self.fleet.run(worker, &settings);
    }

    fn monitor(&self, worker: &str) -> String {
        let found = self.ports.iter().find(|(known, _)| *known == worker);
        format!("127.0.0.1:{}", found.expect("a worker").1)
    }

    /// Waits until a worker's health says this.
    fn says(&mut self, worker: &str, what: &str) {
        let monitor = self.monitor(worker);
        until(&format!("{worker} to say {what}"), TIMEOUT, || {
            self.fleet.all_live();
            let (status, body) = http_get(&monitor, "/health");
            (status == 503 && body.contains(what)).then_some(())
        });
    }

    /// Waits until it has nothing to complain about.
    fn is_well(&mut self, worker: &str) {
        let monitor = self.monitor(worker);
        until(&format!("{worker} to be well"), TIMEOUT, || {
            (http_get(&monitor, "/health").0 == 200).then_some(())
        });
    }

    fn load(&self, is_clumsy: bool) -> Load {
        let author = Author {
            is_clumsy,
            ..Author::new(1, 6)
        };
        let style = Style {
            window: 32,
            pause: Duration::from_millis(5),
            is_stubborn: false,
        };
        Load::start(&self.fleet.url, author, style)
    }

    fn compare(mut self, books: &[Book]) {
        self.fleet.at_rest(rest::newest(books), REST_TIMEOUT);
        self.fleet.compare(books);
        for worker in ["sink", "ingest", "rollup", "route"] {
            self.is_well(worker);
        }
        self.fleet.stop();
    }
}

/// Waits until publishers are refused, in the server's words.
fn refused(load: &Load) {
    until("publishers to be refused", TIMEOUT, || {
        (load.figures().refused.load(Relaxed) > 200).then_some(())
    });
    let words = load.figures().last_error.lock().expect("the error").clone();
    assert!(words.contains("maximum bytes exceeded"), "{words}");
}

/// Publishes against a sink that is away; it comes back, and everything that was taken is stored.
fn without_the_sink(narrow: &mut Narrow, away: Signal) -> Vec<Book> {
    let load = narrow.load(false);
    load.more(300);
    if away == Signal::KILL {
        narrow.fleet.kill("sink");
    } else {
        narrow.fleet.signal("sink", away);
    }
    refused(&load);
    narrow.says("ingest", "maximum bytes exceeded");
    if away == Signal::KILL {
        narrow.run("sink");
    } else {
        narrow.fleet.signal("sink", Signal::CONT);
    }
    load.more(2000);
    vec![load.finish()]
}

#[test]
fn a_stopped_sink_holds_publishers_up_and_nothing_is_lost() {
    let mut narrow = Narrow::start(&["streams.ingest_max_megabytes=4", "streams.events_max_megabytes=4"]);
    let books = without_the_sink(&mut narrow, Signal::STOP);
    assert!(books[0].count(|outcome| matches!(outcome, Outcome::Refused(_))) > 200);
    narrow.compare(&books);
}

#[test]
fn a_killed_sink_holds_publishers_up_and_nothing_is_lost() {
    let mut narrow = Narrow::start(&["streams.ingest_max_megabytes=4", "streams.events_max_megabytes=4"]);
    let books = without_the_sink(&mut narrow, Signal::KILL);
    narrow.compare(&books);
}

#[test]
fn dead_alone_may_be_full() {
    let mut narrow = Narrow::start(&["streams.dead_max_megabytes=1"]);
    let load = narrow.load(true);
    load.more(300);
    narrow.fleet.signal("sink", Signal::STOP);
    narrow.says("ingest", "maximum bytes exceeded");
    // INGEST has room: who publishes is not told.
    load.more(500);
    narrow.fleet.signal("sink", Signal::CONT);
    load.more(500);
    let books = [load.finish()];
    narrow.compare(&books);
}

#[test]
fn rollup_alone_may_be_full() {
    // Room for several of the largest aggregates: one that is larger than its stream waits for ever.
    let mut narrow = Narrow::start(&["streams.rollup_max_megabytes=8"]);
    let load = narrow.load(false);
    load.more(300);
    narrow.fleet.signal("sink", Signal::STOP);
    narrow.says("rollup", "maximum bytes exceeded");
    // Events go on to where they are stored.
    load.more(500);
    narrow.fleet.signal("sink", Signal::CONT);
    load.more(500);
    let books = [load.finish()];
    narrow.compare(&books);
}
