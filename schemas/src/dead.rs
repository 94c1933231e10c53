//! What people did about dead letters: notes on stream DEAD. `aiai dead` writes them, the sink reads them.
//!
//! A note changes no number of the ledger: a message that was rejected stays so, and a replay of it is a message of
//! its own. What is on a note's subject and is no note is a dead letter like any other.

use serde::{Deserialize, Serialize};

use crate::subjects;

/// Letters in one note.
pub const LETTERS_MAX: usize = 500;
/// A message is replayed so often at most, its replays' replays counted.
pub const REPLAYS_MAX: u8 = 5;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Is about to be published again: what is known if the other note never comes.
    Replaying,
    /// Was published again, and that was acknowledged.
    Replayed,
    /// Is of no use to anybody: its payload is not kept.
    Dropped,
}

impl Deed {
    /// All of them.
    pub const ALL: [Deed; 3] = [Deed::Replaying, Deed::Replayed, Deed::Dropped];

    /// As the tables have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Deed::Replaying => "replaying",
            Deed::Replayed => "replayed",
            Deed::Dropped => "dropped",
        }
    }

    /// Where the note is published.
    pub const fn subject(self) -> &'static str {
        match self {
            Deed::Replaying => "dead.note.replaying",
            Deed::Replayed => "dead.note.replayed",
            Deed::Dropped => "dead.note.dropped",
        }
    }
}

/// One letter in a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// Its sequence in DEAD.
    pub letter: u64,
    /// Of a replay: how often the message has been replayed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u8>,
    /// Of a replay: the stream that took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Of a replay: its sequence there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// What was done about some letters of one epoch of DEAD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// ULID of the epoch of DEAD; none: not known of letters of an older version.
    pub epoch: Option<String>,
    /// The letters.
    pub letters: Vec<Noted>,
}

impl Note {
    /// Reads what was published on `subject`; none if it is no note.
    pub fn read(subject: &str, payload: &[u8]) -> Option<(Deed, Note)> {
        let deed = Deed::ALL.into_iter().find(|deed| deed.subject() == subject)?;
        let note: Note = serde_json::from_slice(payload).ok()?;
        let bounded = (1..=LETTERS_MAX).contains(&note.letters.len());
        bounded.then_some((deed, note))
    }
}

/// Whether something on `dead.>` is meant as a note.
pub fn is_note(subject: &str) -> bool {
    let rest = subject.strip_prefix(subjects::DEAD);
    rest.is_some_and(|rest| rest.starts_with(".note."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_written_and_nothing_else_is_one() {
        let note = Note {
            epoch: Some("01JD00000000000000000000C1".into()),
            letters: vec![Noted {
                letter: 7,
                count: Some(1),
                stream: Some("INGEST".into()),
                sequence: Some(12),
            }],
        };
        let json = serde_json::to_vec(&note).unwrap();
        for deed in Deed::ALL {
            assert_eq!(Note::read(deed.subject(), &json), Some((deed, note.clone())));
            assert!(is_note(deed.subject()));
        }
        assert_eq!(Note::read("dead.ingest.metric", &json), None);
        assert_eq!(
            Note::read("dead.note.replayed", br#"{"epoch":null,"letters":[]}"#),
            None
        );
        assert_eq!(Note::read("dead.note.replayed", br#"{"name":"x"}"#), None);
        assert!(!is_note("dead.notes.metric"));
    }
}
