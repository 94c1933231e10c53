//! Geometry of the stacked bars: pure arithmetic from counts to SVG path data.
//!
//! A bucket is a slot [`SLOT`] wide; the drawing is stretched to its place, so units are relative.
//! A bucket without events draws nothing (a gap is a gap); one with any event is at least [`BAR_MIN`] high,
//! so that a huge spike hides nobody. The last bucket is still open and is drawn apart.

use std::fmt::Write;

/// Height of the drawing.
pub(crate) const HEIGHT: f64 = 200.0;
/// Width of one bucket.
pub(crate) const SLOT: f64 = 10.0;
const BAR: f64 = 7.6;
const BAR_MIN: f64 = 2.0;

/// The drawing of several series stacked on each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stack {
    /// Width of the drawing: buckets times [`SLOT`].
    pub(crate) width: f64,
    /// Events in the fullest bucket.
    pub(crate) peak: f64,
    /// Events in one bucket at the top of the drawing.
    pub(crate) ceiling: f64,
    /// One shape a series, in the order given, the first at the bottom.
    pub(crate) shapes: Vec<Shape>,
}

/// SVG path data of one series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bars of the closed buckets; empty when there is none.
    pub(crate) closed: String,
    /// The bar of the open bucket; empty when there is none.
    pub(crate) open: String,
}

/// Stacks series of counts, oldest bucket first. Series of different lengths are aligned at their newest bucket.
/// `step` is the unit in which the ceiling is a round number: events in a bucket that make one a second.
pub(crate) fn stack(series: &[&[u64]], step: f64) -> Stack {
    let buckets = series.iter().map(|events| events.len()).max().unwrap_or(0);
    let value = |events: &[u64], bucket: usize| {
        (bucket + events.len())
            .checked_sub(buckets)
            .map_or(0.0, |index| events[index] as f64)
    };
    let total = |bucket: usize| series.iter().map(|events| value(events, bucket)).sum::<f64>();
    let peak = (0..buckets).map(total).fold(0.0, f64::max);
    let ceiling = round_up(peak / step) * step;

    let mut shapes = vec![Shape::default(); series.len()];
    for bucket in 0..buckets {
        let events = total(bucket);
        if events == 0.0 {
            continue;
        }
        let height = (events / ceiling * HEIGHT).max(BAR_MIN);
        let x = bucket as f64 * SLOT + (SLOT - BAR) / 2.0;
        let mut floor = HEIGHT;
        for (shape, counts) in shapes.iter_mut().zip(series) {
            let part = value(counts, bucket) / events * height;
            if part > 0.0 {
                let path = if bucket + 1 == buckets {
                    &mut shape.open
                } else {
                    &mut shape.closed
                };
                floor -= part;
                // Writing to a String cannot fail.
                let _ = write!(path, "M{x:.1} {floor:.2}h{BAR}v{part:.2}h-{BAR}z");
            }
        }
    }
    Stack {
        width: buckets as f64 * SLOT,
        peak,
        ceiling,
        shapes,
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `value`; 1 when there is nothing.
pub(crate) fn round_up(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|round| *round >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// (x, top, height) of every bar.
    fn bars(path: &str) -> Vec<(f64, f64, f64)> {
        let bar = |text: &str| {
            let (start, rest) = text.split_once('h')?;
            let (x, y) = start.split_once(' ')?;
            let height = rest.split_once('v')?.1.split_once('h')?.0;
            Some((x.parse().ok()?, y.parse().ok()?, height.parse().ok()?))
        };
        path.split('M').skip(1).map(|text| bar(text).unwrap()).collect()
    }

    #[test]
    fn a_bucket_without_events_draws_nothing() {
        let stack = stack(&[&[4, 0, 4, 0]], 10.0);
        assert_eq!(bars(&stack.shapes[0].closed).len(), 2);
        assert_eq!(stack.shapes[0].open, "");
    }

    #[test]
    fn nothing_at_all_is_an_empty_drawing() {
        assert_eq!(
            stack(&[], 10.0),
            Stack {
                width: 0.0,
                peak: 0.0,
                ceiling: 10.0,
                shapes: vec![]
            }
        );
        assert_eq!(stack(&[&[0, 0]], 10.0).shapes, [Shape::default()]);
    }

    #[test]
    fn a_huge_spike_hides_nobody() {
        let stack = stack(&[&[1, u64::MAX, 1, 0]], 10.0);
        let heights: Vec<f64> = bars(&stack.shapes[0].closed).iter().map(|bar| bar.2).collect();
        assert_eq!(heights[0], BAR_MIN);
        assert!(heights[1] > HEIGHT / 3.0 && heights[1] <= HEIGHT);
    }

    #[test]
    fn the_last_bucket_is_open_and_series_stand_on_each_other() {
        let stack = stack(&[&[2, 6], &[2, 2]], 1.0);
        let (below, above) = (bars(&stack.shapes[0].open), bars(&stack.shapes[1].open));
        assert_eq!(below, [(11.2, 80.0, 120.0)]);
        assert_eq!(above, [(11.2, 40.0, 40.0)]);
    }

    #[test]
    fn series_of_different_lengths_end_together() {
        let stack = stack(&[&[1, 1, 1], &[1]], 1.0);
        assert_eq!(stack.shapes[1].closed, "");
        assert_eq!(bars(&stack.shapes[1].open).len(), 1);
    }

    #[test]
    fn ceilings_are_round() {
        for (value, ceiling) in [
            (0.0, 1.0),
            (f64::NAN, 1.0),
            (0.3, 0.5),
            (1.0, 1.0),
            (1.1, 2.0),
            (4.0, 5.0),
            (501.0, 1000.0),
        ] {
            assert!((round_up(value) - ceiling).abs() < 1e-9 * ceiling, "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_bar_is_inside_the_drawing(series in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..100), 0..5)) {
            let borrowed: Vec<&[u64]> = series.iter().map(Vec::as_slice).collect();
            let stack = stack(&borrowed, 10.0);
            for shape in &stack.shapes {
                for (x, top, height) in bars(&shape.closed).into_iter().chain(bars(&shape.open)) {
                    prop_assert!(x >= 0.0 && x + BAR <= stack.width);
                    prop_assert!(top >= -0.01 && height >= 0.0 && top + height <= HEIGHT + 0.01);
                }
            }
        }

        #[test]
        fn a_ceiling_covers_its_value(value in 1e-6f64..1e18) {
            let ceiling = round_up(value);
            prop_assert!(ceiling >= value && ceiling <= value * 2.6);
        }
    }
}
