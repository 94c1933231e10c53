//! What is too long is cut, with a mark, and counted: a long prompt is no reason to lose a span.

use std::borrow::Cow;

/// Ends a text that was cut, and stands for what was left out.
pub(super) const MARK: &str = "…[cut]";

/// How often something was cut or left out of an item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cuts(pub u64);

/// The text, or as much of it as there is room for, and the mark.
pub(crate) fn cut<'a>(text: &'a str, bytes_max: usize, cuts: &mut Cuts) -> Cow<'a, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    cuts.0 += 1;
    let kept = text.floor_char_boundary(bytes_max.saturating_sub(MARK.len()));
    Cow::Owned(format!("{}{MARK}", &text[..kept]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_and_says_so() {
        let mut cuts = Cuts::default();
        assert_eq!(cut("short", 5, &mut cuts), "short");
        assert_eq!(cuts, Cuts(0));
        let long = "é".repeat(100);
        let short = cut(&long, 31, &mut cuts);
        assert!(
            short.len() <= 31 && short.starts_with("éé") && short.ends_with(MARK),
            "{short}"
        );
        assert_eq!(cuts, Cuts(1));
    }
}
