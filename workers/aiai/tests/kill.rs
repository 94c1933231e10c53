//! Killed at any moment, nothing that was acknowledged is lost and nothing is stored twice.

mod harness;

use std::fs;

use harness::publisher::{Publisher, TIMEOUT, settle_and_compare};
use harness::{World, until};
use rustix::process::Signal;

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
