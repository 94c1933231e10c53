//! Publishers that keep book: what became of every message they sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::author::Author;
use super::wire::{Message, Wire};

/// As clients wait for an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(5);
/// A publisher that sends again gives up so long after the order to stop.
const LAST_ATTEMPTS: Duration = Duration::from_secs(60);

/// What a publisher was told about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The stream has it, at this sequence.
    Acknowledged(u64),
    /// It may have it: the connection broke, or the answer was an error that says nothing about it.
    Unknown,
    /// It does not have it, in these words.
    Refused(String),
}

/// Everything a publisher sent, in order.
#[derive(Debug)]
pub struct Book {
    pub author: Author,
    pub outcomes: Vec<Outcome>,
}

impl Book {
    pub fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|outcome| which(outcome)).count()
    }
}

/// How a publisher publishes.
#[derive(Debug, Clone)]
pub struct Style {
    /// Messages sent before their acknowledgements are read.
    pub window: usize,
    /// Between two windows.
    pub pause: Duration,
    /// Sends again, under the same id, what was not acknowledged.
    pub is_stubborn: bool,
}

/// A publisher at work.
pub struct Load {
    thread: JoinHandle<Book>,
    stop: Arc<AtomicBool>,
    figures: Arc<Figures>,
}

/// What can be seen of it meanwhile.
#[derive(Debug, Default)]
pub struct Figures {
    /// Messages.
    pub acknowledged: AtomicU64,
    pub unknown: AtomicU64,
    pub refused: AtomicU64,
    /// The highest sequence of an acknowledged message.
    pub newest: AtomicU64,
    /// The last error in words.
    pub last_error: Mutex<String>,
}

impl Load {
    pub fn start(url: &str, author: Author, style: Style) -> Self {
        let (stop, figures) = (Arc::new(AtomicBool::new(false)), Arc::new(Figures::default()));
        let mut publisher = Publisher {
            url: url.to_owned(),
            style,
            wire: None,
            stop: stop.clone(),
            figures: figures.clone(),
            stopped_at: None,
        };
        let thread = std::thread::spawn(move || publisher.run(author));
        Self {
            thread,
            stop,
            figures,
        }
    }

    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Waits for so many more acknowledged messages.
    pub fn more(&self, messages: u64) {
        let goal = self.figures.acknowledged.load(Relaxed) + messages;
        super::until("acknowledgements", Duration::from_secs(60), || {
            (self.figures.acknowledged.load(Relaxed) >= goal).then_some(())
        });
    }

    pub fn finish(self) -> Book {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the publisher")
    }
}

struct Publisher {
    url: String,
    style: Style,
    wire: Option<Wire>,
    stop: Arc<AtomicBool>,
    figures: Arc<Figures>,
    stopped_at: Option<Instant>,
}

impl Publisher {
    fn run(&mut self, author: Author) -> Book {
        let mut outcomes = Vec::new();
        while !self.stop.load(Relaxed) {
            std::thread::sleep(self.style.pause);
            let first = outcomes.len() as u64;
            let messages: Vec<Message> = (first..first + self.style.window as u64)
                .map(|number| author.script(number).message)
                .collect();
            outcomes.extend(self.publish(&messages));
        }
        Book { author, outcomes }
    }

    /// One window, until every message in it is acknowledged, or once.
    fn publish(&mut self, messages: &[Message]) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Unknown; messages.len()];
        let mut attempts = 0;
        loop {
            let open: Vec<usize> = (0..messages.len())
                .filter(|at| !is_final(&outcomes[*at]))
                .collect();
            let sent: Vec<Message> = open.iter().map(|at| messages[*at].clone()).collect();
            for (at, outcome) in open.iter().zip(self.attempt(&sent)) {
                // What may have been stored once is not known to be absent because it was refused later.
                let was_unknown = attempts > 0 && outcomes[*at] == Outcome::Unknown;
                if !was_unknown || matches!(outcome, Outcome::Acknowledged(_)) {
                    outcomes[*at] = outcome;
                }
            }
            attempts += 1;
            let done = !self.style.is_stubborn || outcomes.iter().all(is_final);
            if done || self.gives_up() {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.note(&outcomes);
        outcomes
    }

    fn gives_up(&mut self) -> bool {
        if self.stop.load(Relaxed) {
            self.stopped_at.get_or_insert_with(Instant::now);
        }
        self.stopped_at.is_some_and(|at| at.elapsed() > LAST_ATTEMPTS)
    }

    fn attempt(&mut self, messages: &[Message]) -> Vec<Outcome> {
        if self.wire.is_none() {
            self.wire = Wire::connect_with(&self.url, PATIENCE).ok();
        }
        let Some(wire) = &mut self.wire else {
            // Not sent at all.
            std::thread::sleep(Duration::from_millis(50));
            return vec![Outcome::Refused("no connection".into()); messages.len()];
        };
        let answers = wire.exchange(messages);
        if answers.iter().any(Option::is_none) {
            self.wire = None;
        }
        let outcomes = answers.into_iter().map(|answer| match answer {
            Some(Ok(sequence)) => Outcome::Acknowledged(sequence),
            Some(Err(words)) if says_no(&words) => Outcome::Refused(words),
            Some(Err(words)) => {
                *self.figures.last_error.lock().expect("the error") = words;
                Outcome::Unknown
            }
            None => Outcome::Unknown,
        });
        outcomes.collect()
    }

    fn note(&self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let counter = match outcome {
                Outcome::Acknowledged(sequence) => {
                    self.figures.newest.fetch_max(*sequence, Relaxed);
                    &self.figures.acknowledged
                }
                Outcome::Unknown => &self.figures.unknown,
                Outcome::Refused(words) => {
                    words.clone_into(&mut self.figures.last_error.lock().expect("the error"));
                    &self.figures.refused
                }
            };
            counter.fetch_add(1, Relaxed);
        }
    }
}

/// Nothing is gained by sending it again.
fn is_final(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Acknowledged(_) => true,
        Outcome::Unknown => false,
        Outcome::Refused(words) => words.contains(TOO_LARGE),
    }
}

const TOO_LARGE: &str = "message size exceeds maximum allowed";

/// Errors after which the message is not in the stream: it is full, or the message too large.
fn says_no(words: &str) -> bool {
    [TOO_LARGE, "maximum bytes exceeded"]
        .iter()
        .any(|no| words.contains(no))
}
