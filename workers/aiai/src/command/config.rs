//! `aiai config show`.

use std::process::ExitCode;

use crate::cli;
use crate::config::Loaded;
use crate::output;

/// Prints every key, with its origin if asked.
pub fn show(loaded: &Loaded, options: &cli::Show) -> anyhow::Result<ExitCode> {
    let width = loaded
        .entries
        .iter()
        .map(|entry| entry.key.len() + entry.value.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for entry in &loaded.entries {
        let pair = format!("{} = {}", entry.key, entry.value);
        if options.origin {
            text.push_str(&format!(
                "{pair:<width$}  # {}\n",
                entry.origin,
                width = width + 3
            ));
        } else {
            text.push_str(&format!("{pair}\n"));
        }
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
