//! What is measured before and after a release: the gates of `rtc.toml`, or the objectives where there are none.
//!
//! Invariants: the new version has run for the baking time before it is measured, also where another process began to wait;
//! what stood badly before the release and is no worse is not its fault; one measure that is breached outranks any that cannot
//! be said.

use std::time::Duration;

use clap::ValueEnum as _;
use serde_json::{Value, json};
use ship::{Compared, Deployed, Figure, Gated, Stands, Stood, Worse, compare, stood};

use super::budgets::look_at_budgets;
use crate::codes;
use crate::commands::metrics::check;
use crate::config::GateEntry;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::exit;
use crate::metrics::slo::{Standing, State};
use crate::metrics::verdict::{NoData, Rule};
use crate::output::{Finding, Report, Severity};

/// What burns no faster than its budget comes in does no harm.
const BUDGET_COMES_IN: f64 = 1.0;

/// A measure as it stands, and all that was seen of it.
pub struct Seen {
    pub stood: Stood,
    document: Value,
}

/// Every measure with what it came to.
#[derive(Default)]
pub struct Measured {
    pub verdicts: Vec<Value>,
    breached: Vec<String>,
    unknown: Vec<String>,
    /// Bad, and no worse than before the release.
    as_before: Vec<String>,
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

    /// What is bad all the same.
    pub fn findings(&self) -> Vec<Finding> {
        self.as_before.iter().map(|said| stands_badly(said, Severity::Warning)).collect()
    }

    pub fn given(self) -> Gated {
        let mut sentence = match self.passes {
            1 => "1 measure passes".to_owned(),
            count => format!("{count} measures pass"),
        };
        if !self.as_before.is_empty() {
            sentence.push_str(&format!("; as bad as before: {}", self.as_before.join("; ")));
        }
        if !self.unjudged.is_empty() {
            sentence.push_str(&format!("; not known: {}", self.unjudged.join(", ")));
        }
        Gated { verdicts: self.verdicts, sentence }
    }
}

/// That a measure stands badly without being this release's fault.
pub fn stands_badly(said: &str, severity: Severity) -> Finding {
    Finding::new(&codes::SHP024, severity, said).with_hint(codes::SHP024.action)
}

/// How every measure stands now. `standings` are asked for by whoever has looked already.
pub async fn look(context: &Context, standings: Option<&[Standing]>) -> Result<Vec<Seen>> {
    let gates = &context.config.ship.gates;
    if gates.is_empty() {
        let looked;
        let standings: &[Standing] = match standings {
            Some(standings) => standings,
            None => {
                looked = look_at_budgets(context).await?;
                &looked
            }
        };
        return Ok(standings.iter().map(of_objective).collect());
    }
    let mut seen = Vec::with_capacity(gates.len());
    for (name, gate) in gates {
        let report = check::run(arguments(gate), context).await?;
        seen.push(of_gate(name, gate, &report));
    }
    Ok(seen)
}

