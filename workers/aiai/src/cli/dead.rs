//! `aiai dead …`: arguments.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};

use crate::command::period::Moment;
use crate::output::Format;

/// `aiai dead …`
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, the newest first
    #[command(before_help = "Examples:
  aiai dead list
  aiai dead list --reason unknown_field --since 24h
  aiai dead list --state all -o csv > letters.csv")]
    List(DeadList),
    /// Show one: what is wrong, headers, payload, what was done about it
    #[command(before_help = "Examples:
  aiai dead show 17
  aiai dead show 17 --payload | sed 's/vlaue/value/' | aiai pub metric -
  aiai dead show 17 -o json")]
    Show(DeadShow),
    /// Publish messages again, as they came; first with --dry-run
    #[command(before_help = "Examples:
  aiai dead replay 17 18 --dry-run
  aiai dead replay --stage ingest --reason unknown_field --dry-run
  aiai dead replay --stage ingest --reason unknown_field --rate 20 --yes")]
    Replay(DeadReplay),
    /// Mark letters as of no use and forget their payloads; first with --dry-run
    #[command(before_help = "Examples:
  aiai dead drop 17 --dry-run
  aiai dead drop --source test-agent --until 2026-11-01 --yes")]
    Drop(DeadDrop),
}

/// Which letters: all conditions hold.
#[derive(Debug, Default, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which letters")]
pub struct DeadFilter {
    /// The worker that gave up, such as ingest, sink, webhook
    #[arg(long)]
    pub stage: Option<String>,
    /// Its kind, such as metric
    #[arg(long)]
    pub kind: Option<String>,
    /// Code of the reason, such as unknown_field
    #[arg(long)]
    pub reason: Option<String>,
    /// Who sent it, where its payload says so
    #[arg(long)]
    pub source: Option<String>,
    /// Whose it is, from its subject
    #[arg(long)]
    pub tenant: Option<String>,
    /// Dead since: 30m, 24h, 7d ago, a date, or RFC 3339
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,
    /// Dead before
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Moment>,
}

/// What was done about a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeadState {
    /// Nothing yet.
    Open,
    /// Published again.
    Replayed,
    /// Of no use.
    Dropped,
    /// Any.
    All,
}

/// `aiai dead list`
#[derive(Debug, Args)]
pub struct DeadList {
    /// Which of them.
    #[command(flatten)]
    pub filter: DeadFilter,
    /// What was done about them
    #[arg(long, value_enum, default_value = "open", help_heading = "Which letters")]
    pub state: DeadState,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub limit: u64,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

/// `aiai dead show`
#[derive(Debug, Args)]
pub struct DeadShow {
    /// Its number, from the list
    pub id: LetterId,
    /// Write the payload as it came, and nothing else
    #[arg(long, conflicts_with = "output")]
    pub payload: bool,
    /// Print it as JSON
    #[arg(short, long, value_parser = ["text", "json"], default_value = "text")]
    pub output: String,
}

/// Letters by number or by conditions.
#[derive(Debug, Args)]
pub struct Chosen {
    /// Numbers, from the list
    pub ids: Vec<LetterId>,
    /// Or conditions.
    #[command(flatten)]
    pub filter: DeadFilter,
    /// All open ones
    #[arg(long, help_heading = "Which letters")]
    pub all: bool,
    /// Show what would be done; does nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

/// `aiai dead replay`
#[derive(Debug, Args)]
pub struct DeadReplay {
    /// Which letters.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Messages a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Also what was replayed before, and replays that failed again; a message at most five times
    #[arg(long)]
    pub again: bool,
}

/// `aiai dead drop`
#[derive(Debug, Args)]
pub struct DeadDrop {
    /// Which letters.
    #[command(flatten)]
    pub chosen: Chosen,
}

/// The number of a letter: `17`, or `17@01JD` where DEAD was made anew and there are several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterId {
    /// Its sequence in DEAD.
    pub sequence: u64,
    /// How the epoch of DEAD begins.
    pub epoch: Option<String>,
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, epoch) = match text.split_once('@') {
            Some((number, epoch)) => (number, Some(epoch.to_owned())),
            None => (text, None),
        };
        let is_good = epoch
            .as_deref()
            .is_none_or(|epoch| epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        match number.parse() {
            Ok(sequence) if is_good => Ok(Self { sequence, epoch }),
            _ => Err("write a number from `aiai dead list`, such as 17".to_owned()),
        }
    }
}
