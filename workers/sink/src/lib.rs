//! The only DuckDB writer; answers `query.*`.
//!
//! The synchronous core, free of NATS: [`Store`] writes, [`Reader`] answers SQL, [`Monitor`] answers the
//! overview. All of it blocks, so it belongs on threads of its own, never on the async runtime.

mod accounting;
mod accounts;
mod activity;
mod advisories;
mod alerts;
mod anchor;
mod answers;
mod appending;
mod archive;
mod archive_views;
mod attribution;
mod columns;
mod config;
mod corrections;
mod dead;
mod decode;
mod folder;
mod gate;
mod gathered;
mod guard;
mod incidents;
mod intact;
mod keeping;
mod kinds;
mod ledger;
mod live;
mod loading;
mod memory;
mod message;
mod migrate;
mod notes;
mod open;
mod origin_sets;
mod overview;
mod partials;
mod progress;
mod query;
mod ranges;
mod rate_window;
mod rerate;
mod reread;
mod restore;
mod resume;
mod retain;
mod rollup;
mod rollup_views;
mod row_json;
mod schema;
mod series;
mod store;
#[cfg(test)]
mod store_faults;
mod trim;
mod vitals;
mod watch;
mod watchdog;
mod worker;
mod writing;

pub use activity::Activity;
pub use config::{AlertConfig, Config, DATABASE_FILE, QueryConfig, RetainConfig, RollupConfig, TrimConfig};
pub use ledger::{Horizon, StreamFigures};
pub use message::{CommitError, Headers, Outcome, Rejected, Source, StoredMessage};
pub use open::Settings;
pub use overview::Monitor;
pub use query::{Column, Limits, Part, QueryError, QueryErrorKind, Reader, Summary, Truncation};
pub use ranges::RangeSet;
pub use retain::Keeper;
pub use store::Store;
pub use worker::Sink;
