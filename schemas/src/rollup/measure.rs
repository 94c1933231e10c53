//! What each kind of event measures.

use std::collections::BTreeMap;
use std::hash::Hash;

use serde_json::value::RawValue;

use super::{At, Value};
use crate::{CallStatus, Event, Metric, MetricType, TaskComplexity, Usage};

/// Names and tags of what a row measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Name of each measure, by the number [`Measured::measure`] emits.
    pub names: Vec<String>,
    /// Tags in canonical form: sorted, compact JSON.
    pub tags: String,
}

/// A row that measures something.
///
/// `Shape` is whatever decides the series, cheap to make and compare: it is made for every row,
/// [`Measured::series`] only once for each shape.
pub trait Measured {
    /// See the trait.
    type Shape<'r>: Hash + Eq
    where
        Self: 'r;

    /// What decides its series, apart from tenant and source.
    fn shape(&self) -> Self::Shape<'_>;
    /// Its series.
    fn series(&self) -> Series;
    /// Emits each measure's number and value.
    fn measure(&self, emit: impl FnMut(usize, Value<'_>));
    /// When and where it was sent.
    fn at(&self) -> At;
    /// Whose it is.
    fn tenant(&self) -> &str;
    /// Who sent it.
    fn source(&self) -> &str;
}

macro_rules! identity {
    () => {
        fn at(&self) -> At {
            At {
                time: self.timestamp.unwrap_or_default(),
                origin: self.origin.unwrap_or_default(),
                index: self.index.unwrap_or_default(),
            }
        }

        fn tenant(&self) -> &str {
            self.tenant
                .as_deref()
                .unwrap_or(crate::subjects::DEFAULT_TENANT)
        }

        fn source(&self) -> &str {
            self.source
                .as_deref()
                .unwrap_or(crate::subjects::UNKNOWN_SOURCE)
        }
    };
}

// Behind the macro, which it uses.
mod work;

fn raw(tags: Option<&RawValue>) -> &str {
    tags.map_or("", RawValue::get)
}

/// Reads tags; ingest let only objects of strings pass, anything else counts as none.
fn read(tags: Option<&RawValue>) -> BTreeMap<String, String> {
    tags.and_then(|tags| serde_json::from_str(tags.get()).ok())
        .unwrap_or_default()
}

fn canonical(tags: &BTreeMap<String, String>) -> String {
    // A map of strings can always be written.
    serde_json::to_string(tags).unwrap_or_default()
}

impl Measured for Metric<'_> {
    type Shape<'r>
        = (&'r str, &'r str)
    where
        Self: 'r;

    fn shape(&self) -> (&str, &str) {
        (&self.name, raw(self.tags))
    }

    fn series(&self) -> Series {
        Series {
            names: vec![self.name.to_string()],
            tags: canonical(&read(self.tags)),
        }
    }

    fn measure(&self, mut emit: impl FnMut(usize, Value<'_>)) {
        match (self.metric_type, self.distribution) {
            (Some(MetricType::Histogram), None) => emit(0, Value::Spread(self.value)),
            (Some(MetricType::Histogram), Some(_)) => {
                let distribution = self.read_distribution().filter(|found| found.count > 0);
                if let Some(distribution) = distribution {
                    emit(0, Value::Many(&distribution));
                }
            }
            // Of a running total every distribution holds those before it: counted, it would count twice.
            _ => emit(0, Value::Number(self.value)),
        }
    }

    identity!();
}

impl Measured for Event<'_> {
    type Shape<'r>
        = (&'r str, &'r str)
    where
        Self: 'r;

    fn shape(&self) -> (&str, &str) {
        (&self.name, raw(self.tags))
    }

    /// Its own tags, and its name as the tag `name`.
    fn series(&self) -> Series {
        let mut tags = read(self.tags);
        tags.insert("name".into(), self.name.to_string());
        Series {
            names: vec!["event.count".into()],
            tags: canonical(&tags),
        }
    }

    fn measure(&self, mut emit: impl FnMut(usize, Value<'_>)) {
        emit(0, Value::Whole(1));
    }

    identity!();
}

/// By number, as `measure` emits them.
const USAGE: [&str; 10] = [
    "usage.requests",
    "usage.errors",
    "usage.tokens_in",
    "usage.tokens_out",
    "usage.tokens_cache_read",
    "usage.tokens_cache_write",
    "usage.tokens_reasoning",
    "usage.cost_usd",
    "usage.latency_ms",
    "usage.ttft_ms",
];

impl Measured for Usage<'_> {
    type Shape<'r>
        = (
        &'r str,
        Option<&'r str>,
        &'r str,
        Option<TaskComplexity>,
        Option<CallStatus>,
    )
    where
        Self: 'r;

    fn shape(&self) -> Self::Shape<'_> {
        (
            &self.model,
            self.provider.as_deref(),
            raw(self.tags),
            self.task_complexity,
            self.status,
        )
    }

    /// Model, provider, complexity, status, and the agent: the tag `agent`, or who sent it. Its other tags stay
    /// with the raw rows.
    fn series(&self) -> Series {
        let agent = read(self.tags).remove("agent");
        let mut tags = BTreeMap::from([
            ("model".to_owned(), self.model.to_string()),
            (
                "agent".to_owned(),
                agent.unwrap_or_else(|| self.source().to_owned()),
            ),
            (
                "status".to_owned(),
                self.status.unwrap_or(CallStatus::Ok).as_str().to_owned(),
            ),
        ]);
        if let Some(provider) = &self.provider {
            tags.insert("provider".into(), provider.to_string());
        }
        if let Some(complexity) = self.task_complexity {
            tags.insert("task_complexity".into(), complexity.as_str().into());
        }
        Series {
            names: USAGE.map(str::to_owned).into(),
            tags: canonical(&tags),
        }
    }

    fn measure(&self, mut emit: impl FnMut(usize, Value<'_>)) {
        emit(0, Value::Whole(1));
        if self.status.is_some_and(|status| status != CallStatus::Ok) {
            emit(1, Value::Whole(1));
        }
        let tokens = [
            self.tokens_in,
            self.tokens_out,
            self.tokens_cache_read,
            self.tokens_cache_write,
            self.tokens_reasoning,
        ];
        for (number, count) in (2..).zip(tokens) {
            if let Some(count) = count {
                emit(number, Value::Whole(count));
            }
        }
        if let Some(cost) = self.cost_usd {
            emit(7, Value::Money(cost));
        }
        for (number, duration) in [(8, self.latency_ms), (9, self.ttft_ms)] {
            if let Some(duration) = duration {
                emit(number, Value::Spread(duration));
            }
        }
    }

    identity!();
}
