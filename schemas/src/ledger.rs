//! The answer of `query.ledger`: where every published message is, by epoch of INGEST and by kind.
//!
//! Counted in INGEST messages: `published = stored + dead + pending + missing`, in each epoch and in each of its
//! kinds, always; and the kinds add up to their epoch, because what cannot be told apart has a line of its own
//! ([`UNATTRIBUTED`]). Events stand beside it: one message carries any number of them.

use serde::{Deserialize, Serialize};

use crate::{Kind, subjects};

/// The line of messages whose kind is not known: pending ones not told apart yet, missing ones that INGEST no longer
/// has, and what was stored before the database kept kinds.
pub const UNATTRIBUTED: &str = "unattributed";
/// Kinds of the ledger: those of events, and [`subjects::UNKNOWN_KIND`] for subjects that name none of them.
pub const KINDS: [&str; 8] = [
    Kind::Metric.as_str(),
    Kind::Event.as_str(),
    Kind::Usage.as_str(),
    Kind::Step.as_str(),
    Kind::Message.as_str(),
    Kind::Session.as_str(),
    Kind::WorkItem.as_str(),
    subjects::UNKNOWN_KIND,
];
/// Ranges of missing sequences listed.
pub const RANGES_MAX: usize = 100;
/// Missing messages named with subject and time.
pub const NAMED_MAX: usize = 100;
/// Earlier epochs listed.
pub const EARLIER_MAX: usize = 20;

/// The whole ledger. The present epoch's figures are fields of this object itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// When it was made, milliseconds since 1970.
    pub at_ms: i64,
    /// The present epoch adds up and nothing of it is missing.
    pub balances: bool,
    /// INGEST as it is now.
    #[serde(flatten)]
    pub current: Epoch,
    /// Earlier lives of INGEST that the database knows, newest first. What was lost with one cannot come back, so it
    /// does not count in `balances`.
    pub earlier: Vec<Epoch>,
    /// Still earlier ones, not listed.
    pub earlier_omitted: u64,
}

/// One life of INGEST.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Its ULID.
    pub epoch: String,
    /// Accepted by INGEST: the last sequence it is known to have given.
    pub published: u64,
    /// In the database.
    pub stored: u64,
    /// Rejected whole: in `dead` and not stored.
    pub dead: u64,
    /// On the way.
    pub pending: u64,
    /// Lost: must be 0.
    pub missing: u64,
    /// Delivered twice and stored once.
    pub duplicates: u64,
    /// Events stored; none: not known, because older versions did not count them.
    pub events_stored: Option<u64>,
    /// Single items rejected, of messages that may hold good ones too.
    pub items_dead: u64,
    /// Up to this sequence it is decided what is missing; above it messages may be on their way.
    pub judged: u64,
    /// The same figures by kind, in the order of [`KINDS`], then [`UNATTRIBUTED`] if there is any.
    pub kinds: Vec<KindLine>,
    /// The lowest missing sequences, as inclusive ranges.
    pub missing_ranges: Vec<(u64, u64)>,
    /// Missing messages that are not in `missing_ranges`.
    pub missing_omitted: u64,
    /// The lowest missing messages, one each, as far as they were looked up.
    pub missing_messages: Vec<Missing>,
}

/// The figures of one kind in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KindLine {
    /// A kind of [`KINDS`], or [`UNATTRIBUTED`].
    pub kind: String,
    /// The sum of the next four.
    pub published: u64,
    /// In the database.
    pub stored: u64,
    /// Rejected whole.
    pub dead: u64,
    /// On the way.
    pub pending: u64,
    /// Lost.
    pub missing: u64,
    /// Delivered twice and stored once.
    pub duplicates: u64,
    /// Events stored; none: not known.
    pub events_stored: Option<u64>,
    /// Single items rejected.
    pub items_dead: u64,
}

/// A missing message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Missing {
    /// Its sequence in INGEST.
    pub sequence: u64,
    /// The subject it was published on; none: the stream no longer has it.
    pub subject: Option<String>,
    /// When NATS stored it, RFC 3339.
    pub stored: Option<String>,
    /// What is known of the cause.
    pub cause: String,
}

