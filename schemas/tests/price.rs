//! Prices: the shipped table, hand-computed costs, problems with their lines, and decimal arithmetic as an oracle.

use proptest::prelude::*;
use rust_decimal::{Decimal, RoundingStrategy};
use schemas::price::{BUILT_IN, BUILT_IN_NAME, PriceTable, Rates, Tokens};
use schemas::{Decoded, Incoming, Item, Money, Time, decode};

fn built_in() -> PriceTable {
    PriceTable::parse(BUILT_IN_NAME, BUILT_IN).expect("the table that comes with aiai")
}

/// The cost and its source that a usage event gets.
fn priced(event: &str) -> (Option<String>, String) {
    let incoming = Incoming {
        subject: "ingest.usage",
        content_type: None,
        trace_parent: None,
        cloud_event: None,
        payload: event.as_bytes(),
        origin: 1,
        stored: Time(1_795_158_001_000_000),
    };
    let table = built_in();
    let mut found = None;
    decode(&incoming, |decoded| {
        let Decoded::Item {
            item: Item::Usage(mut usage),
            ..
        } = decoded
        else {
            panic!("{event} is not accepted: {decoded:?}")
        };
        table.apply(&mut usage);
        let source = usage.cost_source.as_deref().unwrap_or("none").to_owned();
        found = Some((usage.cost_usd.map(|cost| cost.to_string()), source));
    });
    found.expect("one event")
}

#[test]
fn costs_are_those_worked_out_by_hand() {
    for (event, cost, source) in [
        // 1000 × $3 + 500 × $15 a million
        (
            r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"tokens_out":500}"#,
            Some("0.0105"),
            "price_table@2026-03",
        ),
        // (1000 - 600 - 300) × $3 + 600 × $0.30 + 300 × $3.75 + 10 × $15
        (
            r#"{"model":"claude-sonnet-4-5-20250929","provider":"anthropic","tokens_in":1000,"tokens_cache_read":600,"tokens_cache_write":300,"tokens_out":10}"#,
            Some("0.001755"),
            "price_table@2026-03",
        ),
        // 300,000 is above 200,000: × $6 + 1000 × $22.50
        (
            r#"{"model":"claude-sonnet-4-5","tokens_in":300000,"tokens_out":1000}"#,
            Some("1.8225"),
            "price_table@2026-03",
        ),
        // no price for writing to the cache: (1000 - 400) × $1.25 with the 100 written, + 400 × $0.125
        (
            r#"{"model":"gpt-5","tokens_in":1000,"tokens_cache_read":400,"tokens_cache_write":100}"#,
            Some("0.0008"),
            "price_table@2026-03",
        ),
        // reasoning is part of what came out
        (
            r#"{"model":"gpt-5-2025-08-07","tokens_out":100,"tokens_reasoning":90}"#,
            Some("0.001"),
            "price_table@2026-03",
        ),
        (
            r#"{"model":"gemini-2.5-flash","provider":"gcp.gemini","tokens_in":1}"#,
            Some("0.0000003"),
            "price_table@2026-03",
        ),
        // what came with the event is kept, also 0
        (
            r#"{"model":"gpt-5","tokens_in":1000,"cost_usd":0}"#,
            Some("0"),
            "provider",
        ),
        (
            r#"{"model":"gpt-5","tokens_in":1000,"cost_usd":7.5}"#,
            Some("7.5"),
            "provider",
        ),
        // not known: no cost, never 0
        (r#"{"model":"gpt-5"}"#, None, "unpriced"),
        (
            r#"{"model":"gpt-5-unheard-of","tokens_in":1000}"#,
            None,
            "unpriced",
        ),
        (
            r#"{"model":"gpt-5","provider":"somebody else","tokens_in":1000}"#,
            None,
            "unpriced",
        ),
        (
            r#"{"model":"gpt-5-pro","tokens_out":1000000000000}"#,
            None,
            "unpriced",
        ),
    ] {
        assert_eq!(
            priced(event),
            (cost.map(str::to_owned), source.to_owned()),
            "{event}"
        );
    }
}

