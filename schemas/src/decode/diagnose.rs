//! Says what is wrong with an item that could not be parsed. Slow, and run for bad items only.

use serde::de::IgnoredAny;

use super::kinds::{Checked, Field, Shape, output_only};
use super::syntax::{self, Members};
use crate::rejection::{Reason, Rejection, member, nearest, shown};
use crate::{Money, Text, Time, TimeError};

/// Why `text` is not a `T`; `error` is what the parser said.
pub(super) fn diagnose<'a, T: Checked<'a>>(text: &str, error: &serde_json::Error) -> Rejection {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return syntax::reject(text, &error);
    }
    if !text.starts_with('{') {
        let problem = format!("is {}, not an object", found(text));
        return Rejection::new(
            Reason::WrongType,
            Rejection::PAYLOAD,
            problem,
            format!("send {}", example::<T>()),
        );
    }
    let members = match serde_json::from_str::<Members<'_>>(text) {
        Ok(Members(members)) => members,
        Err(error) => return syntax::reject_value(Rejection::PAYLOAD, &error),
    };
    // An unknown or repeated name ends the search, so it looks at no more members than there are fields.
    let faulty = members.iter().enumerate().find_map(|(position, (name, value))| {
        let Some(field) = T::fields().find(|field| field.name == &**name) else {
            return Some(unknown_field::<T>(name));
        };
        if members[..position].iter().any(|(earlier, _)| earlier == name) {
            return Some(Rejection::new(
                Reason::DuplicateField,
                &**name,
                "is given twice",
                "send it once",
            ));
        }
        diagnose_value(field, value.get())
    });
    let absent = || {
        let given = |field: &Field| members.iter().any(|(name, _)| &**name == field.name);
        let field = T::fields().find(|field| field.required && !given(field))?;
        Some(missing(field))
    };
    faulty
        .or_else(absent)
        .unwrap_or_else(|| syntax::reject_value(Rejection::PAYLOAD, error))
}

/// A required field that was left out.
pub(super) fn missing(field: &Field) -> Rejection {
    let fix = format!("add it, {}", wanted(field));
    Rejection::new(Reason::MissingField, field.name, "is missing", fix)
}

/// What kind of JSON value a text is, by its first character.
pub(super) fn found(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn example<'a, T: Checked<'a>>() -> &'static str {
    match T::KIND {
        crate::Kind::Metric => "an object like {\"name\":\"queue.depth\",\"value\":42}",
        crate::Kind::Event => "an object like {\"name\":\"build.finished\"}",
        crate::Kind::Usage => "an object like {\"model\":\"opus\",\"tokens_in\":1200,\"tokens_out\":80}",
        crate::Kind::Step => "an object like {\"name\":\"plan\",\"start\":\"2026-11-20T07:00:00Z\"}",
        crate::Kind::Message => "an object like {\"body\":\"done\",\"channel\":\"builds\"}",
        crate::Kind::Session => "an object like {\"session\":\"s-1\",\"state\":\"started\"}",
        crate::Kind::WorkItem => "an object like {\"work_item\":\"w-1\",\"state\":\"open\"}",
    }
}

fn unknown_field<'a, T: Checked<'a>>(name: &str) -> Rejection {
    let known = || {
        T::fields()
            .filter(|field| !matches!(field.shape, Shape::Output))
            .map(|field| field.name)
    };
    let fix = match nearest(name, known()) {
        Some(field) => format!("did you mean `{field}`?"),
        None => format!(
            "use one of {}, or put it in `tags`",
            known().collect::<Vec<_>>().join(", ")
        ),
    };
    Rejection::new(
        Reason::UnknownField,
        member(name),
        format!("is not a field of {}", T::KIND),
        fix,
    )
}

fn wanted(field: &Field) -> String {
    match field.shape {
        Shape::Text => "a string".to_owned(),
        Shape::Number | Shape::Money => "a number".to_owned(),
        Shape::Count => "a whole number from 0".to_owned(),
        Shape::Time => {
            "an RFC 3339 string like \"2026-11-20T07:00:00Z\" or integer milliseconds since 1970".to_owned()
        }
        Shape::Version => "the number 1".to_owned(),
        Shape::Choice(names) => format!("one of {}", names.join(", ")),
        Shape::Raw | Shape::Output => "another value".to_owned(),
    }
}

