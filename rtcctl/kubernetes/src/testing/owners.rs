//! Who owns fields, as an object says it.
//!
//! Invariant: a manager that owns nothing is not named.

use serde_json::{Value as Json, json};

use super::fields::{Set, read, written};

/// What a manager owns, and how it came to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    pub subresource: String,
    pub time: String,
    pub set: Set,
}

/// From `metadata.managedFields`.
pub fn managers(object: &Json) -> Vec<Managed> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let text = |entry: &Json, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    entries
        .map(|entry| Managed {
            manager: text(entry, "manager"),
            operation: text(entry, "operation"),
            subresource: text(entry, "subresource"),
            time: text(entry, "time"),
            set: read(&entry["fieldsV1"]),
        })
        .collect()
}

/// Into `metadata.managedFields`; a manager that owns nothing is left out.
pub fn set_managers(object: &mut Json, managers: &[Managed]) {
    let api_version = object["apiVersion"].clone();
    // In the order of `fieldmanager/internal/managedfields.go`: those who apply, the oldest, by name.
    let mut sorted: Vec<&Managed> = managers.iter().filter(|managed| !managed.set.is_empty()).collect();
    sorted.sort_by(|one, other| {
        (&one.operation, &one.time, &one.manager).cmp(&(&other.operation, &other.time, &other.manager))
    });
    let entries: Vec<Json> = sorted
        .into_iter()
        .map(|managed| {
            let mut entry = json!({
                "manager": managed.manager, "operation": managed.operation, "apiVersion": api_version,
                "time": managed.time, "fieldsType": "FieldsV1", "fieldsV1": written(&managed.set),
            });
            if !managed.subresource.is_empty() {
                entry["subresource"] = managed.subresource.as_str().into();
            }
            entry
        })
        .collect();
    object["metadata"]["managedFields"] = entries.into();
}
