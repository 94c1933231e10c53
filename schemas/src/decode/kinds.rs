//! What is particular to each kind: its fields, limits and defaults.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::check::{check_count, check_duration, check_name, check_text};
use super::{diagnose, raw};
use crate::contract::Contract;
use crate::provider;
use crate::rejection::{Reason, Rejection};
use crate::{CallStatus, Event, Item, Metric, MetricType, Money, TaskComplexity, Text, Usage, limits};

mod work;

/// What a field's value looks like in JSON.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Text,
    Number,
    Count,
    Money,
    Time,
    Version,
    Choice(&'static [&'static str]),
    /// Objects and values that are kept as they are; checked by [`raw`].
    Raw,
    /// Written by aiai, not accepted.
    Output,
}

/// A field of a kind, for [`super::diagnose`].
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        shape,
        required: true,
    }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        shape,
        required: false,
    }
}

const COMMON: &[Field] = &[
    optional("timestamp", Shape::Time),
    optional("source", Shape::Text),
    optional("tags", Shape::Raw),
    optional("session", Shape::Text),
    optional("work_item", Shape::Text),
    optional("trace_id", Shape::Text),
    optional("v", Shape::Version),
    optional("o", Shape::Output),
    optional("i", Shape::Output),
    optional("tenant", Shape::Output),
];

/// A kind's struct, as `decode` needs it.
pub(super) trait Checked<'a>: Contract<'a> + Deserialize<'a> + Into<Item<'a>> {
    /// The kind's own fields; [`Self::fields`] has the shared ones, too.
    const OWN: &'static [Field];

    /// Checks the kind's own fields and fills in their defaults.
    fn check_own(&mut self) -> Result<(), Rejection>;

    fn fields() -> impl Iterator<Item = &'static Field> + Clone {
        let is_own = |name: &str| Self::OWN.iter().any(|own| own.name == name);
        let common = COMMON.iter().filter(move |field| !is_own(field.name));
        Self::OWN.iter().chain(common)
    }
}

impl<'a> Checked<'a> for Metric<'a> {
    const OWN: &'static [Field] = &[
        required("name", Shape::Text),
        required("value", Shape::Number),
        optional("metric_type", Shape::Choice(MetricType::NAMES)),
        optional("distribution", Shape::Raw),
    ];

    fn check_own(&mut self) -> Result<(), Rejection> {
        check_name("name", &self.name, limits::NAME_BYTES)?;
        if let Some(distribution) = self.distribution {
            self.value = check_distribution(distribution, self.metric_type)?;
        } else if self.value.is_nan() {
            return Err(diagnose::missing(&Self::OWN[1]));
        }
        self.metric_type.get_or_insert(MetricType::Gauge);
        Ok(())
    }
}

impl<'a> Checked<'a> for Event<'a> {
    const OWN: &'static [Field] = &[required("name", Shape::Text), optional("data", Shape::Raw)];

    fn check_own(&mut self) -> Result<(), Rejection> {
        check_name("name", &self.name, limits::NAME_BYTES)?;
        self.data.map_or(Ok(()), raw::check_data)
    }
}

impl<'a> Checked<'a> for Usage<'a> {
    const OWN: &'static [Field] = &[
        required("model", Shape::Text),
        optional("provider", Shape::Text),
        optional("tokens_in", Shape::Count),
        optional("tokens_out", Shape::Count),
        optional("tokens_cache_read", Shape::Count),
        optional("tokens_cache_write", Shape::Count),
        optional("tokens_cache_write_1h", Shape::Count),
        optional("tokens_reasoning", Shape::Count),
        optional("service_tier", Shape::Text),
        optional("usage", Shape::Raw),
        optional("cost_usd", Shape::Money),
        optional("cost_source", Shape::Output),
        optional("latency_ms", Shape::Number),
        optional("ttft_ms", Shape::Number),
        optional("task_complexity", Shape::Choice(TaskComplexity::NAMES)),
        optional("status", Shape::Choice(CallStatus::NAMES)),
        optional("error", Shape::Text),
        optional("reservation", Shape::Text),
    ];

    fn check_own(&mut self) -> Result<(), Rejection> {
        check_name("model", &self.model, limits::TEXT_BYTES)?;
        check_text("provider", self.provider.as_ref(), limits::TEXT_BYTES)?;
        check_text("service_tier", self.service_tier.as_ref(), limits::TEXT_BYTES)?;
        check_text("reservation", self.reservation.as_ref(), limits::TEXT_BYTES)?;
        check_text("error", self.error.as_ref(), limits::ERROR_BYTES)?;
        if let Some(raw) = self.usage.take() {
            provider::merge(self, raw)?;
        }
        check_tokens(self)?;
        check_duration("latency_ms", self.latency_ms)?;
        check_duration("ttft_ms", self.ttft_ms)?;
        self.cost_usd.map_or(Ok(()), check_cost)?;
        if self.cost_source.is_some() {
            return Err(output_only("cost_source"));
        }
        let source = if self.cost_usd.is_some() {
            "provider"
        } else {
            "unpriced"
        };
        self.cost_source = Some(Text(Cow::Borrowed(source)));
        self.status.get_or_insert(CallStatus::Ok);
        Ok(())
    }
}

