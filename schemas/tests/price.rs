//! Prices: the shipped table, hand-computed costs, problems with their lines, and decimal arithmetic as an oracle.

use proptest::prelude::*;
use schemas::price::{BUILT_IN, BUILT_IN_NAME, Call, Figures, Plan, Price, PriceTable, Rates, Tier, Tokens};
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

/// A call, its cost in dollars and where the cost is from.
const WORKED_OUT_BY_HAND: &[(&str, Option<&str>, &str)] = &[
    // 1000 × $3 + 500 × $15 a million
    (
        r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"tokens_out":500}"#,
        Some("0.0105"),
        "price_table@2026-11",
    ),
    // (1000 - 600 - 300) × $3 + 600 × $0.30 + 300 × $3.75 + 10 × $15
    (
        r#"{"model":"claude-sonnet-4-5-20250929","provider":"anthropic","tokens_in":1000,"tokens_cache_read":600,"tokens_cache_write":300,"tokens_out":10}"#,
        Some("0.001755"),
        "price_table@2026-11",
    ),
    // 300,000 is above 200,000: × $6 + 1000 × $22.50
    (
        r#"{"model":"claude-sonnet-4-5","tokens_in":300000,"tokens_out":1000}"#,
        Some("1.8225"),
        "price_table@2026-11",
    ),
    // no price for writing to the cache: (1000 - 400) × $1.25 with the 100 written, + 400 × $0.125
    (
        r#"{"model":"gpt-5","tokens_in":1000,"tokens_cache_read":400,"tokens_cache_write":100}"#,
        Some("0.0008"),
        "price_table@2026-11",
    ),
    // reasoning is part of what came out
    (
        r#"{"model":"gpt-5-2025-08-07","tokens_out":100,"tokens_reasoning":90}"#,
        Some("0.001"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"gemini-2.5-flash","provider":"gcp.gemini","tokens_in":1}"#,
        Some("0.0000003"),
        "price_table@2026-11",
    ),
    // (3000 - 2000) × $3.75 + 2000 × $6 for writing to the cache
    (
        r#"{"model":"claude-sonnet-4-5","tokens_in":3000,"tokens_cache_write":3000,"tokens_cache_write_1h":2000,"tokens_out":0}"#,
        Some("0.01575"),
        "price_table@2026-11",
    ),
    // half of 1000 × $3 in a batch; a tier that is not listed has no price
    (
        r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"service_tier":"batch"}"#,
        Some("0.0015"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"service_tier":"on_demand"}"#,
        Some("0.003"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"service_tier":"express"}"#,
        None,
        "unpriced",
    ),
    // Anthropic's fast mode: twice $5; in the US another tenth; a batch in the US half of that; older models have neither
    (
        r#"{"model":"claude-opus-5","usage":{"input_tokens":1000,"output_tokens":0,"service_tier":"standard","speed":"fast"}}"#,
        Some("0.01"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"claude-opus-5","usage":{"input_tokens":1000,"output_tokens":0,"speed":"fast","inference_geo":"us"}}"#,
        Some("0.011"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"claude-opus-5","service_tier":"batch","usage":{"input_tokens":1000,"output_tokens":0,"service_tier":"batch","inference_geo":"us"}}"#,
        Some("0.00275"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"claude-opus-5","service_tier":"standard","usage":{"input_tokens":1000,"output_tokens":0,"service_tier":"standard","speed":"standard","inference_geo":"not_available"}}"#,
        Some("0.005"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"claude-sonnet-4-5","usage":{"input_tokens":1000,"output_tokens":0,"speed":"fast"}}"#,
        None,
        "unpriced",
    ),
    (
        r#"{"model":"claude-sonnet-4-5","usage":{"input_tokens":1000,"output_tokens":0,"inference_geo":"us"}}"#,
        None,
        "unpriced",
    ),
    // LiteLLM: prompt_tokens are inclusive. (2096 - 1800 - 248) × $3 + 1800 × $0.30 + 248 × $3.75 + 100 × $15
    (
        r#"{"model":"claude-sonnet-4-5","usage":{"prompt_tokens":2096,"completion_tokens":100,"total_tokens":2196,"prompt_tokens_details":{"cached_tokens":1800},"cache_creation_input_tokens":248,"cache_read_input_tokens":1800}}"#,
        Some("0.003114"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"claude-sonnet-4-5","usage":{"prompt_tokens":2096,"completion_tokens":100,"total_tokens":2196,"prompt_tokens_details":null,"cache_creation_input_tokens":248,"cache_read_input_tokens":1800}}"#,
        Some("0.003114"),
        "price_table@2026-11",
    ),
    // 100 of the 248 for an hour: 148 × $3.75 + 100 × $6
    (
        r#"{"model":"claude-sonnet-4-5","usage":{"prompt_tokens":2096,"completion_tokens":100,"total_tokens":2196,"prompt_tokens_details":{"cached_tokens":1800,"cache_creation_tokens":248,"cache_creation_token_details":{"ephemeral_5m_input_tokens":148,"ephemeral_1h_input_tokens":100}},"cache_creation_input_tokens":248,"cache_read_input_tokens":1800}}"#,
        Some("0.003339"),
        "price_table@2026-11",
    ),
    // a batch on Vertex halves an hour's cache writes too: 1000 × $10 / 2
    (
        r#"{"model":"claude-opus-4-5","provider":"google","service_tier":"batch","tokens_in":1000,"tokens_cache_write":1000,"tokens_cache_write_1h":1000,"tokens_out":0}"#,
        Some("0.005"),
        "price_table@2026-11",
    ),
    // o3 cost $10 a million until 2025-06-10, then $2
    (
        r#"{"model":"o3","tokens_in":1000,"timestamp":"2025-06-09T23:59:59.999Z"}"#,
        Some("0.01"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"o3-2025-04-16","tokens_in":1000,"timestamp":"2025-06-10T00:00:00Z"}"#,
        Some("0.002"),
        "price_table@2026-11",
    ),
    // names as providers and resellers report them
    (
        r#"{"model":"models/gemini-2.5-pro","tokens_in":1000}"#,
        Some("0.00125"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"us.anthropic.claude-sonnet-4-5-20250929-v1:0","tokens_in":1000}"#,
        Some("0.0033"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"global.anthropic.claude-sonnet-4-5-20250929-v1:0","provider":"aws.bedrock","tokens_in":1000}"#,
        Some("0.003"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"claude-sonnet-4-5@20250929","provider":"vertex_ai","tokens_in":1000}"#,
        Some("0.003"),
        "price_table@2026-11",
    ),
    (
        r#"{"model":"anthropic/claude-sonnet-4.5","provider":"openrouter","tokens_in":1000}"#,
        Some("0.003"),
        "price_table@2026-11",
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
];

