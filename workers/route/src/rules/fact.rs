//! An event as a rule sees it: its fields by name, read when asked for.
//!
//! Tags and data are parsed once, when the first rule asks for them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::OnceLock;

use cel::ExecutionError;
use cel::common::traits::Indexer;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, MAP_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use schemas::Kind;
use serde_json::Value;

pub(super) use super::fields::Row;
use super::fields::{COMMON, Field, fields_of, is_json};

/// The whole event, for `has(event.field)`.
pub(super) const WHOLE: &str = "event";

/// An event, and what was parsed of it.
pub(super) struct Fact<'r> {
    row: Row<'r>,
    tags: OnceLock<Box<dyn Val>>,
    /// What else of it is JSON: at most one field.
    data: OnceLock<Box<dyn Val>>,
}

impl<'r> Fact<'r> {
    pub(super) const fn new(row: Row<'r>) -> Self {
        Fact {
            row,
            tags: OnceLock::new(),
            data: OnceLock::new(),
        }
    }

    pub(super) const fn row(&self) -> Row<'r> {
        self.row
    }

    /// The text of what a path like `source` or `tags.region` leads to; numbers and JSON as JSON writes them.
    pub(super) fn text(&self, path: &Path) -> Option<String> {
        let text = match (self.row.field(&path.field)?, path.within.as_slice()) {
            (Field::Text(text), []) => text.to_owned(),
            (Field::Int(number), []) => number.to_string(),
            (Field::Float(number), []) => number.to_string(),
            (Field::Json(json), []) => json.get().to_owned(),
            (Field::Json(json), [key]) if path.field == "tags" => {
                let mut tags: BTreeMap<String, String> = serde_json::from_str(json.get()).ok()?;
                tags.remove(key)?
            }
            (Field::Json(json), within) => {
                let mut value: Value = serde_json::from_str(json.get()).ok()?;
                for key in within {
                    value = value.get_mut(key)?.take();
                }
                match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                }
            }
            _ => return None,
        };
        Some(text)
    }

    fn value<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        Some(match self.row.field(name)? {
            Field::Text(text) => CowVal::owned(CelString::from(text)),
            Field::Int(number) => CowVal::owned(CelInt::from(number)),
            Field::Float(number) => CowVal::owned(CelDouble::from(number)),
            Field::Json(json) => {
                let cell = if name == "tags" { &self.tags } else { &self.data };
                let value =
                    cell.get_or_init(|| cel_of(serde_json::from_str(json.get()).unwrap_or(Value::Null)));
                CowVal::Borrowed(&**value)
            }
        })
    }
}

/// JSON as CEL has it: whole numbers are ints where they fit.
fn cel_of(json: Value) -> Box<dyn Val> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(value)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Box::new(CelInt::from(whole)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text)),
        Value::Array(items) => {
            let items: Vec<Box<dyn Val>> = items.into_iter().map(cel_of).collect();
            Box::new(CelList::from(items))
        }
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(key, value)| (CelMapKey::from(key), cel_of(value)));
            let fields: HashMap<CelMapKey<'static>, Box<dyn Val>> = fields.collect();
            Box::new(CelMap::from(fields))
        }
    }
}

impl VariableResolver for Fact<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable {
            WHOLE => Some(CowVal::owned(Whole(self))),
            // Absent tags are no tags, so that `'region' in tags` can be asked of every event.
            "tags" => Some(
                self.value("tags")
                    .unwrap_or_else(|| CowVal::owned(CelMap::default())),
            ),
            name => self.value(name),
        }
    }
}

/// The event as one value whose members are its fields.
struct Whole<'b>(&'b Fact<'b>);

impl fmt::Debug for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WHOLE)
    }
}

impl Val for Whole<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn into_indexer<'w>(self: Box<Self>) -> Option<Box<dyn Indexer + 'w>>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(Whole(self.0))
    }
}

impl Indexer for Whole<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = index.downcast_ref::<CelString<'_>>();
        let name = name.ok_or_else(|| ExecutionError::no_such_key("a field that is no text"))?;
        let value = self.0.value(name.inner());
        value.ok_or_else(|| ExecutionError::no_such_key(name.inner()))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

/// Where a text is in an event: `source`, `tags.region`, `data.job.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    field: String,
    within: Vec<String>,
}

impl Path {
    /// Reads a path; checks that one of the kinds has the field.
    pub(super) fn parse(text: &str, kinds: &[Kind]) -> Result<Path, String> {
        let mut parts = text.split('.').map(str::to_owned);
        let field = parts.next().unwrap_or_default();
        let within: Vec<String> = parts.collect();
        check_field(&field, kinds)?;
        let (json, tags) = (is_json(&field), field == "tags");
        if !json && !within.is_empty() {
            return Err(format!("`{field}` has no members; write `{field}` alone"));
        }
        // The names of tags may contain points.
        let within = if tags && !within.is_empty() {
            vec![within.join(".")]
        } else {
            within
        };
        Ok(Path { field, within })
    }
}

/// Whether one of the kinds has the field; if not, what to write.
pub(super) fn check_field(field: &str, kinds: &[Kind]) -> Result<(), String> {
    if COMMON.contains(&field) || kinds.iter().any(|kind| fields_of(*kind).contains(&field)) {
        return Ok(());
    }
    let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let mut known: Vec<&str> = kinds.iter().flat_map(|kind| fields_of(*kind)).copied().collect();
    known.extend(COMMON);
    known.dedup();
    Err(format!(
        "`{field}` is no field of {}; use one of {}",
        names.join(" or "),
        known.join(", ")
    ))
}
