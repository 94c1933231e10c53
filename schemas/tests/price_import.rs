//! The files of others, made into ours: what is written is read again, and nothing is guessed.

use proptest::prelude::*;
use schemas::price::import::{Format, Imported, import};
use schemas::price::{Call, PriceTable, Tokens};
use schemas::{Money, Time};

const LITELLM: &str = r#"{
  "sample_spec": {"litellm_provider": "explains", "input_cost_per_token": 0},
  "claude-x": {
    "litellm_provider": "anthropic", "mode": "chat",
    "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
    "cache_read_input_token_cost": 3e-07, "cache_creation_input_token_cost": 3.75e-06,
    "cache_creation_input_token_cost_above_1hr": 6e-06,
    "input_cost_per_token_above_200k_tokens": 6e-06,
    "input_cost_per_token_batches": 1.5e-06, "output_cost_per_token_batches": 7.5e-06,
    "search_context_cost_per_query": {"search_context_size_low": 0.01}
  },
  "gemini/gemini-x": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 2.9999999999999997e-06, "output_cost_per_token": 0},
  "dear": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": -1e-06},
  "huge": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e99, "output_cost_per_token": 1},
  "picture": {"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.04},
  "openai/claude-y": {"litellm_provider": "openai", "input_cost_per_token": 1e-06},
  "claude-y": {"litellm_provider": "openai", "input_cost_per_token": 2e-06},
  "nothing": {"litellm_provider": "openai", "mode": "chat"}
}"#;

const GENAI: &str = r#"[
  {"id": "x-ai", "models": [
    {"id": "grok-x", "match": {"or": [{"equals": "grok-x"}, {"equals": "grok-x-0709"}, {"starts_with": "grok-x-beta"}, {"regex": "^g$"}]},
     "prices": {"input_mtok": {"base": 3, "tiers": [{"start": 128000, "price": 6}]}, "output_mtok": "15", "input_audio_mtok": 1, "requests_kcount": 5}},
    {"id": "grok-old", "prices": [
      {"prices": {"input_mtok": 10, "output_mtok": 20}},
      {"constraint": {"start_date": "2026-01-01"}, "prices": {"input_mtok": 8, "output_mtok": 16}},
      {"constraint": {"start_time": "00:30:00Z", "end_time": "16:30:00Z"}, "prices": {"input_mtok": 1}},
      {"constraint": {"start_date": "2026-06-01"}, "prices": {"input_mtok": 2, "output_mtok": 4}}],
     "price_variants": [
      {"when": {"processing": "batch"}, "prices": {"input_mtok": 1}},
      {"when": {"speed": "fast"}, "prices": {"input_mtok": 4}}]},
    {"id": "sounds", "prices": {"audio_hours": 1}}
  ]}
]"#;

fn read(imported: &Imported) -> PriceTable {
    PriceTable::parse("made", &imported.text).expect("sound")
}

/// Dollars for so many tokens in and out.
fn cost(table: &PriceTable, provider: &str, model: &str, call: Call<'_>) -> Option<String> {
    let price = table.price(Some(provider), model)?;
    price.cost(&call).map(|cost: Money| cost.to_string())
}

fn tokens(tokens_in: u64, tokens_out: u64) -> Call<'static> {
    Call::now(Tokens {
        tokens_in,
        tokens_out,
        ..Tokens::default()
    })
}

fn at(call: Call<'static>, day: &str) -> Call<'static> {
    let at: Time = format!("{day}T00:00:00Z").parse().expect("a time");
    Call { at, ..call }
}

#[test]
fn a_batch_of_litellms_halves_an_hours_cache_writes_too() {
    let table = read(&import(Format::Litellm, "l.json", LITELLM, "7").expect("imported"));
    let written = Tokens {
        tokens_in: 1000,
        cache_write: 1000,
        cache_write_1h: 400,
        ..Tokens::default()
    };
    let batch = Call {
        service_tier: Some("batch"),
        ..Call::now(written)
    };
    // half of 600 × $3.75 + 400 × $6
    let half = cost(&table, "anthropic", "claude-x", batch);
    assert_eq!(half.as_deref(), Some("0.002325"));
}

#[test]
fn litellm_prices_become_ours() {
    assert_eq!(Format::of(LITELLM), Some(Format::Litellm));
    let imported = import(Format::Litellm, "l.json", LITELLM, "7").expect("imported");
    assert_eq!(imported.models, 3, "{}", imported.text);
    let table = read(&imported);
    assert_eq!(table.source(), "price_table@7");
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        cost(&table, "anthropic", "claude-x", tokens(1000, 100)),
        some("0.0045")
    );
    assert_eq!(
        cost(&table, "anthropic", "claude-x", tokens(200_001, 0)),
        some("1.200006")
    );
    let batch = Call {
        service_tier: Some("batch"),
        ..tokens(1000, 100)
    };
    assert_eq!(cost(&table, "anthropic", "claude-x", batch), some("0.00225"));
    let written = Tokens {
        tokens_in: 1000,
        cache_write: 1000,
        cache_write_1h: 400,
        ..Tokens::default()
    };
    assert_eq!(
        cost(&table, "anthropic", "claude-x", Call::now(written)),
        some("0.00465")
    );
    assert_eq!(
        cost(&table, "google", "gemini-x", tokens(1000, 5)),
        some("0.003"),
        "no float on the way"
    );
    let left_out: Vec<(usize, &str)> = imported
        .left_out
        .iter()
        .map(|one| (one.line, one.model.as_str()))
        .collect();
    assert_eq!(
        left_out,
        [
            (3, "claude-x"),
            (13, "dear"),
            (14, "huge"),
            (15, "picture"),
            (17, "claude-y"),
            (18, "nothing")
        ]
    );
    let why: Vec<&str> = imported.left_out.iter().map(|one| one.why.as_str()).collect();
    assert!(
        why[0].contains("without search_context_cost_per_query"),
        "{why:?}"
    );
    assert!(
        why[1].contains("output_cost_per_token is -1e-06; a price is a number from 0"),
        "{why:?}"
    );
    assert!(why[2].contains("input_cost_per_token is 1e99"), "{why:?}");
    assert!(
        why[4].contains("an earlier model of this provider has its name"),
        "{why:?}"
    );
}