#[test]
fn halves_of_a_nano_dollar_go_to_the_even_neighbour() {
    let rates = |input| Rates {
        input: Money(input),
        output: Money(0),
        cache_read: None,
        cache_write: None,
    };
    let cost = |tokens, input| {
        rates(input).cost(Tokens {
            tokens_in: tokens,
            ..Tokens::default()
        })
    };
    for (tokens, nanos, expected) in [
        (1, 500_000, 0),
        (3, 500_000, 2),
        (5, 500_000, 2),
        (1, 500_001, 1),
        (1, 499_999, 0),
    ] {
        assert_eq!(cost(tokens, nanos), Some(Money(expected)), "{tokens} × {nanos}");
    }
}

#[test]
fn every_problem_of_a_table_has_its_line() {
    let text = "version = \"a b\"\n[[model]]\nname = \"m\"\ninput = -1\noutput = 1e99\n\
                [[model]]\nname = \"m\"\ninput = 0x10\noutput = 1\nabove = { tokens_in = 5, input = inf, output = 2 }\n";
    let problems = PriceTable::parse("p.toml", text).expect_err("refused");
    let lines: Vec<_> = problems.0.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 4, 5, 7, 8, 10], "{problems}");
    assert!(
        problems.to_string().starts_with("p.toml:1: version: use "),
        "{problems}"
    );
    assert!(
        problems
            .to_string()
            .contains("p.toml:7: `m` is blank, or belongs to an earlier model"),
        "{problems}"
    );
    for (text, line, part) in [
        (
            "version = \"1\"\n[[model]]\nname = \"m\"\ninput = 1\noutptu = 1\n",
            5,
            "outptu",
        ),
        (
            "version = \"1\"\n[[model]]\nname = \"m\"\noutput = 1\n",
            2,
            "input",
        ),
        ("version = \"1\"\n[[model\n", 2, ""),
        ("[[model]]\nname = \"m\"\ninput = 1\noutput = 1\n", 1, "version"),
        (
            "version = \"1\"\n[[model]]\nname = \"m\"\ninput = \"1\"\noutput = 1\n",
            4,
            "string",
        ),
    ] {
        let problems = PriceTable::parse("p.toml", text).expect_err(text);
        assert_eq!(problems.0[0].line, line, "{problems}");
        assert!(problems.0[0].text.contains(part), "{problems}");
    }
}

#[test]
fn the_table_that_comes_with_aiai_is_sound() {
    let table = built_in();
    assert!(table.len() > 30);
    assert_eq!(table.source(), "price_table@2026-03");
}

fn decimal(money: Money) -> Decimal {
    Decimal::from_i128_with_scale(i128::from(money.0), 9)
}

proptest! {
    /// The formula again, in decimals.
    #[test]
    fn costs_equal_decimal_arithmetic(
        prices in proptest::array::uniform4(0_i64..200_000_000_000),
        known in proptest::array::uniform2(any::<bool>()),
        counts in proptest::array::uniform4(0_u64..50_000_000),
    ) {
        let [input, output, read, write] = prices.map(Money);
        let [fresh, cache_read, cache_write, tokens_out] = counts;
        let rates = Rates { input, output, cache_read: known[0].then_some(read), cache_write: known[1].then_some(write) };
        let tokens = Tokens { tokens_in: fresh + cache_read + cache_write, tokens_out, cache_read, cache_write };
        let part = |count: u64, price: Money| Decimal::from(count) * decimal(price);
        let sum = part(fresh, input)
            + part(cache_read, if known[0] { read } else { input })
            + part(cache_write, if known[1] { write } else { input })
            + part(tokens_out, output);
        let wanted = (sum / Decimal::from(1_000_000)).round_dp_with_strategy(9, RoundingStrategy::MidpointNearestEven);
        prop_assert_eq!(rates.cost(tokens).map(decimal), Some(wanted));
    }

    /// Whatever the counts and prices: no panic.
    #[test]
    fn nothing_overflows(prices in proptest::array::uniform4(any::<i64>()), counts in proptest::array::uniform4(any::<u64>())) {
        let [input, output, read, write] = prices.map(Money);
        let rates = Rates { input, output, cache_read: Some(read), cache_write: Some(write) };
        let [tokens_in, tokens_out, cache_read, cache_write] = counts;
        let _ = rates.cost(Tokens { tokens_in, tokens_out, cache_read, cache_write });
    }

    #[test]
    fn any_text_is_a_table_or_a_list_of_problems(text in "[\\[\\]a-z=\". 0-9\n]{0,200}") {
        if let Err(problems) = PriceTable::parse("p", &text) {
            prop_assert!(!problems.0.is_empty());
        }
    }
}
