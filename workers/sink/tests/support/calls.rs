//! Model calls of some prices, and what they cost once these are put right.

use std::path::Path;

use schemas::price::PriceTable;
use schemas::rerate::{Answer, Change, Request};
use schemas::rollup::Partial;
use schemas::{Money, Origins, Time};
use serde_json::{Value, json};
use sink::{Keeper, Settings, Source, Store};

use super::*;

/// A day after all calls.
pub const LATER: Time = Time(NOON + 86_400_000_000);
pub const PRICES: &str = r#"
version = "2"

[[model]]
name = "dearer"
input = 3
output = 4

[[model]]
name = "new"
input = 5.5
output = 0
"#;
/// The call of an origin; its model says how it was priced when it came.
pub fn call(origin: u64) -> String {
    let (model, cost) = match origin % 4 {
        0 => (
            "dearer",
            ",\"cost_usd\":0.000002002,\"cost_source\":\"price_table@1\"",
        ),
        1 => ("new", ",\"cost_source\":\"unpriced\""),
        2 => ("dearer", ",\"cost_usd\":7.5,\"cost_source\":\"provider\""),
        _ => ("gone", ",\"cost_usd\":0.001,\"cost_source\":\"price_table@1\""),
    };
    let minute = origin % 90;
    format!(
        "{{\"o\":{origin},\"i\":0,\"tenant\":\"default\",\"timestamp\":\"2026-11-20T{:02}:{:02}:00.000000Z\",\"source\":\"a\",\
         \"model\":\"{model}\",\"tokens_in\":{origin},\"tokens_out\":1{cost},\"status\":\"ok\",\"tags\":{{\"agent\":\"x\"}},\"v\":1}}\n",
        10 + minute / 60,
        minute % 60
    )
}

/// The EVENTS message of these origins, and its partial.
pub fn calls(sequence: u64, origins: std::ops::Range<u64>) -> [Message; 2] {
    let lines: Vec<String> = origins.clone().map(call).collect();
    let origins: Origins = origins.collect();
    let message = events(sequence, "usage", &origins, &lines);
    let partial = Partial::of_events(&message.subject, &message.payload).unwrap();
    let partial = Message {
        source: Source::Rollup,
        epoch: DEAD_EPOCH.to_owned(),
        sequence,
        subject: "rollup.usage".to_owned(),
        headers: Vec::new(),
        payload: partial.to_ndjson(),
        stored: NOON,
    };
    let partial = partial
        .header(schemas::headers::EVENTS_EPOCH, EVENTS_EPOCH)
        .header(schemas::headers::EVENTS_SEQUENCE, &sequence.to_string());
    [message, partial]
}

pub fn open_with_archive(folder: &Path) -> Store {
    let settings = Settings {
        archive_folder: Some(folder.join("archive")),
        ..Settings::default()
    };
    Store::open(&folder.join("aiai.duckdb"), &settings).unwrap()
}

pub fn filled(folder: &Path) -> Store {
    let mut store = open_with_archive(folder);
    for (sequence, first) in [(1, 1), (2, 201)] {
        let messages = calls(sequence, first..first + 200);
        commit(&mut store, &messages.each_ref());
    }
    store
}

pub fn keeper(store: &Store, folder: &Path) -> Keeper {
    Keeper::open(store, &folder.join("archive")).unwrap()
}

pub fn request(dry_run: bool) -> Request {
    Request {
        file: "p.toml".into(),
        table: PRICES.into(),
        from: Time(0),
        until: LATER,
        model: None,
        dry_run,
        after: None,
        rows_max: Some(33),
    }
}

/// Asks batch by batch to the end, and adds up by model.
pub fn rerate(keeper: &mut Keeper, dry_run: bool) -> Vec<Change> {
    let table = PriceTable::parse("p.toml", PRICES).unwrap();
    let mut request = request(dry_run);
    let mut sums: Vec<Change> = Vec::new();
    loop {
        let Answer { models, next } = keeper.rerate(&request, &table).unwrap();
        for change in models {
            match sums.iter_mut().find(|sum| sum.model == change.model) {
                Some(sum) => {
                    sum.calls += change.calls;
                    sum.changed += change.changed;
                    sum.priced += change.priced;
                    sum.without_price += change.without_price;
                    sum.before_usd.0 += change.before_usd.0;
                    sum.after_usd.0 += change.after_usd.0;
                }
                None => sums.push(change),
            }
        }
        let Some(next) = next else { break };
        request.after = Some(next);
    }
    sums.sort_by(|one, other| one.model.cmp(&other.model));
    sums
}

/// Each call's cost and its source, from the view.
pub fn costs(store: &Store) -> Vec<Value> {
    rows(
        store,
        "SELECT origin, cost_usd::VARCHAR AS cost, cost_source FROM usage_all ORDER BY origin",
    )
}

/// Rows and every resolution say the same sum and count of costs.
#[track_caller]
pub fn agree(store: &Store) -> Value {
    let of_rows = rows(
        store,
        "SELECT sum(cost_usd)::VARCHAR AS total, count(cost_usd)::UBIGINT AS n FROM usage_all",
    );
    for resolution in ["1m", "1h", "1d"] {
        let of_rollup = rows(
            store,
            &format!(
                "SELECT sum(total)::DECIMAL(38,9)::VARCHAR AS total, sum(count)::UBIGINT AS n \
                 FROM rollup_{resolution} WHERE name = 'usage.cost_usd'"
            ),
        );
        assert_eq!(of_rollup, of_rows, "{resolution}");
    }
    of_rows[0].clone()
}

/// What the calls of 1 to 400 cost by the new table, worked out apart from it.
pub fn expected() -> Vec<Value> {
    let cost = |origin: u64| match origin % 4 {
        0 => (
            Money(i64::try_from(origin * 3_000 + 4_000).unwrap()),
            "price_table@2",
        ),
        1 => (Money(i64::try_from(origin * 5_500).unwrap()), "price_table@2"),
        2 => (Money(7_500_000_000), "provider"),
        _ => (Money(1_000_000), "price_table@1"),
    };
    (1..401)
        .map(|origin| {
            let (Money(nanos), source) = cost(origin);
            let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            json!({"origin": origin, "cost": text, "cost_source": source})
        })
        .collect()
}
