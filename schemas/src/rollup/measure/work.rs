//! What steps, messages, sessions and tasks measure: how many there were, and of steps how many failed and how long they
//! took.

use std::collections::BTreeMap;

use super::{Measured, Series, canonical};
use crate::rollup::{At, Value};
use crate::{Message, Session, SessionState, Step, StepStatus, WorkItem, WorkItemState};

/// Tags that are there, and the names of what is measured.
fn series<const N: usize>(names: &[&str], tags: [(&str, Option<&str>); N]) -> Series {
    let present = tags
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    let tags: BTreeMap<String, String> = present.collect();
    Series {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        tags: canonical(&tags),
    }
}

impl Measured for Step<'_> {
    type Shape<'r>
        = (&'r str, Option<&'r str>, Option<StepStatus>)
    where
        Self: 'r;

    fn shape(&self) -> Self::Shape<'_> {
        (&self.name, self.operation.as_deref(), self.status)
    }

    fn series(&self) -> Series {
        let tags = [
            ("operation", self.operation.as_deref()),
            ("name", Some(&*self.name)),
            ("status", Some(self.status.unwrap_or(StepStatus::Ok).as_str())),
        ];
        series(&["step.count", "step.errors", "step.duration_ms"], tags)
    }

    fn measure(&self, mut emit: impl FnMut(usize, Value<'_>)) {
        emit(0, Value::Whole(1));
        if self.status == Some(StepStatus::Error) {
            emit(1, Value::Whole(1));
        }
        if let Some(duration) = self.duration_ms() {
            emit(2, Value::Spread(duration));
        }
    }

    identity!();
}

impl Measured for Message<'_> {
    type Shape<'r>
        = Option<&'r str>
    where
        Self: 'r;

    fn shape(&self) -> Self::Shape<'_> {
        self.channel.as_deref()
    }

    fn series(&self) -> Series {
        series(&["message.count"], [("channel", self.channel.as_deref())])
    }

    fn measure(&self, mut emit: impl FnMut(usize, Value<'_>)) {
        emit(0, Value::Whole(1));
    }

    identity!();
}

impl Measured for Session<'_> {
    type Shape<'r>
        = SessionState
    where
        Self: 'r;

    fn shape(&self) -> SessionState {
        self.state
    }

    fn series(&self) -> Series {
        series(&["session.count"], [("state", Some(self.state.as_str()))])
    }

    fn measure(&self, mut emit: impl FnMut(usize, Value<'_>)) {
        emit(0, Value::Whole(1));
    }

    identity!();
}

impl Measured for WorkItem<'_> {
    type Shape<'r>
        = (WorkItemState, Option<&'r str>)
    where
        Self: 'r;

    fn shape(&self) -> Self::Shape<'_> {
        (self.state, self.project.as_deref())
    }

    fn series(&self) -> Series {
        let tags = [
            ("state", Some(self.state.as_str())),
            ("project", self.project.as_deref()),
        ];
        series(&["work_item.count"], tags)
    }

    fn measure(&self, mut emit: impl FnMut(usize, Value<'_>)) {
        emit(0, Value::Whole(1));
    }

    identity!();
}
