//! Everything at once: all workers as processes of their own, publishers that keep book, and faults drawn from a seed.
//! In the end every event is compared with what is stored, one by one.
//!
//! `AIAI_CHAOS_MINUTES` (2) and `AIAI_CHAOS_SEED` (1) say how long and which; `AIAI_CHAOS_PROGRESS=1` tells how it goes.
//! scripts/chaos sets them.

#[path = "../harness/mod.rs"]
mod harness;

mod end;
mod runner;
mod schedule;
mod watch;

use std::time::{Duration, Instant};

use harness::author::Author;
use harness::load::{Book, Load, Style};
use harness::say;
use runner::Runner;
use schedule::{Way, schedule};
use watch::Watch;

/// A value from the environment.
fn given(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text}: give a whole number")),
        Err(_) => default,
    }
}

/// Publishers of several kinds: some by the proxy, some that send again, one that sends large messages.
fn publishers(runner: &Runner, seed: u64) -> Vec<Load> {
    let author = |number, is_clumsy, ids| Author {
        is_clumsy,
        ids,
        ..Author::new(number, seed)
    };
    let style = |window, milliseconds, is_stubborn| Style {
        window,
        pause: Duration::from_millis(milliseconds),
        is_stubborn,
    };
    let (direct, proxied) = (runner.fleet.url.clone(), runner.url(Way::Agents));
    vec![
        Load::start(&direct, author(1, true, false), style(16, 200, false)),
        Load::start(&proxied, author(2, true, false), style(16, 200, false)),
        Load::start(&proxied, author(3, true, true), style(16, 200, true)),
        Load::start(&direct, author(4, false, true), style(1, 20, true)),
    ]
}

#[test]
fn whatever_fails_every_acknowledged_event_is_stored_once() {
    let (minutes, seed) = (given("AIAI_CHAOS_MINUTES", 2), given("AIAI_CHAOS_SEED", 1));
    let progress = given("AIAI_CHAOS_PROGRESS", 0) > 0;
    let length = Duration::from_secs(minutes * 60);
    let _told = Seed(seed, minutes);
    let mut runner = Runner::start(minutes);
    let loads = publishers(&runner, seed);
    let watch = Watch::start(&runner.fleet);
    let begun = Instant::now();
    let mut next_line = Duration::from_secs(5);
    let mut steps = schedule(seed, length).into_iter().peekable();
    while begun.elapsed() < length {
        while let Some(step) = steps.next_if(|step| step.at <= begun.elapsed()) {
            runner.strike(&step.fault);
        }
        runner.tend();
        watch.note(&loads);
        if progress && begun.elapsed() > next_line {
            next_line += Duration::from_secs(5);
            say(&watch.line(begun.elapsed(), &loads, &runner));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    runner.heal();
    if progress {
        say(&format!(
            "[{:4} s] no more faults; publishers end",
            begun.elapsed().as_secs()
        ));
    }
    let books: Vec<Book> = loads.into_iter().map(Load::finish).collect();
    let report = end::settle_and_compare(&mut runner, &watch, &books);
    say(&format!("chaos, seed {seed}, {minutes} min: {report}"));
    runner.stop();
}

/// Tells how to have the same again when the test fails.
struct Seed(u64, u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!(
                "the same again: scripts/chaos --seed {} --minutes {}",
                self.0, self.1
            ));
        }
    }
}
