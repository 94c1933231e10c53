//! The first page's regions: is anything wrong?

mod alerts;
mod chart;
mod ledger;
mod nodes;
mod rate;
mod sources;
mod sparkline;
mod status;
mod traffic;
mod trouble;
mod unknown;
mod usage;

pub(crate) use alerts::{ALERTS_QUERY, Alerts};
pub(crate) use chart::{HEIGHT, SLOT, Shape, round_up, stack};
pub(crate) use ledger::LedgerLine;
pub(crate) use nodes::Nodes;
pub(crate) use rate::{RateChart, RateNow, RateTable};
pub(crate) use sources::Sources;
pub(crate) use status::{Status, judge};
pub(crate) use traffic::Traffic;
pub(crate) use trouble::{reader, share};
pub(crate) use usage::Usage;

/// The CSS class of a kind's colour. Kinds come from data, class names never do.
pub(crate) fn kind_class(kind: &str) -> &'static str {
    match kind {
        "metric" => "kind-metric",
        "event" => "kind-event",
        "usage" => "kind-usage",
        "step" => "kind-step",
        "message" => "kind-message",
        "session" => "kind-session",
        "work_item" => "kind-work-item",
        _ => "kind-other",
    }
}

#[cfg(test)]
mod tests;
