//! Nothing is done unasked: on a terminal a question, elsewhere the command that does it.

use std::io::{BufRead, IsTerminal};

use crate::failure::Usage;

/// Whether to go on. `what` says what would be done.
pub(super) fn is_confirmed(what: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let command = command_line(std::env::args());
        return Err(Usage(format!("{what}; nothing was done yet; to do it: {command} --yes")).into());
    }
    crate::output::ask(&format!("{what}. Go on? [y/N] "));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !yes {
        crate::output::say("nothing was done");
    }
    Ok(yes)
}

/// The command as a shell takes it.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let words = arguments.enumerate().map(|(at, word)| match at {
        0 => "aiai".to_owned(),
        _ => quoted(word),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_what_a_shell_takes() {
        let words = ["/x/aiai", "dead", "drop", "--source", "it's me", "--until=7d", ""];
        assert_eq!(
            command_line(words.into_iter().map(str::to_owned)),
            r"aiai dead drop --source 'it'\''s me' --until=7d ''"
        );
    }
}
