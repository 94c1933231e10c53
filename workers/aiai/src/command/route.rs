//! `aiai route decide` and `check`.

use std::process::ExitCode;
use std::time::Duration;

use bus::Bytes;
use schemas::Problems;
use schemas::route::{Decision, Request, SUBJECT};

use crate::cli;
use crate::config::Config;
use crate::failure::Usage;
use crate::{output, tables};

/// A decision takes less than a millisecond.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks and prints.
pub async fn decide(config: &Config, options: &cli::Decide) -> anyhow::Result<ExitCode> {
    Request::read(options.json.as_bytes()).map_err(Usage)?;
    let context = super::connect(config).await?;
    let body = Bytes::from(options.json.clone());
    let answer = context.request(SUBJECT, "route", body, TIMEOUT).await?;
    let decision: Decision = serde_json::from_slice(&answer)?;
    output::print(&(serde_json::to_string_pretty(&decision)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Checks every table, whatever is wrong with the others.
pub fn check(config: &Config) -> anyhow::Result<ExitCode> {
    let prices = tables::prices(config).map(|table| format!("{} models, {}", table.len(), table.source()));
    let models = tables::models(config)
        .map(|list| format!("{} models, tiers {}", list.models.len(), list.tiers.join(", ")));
    let rules = tables::rules(config).map(|rules| {
        let names: Vec<_> = rules.rules.iter().map(|rule| rule.name.as_str()).collect();
        format!("{} rules: {}", names.len(), names.join(", "))
    });
    let mut code = ExitCode::SUCCESS;
    for (name, checked) in [("prices", prices), ("models", models), ("rules", rules)] {
        match checked {
            Ok(found) => output::print(&format!("{name:<7} ok: {found}\n"))?,
            Err(error) => {
                code = ExitCode::FAILURE;
                match error.downcast::<Problems>() {
                    Ok(Problems(problems)) => {
                        problems
                            .iter()
                            .for_each(|problem| crate::output::say(&problem.to_string()));
                    }
                    Err(error) => crate::output::say(&bus::chain(error.as_ref())),
                }
            }
        }
    }
    Ok(code)
}
