//! What an operator does to streams and durables with the nats CLI, and a book of what was published meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::publisher::message;
use super::wire::{Message, Wire};
use super::{World, until};

/// For everything that was published to be where it belongs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The server's code for a durable that is not there.
const CONSUMER_NOT_FOUND: u64 = 10014;

/// All numbers, in tables and in files.
const NUMBERS: &str = "SELECT value::BIGINT AS n FROM metric_all WHERE source = 'kill' \
                       UNION ALL SELECT data::BIGINT FROM event_all WHERE source = 'kill' \
                       UNION ALL SELECT tokens_in FROM usage_all WHERE source = 'kill'";

/// One request to the server's own interface.
pub fn api(url: &str, subject: &str, body: &Value) -> Value {
    let mut wire = Wire::connect(url).expect("connects");
    let request = [Message::new(&format!("$JS.API.{subject}"), body.to_string())];
    let answer = match wire.publish(&request).expect("answers").remove(0) {
        Ok(sequence) => panic!("{subject} was stored as message {sequence}"),
        Err(answer) => answer,
    };
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{subject}: {error}: {answer}"))
}

/// The stream's configuration and state.
pub fn stream(url: &str, name: &str) -> Value {
    api(url, &format!("STREAM.INFO.{name}"), &json!({}))
}

/// Deletes a stream.
pub fn delete_stream(url: &str, name: &str) {
    let answer = api(url, &format!("STREAM.DELETE.{name}"), &json!({}));
    assert_eq!(answer["success"], true, "{answer}");
}

/// Deletes a stream, and makes it as somebody would who knows nothing of epochs.
pub fn remake_by_hand(url: &str, name: &str) {
    let mut config = stream(url, name)["config"].take();
    config.as_object_mut().expect("an object").remove("metadata");
    delete_stream(url, name);
    // A worker may have been faster: then it is not made by hand.
    api(url, &format!("STREAM.CREATE.{name}"), &config);
}

/// Deletes a durable. The sink may be making it anew at this moment: then it is gone, too.
pub fn delete_durable(url: &str, stream: &str, name: &str) {
    let answer = api(url, &format!("CONSUMER.DELETE.{stream}.{name}"), &json!({}));
    let is_gone = answer["error"]["err_code"] == CONSUMER_NOT_FOUND;
    assert!(answer["success"] == true || is_gone, "{answer}");
}

/// What was published with an acknowledgement, by number.
#[derive(Default)]
pub struct Book {
    next: u64,
    /// What became of each: true, if it must be stored.
    sent: BTreeMap<u64, bool>,
}

impl Book {
    /// Publishes some more, and notes what was acknowledged.
    pub fn publish(&mut self, world: &World, messages: u64) {
        let mut wire = Wire::connect(&world.url()).expect("connects");
        let (wires, numbers): (Vec<_>, Vec<_>) = (self.next..self.next + messages).map(message).unzip();
        self.next += messages;
        let answers = wire.publish(&wires).expect("answers");
        for (answer, numbers) in answers.into_iter().zip(numbers) {
            let stored = answer.is_ok();
            self.sent
                .extend(numbers.into_iter().map(|number| (number, stored)));
        }
    }

    /// What was published up to now and is not stored yet may have gone with a stream.
    pub fn doubt(&mut self) {
        self.sent.values_mut().for_each(|must| *must = false);
    }

    /// The numbers of the events that must be there.
    pub fn must(&self) -> impl Iterator<Item = u64> {
        self.sent
            .iter()
            .filter(|(_, must)| **must)
            .map(|(number, _)| *number)
    }

