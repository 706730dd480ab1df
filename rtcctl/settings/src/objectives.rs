//! `[metrics.slo.NAME]`: another target for an objective of the catalogue, or an objective of one's own.

use std::collections::BTreeMap;

use codes::{Error, Result};
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::file::Reader;

const KEYS: [&str; 4] = ["about", "objective", "bad", "events"];

/// What a file says about one objective.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectiveEntry {
    pub about: Option<String>,
    /// As a share: 0.999.
    pub objective: Option<f64>,
    /// PromQL with `$window` where a length of time belongs: bad events a second.
    pub bad: Option<String>,
    /// The same for all events.
    pub events: Option<String>,
    /// Where it stands, for whoever finds fault with it.
    pub place: String,
}

impl Reader<'_> {
    /// The table `[metrics]`.
    pub(super) fn objectives(
        &self,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<BTreeMap<String, ObjectiveEntry>> {
        let mut objectives = BTreeMap::new();
        for (key, value) in self.table(value)? {
            if key.get_ref().as_ref() != "slo" {
                return Err(self.unknown(key.get_ref(), key, &["slo"]));
            }
            for (name, value) in self.table(value)? {
                let mut entry = self.objective(value)?;
                entry.place = self.place(name.span().start);
                objectives.insert(name.get_ref().to_string(), entry);
            }
        }
        Ok(objectives)
    }

    fn objective(&self, value: &Spanned<DeValue<'_>>) -> Result<ObjectiveEntry> {
        let mut entry = ObjectiveEntry::default();
        for (key, value) in self.table(value)? {
            let slot = match key.get_ref().as_ref() {
                "objective" => {
                    let text = match value.get_ref() {
                        DeValue::Integer(number) => number.as_str().to_owned(),
                        DeValue::Float(number) => number.as_str().to_owned(),
                        _ => return Err(self.wrong(value, "objective is a percentage, such as 99.9")),
                    };
                    let percent: Option<f64> = text.replace('_', "").parse().ok();
                    let Some(percent) = percent.filter(|percent| *percent > 0.0 && *percent < 100.0) else {
                        return Err(Error::new(
                            &codes::MET024,
                            format!(
                                "{}: objective = {text}: a percentage between 0 and 100",
                                self.place(value.span().start)
                            ),
                        ));
                    };
                    entry.objective = Some(percent / 100.0);
                    continue;
                }
                "about" => &mut entry.about,
                "bad" => &mut entry.bad,
                "events" => &mut entry.events,
                other => return Err(self.unknown(other, key, &KEYS)),
            };
            let text =
                value.get_ref().as_str().ok_or_else(|| self.wrong(value, "a text is expected here"))?;
            *slot = Some(text.to_owned());
        }
        Ok(entry)
    }
}

pub(super) fn json_schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "about": {"type": "string", "description": "what is promised"},
            "objective": {
                "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100,
                "description": "the percentage of events that must be good over 30 days",
            },
            "bad": {
                "type": "string",
                "description": "PromQL for bad events a second, with $window where a length of time belongs",
            },
            "events": {"type": "string", "description": "PromQL for all events a second, with $window likewise"},
        },
    })
}
