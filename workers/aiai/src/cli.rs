//! The command line: nouns, verbs, and examples before options.

pub mod dead;
pub mod prices;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::command::period::{Interval, Moment};
use crate::command::tap::Filter;
use crate::output::Format;

/// The nervous system of a fleet of AI agents.
#[derive(Debug, Parser)]
#[command(
    name = "aiai",
    version,
    about = "The nervous system of a fleet of AI agents",
    before_help = "Examples:
  aiai up                                            everything, in one process
  aiai pub metric '{\"name\":\"hello\",\"value\":1}'       publish, acknowledged
  aiai status                                        is anything wrong?
  aiai query 'SELECT * FROM metric LIMIT 5'          look at what was stored
  aiai run ingest                                    one more ingest worker, anywhere",
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage, 3 unhealthy, 4 not found, 5 refused credentials, 6 unreachable, 7 timeout"
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub settings: Settings,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where configuration comes from: flag over environment (AIAI__SECTION__KEY) over file over default.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Configuration file [default: aiai.toml here, if there is one]
    #[arg(
        long,
        global = true,
        env = "AIAI_CONFIG",
        value_name = "FILE",
        help_heading = "Configuration"
    )]
    pub config: Option<PathBuf>,
    /// Sets one key, for example --set sink.commit.rows_max=50000
    #[arg(
        long = "set",
        global = true,
        value_name = "KEY=VALUE",
        help_heading = "Configuration"
    )]
    pub set: Vec<String>,
    /// A running nats-server (nats.url)
    #[arg(long, global = true, value_name = "URL", help_heading = "Configuration")]
    pub nats_url: Option<String>,
    /// Folder for all files (data)
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "Configuration")]
    pub data: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, with a nats-server of its own unless nats.url is set
    #[command(before_help = "Examples:
  aiai up
  aiai up --data /var/lib/aiai
  AIAI__NATS__URL=nats://127.0.0.1:4222 aiai up      use a running server
  aiai up --set dashboard.listen=127.0.0.1:8080")]
    Up(Up),
    /// Run some of the workers against a given NATS
    #[command(before_help = "Examples:
  aiai run ingest                                    on any machine that reaches NATS
  aiai run ingest sink --nats-url nats://10.0.0.5:4222
  aiai run --list")]
    Run(Run),
    /// Is anything wrong? Ends with 3 if so; each finding names its fix
    #[command(before_help = "Examples:
  aiai status
  aiai status -o json | jq .findings
  aiai status --nats-url nats://10.0.0.5:4222")]
    Status(Status),
    /// Ask the workers of the process that serves monitor.listen; for container health checks
    #[command(before_help = "Examples:
  aiai health --set monitor.listen=127.0.0.1:8010")]
    Health,
    /// Where every published message is: stored, dead, pending. Ends with 3 if one is missing
    ///
    /// Counted in messages of INGEST, by epoch (a life of that stream) and kind; published is always the sum of stored, dead,
    /// pending and missing. Missing ones are named, with subject and time where INGEST still has them. What was lost with
    /// an earlier epoch is told and does not change the exit code. json is one object; ndjson and csv have a row for each epoch
    /// (kind: all), the present one first, followed by a row for each of its kinds.
    #[command(before_help = "Examples:
  aiai ledger
  aiai ledger -o json | jq '.kinds, .missing_messages'
  aiai ledger -o ndjson | head -1")]
    Ledger(Output),
    /// Events as they pass, one JSON object a line
    #[command(before_help = "Examples:
  aiai tap                                           everything
  aiai tap usage status=error --count 1              wait for the next failed model call
  aiai tap source=agent-1 tags.region=fsn1 | jq .value")]
    Tap(Tap),
    /// What was measured, over time; without a name: which names there are
    #[command(before_help = "Examples:
  aiai metrics
  aiai metrics queue.depth --agg max --by region
  aiai metrics usage.latency_ms --agg p95 --interval 1h --since 7d --by model
  aiai metrics event.count --agg rate --where name=deploy.finished -o csv")]
    Metrics(Metrics),
    /// What model calls cost: calls, errors, tokens, dollars, latency
    #[command(before_help = "Examples:
  aiai usage
  aiai usage --by agent --since 7d
  aiai usage --by day --since 2026-11-01 --until 2026-12-01 -o csv")]
    Usage(UsageOptions),
    /// Streams, durables and buckets on the server
    #[command(before_help = "Examples:
  aiai topology plan
  aiai topology apply --nats-url nats://10.0.0.5:4222")]
    Topology {
        /// What to do.
        #[command(subcommand)]
        command: TopologyCommand,
    },
    /// Publish events and wait until they are stored in NATS
    #[command(before_help = "Examples:
  aiai pub metric '{\"name\":\"queue.depth\",\"value\":7}'
  aiai pub usage '{\"model\":\"claude-sonnet-4\",\"tokens_in\":1200,\"tokens_out\":340,\"cost_usd\":0.0087}'
  aiai pub event - < events.ndjson                   one JSON object a line")]
    Pub(Pub),
    /// Ask DuckDB one SELECT, through the sink
    #[command(before_help = "Examples:
  aiai query 'SELECT source, count(*) FROM metric GROUP BY ALL ORDER BY 2 DESC'
  aiai query 'SHOW TABLES'
  aiai query 'SELECT * FROM usage' -o csv > usage.csv")]
    Query(Query),
    /// Dead letters: messages that were rejected, with the reason; publish them again once it is gone
    #[command(before_help = "Examples:
  aiai dead list
  aiai dead show 17
  aiai dead replay --reason unknown_field --dry-run  what would be published again
  aiai dead replay --reason unknown_field --yes
  aiai dead drop 17 --yes")]
    Dead {
        /// What to do.
        #[command(subcommand)]
        command: dead::DeadCommand,
    },
    /// What model calls cost: the price table, models without a price, costs computed again
    #[command(before_help = "Examples:
  aiai prices list sonnet
  aiai prices show gpt-5 --tokens-in 21050 --cache-read 18000 --tokens-out 400
  aiai prices check                                  which models in the data have no price?
  aiai prices import data.json --out my-prices.toml
  aiai prices rerate --from 2026-11-01 --dry-run")]
    Prices {
        /// What to do.
        #[command(subcommand)]
        command: prices::PricesCommand,
    },
    /// Which model to call
    #[command(before_help = "Examples:
  aiai route decide '{\"task_complexity\":\"medium\",\"tokens_in\":2000,\"tokens_out\":500,\"needs\":[\"tools\"]}'
  aiai route check --set prices.file=my-prices.toml")]
    Route {
        /// What to do.
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// The archive's Parquet files
    #[command(before_help = "Examples:
  aiai archive list
  aiai archive list -o csv > files.csv
  aiai archive verify                                every file against the manifest, byte by byte")]
    Archive {
        /// What to do.
        #[command(subcommand)]
        command: ArchiveCommand,
    },
    /// What is configured
    #[command(before_help = "Examples:
  aiai config show
  aiai config show --origin                          with where each value came from")]
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

/// `aiai up`
#[derive(Debug, Args)]
pub struct Up {}

/// `aiai run`
#[derive(Debug, Args)]
pub struct Run {
    /// The workers, by name
    #[arg(required_unless_present = "list", value_name = "WORKER")]
    pub workers: Vec<String>,
    /// List the workers and end
    #[arg(long)]
    pub list: bool,
}

/// How to print rows.
#[derive(Debug, Args)]
pub struct Output {
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

/// `aiai status`
#[derive(Debug, Args)]
pub struct Status {
    /// Print the report as JSON
    #[arg(short, long, value_parser = ["text", "json"], default_value = "text")]
    pub output: String,
}

/// `aiai tap`
#[derive(Debug, Args)]
pub struct Tap {
    /// Kinds (any of them), and FIELD=VALUE (all of them): source=agent-1, tags.region=fsn1
    #[arg(value_name = "FILTER")]
    pub filters: Vec<Filter>,
    /// End after so many events
    #[arg(short = 'n', long)]
    pub count: Option<u64>,
}

/// How the values of a bucket become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Aggregate {
    /// Mean.
    Avg,
    /// Sum; exact in `total` where values are whole numbers or money.
    Sum,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// How many.
    Count,
    /// Median of a histogram or duration.
    P50,
    /// 95th percentile of a histogram or duration.
    P95,
    /// 99th percentile of a histogram or duration.
    P99,
    /// Latest.
    Last,
    /// Sum a second; of a cumulative metric its growth a second.
    Rate,
}

/// `aiai metrics`
#[derive(Debug, Args)]
pub struct Metrics {
    /// What was measured, such as queue.depth; also usage.requests, usage.cost_usd, usage.latency_ms, event.count
    pub name: Option<String>,
    /// How the values of a bucket become one
    #[arg(long, value_enum, default_value = "avg", requires = "name")]
    pub agg: Aggregate,
    /// Width of a bucket [default: by the time asked for]
    #[arg(long, value_enum, requires = "name")]
    pub interval: Option<Interval>,
    /// From when: 30m, 24h, 7d ago, a date, or RFC 3339; rounded down to a whole bucket
    #[arg(long, default_value = "1h", value_name = "WHEN")]
    pub since: Moment,
    /// One line for each value of a tag, of source or of tenant; may be repeated
    #[arg(long, value_name = "TAG", requires = "name")]
    pub by: Vec<String>,
    /// Only with this value of a tag, of source or of tenant; may be repeated
    #[arg(long = "where", value_name = "TAG=VALUE", value_parser = pair)]
    pub conditions: Vec<(String, String)>,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "write TAG=VALUE, such as region=fsn1".to_owned())
}

