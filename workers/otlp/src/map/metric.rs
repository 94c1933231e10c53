//! Metrics: each data point is one metric, a histogram's with its whole distribution.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use schemas::Time;

use super::claude::{self, Sessions};
use super::facts::text_named;
use super::origin::Origin;
use super::points::{self, Point, Sender};
use super::{Mapped, time};

/// Maps a request.
pub fn metrics(request: &ExportMetricsServiceRequest, now: Time) -> Mapped {
    let mut mapped = Mapped::default();
    let mut sessions = Sessions::default();
    for resource in &request.resource_metrics {
        let origin = Origin::of(resource.resource.as_ref(), &mut mapped.cuts);
        let sender = Sender {
            source: origin.service.unwrap_or_default(),
            instance: instance(resource.resource.as_ref()),
            now,
        };
        let scopes = resource.scope_metrics.iter();
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            one(metric, &sender, &mut mapped);
            if claude::is_metric(&metric.name) {
                see_sessions(metric, &sender, &mut sessions);
            }
        }
    }
    sessions.write(&mut mapped);
    mapped
}

/// Which copy of a service it is: running totals of two copies must not be taken for those of one.
fn instance(resource: Option<&Resource>) -> Option<&str> {
    text_named(&resource?.attributes, "service.instance.id")
}

fn one<'a>(metric: &'a Metric, sender: &Sender<'a>, mapped: &mut Mapped) {
    let delta = |temporality| temporality == AggregationTemporality::Delta as i32;
    match &metric.data {
        None => mapped.reject(
            "metric",
            &metric.name,
            "has no data of a kind that is known",
            "send it as gauge, sum, histogram, exponential histogram or summary",
        ),
        Some(Data::Gauge(gauge)) => {
            for point in &gauge.data_points {
                number(metric, point, "gauge", sender, mapped);
            }
        }
        Some(Data::Sum(sum)) => {
            let kind = match (delta(sum.aggregation_temporality), sum.is_monotonic) {
                (true, _) => "counter",
                (false, true) => "cumulative",
                (false, false) => "gauge",
            };
            for point in &sum.data_points {
                number(metric, point, kind, sender, mapped);
            }
        }
        Some(Data::Histogram(histogram)) => {
            let kind = distribution_kind(delta(histogram.aggregation_temporality));
            for point in &histogram.data_points {
                points::explicit(&metric.name, point, kind, sender, mapped);
            }
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            let kind = distribution_kind(delta(histogram.aggregation_temporality));
            for point in &histogram.data_points {
                points::exponential(&metric.name, point, kind, sender, mapped);
            }
        }
        Some(Data::Summary(summary)) => {
            for point in &summary.data_points {
                self::summary(metric, point, sender, mapped);
            }
        }
    }
}

fn distribution_kind(delta: bool) -> &'static str {
    if delta { "histogram" } else { "cumulative" }
}

fn number<'a>(
    metric: &'a Metric,
    point: &'a NumberDataPoint,
    kind: &'static str,
    sender: &Sender<'a>,
    mapped: &mut Mapped,
) {
    let value = match point.value {
        Some(Value::AsDouble(value)) => value,
        #[allow(clippy::cast_precision_loss, reason = "values of metrics are doubles")]
        Some(Value::AsInt(value)) => value as f64,
        // Flagged as having none, or not to be read: told apart where it is written.
        None => f64::NAN,
    };
    let point = Point {
        name: &metric.name,
        suffix: "",
        kind,
        value,
        at: time(point.time_unix_nano),
        flags: point.flags,
        attributes: &point.attributes,
        quantile: None,
    };
    points::write(&point, sender, mapped, |_| {});
}

/// A summary: its quantiles as gauges, its count and sum as running totals.
fn summary<'a>(metric: &'a Metric, summary: &'a SummaryDataPoint, sender: &Sender<'a>, mapped: &mut Mapped) {
    let point = |suffix, kind, value, quantile| Point {
        name: &metric.name,
        suffix,
        kind,
        value,
        at: time(summary.time_unix_nano),
        flags: summary.flags,
        attributes: &summary.attributes,
        quantile,
    };
    for quantile in &summary.quantile_values {
        let point = point("", "gauge", quantile.value, Some(quantile.quantile));
        points::write(&point, sender, mapped, |_| {});
    }
    #[allow(clippy::cast_precision_loss, reason = "values of metrics are doubles")]
    let totals = [(".count", summary.count as f64), (".sum", summary.sum)];
    for (suffix, value) in totals {
        points::write(&point(suffix, "cumulative", value, None), sender, mapped, |_| {});
    }
}

/// Claude Code's metrics name the session they are of.
fn see_sessions<'a>(metric: &'a Metric, sender: &Sender<'a>, sessions: &mut Sessions<'a>) {
    let Some(Data::Sum(sum)) = &metric.data else {
        return;
    };
    for point in &sum.data_points {
        let id = text_named(&point.attributes, "session.id");
        sessions.see(id, sender.source, time(point.time_unix_nano), &point.attributes);
        if metric.name == "claude_code.session.count" {
            sessions.start(id);
        }
    }
}
