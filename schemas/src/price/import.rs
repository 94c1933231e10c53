//! Price files that others keep, made into our own: genai-prices' and LiteLLM's.
//!
//! Numbers are read from their text, never through a float. What cannot be said in our table (images, audio, searches, prices
//! by the hour) is left out and named with its line, never guessed; what is written is read again before it is given back.

mod draft;
mod genai;
mod litellm;

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::PriceTable;
use crate::decode::syntax::Members;
use crate::model_index::in_lower_case;
use crate::rejection::shown;
use crate::{ModelIndex, Problem, Problems, Text, same_provider};
use draft::Draft;

/// Bytes of a file: ten times the larger of the two.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// genai-prices: a list of providers with their models; dollars per million tokens.
    GenaiPrices,
    /// LiteLLM: an object of models; dollars per token.
    Litellm,
}

impl Format {
    /// By the first character: one is an array, the other an object.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        match text.trim_start().as_bytes().first() {
            Some(b'[') => Some(Self::GenaiPrices),
            Some(b'{') => Some(Self::Litellm),
            _ => None,
        }
    }
}

/// Something of the file that the table does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The line of the file.
    pub line: usize,
    /// The model.
    pub model: String,
    /// Why, with the part of it that is left out.
    pub why: String,
}

/// A file made into ours.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The table, as text.
    pub text: String,
    /// The models in it.
    pub models: usize,
    /// What it does not have, in the order of the file.
    pub left_out: Vec<LeftOut>,
}

/// Reads a file of somebody else's. `file` is its name for messages, `version` that of the table it becomes.
///
/// # Errors
/// The line where it is no such file, or that no model of it has a price.
pub fn import(format: Format, file: &str, text: &str, version: &str) -> Result<Imported, Problems> {
    let mut reading = Reading {
        file,
        text,
        left_out: Vec::new(),
    };
    if text.len() > BYTES_MAX {
        let problem = format!("has {} bytes, more than {BYTES_MAX}; split it", text.len());
        return Err(reading.fail(text, problem));
    }
    let drafts = match format {
        Format::GenaiPrices => genai::read(&mut reading)?,
        Format::Litellm => litellm::read(&mut reading)?,
    };
    let mut index = ModelIndex::default();
    let mut kept: Vec<(usize, Draft)> = Vec::new();
    for (line, draft) in drafts {
        if index.add(Some(&draft.provider), &draft.name, []).is_err() {
            reading.leave_out(
                line,
                &draft.name,
                "an earlier model of this provider has its name",
            );
            continue;
        }
        kept.push((line, draft));
    }
    keep_aliases(&mut reading, &mut kept);
    if kept.is_empty() {
        let problem = "no model of it has a price; name the other --format, or another file";
        return Err(reading.fail(text, problem.to_owned()));
    }
    let models = kept.len();
    let built_in = PriceTable::parse(super::BUILT_IN_NAME, super::BUILT_IN)?;
    let is_kept = |maker: &str| {
        kept.iter()
            .any(|(_, draft)| same_provider(&draft.provider, maker))
    };
    let makers = built_in.makers.iter();
    let makers: Vec<_> = makers
        .map(|(start, maker)| (start.as_str(), maker.as_str()))
        .filter(|(_, maker)| is_kept(maker))
        .collect();
    let written = draft::write(file, version, &makers, kept.iter().map(|(_, draft)| draft));
    PriceTable::parse("the table made of it", &written)?;
    reading.left_out.sort_by_key(|left_out| left_out.line);
    Ok(Imported {
        text: written,
        models,
        left_out: reading.left_out,
    })
}

/// Leaves out aliases that a model of the same provider has already. Names come first: a name always wins.
fn keep_aliases(reading: &mut Reading<'_>, kept: &mut [(usize, Draft)]) {
    let name = |draft: &Draft| (draft.provider.clone(), draft.name.to_ascii_lowercase());
    let mut taken: BTreeSet<(String, String)> = kept.iter().map(|(_, draft)| name(draft)).collect();
    for (line, draft) in kept {
        let mut own = BTreeSet::new();
        for alias in std::mem::take(&mut draft.aliases) {
            let compared = in_lower_case(&alias).into_owned();
            if compared == draft.name.to_ascii_lowercase() || !own.insert(compared.clone()) {
                continue;
            }
            if taken.insert((draft.provider.clone(), compared)) {
                draft.aliases.push(alias);
            } else {
                let why = format!("without the alias {}, which another model has", shown(&alias));
                reading.leave_out(*line, &draft.name, why);
            }
        }
    }
}

/// A file being read.
struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    left_out: Vec<LeftOut>,
}

impl<'a> Reading<'a> {
    /// The line of a part of the text.
    fn line(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    fn fail(&self, part: &str, text: String) -> Problems {
        Problems(vec![Problem {
            file: self.file.to_owned(),
            line: self.line(part),
            column: None,
            text,
        }])
    }

    fn leave_out(&mut self, line: usize, model: &str, why: impl Into<String>) {
        self.left_out.push(LeftOut {
            line,
            model: model.to_owned(),
            why: why.into(),
        });
    }

    /// The members of an object.
    fn object(&self, text: &'a str) -> Result<Vec<(Text<'a>, &'a str)>, Problems> {
        let read = serde_json::from_str::<Members<'a>>(text);
        let Members(members) = read.map_err(|error| self.not_json(text, &error, "an object"))?;
        Ok(members
            .into_iter()
            .map(|(name, value)| (name, value.get()))
            .collect())
    }

    /// The items of an array.
    fn array(&self, text: &'a str) -> Result<Vec<&'a str>, Problems> {
        let read = serde_json::from_str::<Vec<&'a RawValue>>(text);
        let items = read.map_err(|error| self.not_json(text, &error, "an array"))?;
        Ok(items.into_iter().map(RawValue::get).collect())
    }

    fn not_json(&self, part: &str, error: &serde_json::Error, wanted: &str) -> Problems {
        let mut problems = self.fail(
            part,
            format!("is not {wanted} of JSON ({error}); name the other --format, or fetch the file again"),
        );
        for problem in &mut problems.0 {
            problem.line += error.line().saturating_sub(1);
        }
        problems
    }
}

/// A JSON string's value; none of anything else.
fn string(text: &str) -> Option<Text<'_>> {
    serde_json::from_str(text).ok()
}
