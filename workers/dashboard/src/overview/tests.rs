//! The regions as a browser gets them.

use std::sync::Arc;

use proptest::prelude::*;
use schemas::live::{self, Alert, Problem};
use schemas::overview::{
    KindTotal, Ledger, NodeVitals, Overview, Rate, RateSeries, SourceActivity, UsageToday,
};

use crate::{
    page::Page,
    picture::Known,
    queries::{Asked, QueryError},
    regions::Regions,
};

const NOON_MS: i64 = 1_795_176_000_000;
const HOSTILE: &str = r#"<script>alert("x")</script>'"#;

fn healthy() -> Overview {
    Overview {
        at_ms: NOON_MS,
        newest_event_ms: Some(NOON_MS - 2_000),
        rate: Rate {
            per_second_now: 12.3,
            bucket_seconds: 10,
            end_ms: NOON_MS,
            kinds: vec![RateSeries {
                kind: "metric".into(),
                events: (0..90).collect(),
            }],
        },
        kinds_total: vec![KindTotal {
            kind: "metric".into(),
            events: 1_234_567,
        }],
        sources: vec![SourceActivity {
            source: "planner".into(),
            events_15m: 5,
            last_seen_ms: NOON_MS - 3_000,
        }],
        nodes: vec![NodeVitals {
            host: "atlas".into(),
            at_ms: NOON_MS,
            cpu_percent: Some(41.6),
            cpu_history: vec![Some(10.0), None, Some(20.0)],
            ..NodeVitals::default()
        }],
        usage_today: Some(UsageToday {
            calls: 3,
            cost_usd: "0.0261".into(),
            ..UsageToday::default()
        }),
        ledger: Ledger {
            published: 10,
            stored: 9,
            pending: 1,
            ..Ledger::default()
        },
        ..Overview::default()
    }
}

/// What a feed told of a sink's answer.
fn known(overview: &Overview) -> Known {
    let mut told = live::Overview::default();
    told.sink.value = Some(overview.clone());
    told.alerts.value = Some(vec![]);
    Known {
        overview: Some(Arc::new(told)),
        feed_ms: NOON_MS,
        ..Known::default()
    }
}

fn regions(overview: &Overview) -> Regions {
    Regions::render(&known(overview)).unwrap()
}

/// The same after the sink failed so.
fn failing(overview: &Overview, problem: Problem) -> Regions {
    let mut known = known(overview);
    let mut told = live::Overview::clone(known.overview.as_ref().unwrap());
    told.sink.problem = Some(problem);
    known.overview = Some(Arc::new(told));
    Regions::render(&known).unwrap()
}

#[test]
fn full_shows_the_numbers() {
    let regions = regions(&healthy());
    assert!(regions.html("status").contains("All is well"));
    assert!(regions.html("rate-now").contains("12.3"));
    assert!(
        regions
            .html("rate-now")
            .contains("title=\"1\u{202f}234\u{202f}567\"")
    );
    assert!(regions.html("rate-chart").contains("kind-metric"));
    assert_eq!(regions.html("rate-table").matches("<tr>").count(), 16);
    assert!(regions.html("rate-table").contains("11:59:00 (open)"));
    assert!(regions.html("ledger").contains("2\u{202f}s old"));
    assert!(regions.html("sources").contains("planner"));
    assert!(regions.html("nodes").contains("42\u{202f}%"));
    assert!(regions.html("usage").contains("$0.026"));
}

#[test]
fn empty_names_the_command_to_run() {
    let regions = regions(&Overview {
        at_ms: NOON_MS,
        ..Overview::default()
    });
    for (id, command) in [
        ("status", "aiai pub metric"),
        ("sources", "nats req ingest.metric"),
        ("nodes", "aiai run node"),
        ("usage", "aiai pub usage"),
    ] {
        assert!(regions.html(id).contains(command), "{id}: {}", regions.html(id));
    }
}

#[test]
fn no_answer_shows_no_numbers_and_names_the_fix() {
    let nothing = Regions::render(&Known::default()).unwrap();
    assert!(nothing.html("status").contains("no live numbers yet"));
    assert_eq!(nothing.html("rate-chart"), "");
    let absent = Known {
        problem: Some(QueryError::Unreachable(Asked::Feed)),
        ..Known::default()
    };
    let absent = Regions::render(&absent).unwrap();
    assert!(absent.html("status").contains("aiai run dashboard-feed"));
    assert!(absent.html("health").contains("Something is wrong"));
    let later = failing(&healthy(), Problem::Failed(HOSTILE.into()));
    assert!(later.html("status").contains("Something is wrong"));
    assert!(later.html("sources").contains("planner"));
    assert!(later.html("traffic").contains("On the bus now"));
}

#[test]
fn alerts_are_those_stored_and_those_raised_since() {
    let alert = |rule: &str| Alert {
        rule: rule.into(),
        severity: "critical".into(),
        message: HOSTILE.into(),
        count: 3,
        last_ms: NOON_MS - 2_000,
        ..Alert::default()
    };
    let mut known = known(&healthy());
    assert!(
        Regions::render(&known)
            .unwrap()
            .html("alerts")
            .contains("No rule has found anything")
    );
    let mut told = live::Overview::clone(known.overview.as_ref().unwrap());
    told.alerts.value = Some(vec![alert("stored")]);
    known.overview = Some(Arc::new(told));
    known.raised = vec![alert("raised"), alert("stored")];
    let regions = Regions::render(&known).unwrap();
    let html = regions.html("alerts");
    assert_eq!(html.matches("<th scope=\"row\">").count(), 2, "{html}");
    assert!(!html.contains("<script"));
    assert!(regions.html("status").contains("critical alert of rule raised"));
}

