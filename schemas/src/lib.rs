//! The contracts of aiai: what agents may publish, what travels between workers, and the arithmetic on it.
//!
//! Invariants: everything here is a pure function of its arguments; nothing panics on any input; every
//! size is bounded by [`limits`]. One struct per kind ([`Metric`], [`Event`], [`Usage`]) is both the input
//! contract and the canonical event, and borrows from the payload it was read from.
//!
//! Deliberately absent: I/O, clocks, async, NATS. A caller hands in bytes and times, and gets values back.

mod choice;
mod contract;
mod decode;
mod event;
mod item;
mod json_schema;
mod kind;
mod lines;
mod metric;
mod model_index;
mod money;
mod origins;
mod provider;
mod rejection;
mod text;
mod time;
mod usage;

pub mod alert;
pub mod archive;
pub mod dead;
pub mod headers;
pub mod ledger;
pub mod limits;
pub mod live;
pub mod overview;
pub mod price;
pub mod problems;
pub mod query;
pub mod rollup;
pub mod route;
pub mod subjects;

pub use decode::{Decoded, Incoming, decode};
pub use event::Event;
pub use item::Item;
pub use json_schema::json_schema;
pub use kind::Kind;
pub use lines::{LineError, read_lines};
pub use metric::{Metric, MetricType};
pub use model_index::{ModelIndex, same_provider};
pub use money::{Money, MoneyError};
pub use origins::{Origins, OriginsError};
pub use problems::{Problem, Problems};
pub use rejection::{Reason, Rejection};
pub use text::Text;
pub use time::{Time, TimeError};
pub use usage::{CallStatus, TaskComplexity, Usage};
