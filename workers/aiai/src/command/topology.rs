//! `aiai topology plan` and `apply`.

use std::process::ExitCode;

use bus::{Action, Plan, Scope};

use crate::cli;
use crate::config::Config;
use crate::output;

/// Shows what `apply` would do. Changes nothing.
pub async fn plan(config: &Config, options: &cli::Plan) -> anyhow::Result<ExitCode> {
    let context = super::connect(config).await?;
    let plan = context.plan().await?;
    if options.output == "json" {
        output::print(&(serde_json::to_string_pretty(&plan)? + "\n"))?;
    } else {
        output::print(&text(&plan))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates and corrects.
pub async fn apply(config: &Config) -> anyhow::Result<ExitCode> {
    let context = super::connect(config).await?;
    let plan = context.plan().await?;
    context.apply(&plan, Scope::Everything).await?;
    output::print(&text(&plan))?;
    if !plan.changes.is_empty() {
        output::print("applied\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(plan: &Plan) -> String {
    if plan.changes.is_empty() {
        return "the server is as it should be\n".into();
    }
    let mut lines = String::new();
    for change in &plan.changes {
        let verb = match change.action {
            Action::Create => "create",
            Action::Update => "update",
        };
        lines.push_str(&format!("{verb} {}\n", change.object));
        for difference in &change.differences {
            let warning = if difference.loses_data {
                "  (could lose data)"
            } else {
                ""
            };
            lines.push_str(&format!(
                "  {}: {} -> {}{warning}\n",
                difference.field, difference.have, difference.want
            ));
        }
    }
    lines
}
