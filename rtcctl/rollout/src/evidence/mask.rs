//! What of a document of the API must not be saved: values of variables and arguments whose names are those of secrets, the
//! contents of Secrets, and copies of manifests that hold them.
//!
//! Invariants: a reference to a secret stays, its value goes; a document that was masked is the same when it is masked
//! again.

use masking::{is_secret_name, masked as masked_text};
use serde_json::Value as Json;

pub use masking::MASK;

/// Masks a document of the API in place.
pub fn masked(document: &mut Json) {
    if let Some(items) = document.get_mut("items").and_then(Json::as_array_mut) {
        items.iter_mut().for_each(masked);
    }
    if document["kind"] == "Secret" {
        for field in ["data", "stringData"] {
            for value in document
                .get_mut(field)
                .and_then(Json::as_object_mut)
                .into_iter()
                .flat_map(|map| map.values_mut())
            {
                *value = MASK.into();
            }
        }
    }
    walk(document);
}

fn walk(value: &mut Json) {
    match value {
        Json::Object(map) => {
            map.remove("managedFields");
            if let Some(annotations) = map.get_mut("annotations").and_then(Json::as_object_mut) {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
                for (name, value) in annotations.iter_mut() {
                    if is_secret_name(name) {
                        *value = MASK.into();
                    }
                }
            }
            let names_secret = map.get("name").and_then(Json::as_str).is_some_and(is_secret_name);
            if let Some(value) = map.get_mut("value").filter(|value| value.is_string()) {
                let text = value.as_str().unwrap_or_default();
                *value = if names_secret { MASK.into() } else { masked_text(text).into() };
            }
            for list in ["args", "command"] {
                if let Some(words) = map.get_mut(list).and_then(Json::as_array_mut) {
                    arguments(words);
                }
            }
            if let Some(Json::String(message)) = map.get_mut("message") {
                *message = masked_text(message);
            }
            map.values_mut().for_each(walk);
        }
        Json::Array(items) => items.iter_mut().for_each(walk),
        _ => {}
    }
}

/// `--password=x`, and `--password x`.
fn arguments(words: &mut [Json]) {
    let mut is_next = false;
    for word in words {
        let Some(text) = word.as_str() else { continue };
        if is_next {
            is_next = false;
            if !text.starts_with('-') {
                *word = MASK.into();
                continue;
            }
        }
        is_next = text.starts_with('-') && !text.contains('=') && is_secret_name(text);
        *word = masked_text(text).into();
    }
}
