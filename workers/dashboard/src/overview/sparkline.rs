//! Geometry of a small line: pure arithmetic from percentages to SVG path data.
//!
//! The drawing has one unit of width a bucket and is 100 high, 0 % at the bottom. A missing value breaks the line.

use std::fmt::Write;

/// SVG path data of a series of percentages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sparkline {
    /// Width of the drawing: number of buckets.
    pub(crate) width: usize,
    /// The line; empty when no value is known.
    pub(crate) line: String,
    /// The area below the line.
    pub(crate) area: String,
}

/// Draws percentages, oldest first; `None` and what is not a number are gaps, the rest is held within 0 to 100.
pub(crate) fn sparkline(percentages: &[Option<f64>]) -> Sparkline {
    let mut drawing = Sparkline {
        width: percentages.len(),
        ..Sparkline::default()
    };
    let known = |value: &Option<f64>| value.filter(|value| value.is_finite());
    let mut start = 0;
    for run in percentages.chunk_by(|left, right| known(left).is_some() == known(right).is_some()) {
        let values: Vec<f64> = run
            .iter()
            .filter_map(known)
            .map(|value| 100.0 - value.clamp(0.0, 100.0))
            .collect();
        draw(&mut drawing, start, &values);
        start += run.len();
    }
    drawing
}

/// One unbroken run. It covers its buckets whole, so a single value is a short dash and not an invisible point.
fn draw(drawing: &mut Sparkline, start: usize, heights: &[f64]) {
    let (Some(first), Some(last)) = (heights.first(), heights.last()) else {
        return;
    };
    let end = start + heights.len();
    let mut run = format!("M{start} {first:.1}");
    for (place, height) in heights.iter().enumerate() {
        let _ = write!(run, "L{}.5 {height:.1}", start + place);
    }
    let _ = write!(run, "L{end} {last:.1}");
    let _ = write!(drawing.area, "{run}V100H{start}z");
    drawing.line.push_str(&run);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_breaks_the_line() {
        let drawing = sparkline(&[Some(0.0), Some(50.0), None, Some(100.0)]);
        assert_eq!(
            drawing.line,
            "M0 100.0L0.5 100.0L1.5 50.0L2 50.0M3 0.0L3.5 0.0L4 0.0"
        );
        assert_eq!(drawing.area.matches('z').count(), 2);
        assert_eq!(drawing.width, 4);
    }

    #[test]
    fn nothing_known_draws_nothing() {
        assert_eq!(
            sparkline(&[None, Some(f64::NAN)]),
            Sparkline {
                width: 2,
                ..Sparkline::default()
            }
        );
        assert_eq!(sparkline(&[]), Sparkline::default());
    }

    proptest! {
        #[test]
        fn there_is_a_piece_for_every_run_and_it_stays_inside(values in prop::collection::vec(prop::option::of(any::<f64>()), 0..100)) {
            let drawing = sparkline(&values);
            let known: Vec<bool> = values.iter().map(|value| value.is_some_and(f64::is_finite)).collect();
            let runs = known.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
            prop_assert_eq!(drawing.line.matches('M').count(), runs);
            for point in drawing.line.split(['M', 'L']).skip(1) {
                let (x, y) = point.split_once(' ').unwrap();
                prop_assert!((0.0..=values.len() as f64).contains(&x.parse::<f64>().unwrap()));
                prop_assert!((0.0..=100.0).contains(&y.parse::<f64>().unwrap()));
            }
        }
    }
}
