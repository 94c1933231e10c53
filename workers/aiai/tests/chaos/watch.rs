//! How far the database is behind the acknowledgements, all the time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::fleet::Fleet;
use crate::harness::load::Load;
use crate::harness::rest::stored_up_to;
use crate::runner::Runner;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// A look now and then.
pub struct Watch {
    shared: Arc<Shared>,
    noted: Mutex<Instant>,
}

#[derive(Default)]
struct Shared {
    /// When so much was acknowledged, and not known to be in the database yet.
    waiting: Mutex<VecDeque<(Instant, u64)>>,
    behind_max_ms: AtomicU64,
    stored: AtomicU64,
    ended: AtomicBool,
}

impl Watch {
    pub fn start(fleet: &Fleet) -> Self {
        let shared = Arc::new(Shared::default());
        let (looking, url) = (shared.clone(), fleet.url.clone());
        std::thread::spawn(move || {
            while !looking.ended.load(Relaxed) {
                if let Some(stored) = stored_up_to(&url) {
                    looking.advance(stored);
                }
                std::thread::sleep(INTERVAL);
            }
        });
        Self {
            shared,
            noted: Mutex::new(Instant::now()),
        }
    }

    /// Notes how much is acknowledged now.
    pub fn note(&self, loads: &[Load]) {
        let mut noted = self.noted.lock().expect("the time");
        if noted.elapsed() < INTERVAL {
            return;
        }
        *noted = Instant::now();
        let newest = loads.iter().map(|load| load.figures().newest.load(Relaxed)).max();
        let mut waiting = self.shared.waiting.lock().expect("what waits");
        waiting.push_back((*noted, newest.unwrap_or(0)));
    }

    /// The longest time from an acknowledgement to the row, to a second or two.
    pub fn behind_max(&self) -> Duration {
        Duration::from_millis(self.shared.behind_max_ms.load(Relaxed))
    }

    fn behind(&self) -> Duration {
        let waiting = self.shared.waiting.lock().expect("what waits");
        waiting.front().map_or(Duration::ZERO, |(at, _)| at.elapsed())
    }

    /// How it goes.
    pub fn line(&self, at: Duration, loads: &[Load], runner: &Runner) -> String {
        let sum = |of: fn(&Load) -> &AtomicU64| loads.iter().map(|load| of(load).load(Relaxed)).sum::<u64>();
        let down = runner.down();
        format!(
            "[{:4} s] {} messages acknowledged, {} unknown, {} refused; {} faults; stored up to {}, {:.0} s behind{}{}",
            at.as_secs(),
            sum(|load| &load.figures().acknowledged),
            sum(|load| &load.figures().unknown),
            sum(|load| &load.figures().refused),
            runner.faults.values().sum::<u64>(),
            self.shared.stored.load(Relaxed),
            self.behind().as_secs_f64(),
            if down.is_empty() { "" } else { "; down: " },
            down.join(" ")
        )
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
    }
}

impl Shared {
    fn advance(&self, stored: u64) {
        self.stored.store(stored, Relaxed);
        let mut waiting = self.waiting.lock().expect("what waits");
        while let Some((at, _)) = waiting.front().filter(|(_, newest)| *newest <= stored) {
            let behind = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.behind_max_ms.fetch_max(behind, Relaxed);
            waiting.pop_front();
        }
    }
}
