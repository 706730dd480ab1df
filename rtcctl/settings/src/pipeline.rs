//! `[pipelines.NAME]`: jobs of Jenkins by short names.

use std::collections::BTreeMap;

use codes::Result;
use serde::Serialize;
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::file::Reader;

const KEYS: [&str; 4] = ["about", "environment", "job", "parameters"];

/// A job under a name of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PipelineEntry {
    pub about: String,
    /// Whose it is, whatever environment is worked in: its protection counts.
    pub environment: Option<String>,
    /// Its full name in Jenkins: folders and job with slashes between them.
    pub job: String,
    /// What is sent where the command line does not say otherwise.
    pub parameters: BTreeMap<String, String>,
}

impl Reader<'_> {
    /// The table `[pipelines]`.
    pub(super) fn pipelines(&self, value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<String, PipelineEntry>> {
        let mut pipelines = BTreeMap::new();
        for (name, value) in self.table(value)? {
            let is_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
            if name.get_ref().is_empty() || !name.get_ref().chars().all(is_word) {
                return Err(self.wrong(name, "the short name of a pipeline has letters, digits, - _ and ."));
            }
            pipelines.insert(name.get_ref().to_string(), self.pipeline(name, value)?);
        }
        Ok(pipelines)
    }

    fn pipeline<T>(&self, name: &Spanned<T>, value: &Spanned<DeValue<'_>>) -> Result<PipelineEntry> {
        let mut entry = PipelineEntry {
            about: String::new(),
            environment: None,
            job: String::new(),
            parameters: BTreeMap::new(),
        };
        for (key, value) in self.table(value)? {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("about", DeValue::String(text)) => entry.about = text.to_string(),
                ("environment", DeValue::String(text)) => entry.environment = Some(text.to_string()),
                ("job", DeValue::String(text)) => {
                    text.parse::<jenkins::JobName>()
                        .map_err(|error| self.wrong(value, &error.to_string()))?;
                    entry.job = text.to_string();
                }
                ("parameters", DeValue::Table(parameters)) => {
                    for (key, value) in parameters {
                        let text = match value.get_ref() {
                            DeValue::String(text) => text.to_string(),
                            DeValue::Boolean(flag) => flag.to_string(),
                            DeValue::Integer(number) => number.as_str().replace('_', ""),
                            _ => {
                                let problem = "a parameter is a text, a number, or true or false";
                                return Err(self.wrong(value, problem));
                            }
                        };
                        entry.parameters.insert(key.get_ref().to_string(), text);
                    }
                }
                ("about" | "environment" | "job", _) => {
                    return Err(self.wrong(value, "a text is expected here"));
                }
                ("parameters", _) => return Err(self.wrong(value, "a table is expected here")),
                (other, _) => return Err(self.unknown(other, key, &KEYS)),
            }
        }
        match entry.job.is_empty() {
            true => Err(self.wrong(name, "job is missing: the full name of the job in Jenkins")),
            false => Ok(entry),
        }
    }
}

pub(super) fn json_schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["job"],
        "properties": {
            "about": {"type": "string", "description": "what it does"},
            "environment": {"type": "string", "description": "whose it is: where that one is protected, its name is typed"},
            "job": {"type": "string", "description": "the job's full name: folders and job with slashes between them"},
            "parameters": {
                "type": "object",
                "additionalProperties": {"type": ["string", "boolean", "integer"]},
                "description": "what is sent where the command line does not say otherwise",
            },
        },
    })
}
