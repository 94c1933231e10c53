//! `aiai prices import`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Zoned;
use schemas::price::import::{self, BYTES_MAX, Format, LeftOut};

use crate::cli::prices::{PriceFormat, PricesImport};
use crate::failure::Usage;
use crate::output;

/// Kinds of things left out that are named, and examples of each.
const KINDS_SHOWN: usize = 30;
const EXAMPLES_SHOWN: usize = 3;

/// Reads theirs, writes ours.
#[allow(clippy::print_stderr)]
pub(super) fn import(options: &PricesImport) -> anyhow::Result<ExitCode> {
    let name = options.file.display().to_string();
    let text = read(&options.file)?;
    let format = match options.format {
        Some(PriceFormat::GenaiPrices) => Format::GenaiPrices,
        Some(PriceFormat::Litellm) => Format::Litellm,
        None => Format::of(&text).ok_or_else(|| {
            Usage(format!("{name} is no JSON; give data.json of genai-prices, or model_prices_and_context_window.json of LiteLLM"))
        })?,
    };
    let today = || Zoned::now().date().to_string();
    let version = options.table_version.clone().unwrap_or_else(today);
    let imported = import::import(format, &name, &text, &version)?;
    match &options.out {
        Some(out) => std::fs::write(out, &imported.text)
            .with_context(|| format!("cannot write {}; name another --out", out.display()))?,
        None => output::print(&imported.text)?,
    }
    say(&name, &imported.left_out, options.all);
    eprintln!(
        "aiai: {} models in the table; {} things left out",
        imported.models,
        imported.left_out.len()
    );
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<String> {
    let name = file.display();
    let size = std::fs::metadata(file).with_context(|| format!("cannot read {name}; name another file"))?;
    if size.len() > BYTES_MAX as u64 {
        return Err(Usage(format!(
            "{name} has {} bytes, more than {BYTES_MAX}; split it",
            size.len()
        ))
        .into());
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {name}; give a text file"))
}

#[allow(clippy::print_stderr)]
fn say(file: &str, left_out: &[LeftOut], all: bool) {
    if all {
        for LeftOut { line, model, why } in left_out {
            eprintln!("aiai: {file}:{line}: {model}: {why}");
        }
        return;
    }
    let mut kinds: BTreeMap<&str, Vec<&LeftOut>> = BTreeMap::new();
    for one in left_out {
        kinds.entry(&one.why).or_default().push(one);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(why, of_kind)| (std::cmp::Reverse(of_kind.len()), *why));
    for (why, of_kind) in kinds.iter().take(KINDS_SHOWN) {
        let examples = of_kind.iter().take(EXAMPLES_SHOWN);
        let examples: Vec<_> = examples
            .map(|one| format!("{} (line {})", one.model, one.line))
            .collect();
        let more = if of_kind.len() > EXAMPLES_SHOWN {
            ", …"
        } else {
            ""
        };
        eprintln!(
            "aiai: {file}: {}: {why}: {}{more}",
            of_kind.len(),
            examples.join(", ")
        );
    }
    if kinds.len() > KINDS_SHOWN {
        eprintln!(
            "aiai: {file}: and {} more reasons; --all names everything",
            kinds.len() - KINDS_SHOWN
        );
    }
}
