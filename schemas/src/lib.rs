//! The contracts of aiai: what agents may publish, what travels between workers, and the arithmetic on it.
//!
//! Invariants: everything here is a pure function of its arguments; nothing panics on any input; every
//! size is bounded by [`limits`]. One struct per kind ([`Metric`], [`Event`], …) is both the input
//! contract and the canonical event, and borrows from the payload it was read from.
//!
//! Deliberately absent: I/O, clocks, async, NATS. A caller hands in bytes and times, and gets values back.

mod async_api;
mod choice;
mod contract;
mod decode;
mod distribution;
mod event;
mod item;
mod json_schema;
mod kind;
mod lines;
mod message;
mod metric;
mod model_index;
mod money;
mod origins;
mod provider;
mod rejection;
mod session;
mod step;
mod text;
mod time;
mod usage;
mod work_item;

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
pub mod rerate;
pub mod rollup;
pub mod route;
pub mod subjects;

pub use async_api::async_api;
pub use decode::{CloudEvent, Decoded, Incoming, decode};
pub use distribution::{Buckets, Distribution};
pub use event::Event;
pub use item::Item;
pub use json_schema::json_schema;
pub use kind::Kind;
pub use lines::{LineError, read_lines};
pub use message::Message;
pub use metric::{Metric, MetricType};
pub use model_index::{ModelIndex, same_provider};
pub use money::{Money, MoneyError};
pub use origins::{Origins, OriginsError};
pub use problems::{Problem, Problems};
pub use rejection::{Reason, Rejection};
pub use session::{Session, SessionState};
pub use step::{Step, StepStatus};
pub use text::Text;
pub use time::{Time, TimeError};
pub use usage::{CallStatus, TaskComplexity, Usage};
pub use work_item::{WorkItem, WorkItemState};
