//! Price files: every mistake with its line and its fix, and no text that panics.

use proptest::prelude::*;
use schemas::price::PriceTable;

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
            "input is \"1\"; write dollars",
        ),
    ] {
        let problems = PriceTable::parse("p.toml", text).expect_err(text);
        assert_eq!(problems.0[0].line, line, "{problems}");
        assert!(problems.0[0].text.contains(part), "{problems}");
    }
}

#[test]
fn every_mistake_in_the_newer_fields_names_its_line_and_fix() {
    let model = "version = \"1\"\n[[model]]\nname = \"m\"\ninput = 1\noutput = 1\n";
    for (line, part) in [
        (
            "cache_write_1h = -1",
            "cache_write_1h is -1; write dollars per million",
        ),
        (
            "reasoning = 99999999999999999999",
            "is 99999999999999999999; write",
        ),
        (
            "request = 20_000",
            "request is 20_000; write dollars for one call as a plain decimal",
        ),
        (
            "above = [{ tokens_in = 1, input = 1, output = 1 }, { tokens_in = 1, input = 1, output = 1 }]",
            "tokens_in = 1 twice; remove one",
        ),
        (
            "above = { tokens_in = 1, input = 1 }",
            "above.output is missing; write",
        ),
        (
            "service_tier.batch = { share = 0.5, input = 1 }",
            "share stands for every price; remove it",
        ),
        (
            "service_tier.batch = { share = 1000 }",
            "share is 1000; write a share",
        ),
        ("service_tier.standard = { share = 1 }", "names the standard tier"),
        (
            "service_tier.batch = { input = 1 }",
            "service_tier.batch.output is missing",
        ),
        (
            "before = { date = 2026-01-01T00:00:00Z, input = 1, output = 1 }",
            "before.date: write the first day",
        ),
        (
            "before = [{ date = 2026-01-01, input = 1, output = 1 }, { date = 2026-01-01, input = 1, output = 1 }]",
            "is given twice; remove one",
        ),
        ("service_tier.batch = { shrae = 1 }", "shrae"),
    ] {
        let problems = PriceTable::parse("p.toml", &format!("{model}{line}\n")).expect_err(line);
        assert_eq!(problems.0[0].line, 6, "{problems}");
        assert!(problems.to_string().contains(part), "{problems}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_table_or_a_list_of_problems(text in "[\\[\\]a-z=\". 0-9\n]{0,200}") {
        if let Err(problems) = PriceTable::parse("p", &text) {
            prop_assert!(!problems.0.is_empty());
        }
    }
}