/// Waits for what is left of the baking time, and measures.
pub async fn measure(context: &Context, deployed: &Deployed, before: &[Stood]) -> Result<Measured> {
    let bake_ms = i64::try_from(context.config.ship.bake.as_millis()).unwrap_or(i64::MAX);
    let left_ms = deployed.done_at_ms.saturating_add(bake_ms) - context.clock.now().as_millis();
    if let Ok(left @ 1..) = u64::try_from(left_ms) {
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
    Ok(judge(look(context, None).await?, before, context.config.ship.gates.is_empty()))
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

fn of_gate(name: &str, gate: &GateEntry, report: &Report) -> Seen {
    let decisive = &report.data["decisive"]["value"];
    let value = match decisive {
        Value::String(text) => crate::metrics::model::parse_number(text).filter(|value| !value.is_nan()),
        value => value.as_f64(),
    };
    let stands = match report.exit {
        exit::BREACHED => Stands::Badly,
        exit::INCONCLUSIVE => Stands::Unknown,
        _ => Stands::Well,
    };
    let is_over = gate.max.is_some_and(|max| value.is_some_and(|value| value > max));
    let (side, worse) = match (gate.min, gate.max) {
        (None, _) => ("value", Worse::Up),
        (Some(_), None) => ("value", Worse::Down),
        // What was too little and is too much now is another thing.
        (Some(_), Some(_)) if is_over => ("value above", Worse::Up),
        (Some(_), Some(_)) => ("value below", Worse::Down),
    };
    let says = match report.findings.first() {
        Some(finding) => finding.message.clone(),
        None if decisive.is_null() => "there was nothing to judge".to_owned(),
        None => format!("it was {}", decisive.as_str().map_or_else(|| decisive.to_string(), str::to_owned)),
    };
    let figure = Figure { name: side.to_owned(), value, worse, harmless_to: None };
    Seen {
        stood: Stood { measure: name.to_owned(), stands, says, figures: vec![figure] },
        document: json!({"gate": name, "status": report.status, "data": report.data}),
    }
}

/// Bad is an objective whose budget burns fast or is used up; a slow burn began before this release. What burns now is seen
/// in the short windows alone.
fn of_objective(standing: &Standing) -> Seen {
    let left = standing.left_text();
    let (stands, says) = match standing.state() {
        State::Page => (Stands::Badly, format!("the budget burns fast, {left} of it left")),
        State::Spent => (Stands::Badly, format!("the budget is used up, {left} of it left")),
        State::Kept | State::Ticket => (Stands::Well, format!("{left} of the budget was left")),
        state @ (State::NoTraffic | State::NoData) => (Stands::Unknown, state.name().to_owned()),
    };
    let fast = standing.burns.iter().filter(|rate| rate.burn.severity == rtc_metrics::slo::Severity::Page);
    let figures = fast.map(|rate| Figure {
        name: format!("burn over {}", rate.burn.short),
        value: rate.short.value(),
        worse: Worse::Up,
        harmless_to: Some(BUDGET_COMES_IN),
    });
    let figures = figures.collect();
    Seen {
        stood: Stood { measure: standing.objective.name.clone(), stands, says, figures },
        document: standing.to_json(),
    }
}

fn judge(seen: Vec<Seen>, before: &[Stood], is_by_objectives: bool) -> Measured {
    let mut measured = Measured::default();
    for Seen { stood: now, mut document } in seen {
        let was = stood(before, &now.measure);
        let compared = compare(was, &now);
        document["compared"] = json!(compared.name());
        document["before"] = json!(was);
        document["now"] = json!(now);
        measured.verdicts.push(document);
        match compared {
            Compared::Well => measured.passes += 1,
            Compared::AsBefore(said) => measured.as_before.push(said),
            Compared::Worse(said) => measured.breached.push(said),
            Compared::Unknown(_) if is_by_objectives && now.stands == Stands::Unknown => {
                measured.unjudged.push(format!("{} ({})", now.measure, now.says));
            }
            Compared::Unknown(said) => measured.unknown.push(said),
        }
    }
    if is_by_objectives && measured.passes + measured.as_before.len() == 0 {
        measured.unknown.push("no objective has a value".to_owned());
        measured.unjudged.clear();
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::model::Reading;
    use crate::metrics::slo::{BurnRate, catalogue};
    use rtc_metrics::slo::BURNS;

    fn standing(place: usize, left: Reading, ratio: Reading) -> Standing {
        let objective = catalogue().swap_remove(place);
        Standing { objective, period: "30d".to_owned(), ratio, budget_left: left, burns: Vec::new() }
    }

    fn judged(standings: &[Standing], before: &[Standing]) -> Measured {
        let before: Vec<Stood> = before.iter().map(|one| of_objective(one).stood).collect();
        judge(standings.iter().map(of_objective).collect(), &before, true)
    }

    #[test]
    fn an_objective_that_nobody_knows_passes_for_nothing_and_is_named() {
        let known = || standing(0, Reading::Value(0.5), Reading::Value(0.0));
        let quiet = || standing(1, Reading::NaN, Reading::NaN);
        let spent = || standing(0, Reading::Value(-0.1), Reading::Value(0.1));
        let measured = judged(&[known(), quiet()], &[]);
        assert!(measured.refusal().is_none());
        let name = &quiet().objective.name;
        assert_eq!(measured.given().sentence, format!("1 measure passes; not known: {name} (no traffic)"));
        let code = |standings: &[Standing]| judged(standings, &[]).refusal().unwrap().code().id;
        assert_eq!(code(&[quiet()]), "SHP008");
        assert_eq!(code(&[spent(), quiet()]), "SHP007");
    }

    /// All of the budget is gone, and it burns so fast over the short windows.
    fn spent(rate: f64) -> Standing {
        let burns = BURNS.iter().map(|burn| BurnRate {
            burn: *burn,
            long: Reading::Value(0.0),
            short: Reading::Value(rate),
            covered: true,
        });
        Standing { burns: burns.collect(), ..standing(0, Reading::Value(-0.1), Reading::Value(0.1)) }
    }

    #[test]
    fn a_budget_that_was_gone_before_is_held_against_a_release_only_where_it_burns_faster() {
        for (before, now, code) in
            [(0.2, 0.3, None), (8.0, 8.4, None), (8.0, 4.0, None), (8.0, 9.5, Some("SHP007"))]
        {
            let measured = judged(&[spent(now)], &[spent(before)]);
            let refusal = measured.refusal();
            assert_eq!(refusal.as_ref().map(|error| error.code().id), code, "{before} {now}");
            let said = refusal
                .map_or_else(|| measured.findings()[0].message.clone(), |error| error.message().to_owned());
            assert!(said.contains(&format!("burn over 5m {now}, before the release {before}")), "{said}");
        }
        let kept = standing(0, Reading::Value(0.5), Reading::Value(0.0));
        let refusal = judged(&[spent(2.0)], &[kept]).refusal().unwrap();
        assert!(refusal.message().contains("before the release 50"), "{}", refusal.message());
    }

    #[test]
    fn the_side_on_which_a_value_is_outside_is_compared_with_that_side_alone() {
        let gate = GateEntry { min: Some(1.0), max: Some(9.0), ..GateEntry::default() };
        let seen = |value: f64| {
            let report = Report::new("metrics/check", json!({"decisive": {"value": value}}))
                .with_status("breached", exit::BREACHED);
            of_gate("up", &gate, &report)
        };
        let code = |before: f64, now: f64| {
            judge(vec![seen(now)], &[seen(before).stood], false).refusal().map(|error| error.code().id)
        };
        assert_eq!(code(20.0, 20.0), None);
        assert_eq!(code(0.0, 20.0), Some("SHP007"));
        assert_eq!(code(0.5, 0.0), Some("SHP007"));
    }
}
