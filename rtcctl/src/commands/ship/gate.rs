//! What is measured before and after a release: the gates of `rtc.toml`, or the objectives where there are none.
//!
//! Invariants: the new version has run for the baking time before it is measured, also where another process began to wait;
//! what stood badly before the release and is no worse is not its fault; an objective is judged by what burned since the
//! rollout, where that is known; what had a value before and has none after is no pass, and where nothing is heard any more
//! nobody knows; one measure that is breached outranks any that cannot be said.

use std::collections::BTreeSet;
use std::time::Duration;

use ::deploy::gate::View;
use clap::ValueEnum as _;
use codes::{Error, Result, exit};
use kernel::Timestamp;
use serde_json::{Value, json};
use settings::GateEntry;
use ship::{Compared, Deployed, Figure, Gated, Stands, Stood, Worse, compare, stood};

use super::budgets::look_at_budgets;
use super::others::last_changed;
use crate::commands::deploy::gauge;
use crate::commands::metrics::check;
use crate::context::Context;
use crate::metrics::slo::{Standing, State};
use crate::metrics::verdict::{NoData, Rule};
use crate::output::{Finding, Report, Severity};

/// What burns no faster than its budget comes in does no harm.
const BUDGET_COMES_IN: f64 = 1.0;
/// The figure of an objective that is this release's alone.
const SINCE: &str = "burn since the rollout";
/// The longest of the short windows by which objectives are compared.
const LONGEST_SHORT: Duration = Duration::from_secs(30 * 60);
/// So long something is seen as it was, though nobody named a length of time.
const SCRAPES: Duration = Duration::from_secs(60);

/// A measure as it stands, and all that was seen of it.
struct Seen {
    stood: Stood,
    /// How far back it looks, in what is compared.
    reach: Duration,
    since: Since,
    document: Value,
}

/// What is heard of an objective since the rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// A value, or it was not asked for.
    Heard,
    /// Nobody came, which alone is no failure.
    Nobody,
    /// Nothing is recorded: nobody came yet, or it is lost.
    NoSeries,
}

