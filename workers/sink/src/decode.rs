//! From an EVENTS message to typed rows. All or nothing: one bad line rejects its message, and no other.

use std::ops::RangeInclusive;

use schemas::{
    Event, Kind, Message, Metric, Origins, Session, Step, Time, Usage, WorkItem, headers, read_lines,
    subjects,
};
use serde::Deserialize;

use crate::StoredMessage;
use crate::ranges::SEQUENCE_MAX;

/// 9999-12-31T23:59:59.999999Z; DuckDB takes more, people and JSON do not.
const MICROS_MAX: i64 = 253_402_300_799_999_999;
/// 0000-01-01T00:00:00Z.
const MICROS_MIN: i64 = -62_167_219_200_000_000;
/// What DECIMAL(18,9) holds, in nano-dollars.
const NANOS_MAX: u64 = 999_999_999_999_999_999;

/// A readable EVENTS message. The rows borrow from its payload.
pub(crate) struct EventsMessage<'a> {
    /// ULID of INGEST's epoch.
    pub(crate) epoch: &'a str,
    /// The INGEST messages it carries.
    pub(crate) origins: Origins,
    /// Its rows.
    pub(crate) rows: Rows<'a>,
}

/// The rows of one message: all of one kind.
pub(crate) enum Rows<'a> {
    Metric(Vec<Metric<'a>>),
    Event(Vec<Event<'a>>),
    Usage(Vec<Usage<'a>>),
    Step(Vec<Step<'a>>),
    Message(Vec<Message<'a>>),
    Session(Vec<Session<'a>>),
    WorkItem(Vec<WorkItem<'a>>),
}

impl Rows<'_> {
    /// What all of them are.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Rows::Metric(_) => Kind::Metric,
            Rows::Event(_) => Kind::Event,
            Rows::Usage(_) => Kind::Usage,
            Rows::Step(_) => Kind::Step,
            Rows::Message(_) => Kind::Message,
            Rows::Session(_) => Kind::Session,
            Rows::WorkItem(_) => Kind::WorkItem,
        }
    }
}

/// The fields all kinds share, present after [`decode`].
pub(crate) struct Common<'r> {
    pub(crate) origin: Option<u64>,
    pub(crate) index: Option<u32>,
    pub(crate) tenant: Option<&'r str>,
    pub(crate) timestamp: Option<Time>,
    pub(crate) source: Option<&'r str>,
    pub(crate) tags: Option<&'r str>,
    pub(crate) session: Option<&'r str>,
    pub(crate) work_item: Option<&'r str>,
    pub(crate) trace_id: Option<&'r str>,
    pub(crate) v: Option<u16>,
}

/// A row of any kind.
pub(crate) trait Canonical {
    /// The shared fields.
    fn common(&self) -> Common<'_>;
    /// What else would not fit into its table.
    fn misfit(&self) -> Option<&'static str> {
        None
    }
}

macro_rules! common {
    () => {
        fn common(&self) -> Common<'_> {
            Common {
                origin: self.origin,
                index: self.index,
                tenant: self.tenant.as_deref(),
                timestamp: self.timestamp,
                source: self.source.as_deref(),
                tags: self.tags.map(|tags| tags.get()),
                session: self.session.as_deref(),
                work_item: self.work_item.as_deref(),
                trace_id: self.trace_id.as_deref(),
                v: self.v,
            }
        }
    };
}

impl Canonical for Metric<'_> {
    common!();
}

impl Canonical for Event<'_> {
    common!();
}

impl Canonical for Step<'_> {
    common!();

    fn misfit(&self) -> Option<&'static str> {
        let is_outside =
            |time: Option<Time>| time.is_some_and(|time| !(MICROS_MIN..=MICROS_MAX).contains(&time.0));
        (is_outside(self.start) || is_outside(self.end))
            .then_some("start or end is outside the years 0000 to 9999")
    }
}

impl Canonical for Message<'_> {
    common!();
}

impl Canonical for Session<'_> {
    common!();
}

impl Canonical for WorkItem<'_> {
    common!();
}

impl Canonical for Usage<'_> {
    common!();

    fn misfit(&self) -> Option<&'static str> {
        let tokens = [
            self.tokens_in,
            self.tokens_out,
            self.tokens_cache_read,
            self.tokens_cache_write,
            self.tokens_cache_write_1h,
            self.tokens_reasoning,
        ];
        if tokens
            .into_iter()
            .flatten()
            .any(|count| i64::try_from(count).is_err())
        {
            return Some("a token count is over 2^63");
        }
        let cost = self.cost_usd.map_or(0, |cost| cost.0.unsigned_abs());
        (cost > NANOS_MAX).then_some("cost_usd is over a thousand million dollars")
    }
}

