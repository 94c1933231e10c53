//! Looking after the archive every now and then, on a thread of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::Context;
use schemas::Time;

use crate::Keeper;
use crate::config::RetainConfig;
use crate::trim::now_microseconds;

/// The keeper, for its rounds and for those who ask it to correct costs: one at a time.
pub(crate) type SharedKeeper = Arc<Mutex<Keeper>>;

/// Waits for the keeper. Every change it makes is one transaction, so a panic leaves nothing half done.
pub(crate) fn lock(keeper: &Mutex<Keeper>) -> MutexGuard<'_, Keeper> {
    keeper.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Under which the worker's health names what is wrong with the archive.
const ABOUT: &str = "archive";

/// Looks after the archive until the process is to end.
pub(crate) async fn run(config: RetainConfig, keeper: SharedKeeper, context: Context) {
    let mut ticks = tokio::time::interval(Duration::from_secs(config.interval_seconds.max(1).into()));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = context.shutdown().cancelled() => return,
        }
        let (raw_days, keeper) = (config.raw_days, keeper.clone());
        let looked =
            tokio::task::spawn_blocking(move || lock(&keeper).round(raw_days, Time(now_microseconds())));
        let Ok(trouble) = looked.await else { return };
        let trouble =
            trouble.unwrap_or_else(|error| Some(format!("the archive is not looked after: {error:#}")));
        if trouble != said {
            if let Some(trouble) = &trouble {
                tracing::warn!(worker = "sink", trouble, "archive");
            }
            said.clone_from(&trouble);
        }
        context.set_trouble_about(ABOUT, trouble);
    }
}
