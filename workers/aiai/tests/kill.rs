//! Killed at any moment, nothing that was acknowledged is lost and nothing is stored twice.
//!
//! Every event carries its own number. The publisher keeps what was acknowledged and what may or may
//! not have been stored; in the end both are compared with the tables one by one.

mod harness;

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::wire::{Message, Wire};
use harness::{World, until};
use rustix::process::Signal;
use serde_json::Value;

/// Messages sent before their acknowledgements are read.
const WINDOW: u64 = 40;
/// Between two windows: some 10,000 messages a second, so that a kill hits something, and the test ends.
const PAUSE: Duration = Duration::from_millis(4);
/// For a kill to become possible.
const TIMEOUT: Duration = Duration::from_secs(60);

/// All numbers, whatever kind they travelled as.
const NUMBERS: &str = "SELECT value::BIGINT AS n FROM metric WHERE source = 'kill' \
                       UNION ALL SELECT data::BIGINT FROM event WHERE source = 'kill' \
                       UNION ALL SELECT tokens_in FROM usage WHERE source = 'kill'";

/// The message with this number; every tenth carries three events.
fn message(number: u64) -> (Message, Vec<u64>) {
    let numbers: Vec<u64> = match number % 10 {
        0 => (0..3).map(|at| number * 10 + at).collect(),
        _ => vec![number * 10],
    };
    let (subject, name, field) = match number % 3 {
        0 => ("ingest.metric", "name", "value"),
        1 => ("ingest.event", "name", "data"),
        _ => ("ingest.usage", "model", "tokens_in"),
    };
    let lines: Vec<String> = numbers
        .iter()
        .map(|n| format!(r#"{{"{name}":"kill","source":"kill","{field}":{n}}}"#))
        .collect();
    (Message::new(subject, lines.join("\n")), numbers)
}

/// What became of each event's number.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<u64>,
    /// The connection broke before the answer.
    unknown: Vec<u64>,
}

/// Publishes without end.
struct Publisher {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    sent: Arc<Mutex<Sent>>,
}

impl Publisher {
    fn start(url: String) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sent = Arc::new(Mutex::new(Sent::default()));
        let (stopped, count, book) = (stop.clone(), acknowledged.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            let (mut next, mut wire) = (0, None);
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
                if wire.is_none() {
                    wire = Wire::connect(&url).ok();
                }
                let Some(connected) = &mut wire else { continue };
                let (messages, numbers): (Vec<_>, Vec<_>) = (next..next + WINDOW).map(message).unzip();
                next += WINDOW;
                let answers = connected.publish(&messages);
                if answers.is_err() {
                    wire = None;
                }
                let mut sent = book.lock().expect("the book");
                for (at, numbers) in numbers.into_iter().enumerate() {
                    let answer = answers.as_ref().ok().map(|answers| &answers[at]);
                    // An error in words may still come of a message that was stored: a stream that is closing.
                    match answer {
                        Some(Ok(_)) => sent.acknowledged.extend(numbers),
                        Some(Err(_)) | None => sent.unknown.extend(numbers),
                    }
                }
                count.store(sent.acknowledged.len() as u64, Ordering::Relaxed);
            }
        });
        Self {
            thread,
            stop,
            acknowledged,
            sent,
        }
    }

    /// Waits for so many more acknowledged events.
    fn more(&self, events: u64) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + events;
        until("acknowledgements", TIMEOUT, || {
            (self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    fn finish(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the publisher");
        std::mem::take(&mut self.sent.lock().expect("the book"))
    }
}

/// Every acknowledged number once, every doubtful one at most once, and no other.
fn compare(rows: &[Value], sent: &Sent) {
    let mut times: HashMap<u64, u32> = HashMap::with_capacity(rows.len());
    for row in rows {
        *times.entry(row["n"].as_u64().expect("a number")).or_default() += 1;
    }
    for number in &sent.acknowledged {
        let found = times.remove(number).unwrap_or(0);
        assert_eq!(
            found, 1,
            "event {number} was acknowledged and is stored {found} times"
        );
    }
    for number in &sent.unknown {
        let found = times.remove(number).unwrap_or(0);
        assert!(found <= 1, "event {number} is stored {found} times");
    }
    assert!(times.is_empty(), "nobody sent these: {times:?}");
}

/// Stops the publisher and compares, through aiai and, once that has ended, in the file itself.
fn settle_and_compare(world: &mut World, publisher: Publisher) {
    let sent = publisher.finish();
    assert!(sent.acknowledged.len() > 5000, "too few to prove anything");
    // Messages hold 1.2 events; the ledger counts messages.
    world.settled(sent.acknowledged.len() as u64 * 10 / 12);
    compare(&world.query(NUMBERS), &sent);
    assert_eq!(world.query("SELECT count(*) AS n FROM dead")[0]["n"], 0);
    world.rollups_agree("kill");
    world.stop(Signal::TERM);
    if let Some(rows) = world.read(NUMBERS) {
        compare(&rows, &sent);
    }
}

#[test]
fn killing_aiai_at_any_moment_loses_and_doubles_nothing() {
    let mut world = World::start();
    let nats = world.nats_pid();
    let publisher = Publisher::start(world.url());
    for round in 0..3 {
        // Under load, at an arbitrary point of whatever it is doing.
        publisher.more(2500 + round * 700);
        world.kill();
        // As soon as it is up again, with a backlog.
        publisher.more(500);
        world.restart();
        assert_eq!(world.nats_pid(), nats, "its nats-server was taken over");
        world.kill();
        // While it writes: a transaction has just reached the log.
        let log = world.data().join("aiai.duckdb.wal");
        let size = || fs::metadata(&log).map_or(0, |file| file.len());
        let mut last = u64::MAX;
        world.spawn();
        until("a transaction", TIMEOUT, || {
            let before = std::mem::replace(&mut last, size());
            (last > before).then_some(())
        });
        world.kill();
        // While it starts.
        let before = world.log().len();
        world.spawn();
        until("a sign of life", TIMEOUT, || {
            (world.log().len() > before).then_some(())
        });
        world.kill();
        world.restart();
    }
    settle_and_compare(&mut world, publisher);
}

#[test]
fn killing_nats_server_too_loses_and_doubles_nothing() {
    let mut world = World::start();
    let publisher = Publisher::start(world.url());
    publisher.more(4000);
    world.kill();
    world.kill_nats();
    world.restart();
    publisher.more(2000);
    // The other way round: for a while aiai runs without its server.
    world.kill_nats();
    world.kill();
    world.restart();
    publisher.more(2000);
    settle_and_compare(&mut world, publisher);
}

#[test]
fn ctrl_c_under_load_ends_in_time_and_loses_nothing() {
    let mut world = World::start();
    let publisher = Publisher::start(world.url());
    for signal in [Signal::INT, Signal::TERM] {
        publisher.more(4000);
        world.stop(signal);
        world.restart();
    }
    publisher.more(1000);
    settle_and_compare(&mut world, publisher);
}

#[test]
fn a_nats_server_that_dies_is_started_again() {
    let mut world = World::start();
    let publisher = Publisher::start(world.url());
    for _ in 0..2 {
        publisher.more(2000);
        world.kill_nats();
        world.await_new_nats();
    }
    publisher.more(2000);
    settle_and_compare(&mut world, publisher);
}

#[test]
fn aiai_gives_up_when_its_nats_server_dies_again_and_again() {
    let mut world = World::start();
    for _ in 0..3 {
        world.kill_nats();
        world.await_new_nats();
    }
    world.kill_nats();
    assert_eq!(world.ends(), Some(1), "{}", world.log());
    let log = world.log();
    let said: Vec<&str> = log.lines().filter(|line| line.starts_with("aiai: ")).collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(
        said[0].contains("again and again") && said[0].contains("server.log"),
        "{log}"
    );
    world.restart();
    world.stop(Signal::TERM);
}