pub(super) fn output_only(place: &str) -> Rejection {
    Rejection::new(Reason::OutputOnlyField, place, "is written by aiai", "remove it")
}

/// The mean of a distribution that is as it should be.
fn check_distribution(raw: &RawValue, metric_type: Option<MetricType>) -> Result<f64, Rejection> {
    if !matches!(metric_type, Some(MetricType::Histogram | MetricType::Cumulative)) {
        let named = metric_type.unwrap_or(MetricType::Gauge).as_str();
        let problem = format!("is {named}, which has no distribution");
        let fix =
            "send \"histogram\" if it holds what came since the last one, \"cumulative\" if it holds all";
        return Err(Rejection::new(Reason::Inconsistent, "metric_type", problem, fix));
    }
    raw::check_distribution(raw).map(|distribution| distribution.mean())
}

fn check_tokens(usage: &Usage<'_>) -> Result<(), Rejection> {
    check_count("tokens_in", usage.tokens_in)?;
    check_count("tokens_out", usage.tokens_out)?;
    check_count("tokens_cache_read", usage.tokens_cache_read)?;
    check_count("tokens_cache_write", usage.tokens_cache_write)?;
    check_count("tokens_reasoning", usage.tokens_reasoning)?;
    check_count("tokens_cache_write_1h", usage.tokens_cache_write_1h)?;
    let hour = usage.tokens_cache_write_1h.unwrap_or(0);
    if hour > usage.tokens_cache_write.unwrap_or(0) {
        let problem = format!("is {hour}, more than tokens_cache_write");
        let fix = "counts are inclusive: send tokens_cache_write with these added";
        return Err(Rejection::new(
            Reason::Inconsistent,
            "tokens_cache_write_1h",
            problem,
            fix,
        ));
    }
    let cached = usage.tokens_cache_read.unwrap_or(0) + usage.tokens_cache_write.unwrap_or(0);
    if let Some(tokens) = usage.tokens_in.filter(|tokens| cached > *tokens) {
        let problem = format!("is {tokens}, less than tokens_cache_read + tokens_cache_write = {cached}");
        let fix = "counts are inclusive: send tokens_in with cache reads and writes added";
        return Err(Rejection::new(Reason::Inconsistent, "tokens_in", problem, fix));
    }
    let reasoning = usage.tokens_reasoning.unwrap_or(0);
    if let Some(tokens) = usage.tokens_out.filter(|tokens| reasoning > *tokens) {
        let problem = format!("is {tokens}, less than tokens_reasoning = {reasoning}");
        let fix = "counts are inclusive: send tokens_out with reasoning tokens added";
        return Err(Rejection::new(Reason::Inconsistent, "tokens_out", problem, fix));
    }
    Ok(())
}

fn check_cost(cost: Money) -> Result<(), Rejection> {
    if (0..=limits::COST_USD * Money::NANOS_PER_DOLLAR).contains(&cost.0) {
        return Ok(());
    }
    let problem = format!("is {cost}, not from 0 to {}", limits::COST_USD);
    Err(Rejection::new(
        Reason::OutOfRange,
        "cost_usd",
        problem,
        "send what this call cost in US dollars",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Kind, json_schema, with_kind};

    #[test]
    fn fields_are_those_of_the_structs() {
        for kind in Kind::ALL {
            with_kind!(kind, T => check(kind, T::fields()));
        }
    }

    fn check(kind: Kind, fields: impl Iterator<Item = &'static Field> + Clone) {
        let schema = json_schema(kind);
        let input = fields
            .clone()
            .filter(|field| !matches!(field.shape, Shape::Output));
        let properties = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str);
        assert_eq!(
            input.map(|field| field.name).collect::<BTreeSet<_>>(),
            properties.collect(),
            "{kind}"
        );
        let required = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap());
        // A distribution stands for the value; the schema says so elsewhere.
        let is_stated = |field: &&Field| field.required && (kind, field.name) != (Kind::Metric, "value");
        let wanted = fields.filter(is_stated).map(|field| field.name);
        assert_eq!(wanted.collect::<BTreeSet<_>>(), required.collect(), "{kind}");
    }
}
