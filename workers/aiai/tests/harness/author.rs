//! Messages as agents send them, made of a number, with what must become of each.
//!
//! Message `m` of an author is always the same, so that nobody has to remember it: who compares writes it once more.
//! Every row and every dead letter says which message and item it is of. Nothing here is computed with the code under
//! test.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::random::Random;
use super::wire::Message;

/// Events are from so far back: two days, so that files and buckets are of several.
const AGE_MILLISECONDS_MAX: u64 = 26 * 3_600_000;

/// Who writes messages.
#[derive(Debug, Clone)]
pub struct Author {
    /// Which one; its events have the source `chaos-<number>`.
    pub number: u64,
    pub seed: u64,
    /// When the test began, in milliseconds since 1970: no event is later.
    pub begun_ms: u64,
    /// Whether malformed messages are among them.
    pub is_clumsy: bool,
    /// Whether each message has a `Nats-Msg-Id`.
    pub ids: bool,
}

/// What must become of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// A row of this kind, with these columns.
    Row(&'static str, Value),
    /// A dead letter.
    Letter {
        reason: &'static str,
        /// Position in its message; none: the whole message.
        idx: Option<u64>,
        payload: Vec<u8>,
    },
    /// The stream refuses it.
    Refused,
}

/// A message, and what must become of each of its items.
pub struct Script {
    pub message: Message,
    pub fates: Vec<Fate>,
}

