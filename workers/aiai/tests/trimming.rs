//! Trimming: streams forget strictly less than what is durable, all the time, and what a publisher may send again is
//! known long enough.

mod harness;

use std::time::Duration;

use harness::author::Author;
use harness::fleet::Fleet;
use harness::load::{Load, Style};
use harness::rest::{self, SOON_ARCHIVED, stored_up_to};
use harness::until;
use harness::wire::{Message, Wire};
use rustix::process::Signal;

const TIMEOUT: Duration = Duration::from_secs(60);
const REST_TIMEOUT: Duration = Duration::from_secs(90);

fn start(more: &[&str]) -> Fleet {
    let mut fleet = Fleet::start();
    let settings = [&SOON_ARCHIVED, more, &["sink.trim.interval_seconds=1"]].concat();
    for worker in ["sink", "ingest", "rollup", "route", "archive"] {
        fleet.run(worker, &settings);
    }
    fleet.ask("SELECT 1");
    fleet
}

/// The first sequence that a stream still has.
fn first(wire: &mut Wire, stream: &str) -> u64 {
    let info = wire.ask(&format!("$JS.API.STREAM.INFO.{stream}"), "");
    let info = info.expect("an answer");
    info["state"]["first_seq"].as_u64().expect("a sequence")
}

/// Up to where EVENTS is stored, archived and rolled up.
fn durable(fleet: &Fleet, wire: &mut Wire) -> u64 {
    let sql = "SELECT min(seq)::UBIGINT AS seq FROM checkpoint WHERE stream IN ('EVENTS', 'EVENTS/archive') HAVING count(*) = 2";
    let found = fleet.ask(sql);
    let stored = found.first().and_then(|row| row["seq"].as_u64()).unwrap_or(0);
    let info = wire
        .ask("$JS.API.CONSUMER.INFO.EVENTS.rollup", "")
        .expect("an answer");
    stored.min(info["ack_floor"]["stream_seq"].as_u64().expect("a sequence"))
}

#[test]
fn streams_never_forget_what_is_not_durable() {
    let mut fleet = start(&["sink.trim.retain_hours=0", "streams.duplicate_window_seconds=1"]);
    let style = Style {
        window: 16,
        pause: Duration::from_millis(20),
        is_stubborn: false,
    };
    let load = Load::start(&fleet.url, Author::new(1, 7), style);
    let mut wire = Wire::connect(&fleet.url).expect("connects");
    let mut looks = 0;
    for worker in ["sink", "archive", "rollup", "ingest", "sink"] {
        let mut look = |fleet: &Fleet| {
            // The stream first: what is durable only grows.
            let (ingest, events) = (first(&mut wire, "INGEST"), first(&mut wire, "EVENTS"));
            let stored = stored_up_to(&fleet.url).unwrap_or(u64::MAX);
            let done = durable(fleet, &mut wire);
            assert!(
                ingest <= stored + 1,
                "INGEST begins at {ingest}, {stored} is stored"
            );
            assert!(events <= done + 1, "EVENTS begins at {events}, {done} is durable");
            looks += 1;
            (ingest, events)
        };
        let begun = look(&fleet);
        until("both streams to be trimmed", TIMEOUT, || {
            let now = look(&fleet);
            (now.0 > begun.0 && now.1 > begun.1).then_some(())
        });
        fleet.signal(worker, Signal::STOP);
        if worker == "sink" {
            // Nobody else trims.
            let before = (first(&mut wire, "INGEST"), first(&mut wire, "EVENTS"));
            load.more(500);
            assert_eq!(before, (first(&mut wire, "INGEST"), first(&mut wire, "EVENTS")));
        } else {
            load.more(300);
            look(&fleet);
            load.more(300);
            look(&fleet);
        }
        fleet.signal(worker, Signal::CONT);
    }
    assert!(looks > 10);
    let books = [load.finish()];
    fleet.at_rest(rest::newest(&books), REST_TIMEOUT);
    fleet.compare(&books);
    fleet.stop();
}

/// A publisher did not hear that its message was stored; then nats-server was restarted. It knows ids from its files
/// alone: what is trimmed too soon is unknown.
#[test]
fn a_message_sent_again_is_known_after_it_was_stored_and_nats_restarted() {
    let mut fleet = start(&["sink.trim.retain_hours=0"]);
    let send = |fleet: &Fleet| {
        let mut message = Message::new("ingest.event", r#"{"name":"once","source":"again"}"#);
        message.headers.push("Nats-Msg-Id: once".into());
        Wire::connect(&fleet.url).expect("connects").store(&[message])[0]
    };
    let sequence = send(&fleet);
    until("the message to be stored", TIMEOUT, || {
        (stored_up_to(&fleet.url)? >= sequence).then_some(())
    });
    // Other streams show that it was trimming's turn: INGEST's is before theirs.
    let mut wire = Wire::connect(&fleet.url).expect("connects");
    let trimmed = first(&mut wire, "ROLLUP");
    let other = Message::new("ingest.event", r#"{"name":"other"}"#);
    until("ROLLUP to be trimmed", TIMEOUT, || {
        wire.store(std::slice::from_ref(&other));
        (first(&mut wire, "ROLLUP") > trimmed).then_some(())
    });
    fleet.kill("nats");
    fleet.start_nats();
    fleet.await_nats();
    assert_eq!(send(&fleet), sequence, "known as a duplicate");
    fleet.settled(sequence);
    assert_eq!(
        fleet.ask("SELECT count(*) AS n FROM event_all WHERE name = 'once'")[0]["n"],
        1
    );
    fleet.stop();
}
