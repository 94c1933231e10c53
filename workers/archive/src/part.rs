//! From EVENTS messages to files: rows gathered by kind, sorted by time, cut into days. Pure but for the writing.
//!
//! The same messages give the same bytes, whoever writes them. Memory is bounded by [`PART_BYTES_MAX`], whatever a job holds.

use std::ops::Range;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;
use jiff::civil::Date;
use schemas::archive::{Contents, File, LAYOUT, path};
use schemas::{
    Event, Kind, Message as Said, Metric, Origins, Session, Step, Time, Usage, WorkItem, read_lines, subjects,
};

use crate::columns::{
    EventColumns, MessageColumns, MetricColumns, Own, Row, SessionColumns, Stamp, StepColumns, Table,
    UsageColumns, WorkItemColumns,
};
use crate::file::{Aside, Folder, Trouble};

/// Payload gathered before it is written out: larger jobs become several files of a kind and day. A constant, so that doing
/// a job again gives the same files.
pub const PART_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Days of one kind with a file of their own. In rows of more days, the oldest days share the file of the first
/// of them: nobody can make us write a million files.
pub const DAYS_MAX: usize = 400;
const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// An EVENTS message to be archived.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What its rows have in common.
    pub stamp: Stamp<'a>,
    /// Its subject.
    pub subject: &'a str,
    /// Canonical events, one a line.
    pub payload: &'a [u8],
    /// Origins whose rows were stored from another message.
    pub repeated: Option<&'a Origins>,
}

/// Why a job has no files.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The disk is in the way: the same job succeeds later.
    #[error(transparent)]
    Disk(#[from] Trouble),
    /// The messages are: it never will.
    #[error("{0}")]
    Content(String),
}

/// Messages gathered, to become one file for each kind and day.
pub struct Part {
    epoch: String,
    first: u64,
    last: u64,
    bytes: usize,
    refused: Origins,
    repeated: Vec<(u64, String)>,
    metric: Table<MetricColumns>,
    event: Table<EventColumns>,
    usage: Table<UsageColumns>,
    step: Table<StepColumns>,
    said: Table<MessageColumns>,
    session: Table<SessionColumns>,
    work_item: Table<WorkItemColumns>,
}

/// A file of a job whose range was not read to its end yet. Gone when dropped.
#[derive(Debug)]
pub struct Draft {
    file: File,
    aside: Aside,
}

impl Draft {
    /// Puts the file into its place.
    ///
    /// # Errors
    /// The disk does not let us; the job can be done again, with the same files.
    pub fn put_in_place(self) -> Result<File, Failure> {
        self.aside.put_in_place()?;
        Ok(self.file)
    }
}

impl Part {
    /// An empty part of an epoch of EVENTS, from this sequence on.
    pub fn new(epoch: &str, first: u64) -> Self {
        Self {
            epoch: epoch.to_owned(),
            first,
            last: first,
            bytes: 0,
            refused: Origins::default(),
            repeated: Vec::new(),
            metric: Table::default(),
            event: Table::default(),
            usage: Table::default(),
            step: Table::default(),
            said: Table::default(),
            session: Table::default(),
            work_item: Table::default(),
        }
    }

    /// Whether it is to be written before more is added.
    pub fn is_full(&self) -> bool {
        self.bytes >= PART_BYTES_MAX
    }

    /// Adds a message's rows.
    ///
    /// # Errors
    /// The message is not one that the sink stores.
    pub fn add(&mut self, message: &Message<'_>) -> Result<(), Failure> {
        let sequence = message.stamp.sequence;
        let kind = message.subject.strip_prefix(subjects::EVENTS);
        let kind = kind.and_then(|rest| rest.strip_prefix('.')).and_then(Kind::parse);
        let added = match kind {
            Some(Kind::Metric) => add::<Metric<'_>>(&mut self.metric, message),
            Some(Kind::Event) => add::<Event<'_>>(&mut self.event, message),
            Some(Kind::Usage) => add::<Usage<'_>>(&mut self.usage, message),
            Some(Kind::Step) => add::<Step<'_>>(&mut self.step, message),
            Some(Kind::Message) => add::<Said<'_>>(&mut self.said, message),
            Some(Kind::Session) => add::<Session<'_>>(&mut self.session, message),
            Some(Kind::WorkItem) => add::<WorkItem<'_>>(&mut self.work_item, message),
            None => Err(format!("subject {} names no kind", message.subject)),
        };
        added.map_err(|problem| Failure::Content(format!("EVENTS message {sequence}: {problem}")))?;
        self.last = sequence;
        self.bytes += message.payload.len();
        if let Some(repeated) = message.repeated {
            self.repeated.push((sequence, repeated.to_string()));
        }
        Ok(())
    }

    /// Notes a message of which no row was stored.
    pub fn leave_out(&mut self, sequence: u64) {
        self.refused.push(sequence);
    }

