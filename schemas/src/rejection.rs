//! Why a message or an item was not accepted.

use std::borrow::Cow;

/// Bytes kept of each text of a [`Rejection`]: they travel in headers.
const TEXT_BYTES: usize = 400;
/// Characters shown of a name or value that came with the input.
const QUOTED_CHARS: usize = 60;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)+) => {
        /// What kind of problem it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            /// Every reason, in the order of declaration.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),+];

            /// The code, in snake case: header `Aiai-Reason`, and in tables.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $code,)+ }
            }
        }
    };
}

reasons! {
    /// The subject is not `ingest.<kind>` or `ingest.<tenant>.<kind>`.
    BadSubject = "bad_subject",
    /// The subject names no kind we know.
    UnknownKind = "unknown_kind",
    /// There is nothing in the payload.
    EmptyPayload = "empty_payload",
    /// The payload is an array without items.
    EmptyArray = "empty_array",
    /// Bytes that are not UTF-8.
    InvalidUtf8 = "invalid_utf8",
    /// The JSON stops in the middle.
    TruncatedJson = "truncated_json",
    /// More data follows after the JSON value.
    TrailingData = "trailing_data",
    /// `NaN` or an infinity where JSON wants a number.
    NotFinite = "not_finite",
    /// Any other mistake in the JSON.
    InvalidJson = "invalid_json",
    /// A field which the kind does not have.
    UnknownField = "unknown_field",
    /// A field which only aiai writes.
    OutputOnlyField = "output_only_field",
    /// A field or tag given twice.
    DuplicateField = "duplicate_field",
    /// A required field is absent.
    MissingField = "missing_field",
    /// A value of another JSON type than the field's.
    WrongType = "wrong_type",
    /// A name that is not one of the field's choices.
    UnknownValue = "unknown_value",
    /// A number outside the field's range.
    OutOfRange = "out_of_range",
    /// Not a time, or too far in the future.
    BadTime = "bad_time",
    /// A name that is empty or blank.
    EmptyName = "empty_name",
    /// Over a limit in size or number.
    TooLarge = "too_large",
    /// Nested deeper than the limit.
    TooDeep = "too_deep",
    /// Two fields contradict each other.
    Inconsistent = "inconsistent",
    /// Written by the runtime: every delivery failed.
    RetriesExhausted = "retries_exhausted",
    /// Written by the runtime: the worker panicked.
    WorkerPanicked = "worker_panicked",
    /// Written by the runtime: it ended its worker again and again.
    WorkerKilled = "worker_killed",
    /// Written by the sink: somebody else ended its delivery, so no worker got it any more.
    Terminated = "terminated",
    /// Written by the sink: the server gave up delivering it.
    MaxDeliveries = "max_deliveries",
    /// Written by the runtime: headers or a subject that no client can read.
    UnreadableHeaders = "unreadable_headers",
    /// Written by the sink: a message on EVENTS or DEAD that is not as workers write it.
    MalformedBatch = "malformed_batch",
    /// Written by worker route: a webhook will never take this alert.
    WebhookRefused = "webhook_refused",
}

/// Why a message or an item was not accepted: what is wrong where, and what to do about it. Each text is one
/// line without control characters and at most 400 bytes long, fit for a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}; {fix}")]
pub struct Rejection {
    /// What kind of problem it is.
    pub reason: Reason,
    /// Where: `value`, `tags.region`, `[3].name`, `line 4: name`, or `payload` or `subject` as a whole.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl Rejection {
    /// The place which stands for the whole payload, or the whole item.
    pub(crate) const PAYLOAD: &'static str = "payload";

    /// A rejection with its texts made fit for a header.
    pub fn new(
        reason: Reason,
        place: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (place, problem, fix) = (
            one_line(place.into()),
            one_line(problem.into()),
            one_line(fix.into()),
        );
        Rejection {
            reason,
            place,
            problem,
            fix,
        }
    }

    /// The same rejection, seen from the message: `name` in the item at `[3]` is `[3].name`.
    pub(crate) fn within(mut self, item: &str, separator: &str) -> Self {
        self.place = match self.place.as_str() {
            Self::PAYLOAD => item.to_owned(),
            place => format!("{item}{separator}{place}"),
        };
        self
    }
}

fn one_line(mut text: String) -> String {
    if text.len() > TEXT_BYTES {
        let end = text.floor_char_boundary(TEXT_BYTES - '…'.len_utf8());
        text.truncate(end);
        text.push('…');
    }
    if text.contains(char::is_control) {
        text = text.replace(char::is_control, " ");
    }
    text
}

/// A name or value from the input, fit to be shown: control characters escaped, long ones cut.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let cut = text.char_indices().nth(QUOTED_CHARS).map(|(end, _)| end);
    if cut.is_none() && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown: String = text[..cut.unwrap_or(text.len())].escape_debug().collect();
    if cut.is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// The place which a member's name stands for; in quotes where the bare name would be taken for something else.
pub(crate) fn member(name: &str) -> Cow<'_, str> {
    match name {
        "" | Rejection::PAYLOAD => Cow::Owned(format!("\"{name}\"")),
        _ => shown(name),
    }
}

/// The candidate a name was probably meant to be: one letter or a third of them wrong, in any case.
pub(crate) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let name: String = name.chars().take(QUOTED_CHARS).collect::<String>().to_lowercase();
    candidates
        .map(|candidate| (strsim::osa_distance(&name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= candidate.len() / 3 || *distance == 1 && candidate.len() > 1
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_short_line() {
        let rejection = Rejection::new(Reason::WrongType, "a\nb", "é".repeat(500), "x");
        assert_eq!(rejection.place, "a b");
        assert!(rejection.problem.len() <= TEXT_BYTES && rejection.problem.ends_with('…'));
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), QUOTED_CHARS + 1);
    }

    #[test]
    fn codes_are_unique() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
    }

    #[test]
    fn the_nearest_is_near() {
        let names = || ["name", "value", "metric_type", "tags"].into_iter();
        assert_eq!(nearest("vlaue", names()), Some("value"));
        assert_eq!(nearest("Metric_Type", names()), Some("metric_type"));
        assert_eq!(nearest("tag", names()), Some("tags"));
        assert_eq!(
            (nearest("zzz", names()), nearest("", ["v"].into_iter())),
            (None, None)
        );
        assert_eq!(nearest(&"n".repeat(1_000_000), names()), None);
    }
}
