//! `aiai query`: one SELECT, answered by the sink over NATS.

use std::process::ExitCode;
use std::time::Duration;

use bus::{Bytes, Context};
use schemas::query::{self, Cut, Line};

use crate::cli;
use crate::config::Config;
use crate::output::{Format, Printer};

/// More than the sink's own limit, so that its answer arrives before ours.
const ANSWER_SLACK: Duration = Duration::from_secs(5);
/// For a request that names no time.
const TIMEOUT_SECONDS: u32 = 30;

/// Asks and prints.
pub async fn query(config: &Config, options: &cli::Query) -> anyhow::Result<ExitCode> {
    let context = super::connect(config).await?;
    let request = query::Request {
        sql: options.sql.clone(),
        rows_max: Some(options.rows),
        timeout_seconds: Some(options.timeout),
    };
    print_rows(&context, &request, options.output, "--rows").await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the rows of one SELECT as they come, and gives their number. A reader of ours that has gone away
/// wants no more. `limited_by` names the option for more rows.
pub async fn print_rows(
    context: &Context,
    request: &query::Request,
    format: Option<Format>,
    limited_by: &str,
) -> anyhow::Result<u64> {
    let body = Bytes::from(serde_json::to_vec(request)?);
    let seconds = request.timeout_seconds.unwrap_or(TIMEOUT_SECONDS);
    let timeout = Duration::from_secs(seconds.into()) + ANSWER_SLACK;
    let mut answer = Answer {
        format: Format::or_default(format),
        printer: None,
        end: None,
        failed: None,
    };
    context
        .request_each(query::SUBJECT, "sink", body, timeout, |part| answer.take(&part))
        .await?;
    if let Some(error) = answer.failed {
        return if is_closed_pipe(&error) { Ok(1) } else { Err(error) };
    }
    let mut rows = 0;
    if let Some(printer) = answer.printer {
        match printer.finish() {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => rows = 1,
            other => rows = other?,
        }
    }
    if let Some((end, cut)) = answer.end.and_then(|end| Some((end, end.truncated?))) {
        let more = match cut {
            Cut::Rows => format!("ask for more with {limited_by}"),
            Cut::Bytes => "select fewer columns, or raise sink.query.megabytes_max".to_owned(),
        };
        crate::output::say(&format!("only the first {} rows are shown; {more}", end.rows));
    }
    Ok(rows)
}

struct Answer {
    format: Format,
    printer: Option<Printer<std::io::BufWriter<std::io::Stdout>>>,
    end: Option<query::End>,
    failed: Option<anyhow::Error>,
}

impl Answer {
    fn take(&mut self, part: &Bytes) {
        if self.failed.is_none()
            && let Err(error) = self.print(part)
        {
            self.failed = Some(error);
        }
    }

    fn print(&mut self, part: &Bytes) -> anyhow::Result<()> {
        for line in std::str::from_utf8(part)?.lines() {
            match query::line(line)? {
                Line::Columns(columns) => {
                    let names = columns.into_iter().map(|column| column.name).collect();
                    let out = std::io::BufWriter::new(std::io::stdout());
                    self.printer = Some(Printer::new(self.format, names, out)?);
                }
                Line::Row(row) => {
                    if let Some(printer) = &mut self.printer {
                        printer.row(row)?;
                    }
                }
                Line::End(end) => self.end = Some(end),
            }
        }
        Ok(())
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
