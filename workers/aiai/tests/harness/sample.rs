//! Events of every kind and shape, as an agent may write them, each with the row that must come of it.
//!
//! Rows are written down here by hand and not with the code under test.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// A row, as `read_rows.py` prints one with [`sql`].
pub type Row = BTreeMap<&'static str, Value>;

/// One message and the rows it makes, in order.
pub struct Sample {
    pub subject: String,
    pub payload: String,
    pub kind: &'static str,
    pub rows: Vec<Row>,
}

pub const KINDS: [&str; 3] = ["metric", "event", "usage"];

/// JSON text and what it says.
const TEXTS: &[(&str, &str)] = &[
    (r#""plain""#, "plain"),
    (r#""Zürich ☕ 日本 😀""#, "Zürich ☕ 日本 😀"),
    (r#""caf\u00e9 \ud83d\ude00""#, "café 😀"),
    (
        r#""a \"quoted\" back\\slash sl\/ash""#,
        "a \"quoted\" back\\slash sl/ash",
    ),
    (
        r#""tab\tline\nreturn\rbell\u0007""#,
        "tab\tline\nreturn\rbell\u{7}",
    ),
    (r#""'; DROP TABLE metric; --""#, "'; DROP TABLE metric; --"),
];

/// JSON that must come out as it went in, to the letter.
const DATA: &[&str] = &[
    r#"{"nested":{"list":[1,2.50,{"deep":[null,true,false]}]},"empty":{}}"#,
    r#"{"escapes":"\u00e9\t\"\\ \ud83d\ude00","ключ":"значение"}"#,
    "[]",
    r#"[[[["four"]]],{}]"#,
    r#""just text with \" in it""#,
    "12345678901234567890.12345678901234567890",
    "-1.5e-7",
    "true",
    r#"{ "spaces" : [ 1 , 2 ] , "twice":1, "twice":2 }"#,
];

const TAGS: &[&str] = &[
    r#"{"region":"eu","tier":"free"}"#,
    r#"{}"#,
    r#"{"größe":"groß ☕","esc\u0061ped":"line\nbreak","":"empty key"}"#,
    r#"{ "spaces" : "kept" }"#,
];

const VALUES: &[&str] = &[
    "0.1",
    "-0.0",
    "42",
    "5e-324",
    "1.7976931348623157e308",
    "9007199254740993",
    "0.30000000000000004",
    "123456789.123456789",
    "2.2250738585072011e-308",
    "-1E+2",
];

/// JSON text and the exact nine digits.
const COSTS: &[(&str, &str)] = &[
    ("0.0087", "0.008700000"),
    ("0.000000001", "0.000000001"),
    ("1.5e-7", "0.000000150"),
    ("0.0000000015", "0.000000002"),
    ("0.0000000025", "0.000000002"),
    ("123456.123456789", "123456.123456789"),
    ("0", "0.000000000"),
    ("1000000", "1000000.000000000"),
];

/// The columns of a kind, so that nothing is lost on the way through JSON.
pub fn sql(kind: &str) -> String {
    let own = match kind {
        "metric" => "name, value, metric_type",
        "event" => "name, data",
        _ => {
            "model, provider, tokens_in, tokens_out, tokens_cache_read, tokens_cache_write, tokens_reasoning, \
             cost_usd::VARCHAR AS cost_usd, cost_source, latency_ms, ttft_ms, task_complexity, status, error, \
             reservation"
        }
    };
    // Workers measure themselves, some seconds after their start.
    let others = match kind {
        "metric" => "source NOT LIKE 'node/%' AND name NOT LIKE 'aiai.worker.%'",
        _ => "source NOT LIKE 'node/%'",
    };
    format!(
        "SELECT origin, idx, epoch_us(ts) AS ts, epoch_us(stored) AS stored, tenant, source, {own}, tags, session, \
         work_item, trace_id, v FROM {kind} WHERE {others} ORDER BY origin, idx"
    )
}

/// Messages with all kinds mixed: single events, arrays and NDJSON, `singles` of the first and `several` of
/// each of the others (ten events each) a kind.
pub fn samples(singles: usize, several: usize) -> Vec<Sample> {
    let mut all = Vec::new();
    let mut number = 0;
    for at in 0..singles + 2 * several {
        for kind in KINDS {
            let count = if at < singles { 1 } else { 10 };
            let (payloads, mut rows): (Vec<String>, Vec<Row>) =
                (0..count).map(|offset| event(kind, number + offset)).unzip();
            let payload = match at {
                at if at < singles => payloads.concat(),
                at if at < singles + several => {
                    format!("[{}]", payloads.join(if at % 2 == 0 { "," } else { " ,\n" }))
                }
                at => payloads.join(if at % 2 == 0 { "\n" } else { "\r\n\n" }) + "\n",
            };
            let tenant = ["default", "acme", "a-b_c"][at % 3];
            for row in &mut rows {
                row.insert("tenant", tenant.into());
            }
            let subject = match tenant {
                "default" => format!("ingest.{kind}"),
                tenant => format!("ingest.{tenant}.{kind}"),
            };
            number += count;
            all.push(Sample {
                subject,
                payload,
                kind,
                rows,
            });
        }
    }
    all
}

/// Fields being collected as JSON text and as a row.
struct Fields {
    json: Vec<String>,
    row: Row,
}

impl Fields {
    fn set(&mut self, name: &'static str, json: &str, stored: impl Into<Value>) {
        self.json.push(format!("\"{name}\":{json}"));
        self.row.insert(name, stored.into());
    }

    /// Sent if `given`; null in the table otherwise.
    fn maybe(&mut self, given: bool, name: &'static str, json: &str, stored: impl Into<Value>) {
        if given {
            self.set(name, json, stored);
        } else {
            self.row.insert(name, Value::Null);
        }
    }

    fn text(&mut self, given: bool, name: &'static str, at: usize) {
        let (json, says) = TEXTS[at % TEXTS.len()];
        self.maybe(given, name, json, says);
    }
}

fn event(kind: &str, number: usize) -> (String, Row) {
    let mut fields = Fields {
        json: Vec::new(),
        row: Row::new(),
    };
    match kind {
        "metric" => metric(&mut fields, number),
        "event" => {
            fields.text(true, "name", number);
            let data = DATA[number % DATA.len()];
            fields.maybe(!number.is_multiple_of(5), "data", data, data);
        }
        _ => usage(&mut fields, number),
    }
    timestamp(&mut fields, number);
    if number % 7 == 3 {
        fields.row.insert("source", "unknown".into());
    } else {
        fields.text(true, "source", number / 2);
    }
    let tags = TAGS[number % TAGS.len()];
    fields.maybe(number % 3 != 1, "tags", tags, tags);
    fields.text(number.is_multiple_of(2), "session", number / 3);
    fields.text(number.is_multiple_of(3), "work_item", number / 5);
    fields.text(number.is_multiple_of(4), "trace_id", number / 7);
    fields.row.insert("v", 1.into());
    if number.is_multiple_of(6) {
        fields.json.push("\"v\":1".into());
    }
    (format!("{{{}}}", fields.json.join(",")), fields.row)
}

fn metric(fields: &mut Fields, number: usize) {
    fields.text(true, "name", number);
    let random = random_double(number as u64);
    let value = match number % 2 {
        0 => VALUES[number / 2 % VALUES.len()],
        _ => &random,
    };
    fields.set("value", value, double(value));
    let metric_type = ["gauge", "counter", "cumulative", "histogram"][number % 4];
    if metric_type == "gauge" {
        fields.row.insert("metric_type", "gauge".into());
    } else {
        fields.set("metric_type", &format!("\"{metric_type}\""), metric_type);
    }
}

fn usage(fields: &mut Fields, number: usize) {
    fields.text(true, "model", number);
    fields.text(number.is_multiple_of(2), "provider", number / 2);
    let tokens = number as u64 * 1_000_003;
    for (at, name) in ["tokens_in", "tokens_out"].into_iter().enumerate() {
        let count = tokens + 1000 * (at as u64 + 1);
        fields.maybe(number % 4 != at, name, &count.to_string(), count);
    }
    let parts = ["tokens_cache_read", "tokens_cache_write", "tokens_reasoning"];
    for (at, name) in parts.into_iter().enumerate() {
        let count = at as u64 + number as u64 % 10;
        fields.maybe(number % 5 == at, name, &count.to_string(), count);
    }
    let (cost, exact) = COSTS[number % COSTS.len()];
    let priced = number % 3 != 2;
    fields.maybe(priced, "cost_usd", cost, exact);
    let source = if priced { "provider" } else { "unpriced" };
    fields.row.insert("cost_source", source.into());
    let latency = format!("{}.{:03}", number % 5000, number % 1000);
    fields.maybe(
        !number.is_multiple_of(3),
        "latency_ms",
        &latency,
        double(&latency),
    );
    fields.maybe(number.is_multiple_of(5), "ttft_ms", "0.25", 0.25);
    let complexity = ["trivial", "simple", "medium", "complex", "critical"][number % 5];
    fields.maybe(
        number % 6 != 2,
        "task_complexity",
        &format!("\"{complexity}\""),
        complexity,
    );
    let status = ["ok", "error", "rate_limited", "timeout"][number % 4];
    if number % 8 == 4 {
        fields.row.insert("status", "ok".into());
    } else {
        fields.set("status", &format!("\"{status}\""), status);
    }
    fields.text(status == "error", "error", number / 4);
    fields.text(number.is_multiple_of(9), "reservation", number);
}

/// Every form that is accepted; without one the row has none either, and takes the time NATS stored it.
fn timestamp(fields: &mut Fields, number: usize) {
    let micros = 1_700_000_000_000_000 + number as i64 * 1_000_003;
    let instant = Timestamp::from_microsecond(micros).expect("a time");
    let format = |pattern: &str| format!("\"{}\"", instant.strftime(pattern));
    let berlin = || {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        format!(
            "\"{}+02:00\"",
            instant.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S%.6f")
        )
    };
    let (json, stored) = match number % 8 {
        0 => return,
        1 => (format("%Y-%m-%dT%H:%M:%S%.6fZ"), micros),
        2 => (
            format("%Y-%m-%dT%H:%M:%SZ"),
            micros.div_euclid(1_000_000) * 1_000_000,
        ),
        3 => ((micros / 1000).to_string(), micros / 1000 * 1000),
        4 => (berlin(), micros),
        5 => (format("%Y-%m-%dt%H:%M:%S%.6f789z"), micros),
        6 => ("\"1969-12-31T23:59:59.999999Z\"".into(), -1),
        _ => ("\"0001-01-01T00:00:00Z\"".into(), -62_135_596_800_000_000),
    };
    fields.set("timestamp", &json, stored);
}

/// A double of any size with all its digits, and sometimes with more than it can hold.
fn random_double(seed: u64) -> String {
    let mut bits = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits ^= bits >> 27;
    let value = f64::from_bits(bits);
    match seed % 3 {
        _ if !value.is_finite() => "1.0".into(),
        0 => format!("{value:.25e}"),
        _ => format!("{value:e}"),
    }
}

/// The nearest double, by the standard library.
fn double(text: &str) -> Value {
    text.parse::<f64>().expect("a number").into()
}
