//! The regions of the page `GET /pipeline`: how messages get from stream to stream, and where they are stuck.

mod books;
mod dead;
mod storage;
mod streams;
mod workers;

pub(crate) use books::Books;
pub(crate) use dead::{Dead, Samples};
pub(crate) use storage::Storage;
pub(crate) use streams::Streams;
pub(crate) use workers::Workers;

/// Stands where figures will be once a feed has answered; and how to start one.
const UNANSWERED: &str = "No live numbers yet. If they do not come, start the worker that gathers them:";

#[cfg(test)]
mod tests;
