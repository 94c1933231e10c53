//! The panel as a browser gets it.

use askama::Template;

use super::*;
use report::Figures;

const HOSTILE: &str = r#"<script>alert("x")</script>'"#;

fn found(view: &View) -> Found {
    let window = Window::new(view, 1_795_176_000_000);
    let bars = usize::try_from(window.bars).unwrap();
    let mut values = vec![None; bars];
    values[1] = Some(0.25);
    let figures = Figures {
        calls: 4,
        errors: 1,
        unpriced: 4,
        latency_ms_p95: Some(1250.0),
        ..Figures::default()
    };
    let priced = Figures {
        calls: 4,
        cost_usd: "0.25".into(),
        cost_nanos: 250_000_000,
        ..Figures::default()
    };
    let group = |name: Option<&str>, figures: &Figures| report::Group {
        name: name.map(str::to_owned),
        figures: figures.clone(),
    };
    Found {
        window,
        at_ms: 1_795_176_000_000,
        report: Report {
            total: priced.clone(),
            groups: vec![group(Some(HOSTILE), &priced), group(None, &figures)],
        },
        series: vec![Series {
            name: Some(HOSTILE.into()),
            others: false,
            values,
        }],
    }
}

#[test]
fn figures_gaps_and_unpriced_calls_look_what_they_are() {
    let view = View::default();
    let html = Panel::new(&view, Ok(found(&view))).render().unwrap();
    assert!(!html.contains("<script"), "{html}");
    for part in [
        "$0.25",
        "not given",
        "unpriced</span>",
        "1.25\u{202f}s",
        "(open)",
        "aiai query",
        "/models?range=24h&#38;by=provider&#38;show=cost&#38;model=%3Cscript",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    // One bar of 24: the others are gaps.
    let bars = html.split("class=\"bar series-0\" d=\"").nth(1).unwrap();
    assert_eq!(bars.split('"').next().unwrap().matches('M').count(), 1);
    assert_eq!(html.matches("$0.00").count(), 0, "unpriced is not 0: {html}");
}

#[test]
fn no_figures_say_why_and_what_to_do() {
    let mut view = View::default();
    let empty = |view: &View| {
        let mut found = found(view);
        found.report = Report::default();
        Panel::new(view, Ok(found)).render().unwrap()
    };
    assert!(empty(&view).contains("aiai pub usage"));
    view.model = Some("m".into());
    assert!(empty(&view).contains("Take the filters away"));
    let failed = Panel::new(&view, Err(QueryError::Unreachable(Asked::Sink)))
        .render()
        .unwrap();
    assert!(
        failed.contains("aiai run sink") && failed.contains("Try again"),
        "{failed}"
    );
}
