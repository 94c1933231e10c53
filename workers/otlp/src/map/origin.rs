//! What sent a span, log record or metric: resource and instrumentation scope, written once for all of theirs.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::cut::Cuts;
use super::facts::text_named;
use super::value::{Room, members};
use super::write::Object;

/// Bytes of a resource's or scope's JSON: it is repeated with each of its items.
const BYTES_MAX: usize = 16 * 1024;

/// A resource or a scope.
#[derive(Debug, Default)]
pub(super) struct Origin<'a> {
    /// `service.name`, unless it is the SDK's word for none.
    pub(super) service: Option<&'a str>,
    resource: Vec<u8>,
    scope: Vec<u8>,
    /// Name of the instrumentation.
    pub(super) scope_name: &'a str,
}

impl<'a> Origin<'a> {
    pub(super) fn of(resource: Option<&'a Resource>, cuts: &mut Cuts) -> Self {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        let service = text_named(attributes, "service.name");
        let mut origin = Self {
            service: service.filter(|service| !service.starts_with("unknown_service")),
            ..Self::default()
        };
        if !attributes.is_empty() {
            let end = BYTES_MAX;
            let mut object = Object::begin(&mut origin.resource);
            members(&mut object, attributes, &[], &mut Room { end, cuts });
            object.end();
        }
        origin
    }

    /// What follows is of this scope.
    pub(super) fn enter(&mut self, scope: Option<&'a InstrumentationScope>, cuts: &mut Cuts) {
        self.scope.clear();
        self.scope_name = scope.map_or("", |scope| &scope.name);
        let Some(scope) = scope.filter(|scope| !scope.name.is_empty()) else {
            return;
        };
        let mut object = Object::begin(&mut self.scope);
        object.text("name", &scope.name, 1024, cuts);
        object.text_if("version", Some(&scope.version), 1024, cuts);
        if !scope.attributes.is_empty() {
            let mut inner = Object::begin(object.member("attributes"));
            members(
                &mut inner,
                &scope.attributes,
                &[],
                &mut Room { end: BYTES_MAX, cuts },
            );
            inner.end();
        }
        object.end();
    }

    /// Adds both to an item's JSON.
    pub(super) fn write(&self, object: &mut Object<'_>) {
        for (name, json) in [("resource", &self.resource), ("scope", &self.scope)] {
            if !json.is_empty() {
                object.member(name).extend_from_slice(json);
            }
        }
    }
}
