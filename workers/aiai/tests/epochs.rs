//! Streams, durables and all of NATS deleted, under running workers and while they are stopped: what was acknowledged
//! is stored once, and the operator is told in one sentence.

mod harness;

use std::fs;
use std::time::Duration;

use harness::World;
use harness::jetstream::{Book, delete_durable, delete_stream, remake_by_hand, stream};
use harness::publisher::{Publisher, settle_and_compare};
use harness::wire::Wire;
use rustix::process::Signal;

const STREAMS: [&str; 6] = ["INGEST", "EVENTS", "ROLLUP", "ALERTS", "DEAD", "ARCHIVE"];
const DURABLES: [(&str, &str); 11] = [
    ("INGEST", "ingest"),
    ("EVENTS", "sink"),
    ("EVENTS", "rollup"),
    ("ROLLUP", "sink"),
    ("DEAD", "sink"),
    ("EVENTS", "route"),
    ("EVENTS", "rules"),
    ("ALERTS", "sink"),
    ("ALERTS", "webhook"),
    ("ARCHIVE", "archive"),
    ("ARCHIVE", "sink"),
];

/// Until the operator is told of everything.
const TOLD: Duration = Duration::from_secs(30);

/// Archives soon, so that every stream has something in it.
fn world() -> World {
    World::start_with(&["archive.job_seconds=1"])
}

fn epoch(world: &World, name: &str) -> String {
    let found = stream(&world.url(), name);
    let epoch = found["config"]["metadata"]["aiai-epoch"].as_str();
    epoch
        .unwrap_or_else(|| panic!("{name} has no epoch: {found}"))
        .to_owned()
}

/// Each stream is deleted by `delete`, with events before, between and after.
fn each_stream(world: &mut World, book: &mut Book, delete: impl Fn(&mut World, &str)) {
    for name in STREAMS {
        book.publish(world, 60);
        book.settled(world);
        if name == "EVENTS" {
            // What it takes with it before it is archived is in the database only.
            world.archived_once(book);
        }
        let before = epoch(world, name);
        delete(world, name);
        harness::until(
            &format!("a new {name}"),
            std::time::Duration::from_secs(30),
            || {
                let found = stream(&world.url(), name);
                let epoch = found["config"]["metadata"]["aiai-epoch"].as_str()?.to_owned();
                (epoch != before).then_some(())
            },
        );
        book.publish(world, 60);
        book.settled(world);
        let after = epoch(world, name);
        let what = format!("what became of {name}");
        harness::until(&what, Duration::from_secs(30), || {
            let said = world.told("stream_recreated", name);
            (said.contains(&before) && said.contains(&after)).then_some(())
        });
    }
    world.rollups_agree("kill");
}

#[test]
fn a_stream_deleted_under_running_workers() {
    let (mut world, mut book) = (world(), Book::default());
    each_stream(&mut world, &mut book, |world, name| {
        delete_stream(&world.url(), name);
    });
    world.archived_once(&book);
    each_stream(&mut world, &mut book, |world, name| {
        remake_by_hand(&world.url(), name);
    });
    world.archived_once(&book);
    assert_eq!(world.tellings("stream_recreated"), 12, "each is told once");
    assert_eq!(
        world.tellings("durable_recreated"),
        0,
        "a stream's durables are not news beside it"
    );
}

#[test]
fn a_stream_deleted_while_aiai_is_stopped() {
    let (mut world, mut book) = (world(), Book::default());
    each_stream(&mut world, &mut book, |world, name| {
        world.kill();
        delete_stream(&world.url(), name);
        world.restart();
    });
    each_stream(&mut world, &mut book, |world, name| {
        world.kill();
        remake_by_hand(&world.url(), name);
        world.restart();
    });
    world.archived_once(&book);
    assert_eq!(world.tellings("stream_recreated"), 12, "each is told once");
}

/// What is on its way when a stream goes is still in INGEST.
#[test]
fn streams_and_durables_deleted_under_load() {
    let mut world = World::start();
    let publisher = Publisher::start(world.url());
    for name in ["EVENTS", "ROLLUP", "DEAD", "ALERTS", "ARCHIVE", "EVENTS"] {
        publisher.more(1000);
        delete_stream(&world.url(), name);
        publisher.more(500);
        delete_durable(&world.url(), "INGEST", "ingest");
    }
    publisher.more(500);
    settle_and_compare(&mut world, publisher);
}

#[test]
fn a_durable_deleted() {
    let (mut world, mut book) = (world(), Book::default());
    world.knows_durables();
    for (stream, durable) in DURABLES {
        book.publish(&world, 60);
        delete_durable(&world.url(), stream, durable);
        book.publish(&world, 60);
        book.settled(&world);
        if durable != "sink" {
            let said = world.told("durable_recreated", &format!("{stream}/{durable}"));
            assert!(said.contains("not counted twice"), "{said}");
        }
    }
    for (stream, durable) in DURABLES {
        book.publish(&world, 60);
        world.kill();
        delete_durable(&world.url(), stream, durable);
        book.publish(&world, 60);
        world.restart();
        book.settled(&world);
    }
    world.rollups_agree("kill");
    world.archived_once(&book);
}

/// Waits until each stream was told to be new so many times, and no more. INGEST is looked at every few seconds:
/// what is made anew twice between two looks is told once.
fn all_told(world: &World, rounds: usize) {
    let times = STREAMS.len() * rounds;
    harness::until("every stream to be told", TOLD, || {
        (world.tellings("stream_recreated") >= times).then_some(())
    });
    assert_eq!(
        world.tellings("stream_recreated"),
        times,
        "each is told once for each round"
    );
}

#[test]
fn nats_wiped() {
    let (mut world, mut book) = (world(), Book::default());
    book.publish(&world, 300);
    book.settled(&world);
    let store = world.data().join("nats");
    // Under running workers: aiai is held for as long as it takes to delete the files.
    for round in 1..=2 {
        // What goes before it is archived is in the database only.
        world.archived_once(&book);
        world.signal(Signal::STOP);
        world.kill_nats();
        fs::remove_dir_all(store.join("jetstream")).expect("removed");
        world.signal(Signal::CONT);
        world.await_new_nats();
        harness::until("a new EVENTS", std::time::Duration::from_secs(30), || {
            Wire::connect(&world.url()).ok()?;
            stream(&world.url(), "EVENTS")["config"].is_object().then_some(())
        });
        book.publish(&world, 300);
        book.settled(&world);
        all_told(&world, round);
    }
    world.archived_once(&book);
    world.stop(Signal::TERM);
    fs::remove_dir_all(&store).expect("removed");
    world.restart();
    book.publish(&world, 300);
    book.settled(&world);
    world.rollups_agree("kill");
    world.archived_once(&book);
    for name in STREAMS {
        let said = world.told("stream_recreated", name);
        assert!(said.contains("was made anew"), "{said}");
    }
    all_told(&world, 3);
}
