//! The subjects workers meet at.

use crate::rejection::{Reason, Rejection, nearest, shown};
use crate::{Kind, limits};

/// First token of what agents publish: `ingest.<kind>` or `ingest.<tenant>.<kind>`.
pub const INGEST: &str = "ingest";
/// Everything agents publish.
pub const INGEST_ALL: &str = "ingest.>";
/// First token of canonical events: `events.<kind>`.
pub const EVENTS: &str = "events";
/// All canonical events.
pub const EVENTS_ALL: &str = "events.>";
/// First token of dead letters: `dead.<stage>.<kind>`.
pub const DEAD: &str = "dead";
/// All dead letters.
pub const DEAD_ALL: &str = "dead.>";
/// Partial aggregates, one message for each EVENTS message.
pub const ROLLUP_PARTIAL: &str = "rollup.partial";
/// All partial aggregates.
pub const ROLLUP_ALL: &str = "rollup.>";
/// Stands for the kind of a dead letter whose subject names none we know.
pub const UNKNOWN_KIND: &str = "unknown";
/// The tenant of `ingest.<kind>`.
pub const DEFAULT_TENANT: &str = "default";

/// The source of an event which names none.
pub const UNKNOWN_SOURCE: &str = "unknown";

/// Tenant and kind of a message of an agent.
///
/// # Errors
/// The subject is not `ingest.<kind>` or `ingest.<tenant>.<kind>` with a known kind.
pub fn parse_ingest(subject: &str) -> Result<(&str, Kind), Rejection> {
    let mut tokens = subject.split('.');
    let (tenant, name) = match (tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
        (Some(INGEST), Some(kind), None, None) => (DEFAULT_TENANT, kind),
        (Some(INGEST), Some(tenant), Some(kind), None) if !tenant.is_empty() => (tenant, kind),
        _ => {
            let (problem, fix) = (
                format!("is `{}`", shown(subject)),
                "publish on ingest.<kind> or ingest.<tenant>.<kind>",
            );
            return Err(Rejection::new(Reason::BadSubject, "subject", problem, fix));
        }
    };
    if tenant.len() > limits::TEXT_BYTES {
        let problem = format!(
            "has a tenant of {} bytes, more than {}",
            tenant.len(),
            limits::TEXT_BYTES
        );
        return Err(Rejection::new(
            Reason::TooLarge,
            "subject",
            problem,
            "shorten the tenant's name",
        ));
    }
    Kind::parse(name)
        .map(|kind| (tenant, kind))
        .ok_or_else(|| unknown_kind(name))
}

/// The kind that the subject of a message names, for counting: of one of INGEST as [`ingest_filters`] tell them apart,
/// whether or not its tenant is accepted, or of one of EVENTS.
pub fn kind_named(subject: &str) -> Option<Kind> {
    let mut tokens = subject.split('.');
    match (tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
        (Some(INGEST | EVENTS), Some(kind), None, None) | (Some(INGEST), Some(_), Some(kind), None) => {
            Kind::parse(kind)
        }
        _ => None,
    }
}

/// The filters that select the messages of one kind in INGEST.
pub fn ingest_filters(kind: Kind) -> [String; 2] {
    [format!("{INGEST}.{kind}"), format!("{INGEST}.*.{kind}")]
}

fn unknown_kind(name: &str) -> Rejection {
    let fix = match nearest(name, Kind::ALL.iter().map(|kind| kind.as_str())) {
        Some(kind) => format!("did you mean `{kind}`?"),
        None => format!("use one of {}", Kind::ALL.map(Kind::as_str).join(", ")),
    };
    Rejection::new(
        Reason::UnknownKind,
        "subject",
        format!("names the unknown kind `{}`", shown(name)),
        fix,
    )
}

/// `ingest.<kind>`.
pub fn ingest(kind: Kind) -> String {
    format!("{INGEST}.{kind}")
}

/// `events.<kind>`.
pub const fn events(kind: Kind) -> &'static str {
    match kind {
        Kind::Metric => "events.metric",
        Kind::Event => "events.event",
        Kind::Usage => "events.usage",
        Kind::Step => "events.step",
        Kind::Message => "events.message",
        Kind::Session => "events.session",
        Kind::WorkItem => "events.work_item",
    }
}

/// `dead.<stage>.<kind>`, with [`UNKNOWN_KIND`] where there is none.
pub fn dead(stage: &str, kind: Option<Kind>) -> String {
    format!("{DEAD}.{stage}.{}", kind.map_or(UNKNOWN_KIND, Kind::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_spelled_as_designed() {
        assert_eq!(ingest(Kind::Usage), "ingest.usage");
        for kind in Kind::ALL {
            assert_eq!(events(kind), format!("{EVENTS}.{kind}"));
        }
        assert_eq!(dead("ingest", Some(Kind::Metric)), "dead.ingest.metric");
        assert_eq!(dead("ingest", None), "dead.ingest.unknown");
    }

    #[test]
    fn subjects_of_agents_name_tenant_and_kind() {
        assert_eq!(parse_ingest("ingest.metric"), Ok(("default", Kind::Metric)));
        assert_eq!(parse_ingest("ingest.acme.usage"), Ok(("acme", Kind::Usage)));
    }

    #[test]
    fn every_accepted_subject_is_counted_under_its_kind() {
        for (subject, kind) in [
            ("ingest.metric", Some(Kind::Metric)),
            ("ingest.acme.usage", Some(Kind::Usage)),
            ("events.event", Some(Kind::Event)),
            ("ingest.a.b.metric", None),
            ("ingest.metrics", None),
            ("events.acme.metric", None),
            ("dead.ingest.metric", None),
            ("", None),
        ] {
            assert_eq!(kind_named(subject), kind, "{subject}");
        }
        assert_eq!(ingest_filters(Kind::Event), ["ingest.event", "ingest.*.event"]);
    }

    #[test]
    fn other_subjects_are_rejected_with_their_fix() {
        let rejected = |subject: &str| parse_ingest(subject).unwrap_err();
        for subject in [
            "",
            "ingest",
            "events.metric",
            "ingest..metric",
            "ingest.a.b.metric",
            "Ingest.metric",
        ] {
            assert_eq!(rejected(subject).reason, Reason::BadSubject, "{subject}");
        }
        assert_eq!(
            rejected("ingest.metrics").to_string(),
            "subject: names the unknown kind `metrics`; did you mean `metric`?"
        );
        assert_eq!(rejected("ingest.acme.").reason, Reason::UnknownKind);
        assert_eq!(
            rejected("ingest.foo").fix,
            "use one of metric, event, usage, step, message, session, work_item"
        );
        let long = format!("ingest.{}.metric", "t".repeat(limits::TEXT_BYTES + 1));
        assert_eq!(rejected(&long).reason, Reason::TooLarge);
    }
}