/// What `aiai usage` groups by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UsageBy {
    /// The model.
    Model,
    /// Who runs the model.
    Provider,
    /// The tag `agent`, or the source.
    Agent,
    /// How hard the task was said to be.
    Complexity,
    /// How calls ended.
    Status,
    /// Days, UTC.
    Day,
    /// Hours, UTC.
    Hour,
}

/// `aiai usage`
#[derive(Debug, Args)]
pub struct UsageOptions {
    /// One line for each
    #[arg(long, value_enum, default_value = "model")]
    pub by: UsageBy,
    /// From when: 24h, 7d ago, a date, or RFC 3339; whole minutes of the last day, else whole hours, beyond a month whole days
    #[arg(long, default_value = "24h", value_name = "WHEN")]
    pub since: Moment,
    /// To when [default: now]
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Moment>,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

/// `aiai topology …`
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Show what apply would change; changes nothing
    #[command(before_help = "Examples:
  aiai topology plan
  aiai topology plan -o json")]
    Plan(Plan),
    /// Create what is missing and correct what differs; never deletes
    #[command(before_help = "Examples:
  aiai topology apply --nats-url nats://10.0.0.5:4222")]
    Apply,
}

/// `aiai topology plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// Print the plan as JSON
    #[arg(short, long, value_parser = ["text", "json"], default_value = "text")]
    pub output: String,
}

