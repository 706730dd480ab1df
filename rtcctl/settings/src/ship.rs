//! `[ship]`: what has to hold before a release, and what is measured after it.

use codes::Result;
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::file::Reader;
use super::parse_duration;

use std::time::Duration;

const KEYS: [&str; 4] = ["bake", "gate", "image", "min_budget"];
const GATE_KEYS: [&str; 7] = ["expr", "for", "max", "min", "min_samples", "no_data", "series"];
/// The share of an error budget that has to be left where nobody says it.
const MIN_BUDGET: f64 = 0.1;

/// How a release goes.
#[derive(Debug, Clone, PartialEq)]
pub struct ShipEntry {
    /// The image of `[images]`; the only one where it is empty.
    pub image: String,
    /// The share of each error budget that has to be left.
    pub min_budget: f64,
    /// For how long the new version runs before it is measured.
    pub bake: Duration,
    /// What is measured, by name, in the order of the file.
    pub gates: Vec<(String, GateEntry)>,
}

impl Default for ShipEntry {
    fn default() -> Self {
        Self { image: String::new(), min_budget: MIN_BUDGET, bake: Duration::ZERO, gates: Vec::new() }
    }
}

/// One measure: the same words as those of `metrics check`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GateEntry {
    pub expr: String,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub time: Option<Duration>,
    pub min_samples: u32,
    pub series: Option<String>,
    pub no_data: Option<String>,
}

impl Reader<'_> {
    /// The table `[ship]`.
    pub(super) fn ship(&self, value: &Spanned<DeValue<'_>>) -> Result<ShipEntry> {
        let mut ship = ShipEntry::default();
        for (key, value) in self.table(value)? {
            match key.get_ref().as_ref() {
                "image" => ship.image = self.words(value)?,
                "bake" => ship.bake = self.time(value)?,
                "min_budget" => {
                    let text = self.words(value)?;
                    let percent = text.trim_end_matches('%').trim().parse::<f64>().ok();
                    ship.min_budget = percent
                        .filter(|percent| text.ends_with('%') && (0.0..=100.0).contains(percent))
                        .map(|percent| percent / 100.0)
                        .ok_or_else(|| self.wrong(value, "min_budget is a percentage such as \"10%\""))?;
                }
                "gate" => {
                    let mut gates = Vec::new();
                    for (name, value) in self.table(value)? {
                        gates.push((name.span().start, name.get_ref().to_string(), self.gate(value)?));
                    }
                    gates.sort_by_key(|(position, ..)| *position);
                    ship.gates = gates.into_iter().map(|(_, name, gate)| (name, gate)).collect();
                }
                other => return Err(self.unknown(other, key, &KEYS)),
            }
        }
        Ok(ship)
    }

    fn gate(&self, table: &Spanned<DeValue<'_>>) -> Result<GateEntry> {
        let mut gate = GateEntry { min_samples: 1, ..GateEntry::default() };
        for (key, value) in self.table(table)? {
            match key.get_ref().as_ref() {
                "expr" => gate.expr = self.words(value)?,
                "for" => gate.time = Some(self.time(value)?),
                "min" => gate.min = Some(self.number(value)?),
                "max" => gate.max = Some(self.number(value)?),
                "min_samples" => {
                    let number = self.number(value)?;
                    if !(1.0..=11_000.0).contains(&number) || number.fract() != 0.0 {
                        return Err(self.wrong(value, "min_samples is a whole number from 1 to 11000"));
                    }
                    gate.min_samples = number as u32;
                }
                "series" => gate.series = Some(self.one_of(value, &["any", "all", "worst"])?),
                "no_data" => gate.no_data = Some(self.one_of(value, &["fail", "pass", "inconclusive"])?),
                other => return Err(self.unknown(other, key, &GATE_KEYS)),
            }
        }
        match &gate {
            GateEntry { expr, .. } if expr.is_empty() => Err(self.wrong(table, "a gate takes expr")),
            GateEntry { min: None, max: None, .. } => Err(self.wrong(table, "a gate takes min or max")),
            GateEntry { min: Some(min), max: Some(max), .. } if min > max => {
                Err(self.wrong(table, "min is above max"))
            }
            GateEntry { time: None, min_samples: 2.., .. } => {
                Err(self.wrong(table, "min_samples takes for: of now there is one sample"))
            }
            _ => Ok(gate),
        }
    }

    fn words(&self, value: &Spanned<DeValue<'_>>) -> Result<String> {
        let text = value.get_ref().as_str();
        text.map(str::to_owned).ok_or_else(|| self.wrong(value, "a text is expected here"))
    }

    fn one_of(&self, value: &Spanned<DeValue<'_>>, words: &[&str]) -> Result<String> {
        let text = self.words(value)?;
        match words.contains(&text.as_str()) {
            true => Ok(text),
            false => Err(self.wrong(value, &format!("{text:?}: allowed are {}", words.join(", ")))),
        }
    }

    fn time(&self, value: &Spanned<DeValue<'_>>) -> Result<Duration> {
        parse_duration(&self.words(value)?).map_err(|problem| self.wrong(value, &problem))
    }

    fn number(&self, value: &Spanned<DeValue<'_>>) -> Result<f64> {
        let text = match value.get_ref() {
            DeValue::Integer(number) => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return Err(self.wrong(value, "a number is expected here")),
        };
        let number = text.replace('_', "").parse().ok().filter(|number: &f64| !number.is_nan());
        number.ok_or_else(|| self.wrong(value, "a number is expected here"))
    }
}

