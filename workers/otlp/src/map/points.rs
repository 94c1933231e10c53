//! Data points as metrics: name, value, tags, and what a histogram observed.

use std::fmt::Display;
use std::ops::RangeInclusive;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint,
};
use schemas::{Time, limits};

use super::facts::text_named;
use super::tags::Tags;
use super::write::{Object, number};
use super::{AHEAD, Kind, Mapped, SET_CLOCK, time, too_far_ahead};

/// Scales that the contract accepts.
const SCALES: RangeInclusive<i32> = -10..=20;
const NOT_ADDED_UP: (&str, &str) = (
    "its buckets do not add up to its count",
    "send the count of all observations",
);

/// Who sent the points.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    pub(super) source: &'a str,
    /// Which copy of it.
    pub(super) instance: Option<&'a str>,
    pub(super) now: Time,
}

/// One data point.
#[derive(Debug)]
pub(super) struct Point<'a> {
    pub(super) name: &'a str,
    /// Follows the name.
    pub(super) suffix: &'static str,
    /// As the contract names it.
    pub(super) kind: &'static str,
    pub(super) value: f64,
    pub(super) at: Option<Time>,
    pub(super) flags: u32,
    pub(super) attributes: &'a [KeyValue],
    pub(super) quantile: Option<f64>,
}

/// Writes a point, unless it has no value that can be stored; `more` adds to it.
pub(super) fn write<'a>(
    point: &Point<'a>,
    sender: &Sender<'a>,
    mapped: &mut Mapped,
    more: impl FnOnce(&mut Object<'_>),
) {
    if point.flags & DataPointFlags::NoRecordedValueMask as u32 != 0 {
        mapped.without_value += 1;
        return;
    }
    let fault = if point.name.trim().is_empty() {
        Some(("the metric has no name", "name it"))
    } else if !point.value.is_finite() {
        Some((
            "it has no value that is a finite number",
            "leave the point out, or flag it as having no value",
        ))
    } else if too_far_ahead(point.at, sender.now) {
        Some((AHEAD, SET_CLOCK))
    } else {
        None
    };
    if let Some((problem, fix)) = fault {
        mapped.reject("data point of metric", point.name, problem, fix);
        return;
    }
    let Mapped { batch, cuts, .. } = mapped;
    let mut tags = Tags::default();
    if let Some(quantile) = point.quantile {
        tags.add("quantile", quantile.to_string().into(), cuts);
    }
    if point.kind == "cumulative" {
        tags.add_if("service.instance.id", sender.instance, cuts);
    }
    tags.add_all(point.attributes, cuts);
    let session = text_named(point.attributes, "gen_ai.conversation.id");
    let session = session.or_else(|| text_named(point.attributes, "session.id"));
    batch.item(Kind::Metric, |item| {
        item.time("timestamp", point.at);
        item.text_if("source", Some(sender.source), limits::TEXT_BYTES, cuts);
        if point.suffix.is_empty() {
            item.text("name", point.name, limits::NAME_BYTES, cuts);
        } else {
            item.text(
                "name",
                &format!("{}{}", point.name, point.suffix),
                limits::NAME_BYTES,
                cuts,
            );
        }
        item.number("value", point.value);
        item.plain("metric_type", point.kind);
        more(item);
        if !tags.is_empty() {
            tags.write(item.member("tags"), cuts);
        }
        item.text_if("session", session, limits::TEXT_BYTES, cuts);
    });
}

/// A histogram with explicit bounds.
pub(super) fn explicit<'a>(
    name: &'a str,
    point: &'a HistogramDataPoint,
    kind: &'static str,
    sender: &Sender<'a>,
    mapped: &mut Mapped,
) {
    let mut json = Vec::new();
    let mut object = Object::begin(&mut json);
    totals(&mut object, point.count, point.sum, point.min, point.max);
    array(object.member("bounds"), &point.explicit_bounds, number_of);
    if point.bucket_counts.is_empty() && point.explicit_bounds.is_empty() {
        array(object.member("counts"), &[point.count], show);
    } else {
        array(object.member("counts"), &point.bucket_counts, show);
    }
    object.end();
    let without_buckets = point.bucket_counts.is_empty() && point.explicit_bounds.is_empty();
    let bounds = &point.explicit_bounds;
    let fault = if !without_buckets && point.bucket_counts.len() != bounds.len() + 1 {
        Some((
            "it has not one bucket more than bounds",
            "send a count for every bucket",
        ))
    } else if !bounds.iter().all(|bound| bound.is_finite()) || !bounds.is_sorted_by(|one, next| one < next) {
        Some(("its bounds do not rise", "send finite bounds in rising order"))
    } else if !without_buckets && !adds_up(point.count, &[&point.bucket_counts], 0) {
        Some(NOT_ADDED_UP)
    } else {
        fault_of_totals(point.count, point.min, point.max)
    };
    let point = Point {
        name,
        suffix: "",
        kind,
        value: mean(point.sum, point.count),
        at: time(point.time_unix_nano),
        flags: point.flags,
        attributes: &point.attributes,
        quantile: None,
    };
    distribution(&point, &json, fault, sender, mapped);
}

