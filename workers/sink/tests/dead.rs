//! What people do about dead letters, as the database sees it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;
use sink::{Monitor, Source, StreamFigures};
use support::*;

/// A note as `aiai dead` writes it.
fn note(sequence: u64, deed: &str, letters: &[u64]) -> Message {
    let letters: Vec<_> = letters
        .iter()
        .map(|letter| json!({"letter": letter, "count": 1, "stream": "INGEST", "sequence": 100 + letter}))
        .collect();
    Message {
        source: Source::Dead,
        epoch: DEAD_EPOCH.to_owned(),
        sequence,
        subject: format!("dead.note.{deed}"),
        headers: Vec::new(),
        payload: json!({"epoch": DEAD_EPOCH, "letters": letters})
            .to_string()
            .into_bytes(),
        stored: NOON,
    }
}

const STATES: &str = "SELECT dead_seq AS id, state, payload IS NULL AS emptied FROM dead ORDER BY dead_seq";

#[test]
fn notes_change_the_state_of_letters_and_no_sum() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let monitor = Monitor::open(&store, schemas::Time(NOON)).unwrap();
    let before = monitor.overview(&StreamFigures::default(), schemas::Time(NOON));
    assert_eq!(before.unwrap().dead_open, 0, "asked while there is none");
    let letters = [
        dead(1, 11, None),
        dead(2, 12, None),
        dead(3, 13, Some(0)),
        dead(4, 14, None),
    ];
    // The letter and the note about it in one transaction, as after a restore.
    let replayed = note(5, "replayed", &[1]);
    let outcome = commit(
        &mut store,
        &[&letters[0], &letters[1], &letters[2], &letters[3], &replayed],
    );
    assert_eq!(outcome.dead, 4);
    let figures = StreamFigures {
        epoch: INGEST_EPOCH.into(),
        last_sequence: 14,
        ..StreamFigures::default()
    };
    let overview = || monitor.overview(&figures, schemas::Time(NOON)).unwrap();
    let ledger = overview().ledger;
    assert_eq!((overview().dead_open, ledger.dead), (3, 4));

    commit(
        &mut store,
        &[&note(6, "replaying", &[2]), &note(7, "dropped", &[2, 4])],
    );
    assert_eq!((overview().dead_open, overview().ledger), (1, ledger));
    let state = |id: u64, state: &str| json!({"id": id, "state": state, "emptied": state == "dropped"});
    let wanted = [
        state(1, "replayed"),
        state(2, "dropped"),
        state(3, "open"),
        state(4, "dropped"),
    ];
    assert_eq!(rows(&store, STATES), wanted);
    // What was dropped stays so; a redelivered note changes nothing.
    let outcome = commit(
        &mut store,
        &[&note(8, "replayed", &[2]), &note(7, "dropped", &[2, 4])],
    );
    assert_eq!((outcome.skipped, rows(&store, STATES)), (1, wanted.to_vec()));
    let history = "SELECT deed, stream, sequence FROM dead_note WHERE dead_seq = 1";
    assert_eq!(
        rows(&store, history),
        [json!({"deed": "replayed", "stream": "INGEST", "sequence": 101})]
    );
    assert_eq!(store.checkpoint(Source::Dead, DEAD_EPOCH), 8);
}

#[test]
fn a_note_waits_for_its_letter_and_what_is_no_note_is_a_letter() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let early = note(2, "replayed", &[1]);
    assert_eq!(commit(&mut store, &[&early]).deferred, [0]);
    commit(&mut store, &[&dead(1, 11, None), &early]);
    assert_eq!(
        rows(&store, "SELECT state FROM dead"),
        [json!({"state": "replayed"})]
    );
    let broken = Message {
        payload: b"{}".to_vec(),
        ..note(3, "dropped", &[1])
    };
    // Of another life of DEAD, and of letters that never were: no reason to wait.
    let mut other = note(4, "dropped", &[1]);
    other.payload = json!({"epoch": INGEST_EPOCH, "letters": [{"letter": 1}, {"letter": 9}]})
        .to_string()
        .into_bytes();
    let outcome = commit(&mut store, &[&broken, &other, &note(5, "dropped", &[7])]);
    assert_eq!((outcome.dead, outcome.deferred), (1, Vec::new()));
    let kept = "SELECT subject IS NULL AS bare, stage, kind, state FROM dead WHERE dead_seq = 3";
    assert_eq!(
        rows(&store, kept),
        [json!({"bare": true, "stage": "note", "kind": "dropped", "state": "open"})]
    );
}

#[test]
fn letters_say_who_sent_them_and_that_they_were_replays() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let with = |sequence: u64, payload: &[u8]| Message {
        payload: payload.to_vec(),
        ..dead(sequence, sequence, None)
    };
    let payloads: [&[u8]; 6] = [
        br#"{"source":"a","value":"x"}"#,
        br#" [{"source":"a"},{"source":"a"}]"#,
        br#"[{"source":"a"},{"source":"b"}]"#,
        b"{\"source\":\"a\"}\n{\"source\":\"a\"}\n",
        br#"{"source":1}"#,
        b"\xff",
    ];
    let letters: Vec<Message> = (1..)
        .zip(payloads)
        .map(|(at, payload)| with(at, payload))
        .collect();
    commit(&mut store, &letters.iter().collect::<Vec<_>>());
    let replay = dead(7, 7, None)
        .header("Aiai-Replay-Of", "3")
        .header("Aiai-Replay-Count", "2");
    commit(&mut store, &[&replay]);
    let sources: Vec<_> = rows(
        &store,
        "SELECT source FROM dead WHERE dead_seq < 7 ORDER BY dead_seq",
    )
    .into_iter()
    .map(|row| row["source"].clone())
    .collect();
    assert_eq!(json!(sources), json!(["a", "a", null, "a", null, null]));
    let of = "SELECT replay_of, replay_count FROM dead WHERE replay_of IS NOT NULL";
    assert_eq!(rows(&store, of), [json!({"replay_of": 3, "replay_count": 2})]);
}

#[test]
fn a_refused_batch_that_is_replayed_moves_from_dead_to_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let monitor = Monitor::open(&store, schemas::Time(NOON)).unwrap();
    let batch = metrics(9, [5, 6]);
    let letter = Message {
        source: Source::Dead,
        epoch: DEAD_EPOCH.to_owned(),
        sequence: 1,
        subject: "dead.sink.metric".to_owned(),
        ..batch.clone()
    }
    .header("Aiai-Stage", "sink")
    .header("Aiai-Subject", "events.metric");
    commit(&mut store, &[&letter]);
    let figures = StreamFigures {
        epoch: INGEST_EPOCH.into(),
        last_sequence: 6,
        ..StreamFigures::default()
    };
    let counts = || {
        let ledger = monitor.overview(&figures, schemas::Time(NOON)).unwrap().ledger;
        (ledger.stored, ledger.dead, ledger.duplicates)
    };
    assert_eq!(counts(), (0, 2, 0));
    let replay = Message {
        sequence: 10,
        ..batch
    };
    assert_eq!(
        commit(&mut store, &[&replay.header("Aiai-Replay-Of", "1")]).rows,
        4
    );
    assert_eq!(counts(), (2, 0, 0));
}