impl Epoch {
    /// Whether the sum is right, as a whole, in each kind, and of the kinds.
    pub fn adds_up(&self) -> bool {
        type Figure = fn(&KindLine) -> u64;
        let is_sum = |whole: u64, parts: [u64; 4]| {
            parts.into_iter().map(u128::from).sum::<u128>() == u128::from(whole)
        };
        let of_kinds =
            |figure: fn(&KindLine) -> u64| self.kinds.iter().map(figure).map(u128::from).sum::<u128>();
        let figures: [(Figure, u64); 5] = [
            (|line| line.published, self.published),
            (|line| line.stored, self.stored),
            (|line| line.dead, self.dead),
            (|line| line.pending, self.pending),
            (|line| line.missing, self.missing),
        ];
        is_sum(
            self.published,
            [self.stored, self.dead, self.pending, self.missing],
        ) && self.kinds.iter().all(|line| {
            is_sum(
                line.published,
                [line.stored, line.dead, line.pending, line.missing],
            )
        }) && figures
            .into_iter()
            .all(|(figure, whole)| of_kinds(figure) == u128::from(whole))
    }

    /// Whether it adds up and nothing is missing.
    pub fn balances(&self) -> bool {
        self.adds_up() && self.missing == 0
    }

    /// The missing sequences as text, `5-7,9`, with `…` where more are left out.
    pub fn missing_text(&self) -> String {
        let ranges = self.missing_ranges.iter().map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        });
        let mut ranges: Vec<String> = ranges.collect();
        if self.missing_omitted > 0 {
            ranges.push("…".to_owned());
        }
        ranges.join(",")
    }
}

impl Report {
    /// What is wrong with the present epoch, and what to do.
    pub fn problem(&self) -> Option<(String, &'static str)> {
        if self.current.missing > 0 {
            let (verb, noun) = if self.current.missing == 1 {
                ("is", "message")
            } else {
                ("are", "messages")
            };
            return Some((
                format!(
                    "{} {noun} {verb} missing: published, but neither stored, dead nor pending",
                    self.current.missing
                ),
                "publish them again if you or INGEST still have them, and find out who acknowledged or deleted messages of INGEST \
                 or EVENTS by hand",
            ));
        }
        (!self.current.adds_up()).then(|| {
            (
                "the ledger does not add up".to_owned(),
                "ask again; if it stays so, look at the log of worker sink",
            )
        })
    }

    /// What was lost with earlier lives of INGEST.
    pub fn lost_earlier(&self) -> u64 {
        self.earlier.iter().map(|epoch| epoch.missing).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Epoch {
        let line = |kind: &str, stored, dead, pending, missing| KindLine {
            kind: kind.into(),
            published: stored + dead + pending + missing,
            stored,
            dead,
            pending,
            missing,
            ..KindLine::default()
        };
        Epoch {
            published: 10,
            stored: 5,
            dead: 2,
            pending: 3,
            kinds: vec![line("metric", 5, 1, 0, 0), line(UNATTRIBUTED, 0, 1, 3, 0)],
            ..Epoch::default()
        }
    }

    #[test]
    fn every_sum_must_be_right() {
        assert!(epoch().balances());
        type Break = fn(&mut Epoch);
        let breaks: [Break; 5] = [
            |epoch| epoch.published += 1,
            |epoch| epoch.kinds[0].published += 1,
            |epoch| epoch.kinds[0].stored -= 1,
            |epoch| {
                // Right in each line, wrong between lines.
                epoch.kinds[0].stored -= 1;
                epoch.kinds[0].dead += 1;
            },
            |epoch| {
                epoch.kinds.pop();
            },
        ];
        for wrong in breaks {
            let mut epoch = epoch();
            wrong(&mut epoch);
            assert!(!epoch.adds_up(), "{epoch:?}");
        }
    }

    #[test]
    fn what_is_missing_is_a_problem_though_the_sum_is_right() {
        let mut current = epoch();
        (current.pending, current.missing) = (1, 2);
        (current.kinds[1].pending, current.kinds[1].missing) = (1, 2);
        current.missing_ranges = vec![(3, 3), (5, 5)];
        assert!(current.adds_up() && !current.balances());
        assert_eq!(current.missing_text(), "3,5");
        current.missing_omitted = 1;
        assert_eq!(current.missing_text(), "3,5,…");
        let report = Report {
            current,
            ..Report::default()
        };
        assert!(
            report
                .problem()
                .is_some_and(|(problem, _)| problem.starts_with("2 messages are missing"))
        );
    }

    #[test]
    fn the_present_epoch_is_the_object_itself() {
        let report = Report {
            current: epoch(),
            earlier: vec![epoch()],
            ..Report::default()
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (&json["published"], &json["earlier"][0]["published"]),
            (&10.into(), &10.into())
        );
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }
}