pub(super) fn json_schema() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "how a release goes (rtcctl ship)",
        "properties": {
            "image": text("the image of [images] that is released; the only one by default"),
            "min_budget": {
                "type": "string", "pattern": "^[0-9.]+ ?%$", "default": "10%",
                "description": "what has to be left of each error budget before anything is changed",
            },
            "bake": text("for how long the new version runs before it is measured"),
            "gate": {
                "type": "object",
                "description": "what is measured after a release, as rtcctl metrics check does; the objectives by default",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["expr"],
                    "properties": {
                        "expr": text("a PromQL expression"),
                        "min": {"type": "number", "description": "the least that is allowed"},
                        "max": {"type": "number", "description": "the most that is allowed"},
                        "for": text("every value of the last so much time is judged"),
                        "min_samples": {
                            "type": "integer", "minimum": 1, "maximum": 11_000, "default": 1,
                            "description": "how many samples each series must be made of",
                        },
                        "series": {"enum": ["any", "all", "worst"], "description": "what decides of several series"},
                        "no_data": {
                            "enum": ["fail", "pass", "inconclusive"], "default": "inconclusive",
                            "description": "what no series, or NaN, means",
                        },
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::File;
    use std::path::Path;

    fn read(text: &str) -> Result<ShipEntry> {
        File::parse(Path::new("rtc.toml"), text).map(|file| file.ship.unwrap_or_default())
    }

    #[test]
    fn a_release_is_described_with_its_gates_in_their_order() {
        let ship = read(
            "[ship]\nimage = \"rtcd\"\nmin_budget = \"12.5 %\"\nbake = \"90s\"\n[ship.gate.slow]\nexpr = \"a\"\nmax = 1\n\
             [ship.gate.errors]\nexpr = \"b\"\nmin = 0.5\nfor = \"5m\"\nmin_samples = 4\nseries = \"worst\"\nno_data = \
             \"fail\"\n",
        )
        .unwrap();
        assert_eq!((ship.min_budget, ship.bake), (0.125, Duration::from_secs(90)));
        let names: Vec<&str> = ship.gates.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["slow", "errors"]);
        let errors = &ship.gates[1].1;
        assert_eq!(
            (errors.min, errors.min_samples, errors.time),
            (Some(0.5), 4, Some(Duration::from_secs(300)))
        );
        assert_eq!(read("").unwrap().min_budget, 0.1);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_line() {
        for (text, said) in [
            ("[ship]\nmin_budget = \"10\"", "percentage"),
            ("[ship]\nmin_budget = \"101%\"", "percentage"),
            ("[ship]\nbakes = \"1m\"", "bakes"),
            ("[ship.gate.a]\nmax = 1", "takes expr"),
            ("[ship.gate.a]\nexpr = \"a\"", "takes min or max"),
            ("[ship.gate.a]\nexpr = \"a\"\nmin = 2\nmax = 1", "min is above max"),
            ("[ship.gate.a]\nexpr = \"a\"\nmax = 1\nmin_samples = 3", "takes for"),
            ("[ship.gate.a]\nexpr = \"a\"\nmax = \"1\"", "a number"),
            ("[ship.gate.a]\nexpr = \"a\"\nmax = 1\nseries = \"best\"", "allowed are any"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message().contains(said), "{text}: {error:?}");
            assert!(error.message().contains("rtc.toml:"), "{error:?}");
        }
    }
}
