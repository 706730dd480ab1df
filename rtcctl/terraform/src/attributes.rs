//! What differs between two states of a resource, attribute by attribute, with secrets masked.
//!
//! Invariants: a value that either side marks as sensitive is never shown, nor are its parts; only leaves are shown, so
//! that no object hides a secret within.

use serde_json::Value as Json;

/// A value of an attribute, as it may be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// There is none.
    Absent,
    Known(Json),
    Sensitive,
    /// Known after the apply only.
    Unknown,
}

/// One attribute that differs, with its path as in `ingress[0].cidr_blocks[1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub path: String,
    pub before: Value,
    pub after: Value,
}

/// The two states of a resource and what Terraform says about their parts. The masks mirror the shape of the states:
/// `true` where it holds, and `false` or nothing where it does not.
#[derive(Debug, Clone, Copy)]
pub struct States<'a> {
    pub before: &'a Json,
    pub after: &'a Json,
    pub after_unknown: &'a Json,
    pub before_sensitive: &'a Json,
    pub after_sensitive: &'a Json,
}

static NULL: Json = Json::Null;

/// Everything that differs, in the order of the attributes.
pub fn differences(states: States<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(String::new(), states, &mut found);
    found
}

fn walk(path: String, states: States<'_>, found: &mut Vec<Difference>) {
    if is_whole(states.before_sensitive) || is_whole(states.after_sensitive) {
        if states.before != states.after || holds_anywhere(states.after_unknown) {
            let side = |value: &Json| if value.is_null() { Value::Absent } else { Value::Sensitive };
            let after =
                if holds_anywhere(states.after_unknown) { Value::Sensitive } else { side(states.after) };
            found.push(Difference { path, before: side(states.before), after });
        }
        return;
    }
    if is_whole(states.after_unknown) {
        // What is before may be an object with a secret in it.
        return leave(path, states, found);
    }
    let keys = keys_of(&[states.before, states.after, states.after_unknown]);
    match keys {
        Keys::Names(names) => {
            for name in names {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(inner, states.map(|part| part.get(&name).unwrap_or(&NULL)), found);
            }
        }
        Keys::Indices(length) => {
            for index in 0..length {
                walk(format!("{path}[{index}]"), states.map(|part| part.get(index).unwrap_or(&NULL)), found);
            }
        }
        Keys::Leaf => {
            if states.before != states.after && !(is_nothing(states.before) && is_nothing(states.after)) {
                let is_secret =
                    holds_anywhere(states.before_sensitive) || holds_anywhere(states.after_sensitive);
                let side = |value: &Json| match value {
                    Json::Null => Value::Absent,
                    _ if is_secret => Value::Sensitive,
                    value => Value::Known(value.clone()),
                };
                found.push(Difference { path, before: side(states.before), after: side(states.after) });
            }
        }
    }
}

/// An attribute that is known after the apply only.
fn leave(path: String, states: States<'_>, found: &mut Vec<Difference>) {
    let before = match states.before {
        Json::Null => Value::Absent,
        _ if holds_anywhere(states.before_sensitive) => Value::Sensitive,
        before => Value::Known(before.clone()),
    };
    found.push(Difference { path, before, after: Value::Unknown });
}

impl<'a> States<'a> {
    fn map(self, part: impl Fn(&'a Json) -> &'a Json) -> Self {
        Self {
            before: part(self.before),
            after: part(self.after),
            after_unknown: part(self.after_unknown),
            before_sensitive: part(self.before_sensitive),
            after_sensitive: part(self.after_sensitive),
        }
    }
}

enum Keys {
    Names(Vec<String>),
    Indices(usize),
    Leaf,
}

/// How to go on below: two states of different shapes are two leaves, unless one of them is not there. A mask adds keys
/// (what is unknown is missing in `after`), and decides nothing about the shape.
fn keys_of([before, after, unknown]: &[&Json; 3]) -> Keys {
    match (before, after) {
        (Json::Object(_) | Json::Null, Json::Object(_)) | (Json::Object(_), Json::Null) => {
            let mut names: Vec<String> = Vec::new();
            for part in [before, after, unknown] {
                for name in part.as_object().into_iter().flat_map(|object| object.keys()) {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
            }
            if names.is_empty() { Keys::Leaf } else { Keys::Names(names) }
        }
        (Json::Array(_) | Json::Null, Json::Array(_)) | (Json::Array(_), Json::Null) => {
            let length = |part: &Json| part.as_array().map_or(0, Vec::len);
            match length(before).max(length(after)).max(length(unknown)) {
                0 => Keys::Leaf,
                length => Keys::Indices(length),
            }
        }
        _ => Keys::Leaf,
    }
}

/// Providers write what is not there in three ways, and change between them.
fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(parts) => parts.is_empty(),
        Json::Object(parts) => parts.is_empty(),
        _ => false,
    }
}