/// `aiai pub`
#[derive(Debug, Args)]
pub struct Pub {
    /// What it is: metric, event, usage, step, message, session or work_item
    pub kind: String,
    /// One JSON object or array, or `-` for NDJSON on standard input
    #[arg(default_value = "-", value_name = "JSON|-")]
    pub json: String,
    /// Publish under this tenant
    #[arg(long)]
    pub tenant: Option<String>,
    /// Lines of standard input in one message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub batch: u16,
    /// Publish lines as they are, mistakes included (they end as dead letters)
    #[arg(long)]
    pub no_check: bool,
}

/// `aiai query`
#[derive(Debug, Args)]
pub struct Query {
    /// One SELECT (or DESCRIBE, SHOW, SUMMARIZE)
    pub sql: String,
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
    /// At most so many rows
    #[arg(long, default_value_t = 10_000)]
    pub rows: u64,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 30)]
    pub timeout: u32,
}

/// `aiai route …`
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Ask route.decide; prints the decision as JSON
    #[command(before_help = "Examples:
  aiai route decide '{\"task_complexity\":\"simple\"}'
  aiai route decide '{\"tier\":\"strong\",\"tokens_in\":300000,\"needs\":[\"vision\"]}'")]
    Decide(Decide),
    /// Check the price table, the list of models and the rules; prints every problem with its place
    #[command(before_help = "Examples:
  aiai route check
  aiai route check --set route.models_file=my-models.toml
  aiai route check --set route.rules_file=my-rules.toml")]
    Check,
}

/// `aiai route decide`
#[derive(Debug, Args)]
pub struct Decide {
    /// task_complexity or tier, and optionally tokens_in, tokens_out, needs
    #[arg(value_name = "JSON")]
    pub json: String,
}

/// `aiai archive …`
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// List the files: kind, day, rows, size, and whether their rows are in the table, too
    #[command(before_help = "Examples:
  aiai archive list
  aiai archive list -o json")]
    List(ArchiveList),
    /// Check size, SHA-256 and rows of every file; names what is wrong with its fix, and files it does not know
    #[command(before_help = "Examples:
  aiai archive verify
  aiai archive verify --data /var/lib/aiai           where worker archive writes")]
    Verify,
}

/// `aiai archive list`
#[derive(Debug, Args)]
pub struct ArchiveList {
    /// How to print [default: table on a terminal, ndjson otherwise]
    #[arg(short, long)]
    pub output: Option<Format>,
}

/// `aiai config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration in force
    #[command(before_help = "Examples:
  aiai config show
  aiai config show --origin                          with where each value came from")]
    Show(Show),
}

/// `aiai config show`
#[derive(Debug, Args)]
pub struct Show {
    /// Say where each value came from
    #[arg(long)]
    pub origin: bool,
}
