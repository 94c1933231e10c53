//! `aiai dead list`.

use std::process::ExitCode;

use jiff::Timestamp;

use super::select;
use crate::cli::dead::DeadList;
use crate::command::query::print_rows;
use crate::config::Config;
use crate::output::Format;
use schemas::query;

/// For people: what fits on a line.
const TABLE: &str = "dead_seq AS id, strftime(dead_at, '%Y-%m-%d %H:%M:%S') AS dead_at, stage, kind, source, reason, \
    left(CASE WHEN place = 'payload' THEN problem ELSE place || ': ' || problem END, 80) AS problem, state";
/// For programs: everything but headers and payload.
const ALL: &str = "dead_seq AS id, dead_epoch, dead_at, stage, kind, source, reason, place, problem, fix, subject, stored, \
    origin, idx, octet_length(payload) AS payload_bytes, state, state_at, replay_of, replay_count";

/// Prints them, the newest first.
pub(super) async fn list(config: &Config, options: &DeadList) -> anyhow::Result<ExitCode> {
    let context = crate::command::connect(config).await?;
    let format = Format::or_default(options.output);
    let columns = if format == Format::Table { TABLE } else { ALL };
    let request = query::Request {
        sql: format!(
            "SELECT {columns} FROM dead WHERE {} AND {} ORDER BY dead.dead_at DESC, dead_seq DESC",
            select::in_state(options.state),
            select::condition(&options.filter, Timestamp::now().as_second()),
        ),
        rows_max: Some(options.limit.max(1)),
        timeout_seconds: None,
    };
    if print_rows(&context, &request, Some(format), "--limit").await? == 0 {
        crate::output::say(
            "no dead letter is like that; --state all shows those about which something was done",
        );
    }
    Ok(ExitCode::SUCCESS)
}
