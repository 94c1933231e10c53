//! The chart of the page: stacked bars, or lines where values cannot be added up; and the same as a table.

use std::fmt::Write;

use super::{
    report::Series,
    sql::Window,
    view::{Show, View},
};
use crate::{
    format::{Amount, count, day, dollars, duration, minute, tick},
    overview::{HEIGHT, SLOT, Shape, round_up, stack},
};

/// A drawing and its table.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) thirds: [f64; 2],
    pub(crate) ceiling: String,
    pub(crate) half: String,
    pub(crate) lines: bool,
    pub(crate) series: Vec<Drawn>,
    /// Times below the drawing: start, thirds, end.
    pub(crate) times: [String; 4],
    pub(crate) caption: String,
    /// Newest first.
    pub(crate) rows: Vec<Row>,
}

/// One series.
pub(crate) struct Drawn {
    pub(crate) class: String,
    pub(crate) name: String,
    pub(crate) shape: Shape,
}

/// One bar.
pub(crate) struct Row {
    pub(crate) from: String,
    pub(crate) open: bool,
    /// None: nothing was measured.
    pub(crate) total: Option<Amount>,
    pub(crate) cells: Vec<Option<Amount>>,
}

impl Chart {
    /// Draws the series of a view.
    pub(crate) fn new(view: &View, window: Window, series: &[Series]) -> Self {
        let lines = view.show == Show::Latency;
        let (shapes, ceiling) = if lines {
            draw_lines(series)
        } else {
            draw_bars(view.show, series)
        };
        let bars = usize::try_from(window.bars).unwrap_or(0);
        let width = bars as f64 * SLOT;
        let drawn = series
            .iter()
            .zip(shapes)
            .enumerate()
            .map(|(at, (series, shape))| Drawn {
                class: if series.others {
                    "series-others".to_owned()
                } else {
                    format!("series-{at}")
                },
                name: name(series),
                shape,
            });
        let time = |bar: usize| label(window, window.start + window.width * bar as i64);
        let row = |bar: usize| Row::new(view.show, window, series, bar);
        Self {
            title: view.show.title(),
            width,
            height: HEIGHT,
            thirds: [width / 3.0, width * 2.0 / 3.0],
            ceiling: axis(view.show, ceiling),
            half: axis(view.show, ceiling / 2.0),
            lines,
            series: drawn.collect(),
            times: [0, bars / 3, bars * 2 / 3, bars].map(time),
            caption: caption(window, lines),
            rows: (0..bars).rev().map(row).collect(),
        }
    }
}

impl Row {
    fn new(show: Show, window: Window, series: &[Series], bar: usize) -> Self {
        let start = window.start + window.width * bar as i64;
        let values = series
            .iter()
            .map(|series| series.values.get(bar).copied().flatten());
        let known: Vec<f64> = values.clone().flatten().collect();
        let total = (show != Show::Latency && !known.is_empty()).then(|| known.iter().sum());
        Self {
            from: label(window, start),
            open: bar + 1 == usize::try_from(window.bars).unwrap_or(0),
            total: total.map(|total| amount(show, total)),
            cells: values
                .map(|value| value.map(|value| amount(show, value)))
                .collect(),
        }
    }
}

fn name(series: &Series) -> String {
    match &series.name {
        _ if series.others => "others".to_owned(),
        Some(name) => name.clone(),
        None => "not given".to_owned(),
    }
}

/// Bars are drawn from whole numbers: money in thousand-millionths.
fn draw_bars(show: Show, series: &[Series]) -> (Vec<Shape>, f64) {
    let unit = if show == Show::Cost { 1e9 } else { 1.0 };
    let whole = |series: &Series| -> Vec<u64> {
        let values = series.values.iter();
        values
            .map(|value| (value.unwrap_or(0.0) * unit).round() as u64)
            .collect()
    };
    let values: Vec<Vec<u64>> = series.iter().map(whole).collect();
    let borrowed: Vec<&[u64]> = values.iter().map(Vec::as_slice).collect();
    let stack = stack(&borrowed, unit);
    (stack.shapes, stack.ceiling / unit)
}

