//! Tests: a database that fails in the middle of a commit.

use schemas::Time;

use crate::{Settings, Source, Store, StoredMessage};

const EPOCH: &str = "01JD00000000000000000000A1";

fn headers(origins: &str) -> Vec<(String, String)> {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        header("Aiai-Epoch", EPOCH),
        header("Aiai-Origins", origins),
        header("Aiai-Count", "1"),
    ]
}

fn message<'a>(sequence: u64, headers: &'a Vec<(String, String)>, payload: &'a [u8]) -> StoredMessage<'a> {
    StoredMessage {
        source: Source::Events,
        stream_epoch: EPOCH,
        sequence,
        subject: "events.metric",
        headers,
        payload,
        stored: Time(1_795_176_000_000_000),
    }
}

fn line(origin: u64) -> Vec<u8> {
    format!(
        "{{\"o\":{origin},\"i\":0,\"tenant\":\"t\",\"timestamp\":\"2026-11-20T11:00:00.000000Z\",\"source\":\"a\",\
         \"name\":\"x\",\"value\":1,\"v\":1}}\n"
    )
    .into_bytes()
}

#[test]
fn a_failed_commit_leaves_nothing_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("aiai.duckdb"), &Settings::default()).unwrap();
    let other = store.connection().try_clone().unwrap();
    let (first, second) = (headers("1"), headers("2"));
    let (one, two) = (line(1), line(2));
    let batch = [message(1, &first, &one), message(2, &second, &two)];
    store.commit(&batch[..1]).unwrap();
    store.settle(Source::Events, EPOCH, 3);

    // The rows can be appended; the bookkeeping that follows them cannot.
    other
        .execute_batch("ALTER TABLE checkpoint RENAME TO elsewhere")
        .unwrap();
    let error = store.commit(&batch[1..]).unwrap_err();
    assert!(error.retry, "{error:?}");
    other
        .execute_batch("ALTER TABLE elsewhere RENAME TO checkpoint")
        .unwrap();
    let count = |sql: &str| other.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM metric"), 1);

    let outcome = store.commit(&batch).unwrap();
    assert_eq!((outcome.rows, outcome.skipped, outcome.duplicates), (1, 1, 0));
    assert_eq!(count("SELECT count(*) FROM metric"), 2);
    assert_eq!(
        store.checkpoint(Source::Events, EPOCH),
        3,
        "what was settled is not forgotten"
    );
    assert_eq!(count("SELECT seq FROM checkpoint"), 3);
}

#[test]
fn a_value_the_database_refuses_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("aiai.duckdb"), &Settings::default()).unwrap();
    let other = store.connection().try_clone().unwrap();
    other
        .execute_batch("ALTER TABLE metric ALTER COLUMN trace_id SET NOT NULL")
        .unwrap();
    let numbered: Vec<_> = (1..=5)
        .map(|origin: u64| (headers(&origin.to_string()), line(origin)))
        .collect();
    let with_trace = |payload: &[u8]| {
        let text = String::from_utf8(payload.to_vec()).unwrap();
        text.replace("\"v\":1", "\"trace_id\":\"t\",\"v\":1").into_bytes()
    };
    let payloads: Vec<Vec<u8>> = numbered
        .iter()
        .zip(1..)
        .map(|((_, line), at)| if at == 3 { line.clone() } else { with_trace(line) })
        .collect();
    let batch: Vec<_> = (1..)
        .zip(numbered.iter().zip(&payloads))
        .map(|(sequence, ((headers, _), payload))| message(sequence, headers, payload))
        .collect();
    let outcome = store.commit(&batch).unwrap();
    assert_eq!((outcome.rows, outcome.rejected.len()), (4, 1));
    assert_eq!(outcome.rejected[0].index, 2);
    assert!(
        outcome.rejected[0]
            .reason
            .contains("the database refused a value")
    );
    let ranges = "SELECT ranges FROM origin_sets WHERE outcome = 'stored'";
    let stored: String = other.query_row(ranges, [], |row| row.get(0)).unwrap();
    assert_eq!(stored, "1-2,4-5");
    assert_eq!(
        store.checkpoint(Source::Events, EPOCH),
        2,
        "the refused message is not done with"
    );
}
