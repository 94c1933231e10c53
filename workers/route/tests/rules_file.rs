//! Mistakes in a rules file: each is named with its place and what to do.

#![allow(clippy::unwrap_used, reason = "tests")]

use route::Rules;
use route::rules::file::{BUILT_IN, BUILT_IN_NAME};

fn problems(text: &str) -> Vec<String> {
    let environment = |name: &str| (name == "HOOK").then(|| "https://127.0.0.1:1/secret".to_owned());
    match Rules::parse("r.toml", text, environment) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

/// A rule whose lines are these, besides what is needed.
fn with(lines: &str) -> Vec<String> {
    problems(&format!("[[rule]]\nname = \"r\"\nseverity = \"info\"\n{lines}\n"))
}

#[test]
fn the_rules_that_come_with_aiai_are_sound() {
    let rules = Rules::parse(BUILT_IN_NAME, BUILT_IN, |_| None).unwrap();
    assert!(rules.rules.len() >= 3);
    assert!(problems("").is_empty());
}

#[test]
fn expressions_are_checked_with_the_place_of_each_mistake() {
    for (lines, expected) in [
        (
            "message = \"m\"\nwhen = 'kind =='",
            "r.toml:5:16: is no CEL expression",
        ),
        (
            "message = \"m\"\nwhen = 'model == \"m\" && modle == \"x\"'",
            "r.toml:5:25: `modle` is no field of metric or event or usage",
        ),
        (
            "message = \"m\"\nkinds = [\"metric\"]\nwhen = 'model == \"m\"'",
            "r.toml:6:9: `model` is no field of metric; use one of name, value, metric_type, distribution, kind,",
        ),
        (
            "message = \"m\"\nwhen = 'has(event.modle)'",
            "`modle` is no field of",
        ),
        (
            "message = \"m\"\nwhen = 'name.matches(\"a.*\")'",
            "r.toml:5:21: there is no function `matches`; use one of size,",
        ),
        (
            "message = \"m\"\nwhen = '''\n  kind == \"event\"\n  && nmae == \"x\"'''",
            "r.toml:7:6: `nmae` is no field",
        ),
        (
            "message = \"m\"\nwhen = 'data.a.all(x, data.b.all(y, x == y))'",
            "goes through a list within a list",
        ),
        (
            "message = \"{nmae}\"\nwhen = 'true'",
            "r.toml:4:13: `nmae` is no field",
        ),
        (
            "message = \"a } b\"\nwhen = 'true'",
            "r.toml:4:14: `}` closes nothing",
        ),
        (
            "message = \"a {name\"\nwhen = 'true'",
            "r.toml:4:14: `{` is not closed",
        ),
        (
            "message = \"m\"\nwhen = 'true'\nkey = [\"source.x\"]",
            "r.toml:6:8: `source` has no members",
        ),
    ] {
        let problems = with(lines);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expected), "{expected}\n{problems:?}");
        assert!(problems[0].lines().count() == 1, "{problems:?}");
    }
    let long = format!("message = \"m\"\nwhen = 'kind == \"{}\"'", "x".repeat(2000));
    assert!(with(&long)[0].contains("at most 1024"), "{:?}", with(&long));
    let deep = format!(
        "message = \"m\"\nwhen = '{}true{}'",
        "(".repeat(400),
        ")".repeat(400)
    );
    assert_eq!(with(&deep).len(), 1, "{:?}", with(&deep));
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_lines() {
    let text = "[[rule]]\nname = \"a b\"\nwhen = 'nope'\nseverity = \"info\"\nmessage = \"{nope}\"\nkinds = [\"metrics\"]\n\
        window_seconds = 4000\nforward = \"alerts.x\"\n\
        [[rule]]\nname = \"rule_failed\"\nwhen = 'true'\nseverity = \"info\"\nmessage = \"m\"\nwebhook = { url_env = \"ABSENT\" }\n\
        [[rule]]\nname = \"a b\"\nwhen = 'true'\nseverity = \"info\"\nmessage = \"m\"\n";
    let found = problems(text);
    let places: Vec<_> = found
        .iter()
        .map(|problem| problem.split(':').nth(1).unwrap().parse::<u32>().unwrap())
        .collect();
    assert_eq!(places, [2, 3, 5, 6, 7, 8, 10, 14, 16, 16], "{found:#?}");
    assert!(
        found[7].contains("the environment variable ABSENT is not set"),
        "{found:?}"
    );
}

#[test]
fn nothing_is_forwarded_to_subjects_of_aiai_or_nats() {
    for subject in [
        "ingest.metric",
        "events.x",
        "rollup.x",
        "dead.x",
        "alerts.x",
        "matches.events",
        "archive.job",
        "live.x",
        "query.sql",
        "route.decide",
        "$JS.API.STREAM.DELETE.EVENTS",
        "_INBOX.x",
        "ops.*",
        "ops.>",
        "ops..x",
        "ops x",
        "",
    ] {
        let found = with(&format!(
            "message = \"m\"\nwhen = 'true'\nforward = \"{subject}\""
        ));
        assert_eq!(found.len(), 1, "{subject}: {found:?}");
    }
    assert!(with("message = \"m\"\nwhen = 'true'\nforward = \"ops.failed\"").is_empty());
}

#[test]
fn webhooks_are_checked_and_their_secrets_kept() {
    for (webhook, expected) in [
        ("{ }", "needs url or url_env"),
        ("{ url = \"ftp://secret\" }", "write http://… or https://…"),
        ("{ url = \"secret\" }", "write http://… or https://…"),
        (
            "{ url_env = \"HOOK\", timeout_seconds = 0 }",
            "timeout_seconds is 1 to 60",
        ),
        (
            "{ url_env = \"HOOK\", headers = { A = \"secret\\n\" } }",
            "the header A has a name or value",
        ),
        (
            "{ url_env = \"HOOK\", headers_env = { A = \"NONE\" } }",
            "the environment variable NONE is not set",
        ),
    ] {
        let found = with(&format!("message = \"m\"\nwhen = 'true'\nwebhook = {webhook}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(expected) && !found[0].contains("secret"),
            "{found:?}"
        );
    }
    let text = "[[rule]]\nname = \"r\"\nseverity = \"info\"\nwhen = 'true'\nmessage = \"m\"\n\
        webhook = { url_env = \"HOOK\", headers = { A = \"secret\" } }\n";
    let rules = Rules::parse("r.toml", text, |_| Some("https://127.0.0.1/secret".to_owned())).unwrap();
    assert!(!format!("{rules:?}").contains("secret"));
}
