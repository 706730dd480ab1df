//! Selectors of labels and of fields.

use serde_json::Value as Json;

/// Whether an object has what a label selector asks for.
pub fn labels_match(selector: &str, object: &Json) -> bool {
    let label = |key: &str| object["metadata"]["labels"].get(key.trim()).and_then(Json::as_str);
    requirements(selector).iter().all(|text| {
        let text = text.trim();
        if let Some((key, values)) = text.split_once(" notin ") {
            return !among(values, label(key));
        }
        if let Some((key, values)) = text.split_once(" in ") {
            return among(values, label(key));
        }
        if let Some((key, value)) = text.split_once("!=") {
            return label(key) != Some(value.trim());
        }
        if let Some((key, value)) = text.split_once('=') {
            return label(key) == Some(value.trim_start_matches('=').trim());
        }
        match text.strip_prefix('!') {
            Some(key) => label(key).is_none(),
            None => text.is_empty() || label(text).is_some(),
        }
    })
}

fn among(values: &str, value: Option<&str>) -> bool {
    let values = values.trim().trim_matches(['(', ')']);
    value.is_some_and(|value| values.split(',').any(|one| one.trim() == value))
}

/// Split at commas that are not between brackets.
fn requirements(selector: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, letter) in selector.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&selector[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&selector[from..]);
    parts
}

/// Whether an object has the fields that a field selector asks for: `involvedObject.uid=…,type!=Normal`.
pub fn fields_match(selector: &str, object: &Json) -> bool {
    selector.split(',').filter(|text| !text.is_empty()).all(|text| {
        let (path, value, wanted) = match text.split_once("!=") {
            Some((path, value)) => (path, value, false),
            None => match text.split_once('=') {
                Some((path, value)) => (path, value.trim_start_matches('='), true),
                None => return false,
            },
        };
        let found = path.split('.').fold(object, |here, name| &here[name]);
        (found.as_str().unwrap_or_default() == value) == wanted
    })
}

/// Whether labels satisfy a selector of a workload (`matchLabels`, `matchExpressions`).
pub fn selects(selector: &Json, labels: &Json) -> bool {
    let wanted = selector["matchLabels"].as_object();
    let has_labels = wanted.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let has_expressions = selector["matchExpressions"].as_array().into_iter().flatten().all(|expression| {
        let value = expression["key"].as_str().and_then(|key| labels.get(key));
        let values = expression["values"].as_array();
        let is_among = value.is_some_and(|value| values.is_some_and(|values| values.contains(value)));
        match expression["operator"].as_str() {
            Some("In") => is_among,
            Some("NotIn") => !is_among,
            Some("Exists") => value.is_some(),
            Some("DoesNotExist") => value.is_none(),
            _ => false,
        }
    });
    has_labels && has_expressions
}