#[test]
fn the_worst_alerts_are_shown_first_and_the_others_counted() {
    let alert = |rule: String, severity: &str, ago_ms| Alert {
        rule,
        severity: severity.into(),
        last_ms: NOON_MS - ago_ms,
        ..Alert::default()
    };
    let mut stored: Vec<_> = (0..39)
        .map(|n| alert(format!("mild{n}"), "info", n * 1000))
        .collect();
    stored.push(alert("late".into(), "warning", 60_000));
    stored.push(alert("bad".into(), "critical", 600_000));
    stored.push(alert("of yesterday".into(), "critical", 86_500_000));
    let mut known = known(&healthy());
    let mut told = live::Overview::clone(known.overview.as_ref().unwrap());
    told.alerts.value = Some(stored);
    known.overview = Some(Arc::new(told));
    let regions = Regions::render(&known).unwrap();
    let html = regions.html("alerts");
    let at = |rule: &str| html.find(&format!(">{rule}</th>")).unwrap();
    assert!(at("bad") < at("late") && at("late") < at("mild0") && at("mild0") < at("mild1"));
    assert!(!html.contains("of yesterday"));
    assert!(html.contains("and at least 31 more") && html.contains("FROM alert ORDER BY"));
    assert!(regions.html("status").contains("critical alert of rule bad"));
}

#[test]
fn alerts_not_yet_known_are_neither_none_nor_well() {
    let mut known = known(&healthy());
    let mut told = live::Overview::clone(known.overview.as_ref().unwrap());
    told.alerts.value = None;
    known.overview = Some(Arc::new(told));
    let regions = Regions::render(&known).unwrap();
    assert!(regions.html("alerts").contains("still being asked"));
    assert!(
        regions
            .html("status")
            .contains("alerts are still being asked for")
    );
    assert!(regions.html("health").contains("Still asking"));
}

#[test]
fn names_from_outside_are_escaped_everywhere() {
    let mut overview = healthy();
    overview.sources[0].source = HOSTILE.into();
    overview.nodes[0].host = HOSTILE.into();
    overview.rate.kinds[0].kind = HOSTILE.into();
    overview.kinds_total[0].kind = HOSTILE.into();
    overview.ledger.epoch = HOSTILE.into();
    overview.database.path = HOSTILE.into();
    overview.usage_today = Some(UsageToday {
        calls: 1,
        cost_usd: HOSTILE.into(),
        ..UsageToday::default()
    });
    let regions = failing(&overview, Problem::Failed(HOSTILE.into()));
    for region in &regions.0 {
        assert!(!region.html.contains("<script"), "{}: {}", region.id, region.html);
        assert!(
            !region.html.contains("alert(\""),
            "{}: {}",
            region.id,
            region.html
        );
    }
    let shown = regions
        .0
        .iter()
        .filter(|region| region.html.contains("script"))
        .count();
    assert_eq!(shown, 10, "every region shows the name it was given");
}

#[test]
fn only_what_changed_is_sent() {
    let before = regions(&healthy());
    let mut overview = healthy();
    overview.sources[0].events_15m += 1;
    let after = regions(&overview);
    let ids = |page| -> Vec<_> {
        let changed = after.changed_since(page, Some(&before));
        changed.iter().map(|region| region.id).collect()
    };
    assert_eq!(ids(Page::Overview), ["sources"]);
    assert!(ids(Page::Pipeline).is_empty());
    assert!(after.changed_since(Page::Overview, Some(&after)).is_empty());
    let all = |page| after.changed_since(page, None).len();
    assert!(all(Page::Overview) > 10 && all(Page::Pipeline) > 5 && all(Page::Models) < 4);
}

#[test]
fn an_answer_after_none_fills_every_region() {
    let nothing = Regions::render(&Known::default()).unwrap();
    let regions = regions(&healthy());
    let changed = regions.changed_since(Page::Overview, Some(&nothing));
    assert_eq!(changed.len(), 11);
}

#[test]
fn a_long_list_is_cut_and_said_to_be() {
    let mut overview = healthy();
    overview.sources = vec![overview.sources[0].clone(); 25];
    overview.sources_omitted = 7;
    overview.nodes = vec![overview.nodes[0].clone(); 20];
    let regions = regions(&overview);
    assert!(regions.html("sources").contains("12</span> less active"));
    assert!(regions.html("nodes").contains("and 4 more"));
}

#[test]
fn a_silent_machine_is_marked() {
    let mut overview = healthy();
    overview.nodes[0].at_ms -= 31_000;
    assert!(regions(&overview).html("nodes").contains("silent for 31"));
}

proptest! {
    #[test]
    fn a_strange_answer_never_panics(
        at_ms: i64, newest: Option<i64>, end_ms: i64, seconds: u32, now: f64,
        lengths in prop::collection::vec(0usize..500, 0..20), number: u64, history in prop::collection::vec(any::<Option<f64>>(), 0..200),
    ) {
        let series = |length: &usize| RateSeries { kind: format!("kind{length}"), events: vec![number; *length] };
        let overview = Overview {
            at_ms,
            newest_event_ms: newest,
            rate: Rate { per_second_now: now, bucket_seconds: seconds, end_ms, kinds: lengths.iter().map(series).collect() },
            nodes: vec![NodeVitals { at_ms: end_ms, cpu_percent: Some(now), memory_used_bytes: Some(now), memory_total_bytes: Some(now), cpu_history: history, ..NodeVitals::default() }],
            ledger: Ledger { published: number, stored: number, dead: number, pending: number, missing: number, duplicates: number, ..Ledger::default() },
            ..Overview::default()
        };
        prop_assert!(Regions::render(&known(&overview)).is_ok());
    }
}
