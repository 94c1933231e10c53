//! The report as one screen. Pure.

use bus::StreamSurvey;
use bus::heartbeat::Heartbeat;
use comfy_table::{CellAlignment, Table};
use schemas::overview::Overview;

use super::Facts;
use super::judge::{Finding, Level, full_percent, silent_ms};

/// Findings first, figures after.
pub(super) fn screen(facts: &Facts, findings: &[Finding], healthy: bool) -> String {
    let mut lines = vec![match (healthy, findings.is_empty()) {
        (true, true) => "all is well".to_owned(),
        (true, false) => "all is well, worth a look:".to_owned(),
        (false, _) => "something is wrong:".to_owned(),
    }];
    for Finding { level, problem, fix } in findings {
        let mark = match level {
            Level::Note => "note ",
            Level::Wrong => "WRONG",
        };
        lines.push(format!("  {mark} {problem}\n        fix: {fix}"));
    }
    lines.push(String::new());
    if let Ok(overview) = &facts.overview {
        lines.extend(figures(overview, facts.at_ms));
        lines.push(String::new());
    }
    lines.push(workers(&facts.workers, facts.at_ms));
    lines.push(String::new());
    lines.push(streams(&facts.streams, facts.at_ms));
    lines.join("\n") + "\n"
}

fn figures(overview: &Overview, at_ms: i64) -> Vec<String> {
    let ledger = &overview.ledger;
    let newest = overview.newest_event_ms.map_or_else(
        || "no event yet".to_owned(),
        |newest_ms| format!("newest event {} ago", age(at_ms.saturating_sub(newest_ms))),
    );
    let kinds: Vec<_> = overview
        .kinds_total
        .iter()
        .map(|total| format!("{} {}", total.events, total.kind))
        .collect();
    let database = &overview.database;
    vec![
        format!(
            "ledger    published {} = stored {} + dead {} + pending {} + missing {}; duplicates {}",
            ledger.published, ledger.stored, ledger.dead, ledger.pending, ledger.missing, ledger.duplicates
        ),
        format!("rate      {:.1} events/s; {newest}", overview.rate.per_second_now),
        format!("stored    {}", kinds.join(", ")),
        format!(
            "database  {}, log {}: {}",
            size(database.bytes),
            size(database.wal_bytes),
            database.path
        ),
    ]
}

fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if right.contains(&column.index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn workers(beats: &[Heartbeat], at_ms: i64) -> String {
    let mut table = table(&["worker", "host", "pid", "up", "backlog", "trouble"], &[2, 3, 4]);
    for beat in beats {
        let trouble = match silent_ms(beat, at_ms) {
            Some(age_ms) => format!("silent for {}", age(age_ms)),
            None => beat.trouble.clone().unwrap_or_default(),
        };
        table.add_row([
            beat.worker.clone(),
            beat.host.clone(),
            beat.pid.to_string(),
            age(at_ms.saturating_sub_unsigned(beat.started_ms)),
            beat.backlog.to_string(),
            trouble,
        ]);
    }
    trimmed(&table)
}

fn streams(streams: &[StreamSurvey], at_ms: i64) -> String {
    let mut table = table(
        &[
            "stream",
            "messages",
            "size",
            "full",
            "readers: messages that wait",
        ],
        &[1, 2, 3],
    );
    for stream in streams {
        let readers: Vec<_> = stream
            .readers
            .iter()
            .map(|reader| match (reader.waiting, reader.oldest_ms) {
                (None, _) => format!("{} absent", reader.durable),
                (Some(waiting), Some(oldest_ms)) if waiting > 0 => {
                    let age = age(at_ms.saturating_sub(oldest_ms));
                    format!("{} {waiting} ({age})", reader.durable)
                }
                (Some(waiting), _) => format!("{} {waiting}", reader.durable),
            })
            .collect();
        let (messages, bytes, full) = stream.held.map_or_else(
            || ("absent".to_owned(), String::new(), String::new()),
            |held| {
                let full = full_percent(held).map_or_else(String::new, |percent| format!("{percent} %"));
                (held.messages.to_string(), size(held.bytes), full)
            },
        );
        table.add_row([
            stream.stream.to_owned(),
            messages,
            bytes,
            full,
            readers.join(", "),
        ]);
    }
    trimmed(&table)
}

/// `0.4 s`, `59 s`, `3 m`, `2 h`, `9 d`: one figure is enough.
fn age(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    let seconds = milliseconds / 1000;
    match seconds {
        ..10 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} m", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `12 B`, `3.4 MB`: decimal units, one digit behind the point.
fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut tenths = u128::from(bytes) * 10;
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = "";
    for next in units {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (milliseconds, text) in [
            (-5, "0.0 s"),
            (9_990, "9.9 s"),
            (61_000, "61 s"),
            (7_199_000, "119 m"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(age(milliseconds), text);
        }
        for (bytes, text) in [
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_250_000, "1.2 MB"),
            (70_000_000_000, "70.0 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
