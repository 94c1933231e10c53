//! Attributes as tags: a few short texts, each name once.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use schemas::limits;

use super::cut::{Cuts, cut};
use super::value::tag_text;
use super::write::text;

/// Bytes of tags as JSON text: some room below what the contract allows.
const BYTES_MAX: usize = limits::TAGS_BYTES - 16 * 1024;

/// Tags of one item.
#[derive(Debug, Default)]
pub(super) struct Tags<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Tags<'a> {
    /// Adds one, unless its name is there already or there are too many.
    pub(super) fn add(&mut self, key: &'a str, value: Cow<'a, str>, cuts: &mut Cuts) {
        let key = cut(key, limits::TAG_KEY_BYTES, cuts);
        let full = self.pairs.len() == limits::TAGS;
        if full || self.pairs.iter().any(|(known, _)| *known == key) {
            cuts.0 += 1;
            return;
        }
        self.pairs.push((key, value));
    }

    /// Adds a text that is there.
    pub(super) fn add_if(&mut self, key: &'static str, value: Option<&'a str>, cuts: &mut Cuts) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let value = cut(value, limits::TAG_VALUE_BYTES, cuts);
            self.add(key, value, cuts);
        }
    }

    /// Adds every attribute.
    pub(super) fn add_all(&mut self, attributes: &'a [KeyValue], cuts: &mut Cuts) {
        for attribute in attributes {
            if self.pairs.len() == limits::TAGS {
                cuts.0 += 1;
                return;
            }
            let value = tag_text(attribute.value.as_ref(), cuts);
            self.add(&attribute.key, value, cuts);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Writes them as an object.
    pub(super) fn write(&self, out: &mut Vec<u8>, cuts: &mut Cuts) {
        let begin = out.len();
        out.push(b'{');
        for (at, (key, value)) in self.pairs.iter().enumerate() {
            let before = out.len();
            if at > 0 {
                out.push(b',');
            }
            text(out, key);
            out.push(b':');
            text(out, value);
            if out.len() - begin > BYTES_MAX {
                out.truncate(before);
                cuts.0 += 1;
                break;
            }
        }
        out.push(b'}');
    }
}
