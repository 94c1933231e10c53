//! Figures a worker computes now and then, for `/metrics`: never shown once they are old.

use std::fmt::Write;
use std::time::{Duration, Instant};

/// One figure with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauge {
    /// As Prometheus names it.
    pub name: &'static str,
    /// What it is, in one line.
    pub help: &'static str,
    /// Labels and value of each series.
    pub series: Vec<(Vec<(&'static str, String)>, u64)>,
}

/// Figures that are good for a while.
#[derive(Debug)]
pub(crate) struct Dated {
    pub(crate) gauges: Vec<Gauge>,
    pub(crate) until: Instant,
}

impl Dated {
    pub(crate) fn new(gauges: Vec<Gauge>, good_for: Duration) -> Self {
        let until = Instant::now() + good_for;
        Self { gauges, until }
    }

    pub(crate) fn is_good(&self) -> bool {
        Instant::now() <= self.until
    }
}

/// The Prometheus text format, version 0.0.4.
pub(crate) fn write(text: &mut String, gauge: &Gauge) {
    let Gauge { name, help, series } = gauge;
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    for (labels, value) in series {
        text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let opening = if at == 0 { '{' } else { ',' };
            let written = write!(text, "{opening}{label}=\"{}\"", escaped(value));
            debug_assert!(written.is_ok(), "a string takes everything");
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        text.push_str(&format!("{closing} {value}\n"));
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(series: Vec<(Vec<(&'static str, String)>, u64)>) -> Gauge {
        Gauge {
            name: "aiai_x",
            help: "What it is.",
            series,
        }
    }

    #[test]
    fn labels_are_quoted_and_a_figure_may_have_none() {
        let series = vec![
            (vec![], 3),
            (
                vec![("kind", "metric".to_owned()), ("epoch", "a\"\\\nb".to_owned())],
                4,
            ),
        ];
        let mut text = String::new();
        write(&mut text, &gauge(series));
        assert_eq!(
            text,
            "# HELP aiai_x What it is.\n# TYPE aiai_x gauge\naiai_x 3\naiai_x{kind=\"metric\",epoch=\"a\\\"\\\\\\nb\"} 4\n"
        );
    }

    #[test]
    fn figures_are_good_for_their_time_only() {
        assert!(Dated::new(vec![gauge(vec![])], Duration::from_secs(60)).is_good());
        let old = Dated {
            gauges: vec![],
            until: Instant::now() - Duration::from_millis(1),
        };
        assert!(!old.is_good());
    }
}