#[test]
fn genai_prices_become_ours() {
    assert_eq!(Format::of(GENAI), Some(Format::GenaiPrices));
    let imported = import(Format::GenaiPrices, "g.json", GENAI, "8").expect("imported");
    let table = read(&imported);
    let some = |text: &str| Some(text.to_owned());
    // 1000 × 3 + 100 × 15 a million, and half a cent for the call.
    assert_eq!(
        cost(&table, "xai", "grok-x-0709", tokens(1000, 100)),
        some("0.0095")
    );
    assert_eq!(
        cost(&table, "xai", "grok-x-beta-2", tokens(128_001, 0)),
        some("0.773006")
    );
    for (day, wanted) in [
        ("2025-12-31", "0.03"),
        ("2026-01-01", "0.024"),
        ("2026-06-01", "0.006"),
    ] {
        assert_eq!(
            cost(&table, "x-ai", "grok-old", at(tokens(1000, 1000), day)),
            some(wanted),
            "{day}"
        );
    }
    let batch = Call {
        service_tier: Some("batch"),
        ..tokens(1000, 1000)
    };
    assert_eq!(
        cost(&table, "xai", "grok-old", batch),
        some("0.005"),
        "what a variant leaves out costs as usual"
    );
    let why: Vec<String> = imported
        .left_out
        .iter()
        .map(|one| format!("{}: {}", one.model, one.why))
        .collect();
    for wanted in [
        "grok-x: without names that match regex",
        "grok-x: without input_audio_mtok",
        "grok-old: without its prices by the hour of the day",
        "grok-old: without its prices for {\"speed\": \"fast\"}",
        "sounds: has no price per token",
    ] {
        assert!(why.iter().any(|why| why.contains(wanted)), "{wanted}: {why:#?}");
    }
}

#[test]
fn what_is_no_such_file_is_named_with_its_line() {
    for (format, text, part) in [
        (Format::Litellm, "[]", "l.json:1: is not an object"),
        (
            Format::Litellm,
            "{\n\"a\": truth\n}",
            "l.json:2: is not an object of JSON",
        ),
        (Format::Litellm, "{}", "l.json:1: no model of it has a price"),
        (Format::GenaiPrices, "{}", "l.json:1: is not an array"),
        (
            Format::GenaiPrices,
            "[\n{\"id\": 1}\n]",
            "l.json:2: a provider without id or models",
        ),
    ] {
        let problems = import(format, "l.json", text, "1").expect_err(text);
        assert!(problems.to_string().contains(part), "{problems}");
    }
    let problems = import(Format::Litellm, "l.json", LITELLM, "a b").expect_err("a version");
    assert!(
        problems.to_string().contains("version: use 1 to 64"),
        "{problems}"
    );
    assert_eq!(Format::of("models:\n  - id: x"), None);
}

proptest! {
    /// Whatever the text: no panic, and a table that is made of it can be read.
    #[test]
    fn any_text_is_imported_or_refused(
        cut in 0..LITELLM.len(), put in "[\\[\\]{}\":,a-z0-9.e-]{0,6}", genai in any::<bool>(),
    ) {
        let (format, text) = if genai { (Format::GenaiPrices, GENAI) } else { (Format::Litellm, LITELLM) };
        let cut = cut.min(text.len());
        let changed = format!("{}{put}{}", &text[..cut], &text[(cut + put.len()).min(text.len())..]);
        match import(format, "f", &changed, "1") {
            Ok(imported) => prop_assert!(!read(&imported).is_empty()),
            Err(problems) => prop_assert!(!problems.0.is_empty()),
        }
    }

    #[test]
    fn any_names_survive(name in "[^\"\\\\\\x00-\\x1f]{1,20}", alias in "\\PC{1,20}") {
        let text = serde_json::json!([{"id": "p", "models": [
            {"id": name, "match": {"equals": alias}, "prices": {"input_mtok": 1, "output_mtok": 2}}]}]).to_string();
        if let Ok(imported) = import(Format::GenaiPrices, "f", &text, "1") {
            let table = read(&imported);
            prop_assert_eq!(&table.models()[0].name, &name);
        }
    }
}
