//! The fields of a usage object, each read with its place: what is wrong is named as `usage.prompt_tokens`.

use serde_json::value::RawValue;

use crate::decode::syntax::{self, Members};
use crate::rejection::{Reason, Rejection, member, shown};
use crate::{Money, Text, limits};

/// The place of the object itself.
pub(super) const ROOT: &str = "usage";
/// Fields of one object: the largest that providers send have twenty.
const FIELDS_MAX: usize = 64;
/// Fields named when the shape is not known.
const NAMED_MAX: usize = 6;

/// An object of a usage object.
pub(super) struct Fields<'a> {
    place: String,
    members: Vec<(Text<'a>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(place: &str, text: &'a str) -> Result<Self, Rejection> {
        if !text.starts_with('{') {
            let fix =
                "send the usage object of the provider's response, or the fields tokens_in, tokens_out, …";
            return Err(Rejection::new(Reason::WrongType, place, "is not an object", fix));
        }
        let Members(members) =
            serde_json::from_str(text).map_err(|error| syntax::reject_value(place, &error))?;
        if members.len() > FIELDS_MAX {
            let problem = format!("has {} fields, more than {FIELDS_MAX}", members.len());
            let fix = "send the usage object of the response alone";
            return Err(Rejection::new(Reason::TooLarge, place, problem, fix));
        }
        for (at, (name, _)) in members.iter().enumerate() {
            if members[..at].iter().any(|(earlier, _)| earlier == name) {
                let place = format!("{place}.{}", member(name));
                return Err(Rejection::new(
                    Reason::DuplicateField,
                    place,
                    "is given twice",
                    "send it once",
                ));
            }
        }
        let place = place.to_owned();
        Ok(Self { place, members })
    }

    /// A field's value; null is as good as none.
    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.members.iter().find(|(known, _)| &**known == name)?;
        Some(found.1.get()).filter(|text| *text != "null")
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(known, _)| &**known == name)
    }

    pub(super) fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    /// The first of these fields that is there, as a whole number.
    pub(super) fn count(&self, names: &[&str]) -> Result<Option<u64>, Rejection> {
        let Some((name, text)) = names.iter().find_map(|name| Some((name, self.get(name)?))) else {
            return Ok(None);
        };
        match text.parse::<u64>() {
            Ok(count) if count <= limits::TOKENS => Ok(Some(count)),
            _ => {
                let problem = format!(
                    "is {}, not a whole number from 0 to {}",
                    shown(text),
                    limits::TOKENS
                );
                let fix = "send the usage object as the provider's response has it";
                Err(Rejection::new(Reason::WrongType, self.place(name), problem, fix))
            }
        }
    }

    /// US dollars.
    pub(super) fn money(&self, name: &str) -> Result<Option<Money>, Rejection> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let money = text.parse::<Money>().ok().filter(|money| money.0 >= 0);
        money.map(Some).ok_or_else(|| {
            let problem = format!("is {}, not an amount of dollars", shown(text));
            let fix = "send the usage object as the provider's response has it";
            Rejection::new(Reason::WrongType, self.place(name), problem, fix)
        })
    }

    /// A text; what is no text is none.
    pub(super) fn text(&self, name: &str) -> Option<Text<'a>> {
        serde_json::from_str(self.get(name)?).ok()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The first of these fields that holds an object.
    pub(super) fn object(&self, names: &[&str]) -> Result<Option<Fields<'a>>, Rejection> {
        let found = names.iter().find_map(|name| Some((name, self.get(name)?)));
        let found = found.filter(|(_, text)| text.starts_with('{'));
        found
            .map(|(name, text)| Fields::parse(&self.place(name), text))
            .transpose()
    }

    /// The objects of an array; none if there is no array.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Fields<'a>>, Rejection> {
        let Some(text) = self.get(name).filter(|text| text.starts_with('[')) else {
            return Ok(Vec::new());
        };
        let place = self.place(name);
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| syntax::reject_value(&place, &error))?;
        let items = items.into_iter().enumerate();
        items
            .map(|(at, item)| Fields::parse(&format!("{place}[{at}]"), item.get()))
            .collect()
    }

    /// Why nothing can be made of it.
    pub(super) fn unknown(&self) -> Rejection {
        let names: Vec<_> = self
            .members
            .iter()
            .take(NAMED_MAX)
            .map(|(name, _)| member(name))
            .collect();
        let problem = if names.is_empty() {
            "is empty".to_owned()
        } else {
            let more = if self.members.len() > NAMED_MAX {
                ", …"
            } else {
                ""
            };
            format!(
                "has no shape that is known, but the fields {}{more}",
                names.join(", ")
            )
        };
        let fix = "send the usage object of an OpenAI, Anthropic, Google, Mistral, Bedrock, Cohere or OpenRouter \
                   response as it is, or tokens_in and tokens_out instead of it";
        Rejection::new(Reason::UnknownValue, self.place.as_str(), problem, fix)
    }
}
