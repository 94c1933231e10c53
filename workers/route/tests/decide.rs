//! Decisions against a table worked out by hand, and what holds for every decision.

use std::collections::BTreeMap;

use proptest::prelude::*;
use route::{Health, Models, Refusal, decide};
use schemas::price::PriceTable;
use schemas::route::{Capability, Request};
use schemas::{Money, TaskComplexity};

/// Costs of 1000 in and 1000 out, in dollars: small-a 0.003, small-b 0.002, mid 0.006, mid-free unknown, big 0.06.
const MODELS: &str = r#"
tiers = ["low", "mid", "high"]
[complexity]
trivial = "low"
simple = "low"
medium = "mid"
complex = "mid"
critical = "high"
[[model]]
name = "small-a"
provider = "a"
tier = "low"
context_tokens = 10_000
output_tokens = 4_000
capabilities = ["tools", "vision"]
[[model]]
name = "small-b"
provider = "b"
tier = "low"
context_tokens = 8_000
output_tokens = 8_000
capabilities = ["tools"]
[[model]]
name = "mid-free"
provider = "c"
tier = "mid"
context_tokens = 100_000
output_tokens = 50_000
capabilities = ["tools", "long_context"]
[[model]]
name = "mid"
provider = "a"
tier = "mid"
context_tokens = 100_000
output_tokens = 50_000
capabilities = ["tools", "vision"]
[[model]]
name = "big"
provider = "b"
tier = "high"
context_tokens = 200_000
output_tokens = 50_000
capabilities = ["tools", "vision", "reasoning"]
"#;

const PRICES: &str = r#"
version = "1"
[[model]]
name = "small-a"
provider = "a"
input = 1
output = 2
[[model]]
name = "small-b"
provider = "b"
input = 1.5
output = 0.5
[[model]]
name = "mid"
provider = "a"
input = 2
output = 4
[[model]]
name = "big"
provider = "b"
input = 10
output = 50
"#;

fn lists() -> (Models, PriceTable) {
    let models = Models::parse("models.toml", MODELS).expect("models");
    (models, PriceTable::parse("prices.toml", PRICES).expect("prices"))
}

/// `model cost | fallback cost, …`, or the refusal.
fn decided(request: &str, health: &[(&str, Health)]) -> String {
    let (models, prices) = lists();
    let health: BTreeMap<_, _> = health.iter().copied().collect();
    let health_of = |at: usize| {
        *health
            .get(models.models[at].name.as_str())
            .unwrap_or(&Health::Well)
    };
    let request = match Request::read(request.as_bytes()) {
        Ok(request) => request,
        Err(text) => return text,
    };
    match decide(&request, &models, &prices, health_of) {
        Ok(choice) => {
            let shown = |model: &str, cost: Option<Money>| {
                let cost = cost.map_or("-".into(), |cost| cost.to_string());
                format!("{model} {cost}")
            };
            let decision = choice.decision;
            assert_eq!(models.models[choice.at].name, decision.model);
            let rest = decision.fallbacks.iter();
            let rest: Vec<_> = rest
                .map(|other| shown(&other.model, other.estimated_cost_usd))
                .collect();
            let first = shown(&decision.model, decision.estimated_cost_usd);
            format!("{first} | {}", rest.join(", "))
        }
        Err(Refusal::Bad(text)) => format!("bad: {text}"),
        Err(Refusal::Nothing(text)) => format!("nothing: {text}"),
    }
}