#[test]
fn costs_are_those_worked_out_by_hand() {
    for &(event, cost, source) in WORKED_OUT_BY_HAND {
        assert_eq!(
            priced(event),
            (cost.map(str::to_owned), source.to_owned()),
            "{event}"
        );
    }
}

/// A price without dates.
fn flat(rates: Rates) -> Price {
    Price {
        current: Figures::flat(rates),
        earlier: Vec::new(),
    }
}

#[test]
fn halves_of_a_nano_dollar_go_to_the_even_neighbour() {
    let cost = |tokens, input| {
        let tokens = Tokens {
            tokens_in: tokens,
            ..Tokens::default()
        };
        flat(Rates::new(Money(input), Money(0))).cost(&Call::now(tokens))
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

/// A table with everything a model may have, priced by hand.
const EVERYTHING: &str = r#"
version = "1"

[[model]]
name = "steps"
input = 1
output = 2
reasoning = 4
request = 0.01
above = [{ tokens_in = 200_000, input = 3, output = 6 }, { tokens_in = 100_000, input = 2, output = 4 }]
service_tier.flex = { input = 0.5, output = 1, above = { tokens_in = 100_000, input = 1, output = 2 } }
before = [{ date = 2026-01-01, input = 10, output = 20, service_tier.flex = { share = 0.1 } }, { date = 2025-01-01, input = 100, output = 200 }]

[[model]]
name = "free"
input = 0
output = 0

[[model]]
name = "by-the-call"
input = 0
output = 0
request = 0.002
"#;

#[test]
fn steps_dates_tiers_and_calls_are_priced_as_written() {
    let table = PriceTable::parse("p.toml", EVERYTHING).expect("sound");
    let at = |text: &str| text.parse::<Time>().expect("a time");
    let cost = |model: &str, tokens_in, tokens_out, reasoning, service_tier, day: &str| {
        let tokens = Tokens {
            tokens_in,
            tokens_out,
            reasoning,
            ..Tokens::default()
        };
        let call = Call {
            tokens,
            service_tier,
            at: at(&format!("{day}T12:00:00Z")),
        };
        let price = table.price(None, model).expect("listed");
        price.cost(&call).map(|cost| cost.to_string())
    };
    let some = |text: &str| Some(text.to_owned());
    // 100,000 × 1 + 10 × 2 + 30 × 4 a million, and a cent
    assert_eq!(
        cost("steps", 100_000, 40, 30, None, "2026-06-01"),
        some("0.11014")
    );
    // above 100,000: × 2; reasoning has no price of its own there, nor has the call
    assert_eq!(
        cost("steps", 100_001, 40, 30, None, "2026-06-01"),
        some("0.200162")
    );
    assert_eq!(cost("steps", 200_001, 0, 0, None, "2026-06-01"), some("0.600003"));
    assert_eq!(
        cost("steps", 100_000, 0, 0, Some("flex"), "2026-06-01"),
        some("0.05")
    );
    assert_eq!(
        cost("steps", 300_000, 0, 0, Some("FLEX"), "2026-06-01"),
        some("0.3")
    );
    assert_eq!(cost("steps", 1_000, 0, 0, None, "2025-12-31"), some("0.01"));
    assert_eq!(
        cost("steps", 1_000, 0, 0, Some("flex"), "2025-12-31"),
        some("0.001")
    );
    assert_eq!(cost("steps", 1_000, 0, 0, None, "2024-12-31"), some("0.1"));
    assert_eq!(cost("steps", 1_000, 0, 0, Some("flex"), "2024-12-31"), None);
    assert_eq!(cost("steps", 1_000, 0, 0, Some("batch"), "2026-06-01"), None);
    assert_eq!(cost("free", 1_000, 5, 0, None, "2026-06-01"), some("0"));
    assert_eq!(
        cost("by-the-call", 1_000, 5, 0, Some("default"), "2026-06-01"),
        some("0.002")
    );
}

#[test]
fn the_table_that_comes_with_aiai_is_sound() {
    let table = built_in();
    assert!(table.len() > 300);
    assert_eq!(table.source(), "price_table@2026-11");
}

#[test]
fn without_a_provider_the_makers_own_prices_count() {
    let table = built_in();
    let mut names = 0;
    for listed in table.models() {
        let all = std::iter::once(&listed.name).chain(&listed.aliases);
        for name in all.filter(|name| !name.ends_with('*')) {
            let found = table.find(None, name);
            let is_open = name.contains("gpt-oss") || name.contains("llama");
            assert_eq!(found.is_none(), table.needs_provider(None, name), "{name}");
            assert!(
                found.is_some() || is_open,
                "{name} has no price without a provider"
            );
            names += 1;
        }
    }
    assert!(names > 500);
    for (model, maker) in [
        ("claude-sonnet-4", "anthropic"),
        ("claude-opus-4-6", "anthropic"),
        ("claude-3-5-haiku-20241022", "anthropic"),
        ("Claude-Sonnet-4-5", "anthropic"),
        ("GPT-4o", "openai"),
        ("gpt-5-2025-08-07", "openai"),
        ("o3", "openai"),
        ("models/Gemini-2.5-Pro", "google"),
        ("mistral-medium-2505", "mistral"),
        ("mistral-large-latest", "mistral"),
        ("grok-3-mini", "xai"),
        ("deepseek-chat", "deepseek"),
        ("command-r-plus-08-2024", "cohere"),
    ] {
        let found = table.find(None, model).expect(model);
        assert_eq!(found.provider.as_deref(), Some(maker), "{model}");
    }
    for open in ["gpt-oss-120b", "gpt-oss-20b", "openai/gpt-oss-120b"] {
        assert!(table.find(None, open).is_none(), "{open}");
        assert!(!table.needs_provider(Some("groq"), open), "{open}");
    }
    assert!(!table.needs_provider(None, "unheard-of"));
}

#[test]
fn a_maker_without_models_is_refused() {
    let text = "version = \"1\"\n[makers]\nclaude = \"anthropik\"\n\"\" = \"x\"\n[[model]]\nname = \"n\"\nprovider = \"x\"\ninput = 1\noutput = 2\n";
    let problems = PriceTable::parse("p.toml", text).expect_err("two slips");
    let lines: Vec<usize> = problems.0.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 4], "{problems}");
}

