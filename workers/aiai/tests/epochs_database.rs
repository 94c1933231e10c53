//! The database deleted, replaced by an older copy, or taken away while it is open; NATS taken from an older copy.

mod harness;

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::jetstream::{Book, stream};
use harness::wire::{Message, Wire};
use harness::{World, until};
use rustix::process::Signal;

/// Everything is archived at once and trimmed as soon as it is.
const TRIMMED: [&str; 5] = [
    "archive.job_seconds=1",
    "sink.trim.interval_seconds=1",
    "sink.trim.retain_hours=0",
    "sink.retain.interval_seconds=1",
    // Nothing is published but by the test.
    "node.interval_seconds=3600",
];
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until EVENTS has nothing any more.
fn trimmed(world: &World) {
    until(&format!("EVENTS to be trimmed\n{}", world.log()), TIMEOUT, || {
        let state = stream(&world.url(), "EVENTS")["state"].take();
        (state["messages"] == 0 && state["last_seq"].as_u64()? > 0).then_some(())
    });
}

fn delete_database(world: &World) {
    fs::remove_file(world.database()).expect("removed");
    let _ = fs::remove_file(world.database().with_extension("duckdb.wal"));
}

/// Copies a folder or a file.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("copied");
    }
}

/// Everything is there once, in rows, rollups and files, and the ledger balances.
fn whole(world: &World, book: &Book) {
    book.settled(world);
    world.rollups_whole();
    world.archived_once(book);
    world.settled(1);
}

#[test]
fn a_deleted_database_gets_everything_back() {
    let mut world = World::start_with(&TRIMMED);
    let mut book = Book::default();
    // From the archive.
    book.publish(&world, 400);
    book.settled(&world);
    trimmed(&world);
    world.stop(Signal::TERM);
    delete_database(&world);
    world.restart();
    book.publish(&world, 100);
    whole(&world, &book);
    let said = world.told("database_new", "EVENTS");
    assert!(
        said.contains("came back from the archive") && said.contains("no message of EVENTS is missing"),
        "{said}"
    );
    // From the archive without rows in tables, and with a file that older versions left: no manifest either.
    world.stop(Signal::TERM);
    world.set(&["sink.retain.raw_days=0"]);
    delete_database(&world);
    world.restart();
    book.publish(&world, 100);
    whole(&world, &book);
    // From the streams: nothing is trimmed any more.
    world.stop(Signal::TERM);
    world.set(&["sink.trim.retain_hours=24", "archive.job_seconds=3600"]);
    world.restart();
    book.publish(&world, 300);
    book.settled(&world);
    world.stop(Signal::TERM);
    delete_database(&world);
    world.restart();
    book.settled(&world);
    world.rollups_whole();
    // From nowhere: what neither has is named.
    world.stop(Signal::TERM);
    world.set(&["sink.trim.retain_hours=0", "archive.job_seconds=1"]);
    world.restart();
    trimmed(&world);
    world.stop(Signal::TERM);
    delete_database(&world);
    fs::remove_dir_all(world.data().join("archive")).expect("removed");
    book.doubt();
    world.restart();
    book.publish(&world, 100);
    book.settled(&world);
    let said = world.told("database_new", "EVENTS");
    assert!(
        said.contains("messages of EVENTS are in neither (1 to "),
        "{said}"
    );
}

#[test]
fn an_older_copy_of_the_database_goes_on_where_it_ends() {
    for raw_days in ["sink.retain.raw_days=7", "sink.retain.raw_days=0"] {
        let mut world = World::start_with(&TRIMMED);
        let mut book = Book::default();
        let older = world.folder().join("older.duckdb");
        book.publish(&world, 300);
        book.settled(&world);
        world.stop(Signal::TERM);
        copy(&world.database(), &older);
        // Rows move into files after the copy was taken.
        world.set(&[raw_days]);
        world.restart();
        book.publish(&world, 300);
        book.settled(&world);
        trimmed(&world);
        world.stop(Signal::TERM);
        delete_database(&world);
        copy(&older, &world.database());
        world.restart();
        book.publish(&world, 100);
        whole(&world, &book);
        let said = world.told("database_restored", "EVENTS");
        assert!(said.contains("no message of EVENTS is missing"), "{said}");
        world.kill();
        world.restart();
        whole(&world, &book);
        assert_eq!(world.tellings("database_restored"), 1, "told once");
    }
}

