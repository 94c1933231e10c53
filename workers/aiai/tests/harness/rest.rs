//! Coming to rest: everything acknowledged is stored, rolled up, counted and archived, by itself.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::compare::{self, KINDS};
use super::fleet::Fleet;
use super::load::{Book, Outcome};
use super::{aiai, process, rows};

/// Rows leave the tables as soon as files have them, so that one can wait for it; files soon.
pub const SOON_ARCHIVED: [&str; 3] = [
    "archive.job_seconds=1",
    "sink.retain.interval_seconds=1",
    "sink.retain.raw_days=0",
];
/// A sink that was just started answers soon.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Sequences of INGEST that are in the database, stored or dead.
const RANGES: &str = "SELECT coalesce(string_agg(ranges, ','), '') AS ranges FROM origin_sets WHERE ranges <> '' AND outcome IN ('stored', 'dead')";

/// What is asked of the database until the answer is 0.
struct Question {
    what: &'static str,
    sql: String,
}

impl Fleet {
    /// Rows of one SELECT. Waits for a sink that answers.
    pub fn ask(&self, sql: &str) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let output = process::run(self.cli(&["query", sql, "-o", "ndjson", "--rows", "1000000"]));
            if output.ok() {
                return rows(&output.stdout);
            }
            assert!(begun.elapsed() < ANSWER_TIMEOUT, "{sql}: {}", output.stderr);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until the ledger knows of everything up to this sequence and nothing is pending, all aggregates are those
    /// of the rows, and all rows are in files. Needs [`SOON_ARCHIVED`]. How long it took until nothing was pending.
    pub fn at_rest(&mut self, newest: u64, timeout: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            self.all_live();
            let output = process::run(self.cli(&["ledger", "-o", "ndjson"]));
            if let Some(row) = rows(&output.stdout).first() {
                assert_eq!(
                    (&row["missing"], output.code),
                    (&Value::from(0), Some(0)),
                    "{output:?}"
                );
                if row["pending"] == 0 && row["published"].as_u64() >= Some(newest) {
                    break;
                }
            }
            let said = || format!("{}{}", output.stdout, output.stderr);
            assert!(
                begun.elapsed() < timeout,
                "the ledger does not settle: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let settled = begun.elapsed();
        for question in aggregates().into_iter().chain([archived()]) {
            let mut last = Value::Null;
            let begun = Instant::now();
            while last["n"] != 0 {
                self.all_live();
                last = self.ask(&question.sql).first().cloned().unwrap_or_default();
                assert!(
                    last["n"] == 0 || begun.elapsed() < timeout,
                    "{}: {last}",
                    question.what
                );
            }
        }
        settled
    }

    /// Compares tables, files and dead letters with the books, and says what there is.
    pub fn compare(&self, books: &[Book]) -> String {
        let ask = |sql: &str| self.ask(sql);
        let tables = compare::rows(&ask, books, &|kind| format!("{kind}_all"));
        tables.assert_good("in the database");
        let folder = self.data().join("archive").display().to_string();
        let files = compare::rows(&ask, books, &|kind| {
            format!("read_parquet('{folder}/{kind}/**/*.parquet')")
        });
        files.assert_good("in the archive's files");
        assert_eq!(files.rows, tables.rows);
        let letters = compare::letters(&ask, books);
        letters.assert_good("dead letters");
        compare::refusals(books).assert_good("refusals");
        let verified = process::run(self.cli(&["archive", "verify", "--data", "data"]));
        assert!(verified.ok(), "{}{}", verified.stdout, verified.stderr);
        format!(
            "{} rows, each in the database and in a file once; {} dead letters; {} messages stored whose publishers did \
             not know",
            tables.rows, letters.letters, tables.unknown_stored
        )
    }
}

/// The highest sequence that a publisher was told.
pub fn newest(books: &[Book]) -> u64 {
    let told = books
        .iter()
        .flat_map(|book| &book.outcomes)
        .filter_map(|outcome| match outcome {
            Outcome::Acknowledged(sequence) => Some(*sequence),
            _ => None,
        });
    told.max().expect("something was acknowledged")
}

/// Numbers of rolled-up and raw rows that differ.
fn aggregates() -> Vec<Question> {
    let differ = |raw: &str, rolled: &str| {
        format!(
            "SELECT count(*) AS n FROM (((SELECT {raw}) EXCEPT (SELECT {rolled})) UNION ALL \
             ((SELECT {rolled}) EXCEPT (SELECT {raw})))"
        )
    };
    let mut all = Vec::new();
    for (width, unit) in [("1m", "minute"), ("1h", "hour"), ("1d", "day")] {
        let who = "tenant, source";
        let ours = "source LIKE 'chaos-%'";
        let raw = |kind: &str, more: &str, values: &str| {
            format!(
                "{who}, date_trunc('{unit}', ts)::TIMESTAMP AS b{more}, count(*)::BIGINT, {values} FROM {kind}_all WHERE {ours} GROUP BY ALL"
            )
        };
        let rolled = |name: &str, more: &str, values: &str| {
            format!(
                "{who}, bucket AS b{more}, {values} FROM rollup_{width} WHERE {ours} AND name {name} GROUP BY ALL"
            )
        };
        for (what, sql) in [
            (
                "metrics and their aggregates differ",
                differ(
                    &raw("metric", ", name", "sum(value), max(value)"),
                    &rolled(
                        "LIKE 'depth.%'",
                        ", name",
                        "sum(count)::BIGINT, sum(sum), max(max)",
                    ),
                ),
            ),
            (
                "events and their aggregates differ",
                differ(
                    &raw("event", "", "0"),
                    &rolled("= 'event.count'", "", "sum(count)::BIGINT, 0"),
                ),
            ),
            (
                "calls and their aggregates differ",
                differ(
                    &raw("usage", "", "sum(tokens_in)::DOUBLE, sum(cost_usd)::DOUBLE"),
                    &rolled(
                        "IN ('usage.requests', 'usage.tokens_in', 'usage.cost_usd')",
                        "",
                        "sum(count) FILTER (name = 'usage.requests')::BIGINT, sum(total) FILTER (name = 'usage.tokens_in')::DOUBLE, \
                         sum(total) FILTER (name = 'usage.cost_usd')::DOUBLE",
                    ),
                ),
            ),
        ] {
            all.push(Question { what, sql });
        }
    }
    all.push(Question {
        what: "failed calls and the counts of their alerts differ",
        sql: "SELECT (SELECT count(*) FROM usage_all WHERE status <> 'ok')::BIGINT - \
              (SELECT coalesce(sum(count), 0) FROM alert WHERE rule = 'call_failed')::BIGINT AS n"
            .into(),
    });
    all
}

/// Rows that are not in files yet: with `raw_days` 0 all move there.
fn archived() -> Question {
    let of = KINDS.map(|kind| format!("(SELECT count(*) FROM {kind} WHERE source LIKE 'chaos-%')"));
    Question {
        what: "rows that are not archived",
        sql: format!("SELECT ({})::BIGINT AS n", of.join(" + ")),
    }
}

/// The sequence of INGEST up to which everything is in the database; none while nobody answers.
pub fn stored_up_to(url: &str) -> Option<u64> {
    let mut command = aiai();
    command.args(["query", RANGES, "-o", "ndjson", "--nats-url", url]);
    let output = process::run(command);
    let found = rows(output.ok().then_some(&output.stdout)?);
    let text = found.first()?["ranges"].as_str()?.to_owned();
    let mut ranges: Vec<(u64, u64)> = text.split(',').filter_map(range).collect();
    ranges.sort_unstable();
    let up_to = ranges.iter().fold(0, |up_to, (first, last)| {
        if *first <= up_to + 1 {
            up_to.max(*last)
        } else {
            up_to
        }
    });
    Some(up_to)
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}