/// A histogram whose bounds are powers of a base.
pub(super) fn exponential<'a>(
    name: &'a str,
    point: &'a ExponentialHistogramDataPoint,
    kind: &'static str,
    sender: &Sender<'a>,
    mapped: &mut Mapped,
) {
    let mut json = Vec::new();
    let mut object = Object::begin(&mut json);
    totals(&mut object, point.count, point.sum, point.min, point.max);
    object.raw("scale", point.scale);
    object.raw("zero_count", point.zero_count);
    for (side, buckets) in [("positive", &point.positive), ("negative", &point.negative)] {
        if let Some(buckets) = buckets
            .as_ref()
            .filter(|buckets| !buckets.bucket_counts.is_empty())
        {
            let mut inner = Object::begin(object.member(side));
            inner.raw("offset", buckets.offset);
            array(inner.member("counts"), &buckets.bucket_counts, show);
            inner.end();
        }
    }
    object.end();
    let counts =
        |buckets: &'a Option<Buckets>| buckets.as_ref().map_or(&[][..], |found| &found.bucket_counts);
    let sides = [counts(&point.positive), counts(&point.negative)];
    let adds_up = adds_up(point.count, &sides, point.zero_count);
    let fault = if !SCALES.contains(&point.scale) {
        Some(("its scale is not from -10 to 20", "merge buckets until it fits"))
    } else if adds_up {
        None
    } else {
        Some(NOT_ADDED_UP)
    };
    let fault = fault.or_else(|| fault_of_totals(point.count, point.min, point.max));
    let point = Point {
        name,
        suffix: "",
        kind,
        value: mean(point.sum, point.count),
        at: time(point.time_unix_nano),
        flags: point.flags,
        attributes: &point.attributes,
        quantile: None,
    };
    distribution(&point, &json, fault, sender, mapped);
}

fn distribution<'a>(
    point: &Point<'a>,
    json: &[u8],
    fault: Option<(&str, &str)>,
    sender: &Sender<'a>,
    mapped: &mut Mapped,
) {
    let has_value = point.flags & DataPointFlags::NoRecordedValueMask as u32 == 0;
    let too_large = json.len() > limits::DISTRIBUTION_BYTES;
    let large = too_large.then_some(("it has too many buckets", "send fewer"));
    match fault.or(large).filter(|_| has_value) {
        Some((problem, fix)) => mapped.reject("data point of metric", point.name, problem, fix),
        None => write(point, sender, mapped, |item| {
            item.member("distribution").extend_from_slice(json);
        }),
    }
}

/// What no distribution may have, whatever its buckets.
fn fault_of_totals(count: u64, min: Option<f64>, max: Option<f64>) -> Option<(&'static str, &'static str)> {
    if count > limits::TOKENS {
        return Some(("its count is out of range", "send fewer observations at once"));
    }
    let crossed = min.zip(max).is_some_and(|(min, max)| min > max);
    crossed.then_some(("its min is more than its max", "exchange them"))
}

fn totals(object: &mut Object<'_>, count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) {
    object.raw("count", count);
    for (name, value) in [("sum", sum), ("min", min), ("max", max)] {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            object.number(name, value);
        }
    }
}

fn adds_up(count: u64, sides: &[&[u64]], zero: u64) -> bool {
    let mut all = sides.iter().flat_map(|side| side.iter()).copied();
    all.try_fold(zero, u64::checked_add) == Some(count)
}

/// The mean, which stands for the whole where only one number is looked at.
fn mean(sum: Option<f64>, count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a mean is a double")]
    let count = count as f64;
    sum.filter(|_| count > 0.0).map_or(0.0, |sum| sum / count)
}

fn array<T>(out: &mut Vec<u8>, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, value);
    }
    out.push(b']');
}

fn show(out: &mut Vec<u8>, value: &impl Display) {
    super::write::show(out, value);
}

fn number_of(out: &mut Vec<u8>, value: &f64) {
    number(out, *value);
}
