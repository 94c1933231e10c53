//! OTLP's JSON: protobuf's mapping to JSON, but for ids, which are hexadecimal.
//!
//! Invariants: whatever cannot be read is an error with its place, never left out; numbers may be text, `NaN` and
//! `Infinity` included, and `null` is the same as nothing; fields that are not known are passed over, as the
//! specification demands.
//!
//! Deliberately absent: what the mapping does not use (exemplars, entity references, counts of what was dropped), and
//! protobuf's own spelling of names, which OTLP forbids. The readers that come with the messages' crate are not used:
//! a data point that they cannot read makes its whole metric vanish.

mod messages;
mod scalars;

use std::fmt::{self, Formatter};
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// Reads a request; the error says where what is wrong.
pub(crate) fn read<T: Json>(body: &[u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let request: Read<T> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = error.path().to_string();
        format!("{place}: {}", error.into_inner())
    })?;
    json.end().map_err(|error| error.to_string())?;
    Ok(request.0)
}

/// What JSON can be read as; `null` is the default.
pub(crate) trait Json: Sized {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// For members and items, which serde reads as types of its own.
struct Read<T>(T);

impl<'de, T: Json> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

impl<T: Json> Json for Option<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<Read<T>>::deserialize(deserializer)?;
        Ok(value.map(|value| value.0))
    }
}

impl<T: Json> Json for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items(PhantomData))
    }
}

struct Items<T>(PhantomData<T>);

impl<'de, T: Json> Visitor<'de> for Items<T> {
    type Value = Vec<T>;

    fn expecting(&self, text: &mut Formatter<'_>) -> fmt::Result {
        text.write_str("an array")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(Read(item)) = array.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}
