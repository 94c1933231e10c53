//! All tables, and the columns of those that hold no events.

use schemas::Kind;

use super::kinds::{EVENT_END, EVENT_START, own};
use super::{Column, Table};
use crate::{alerts, archive_views, corrections};

const DEAD: &[Column] = &[
    ("stage", "VARCHAR", "the worker that refused it"),
    ("kind", "VARCHAR", "its kind, or unknown"),
    ("reason", "VARCHAR", "code of the problem, e.g. unknown_field"),
    ("place", "VARCHAR", "where in the message the problem is"),
    ("problem", "VARCHAR", "the problem in words"),
    ("fix", "VARCHAR", "what to do about it"),
    ("origin", "UBIGINT", "sequence in INGEST of the original message"),
    (
        "idx",
        "UINTEGER",
        "position of the one bad item; null: the whole message",
    ),
    ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
    ("subject", "VARCHAR", "subject of the original message"),
    (
        "stored",
        "TIMESTAMP",
        "when NATS stored the original message, UTC",
    ),
    (
        "headers",
        "JSON",
        "all headers of the dead letter, the original ones among them",
    ),
    (
        "payload",
        "BLOB",
        "the original payload, or the bad item alone; null once it was dropped",
    ),
    ("dead_seq", "UBIGINT", "sequence in DEAD: its number for people"),
    ("dead_at", "TIMESTAMP", "when NATS stored the dead letter, UTC"),
    (
        "dead_epoch",
        "VARCHAR",
        "ULID of the epoch of DEAD; null: stored before version 5, and not known",
    ),
    (
        "source",
        "VARCHAR",
        "who sent it, where the payload can be read and says so",
    ),
    ("state", "VARCHAR", "open, replayed or dropped"),
    (
        "state_at",
        "TIMESTAMP",
        "since when, UTC; null: it was always open",
    ),
    (
        "replay_of",
        "UBIGINT",
        "its message was a replay itself: of the dead letter with this dead_seq",
    ),
    (
        "replay_count",
        "UTINYINT",
        "how often its message had been replayed; null: never",
    ),
];

const DEAD_NOTE: &[Column] = &[
    (
        "dead_epoch",
        "VARCHAR",
        "ULID of the epoch of DEAD; null as in dead",
    ),
    ("dead_seq", "UBIGINT", "the dead letter: dead.dead_seq"),
    (
        "deed",
        "VARCHAR",
        "replaying (is about to be), replayed or dropped",
    ),
    ("count", "UTINYINT", "which replay of its message this is"),
    ("stream", "VARCHAR", "the stream that took the replay"),
    ("sequence", "UBIGINT", "the replay's sequence there"),
    ("noted_at", "TIMESTAMP", "when NATS stored the note, UTC"),
];

