//! The pages in a real browser, on a real `aiai up`: what is published appears, nothing but the pages' own server is
//! asked, and neither kill -9 of aiai nor of nats-server leaves a page that lies or gives up.

mod harness;

use harness::browser::Browser;
use harness::{World, http_get};
use serde_json::json;

const PAGES: [(&str, &str); 3] = [
    ("/", "Overview"),
    ("/models?range=24h", "Models and costs"),
    ("/pipeline", "Pipeline"),
];

fn url(world: &World, path: &str) -> String {
    format!("http://{}{path}", world.dashboard)
}

fn publish(world: &World, kind: &str, json: &str) {
    let output = harness::process::run(world.cli(&["pub", kind, json, "--no-check"]));
    assert!(output.ok(), "{}", output.stderr);
}

/// Model calls with and without a price, a metric, and a mistake.
fn publish_some(world: &World) {
    publish(
        world,
        "metric",
        r#"{"name":"queue.depth","value":7,"source":"planner"}"#,
    );
    publish(
        world,
        "usage",
        r#"[{"model":"gpt-5-mini","provider":"openai","source":"planner","tokens_in":1000,"tokens_out":200,"cost_usd":0.25,"latency_ms":840},
            {"model":"own-model","source":"coder","tokens_in":10,"tokens_out":2,"latency_ms":10,"status":"error"}]"#,
    );
    publish(world, "metric", r#"{"name":"x","vlaue":1}"#);
    world.settled(3);
}

/// Waits until the page is connected and shows numbers that are not old.
fn live(browser: &mut Browser) {
    browser.wait("document.body.dataset.live === 'connected' && !('stale' in document.body.dataset)");
    browser.wait("!document.getElementById('live-age').textContent.includes('no data')");
}

#[test]
fn pages_show_what_was_published_and_keep_up() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let world = World::start();
    publish_some(&world);

    for (path, title) in PAGES {
        browser.open(&url(&world, path), false, 1280);
        live(&mut browser);
        browser.wait_text("h1", title);
        browser.wait_text("nav [aria-current=page]", title);
    }
    browser.wait_text("#dead", "did you mean `value`?");
    browser.wait_text("#workers", "dashboard-feed");
    browser.wait_text("#streams", "EVENTS");

    // A new mistake, a new event: the open page shows them.
    publish(&world, "event", r#"{"nam":"deploy"}"#);
    browser.wait_text("#dead", "did you mean `name`?");
    browser.open(&url(&world, "/"), false, 1280);
    live(&mut browser);
    publish(
        &world,
        "metric",
        r#"{"name":"late","value":1,"source":"somebody-new"}"#,
    );
    browser.wait_text("#sources", "somebody-new");

    // Paused, it stands still; then it catches up.
    browser.evaluate("document.getElementById('pause').click()");
    browser.wait_text("#live-state", "paused");
    publish(
        &world,
        "metric",
        r#"{"name":"late","value":1,"source":"meanwhile"}"#,
    );
    world.settled(6);
    let sources = browser.evaluate("document.getElementById('sources').textContent");
    assert!(!sources.as_str().expect("text").contains("meanwhile"));
    browser.evaluate("document.getElementById('pause').click()");
    browser.wait_text("#sources", "meanwhile");
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn model_calls_are_counted_priced_and_readable_bar_by_bar() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let world = World::start();
    publish_some(&world);
    let page = url(&world, "/models?range=24h&by=model");
    // Rollups follow the events.
    harness::until(
        "the model calls in the rollups",
        std::time::Duration::from_secs(60),
        || {
            let (status, body) = http_get(&world.dashboard, "/api/models?range=24h");
            let report: serde_json::Value = serde_json::from_str(&body).ok()?;
            (status == 200 && report["total"]["calls"] == 2 && report["total"]["cost_usd"] == "0.25")
                .then_some(())
        },
    );
    browser.open(&page, false, 1280);
    live(&mut browser);
    browser.wait_text("#panel .stats", "$0.25");
    browser.wait_text("#panel .stats", "1 unpriced");
    let row = browser.evaluate("[...document.querySelectorAll('.groups tbody tr')].find((row) => row.textContent.includes('own-model')).textContent");
    let row = row.as_str().expect("a row");
    assert!(row.contains("unpriced") && !row.contains("$0"), "{row}");

    // The last bar, by pointer and by keys.
    browser.run(&json!({"do": "hover", "selector": "[data-reader]"}));
    browser.wait_text(".readout", "no call");
    browser.evaluate("document.querySelector('[data-reader]').focus()");
    browser.run(&json!({"do": "press", "key": "End"}));
    browser.wait_text(".readout", "gpt-5-mini $0.25");
    browser.run(&json!({"do": "press", "key": "ArrowLeft"}));
    browser.wait_text(".readout", "no call");

    // A number drills down, and the view is its URL.
    browser.evaluate("[...document.querySelectorAll('.groups a')].find((link) => link.textContent === 'gpt-5-mini').click()");
    browser.wait("location.search.includes('model=gpt-5-mini') && !!document.querySelector('.groups')");
    browser.wait_text(".groups", "openai");
    for view in [
        "range=30d&by=agent&show=tokens",
        "range=1h&show=latency",
        "range=1y&by=complexity&show=errors",
    ] {
        browser.open(&url(&world, &format!("/models?{view}")), false, 1280);
        browser.wait("document.querySelectorAll('#panel .plot path').length > 3");
    }
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn an_open_page_survives_restarts() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let mut world = World::start();
    publish_some(&world);
    browser.open(&url(&world, "/"), false, 1280);
    live(&mut browser);

    browser.run(&json!({"do": "outage", "now": true}));
    world.kill();
    browser.wait("document.body.dataset.live === 'reconnecting'");
    browser.wait("'stale' in document.body.dataset");
    world.restart();
    live(&mut browser);
    browser.run(&json!({"do": "outage", "now": false}));
    publish(
        &world,
        "metric",
        r#"{"name":"late","value":1,"source":"after-aiai"}"#,
    );
    browser.wait_text("#sources", "after-aiai");

    world.kill_nats();
    world.await_new_nats();
    publish(
        &world,
        "metric",
        r#"{"name":"late","value":1,"source":"after-nats"}"#,
    );
    browser.wait_text("#sources", "after-nats");
    live(&mut browser);
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn no_page_has_an_accessibility_violation() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let world = World::start();
    publish_some(&world);
    for (path, _) in PAGES {
        for dark in [false, true] {
            for width in [360, 1280] {
                browser.open(&url(&world, path), dark, width);
                live(&mut browser);
                let found = browser.run(&json!({"do": "axe"}));
                assert_eq!(found["violations"], json!([]), "{path}, dark {dark}, {width} px");
                assert!(found["passes"].as_u64().expect("a count") > 15, "{found}");
                let wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
                assert_eq!(
                    browser.evaluate(wide),
                    false,
                    "{path} scrolls sideways at {width} px"
                );
            }
        }
    }
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn pages_are_whole_without_javascript() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let world = World::start();
    publish_some(&world);
    for (path, selector, part) in [
        ("/", "#ledger", "published"),
        ("/models?range=24h", ".choices", "latency"),
        ("/pipeline", "#streams", "EVENTS"),
    ] {
        browser.run(&json!({"do": "open", "url": url(&world, path), "javascript": false}));
        browser.wait_text(selector, part);
        browser.wait_text("noscript", "reload it for new numbers");
    }
    assert_eq!(browser.problems(), Vec::<String>::new());
}
