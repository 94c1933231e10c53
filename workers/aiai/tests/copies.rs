//! Copies of workers that come and go under load change nothing but the speed.

mod harness;

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use harness::World;
use harness::author::Author;
use harness::fleet::Fleet;
use harness::load::{Load, Style};
use harness::publisher::{Publisher, settle_and_compare};
use harness::random::Random;
use harness::rest::{self, SOON_ARCHIVED};
use rustix::process::Signal;

/// Every worker of which there may be several.
const WORKERS: [&str; 3] = ["ingest", "rollup", "route"];

#[test]
fn copies_that_come_and_go_change_no_number() {
    let mut world = World::start();
    let publisher = Publisher::start(world.url());
    let mut copies: Vec<_> = (0..3).map(|_| world.also_run(&WORKERS)).collect();
    for round in 0..6 {
        publisher.more(2000 + round * 300);
        let copy = &mut copies[usize::try_from(round % 3).expect("small")];
        if round % 2 == 0 {
            copy.end(Signal::KILL);
        } else {
            assert_eq!(copy.end(Signal::TERM), Some(0), "an orderly end");
        }
        *copy = world.also_run(&WORKERS);
    }
    publisher.more(2000);
    assert!(shared(&world) > 1, "only one copy of ingest had anything to do");
    settle_and_compare(&mut world, publisher);
}

/// How many copies of ingest published events.
fn shared(world: &World) -> usize {
    let sql = "SELECT DISTINCT tags->>'instance' AS i FROM metric \
               WHERE name = 'aiai.worker.events' AND (tags->>'worker') = 'ingest' AND value > 0";
    harness::until("a second copy's own metrics", harness::publisher::TIMEOUT, || {
        let copies = world.query(sql).len();
        (copies > 1).then_some(copies)
    })
}

/// Copies of ingest, by name.
const COPIES: [&str; 4] = ["ingest-1", "ingest-2", "ingest-3", "ingest-4"];
const REST_TIMEOUT: Duration = Duration::from_secs(90);

/// Starts and stops copies of ingest at random while an author's messages are published; they are all compared with
/// what the author wrote.
fn compare_with(copies: &[&'static str], changes: u64) {
    let mut fleet = Fleet::start();
    for worker in ["sink", "rollup", "route", "archive"] {
        fleet.run(worker, &SOON_ARCHIVED);
    }
    let start = |fleet: &mut Fleet, name: &str| {
        let url = fleet.url.clone();
        fleet.run_as(name, "ingest", &url, &SOON_ARCHIVED);
    };
    copies.iter().for_each(|name| start(&mut fleet, name));
    fleet.ask("SELECT 1");
    let author = Author {
        is_clumsy: true,
        ids: true,
        ..Author::new(1, 8)
    };
    let style = Style {
        window: 16,
        pause: Duration::from_millis(20),
        is_stubborn: true,
    };
    let load = Load::start(&fleet.url, author, style);
    let mut random = Random::new(8);
    for _ in 0..changes {
        load.more(random.between(50, 250));
        let name = copies[usize::try_from(random.below(copies.len() as u64)).expect("small")];
        match fleet.pid(name) {
            None => start(&mut fleet, name),
            Some(_) if random.below(2) == 0 => fleet.kill(name),
            Some(_) => {
                fleet.signal(name, Signal::TERM);
                harness::until("an orderly end", REST_TIMEOUT, || {
                    let ended = fleet.ended();
                    for (name, status) in &ended {
                        // One that had only just begun does not know what the signal means.
                        let is_orderly = status.success() || status.signal() == Some(Signal::TERM.as_raw());
                        assert!(is_orderly, "{name}: {status}");
                    }
                    (!ended.is_empty()).then_some(())
                });
            }
        }
    }
    load.more(1500);
    if copies.iter().all(|name| fleet.pid(name).is_none()) {
        start(&mut fleet, copies[0]);
    }
    let books = [load.finish()];
    fleet.at_rest(rest::newest(&books), REST_TIMEOUT);
    fleet.compare(&books);
    fleet.stop();
}

#[test]
fn four_copies_of_ingest_started_and_stopped_at_random_change_nothing() {
    // Both are compared, item by item, with what the same author wrote: thus with each other.
    compare_with(&COPIES[..1], 0);
    compare_with(&COPIES, 24);
}
