//! `[deploy]` and `[environments.NAME.deploy]`: what runs on a cluster.
//!
//! Invariant: the form is that of the schema, every key of it; what the whole of it means is judged when something is to
//! be deployed, with what Terraform knows.

use std::path::PathBuf;

use codes::{Error, Result};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_json::Value;
use toml::de::DeValue;
use toml::{Spanned, Table};

use super::file::Reader;
use super::nearest;

/// One of the two tables.
#[derive(Debug, Clone, PartialEq)]
pub struct DeployEntry {
    pub table: Table,
    /// Where it stands, for whoever finds fault with it.
    pub place: String,
    /// The folder of its file.
    pub folder: PathBuf,
}

impl Reader<'_> {
    /// A table of a deployment.
    pub(super) fn deploy(&self, value: &Spanned<DeValue<'_>>) -> Result<DeployEntry> {
        self.has_form(value, &manifests::description::schema::json_schema(), "deploy")?;
        let table = Table::deserialize(value.clone().into_deserializer()).map_err(|error| {
            let at = error.span().map_or(value.span().start, |span| span.start);
            Error::new(&codes::CFG004, format!("{}: {}", self.place(at), error.message()))
        })?;
        Ok(DeployEntry { table, place: self.place(value.span().start), folder: self.folder() })
    }

    /// Whether a value has the form of a schema: keys, kinds, words and bounds.
    fn has_form(&self, value: &Spanned<DeValue<'_>>, schema: &Value, key: &str) -> Result<()> {
        let wrong = |problem: &str| Err(self.wrong(value, &format!("{key}: {problem}")));
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            return match value.get_ref().as_str() {
                Some(word) if words.contains(&word) => Ok(()),
                Some(word) => match nearest(word, words.iter().copied()) {
                    Some(near) => wrong(&format!("did you mean {near}? (allowed: {})", words.join(", "))),
                    None => wrong(&format!("allowed: {}", words.join(", "))),
                },
                None => wrong(&format!("one of {}", words.join(", "))),
            };
        }
        match (schema["type"].as_str().unwrap_or_default(), value.get_ref()) {
            ("object", DeValue::Table(_)) => self.has_keys(value, schema),
            ("array", DeValue::Array(items)) => {
                items.iter().try_for_each(|item| self.has_form(item, &schema["items"], key))
            }
            ("string", DeValue::String(_)) | ("boolean", DeValue::Boolean(_)) => Ok(()),
            ("integer", DeValue::Integer(number)) => {
                let number = number.as_str().replace('_', "").parse::<i64>().ok();
                let (least, most) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
                let fits = |number: i64| {
                    least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
                };
                match number {
                    Some(number) if fits(number) => Ok(()),
                    _ => wrong(&format!(
                        "a number from {} to {}",
                        least.unwrap_or(0),
                        most.unwrap_or(i64::MAX)
                    )),
                }
            }
            ("object", _) => wrong("a table is expected here"),
            ("array", _) => wrong("a list is expected here"),
            ("string", _) => wrong("a text is expected here"),
            ("boolean", _) => wrong("true or false"),
            ("integer", _) => wrong("a whole number is expected here"),
            _ => Ok(()),
        }
    }

    fn has_keys(&self, value: &Spanned<DeValue<'_>>, schema: &Value) -> Result<()> {
        for (key, value) in self.table(value)? {
            let name = key.get_ref().as_ref();
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => self.has_form(value, schema, name)?,
                (None, any @ Value::Object(_)) => self.has_form(value, any, name)?,
                (None, Value::Bool(true)) => {}
                (None, _) => {
                    let known: Vec<&str> = schema["properties"]
                        .as_object()
                        .map(|keys| keys.keys().map(String::as_str).collect())
                        .unwrap_or_default();
                    return Err(self.unknown(name, key, &known));
                }
            }
        }
        Ok(())
    }
}
