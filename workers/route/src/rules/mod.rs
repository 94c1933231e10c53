//! Rules: which events somebody should hear of.
//!
//! `file` reads and checks `config/rules.toml`, `expression` is CEL, `fact` is an event as an expression sees it,
//! `template` writes the message, `matching` turns one EVENTS message into matches: all of it pure. `stage` puts it
//! on the bus, `webhook` calls whoever is to be called.
//!
//! Invariants: what is made of a message depends on the message and the rules alone, so that a redelivery makes the
//! same; a rule that fails on an event never stops another; every size is bounded. Deliberately absent: rules that
//! look at more than one event (ask the rollups), and functions whose work an event could make large, such as
//! regular expressions.

mod expression;
mod fact;
mod fields;
pub mod file;
mod matching;
mod stage;
mod template;
pub mod webhook;

pub use file::{Rule, Rules};
pub use matching::{Batch, Failure, Forward, Found, evaluate};
pub use stage::RulesStage;
pub use webhook::{Webhook, Webhooks};
