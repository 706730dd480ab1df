//! Objectives: the share of bad events over several windows, the budget that is left, how fast it burns.
//!
//! Invariants: a budget burns dangerously only while a long and a short window both say so; without events there is
//! nothing to judge, which is neither kept nor broken; over a short history only the windows that it covers are judged.

use std::collections::BTreeMap;
use std::time::Duration;

use codes::{Error, Result};
use futures_util::future::join_all;
use rtc_metrics::slo::{BURNS, Burn, PERIOD_DAYS, Severity, Slo, recorded_name};
use serde_json::{Value, json};
use settings::{Config, nearest};

use super::Source;
use super::model::{Reading, number};
use super::units::Unit;

/// One objective that is kept an eye on.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    pub name: String,
    pub title: String,
    /// The share of events that must be good: 0.999.
    pub target: f64,
    events: Events,
}

#[derive(Debug, Clone, PartialEq)]
enum Events {
    Catalogue(&'static Slo),
    Own { bad: String, events: String },
}

/// The objectives of the catalogue, as they are.
pub fn catalogue() -> Vec<Objective> {
    let of = |slo: &'static Slo| Objective {
        name: slo.name.to_owned(),
        title: slo.title.to_owned(),
        target: slo.objective(),
        events: Events::Catalogue(slo),
    };
    rtc_metrics::slo::ALL.iter().map(of).collect()
}

/// The objectives of the catalogue with the targets of the configuration, then those of the configuration alone.
pub fn objectives(config: &Config) -> Result<Vec<Objective>> {
    let entries = &config.objectives;
    let mut objectives = catalogue();
    for objective in &mut objectives {
        if let Some(entry) = entries.get(&objective.name) {
            objective.target = entry.objective.unwrap_or(objective.target);
            objective.title = entry.about.clone().unwrap_or_else(|| objective.title.clone());
        }
    }
    for (name, entry) in entries {
        let known = objectives.iter_mut().find(|objective| objective.name == *name);
        let wrong = |what: &str| Error::new(&codes::MET024, format!("{}: {what}", entry.place));
        match (known, &entry.bad, &entry.events) {
            (Some(_), None, None) => {}
            (Some(known), Some(bad), Some(events)) => {
                known.events = Events::Own { bad: bad.clone(), events: events.clone() };
            }
            (None, Some(bad), Some(events)) => objectives.push(Objective {
                name: name.clone(),
                title: entry.about.clone().unwrap_or_else(|| name.clone()),
                target: entry.objective.ok_or_else(|| wrong("the objective has no percentage"))?,
                events: Events::Own { bad: bad.clone(), events: events.clone() },
            }),
            _ => return Err(wrong("an objective of your own takes both bad and events")),
        }
        for text in [&entry.bad, &entry.events].into_iter().flatten() {
            if !text.contains("$window") {
                return Err(wrong("an expression lacks $window, which stands for a length of time"));
            }
        }
    }
    Ok(objectives)
}

/// The one that is asked for, or all.
pub fn chosen(objectives: Vec<Objective>, name: Option<&str>) -> Result<Vec<Objective>> {
    let Some(name) = name else { return Ok(objectives) };
    let names: Vec<String> = objectives.iter().map(|objective| objective.name.clone()).collect();
    let found: Vec<Objective> = objectives.into_iter().filter(|objective| objective.name == name).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let error = Error::new(&codes::MET023, format!("there is no objective {name:?}"));
    Err(match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint(format!("there are: {}", names.join(", "))),
    })
}

impl Objective {
    /// What may go wrong.
    pub fn budget(&self) -> f64 {
        1.0 - self.target
    }

    /// The share of bad events over a window. NaN where nothing happened, no series where nothing is recorded.
    pub fn ratio(&self, window: &str) -> String {
        match &self.events {
            Events::Catalogue(slo) => format!("({}) / ({})", slo.bad(window), slo.events(window)),
            Events::Own { bad, events } => {
                format!("({}) / ({})", bad.replace("$window", window), events.replace("$window", window))
            }
        }
    }
}

/// How one burn rate stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurnRate {
    pub burn: Burn,
    /// As a multiple of the rate that uses the budget up in exactly its period.
    pub long: Reading,
    pub short: Reading,
    /// Whether the history covers both windows.
    pub covered: bool,
}

impl BurnRate {
    /// `0.2/0.1`: the long window and the short one; a dash where nothing is known.
    pub fn text(&self) -> String {
        let one = |reading: Reading| match reading {
            Reading::Value(rate) if rate >= 99.5 => "99+".to_owned(),
            Reading::Value(0.0) => "0".to_owned(),
            Reading::Value(rate) if rate >= 9.95 => format!("{rate:.0}"),
            Reading::Value(rate) => format!("{rate:.1}"),
            Reading::NaN | Reading::NoSeries => "–".to_owned(),
        };
        let mark = if self.burns() { "!" } else { "" };
        format!("{}/{}{mark}", one(self.long), one(self.short))
    }

    pub fn burns(&self) -> bool {
        let above = |reading: Reading| reading.value().is_some_and(|rate| rate > self.burn.factor);
        above(self.long) && above(self.short)
    }
}

/// How an objective stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub objective: Objective,
    /// Over which window the budget is counted: `30d`, or what the history covers.
    pub period: String,
    pub ratio: Reading,
    /// The share of the budget that is left; below zero where more than all is gone.
    pub budget_left: Reading,
    pub burns: Vec<BurnRate>,
}