    /// Writes its files aside, up to the sequence `last`; the next part starts behind it.
    ///
    /// # Errors
    /// The disk does not let us, or the rows fit into no table.
    pub fn write(mut self, last: u64, folder: &Folder) -> Result<Vec<Draft>, Failure> {
        self.last = last;
        let tables = [
            (Kind::Metric, self.metric.take::<Metric<'_>>()),
            (Kind::Event, self.event.take::<Event<'_>>()),
            (Kind::Usage, self.usage.take::<Usage<'_>>()),
            (Kind::Step, self.step.take::<Step<'_>>()),
            (Kind::Message, self.said.take::<Said<'_>>()),
            (Kind::Session, self.session.take::<Session<'_>>()),
            (Kind::WorkItem, self.work_item.take::<WorkItem<'_>>()),
        ];
        let mut slices = Vec::new();
        for (kind, table) in tables {
            let (rows, times) = table.map_err(|error| Failure::Content(error.to_string()))?;
            let (rows, times) = sorted(rows, times)?;
            for day in days(&times) {
                let path = path(
                    kind,
                    &date_of(times[day.start]),
                    &self.epoch,
                    self.first,
                    self.last,
                );
                let rows = rows.slice(day.start, day.len());
                slices.push((kind, path, rows, times[day].to_vec()));
            }
        }
        let files = Kind::ALL.into_iter().filter_map(|of| {
            let rows = slices.iter().filter(|(kind, ..)| *kind == of);
            let (files, rows) = rows.fold((0, 0), |(files, sum), (_, _, rows, _)| {
                (files + 1, sum + rows.num_rows() as u64)
            });
            (files > 0).then_some((of, files, rows))
        });
        let contents = self.contents(files.collect());
        let drafts = slices
            .iter()
            .map(|(kind, path, rows, times)| self.draft(*kind, path, rows, times, &contents, folder));
        drafts.collect()
    }

    /// What every file of the part says about all of it.
    fn contents(&self, files: Vec<(Kind, u64, u64)>) -> String {
        let contents = Contents {
            epoch: self.epoch.clone(),
            first: self.first,
            last: self.last,
            files,
            refused: self.refused.to_string(),
            duplicates: self.repeated.clone(),
        };
        // Numbers and texts: this cannot fail.
        serde_json::to_string(&contents).unwrap_or_default()
    }

    fn draft(
        &self,
        kind: Kind,
        path: &str,
        rows: &RecordBatch,
        times: &[i64],
        contents: &str,
        folder: &Folder,
    ) -> Result<Draft, Failure> {
        let (min_ts, max_ts) = (times[0], times[times.len() - 1]);
        let date = date_of(min_ts);
        let aside = folder.write_aside(path, rows, contents)?;
        let file = File {
            first: self.first,
            last: self.last,
            kind,
            date,
            path: path.to_owned(),
            rows: times.len() as u64,
            bytes: aside.written.bytes,
            sha256: aside.written.sha256.clone(),
            min_ts: Time(min_ts),
            max_ts: Time(max_ts),
            layout: LAYOUT,
        };
        Ok(Draft { file, aside })
    }
}

fn add<'a, T>(table: &mut Table<T::Own>, message: &Message<'a>) -> Result<(), String>
where
    T: Row + serde::Deserialize<'a>,
    T::Own: Own<T>,
{
    let rows: Vec<T> = read_lines(message.payload).map_err(|error| error.to_string())?;
    let is_new = |row: &&T| {
        message
            .repeated
            .is_none_or(|repeated| !repeated.contains(row.origin()))
    };
    for row in rows.iter().filter(is_new) {
        table.push(row, message.stamp);
    }
    Ok(())
}

/// By time; rows of the same time stay in the order in which they came.
fn sorted(rows: RecordBatch, times: Vec<i64>) -> Result<(RecordBatch, Vec<i64>), Failure> {
    if times.is_sorted() {
        return Ok((rows, times));
    }
    let too_many = |_| Failure::Content("more rows than can be counted".to_owned());
    let count = u32::try_from(times.len()).map_err(too_many)?;
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by_key(|at| times[*at as usize]);
    let times = order.iter().map(|at| times[*at as usize]).collect();
    let rows = take_record_batch(&rows, &UInt32Array::from(order));
    Ok((rows.map_err(|error| Failure::Content(error.to_string()))?, times))
}

/// Where each file's rows are, in sorted rows.
fn days(times: &[i64]) -> Vec<Range<usize>> {
    let mut days: Vec<Range<usize>> = times
        .chunk_by(|a, b| a.div_euclid(DAY_MICROSECONDS) == b.div_euclid(DAY_MICROSECONDS))
        .scan(0, |start, day| {
            let range = *start..*start + day.len();
            *start = range.end;
            Some(range)
        })
        .collect();
    if let Some(more) = days.len().checked_sub(DAYS_MAX).filter(|more| *more > 0) {
        let end = days[more].end;
        days.drain(..more);
        days[0] = 0..end;
    }
    days
}

/// The UTC day, `YYYY-MM-DD`.
fn date_of(microseconds: i64) -> String {
    let timestamp = jiff::Timestamp::from_microsecond(microseconds).unwrap_or_default();
    let date: Date = timestamp.to_zoned(jiff::tz::TimeZone::UTC).date();
    date.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_file_and_too_many_old_ones_share_one() {
        let day = DAY_MICROSECONDS;
        assert!(days(&[]).is_empty());
        assert_eq!(days(&[-1, 0, 1, day - 1, day]), [0..1, 1..4, 4..5]);
        let times: Vec<i64> = (0..DAYS_MAX as i64 + 2).map(|at| at * day).collect();
        let shared = days(&times);
        assert_eq!(
            (shared.len(), &shared[0], &shared[1]),
            (DAYS_MAX, &(0..3), &(3..4))
        );
        assert_eq!(shared[DAYS_MAX - 1].end, times.len());
    }

    #[test]
    fn a_date_is_that_of_utc_in_any_year() {
        assert_eq!(date_of(0), "1970-01-01");
        assert_eq!(date_of(-1), "1969-12-31");
        assert_eq!(date_of(-62_167_219_200_000_000), "0000-01-01");
        assert_eq!(date_of(253_402_207_200_000_000), "9999-12-30");
    }
}
