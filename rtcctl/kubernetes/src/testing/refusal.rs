//! Answers that are no success, as the API words them.
//!
//! Invariant: a Status says what it is about wherever the API does.

use serde_json::{Value as Json, json};

use crate::kinds::Resource;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Json,
}

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: json!({}) }
    }

    pub fn not_found(resource: &str, name: &str) -> Self {
        let message = format!("{resource} \"{name}\" not found");
        Self { details: details(resource, name), ..Self::new(404, "NotFound", message) }
    }

    pub fn conflict(resource: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self { details: details(resource, name), ..Self::new(409, "Conflict", message) }
    }

    pub(super) fn invalid(gvk: &crate::Gvk, name: &str, field: &str, reason: &str, why: &str) -> Self {
        let kind =
            if gvk.group.is_empty() { gvk.kind.clone() } else { format!("{}.{}", gvk.kind, gvk.group) };
        let mut details = details(&kind, name);
        details["causes"] = json!([{ "reason": reason, "message": why, "field": field }]);
        let message = format!("{kind} \"{name}\" is invalid: {field}: {why}");
        Self { details, ..Self::new(422, "Invalid", message) }
    }

    pub fn status(&self) -> Json {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        // A bad request is about nothing.
        if self.reason != "BadRequest" {
            status["details"] = self.details.clone();
        }
        status
    }
}

/// What a Status is about, from `deployments.apps` and a name.
pub fn details(of: &str, name: &str) -> Json {
    let mut about = match of.split_once('.') {
        Some((kind, group)) => json!({ "group": group, "kind": kind }),
        None => json!({ "kind": of }),
    };
    if !name.is_empty() {
        about["name"] = name.into();
    }
    about
}

pub type Done<T> = Result<T, Refusal>;

/// It was written by somebody else meanwhile.
pub fn modified(resource: &Resource, name: &str) -> Refusal {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    Refusal::conflict(&resource.name(), name, why)
}

/// A name that objects may have.
pub fn check_name(resource: &Resource, name: &str) -> Done<()> {
    let is_right = !name.is_empty()
        && name.len() <= 253
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte));
    if is_right {
        return Ok(());
    }
    let why = format!(
        "Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
         '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    );
    Err(Refusal::invalid(&resource.gvk, name, "metadata.name", "FieldValueInvalid", &why))
}