    /// Waits until everything that was acknowledged is stored once, and nothing twice; then the rollups must agree.
    pub fn settled(&self, world: &World) {
        let what = || format!("{} events\n{}", self.sent.len(), world.log());
        let mut missing = Vec::new();
        until_or("every acknowledged event", TIMEOUT, || {
            let mut times: BTreeMap<u64, u32> = BTreeMap::new();
            let Some(rows) = world.try_query(NUMBERS) else {
                return false;
            };
            for row in rows {
                *times.entry(row["n"].as_u64().expect("a number")).or_default() += 1;
            }
            let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "stored more than once: {twice:?} of {}", what());
            assert!(
                times.keys().all(|number| self.sent.contains_key(number)),
                "nobody sent some of these"
            );
            missing = self
                .sent
                .iter()
                .filter(|(number, must)| **must && !times.contains_key(number))
                .map(|(number, _)| *number)
                .collect();
            missing.is_empty()
        })
        .unwrap_or_else(|| panic!("not stored: {missing:?} of {}", what()));
    }
}

/// Polls until it holds; none when it takes too long.
fn until_or(_: &str, timeout: Duration, mut holds: impl FnMut() -> bool) -> Option<()> {
    let started = std::time::Instant::now();
    while started.elapsed() < timeout {
        if holds() {
            return Some(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

impl World {
    /// Waits for an alert of the sink's own, and gives its newest sentence.
    pub fn told(&self, rule: &str, key: &str) -> String {
        let sql = format!(
            "SELECT message FROM alert WHERE rule = '{rule}' AND key = '{key}' ORDER BY last_ts DESC LIMIT 1"
        );
        until(&format!("{rule} of {key}:\n{}", self.log()), TIMEOUT, || {
            Some(self.query(&sql).first()?["message"].as_str()?.to_owned())
        })
    }

    /// Waits until the rollups count what tables and files hold together.
    pub fn rollups_whole(&self) {
        let sql = format!(
            "SELECT (SELECT count(*) FROM ({NUMBERS}))::BIGINT AS rows, (SELECT sum(count)::BIGINT FROM rollup_1d              WHERE source = 'kill' AND (name IN ('kill', 'event.count', 'usage.requests'))) AS counted"
        );
        let mut found = Value::Null;
        until_or("rollups", TIMEOUT, || {
            found = self.query(&sql)[0].take();
            assert!(
                found["counted"].as_i64() <= found["rows"].as_i64(),
                "{found}\n{}",
                self.log()
            );
            found["rows"] == found["counted"]
        })
        .unwrap_or_else(|| panic!("rollups are not whole: {found}\n{}", self.log()));
    }

    /// Waits until the archive's files hold every event once: those of the tables are a part of them.
    pub fn archived_once(&self, book: &Book) {
        let files = format!("{}/archive", self.data().display());
        let mut found = String::new();
        until_or("files", TIMEOUT, || {
            let mut all = Vec::new();
            for (kind, number) in [
                ("metric", "value::BIGINT"),
                ("event", "data::BIGINT"),
                ("usage", "tokens_in"),
            ] {
                let files = format!("{files}/{kind}/**/*.parquet");
                // No file yet is an error to DuckDB.
                if self.query(&format!("SELECT count(*) AS n FROM glob('{files}')"))[0]["n"] == 0 {
                    continue;
                }
                let sql = format!("SELECT {number} AS n FROM read_parquet('{files}') WHERE source = 'kill'");
                all.extend(self.query(&sql).iter().filter_map(|row| row["n"].as_u64()));
            }
            all.sort_unstable();
            let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
            assert!(twice.is_empty(), "in files twice: {twice:?}\n{}", self.log());
            let missing: Vec<_> = book
                .must()
                .filter(|number| all.binary_search(number).is_err())
                .collect();
            found = format!("{missing:?}");
            missing.is_empty()
        })
        .unwrap_or_else(|| panic!("not in files: {found}\n{}", self.log()));
    }

    /// Waits until the sink knows of all durables that are not its own.
    pub fn knows_durables(&self) {
        let sql = "SELECT count(*) AS n FROM aiai_meta WHERE key LIKE 'durable/%'";
        until("the sink to know all durables", TIMEOUT, || {
            (self.query(sql)[0]["n"] == 6).then_some(())
        });
    }

    /// How many alerts of a rule there are.
    pub fn tellings(&self, rule: &str) -> usize {
        let sql = format!("SELECT key FROM alert WHERE rule = '{rule}'");
        self.query(&sql).len()
    }
}