/// Reads an EVENTS message.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn decode<'a>(message: &StoredMessage<'a>) -> Result<EventsMessage<'a>, String> {
    let header = |name: &str| {
        let value = message.headers.get(name);
        value.ok_or_else(|| format!("header {name} is missing"))
    };
    let epoch = header(headers::EPOCH)?;
    if ulid::Ulid::from_string(epoch).is_err() {
        return Err(format!("header {} is not a ULID", headers::EPOCH));
    }
    let origins: Origins = header(headers::ORIGINS)?
        .parse()
        .map_err(|error| format!("header {}: {error}", headers::ORIGINS))?;
    check_origins(&origins)?;
    let count: usize = header(headers::COUNT)?
        .parse()
        .map_err(|_| format!("header {} is not a number", headers::COUNT))?;
    let kind = message.subject.strip_prefix(subjects::EVENTS);
    let kind = kind.and_then(|rest| rest.strip_prefix('.')).and_then(Kind::parse);
    let rows = match kind {
        Some(Kind::Metric) => Rows::Metric(read(message.payload, &origins, count)?),
        Some(Kind::Event) => Rows::Event(read(message.payload, &origins, count)?),
        Some(Kind::Usage) => Rows::Usage(read(message.payload, &origins, count)?),
        Some(Kind::Step) => Rows::Step(read(message.payload, &origins, count)?),
        Some(Kind::Message) => Rows::Message(read(message.payload, &origins, count)?),
        Some(Kind::Session) => Rows::Session(read(message.payload, &origins, count)?),
        Some(Kind::WorkItem) => Rows::WorkItem(read(message.payload, &origins, count)?),
        None => {
            return Err(format!(
                "subject {} names no kind this sink knows",
                message.subject
            ));
        }
    };
    Ok(EventsMessage { epoch, origins, rows })
}

fn check_origins(origins: &Origins) -> Result<(), String> {
    let (first, last) = (origins.ranges().first(), origins.ranges().last());
    match (first.map(|range| *range.start()), last.map(|range| *range.end())) {
        (None, _) | (_, None) => Err(format!("header {} is empty", headers::ORIGINS)),
        (Some(0), _) => Err(format!(
            "header {} names 0; sequences start at 1",
            headers::ORIGINS
        )),
        (_, Some(last)) if last > SEQUENCE_MAX => {
            Err(format!("header {} names {last}, over 2^63", headers::ORIGINS))
        }
        _ => Ok(()),
    }
}

fn read<'a, T>(payload: &'a [u8], origins: &Origins, count: usize) -> Result<Vec<T>, String>
where
    T: Deserialize<'a> + Canonical,
{
    let rows: Vec<T> = read_lines(payload).map_err(|error| error.to_string())?;
    if rows.len() != count {
        return Err(format!(
            "header {} says {count}, the payload has {} lines",
            headers::COUNT,
            rows.len()
        ));
    }
    // Origins come in ascending runs: mostly the range found last holds the next row's too.
    let mut last = None;
    let mut carried = Origins::default();
    for (row, number) in rows.iter().zip(1..) {
        if let Some(problem) = problem_of(row, origins, &mut last) {
            return Err(format!("line {number}: {problem}"));
        }
        carried.push(row.common().origin.unwrap_or_default());
    }
    // Whoever names an origin without its rows would have them taken for stored.
    if carried != *origins {
        return Err(format!(
            "header {} names origins of which there is no line",
            headers::ORIGINS
        ));
    }
    Ok(rows)
}

/// What keeps a row out of its table. `last` is the range of origins in which the row before it was found.
fn problem_of<'o>(
    row: &impl Canonical,
    origins: &'o Origins,
    last: &mut Option<&'o RangeInclusive<u64>>,
) -> Option<&'static str> {
    let common = row.common();
    let Some(origin) = common.origin else {
        return Some("o is missing");
    };
    if !last.is_some_and(|range| range.contains(&origin)) {
        *last = origins.ranges().iter().find(|range| range.contains(&origin));
        if last.is_none() {
            return Some("o is not among the message's origins");
        }
    }
    match (common.index, common.timestamp) {
        (None, _) => Some("i is missing"),
        (_, None) => Some("timestamp is missing"),
        (_, Some(time)) if !(MICROS_MIN..=MICROS_MAX).contains(&time.0) => {
            Some("timestamp is outside the years 0000 to 9999")
        }
        _ => row.misfit(),
    }
}
