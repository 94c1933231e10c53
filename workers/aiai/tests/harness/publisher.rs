//! A publisher that keeps book, and the comparison of its book with what is stored.
//!
//! Every event carries its own number. The publisher keeps what was acknowledged and what may or may
//! not have been stored; in the end both are compared with the tables one by one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::wire::{Message, Wire};
use super::{World, until};

/// Messages sent before their acknowledgements are read.
const WINDOW: u64 = 40;
/// Between two windows: some 10,000 messages a second, so that a kill hits something, and the test ends.
const PAUSE: Duration = Duration::from_millis(4);
/// For a kill to become possible.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// All numbers, whatever kind they travelled as.
const NUMBERS: &str = "SELECT value::BIGINT AS n FROM metric WHERE source = 'kill' \
                       UNION ALL SELECT data::BIGINT FROM event WHERE source = 'kill' \
                       UNION ALL SELECT tokens_in FROM usage WHERE source = 'kill'";

/// The message with this number; every tenth carries three events.
pub fn message(number: u64) -> (Message, Vec<u64>) {
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
pub struct Sent {
    pub acknowledged: Vec<u64>,
    /// The connection broke before the answer.
    pub unknown: Vec<u64>,
}

/// Publishes without end.
pub struct Publisher {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    sent: Arc<Mutex<Sent>>,
}

impl Publisher {
    pub fn start(url: String) -> Self {
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
    pub fn more(&self, events: u64) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + events;
        until("acknowledgements", TIMEOUT, || {
            (self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    pub fn finish(self) -> Sent {
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
pub fn settle_and_compare(world: &mut World, publisher: Publisher) {
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
