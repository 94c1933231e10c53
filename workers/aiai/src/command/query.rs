//! `aiai query`: one SELECT, answered by the sink over NATS.

use std::process::ExitCode;
use std::time::Duration;

use bus::Bytes;
use schemas::query::{self, Cut, Line};

use crate::cli;
use crate::config::Config;
use crate::output::{Format, Printer};

/// More than the sink's own limit, so that its answer arrives before ours.
const ANSWER_SLACK: Duration = Duration::from_secs(5);

/// Asks and prints.
#[allow(clippy::print_stderr)]
pub async fn query(config: &Config, options: &cli::Query) -> anyhow::Result<ExitCode> {
    let context = super::connect(config).await?;
    let request = query::Request {
        sql: options.sql.clone(),
        rows_max: Some(options.rows),
        timeout_seconds: Some(options.timeout),
    };
    let body = Bytes::from(serde_json::to_vec(&request)?);
    let timeout = Duration::from_secs(options.timeout.into()) + ANSWER_SLACK;
    let mut answer = Answer {
        format: Format::or_default(options.output),
        printer: None,
        end: None,
        failed: None,
    };
    context
        .request_each(query::SUBJECT, "sink", body, timeout, |part| answer.take(&part))
        .await?;
    if let Some(error) = answer.failed {
        return if is_closed_pipe(&error) {
            Ok(ExitCode::SUCCESS)
        } else {
            Err(error)
        };
    }
    if let Some(printer) = answer.printer {
        match printer.finish() {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            other => drop(other?),
        }
    }
    if let Some((end, cut)) = answer.end.and_then(|end| Some((end, end.truncated?))) {
        let more = match cut {
            Cut::Rows => "ask for more with --rows",
            Cut::Bytes => "select fewer columns, or raise sink.query.megabytes_max",
        };
        eprintln!("aiai: only the first {} rows are shown; {more}", end.rows);
    }
    Ok(ExitCode::SUCCESS)
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
