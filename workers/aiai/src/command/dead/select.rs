//! Which letters are meant: SQL from what a person typed, and the letters it finds.

use anyhow::bail;
use bus::Context;
use jiff::Timestamp;
use serde::Deserialize;

use crate::cli::dead::{Chosen, DeadFilter, DeadState, LetterId};
use crate::command::sql::{self, literal};
use crate::failure::Usage;

/// Letters of one command; more take another.
pub(super) const LETTERS_MAX: u64 = 100_000;

/// Whose a message is, from its subject.
const TENANT: &str = "CASE WHEN subject LIKE 'ingest.%.%' THEN split_part(subject, '.', 2) \
    WHEN subject LIKE 'ingest.%' THEN 'default' END";

/// A letter, without what takes room: headers and payload.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Letter {
    pub(super) id: u64,
    /// Of DEAD.
    pub(super) epoch: Option<String>,
    pub(super) stage: String,
    pub(super) reason: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) state: String,
    /// Of INGEST.
    pub(super) ingest_epoch: Option<String>,
    pub(super) origin: Option<u64>,
    pub(super) idx: Option<u32>,
    pub(super) replay_of: Option<u64>,
    /// How often its message had been replayed when it died.
    pub(super) replay_count: u8,
    /// The count of its last replay.
    pub(super) replayed: u8,
    /// The count of the last replay that was begun.
    pub(super) begun: u8,
    /// When that was, in microseconds since 1970.
    pub(super) begun_us: Option<i64>,
    /// Of headers and payload together.
    pub(super) bytes: u64,
}

impl Letter {
    /// The SQL condition for this letter and no other.
    pub(super) fn condition(&self) -> String {
        format!("{} AND dead_seq = {}", of_epoch(self.epoch.as_deref()), self.id)
    }
}

/// The SQL condition for letters of one epoch of DEAD.
pub(super) fn of_epoch(epoch: Option<&str>) -> String {
    match epoch {
        Some(epoch) => format!("dead_epoch = {}", literal(epoch)),
        None => "dead_epoch IS NULL".to_owned(),
    }
}

/// The SQL condition of a filter.
pub(super) fn condition(filter: &DeadFilter, now: i64) -> String {
    let mut all = Vec::new();
    for (column, value) in [
        ("stage", &filter.stage),
        ("kind", &filter.kind),
        ("reason", &filter.reason),
        ("source", &filter.source),
        (TENANT, &filter.tenant),
    ] {
        all.extend(
            value
                .as_ref()
                .map(|value| format!("({column}) = {}", literal(value))),
        );
    }
    for (operator, moment) in [(">=", filter.since), ("<", filter.until)] {
        all.extend(moment.map(|moment| {
            let microseconds = i128::from(moment.seconds(now)) * 1_000_000;
            format!("dead_at {operator} make_timestamp({microseconds})")
        }));
    }
    if all.is_empty() {
        all.push("true".to_owned());
    }
    all.join(" AND ")
}

/// The SQL condition of a state.
pub(super) const fn in_state(state: DeadState) -> &'static str {
    match state {
        DeadState::Open => "state = 'open'",
        DeadState::Replayed => "state = 'replayed'",
        DeadState::Dropped => "state = 'dropped'",
        DeadState::All => "true",
    }
}

/// The SQL condition for one number.
pub(super) fn numbered(id: &LetterId) -> String {
    let epoch = id.epoch.as_deref().map(|epoch| {
        let epoch = literal(&epoch.to_uppercase());
        format!(" AND starts_with(dead_epoch, {epoch})")
    });
    format!("dead_seq = {}{}", id.sequence, epoch.unwrap_or_default())
}

/// The letters that are meant, the oldest first. `replayed`: those that were replayed before, too.
pub(super) async fn letters(
    context: &Context,
    chosen: &Chosen,
    replayed: bool,
) -> anyhow::Result<Vec<Letter>> {
    let by_filter = chosen.all || chosen.filter != DeadFilter::default();
    if chosen.ids.is_empty() != by_filter {
        return Err(Usage(
            "say which letters: either numbers from `aiai dead list`, or conditions such as --reason, or --all"
                .to_owned(),
        )
        .into());
    }
    let condition = if by_filter {
        let states = if replayed {
            "state <> 'dropped'"
        } else {
            "state = 'open'"
        };
        let filter = condition(&chosen.filter, Timestamp::now().as_second());
        format!("{states} AND {filter}")
    } else {
        let each: Vec<_> = chosen
            .ids
            .iter()
            .map(|id| format!("({})", numbered(id)))
            .collect();
        each.join(" OR ")
    };
    let found: Vec<Letter> = sql::rows_up_to(context, &select(&condition), LETTERS_MAX).await?;
    for id in &chosen.ids {
        one_of(&found, id)?;
    }
    Ok(found)
}

