//! Stops a statement that takes too long or is no longer wanted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duckdb::InterruptHandle;

/// How often the cancel flag is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How often the interrupt is repeated: one that comes while a statement is being prepared is discarded.
const REPEAT: Duration = Duration::from_millis(2);

/// Why a statement was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Timeout,
    Cancelled,
}

/// Runs `work`, interrupting it at the deadline or once `cancel` is set. Says whether it had to.
pub(crate) fn guard<T>(
    interrupt: &InterruptHandle,
    timeout: Duration,
    cancel: &Arc<AtomicBool>,
    work: impl FnOnce() -> T,
) -> (T, Option<Stopped>) {
    let finished = (Mutex::new(false), Condvar::new());
    let deadline = Instant::now() + timeout;
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut stopped = None;
            let mut done = finished.0.lock().unwrap_or_else(PoisonError::into_inner);
            while !*done {
                let left = deadline.saturating_duration_since(Instant::now());
                if stopped.is_none() && cancel.load(Ordering::Relaxed) {
                    stopped = Some(Stopped::Cancelled);
                } else if stopped.is_none() && left.is_zero() {
                    stopped = Some(Stopped::Timeout);
                }
                if stopped.is_some() {
                    interrupt.interrupt();
                }
                let pause = if stopped.is_some() { REPEAT } else { POLL.min(left) };
                let waited = finished.1.wait_timeout(done, pause);
                done = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            stopped
        });
        // Ends the watch even if `work` panics; otherwise the scope would wait for it for ever.
        let end = End(&finished);
        let result = work();
        drop(end);
        (result, watch.join().unwrap_or(None))
    })
}

struct End<'f>(&'f (Mutex<bool>, Condvar));

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}
