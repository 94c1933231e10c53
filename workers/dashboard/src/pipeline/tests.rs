//! The regions as a browser gets them.

use std::sync::Arc;

use schemas::ledger;
use schemas::live::{self, ArchiveState, DeadLetter, Durable, Pipeline, Problem, Sample, Stream, Worker};
use schemas::overview::{DatabaseInfo, Ledger, Overview};

use crate::{picture::Known, regions::Regions};

const HOSTILE: &str = r#"<script>alert("x")</script>'"#;
const NOW_MS: i64 = 1_795_176_000_000;

fn pipeline() -> Pipeline {
    let durable = Durable {
        name: "rollup".into(),
        lag_messages: 12_345,
        lag_seconds: Some(42.0),
        per_second: Some(3.0),
        ..Durable::default()
    };
    let stream = Stream {
        name: "EVENTS".into(),
        messages: 7,
        bytes: 95,
        bytes_max: Some(100),
        durables: vec![durable],
        ..Stream::default()
    };
    let copy = |worker: &str, heard_ms| Worker {
        worker: worker.into(),
        host: HOSTILE.into(),
        pid: 42,
        heard_ms,
        started_ms: NOW_MS - 7_200_000,
        trouble: Some(HOSTILE.into()),
        ..Worker::default()
    };
    Pipeline {
        server: "127.0.0.1:4222".into(),
        streams: vec![stream],
        workers: vec![copy("ingest", NOW_MS), copy("node", NOW_MS - 13_000)],
        dead: vec![DeadLetter {
            sequence: 9,
            at_ms: NOW_MS,
            reason: "unknown_field".into(),
            place: HOSTILE.into(),
            fix: "did you mean value?".into(),
            ..DeadLetter::default()
        }],
        ..Pipeline::default()
    }
}

fn regions(pipeline: Pipeline) -> Regions {
    Regions::render(&Known {
        pipeline: Some(Arc::new(pipeline)),
        feed_ms: NOW_MS,
        samples: [Sample {
            name: HOSTILE.into(),
            ..Sample::default()
        }]
        .into(),
        ..Known::default()
    })
    .unwrap()
}

#[test]
fn a_late_reader_without_a_worker_names_the_command() {
    let regions = regions(pipeline());
    let streams = regions.html("streams");
    for part in [
        "EVENTS",
        "12.3\u{202f}k",
        "42\u{202f}s",
        "95\u{202f}%",
        "aiai run rollup",
    ] {
        assert!(streams.contains(part), "{part}: {streams}");
    }
    assert!(regions.html("status").contains("no worker rollup runs"));
    assert!(regions.html("status").contains("nearly full"));
}

#[test]
fn copies_say_where_they_run_and_who_is_silent() {
    let regions = regions(pipeline());
    let workers = regions.html("workers");
    for part in ["pid 42", "2\u{202f}h", "silent for 13\u{202f}s"] {
        assert!(workers.contains(part), "{part}: {workers}");
    }
    assert!(regions.html("dead").contains("did you mean value?"));
    assert!(regions.html("samples").contains("script"));
    for region in &regions.0 {
        assert!(!region.html.contains("<script"), "{}", region.html);
    }
}

#[test]
fn archive_figures_are_shown_where_they_can_be_had() {
    let mut told = pipeline();
    assert!(!regions(told.clone()).html("storage").contains("Archive"));
    told.archive.problem = Some(Problem::Timeout);
    assert!(
        regions(told.clone())
            .html("storage")
            .contains("could not be read")
    );
    told.archive.problem = None;
    told.archive.value = Some(vec![ArchiveState {
        state: "missing".into(),
        files: 2,
        ..ArchiveState::default()
    }]);
    assert!(
        regions(told.clone())
            .html("storage")
            .contains("the files are missing")
    );
    told.archive.value = Some(vec![]);
    assert!(regions(told).html("storage").contains("no file yet"));
}

/// What is known when the sink answered so long ago, and has not since.
fn sink_silent_for(age_ms: i64) -> Regions {
    let mut told = live::Overview::default();
    told.sink.answered_ms = Some(NOW_MS - age_ms);
    told.sink.value = Some(Overview {
        at_ms: NOW_MS - age_ms,
        newest_event_ms: Some(NOW_MS - age_ms - 4_000),
        ledger: Ledger {
            published: 3,
            stored: 3,
            ..Ledger::default()
        },
        database: DatabaseInfo {
            path: "data/aiai.duckdb".into(),
            ..DatabaseInfo::default()
        },
        ..Overview::default()
    });
    let mut pipeline = pipeline();
    pipeline.archive.answered_ms = Some(NOW_MS - age_ms);
    pipeline.archive.value = Some(vec![]);
    if age_ms > 5_000 {
        told.sink.problem = Some(Problem::Unreachable);
        pipeline.archive.problem = Some(Problem::Unreachable);
    }
    Regions::render(&Known {
        overview: Some(Arc::new(told)),
        pipeline: Some(Arc::new(pipeline)),
        feed_ms: NOW_MS,
        ..Known::default()
    })
    .unwrap()
}