const ROLLUP: &[Column] = &[
    ("name", "VARCHAR", "what was measured"),
    ("tenant", "VARCHAR", "whose it is"),
    (
        "source",
        "VARCHAR",
        "who sent it; __other__: series past the limit",
    ),
    ("tags", "JSON", "labels, sorted: equal sets are equal text"),
    ("bucket", "TIMESTAMP", "start of the bucket, UTC"),
    ("resolution", "VARCHAR", "width of the bucket: 1m, 1h or 1d"),
    ("count", "UBIGINT", "values measured"),
    ("sum", "DOUBLE", "their sum"),
    (
        "total",
        "DECIMAL(38,9)",
        "their exact sum; null where values are not whole numbers or money",
    ),
    ("min", "DOUBLE", "the smallest"),
    ("max", "DOUBLE", "the largest"),
    ("last", "DOUBLE", "the latest"),
    ("last_ts", "TIMESTAMP", "when the latest happened, UTC"),
    (
        "last_origin",
        "UBIGINT",
        "sequence in INGEST of the message that carried the latest",
    ),
    (
        "last_idx",
        "UINTEGER",
        "the latest one's position in that message",
    ),
    (
        "hist",
        "MAP(INTEGER, UBIGINT)",
        "distribution: logarithmic bucket to count; ask quantile_of(hist, 0.95)",
    ),
];

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "metric",
        comment: "measurements, one row each",
        columns: &[EVENT_START, own(Kind::Metric), EVENT_END],
    },
    Table {
        name: "event",
        comment: "things that happened, one row each",
        columns: &[EVENT_START, own(Kind::Event), EVENT_END],
    },
    Table {
        name: "usage",
        comment: "model calls, one row each; token counts are inclusive",
        columns: &[EVENT_START, own(Kind::Usage), EVENT_END],
    },
    Table {
        name: "step",
        comment: "steps of workflows (spans), one row each",
        columns: &[EVENT_START, own(Kind::Step), EVENT_END],
    },
    Table {
        name: "message",
        comment: "messages between agents and people, one row each",
        columns: &[EVENT_START, own(Kind::Message), EVENT_END],
    },
    Table {
        name: "session",
        comment: "states that sessions came into, one row each: the latest of a session counts",
        columns: &[EVENT_START, own(Kind::Session), EVENT_END],
    },
    Table {
        name: "work_item",
        comment: "states that tasks came into, one row each: the latest of a task counts",
        columns: &[EVENT_START, own(Kind::WorkItem), EVENT_END],
    },
    Table {
        name: "rollup",
        comment: "aggregates as they came: ask the views rollup_1m, rollup_1h and rollup_1d, which merge them",
        columns: &[ROLLUP],
    },
    Table {
        name: "alert_match",
        comment: "what rules found, as it came: ask the view alert, which merges it",
        columns: &[alerts::COLUMNS],
    },
    Table {
        name: "dead",
        comment: "dead letters: refused messages with the reason, as they came",
        columns: &[DEAD],
    },
    Table {
        name: "dead_note",
        comment: "what people did about dead letters, as it came",
        columns: &[DEAD_NOTE],
    },
    Table {
        name: "duplicates",
        comment: "origins that came in more than one EVENTS message; stored once",
        columns: &[&[
            ("events_epoch", "VARCHAR", "ULID of the epoch of EVENTS"),
            (
                "events_seq",
                "UBIGINT",
                "sequence in EVENTS of the message that was not stored again",
            ),
            ("origin", "UBIGINT", "sequence in INGEST"),
            ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
        ]],
    },
    Table {
        name: "epochs",
        comment: "lives of streams: a stream deleted and created again has a new epoch",
        columns: &[&[
            (
                "id",
                "USMALLINT",
                "what the column epoch of the other tables refers to",
            ),
            ("stream", "VARCHAR", "the stream"),
            ("epoch", "VARCHAR", "ULID from the stream's metadata"),
            (
                "first_seen",
                "TIMESTAMP",
                "when its first message was stored by NATS, UTC",
            ),
        ]],
    },
    Table {
        name: "origin_sets",
        comment: "which INGEST messages were stored or dead-lettered, as ranges of sequences: all chunks together",
        columns: &[&[
            ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
            (
                "outcome",
                "VARCHAR",
                "stored or dead; dead/<kind>: the dead ones of that kind, of which one that is stored too counts as stored",
            ),
            ("ranges", "VARCHAR", "inclusive ranges: 1-1950,1952"),
            (
                "chunk",
                "UBIGINT",
                "a range is in the row of the 16384 sequences in which it begins",
            ),
        ]],
    },
    Table {
        name: "ledger_kind",
        comment: "what became of INGEST messages, by epoch and kind: ask aiai ledger, which adds it up",
        columns: &[&[
            ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
            (
                "kind",
                "VARCHAR",
                "the kind that the subject names, or unknown if it names none",
            ),
            (
                "stored",
                "UBIGINT",
                "messages stored; those an older version stored and the tables no longer have are missing here",
            ),
            (
                "duplicates",
                "UBIGINT",
                "messages that came in another EVENTS message again, since version 4",
            ),
            (
                "events_stored",
                "UBIGINT",
                "rows stored; null: not known, an older version stored them",
            ),
            (
                "items_dead",
                "UBIGINT",
                "single items of messages with a dead letter",
            ),
        ]],
    },
    Table {
        name: "ledger_epoch",
        comment: "how far INGEST is known to have got, where that is further than what is stored or dead",
        columns: &[&[
            ("epoch", "VARCHAR", "ULID of INGEST's epoch"),
            ("published", "UBIGINT", "its last sequence when somebody looked"),
        ]],
    },
    Table {
        name: "cost_correction",
        comment: "costs computed again, by call: the table usage and the view usage_all have them, the archive's files do not",
        columns: &[corrections::COLUMNS],
    },
    Table {
        name: "cost_correction_file",
        comment: "files of corrections, in the archive folder, that are in this database",
        columns: &[&[
            ("file", "VARCHAR", "its name"),
            ("corrections", "UBIGINT", "calls in it"),
        ]],
    },
    Table {
        name: "archive_file",
        comment: "the files of the archive",
        columns: &[archive_views::FILE],
    },
    Table {
        name: "checkpoint",
        comment: "how far each stream was processed",
        columns: &[&[
            (
                "stream",
                "VARCHAR",
                "EVENTS, ROLLUP, ALERTS, ARCHIVE or DEAD; EVENTS/rollup, /archive, /refused, /unseen: which of EVENTS are \
                 in rollup, are archived, became dead letters, were lost before they came here",
            ),
            ("epoch", "VARCHAR", "ULID of that stream's epoch"),
            (
                "seq",
                "UBIGINT",
                "every message up to this sequence was processed",
            ),
            (
                "beyond",
                "VARCHAR",
                "processed sequences past the first hole, as ranges; normally empty",
            ),
        ]],
    },
];