fn select(condition: &str) -> String {
    format!(
        "SELECT dead_seq AS id, dead.dead_epoch AS epoch, coalesce(stage, '') AS stage, reason, subject, state, \
            epochs.epoch AS ingest_epoch, origin, idx, replay_of, coalesce(replay_count, 0) AS replay_count, \
            coalesce(replayed, 0) AS replayed, coalesce(begun, 0) AS begun, begun_us, \
            (coalesce(octet_length(payload), 0) + strlen(headers::VARCHAR))::UBIGINT AS bytes \
         FROM (FROM dead WHERE {condition}) AS dead LEFT JOIN epochs ON epochs.id = dead.epoch \
         LEFT JOIN (SELECT of_epoch, of_seq, \
                max(count) FILTER (deed = 'replayed') AS replayed, max(count) FILTER (deed = 'replaying') AS begun, \
                epoch_us(arg_max(first, count) FILTER (deed = 'replaying')) AS begun_us \
            FROM (SELECT dead_epoch AS of_epoch, dead_seq AS of_seq, deed, count, min(noted_at) AS first \
                FROM dead_note GROUP BY ALL) GROUP BY ALL) AS notes \
            ON of_seq = dead_seq AND of_epoch IS NOT DISTINCT FROM dead.dead_epoch \
         ORDER BY dead_at, dead_seq"
    )
}

/// The one letter that a number means.
pub(super) fn one_of<'l>(found: &'l [Letter], id: &LetterId) -> anyhow::Result<&'l Letter> {
    let is_meant = |letter: &&Letter| {
        let epoch = letter.epoch.as_deref().unwrap_or_default();
        let begins = |wanted: &String| epoch.starts_with(&wanted.to_uppercase());
        letter.id == id.sequence && id.epoch.as_ref().is_none_or(begins)
    };
    let mut meant = found.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(letter), None) => Ok(letter),
        (None, _) => Err(not_found(id)),
        (Some(one), Some(other)) => {
            let name = |letter: &Letter| {
                let epoch = letter.epoch.as_deref().unwrap_or_default();
                format!("{}@{epoch}", letter.id)
            };
            bail!(Usage(format!(
                "there is more than one letter {}, because stream DEAD was made anew: write {} or {}",
                id.sequence,
                name(one),
                name(other)
            )))
        }
    }
}

/// As every command says it.
fn not_found(id: &LetterId) -> anyhow::Error {
    let text = format!(
        "there is no dead letter {}; `aiai dead list --state all` shows those there are",
        id.sequence
    );
    bus::Error::Service { code: 404, text }.into()
}

/// The letter with this number.
pub(super) async fn one(context: &Context, id: &LetterId) -> anyhow::Result<Letter> {
    let found: Vec<Letter> = sql::rows(context, &select(&numbered(id))).await?;
    one_of(&found, id).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_made_of_what_was_typed_and_nothing_else() {
        let filter = DeadFilter {
            reason: Some("it's".into()),
            since: Some("1970-01-02".parse().expect("a moment")),
            ..DeadFilter::default()
        };
        assert_eq!(
            condition(&filter, 0),
            "(reason) = 'it''s' AND dead_at >= make_timestamp(86400000000)"
        );
        assert_eq!(condition(&DeadFilter::default(), 0), "true");
        let id: LetterId = "17@01jd".parse().expect("a number");
        assert_eq!(numbered(&id), "dead_seq = 17 AND starts_with(dead_epoch, '01JD')");
        assert!("17@x'y".parse::<LetterId>().is_err() && "x".parse::<LetterId>().is_err());
    }

    #[test]
    fn a_number_that_means_two_letters_or_none_is_refused() {
        let letter = |epoch: &str| Letter {
            id: 17,
            epoch: Some(epoch.into()),
            ..Letter::default()
        };
        let found = [letter("01JD"), letter("01JE")];
        let asked =
            |id: &str| one_of(&found, &id.parse().expect("a number")).map(|letter| letter.epoch.clone());
        assert_eq!(asked("17@01JE").expect("one"), Some("01JE".to_owned()));
        let error = asked("17").expect_err("two").to_string();
        assert!(error.contains("write 17@01JD or 17@01JE"), "{error}");
        assert!(asked("18").is_err());
    }
}