fn is_whole(mask: &Json) -> bool {
    mask == &Json::Bool(true)
}

fn holds_anywhere(mask: &Json) -> bool {
    match mask {
        Json::Bool(holds) => *holds,
        Json::Array(parts) => parts.iter().any(holds_anywhere),
        Json::Object(parts) => parts.values().any(holds_anywhere),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compare(
        before: Json,
        after: Json,
        unknown: Json,
        before_sensitive: Json,
        after_sensitive: Json,
    ) -> Vec<Difference> {
        differences(States {
            before: &before,
            after: &after,
            after_unknown: &unknown,
            before_sensitive: &before_sensitive,
            after_sensitive: &after_sensitive,
        })
    }

    fn difference(path: &str, before: Value, after: Value) -> Difference {
        Difference { path: path.to_owned(), before, after }
    }

    #[test]
    fn equal_states_differ_in_nothing() {
        let state = json!({"a": 1, "b": [{"c": null}]});
        assert_eq!(compare(state.clone(), state, json!({}), json!({}), json!({})), []);
    }

    #[test]
    fn nothing_is_nothing_however_it_is_written() {
        let found = compare(
            json!({"a": null, "b": []}),
            json!({"a": [], "b": {}, "c": {}}),
            json!({}),
            json!({}),
            json!({}),
        );
        assert_eq!(found, []);
    }

    #[test]
    fn leaves_are_named_by_their_whole_path() {
        let found = compare(
            json!({"ingress": [{"port": 80, "cidr": ["a"]}], "name": "x"}),
            json!({"ingress": [{"port": 81, "cidr": ["a", "b"]}], "name": "x"}),
            json!({}),
            json!({}),
            json!({}),
        );
        assert_eq!(
            found,
            [
                difference("ingress[0].port", Value::Known(json!(80)), Value::Known(json!(81))),
                difference("ingress[0].cidr[1]", Value::Absent, Value::Known(json!("b"))),
            ]
        );
    }

    #[test]
    fn what_one_side_marks_is_masked_on_both() {
        for (before_mask, after_mask) in [
            (json!({"password": true}), json!({})),
            (json!({}), json!({"password": true})),
            (json!(true), json!(false)),
        ] {
            let found = compare(
                json!({"password": "old-secret"}),
                json!({"password": "new-secret"}),
                json!({}),
                before_mask,
                after_mask,
            );
            assert!(!format!("{found:?}").contains("secret"), "{found:?}");
            assert_eq!(found.len(), 1);
        }
    }

    #[test]
    fn a_secret_within_an_object_does_not_hide_what_is_beside_it() {
        let found = compare(
            json!(null),
            json!({"user": "rtc", "login": {"password": "secret", "host": "h"}}),
            json!({}),
            json!(false),
            json!({"login": {"password": true}}),
        );
        assert_eq!(
            found,
            [
                difference("user", Value::Absent, Value::Known(json!("rtc"))),
                difference("login.password", Value::Absent, Value::Sensitive),
                difference("login.host", Value::Absent, Value::Known(json!("h"))),
            ]
        );
    }

    #[test]
    fn what_is_known_later_is_unknown_and_not_removed() {
        let found = compare(
            json!({"arn": "arn:1", "tags": {"a": "secret"}}),
            json!({}),
            json!({"arn": true, "tags": true, "id": true}),
            json!({"tags": {"a": true}}),
            json!({}),
        );
        assert_eq!(
            found,
            [
                difference("arn", Value::Known(json!("arn:1")), Value::Unknown),
                difference("tags", Value::Sensitive, Value::Unknown),
                difference("id", Value::Absent, Value::Unknown),
            ]
        );
    }

    #[test]
    fn a_secret_that_becomes_known_later_stays_masked() {
        let found = compare(json!({"p": "s"}), json!({}), json!({"p": true}), json!({"p": true}), json!({}));
        assert_eq!(found, [difference("p", Value::Sensitive, Value::Sensitive)]);
    }

    #[test]
    fn a_change_of_shape_is_one_difference() {
        let found = compare(json!({"a": "x"}), json!({"a": ["x"]}), json!({}), json!({}), json!({}));
        assert_eq!(found, [difference("a", Value::Known(json!("x")), Value::Known(json!(["x"])))]);
    }

    #[test]
    fn a_change_of_shape_with_a_secret_within_is_masked_whole() {
        let found =
            compare(json!({"a": "x"}), json!({"a": ["secret"]}), json!({}), json!({}), json!({"a": [true]}));
        assert!(!format!("{found:?}").contains("secret"), "{found:?}");
        assert_eq!(found.len(), 1);
    }
}
