//! What must not be saved: values of variables and arguments whose names are those of secrets, the contents of Secrets,
//! and copies of manifests that hold them.
//!
//! Invariants: a reference to a secret stays, its value goes; a document that was masked is the same when it is masked
//! again.

use serde_json::Value as Json;

/// What stands in place of a value.
pub const MASK: &str = "***";

/// Parts of names, in lower case without separators.
const SECRET_NAMES: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "credential",
    "authorization",
    "cookie",
    "dsn",
    "connectionstring",
    "sessionkey",
];

/// Whether what has this name is better not read by others.
fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    SECRET_NAMES.iter().any(|part| plain.contains(part))
}

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
                    if is_secret(name) {
                        *value = MASK.into();
                    }
                }
            }
            let names_secret = map.get("name").and_then(Json::as_str).is_some_and(is_secret);
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
        is_next = text.starts_with('-') && !text.contains('=') && is_secret(text);
        *word = masked_text(text).into();
    }
}

/// Masks `name=value` and `name: value` of secret names, and passwords in addresses, line by line.
pub fn masked_text(text: &str) -> String {
    text.split_inclusive(char::is_whitespace)
        .scan(false, |after_name, word| Some(one_word(word, after_name)))
        .collect()
}

fn one_word(word: &str, after_name: &mut bool) -> String {
    let end = word.trim_end().len();
    let (bare, space) = word.split_at(end);
    if std::mem::take(after_name) && !bare.is_empty() {
        // `Authorization: Bearer abc` has its value one word later.
        if matches!(bare.to_ascii_lowercase().as_str(), "bearer" | "basic") {
            *after_name = true;
            return word.to_owned();
        }
        return format!("{MASK}{space}");
    }
    if bare.ends_with(':') && is_secret(bare) {
        *after_name = true;
        return word.to_owned();
    }
    if let Some((scheme, rest)) = bare.split_once("://")
        && let Some((user, host)) = rest.rsplit_once('@')
        && let Some((name, _)) = user.split_once(':')
    {
        return format!("{scheme}://{name}:{MASK}@{host}{space}");
    }
    if let Some((name, value)) = bare.split_once('=')
        && !value.is_empty()
        && is_secret(name)
    {
        return format!("{name}={MASK}{space}");
    }
    word.to_owned()
}
