//! Says what is wrong with text that is not JSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::Text;
use crate::rejection::{Reason, Rejection, member};

/// Why a payload, a line or an array's element is not JSON; `error` is what the parser said.
pub(super) fn reject(text: &str, error: &serde_json::Error) -> Rejection {
    let at = position(text, error);
    let whole = |reason, problem: String, fix: &str| Rejection::new(reason, Rejection::PAYLOAD, problem, fix);
    if text.starts_with('\u{feff}') {
        return whole(
            Reason::InvalidJson,
            "starts with a byte order mark".to_owned(),
            "encode it as UTF-8 without one",
        );
    }
    if let Some(word) = BareWord::find(text) {
        return word.reject();
    }
    if error.classify() == Category::Eof {
        let fix = "send the whole value; it was cut off or a bracket or quote is not closed";
        return whole(
            Reason::TruncatedJson,
            format!("ends in the middle of a JSON value at {at}"),
            fix,
        );
    }
    let message = message(error);
    if message == "trailing characters" {
        let fix = "send one JSON object, an array of objects, or one object a line";
        return whole(
            Reason::TrailingData,
            format!("has more data after the JSON value at {at}"),
            fix,
        );
    }
    let fix = match text.trim_start_matches(['[', '{', ' ']).starts_with('\'') {
        true => "write strings in double quotes, as a JSON encoder does",
        false => "correct it there, or let a JSON encoder write it",
    };
    whole(
        Reason::InvalidJson,
        format!("is not JSON at {at}: {message}"),
        fix,
    )
}

/// Why a value, whose brackets and quotes do match, is still not acceptable JSON.
pub(crate) fn reject_value(place: &str, error: &serde_json::Error) -> Rejection {
    match message(error) {
        message if message == "number out of range" => {
            let fix = "send a number that a double can hold";
            Rejection::new(
                Reason::OutOfRange,
                place,
                "holds a number which is out of range",
                fix,
            )
        }
        message if error.classify() == Category::Data => Rejection::new(
            Reason::WrongType,
            place,
            message,
            "compare it with the kind's JSON Schema",
        ),
        message => {
            let fix = "correct it, or let a JSON encoder write it";
            Rejection::new(
                Reason::InvalidJson,
                place,
                format!("is not valid JSON: {message}"),
                fix,
            )
        }
    }
}

/// The parser's words without its position.
pub(super) fn message(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" at line ") {
        text.truncate(end);
    }
    text
}

fn position(text: &str, error: &serde_json::Error) -> String {
    if text.contains('\n') {
        format!("line {}, column {}", error.line(), error.column())
    } else {
        format!("column {}", error.column())
    }
}

/// A word outside of strings that JSON does not have, such as the `NaN` of Python's `json.dumps`.
struct BareWord<'t> {
    word: &'t str,
    /// The member of the outermost object it is the value of.
    key: Option<&'t str>,
}

impl<'t> BareWord<'t> {
    fn find(text: &'t str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (mut at, mut depth, mut key, mut string) = (0, 0_usize, None, None);
        while at < bytes.len() {
            let start = at;
            at += 1;
            match bytes[start] {
                b'"' => {
                    at = string_end(bytes, at)?;
                    string = text.get(start + 1..at - 1);
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b':' if depth == 1 => key = string,
                b',' if depth == 1 => key = None,
                byte if byte.is_ascii_alphabetic() => {
                    let after_number =
                        start > 0 && (bytes[start - 1].is_ascii_digit() || bytes[start - 1] == b'.');
                    at += bytes[at..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_alphabetic())
                        .count();
                    let word = &text[start..at];
                    if !after_number && Self::fix(word).is_some() {
                        let is_negative = start > 0 && bytes[start - 1] == b'-';
                        let word = &text[start - usize::from(is_negative)..at];
                        return Some(BareWord { word, key });
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn fix(word: &str) -> Option<(Reason, &'static str)> {
        match word.trim_start_matches('-') {
            "NaN" | "nan" | "Infinity" | "infinity" | "inf" | "Inf" => {
                Some((Reason::NotFinite, "send a finite number, or leave the field out"))
            }
            "None" | "undefined" | "nil" => Some((Reason::InvalidJson, "send null, or leave the field out")),
            "True" | "False" => Some((
                Reason::InvalidJson,
                "send true or false, as a JSON encoder writes them",
            )),
            _ => None,
        }
    }

    fn reject(&self) -> Rejection {
        let (reason, fix) = Self::fix(self.word).unwrap_or((Reason::InvalidJson, "remove it"));
        let place = self.key.map_or(Rejection::PAYLOAD.into(), member);
        let verb = if self.key.is_some() { "is" } else { "holds" };
        Rejection::new(
            reason,
            place,
            format!("{verb} {}, which is not JSON", self.word),
            fix,
        )
    }
}

/// The position after the closing quote of a string that starts at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// The members of an object, in order, repeated ones included.
pub(crate) struct Members<'t>(pub(crate) Vec<(Text<'t>, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}
