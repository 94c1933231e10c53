//! The kinds of events.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an event is: the last token of the subject it is published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A measurement ([`crate::Metric`]).
    Metric,
    /// Something happened ([`crate::Event`]).
    Event,
    /// One model call ([`crate::Usage`]).
    Usage,
    /// A step of a workflow: a span ([`crate::Step`]).
    Step,
    /// A message between agents, or between an agent and a person ([`crate::Message`]).
    Message,
    /// An agent's session ([`crate::Session`]).
    Session,
    /// A task, idea, issue or document job ([`crate::WorkItem`]).
    WorkItem,
}

impl Kind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Kind; 7] = [
        Kind::Metric,
        Kind::Event,
        Kind::Usage,
        Kind::Step,
        Kind::Message,
        Kind::Session,
        Kind::WorkItem,
    ];

    /// The name used in subjects, tables and answers, e.g. `metric`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Metric => "metric",
            Kind::Event => "event",
            Kind::Usage => "usage",
            Kind::Step => "step",
            Kind::Message => "message",
            Kind::Session => "session",
            Kind::WorkItem => "work_item",
        }
    }

    /// The kind with exactly this name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Evaluates an expression in which the name given is the struct of a kind: `with_kind!(kind, T => read::<T<'_>>(text))`.
#[macro_export]
macro_rules! with_kind {
    ($kind:expr, $each:ident => $what:expr) => {
        $crate::with_kind!(@ $kind, $each => $what; Metric Event Usage Step Message Session WorkItem)
    };
    (@ $kind:expr, $each:ident => $what:expr; $($name:ident)+) => {
        match $kind {
            $($crate::Kind::$name => {
                type $each<'a> = $crate::$name<'a>;
                $what
            })+
        }
    };
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
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
            assert_eq!(kind as usize, place);
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
        assert_eq!(Kind::parse("Metric"), None);
        assert_eq!(Kind::parse(""), None);
    }
}
