//! What is measured after a release: the gates of `rtc.toml`, or the objectives where there are none.
//!
//! Invariants: the new version has run for the baking time before it is measured, also where another process began to wait;
//! one measure that is breached outranks any that cannot be said.

use std::time::Duration;

use clap::ValueEnum as _;
use serde_json::{Value, json};
use ship::{Deployed, Gated};

use super::budgets::look_at_budgets;
use crate::codes;
use crate::commands::metrics::check;
use crate::config::GateEntry;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::exit::{self, Exit};
use crate::metrics::slo::{Standing, State};
use crate::metrics::verdict::{NoData, Rule};

/// Every measure with what it came to.
#[derive(Default)]
pub struct Measured {
    pub verdicts: Vec<Value>,
    breached: Vec<String>,
    unknown: Vec<String>,
    /// Objectives without a value, beside others that have one.
    pub unjudged: Vec<String>,
    passes: usize,
}

impl Measured {
    pub fn refusal(&self) -> Option<Error> {
        if !self.breached.is_empty() {
            return Some(
                Error::new(&codes::SHP007, self.breached.join("; ")).with_hint(codes::SHP007.action),
            );
        }
        if !self.unknown.is_empty() {
            return Some(Error::new(&codes::SHP008, self.unknown.join("; ")).with_hint(codes::SHP008.action));
        }
        None
    }

    pub fn given(self) -> Gated {
        let mut sentence = match self.passes {
            1 => "1 measure passes".to_owned(),
            count => format!("{count} measures pass"),
        };
        if !self.unjudged.is_empty() {
            sentence.push_str(&format!("; not known: {}", self.unjudged.join(", ")));
        }
        Gated { verdicts: self.verdicts, sentence }
    }
}

/// Waits for what is left of the baking time, and measures.
pub async fn measure(context: &Context, deployed: &Deployed) -> Result<Measured> {
    let bake_ms = i64::try_from(context.config.ship.bake.as_millis()).unwrap_or(i64::MAX);
    let left_ms = deployed.done_at_ms.saturating_add(bake_ms) - context.clock.now().as_millis();
    if let Ok(left @ 1..) = u64::try_from(left_ms) {
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
    let mut measured = Measured::default();
    if context.config.ship.gates.is_empty() {
        by_objectives(context, &mut measured).await?;
    }
    for (name, gate) in &context.config.ship.gates {
        let report = check::run(arguments(gate), context).await?;
        let said = report.findings.first().map_or_else(String::new, |finding| finding.message.clone());
        let words: &[Exit] = &[exit::BREACHED, exit::INCONCLUSIVE];
        match words.iter().position(|word| *word == report.exit) {
            Some(0) => measured.breached.push(format!("{name}: {said}")),
            Some(_) => measured.unknown.push(format!("{name}: {said}")),
            None => measured.passes += 1,
        }
        measured.verdicts.push(json!({"gate": name, "status": report.status, "data": report.data}));
    }
    Ok(measured)
}

fn arguments(gate: &GateEntry) -> check::Args {
    let rule = gate.series.as_deref().and_then(|text| Rule::from_str(text, true).ok());
    let no_data = gate.no_data.as_deref().and_then(|text| NoData::from_str(text, true).ok());
    check::Args {
        expr: gate.expr.clone(),
        min: gate.min,
        max: gate.max,
        time: gate.time,
        min_samples: gate.min_samples,
        series: rule,
        no_data: no_data.unwrap_or_default(),
    }
}

/// Breached is an objective whose budget burns fast or is used up; a slow burn began before this release.
async fn by_objectives(context: &Context, measured: &mut Measured) -> Result<()> {
    judge(&look_at_budgets(context).await?, measured);
    Ok(())
}

fn judge(standings: &[Standing], measured: &mut Measured) {
    for standing in standings {
        let name = &standing.objective.name;
        match standing.state() {
            State::Page => measured.breached.push(format!("{name}: the budget burns fast")),
            State::Spent => measured.breached.push(format!("{name}: the budget is used up")),
            State::Kept | State::Ticket => measured.passes += 1,
            state @ (State::NoTraffic | State::NoData) => {
                measured.unjudged.push(format!("{name} ({})", state.name()));
            }
        }
        measured.verdicts.push(standing.to_json());
    }
    if measured.passes == 0 {
        measured.unknown.push("no objective has a value".to_owned());
        measured.unjudged.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::model::Reading;
    use crate::metrics::slo::catalogue;

    fn standing(place: usize, left: Reading, ratio: Reading) -> Standing {
        let objective = catalogue().swap_remove(place);
        Standing { objective, period: "30d".to_owned(), ratio, budget_left: left, burns: Vec::new() }
    }

    #[test]
    fn an_objective_that_nobody_knows_passes_for_nothing_and_is_named() {
        let known = || standing(0, Reading::Value(0.5), Reading::Value(0.0));
        let quiet = || standing(1, Reading::NaN, Reading::NaN);
        let spent = || standing(0, Reading::Value(-0.1), Reading::Value(0.1));
        let judged = |standings: &[Standing]| {
            let mut measured = Measured::default();
            judge(standings, &mut measured);
            measured
        };
        let measured = judged(&[known(), quiet()]);
        assert!(measured.refusal().is_none());
        let name = &quiet().objective.name;
        assert_eq!(measured.given().sentence, format!("1 measure passes; not known: {name} (no traffic)"));
        let code = |standings: &[Standing]| judged(standings).refusal().unwrap().code().id;
        assert_eq!(code(&[quiet()]), "SHP008");
        assert_eq!(code(&[spent(), quiet()]), "SHP007");
    }
}