/// Messages that are bad as a whole: subject | reason | payload, with `#` for what tells them apart.
const MALFORMED: &str = r##"
ingest.metric     | unknown_field   | {"name":"#","valeu":1}
ingest.metric     | wrong_type      | {"name":"#","value":"12"}
ingest.metric     | missing_field   | {"name":"#","value":null}
ingest.metric     | not_finite      | {"name":"#","value":NaN}
ingest.metric     | duplicate_field | {"name":"#","name":"y","value":1}
ingest.event      | bad_time        | {"name":"#","timestamp":"yesterday"}
ingest.usage      | out_of_range    | {"model":"#","cost_usd":-0.01}
ingest.usage      | inconsistent    | {"model":"#","tokens_in":1,"tokens_cache_read":2}
ingest.metric     | wrong_type      | "#"
ingest.metric     | invalid_json    | not json #
ingest.acme.event | truncated_json  | {"name":"#","da
ingest.metric     | trailing_data   | {"name":"#","value":1} x
ingest.metrics    | unknown_kind    | {"name":"#","value":1}
ingest.a.b.metric | bad_subject     | {"name":"#","value":1}
"##;

impl Author {
    /// An author of this moment.
    pub fn new(number: u64, seed: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        Self {
            number,
            seed,
            begun_ms: u64::try_from(now.as_millis()).expect("a time"),
            is_clumsy: false,
            ids: false,
        }
    }

    pub fn source(&self) -> String {
        format!("chaos-{}", self.number)
    }

    fn random(&self, number: u64) -> Random {
        Random::new(self.seed ^ (self.number << 48) ^ number.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    /// Message `number`.
    pub fn script(&self, number: u64) -> Script {
        let mut random = self.random(number);
        let mark = format!("chaos-{}-{number}", self.number);
        let mut script = match random.below(1000) {
            shape if self.is_clumsy && shape < 40 => malformed(&mark, &mut random),
            40 if self.is_clumsy => large(&mark, 300 * 1024, "too_large"),
            41 if self.is_clumsy => large(&mark, 2 * 1024 * 1024, ""),
            42 if self.is_clumsy && random.below(5) == 0 => unreadable(&mark),
            43..120 if self.is_clumsy => self.several(number, 3, true, &mut random),
            120..150 => self.several(number, 100, false, &mut random),
            150..350 => self.several(number, 5, false, &mut random),
            _ => self.several(number, 1, false, &mut random),
        };
        if self.ids {
            script.message.headers.push(format!("Nats-Msg-Id: {mark}"));
        }
        script
    }

    /// An object, or an array or lines of them, one of which may be bad.
    fn several(&self, number: u64, count: u64, spoiled: bool, random: &mut Random) -> Script {
        let kind = ["metric", "event", "usage"][usize::try_from(random.below(3)).expect("small")];
        let tenant = ["default", "acme", "a-b_c"][usize::try_from(random.below(3)).expect("small")];
        let bad = spoiled.then(|| random.below(count));
        let (mut items, mut fates) = (Vec::new(), Vec::new());
        for idx in 0..count {
            let (item, fate) = match bad {
                Some(bad) if bad == idx => {
                    let item = format!(r#"{{"name":"chaos-{}-{number}-{idx}","vlaue":1}}"#, self.number);
                    let letter = letter("unknown_field", Some(idx), &item);
                    (item, letter)
                }
                _ => self.item(kind, tenant, number, idx, random),
            };
            items.push(item);
            fates.push(fate);
        }
        let payload = match (count, random.below(2)) {
            (1, _) => items.concat(),
            (_, 0) => format!("[{}]", items.join(",")),
            _ => items.join("\n"),
        };
        let subject = match tenant {
            "default" => format!("ingest.{kind}"),
            tenant => format!("ingest.{tenant}.{kind}"),
        };
        Script {
            message: Message::new(&subject, payload),
            fates,
        }
    }

    fn item(
        &self,
        kind: &'static str,
        tenant: &str,
        number: u64,
        idx: u64,
        random: &mut Random,
    ) -> (String, Fate) {
        // Multiples of a power of two, so that sums are exact in any order.
        let (small, tag) = (random.below(4000), random.below(2));
        let at = self.begun_ms - random.below(AGE_MILLISECONDS_MAX);
        let timed = random.below(8) > 0;
        let time = if timed {
            format!(r#""timestamp":{at},"#)
        } else {
            String::new()
        };
        let common = format!(
            r#"{time}"source":"chaos-{}","session":"{number}","trace_id":"{idx}","tags":{{"t":"{tag}"}}"#,
            self.number
        );
        let cost = small as f64 / 512.0;
        let status = ["ok", "ok", "ok", "error"][usize::try_from(small % 4).expect("small")];
        let (own, mut row) = match kind {
            "metric" => (
                format!(r#""name":"depth.{tag}","value":{small}.25,"metric_type":"counter""#),
                json!({"name": format!("depth.{tag}"), "value": small as f64 + 0.25, "metric_type": "counter"}),
            ),
            "event" => (
                format!(r#""name":"done.{tag}","data":{{"n":{small}}}"#),
                json!({"name": format!("done.{tag}"), "n": small.to_string()}),
            ),
            _ => (
                format!(
                    r#""model":"m-{tag}","provider":"p","tokens_in":{small},"tokens_out":5,"cost_usd":{cost},"latency_ms":{small}.5,"status":"{status}""#
                ),
                json!({"model": format!("m-{tag}"), "tokens_in": small, "tokens_out": 5, "cost": format!("{cost:.9}"),
                    "latency_ms": small as f64 + 0.5, "status": status}),
            ),
        };
        for (name, value) in [
            ("tenant", json!(tenant)),
            ("tag", json!(tag.to_string())),
            ("trace_id", json!(idx.to_string())),
            ("ms", if timed { json!(at) } else { Value::Null }),
        ] {
            row[name] = value;
        }
        (format!("{{{own},{common}}}"), Fate::Row(kind, row))
    }
}

fn letter(reason: &'static str, idx: Option<u64>, payload: &str) -> Fate {
    Fate::Letter {
        reason,
        idx,
        payload: payload.into(),
    }
}

fn malformed(mark: &str, random: &mut Random) -> Script {
    let rows: Vec<&'static str> = MALFORMED.lines().filter(|line| !line.is_empty()).collect();
    let at = usize::try_from(random.below(rows.len() as u64)).expect("small");
    let columns: Vec<&'static str> = rows[at].splitn(3, '|').map(str::trim).collect();
    let payload = columns[2].replace('#', mark);
    Script {
        fates: vec![letter(columns[1], None, &payload)],
        message: Message::new(columns[0], payload),
    }
}

/// More than an event may hold, or, without a reason, more than a message may hold.
fn large(mark: &str, bytes: usize, reason: &'static str) -> Script {
    let payload = format!(r#"{{"name":"{mark}","data":"{}"}}"#, "x".repeat(bytes));
    let fate = match reason {
        "" => Fate::Refused,
        reason => letter(reason, None, &payload),
    };
    Script {
        message: Message::new("ingest.event", payload),
        fates: vec![fate],
    }
}

/// JetStream takes it, and it breaks the connection of whoever reads it.
fn unreadable(mark: &str) -> Script {
    let mut message = Message::new("ingest.metric", mark);
    message.headers.push("a header without a colon".into());
    Script {
        fates: vec![letter("unreadable_headers", None, mark)],
        message,
    }
}
