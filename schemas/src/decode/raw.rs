//! Parts of an event that are kept as JSON text: `tags`, `data`, `attributes` and `distribution`.
//!
//! They are checked here once and strictly (a lone surrogate, a number past the range of a double, a tag given
//! twice are refused) and then never parsed again on the way to the database. In `data` an object may repeat a
//! key: which one a reader sees is up to the reader.

use std::fmt;

use arrayvec::ArrayVec;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::diagnose::found;
use super::syntax::{self, Members};
use crate::rejection::{Reason, Rejection, member, shown};
use crate::{Distribution, Text, limits};

const TOO_DEEP: &str = "nested too deeply";

/// Checks that it is an object from strings to strings within the limits.
pub(super) fn check_tags(raw: &RawValue) -> Result<(), Rejection> {
    let text = raw.get();
    if text.len() > limits::TAGS_BYTES {
        return Err(too_large(
            "tags",
            text.len(),
            limits::TAGS_BYTES,
            "send fewer or shorter tags",
        ));
    }
    serde_json::from_str::<GoodTags>(text)
        .map(|_| ())
        .map_err(|error| diagnose_tags(text, &error))
}

/// Checks that it is JSON within the limits.
pub(super) fn check_data(raw: &RawValue) -> Result<(), Rejection> {
    check_json("data", raw)
}

/// Checks that it is a JSON object within the limits.
pub(super) fn check_attributes(raw: &RawValue) -> Result<(), Rejection> {
    if !raw.get().starts_with('{') {
        let problem = format!("is {}, not an object", found(raw.get()));
        let fix = "send an object, e.g. {\"gen_ai.request.model\":\"opus\"}";
        return Err(Rejection::new(Reason::WrongType, "attributes", problem, fix));
    }
    check_json("attributes", raw)
}

/// Reads a distribution, and checks it.
pub(super) fn check_distribution(raw: &RawValue) -> Result<Distribution, Rejection> {
    let text = raw.get();
    if text.len() > limits::DISTRIBUTION_BYTES {
        let (bytes, bytes_max) = (text.len(), limits::DISTRIBUTION_BYTES);
        return Err(too_large("distribution", bytes, bytes_max, "merge its buckets"));
    }
    if !text.starts_with('{') {
        let problem = format!("is {}, not an object", found(text));
        let fix = "send an object with count, bounds and counts";
        return Err(Rejection::new(Reason::WrongType, "distribution", problem, fix));
    }
    let distribution: Distribution =
        serde_json::from_str(text).map_err(|error| syntax::reject_value("distribution", &error))?;
    distribution.check()?;
    Ok(distribution)
}

fn check_json(place: &str, raw: &RawValue) -> Result<(), Rejection> {
    let text = raw.get();
    if text.len() > limits::DATA_BYTES {
        return Err(too_large(
            place,
            text.len(),
            limits::DATA_BYTES,
            "store it elsewhere and send a reference",
        ));
    }
    let seed = GoodValue {
        depth_left: limits::DATA_DEPTH,
    };
    seed.deserialize(&mut serde_json::Deserializer::from_str(text))
        .map_err(|error| {
            if syntax::message(&error) == TOO_DEEP {
                let problem = format!("is nested deeper than {} levels", limits::DATA_DEPTH);
                return Rejection::new(Reason::TooDeep, place, problem, "flatten it");
            }
            syntax::reject_value(place, &error)
        })
}

fn too_large(place: &str, bytes: usize, bytes_max: usize, fix: &str) -> Rejection {
    Rejection::new(
        Reason::TooLarge,
        place,
        format!("has {bytes} bytes of JSON, more than {bytes_max}"),
        fix,
    )
}

fn diagnose_tags(text: &str, error: &serde_json::Error) -> Rejection {
    if !text.starts_with('{') {
        let fix = "send an object of strings, e.g. {\"region\":\"eu\"}";
        return Rejection::new(
            Reason::WrongType,
            "tags",
            format!("is {}, not an object", found(text)),
            fix,
        );
    }
    let members = match serde_json::from_str::<Members<'_>>(text) {
        Ok(Members(members)) => members,
        Err(error) => return syntax::reject_value("tags", &error),
    };
    if members.len() > limits::TAGS {
        let problem = format!("has {} tags, more than {}", members.len(), limits::TAGS);
        return Rejection::new(Reason::TooLarge, "tags", problem, "send fewer tags");
    }
    let faulty = members.iter().enumerate().find_map(|(position, (key, value))| {
        let place = format!("tags.{}", member(key));
        if members[..position].iter().any(|(earlier, _)| earlier == key) {
            return Some(Rejection::new(
                Reason::DuplicateField,
                place,
                "is given twice",
                "send it once",
            ));
        }
        diagnose_tag(place, key, value.get())
    });
    faulty.unwrap_or_else(|| syntax::reject_value("tags", error))
}

fn diagnose_tag(place: String, key: &str, value: &str) -> Option<Rejection> {
    if key.len() > limits::TAG_KEY_BYTES {
        let problem = format!(
            "has a key of {} bytes, more than {}",
            key.len(),
            limits::TAG_KEY_BYTES
        );
        return Some(Rejection::new(
            Reason::TooLarge,
            place,
            problem,
            "shorten the key",
        ));
    }
    if !value.starts_with('"') {
        let fix = match found(value) {
            "a number" | "a boolean" => format!("put it in quotes: \"{}\"", shown(value)),
            _ => "send a string, or leave the tag out".to_owned(),
        };
        return Some(Rejection::new(
            Reason::WrongType,
            place,
            format!("is {}, not a string", found(value)),
            fix,
        ));
    }
    match serde_json::from_str::<Text<'_>>(value) {
        Ok(text) => super::check::check_length(&place, &text, limits::TAG_VALUE_BYTES).err(),
        Err(error) => Some(syntax::reject_value(&place, &error)),
    }
}

/// Tags within the limits; says no more than that.
struct GoodTags;

impl<'de> Deserialize<'de> for GoodTags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TagsVisitor;

        impl<'de> Visitor<'de> for TagsVisitor {
            type Value = GoodTags;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GoodTags, A::Error> {
                let mut keys = ArrayVec::<Text<'de>, { limits::TAGS }>::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    let small = key.len() <= limits::TAG_KEY_BYTES && value.len() <= limits::TAG_VALUE_BYTES;
                    if !small || keys.contains(&key) || keys.try_push(key).is_err() {
                        return Err(de::Error::custom("outside the limits"));
                    }
                }
                Ok(GoodTags)
            }
        }

        deserializer.deserialize_map(TagsVisitor)
    }
}

/// Any JSON value of limited depth, looked at and forgotten.
#[derive(Clone, Copy)]
struct GoodValue {
    depth_left: usize,
}

impl GoodValue {
    fn deeper<E: de::Error>(self) -> Result<GoodValue, E> {
        let depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| E::custom(TOO_DEEP))?;
        Ok(GoodValue { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for GoodValue {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for GoodValue {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while array.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while map.next_entry_seed(self, inner)?.is_some() {}
        Ok(())
    }
}