/// What is wrong with a field's value, if anything.
fn diagnose_value(field: &Field, text: &str) -> Option<Rejection> {
    if let Shape::Output = field.shape {
        return Some(output_only(field.name));
    }
    if text == "null" {
        let problem = "is null, but required";
        let missing = || {
            Rejection::new(
                Reason::MissingField,
                field.name,
                problem,
                format!("send {}", wanted(field)),
            )
        };
        return field.required.then(missing);
    }
    let is_number = found(text) == "a number";
    let is_string = found(text) == "a string";
    match field.shape {
        Shape::Text if is_string => syntax_error::<Text<'_>>(field, text),
        Shape::Number if is_number => out_of_range::<f64>(field, text),
        Shape::Money if is_number => text
            .parse::<Money>()
            .is_err()
            .then(|| range_rejection(field, text)),
        Shape::Count if is_number && text.contains(['.', 'e', 'E']) => Some(wrong_type(field, text)),
        Shape::Count if is_number => out_of_range::<u64>(field, text),
        Shape::Version if is_number => out_of_range::<u16>(field, text),
        Shape::Choice(names) if is_string => unknown_value(field, names, text),
        Shape::Time => bad_time(field, text),
        Shape::Raw | Shape::Output => None,
        _ => Some(wrong_type(field, text)),
    }
}

fn wrong_type(field: &Field, text: &str) -> Rejection {
    let problem = match found(text) {
        kind @ ("a number" | "a string") => format!("is {kind} ({}), not {}", shown(text), wanted(field)),
        kind => format!("is {kind}, not {}", wanted(field)),
    };
    let quoted = text.trim_matches('"');
    let fix = match field.shape {
        Shape::Text => format!("send {}", wanted(field)),
        _ if text.starts_with('"') && quoted.parse::<f64>().is_ok_and(f64::is_finite) => {
            format!("remove the quotes: {}", shown(quoted))
        }
        _ => format!("send {}", wanted(field)),
    };
    Rejection::new(Reason::WrongType, field.name, problem, fix)
}

fn syntax_error<'t, V: serde::Deserialize<'t>>(field: &Field, text: &'t str) -> Option<Rejection> {
    serde_json::from_str::<V>(text)
        .err()
        .map(|error| syntax::reject_value(field.name, &error))
}

fn out_of_range<'t, V: serde::Deserialize<'t>>(field: &Field, text: &'t str) -> Option<Rejection> {
    serde_json::from_str::<V>(text)
        .is_err()
        .then(|| range_rejection(field, text))
}

fn range_rejection(field: &Field, text: &str) -> Rejection {
    let problem = format!("is {}, which is out of range", shown(text));
    let fix = match field.shape {
        Shape::Count => "send a whole number from 0 to 1000000000000",
        Shape::Money => "send what this call cost in US dollars, at most 1000000",
        Shape::Version => "send 1, or leave it out",
        _ => "send a number that a double can hold",
    };
    Rejection::new(Reason::OutOfRange, field.name, problem, fix)
}

fn unknown_value(field: &Field, names: &'static [&'static str], text: &str) -> Option<Rejection> {
    let value = match serde_json::from_str::<Text<'_>>(text) {
        Ok(value) => value,
        Err(error) => return Some(syntax::reject_value(field.name, &error)),
    };
    if names.contains(&&*value) {
        return None;
    }
    let fix = match nearest(&value, names.iter().copied()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("send {}", wanted(field)),
    };
    let problem = format!("is \"{}\", which is not one of its values", shown(&value));
    Some(Rejection::new(Reason::UnknownValue, field.name, problem, fix))
}

fn bad_time(field: &Field, text: &str) -> Option<Rejection> {
    let reject = |problem: String| {
        let fix = format!("send {}", wanted(field));
        Some(Rejection::new(Reason::BadTime, field.name, problem, fix))
    };
    if let Ok(millis) = text.parse::<i64>() {
        return match Time::from_millis(millis) {
            Ok(_) => None,
            Err(TimeError::Seconds) => {
                let fix = "send milliseconds since 1970, or an RFC 3339 string like \"2026-11-20T07:00:00Z\"";
                let problem = format!("is {millis}, which looks like seconds");
                Some(Rejection::new(Reason::BadTime, field.name, problem, fix))
            }
            Err(error) => reject(format!("is {millis}, which {error}")),
        };
    }
    match (found(text), serde_json::from_str::<Text<'_>>(text)) {
        ("a string", Ok(time)) => match time.parse::<Time>() {
            Ok(_) => None,
            Err(error) => reject(format!("is \"{}\", which {error}", shown(&time))),
        },
        ("a string", Err(error)) => Some(syntax::reject_value(field.name, &error)),
        ("a number", _) => reject(format!("is {}, not a whole number of milliseconds", shown(text))),
        (kind, _) => reject(format!("is {kind}, not a time")),
    }
}