/// What one word says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Kept,
    NoTraffic,
    NoData,
    /// It burns, slowly.
    Ticket,
    /// It burns fast.
    Page,
    Spent,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Kept => "ok",
            State::NoTraffic => "no traffic",
            State::NoData => "no data",
            State::Ticket => "slow burn",
            State::Page => "fast burn",
            State::Spent => "spent",
        }
    }

    pub fn is_broken(self) -> bool {
        matches!(self, State::Ticket | State::Page | State::Spent)
    }
}

impl Standing {
    /// What is left of the budget, as a percentage.
    pub fn left_text(&self) -> String {
        match self.budget_left {
            Reading::Value(left) if left <= -9.995 => "<-999 %".to_owned(),
            Reading::Value(left) if left < 0.0 => format!("-{}", Unit::Share.format(-left)),
            reading => Unit::Share.show(reading),
        }
    }

    pub fn state(&self) -> State {
        let burning = self.burns.iter().filter(|rate| rate.burns()).map(|rate| rate.burn.severity).max();
        match (burning, self.budget_left, self.ratio) {
            (Some(Severity::Page), ..) => State::Page,
            (_, Reading::Value(left), _) if left <= 0.0 => State::Spent,
            (Some(Severity::Ticket), ..) => State::Ticket,
            (None, Reading::Value(_), _) => State::Kept,
            (None, _, Reading::NaN) => State::NoTraffic,
            _ => State::NoData,
        }
    }

    pub fn to_json(&self) -> Value {
        let burns: Vec<Value> = self
            .burns
            .iter()
            .map(|rate| {
                json!({
                    "long": rate.burn.long, "short": rate.burn.short, "factor": rate.burn.factor,
                    "severity": rate.burn.severity.as_str(), "long_rate": rate.long.to_json(),
                    "short_rate": rate.short.to_json(), "covered": rate.covered, "burns": rate.burns(),
                })
            })
            .collect();
        json!({
            "name": self.objective.name, "title": self.objective.title,
            "objective": number(self.objective.target), "period": self.period, "error_ratio": self.ratio.to_json(),
            "budget_left": self.budget_left.to_json(), "state": self.state().name(), "burn_rates": burns,
        })
    }
}

/// Asks for every window of every objective.
pub async fn standings(source: &Source, objectives: &[Objective], now_ms: i64) -> Result<Vec<Standing>> {
    let reach = source.reach();
    let covers = |window: &str| {
        let length = Duration::from_secs_f64(rtc_metrics::slo::minutes(window) * 60.0);
        reach.is_none_or(|reach| reach >= length)
    };
    let period = match reach {
        Some(reach) => format!("{}m", (reach.as_secs() / 60).max(1)),
        None => format!("{PERIOD_DAYS}d"),
    };
    let mut windows: Vec<&str> = BURNS.iter().flat_map(|burn| [burn.long, burn.short]).collect();
    windows.sort_unstable();
    windows.dedup();
    windows.retain(|window| covers(window));
    windows.push(&period);

    // Rules may have recorded the ratios already: a month of raw samples is expensive.
    let recorded = match source {
        Source::Prometheus(_) => recorded(source, now_ms).await?,
        Source::Local(_) => BTreeMap::new(),
    };
    let questions =
        objectives.iter().flat_map(|objective| windows.iter().map(move |window| (objective, *window)));
    let answers = join_all(questions.map(|(objective, window)| {
        let known = match objective.events {
            Events::Catalogue(slo) => recorded.get(&(recorded_name(window), slo.name.to_owned())).copied(),
            Events::Own { .. } => None,
        };
        async move {
            let ratio = match known {
                Some(ratio) => Reading::of(Some(ratio)),
                None => {
                    let samples = source.instant(&objective.ratio(window), now_ms).await?.samples();
                    Reading::of(samples.first().map(|sample| sample.value))
                }
            };
            Ok(((objective.name.clone(), window.to_owned()), ratio))
        }
    }))
    .await;
    let ratios: BTreeMap<(String, String), Reading> = answers.into_iter().collect::<Result<_>>()?;
    Ok(objectives
        .iter()
        .map(|objective| {
            let ratio_over = |window: &str| {
                ratios.get(&(objective.name.clone(), window.to_owned())).copied().unwrap_or(Reading::NoSeries)
            };
            let divided = |reading: Reading| match reading {
                Reading::Value(ratio) => Reading::Value(ratio / objective.budget()),
                other => other,
            };
            let ratio = ratio_over(&period);
            Standing {
                period: period.clone(),
                ratio,
                budget_left: match divided(ratio) {
                    Reading::Value(used) => Reading::Value(1.0 - used),
                    other => other,
                },
                burns: BURNS
                    .iter()
                    .map(|burn| BurnRate {
                        burn: *burn,
                        long: divided(ratio_over(burn.long)),
                        short: divided(ratio_over(burn.short)),
                        covered: covers(burn.long),
                    })
                    .collect(),
                objective: objective.clone(),
            }
        })
        .collect())
}

/// What recording rules have computed, by the name of the series and of the objective.
async fn recorded(source: &Source, now_ms: i64) -> Result<BTreeMap<(String, String), f64>> {
    let pattern = format!("{{__name__=~\"{}.+\"}}", recorded_name(""));
    let samples = source.instant(&pattern, now_ms).await?.samples();
    let named = samples.into_iter().filter(|sample| !sample.value.is_nan()).map(|sample| {
        let name = sample.labels.get(super::model::NAME).to_owned();
        ((name, sample.labels.get("slo").to_owned()), sample.value)
    });
    Ok(named.collect())
}
