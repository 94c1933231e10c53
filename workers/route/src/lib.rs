//! route: which model to call, and which events somebody should hear of. Advice, not a man in the middle: prompts
//! and keys never pass through.
//!
//! `rules` is the second half (durables EVENTS/rules and ALERTS/webhook). `decide` and `cooling` are pure, `models` is the list to choose from, `worker` connects them with the bus:
//! it answers `route.decide`, reads EVENTS (`events.usage`, durable `route`), and shares the bucket `cooling`
//! with its copies. Any number of copies.
//!
//! Deliberately absent: history. A decision knows the last minute of calls, nothing more.

mod cooling;
mod decide;
pub mod models;
pub mod rules;
mod worker;

pub use cooling::{Change, Cooled, Cooling};
pub use decide::{Choice, Health, Refusal, decide};
pub use models::{Model, Models};
pub use rules::Rules;
pub use worker::{Tables, run};
