//! `aiai dead drop`: letters of no use to anybody.

use std::collections::BTreeMap;
use std::process::ExitCode;

use schemas::dead::{Deed, LETTERS_MAX, Noted};

use super::results::{Became, Results, sum};
use super::select::{self, Letter};
use super::{confirm, notes};
use crate::cli::dead::DeadDrop;
use crate::config::Config;

/// Marks letters as dropped; the sink empties their payloads. The rows stay: they are the proof.
pub(super) async fn drop_letters(config: &Config, options: &DeadDrop) -> anyhow::Result<ExitCode> {
    let context = crate::command::connect(config).await?;
    let chosen = &options.chosen;
    let letters = select::letters(&context, chosen, false).await?;
    let (done, due): (Vec<_>, Vec<_>) = letters.iter().partition(|letter| letter.state == "dropped");
    if !chosen.dry_run && !due.is_empty() {
        let counts = BTreeMap::from([(Became::WouldDrop, due.len() as u64)]);
        if !confirm::is_confirmed(
            &format!("{}, and their payloads with them", sum(&counts)),
            chosen.yes,
        )? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let mut results = Results::new(chosen.output, letters.len())?;
    for letter in done {
        results.say(letter, Became::Skipped, None, Some("it was dropped before"))?;
    }
    let mut last = None;
    for group in due.chunk_by(|one, other| one.epoch == other.epoch) {
        for part in group.chunks(LETTERS_MAX) {
            let mut became = Became::WouldDrop;
            if !chosen.dry_run {
                last = Some(note(&context, part).await?);
                became = Became::Dropped;
            }
            for letter in part {
                results.say(letter, became, None, None)?;
            }
        }
    }
    if let Some(last) = last
        && !notes::applied(&context, last).await?
    {
        crate::output::say("the sink has not read that yet; lists show it once it has");
    }
    results.finish()?;
    Ok(ExitCode::SUCCESS)
}

async fn note(context: &bus::Context, letters: &[&Letter]) -> anyhow::Result<u64> {
    let noted = letters.iter().map(|letter| Noted {
        letter: letter.id,
        count: None,
        stream: None,
        sequence: None,
    });
    let epoch = letters.first().and_then(|letter| letter.epoch.as_deref());
    notes::publish(context, Deed::Dropped, epoch, noted.collect()).await
}
