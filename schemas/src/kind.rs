//! The kinds of events.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an event is: the last token of the subject it is published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A measurement ([`crate::Metric`]).
    Metric,
    /// Something happened ([`crate::Event`]).
    Event,
    /// One model call ([`crate::Usage`]).
    Usage,
}

impl Kind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Kind; 3] = [Kind::Metric, Kind::Event, Kind::Usage];

    /// The name used in subjects, tables and answers, e.g. `metric`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Metric => "metric",
            Kind::Event => "event",
            Kind::Usage => "usage",
        }
    }

    /// The kind with exactly this name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("Metric"), None);
        assert_eq!(Kind::parse(""), None);
    }
}
