//! The schema of the tables against what a description really has.

use serde_json::Value;

use crate::description::schema::{OWN, json_schema};
use crate::{Description, examples};

/// Keys of a value that the schema does not have.
fn strangers(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}.{key}");
                let known = schema["properties"].get(key);
                match known.or_else(|| {
                    schema["additionalProperties"].as_object().map(|_| &schema["additionalProperties"])
                }) {
                    Some(inner) => strangers(value, inner, &path, found),
                    None if schema["additionalProperties"] == true => {}
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strangers(item, &schema["items"], path, found)),
        _ => {}
    }
}

/// Keys of the schema, below which there is nothing else.
fn leaves(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema["properties"].as_object() {
        Some(keys) => keys.iter().for_each(|(key, inner)| leaves(inner, &format!("{path}.{key}"), found)),
        None => match &schema["additionalProperties"] {
            inner @ Value::Object(_) => leaves(inner, &format!("{path}.*"), found),
            _ => match &schema["items"] {
                inner @ Value::Object(map) if map.contains_key("properties") => leaves(inner, path, found),
                _ => found.push(path.to_owned()),
            },
        },
    }
}

fn said(value: &Value, schema: &Value, path: &str, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match schema["properties"].get(key) {
                    Some(inner) => said(value, inner, &format!("{path}.{key}"), found),
                    None if schema["additionalProperties"].is_object() => {
                        said(value, &schema["additionalProperties"], &format!("{path}.*"), found);
                    }
                    None => {}
                }
            }
            if map.is_empty() || !schema["properties"].is_object() {
                found.insert(path.to_owned());
            }
        }
        Value::Array(items) => {
            found.insert(path.to_owned());
            items.iter().for_each(|item| said(item, &schema["items"], path, found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_key_of_every_description_is_in_the_schema() {
    let schema = json_schema();
    for (name, description) in examples::every().unwrap() {
        let mut value = serde_json::to_value(&description).unwrap();
        OWN.iter().for_each(|key| {
            value.as_object_mut().unwrap().remove(*key);
        });
        let mut found = Vec::new();
        strangers(&value, &schema, "", &mut found);
        assert_eq!(found, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_key_of_the_schema_is_one_of_a_description() {
    let schema = json_schema();
    let mut seen = std::collections::BTreeSet::new();
    for (_, description) in examples::every().unwrap() {
        said(&serde_json::to_value(&description).unwrap(), &schema, "", &mut seen);
    }
    let mut all = Vec::new();
    leaves(&schema, "", &mut all);
    // Without these an example is whole; what reads them refuses what it does not know.
    let rare: Vec<String> = all.into_iter().filter(|path| !seen.contains(path)).collect();
    for path in &rare {
        let mut value = serde_json::to_value(examples::prod().unwrap()).unwrap();
        let keys: Vec<&str> = path.split('.').filter(|key| !key.is_empty()).collect();
        let mut place = &mut value;
        for key in &keys[..keys.len() - 1] {
            let key = if *key == "*" { "orders" } else { key };
            place = &mut place[key];
        }
        place[keys[keys.len() - 1]] = Value::from(1.5);
        let refusal =
            serde_json::from_value::<Description>(value).map(drop).map_err(|error| error.to_string());
        let known = refusal.as_ref().err().is_some_and(|error| !error.contains("unknown field"));
        assert!(known, "{path}: {refusal:?}");
    }
}