/// A line a series, broken where nothing was measured; a lone value is a short dash.
fn draw_lines(series: &[Series]) -> (Vec<Shape>, f64) {
    let values = series.iter().flat_map(|series| series.values.iter().flatten());
    let ceiling = round_up(values.copied().fold(0.0, f64::max));
    let shape = |series: &Series| {
        let mut shape = Shape::default();
        let mut before = false;
        for (bar, value) in series.values.iter().enumerate() {
            let Some(value) = value else {
                before = false;
                continue;
            };
            let (x, y) = (bar as f64 * SLOT, HEIGHT - value / ceiling * HEIGHT);
            let pen = if before { 'L' } else { 'M' };
            // Writing to a String cannot fail.
            let _ = write!(
                shape.closed,
                "{pen}{:.1} {y:.1}H{:.1}",
                x + SLOT * 0.1,
                x + SLOT * 0.9
            );
            before = true;
        }
        shape
    };
    (series.iter().map(shape).collect(), ceiling)
}

fn amount(show: Show, value: f64) -> Amount {
    match show {
        Show::Cost => dollars(&format!("{value:.9}")),
        Show::Calls | Show::Errors | Show::Tokens => count(value.round() as u64),
        Show::Latency => duration(value),
    }
}

fn axis(show: Show, value: f64) -> String {
    match show {
        Show::Cost => format!("${}", tick(value)),
        Show::Calls | Show::Errors | Show::Tokens => tick(value),
        Show::Latency => duration(value).text,
    }
}

fn label(window: Window, seconds: i64) -> String {
    const DAY: i64 = 86_400;
    match window.width * window.bars {
        ..=3600 => minute(seconds * 1000),
        _ if window.width < DAY => day(seconds * 1000, true),
        _ => day(seconds * 1000, false),
    }
}

fn caption(window: Window, lines: bool) -> String {
    let width = match window.width {
        60 => "1 minute".to_owned(),
        3600 => "1 hour".to_owned(),
        86_400 => "1 day".to_owned(),
        width if width < 86_400 => format!("{} hours", width / 3600),
        width => format!("{} days", width / 86_400),
    };
    if lines {
        format!("A step is {width}, in UTC; a gap: no call. The last one is still open.")
    } else {
        format!("A bar is {width}, in UTC; a gap: no call. The outlined last bar is still open.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[Option<f64>]) -> Series {
        Series {
            name: Some("m".into()),
            others: false,
            values: values.to_vec(),
        }
    }

    #[test]
    fn a_gap_breaks_a_line_and_draws_no_bar() {
        let values = series(&[Some(10.0), Some(5.0), None, Some(10.0)]);
        let (lines, ceiling) = draw_lines(std::slice::from_ref(&values));
        assert_eq!(ceiling, 10.0);
        assert_eq!(lines[0].closed, "M1.0 0.0H9.0L11.0 100.0H19.0M31.0 0.0H39.0");
        let (bars, _) = draw_bars(Show::Calls, &[values]);
        assert_eq!(bars[0].closed.matches('M').count(), 2);
        assert_eq!(bars[0].open.matches('M').count(), 1);
    }

    #[test]
    fn the_table_has_a_row_for_each_bar_and_leaves_gaps_empty() {
        let window = Window {
            start: 0,
            width: 3600,
            bars: 3,
        };
        let view = View::default();
        let chart = Chart::new(&view, window, &[series(&[Some(0.5), None, Some(0.25)])]);
        assert_eq!(chart.rows.len(), 3);
        assert!(chart.rows[0].open && !chart.rows[1].open);
        assert!(chart.rows[1].total.is_none());
        assert_eq!(chart.rows[2].total.as_ref().unwrap().text, "$0.50");
        assert_eq!(chart.ceiling, "$0.5");
    }

    #[test]
    fn cents_are_drawn_to_scale() {
        let (_, ceiling) = draw_bars(Show::Cost, &[series(&[Some(0.000_3)])]);
        assert!((ceiling - 0.000_5).abs() < 1e-12);
    }
}
