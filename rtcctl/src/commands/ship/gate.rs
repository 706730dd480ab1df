//! What is measured after a release: the gates of `rtc.toml`, or the objectives where there are none.
//!
//! Invariants: the new version has run for the baking time before it is measured, also where another process began to wait;
//! one measure that is breached outranks any that cannot be said.

use std::time::Duration;

use clap::ValueEnum as _;
use serde_json::{Value, json};
use ship::{Deployed, Gated};

use super::driver::look_at_budgets;
use crate::codes;
use crate::commands::metrics::check;
use crate::config::GateEntry;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::exit::{self, Exit};
use crate::metrics::slo::State;
use crate::metrics::verdict::{NoData, Rule};

/// Every measure with what it came to.
pub struct Measured {
    pub verdicts: Vec<Value>,
    breached: Vec<String>,
    unknown: Vec<String>,
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
        let sentence = match self.verdicts.len() {
            1 => "1 measure passes".to_owned(),
            count => format!("{count} measures pass"),
        };
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
    let mut measured = Measured { verdicts: Vec::new(), breached: Vec::new(), unknown: Vec::new() };
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
            None => {}
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
    let standings = look_at_budgets(context).await?;
    let mut is_known = false;
    for standing in &standings {
        let name = &standing.objective.name;
        match standing.state() {
            State::Page => measured.breached.push(format!("{name}: the budget burns fast")),
            State::Spent => measured.breached.push(format!("{name}: the budget is used up")),
            State::Kept | State::Ticket => is_known = true,
            State::NoTraffic | State::NoData => {}
        }
        measured.verdicts.push(standing.to_json());
    }
    if !is_known {
        measured.unknown.push("no objective has a value".to_owned());
    }
    Ok(())
}
