//! The descriptions that tests speak of.

use serde_json::Value;

pub(super) use crate::examples::{OTHER_IMAGE, gateway_api, with_canary};
use crate::{Description, Object, Release, examples, render};

pub(super) fn dev() -> Description {
    examples::dev().unwrap()
}

pub(super) fn prod() -> Description {
    examples::prod().unwrap()
}

pub(super) fn every() -> Vec<(&'static str, Description)> {
    examples::every().unwrap()
}

pub(super) fn rendered(description: &Description) -> Vec<Object> {
    render(&Release::of(description.clone()).unwrap())
}

pub(super) fn bodies(description: &Description) -> Vec<Value> {
    rendered(description).into_iter().map(|object| object.body).collect()
}

/// The one object of that kind and name.
pub(super) fn find<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object.kind() == kind && object.name() == name);
    let object = found.next().unwrap_or_else(|| panic!("there is no {kind} {name}"));
    assert!(found.next().is_none(), "there are several {kind} {name}");
    &object.body
}