#[test]
fn providers_are_known_by_the_names_that_libraries_send() {
    let table = built_in();
    for (provider, model) in [
        ("azure.ai.openai", "gpt-4o"),
        ("azure_openai", "GPT-4o-2024-08-06"),
        ("Azure", "gpt-4o"),
        ("OpenAI", "gpt-4o"),
        ("amazon_bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("aws bedrock", "Anthropic.Claude-Sonnet-4-5-20250929-v1:0"),
        ("google_vertexai", "gemini-2.5-pro"),
        ("anthropic-vertex", "claude-sonnet-4-5@20250929"),
        ("mistralai", "mistral-medium-2505"),
        ("x.ai", "grok-3-mini"),
    ] {
        assert!(table.price(Some(provider), model).is_some(), "{provider} {model}");
    }
    assert!(table.price(Some("azure"), "claude-sonnet-4-5").is_none());
    let own =
        format!("{BUILT_IN}\n[[model]]\nname = \"gpt-4o\"\nprovider = \"azure\"\ninput = 7\noutput = 8\n");
    let own = PriceTable::parse("p.toml", &own).expect("sound");
    let price = own.price(Some("azure_openai"), "gpt-4o").expect("its own");
    assert_eq!(price.current.standard.rates.input, "7".parse().expect("money"));
}

/// Nano-dollars as a fraction whose parts are never rounded.
#[derive(Clone, Copy)]
struct Fraction {
    above: i128,
    below: i128,
}

impl Fraction {
    fn whole(nanos: i64) -> Self {
        Fraction {
            above: i128::from(nanos) * 1_000_000,
            below: 1_000_000,
        }
    }

    fn add(self, tokens: u64, price: Money) -> Self {
        let above = self.above + i128::from(tokens) * i128::from(price.0);
        Fraction { above, ..self }
    }

    fn times(self, above: i128, below: i128) -> Self {
        Fraction {
            above: self.above * above,
            below: self.below * below,
        }
    }

    /// Half to even, by comparing the two neighbours; none beyond a million dollars.
    fn rounded(self) -> Option<i64> {
        let floor = self.above.div_euclid(self.below);
        let (down, up) = (
            self.above - floor * self.below,
            (floor + 1) * self.below - self.above,
        );
        let nearest = match down.cmp(&up) {
            std::cmp::Ordering::Less => floor,
            std::cmp::Ordering::Greater => floor + 1,
            std::cmp::Ordering::Equal => floor + floor.rem_euclid(2),
        };
        i64::try_from(nearest)
            .ok()
            .filter(|nanos| *nanos <= 1_000_000 * 1_000_000_000)
    }
}

proptest! {
    /// The formula again, as a fraction of whole numbers of any size.
    #[test]
    fn costs_equal_rational_arithmetic(
        prices in proptest::array::uniform7(0_i64..200_000_000_000),
        known in proptest::array::uniform4(any::<bool>()),
        counts in proptest::array::uniform6(0_u64..50_000_000),
        share in prop_oneof![Just(1_000_000_000_i64), 0_i64..2_000_000_000],
    ) {
        let [input, output, read, write, hour, reasoning, request] = prices.map(Money);
        let [fresh, cache_read, minutes, cache_write_1h, plain, thought] = counts;
        let rates = Rates {
            input,
            output,
            cache_read: known[0].then_some(read),
            cache_write: known[1].then_some(write),
            cache_write_1h: known[2].then_some(hour),
            reasoning: known[3].then_some(reasoning),
            request,
        };
        let plan = Plan { rates, above: Vec::new() };
        let current = Figures { standard: plan, service_tiers: vec![("batch".into(), Tier::Share(Money(share)))] };
        let price = Price { current, earlier: Vec::new() };
        let cache_write = minutes + cache_write_1h;
        let tokens = Tokens {
            tokens_in: fresh + cache_read + cache_write,
            tokens_out: plain + thought,
            cache_read,
            cache_write,
            cache_write_1h,
            reasoning: thought,
        };
        let any_write = if known[1] { write } else { input };
        let fraction = Fraction::whole(request.0)
            .add(fresh, input)
            .add(cache_read, if known[0] { read } else { input })
            .add(minutes, any_write)
            .add(cache_write_1h, if known[2] { hour } else { any_write })
            .add(plain, output)
            .add(thought, if known[3] { reasoning } else { output });
        prop_assert_eq!(price.cost(&Call::now(tokens)).map(|cost| cost.0), fraction.times(1, 1).rounded());
        let batch = Call { service_tier: Some("Batch"), ..Call::now(tokens) };
        prop_assert_eq!(
            price.cost(&batch).map(|cost| cost.0),
            fraction.times(share.into(), 1_000_000_000).rounded()
        );
        let flex = Call { service_tier: Some("flex"), ..Call::now(tokens) };
        prop_assert_eq!(price.cost(&flex), None, "a tier that is not listed has no price");
    }

    /// Whatever the counts and prices: no panic.
    #[test]
    fn nothing_overflows(prices in proptest::array::uniform7(any::<i64>()), counts in proptest::array::uniform6(any::<u64>()), share in any::<i64>()) {
        let [input, output, read, write, hour, reasoning, request] = prices.map(Money);
        let rates = Rates {
            cache_read: Some(read),
            cache_write: Some(write),
            cache_write_1h: Some(hour),
            reasoning: Some(reasoning),
            request,
            ..Rates::new(input, output)
        };
        let [tokens_in, tokens_out, cache_read, cache_write, cache_write_1h, reasoning] = counts;
        let tokens = Tokens { tokens_in, tokens_out, cache_read, cache_write, cache_write_1h, reasoning };
        let standard = Plan { rates, above: Vec::new() };
        let service_tiers = vec![("x".to_owned(), Tier::Share(Money(share)))];
        let price = Price { current: Figures { standard, service_tiers }, earlier: Vec::new() };
        let _ = price.cost(&Call { service_tier: Some("x"), ..Call::now(tokens) });
    }
}
