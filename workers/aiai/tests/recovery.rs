//! How long it takes after a SIGKILL, or a broken connection, until everything acknowledged before it is stored.
//!
//! The figures are told. What is asserted is looser, for a machine that is busy with other tests.

mod harness;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use harness::author::Author;
use harness::fleet::Fleet;
use harness::load::{Load, Style};
use harness::proxy::Proxy;
use harness::rest::{self, SOON_ARCHIVED, stored_up_to};
use harness::{say, until};

const REST_TIMEOUT: Duration = Duration::from_secs(90);
/// Of every single fault.
const RECOVERY_MAX: Duration = Duration::from_secs(12);
const WORKERS: [&str; 5] = ["sink", "ingest", "rollup", "route", "archive"];

#[test]
fn after_any_kill_or_cut_everything_is_stored_soon() {
    let mut fleet = Fleet::start();
    let proxies = WORKERS.map(|_| Proxy::start(&fleet.url));
    let run = |fleet: &mut Fleet, at: usize| {
        fleet.run_as(WORKERS[at], WORKERS[at], &proxies[at].url, &SOON_ARCHIVED);
    };
    for at in 0..WORKERS.len() {
        run(&mut fleet, at);
    }
    fleet.ask("SELECT 1");
    let style = Style {
        window: 16,
        pause: Duration::from_millis(30),
        is_stubborn: true,
    };
    let author = Author {
        ids: true,
        ..Author::new(1, 5)
    };
    let load = Load::start(&fleet.url, author, style);
    let mut told = Vec::new();
    let mut recover = |fleet: &Fleet, what: String, struck: Instant| {
        let newest = load.figures().newest.load(Relaxed);
        let url = fleet.url.clone();
        until(&format!("recovery: {what}"), REST_TIMEOUT, || {
            (stored_up_to(&url)? >= newest).then_some(())
        });
        told.push((struck.elapsed(), what));
        load.more(500);
    };
    load.more(500);
    for (at, worker) in WORKERS.iter().enumerate() {
        for _ in 0..2 {
            let struck = Instant::now();
            fleet.kill(worker);
            run(&mut fleet, at);
            recover(&fleet, format!("SIGKILL {worker}"), struck);
        }
        let struck = Instant::now();
        proxies[at].cut_all();
        recover(&fleet, format!("connection of {worker} cut"), struck);
    }
    for _ in 0..2 {
        let struck = Instant::now();
        fleet.kill("nats");
        fleet.start_nats();
        recover(&fleet, "SIGKILL nats-server".into(), struck);
    }
    let lines: Vec<String> = told
        .iter()
        .map(|(time, what)| format!("  {:5.1} s  {what}", time.as_secs_f64()))
        .collect();
    say(&format!(
        "from a fault until everything acknowledged before it is stored:\n{}",
        lines.join("\n")
    ));
    let slowest = told.iter().max().expect("faults");
    assert!(slowest.0 < RECOVERY_MAX, "{slowest:?}");
    let books = [load.finish()];
    fleet.at_rest(rest::newest(&books), REST_TIMEOUT);
    fleet.compare(&books);
    fleet.stop();
}