/// Every measure with what it came to.
#[derive(Default)]
pub struct Measured {
    pub verdicts: Vec<Value>,
    breached: Vec<String>,
    unknown: Vec<String>,
    /// Bad, and no worse than before the release.
    as_before: Vec<String>,
    /// Objectives without a value, or of which nothing is heard since the rollout, beside others that are known.
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

/// How every measure stands now; `standings` are the objectives'.
async fn look(context: &Context, standings: &[Standing]) -> Result<Vec<Seen>> {
    let gates = &context.config.ship.gates;
    if gates.is_empty() {
        return Ok(standings.iter().map(of_objective).collect());
    }
    let mut seen = Vec::with_capacity(gates.len());
    for (name, gate) in gates {
        let report = check::run(arguments(gate), context).await?;
        seen.push(of_gate(name, gate, &report));
    }
    Ok(seen)
}

/// How every measure stands before the release, by what is not another's: where somebody changed what runs within the time
/// over which something is measured, there is nothing to compare it by.
pub async fn before(context: &Context, standings: &[Standing], own: Option<&str>) -> Result<Vec<Stood>> {
    let seen = look(context, standings).await?;
    let now = context.clock.now();
    let changed = last_changed(own, context)?.map(|at| now.since(at));
    Ok(seen.into_iter().map(|seen| of_before(seen, changed)).collect())
}

fn of_before(seen: Seen, changed: Option<Duration>) -> Stood {
    match changed {
        Some(ago) if ago < seen.reach => seen.stood.without_figures(),
        _ => seen.stood,
    }
}

/// Waits for what is left of the baking time, and measures.
pub async fn measure(context: &Context, deployed: &Deployed, before: &[Stood]) -> Result<Measured> {
    let bake_ms = i64::try_from(context.config.ship.bake.as_millis()).unwrap_or(i64::MAX);
    let left_ms = deployed.done_at_ms.saturating_add(bake_ms) - context.clock.now().as_millis();
    if let Ok(left @ 1..) = u64::try_from(left_ms) {
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
    if !context.config.ship.gates.is_empty() {
        return Ok(judge(look(context, &[]).await?, before, false));
    }
    let standings = look_at_budgets(context).await?;
    let view = View {
        since: Timestamp::from_millis(deployed.done_at_ms),
        now: context.clock.now(),
        pods: String::new(),
    };
    let checks = gauge::of_objectives(context)?.checks;
    let mut seen = Vec::with_capacity(standings.len());
    for standing in &standings {
        let mut one = of_objective(standing);
        if let Some(check) = checks.iter().find(|check| check.name == standing.objective.name) {
            let report = gauge::asked(check, &view, context).await?;
            since_rollout(&mut one, standing, &report);
        }
        seen.push(one);
    }
    Ok(judge(seen, before, true))
}

/// What burned since the rollout is this release's, and nobody else's: where it is known, nothing else is compared.
fn since_rollout(seen: &mut Seen, standing: &Standing, report: &Report) {
    seen.document["since_rollout"] = report.data.clone();
    let Some(ratio) = value(&report.data["decisive"]["value"]) else {
        seen.since = match report.data["because"].as_str() {
            Some("no_series") => Since::NoSeries,
            _ => Since::Nobody,
        };
        return;
    };
    seen.stood.figures = vec![Figure {
        name: SINCE.to_owned(),
        value: Some(ratio / standing.objective.budget()),
        worse: Worse::Up,
        harmless_to: Some(BUDGET_COMES_IN),
    }];
    if report.exit == exit::BREACHED && seen.stood.stands != Stands::Badly {
        seen.stood.stands = Stands::Badly;
        seen.stood.says = format!("the budget burns fast, {} of it left", standing.left_text());
    }
}

/// How fast an objective burned over its shortest window.
fn shortest(was: &Stood) -> Option<f64> {
    was.figures.first().and_then(|figure| figure.value)
}

/// How it stood before, to be compared with what burned since the rollout: what burned fast is what the shortest window says.
fn by_what_burned(was: &Stood) -> Stood {
    let short = shortest(was);
    let mut was = was.clone();
    if was.stands == Stands::Well && short.is_some_and(|rate| rate > gauge::alerts_at()) {
        was.stands = Stands::Badly;
    }
    was.figures.push(Figure {
        name: SINCE.to_owned(),
        value: short,
        worse: Worse::Up,
        harmless_to: Some(BUDGET_COMES_IN),
    });
    was
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

/// A number, or none.
fn value(told: &Value) -> Option<f64> {
    match told {
        Value::String(text) => crate::metrics::model::parse_number(text).filter(|value| !value.is_nan()),
        value => value.as_f64(),
    }
}

fn of_gate(name: &str, gate: &GateEntry, report: &Report) -> Seen {
    let decisive = &report.data["decisive"];
    let stands = match report.exit {
        exit::BREACHED => Stands::Badly,
        exit::INCONCLUSIVE => Stands::Unknown,
        _ => Stands::Well,
    };
    let says = match report.findings.first() {
        Some(finding) => finding.message.clone(),
        None if decisive["value"].is_null() => "there was nothing to judge".to_owned(),
        None => {
            let value = &decisive["value"];
            format!("it was {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        }
    };
    // Each that is not within its limits is compared with itself; one that joins them is another thing.
    let series = report.data["series"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let figures = series.iter().filter(|one| one["verdict"] != "pass").map(|one| of_series(gate, one));
    let stood = Stood {
        measure: name.to_owned(),
        stands,
        says,
        asked: Some(question(gate)),
        figures: figures.collect(),
    };
    Seen {
        stood,
        reach: reach(gate),
        since: Since::Heard,
        document: json!({"gate": name, "status": report.status, "data": report.data}),
    }
}

fn of_series(gate: &GateEntry, series: &Value) -> Figure {
    let value = value(&series["value"]);
    let is_over = gate.max.is_some_and(|max| value.is_some_and(|value| value > max));
    let (side, worse) = match (gate.min, gate.max) {
        (None, _) => ("value", Worse::Up),
        (Some(_), None) => ("value", Worse::Down),
        // What was too little and is too much now is another thing.
        (Some(_), Some(_)) if is_over => ("value above", Worse::Up),
        (Some(_), Some(_)) => ("value below", Worse::Down),
    };
    let labels = series["labels"].as_object().filter(|labels| !labels.is_empty());
    let name = labels.map_or_else(
        || side.to_owned(),
        |labels| {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{side} of {{{}}}", labels.join(", "))
        },
    );
    Figure { name, value, worse, harmless_to: None }
}

/// What is asked, and what is allowed: all that decides what an answer means.
fn question(gate: &GateEntry) -> String {
    let GateEntry { expr, min, max, time, min_samples, series, no_data } = gate;
    json!([expr, min, max, time.map(|time| time.as_millis() as u64), min_samples, series, no_data])
        .to_string()
}

/// How far back what a gate measures may reach: every length of time that its expression names, with those in the names of
/// recorded series (`ratio5m`), on top of its own, and a scrape or two.
fn reach(gate: &GateEntry) -> Duration {
    let mut named: BTreeSet<u64> = BTreeSet::new();
    let mut rest = gate.expr.as_str();
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        rest = &rest[start..];
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let letters = after.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit_ms = match &after[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "y" => 31_536_000_000,
            _ => 0,
        };
        named.insert(digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(unit_ms));
        rest = after;
    }
    let named = named.into_iter().fold(0, u64::saturating_add);
    gate.time.unwrap_or_default().saturating_add(Duration::from_millis(named)).saturating_add(SCRAPES)
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
    let objective = &standing.objective;
    let asked = Some(format!("{} of {}", objective.target, objective.ratio("$window")));
    Seen {
        stood: Stood { measure: objective.name.clone(), stands, says, asked, figures },
        reach: LONGEST_SHORT,
        since: Since::Heard,
        document: standing.to_json(),
    }
}

fn judge(seen: Vec<Seen>, before: &[Stood], is_by_objectives: bool) -> Measured {
    let mut measured = Measured::default();
    let (mut is_heard, mut silent) = (false, Vec::new());
    for Seen { stood: now, mut document, since, .. } in seen {
        let was = stood(before, &now);
        let is_known = now.stands != Stands::Unknown;
        // Where nothing was kept to compare by, its shortest window still reaches behind the rollout.
        let had_value = is_known && was.and_then(shortest).or_else(|| shortest(&now)).is_some();
        let is_silent = had_value && since == Since::Nobody;
        is_heard |= is_known && since == Since::Heard;
        if is_silent {
            silent.push(now.measure.clone());
        }
        let turned = was.filter(|_| is_by_objectives).map(by_what_burned);
        let compared = match compare(turned.as_ref().or(was), &now) {
            Compared::Well | Compared::AsBefore(_) if had_value && since == Since::NoSeries => {
                Compared::Unknown(format!("{}: no series since the rollout", now.measure))
            }
            compared => compared,
        };
        document["compared"] = json!(compared.name());
        document["before"] = json!(was);
        document["now"] = json!(now);
        measured.verdicts.push(document);
        match compared {
            Compared::Well if is_silent => {}
            Compared::Well => measured.passes += 1,
            Compared::AsBefore(said) => measured.as_before.push(said),
            Compared::Worse(said) => measured.breached.push(said),
            Compared::Unknown(_)
                if is_by_objectives
                    && now.stands == Stands::Unknown
                    && was.is_none_or(|was| was.stands == Stands::Unknown) =>
            {
                measured.unjudged.push(format!("{} ({})", now.measure, now.says));
            }
            // What had a value before the release has lost it with it.
            Compared::Unknown(said) => measured.unknown.push(match was {
                Some(was) if now.stands == Stands::Unknown => {
                    format!("{said}; before the release {}", was.says)
                }
                _ => said,
            }),
        }
    }
    if !silent.is_empty() && !is_heard {
        let said = format!("nothing is heard since the rollout of what was before it: {}", silent.join(", "));
        measured.unknown.push(said);
        return measured;
    }
    measured.unjudged.extend(silent.iter().map(|measure| format!("{measure} since the rollout")));
    if is_by_objectives && measured.passes + measured.as_before.len() == 0 {
        measured.unknown.push("no objective has a value".to_owned());
        measured.unjudged.clear();
    }
    measured
}

#[cfg(test)]
mod tests;
