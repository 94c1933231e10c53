//! After the last fault: everything comes to rest by itself, and all of it is compared.

use std::time::Duration;

use crate::harness::load::{Book, Outcome};
use crate::harness::rest;
use crate::runner::Runner;
use crate::watch::Watch;

/// From the last fault until everything is stored, rolled up, archived.
const REST_TIMEOUT: Duration = Duration::from_secs(180);

/// Waits for everything to come to rest, compares it, and says what was seen.
pub fn settle_and_compare(runner: &mut Runner, watch: &Watch, books: &[Book]) -> String {
    let settled = runner.fleet.at_rest(rest::newest(books), REST_TIMEOUT);
    let report = runner.fleet.compare(books);
    poisons(runner);
    tell(runner, watch, books, settled, &report)
}

/// Every poison message that was stored is a dead letter of the sink.
fn poisons(runner: &Runner) {
    for poison in runner.poisons.iter().filter(|poison| poison.stored) {
        let sql = format!(
            "SELECT count(*) AS n FROM dead WHERE stage = 'sink' AND reason <> '' AND decode(payload) = '{}'",
            poison.mark
        );
        let found = runner.fleet.ask(&sql);
        assert!(
            found[0]["n"].as_u64() >= Some(1),
            "{} on {}: no dead letter",
            poison.mark,
            poison.subject
        );
    }
}

fn tell(runner: &Runner, watch: &Watch, books: &[Book], rest: Duration, report: &str) -> String {
    let count = |which: fn(&Outcome) -> bool| books.iter().map(|book| book.count(which)).sum::<usize>();
    let duplicates = &runner.fleet.ask("SELECT count(*) AS n FROM duplicates")[0]["n"];
    let mut text = format!(
        "{} messages acknowledged, {} unknown, {} refused; {report}\n  {duplicates} origins came twice and were left out; \
         at most {:.0} s from an acknowledgement to its row; at rest {:.1} s after the last fault\n",
        count(|outcome| matches!(outcome, Outcome::Acknowledged(_))),
        count(|outcome| *outcome == Outcome::Unknown),
        count(|outcome| matches!(outcome, Outcome::Refused(_))),
        watch.behind_max().as_secs_f64(),
        rest.as_secs_f64(),
    );
    let faults: Vec<String> = runner
        .faults
        .iter()
        .map(|(name, times)| format!("{times} × {name}"))
        .collect();
    text.push_str(&format!("  faults: {}\n", faults.join(", ")));
    let ended: Vec<String> = runner
        .ended
        .iter()
        .map(|(how, times)| format!("{times} × {how}"))
        .collect();
    if !ended.is_empty() {
        text.push_str(&format!(
            "  ended by themselves, and started again: {}\n",
            ended.join(", ")
        ));
    }
    let memory: Vec<String> = runner
        .megabytes()
        .into_iter()
        .map(|(name, after)| {
            let before = runner.megabytes_before.get(name).copied().unwrap_or(0);
            format!("{name} {before} to {after}")
        })
        .collect();
    text.push_str(&format!("  memory in MB: {}", memory.join(", ")));
    text
}