#[test]
fn a_database_taken_away_while_it_is_open_stops_the_sink() {
    let mut world = World::start_with(&["archive.job_seconds=1"]);
    let mut book = Book::default();
    let older = world.folder().join("older.duckdb");
    book.publish(&world, 200);
    book.settled(&world);
    world.stop(Signal::TERM);
    copy(&world.database(), &older);
    world.restart();
    book.publish(&world, 200);
    book.settled(&world);
    fs::remove_file(world.database()).expect("removed");
    assert_eq!(world.ends(), Some(1), "{}", world.log());
    assert!(
        world.log().contains("was deleted while the sink had it open"),
        "{}",
        world.log()
    );
    world.restart();
    book.publish(&world, 100);
    book.settled(&world);
    fs::rename(&older, world.database()).expect("replaced");
    assert_eq!(world.ends(), Some(1), "{}", world.log());
    assert!(
        world.log().contains("was replaced while the sink had it open"),
        "{}",
        world.log()
    );
    world.restart();
    book.publish(&world, 100);
    whole(&world, &book);
}

/// Two copies of NATS's files, the older one put in place of the newer; everything that was published is stored.
fn older_nats(book: &mut Book) -> World {
    let mut world = World::start_with(&["archive.job_seconds=1", "node.interval_seconds=3600"]);
    let nats = world.data().join("nats");
    let older = world.folder().join("older");
    book.publish(&world, 200);
    book.settled(&world);
    world.stop(Signal::TERM);
    copy(&nats, &older);
    copy(&world.database(), &world.folder().join("older.duckdb"));
    copy(&world.data().join("archive"), &world.folder().join("archive"));
    world.restart();
    book.publish(&world, 200);
    book.settled(&world);
    world.archived_once(book);
    world.stop(Signal::TERM);
    fs::remove_dir_all(&nats).expect("removed");
    copy(&older, &nats);
    world
}

#[test]
fn nats_from_an_older_copy_goes_on_behind_what_is_stored() {
    let mut book = Book::default();
    let mut world = older_nats(&mut book);
    world.restart();
    for name in ["INGEST", "EVENTS", "ROLLUP"] {
        let said = world.told("stream_older", name);
        assert!(said.contains("everything in it was stored"), "{said}");
    }
    book.publish(&world, 200);
    whole(&world, &book);
    world.stop(Signal::TERM);
    world.restart();
    book.publish(&world, 200);
    whole(&world, &book);
}

#[test]
fn nats_from_an_older_copy_that_was_published_to_is_refused() {
    published_to(1, "NATS was restored from an older copy: its stream INGEST");
}

#[test]
fn nats_from_an_older_copy_that_is_as_long_again_is_refused() {
    published_to(
        300,
        "NATS was restored from an older copy and was published to since",
    );
}

fn published_to(messages: u64, refusal: &str) {
    let mut book = Book::default();
    let mut world = older_nats(&mut book);
    // Before aiai is up somebody publishes: the message has the number of a stored one.
    let port = harness::fleet::free_port();
    let mut server = std::process::Command::new(harness::nats_server())
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(world.data().join("nats"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("nats-server starts");
    let url = format!("nats://127.0.0.1:{port}");
    let mut wire = until("nats-server", TIMEOUT, || Wire::connect(&url).ok());
    until("INGEST", TIMEOUT, || {
        wire.ask("$JS.API.STREAM.INFO.INGEST", "").ok()?["state"]
            .is_object()
            .then_some(())
    });
    let more: Vec<_> = (1..=messages)
        .map(|number| format!(r#"{{"name":"kill","source":"kill","data":-{number}}}"#))
        .map(|event| Message::new("ingest.event", event))
        .collect();
    wire.store(&more);
    harness::send(server.id(), Signal::TERM);
    server.wait().expect("ends");
    world.spawn();
    assert_eq!(world.ends(), Some(1), "{}", world.log());
    let log = world.log();
    assert!(log.contains(refusal), "{log}");
    // Copies that are older than that of NATS.
    delete_database(&world);
    copy(&world.folder().join("older.duckdb"), &world.database());
    fs::remove_dir_all(world.data().join("archive")).expect("removed");
    copy(&world.folder().join("archive"), &world.data().join("archive"));
    world.restart();
    until("the messages", TIMEOUT, || {
        let sql = "SELECT count(*) AS n FROM event WHERE source = 'kill' AND data::BIGINT < 0";
        (world.query(sql)[0]["n"] == messages).then_some(())
    });
    world.rollups_whole();
}
