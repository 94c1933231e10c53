//! What the kinds have in common.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{Kind, Text, Time};

/// Declares a kind's struct: the fields given, between the fields which all kinds share.
///
/// Canonical field order is declaration order: identity first, then time and source, the kind's own fields,
/// the shared labels, the contract version. Absent fields are left out.
macro_rules! contract {
    ($(#[$meta:meta])* pub struct $name:ident<$a:lifetime> { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name<$a> {
            /// Sequence in INGEST of the message which carried it. Written by aiai.
            #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
            #[schemars(skip)]
            pub origin: Option<u64>,
            /// Position in that message, from 0. Written by aiai.
            #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
            #[schemars(skip)]
            pub index: Option<u32>,
            /// Whose it is, from the subject. Written by aiai.
            #[serde(borrow, skip_serializing_if = "Option::is_none")]
            #[schemars(skip)]
            pub tenant: Option<crate::Text<$a>>,
            /// When it happened: RFC 3339 with Z or an offset, or integer milliseconds since 1970.
            /// Default: the time the message was stored. At most 1 hour ahead of that.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub timestamp: Option<crate::Time>,
            /// Who sent it, at most 256 bytes. Default: `unknown`.
            #[serde(borrow, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = crate::limits::TEXT_BYTES))]
            pub source: Option<crate::Text<$a>>,
            $($(#[$field_meta])* pub $field: $type,)*
            /// Labels: at most 64, keys at most 256 bytes, values strings of at most 1 KiB. Kept as their JSON text.
            #[serde(borrow, serialize_with = "crate::contract::on_one_line", skip_serializing_if = "Option::is_none")]
            #[schemars(with = "Option<std::collections::BTreeMap<String, String>>")]
            #[schemars(extend("maxProperties" = crate::limits::TAGS))]
            pub tags: Option<&$a serde_json::value::RawValue>,
            /// The agent's session, at most 256 bytes.
            #[serde(borrow, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = crate::limits::TEXT_BYTES))]
            pub session: Option<crate::Text<$a>>,
            /// The task it belongs to, at most 256 bytes.
            #[serde(borrow, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = crate::limits::TEXT_BYTES))]
            pub work_item: Option<crate::Text<$a>>,
            /// The trace it belongs to, at most 256 bytes.
            #[serde(borrow, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = crate::limits::TEXT_BYTES))]
            pub trace_id: Option<crate::Text<$a>>,
            /// Contract version. Default: 1, the only one there is.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 1, max = 1))]
            pub v: Option<u16>,
        }

        impl<$a> crate::contract::Contract<$a> for $name<$a> {
            const KIND: crate::Kind = crate::Kind::$name;

            fn common(&mut self) -> crate::contract::Common<'_, $a> {
                crate::contract::Common {
                    origin: &mut self.origin,
                    index: &mut self.index,
                    tenant: &mut self.tenant,
                    timestamp: &mut self.timestamp,
                    source: &mut self.source,
                    tags: self.tags,
                    session: self.session.as_ref(),
                    work_item: self.work_item.as_ref(),
                    trace_id: &mut self.trace_id,
                    v: &mut self.v,
                }
            }
        }
    };
}

pub(crate) use contract;

/// A kind's struct, seen by the code that treats all kinds alike.
pub(crate) trait Contract<'a> {
    /// The kind it is the contract of.
    const KIND: Kind;
    /// The shared fields.
    fn common(&mut self) -> Common<'_, 'a>;
}

/// The fields which all kinds share; those with a default can be filled in.
pub(crate) struct Common<'s, 'a> {
    pub(crate) origin: &'s mut Option<u64>,
    pub(crate) index: &'s mut Option<u32>,
    pub(crate) tenant: &'s mut Option<Text<'a>>,
    pub(crate) timestamp: &'s mut Option<Time>,
    pub(crate) source: &'s mut Option<Text<'a>>,
    pub(crate) tags: Option<&'a RawValue>,
    pub(crate) session: Option<&'s Text<'a>>,
    pub(crate) work_item: Option<&'s Text<'a>>,
    pub(crate) trace_id: &'s mut Option<Text<'a>>,
    pub(crate) v: &'s mut Option<u16>,
}

/// Writes raw JSON with line breaks replaced by spaces: in valid JSON they stand between tokens only.
pub(crate) fn on_one_line<S: Serializer>(raw: &Option<&RawValue>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(raw) = raw else {
        return serializer.serialize_none();
    };
    if memchr::memchr2(b'\n', b'\r', raw.get().as_bytes()).is_none() {
        return raw.serialize(serializer);
    }
    let text = raw.get().replace(['\n', '\r'], " ");
    let raw: &RawValue = serde_json::from_str(&text).map_err(serde::ser::Error::custom)?;
    raw.serialize(serializer)
}
