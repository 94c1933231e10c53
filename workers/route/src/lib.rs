//! route: which model to call. Advice, not a man in the middle: prompts and keys never pass through.
//!
//! `decide` and `cooling` are pure, `models` is the list to choose from, `worker` connects them with the bus:
//! it answers `route.decide`, reads EVENTS (`events.usage`, durable `route`), and shares the bucket `cooling`
//! with its copies. Any number of copies.
//!
//! Deliberately absent: history. A decision knows the last minute of calls, nothing more.

mod cooling;
mod decide;
pub mod models;
mod worker;

pub use cooling::{Change, Cooled, Cooling};
pub use decide::{Choice, Health, Refusal, decide};
pub use models::{Model, Models};
pub use worker::run;
