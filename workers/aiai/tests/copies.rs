//! Copies of workers that come and go under load change nothing but the speed.

mod harness;

use harness::World;
use harness::publisher::{Publisher, settle_and_compare};
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
