//! `rtcctl ship --plan-only`: what a release would change, all of it, and whether it would be let.
//!
//! Invariants: nothing outside this machine is changed, and what is built is what a release would build; everything is
//! looked at that can be, also where one part of it cannot; what would refuse the release refuses here as well; whoever stops
//! it stops the planning as that can be stopped, and drops the rest.

use std::time::Duration;

use codes::{Error, Result, exit};
use serde_json::{Value, json};
use ship::{Budget, Budgeting, Left, Request, Stands, Step, unknown};

use super::budgets::{budgets, look_at_budgets, refusal, unjudged};
use super::{gate, report, rollout};
use crate::commands::deploy::prove;
use crate::commands::image::steps as images;
use crate::commands::infra::steps as infra;
use crate::context::Context;
use crate::human;
use crate::output::{Block, Column, Finding, Report, Severity, Table};

/// One part of the survey.
#[derive(Default)]
struct Part {
    data: Value,
    /// Name and words, for the summary.
    line: Option<(&'static str, String)>,
    table: Option<(&'static str, Table)>,
    findings: Vec<Finding>,
    /// What would end the release.
    stops: Option<Error>,
}

impl Part {
    fn left_out(name: &'static str, reason: &str) -> Self {
        Self { line: Some((name, format!("left out: {reason}"))), ..Self::default() }
    }

    /// It cannot be seen.
    fn hidden(name: &'static str, error: Error) -> Self {
        Self {
            line: Some((name, format!("not known: {}", error.message()))),
            stops: Some(error),
            ..Self::default()
        }
    }
}

pub async fn run(request: &Request, wait: Option<Duration>, context: &Context) -> Result<Report> {
    let (budget, (plan, image)) = tokio::join!(unless_stopped(context, budget(request, context)), async {
        // Terraform and the builder share two cores with everything else; the image is what the cluster is shown.
        let plan = infrastructure(request, wait, context).await;
        (plan, Box::pin(unless_stopped(context, image(request, context))).await)
    });
    let (budget, (image, reference)) = (budget?, image?);
    let deploy =
        Box::pin(unless_stopped(context, deployment(request, reference.as_deref(), context))).await?;
    let load = load(request, context);
    let parts = [("budget", budget), ("plan", plan), ("image", image), ("deploy", deploy), ("load", load)];

    let mut data = json!({
        "plan_only": true, "environment": request.environment, "image_name": request.image,
        "skipped": report::skipped(request),
    });
    let mut report = Report::new("ship", Value::Null);
    let mut pairs = vec![("environment", request.environment.clone())];
    let mut tables = Vec::new();
    let mut stops: Vec<Error> = Vec::new();
    for (name, part) in parts {
        data[name] = part.data;
        pairs.extend(part.line);
        tables.extend(part.table);
        report.findings.extend(part.findings);
        stops.extend(part.stops);
    }
    // What is refused outranks what is not known, and both outrank what went wrong on the way.
    stops.sort_by_key(rank);
    let word = match stops.first() {
        None => "would be let",
        Some(error) if refuses(error) => "would be refused",
        Some(error) if error.exit() == exit::INCONCLUSIVE => "would be refused: not enough is known",
        Some(_) => "could not be seen as a whole",
    };
    pairs.push(("release", word.to_owned()));
    data["verdict"] = json!(word);
    data["exit"] = json!(stops.first().map_or(0, |error| error.exit().code()));
    report.data = data;
    report = report.with_pairs(pairs);
    for (title, table) in tables {
        report.blocks.push(Block::Text(format!("{title}:")));
        report.blocks.push(Block::Table(table));
    }
    for error in &stops {
        let message = format!("{}{}", error.message(), causes(error));
        let finding = Finding::new(error.code(), Severity::Error, message);
        report.findings.push(error.hints().iter().fold(finding, |finding, hint| finding.with_hint(hint)));
    }
    Ok(match stops.first() {
        None => report,
        Some(error) if refuses(error) => report.with_status("refused", error.exit()),
        Some(error) if error.exit() == exit::INCONCLUSIVE => report.with_status("inconclusive", error.exit()),
        Some(error) => report.with_status("failed", error.exit()),
    })
}

/// What is dropped where it stands as soon as somebody wants to stop.
async fn unless_stopped<T>(context: &Context, looking: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        biased;
        signal = context.interrupts.wait() => Err(signal.error("nothing was changed")),
        seen = looking => Ok(seen),
    }
}

fn causes(error: &Error) -> String {
    error.causes().iter().map(|cause| format!("\n  caused by: {cause}")).collect()
}

/// Fields of others refuse a release as much as a guard does.
fn refuses(error: &Error) -> bool {
    error.exit() == exit::REFUSED || error.code() == &codes::DEP010
}

fn rank(error: &Error) -> u8 {
    match error.exit() {
        _ if refuses(error) => 0,
        exit::INCONCLUSIVE => 1,
        _ => 2,
    }
}

async fn budget(request: &Request, context: &Context) -> Part {
    if let Some(reason) = request.skips(Step::Budget) {
        return Part::left_out("budget", reason);
    }
    let standings = match look_at_budgets(context).await {
        Ok(standings) => standings,
        Err(error) => return Part::hidden("budget", error),
    };
    let (budgets, min) = (budgets(&standings), context.config.ship.min_budget);
    let mut table = Table::new([
        Column::left("objective"),
        Column::right("budget left"),
        Column::right("of"),
        Column::left("state"),
    ]);
    for (budget, standing) in budgets.iter().zip(&standings) {
        let state = standing.state().name().to_owned();
        table.push([budget.objective.clone(), standing.left_text(), budget.period.clone(), state]);
    }
    let is_judged = request.budget == Budgeting::Judged;
    let stops = refusal(&budgets, min).filter(|_| is_judged);
    let poorest = budgets.iter().filter_map(share).min_by(f64::total_cmp);
    let said = poorest.map_or_else(
        || "nothing is known".to_owned(),
        |share| format!("{:.1} % left of the poorest", share * 100.0),
    );
    let stood = match request.skips(Step::Gate) {
        Some(_) => Vec::new(),
        None => match gate::before(context, &standings, None).await {
            Ok(stood) => stood,
            Err(error) => return Part::hidden("gate", error),
        },
    };
    // Without a single value it is refused for all of them.
    let mut findings: Vec<Finding> = match stops {
        None => unjudged(&unknown(&budgets)).into_iter().collect(),
        Some(_) => Vec::new(),
    };
    for bad in stood.iter().filter(|stood| stood.stands == Stands::Badly) {
        findings.push(gate::stands_badly(&format!("{}: {}", bad.measure, bad.says), Severity::Warning));
    }
    let needed = match is_judged {
        true => format!("{:.1} % needed", min * 100.0),
        false => "not judged".to_owned(),
    };
    Part {
        data: json!({
            "min": min, "judged": is_judged, "budgets": budgets, "stood": stood,
            "objectives": standings.iter().map(|one| one.to_json()).collect::<Vec<_>>(),
        }),
        line: Some(("budget", format!("{said}, {needed}"))),
        table: Some(("error budgets", table)),
        findings,
        stops,
    }
}

fn share(budget: &Budget) -> Option<f64> {
    match budget.left {
        Left::Value { share } => Some(share),
        Left::NoTraffic | Left::NoData => None,
    }
}

async fn infrastructure(request: &Request, wait: Option<Duration>, context: &Context) -> Part {
    if let Some(reason) = request.skips(Step::Plan) {
        return Part::left_out("plan", reason);
    }
    match infra::plan(context, &request.allow_destroy, wait).await {
        Err(error) => Part::hidden("plan", error),
        Ok(plan) => Part {
            data: plan.data(),
            line: Some(("plan", plan.sentence())),
            table: plan.table().map(|table| ("infrastructure", table)),
            findings: plan.findings(),
            stops: plan.refusal(),
        },
    }
}

/// With the reference that would be deployed.
async fn image(request: &Request, context: &Context) -> (Part, Option<String>) {
    if let Some(pinned) = &request.pinned {
        let part = Part {
            data: json!({"reference": pinned.reference, "digest": pinned.digest}),
            line: Some(("image", format!("{} is there", pinned.reference))),
            ..Part::default()
        };
        return (part, Some(pinned.reference.clone()));
    }
    if let Some(reason) = request.skips(Step::Build) {
        return (Part::left_out("image", reason), None);
    }
    let made = match images::build(&request.image, context).await {
        Ok(made) => made,
        Err(error) => return (Part::hidden("image", error), None),
    };
    let mut data = json!({
        "name": made.name, "digest": made.digest, "tags": made.tags, "bytes": made.bytes, "revision": made.revision,
        "layout": made.layout,
    });
    let findings = made.findings;
    match images::missing(&made.name, &made.layout, &made.digest, context).await {
        Err(error) => {
            let part = Part { data, findings, ..Part::hidden("image", error) };
            (part, None)
        }
        Ok(missing) => {
            data["upload"] = json!({
                "repository": missing.repository, "blobs": missing.layers.len(), "missing": missing.count(),
                "bytes": missing.bytes(),
                "parts": missing.layers.iter().map(|part| json!({
                    "digest": part.digest, "bytes": part.bytes, "is_there": part.is_there,
                })).collect::<Vec<_>>(),
            });
            let mut table = Table::new([Column::left("blob"), Column::right("size"), Column::left("")]);
            for part in &missing.layers {
                let short = part.digest.get(..19).unwrap_or(&part.digest).to_owned();
                let state = if part.is_there { "is there" } else { "to send" };
                table.push([short, human::bytes(part.bytes), state.to_owned()]);
            }
            let reference = format!("{}@{}", missing.repository, made.digest);
            let part = Part {
                data,
                line: Some(("image", missing.sentence())),
                table: Some(("image", table)),
                findings,
                stops: None,
            };
            (part, Some(reference))
        }
    }
}

/// Whether it would be proved under load.
fn load(request: &Request, context: &Context) -> Part {
    let Some(asked) = &request.prove else {
        let line = Some(("load", "not proved under load".to_owned()));
        return Part { data: Value::Null, line, ..Part::default() };
    };
    match prove::check(&rollout::proving(Some(asked)), context) {
        Err(error) => Part::hidden("load", error),
        Ok(address) => {
            let address = address.unwrap_or_default();
            let line = Some(("load", format!("{} requests a second to {address}", asked.rate)));
            Part { data: json!({"address": address, "rate_per_s": asked.rate}), line, ..Part::default() }
        }
    }
}

async fn deployment(request: &Request, reference: Option<&str>, context: &Context) -> Part {
    if let Some(reason) = request.skips(Step::Deploy) {
        return Part::left_out("deploy", reason);
    }
    // What is missing was told with the image.
    let Some(reference) = reference else {
        return Part::left_out("deploy", "there is no image to show it with");
    };
    match rollout::survey(context, reference).await {
        Err(error) => Part::hidden("deploy", error),
        Ok(mut seen) => {
            let stops = rollout_refusal(&mut seen.findings);
            Part {
                data: seen.data,
                line: Some(("deploy", seen.sentence)),
                table: seen.table.map(|table| ("manifest", table)),
                findings: seen.findings,
                stops,
            }
        }
    }
}

/// What the rollout would refuse first, under the code that it would have.
fn rollout_refusal(findings: &mut Vec<Finding>) -> Option<Error> {
    let first = findings.iter().position(|finding| finding.severity == Severity::Error)?;
    let is_of_the_cluster = [&codes::DEP010, &codes::DEP011].contains(&findings[first].code);
    if is_of_the_cluster {
        let Finding { code, message, hints, .. } = findings.remove(first);
        return Some(hints.into_iter().fold(Error::new(code, message), Error::with_hint));
    }
    let message = format!("the guard of the rollout: {}", findings[first].message);
    Some(Error::new(&codes::DEP009, message).with_hint(codes::DEP009.action))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rollout_would_refuse_ends_a_survey_as_it_would_end_the_rollout() {
        let finding =
            |code, severity| Finding::new(code, severity, "deployment/rtcd: it is so").with_hint("mend it");
        let lint = codes::of_lint(manifests::lint::MEANINGS[0].id);
        for (code, severity, wanted) in [
            (lint, Severity::Warning, None),
            (lint, Severity::Error, Some(("DEP009", exit::REFUSED, 2))),
            (&codes::DEP010, Severity::Error, Some(("DEP010", exit::CONFLICT, 1))),
            (&codes::DEP011, Severity::Error, Some(("DEP011", exit::REFUSED, 1))),
        ] {
            let mut findings = vec![finding(lint, Severity::Warning), finding(code, severity)];
            let stops = rollout_refusal(&mut findings);
            let seen = stops.as_ref().map(|error| (error.code().id, error.exit(), findings.len()));
            assert_eq!(seen, wanted);
            assert!(stops.is_none_or(|error| refuses(&error) && !error.hints().is_empty()));
        }
    }
}
