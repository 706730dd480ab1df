//! Two states of an object, field by field.
//!
//! Invariants: what the server counts or writes by itself is no difference; items of a list that have names are compared
//! by name; a value that must not be read is not shown, but that it changes is.

use std::collections::BTreeSet;

use rollout::evidence::{MASK, masked};
use serde::Serialize;
use serde_json::Value as Json;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// `.spec.template.spec.containers[rtcd].image`
    pub field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Json>,
}

/// What only the server writes.
const COUNTED: [&str; 6] =
    ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];

/// Every field that differs, as it may be shown.
pub fn changes(before: &Json, after: &Json) -> Vec<Change> {
    let (before, after) = (plain(before), plain(after));
    let (mut shown_before, mut shown_after) = (before.clone(), after.clone());
    masked(&mut shown_before);
    masked(&mut shown_after);
    let mut found = Vec::new();
    walk("", Some((&before, &shown_before)), Some((&after, &shown_after)), &mut found);
    found
}

fn plain(object: &Json) -> Json {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
        if let Some(metadata) = map.get_mut("metadata").and_then(Json::as_object_mut) {
            COUNTED.iter().for_each(|field| {
                metadata.remove(*field);
            });
        }
    }
    object
}

/// A value and how it may be shown.
type Side<'a> = Option<(&'a Json, &'a Json)>;

fn walk(path: &str, before: Side<'_>, after: Side<'_>, found: &mut Vec<Change>) {
    if before.map(|(real, _)| real) == after.map(|(real, _)| real) {
        return;
    }
    if let (Some((one, one_shown)), Some((other, other_shown))) = (before, after) {
        if let (Json::Object(a), Json::Object(b)) = (one, other) {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let side = |map: &'_ serde_json::Map<String, Json>| map.contains_key(key);
                let before = side(a).then(|| (&one[key], &one_shown[key]));
                let after = side(b).then(|| (&other[key], &other_shown[key]));
                walk(&format!("{path}.{key}"), before, after, found);
            }
            return;
        }
        if let (Json::Array(a), Json::Array(b)) = (one, other) {
            match (names(a), names(b)) {
                (Some(in_a), Some(in_b)) => {
                    let mut all: Vec<&str> = in_a.clone();
                    all.extend(in_b.iter().filter(|name| !in_a.contains(name)));
                    for name in all {
                        let at = |names: &[&str]| names.iter().position(|known| *known == name);
                        let before = at(&in_a).map(|at| (&one[at], &one_shown[at]));
                        let after = at(&in_b).map(|at| (&other[at], &other_shown[at]));
                        walk(&format!("{path}[{name}]"), before, after, found);
                    }
                }
                _ => {
                    for at in 0..a.len().max(b.len()) {
                        let before = a.get(at).map(|value| (value, &one_shown[at]));
                        let after = b.get(at).map(|value| (value, &other_shown[at]));
                        walk(&format!("{path}[{at}]"), before, after, found);
                    }
                }
            }
            return;
        }
    }
    let show = |side: Side<'_>| {
        side.map(|(real, shown)| match shown {
            // Only one part of an object may be secret; the whole of a text is.
            Json::Null if !real.is_null() => MASK.into(),
            shown => shown.clone(),
        })
    };
    found.push(Change { field: path.to_owned(), before: show(before), after: show(after) });
}

/// The names of items that all have one, each once.
fn names(items: &[Json]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = items.iter().map(|item| item["name"].as_str()).collect();
    let names = names?;
    let distinct: BTreeSet<&&str> = names.iter().collect();
    (distinct.len() == names.len()).then_some(names)
}

/// A value on one line of a table.
pub fn told(value: Option<&Json>) -> String {
    let text = match value {
        None => return "-".to_owned(),
        Some(Json::String(text)) => text.replace('\n', "⏎"),
        Some(value) => value.to_string(),
    };
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