#[test]
fn decisions_are_those_worked_out_by_hand() {
    for (request, expected) in [
        // cheaper with these counts: b 1.5·1+0.5·1 = 2, a 1+2 = 3
        (
            r#"{"task_complexity":"simple","tokens_in":1000,"tokens_out":1000}"#,
            "small-b 0.002 | small-a 0.003, mid 0.006, mid-free -, big 0.06",
        ),
        // much in, nothing out: a 5, b 7.5
        (
            r#"{"task_complexity":"trivial","tokens_in":5000}"#,
            "small-a 0.005 | small-b 0.0075, mid 0.01, mid-free -, big 0.05",
        ),
        // no estimates: compared at 1000 and 1000, and no cost is claimed
        (
            r#"{"task_complexity":"trivial"}"#,
            "small-b - | small-a -, mid -, mid-free -, big -",
        ),
        // needs
        (
            r#"{"task_complexity":"simple","needs":["vision"]}"#,
            "small-a - | mid -, big -",
        ),
        (
            r#"{"task_complexity":"simple","needs":["long_context","tools"]}"#,
            "mid-free - | ",
        ),
        (
            r#"{"task_complexity":"simple","needs":["reasoning"],"tokens_out":100}"#,
            "big 0.005 | ",
        ),
        // 9,000 in and 2,000 out are too many for both small ones; 9,000 and 1,000 are not for a
        (
            r#"{"task_complexity":"simple","tokens_in":9000,"tokens_out":2000}"#,
            "mid 0.026 | mid-free -, big 0.19",
        ),
        (
            r#"{"task_complexity":"simple","tokens_in":9000,"tokens_out":1000}"#,
            "small-a 0.011 | mid 0.022, mid-free -, big 0.14",
        ),
        // 5,000 out are too many for a
        (
            r#"{"task_complexity":"simple","tokens_out":5000}"#,
            "small-b 0.0025 | mid 0.02, mid-free -, big 0.25",
        ),
        // never below the tier
        (
            r#"{"task_complexity":"complex","tokens_in":1000,"tokens_out":1000}"#,
            "mid 0.006 | mid-free -, big 0.06",
        ),
        (r#"{"task_complexity":"critical"}"#, "big - | "),
        (r#"{"tier":"high"}"#, "big - | "),
        (
            r#"{"tier":"low","task_complexity":"critical"}"#,
            "small-b - | small-a -, mid -, mid-free -, big -",
        ),
        (
            r#"{"tier":"top"}"#,
            "bad: there is no tier `top`; use one of low, mid, high",
        ),
        (
            r#"{}"#,
            "bad: name task_complexity (trivial, simple, medium, complex or critical) or a tier",
        ),
        (
            r#"{"task_complexity":"critical","needs":["audio"]}"#,
            "nothing: no listed model of tier high or above will do: big lacks audio; ask for less, or add a model",
        ),
        (
            r#"{"tier":"mid","tokens_out":60000,"needs":["vision"]}"#,
            "nothing: no listed model of tier mid or above will do: mid-free lacks vision, mid gives 50000 tokens, big gives 50000 tokens; ask for less, or add a model",
        ),
    ] {
        assert_eq!(decided(request, &[]), expected, "{request}");
    }
}

#[test]
fn cooled_models_come_last_and_are_nobodys_fallback() {
    let simple = r#"{"task_complexity":"simple"}"#;
    let critical = r#"{"task_complexity":"critical"}"#;
    for (request, health, expected) in [
        (
            simple,
            &[("small-b", Health::Cooled(5))][..],
            "small-a - | mid -, mid-free -, big -",
        ),
        (
            simple,
            &[("small-b", Health::Cooled(5)), ("small-a", Health::Cooled(9))],
            "mid - | mid-free -, big -",
        ),
        (
            simple,
            &[("small-b", Health::Probe)],
            "small-b - | small-a -, mid -, mid-free -, big -",
        ),
        (
            simple,
            &[("small-a", Health::Probe)],
            "small-b - | mid -, mid-free -, big -",
        ),
        (critical, &[("big", Health::Cooled(5))], "big - | "),
        (
            r#"{"task_complexity":"medium"}"#,
            &[
                ("mid", Health::Cooled(9)),
                ("mid-free", Health::Cooled(7)),
                ("big", Health::Cooled(8)),
            ],
            "mid-free - | ",
        ),
    ] {
        assert_eq!(decided(request, health), expected, "{request} {health:?}");
    }
}

#[test]
fn reasons_say_what_was_passed_over() {
    let (models, prices) = lists();
    let request = Request {
        tier: Some("low".into()),
        needs: vec![Capability::Vision],
        ..Request::default()
    };
    let cooled = |at: usize| if at == 0 { Health::Cooled(7) } else { Health::Well };
    let choice = decide(&request, &models, &prices, cooled).expect("a decision");
    assert_eq!(
        choice.decision.reasons,
        [
            "tier low was asked for",
            "passed over: small-b lacks vision, mid-free lacks vision",
            "cooled down after failures: small-a",
            "mid is the first by tier, then cost",
        ]
    );
}

#[test]
fn requests_that_are_none_say_what_one_looks_like() {
    for body in [
        "",
        "[]",
        "{\"needs\":[\"sight\"]}",
        "{\"tokens_in\":-1}",
        "{\"tokens\":1}",
        "{\"tokens_out\":1000000000001}",
    ] {
        let text = Request::read(body.as_bytes()).expect_err(body);
        assert!(
            text.contains("tokens_in") || text.contains("tokens_out"),
            "{text}"
        );
    }
    let long = format!("{{\"tier\":\"{}\"}}", "x".repeat(20_000));
    assert!(
        Request::read(long.as_bytes())
            .expect_err("long")
            .contains("16384")
    );
}

proptest! {
    #[test]
    fn what_is_chosen_fits_and_healthy_models_come_first(
        complexity in proptest::sample::select(TaskComplexity::ALL),
        tokens_in in proptest::option::of(0_u64..250_000),
        tokens_out in proptest::option::of(0_u64..60_000),
        needs in proptest::collection::vec(proptest::sample::select(Capability::ALL), 0..3),
        health in proptest::collection::vec(prop_oneof![Just(Health::Well), Just(Health::Probe), (1_u64..9).prop_map(Health::Cooled)], 5),
    ) {
        let (models, prices) = lists();
        let request = Request { task_complexity: Some(complexity), tier: None, tokens_in, tokens_out, needs: needs.clone() };
        let fits = |at: usize| {
            let model = &models.models[at];
            let (inward, outward) = (tokens_in.unwrap_or(0), tokens_out.unwrap_or(0));
            model.tier >= models.tier_for(complexity)
                && needs.iter().all(|need| model.capabilities.contains(need))
                && inward + outward <= model.context_tokens
                && outward <= model.output_tokens
        };
        match decide(&request, &models, &prices, |at| health[at]) {
            Ok(choice) => {
                prop_assert!(fits(choice.at));
                if let Health::Cooled(_) = health[choice.at] {
                    prop_assert!((0..5).all(|at| !fits(at) || matches!(health[at], Health::Cooled(_))));
                }
                for fallback in &choice.decision.fallbacks {
                    let at = models.find(Some(&fallback.provider), &fallback.model).expect("listed");
                    prop_assert!(fits(at) && health[at] == Health::Well && at != choice.at);
                }
            }
            Err(_) => prop_assert!((0..5).all(|at| !fits(at))),
        }
    }
}

/// Not a benchmark: `cargo test --release --workspace --test decide -- --ignored --nocapture` prints the time.
#[test]
#[ignore = "prints a time; run it alone on a quiet machine"]
fn a_decision_takes_less_than_a_hundred_microseconds() {
    let models = Models::parse("models.toml", route::models::BUILT_IN).expect("models");
    let prices = PriceTable::parse("prices.toml", schemas::price::BUILT_IN).expect("prices");
    let body = br#"{"task_complexity":"simple","tokens_in":2000,"tokens_out":500,"needs":["tools"]}"#;
    let rounds = 10_000_u32;
    let started = std::time::Instant::now();
    for _ in 0..rounds {
        let request = Request::read(body).expect("a request");
        let choice = decide(&request, &models, &prices, |_| Health::Well).expect("a decision");
        std::hint::black_box(serde_json::to_vec(&choice.decision).expect("json"));
    }
    let each = started.elapsed() / rounds;
    println!("read, decide, write: {each:?}");
    assert!(each < std::time::Duration::from_micros(100), "{each:?}");
}