#[test]
fn what_a_silent_sink_said_last_is_not_shown_as_live() {
    let regions = sink_silent_for(1_000);
    for id in ["ledger", "storage", "database"] {
        assert!(!regions.html(id).contains("old\""), "{}", regions.html(id));
    }
    assert!(regions.html("ledger").contains("5\u{202f}s old"));

    let regions = sink_silent_for(59_000);
    for (id, words) in [
        ("ledger", "class=\"old\"><p class=\"hint\">As of 59\u{202f}s ago"),
        ("ledger", "<strong>1\u{202f}min old"),
        (
            "database",
            "class=\"old\"><p class=\"hint\">As of 59\u{202f}s ago",
        ),
        ("storage", "<div class=\"old\"><dt>Database"),
        ("storage", "no file yet, 59\u{202f}s ago"),
        ("storage", "no sink answers"),
    ] {
        assert!(regions.html(id).contains(words), "{}", regions.html(id));
    }
    assert_eq!(regions.html("storage").matches("Archive").count(), 1);
    assert!(
        !regions.html("streams").contains("class=\"old"),
        "the streams are live"
    );
}

fn report() -> ledger::Report {
    let line = |kind: &str, stored, missing| ledger::KindLine {
        kind: kind.into(),
        published: stored + missing,
        stored,
        missing,
        ..ledger::KindLine::default()
    };
    let epoch = |name: &str, missing| ledger::Epoch {
        epoch: name.into(),
        published: 1234 + missing,
        stored: 1234,
        missing,
        kinds: vec![line("metric", 1234, missing)],
        missing_ranges: vec![(7, 6 + missing)],
        missing_messages: vec![ledger::Missing {
            sequence: 7,
            subject: Some(HOSTILE.into()),
            stored: Some("2026-11-20T12:00:00Z".into()),
            cause: "nobody knows".into(),
        }],
        ..ledger::Epoch::default()
    };
    ledger::Report {
        current: epoch("NOW", 3),
        earlier: vec![epoch("BEFORE", 2)],
        earlier_omitted: 4,
        ..ledger::Report::default()
    }
}

#[test]
fn a_broken_sum_is_said_first_and_names_what_is_missing() {
    let mut told = pipeline();
    told.ledger.answered_ms = Some(NOW_MS);
    told.ledger.value = Some(report());
    let all = regions(told.clone());
    let books = all.html("books");
    assert!(books.starts_with("<p class=\"note broken\">"), "{books}");
    for part in [
        "3 messages are missing",
        "1\u{202f}234",
        "Missing: 7-9",
        "<strong>7</strong>",
        "2026-11-20T12:00:00Z: nobody knows",
        "2 more: <code>aiai ledger -o json",
        "An earlier life of INGEST, epoch <code>BEFORE",
        "Lost with the stream: 7-8",
        "not known",
        "4 still earlier epochs",
    ] {
        assert!(books.contains(part), "{part}: {books}");
    }
    assert!(!books.contains("<script") && !books.contains(" old\""), "{books}");

    told.ledger.answered_ms = Some(NOW_MS - 11_000);
    let all = regions(told.clone());
    assert!(
        all.html("books").contains("As of 11\u{202f}s ago"),
        "{}",
        all.html("books")
    );
    assert!(all.html("books").contains("books old"));
    told.ledger = live::Answer {
        problem: Some(Problem::Unreachable),
        ..live::Answer::default()
    };
    assert!(regions(told).html("books").contains("no sink answers"));
}

#[test]
fn a_ledger_that_balances_says_nothing_is_wrong() {
    let mut told = pipeline();
    let mut good = report();
    (good.current.published, good.current.missing) = (1234, 0);
    (good.current.kinds[0].published, good.current.kinds[0].missing) = (1234, 0);
    good.balances = true;
    told.ledger.answered_ms = Some(NOW_MS);
    told.ledger.value = Some(good);
    let regions = regions(told);
    let books = regions.html("books");
    assert!(
        !books.contains("broken") && !books.contains("class=\"wrong\""),
        "{books}"
    );
}

#[test]
fn nothing_known_names_the_command() {
    let regions = Regions::render(&Known::default()).unwrap();
    for id in ["streams", "workers", "dead"] {
        assert!(regions.html(id).contains("aiai run dashboard-feed"), "{id}");
    }
}
