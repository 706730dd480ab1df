//! The answer of a release: one document, one screen.

use std::time::Duration;

use codes::exit::{self, Exit};
use serde_json::{Value, json};
use ship::{End, Given, Mark, Next, Release, Request, Step, Story, Word};

use super::driver::Driver;
use crate::context::Context;
use crate::human;
use crate::output::{Column, Finding, Report, Severity, Table};

/// `released rtcd sha256:0123456789ab to dev`
pub fn sentence(story: &Story) -> String {
    let digest = story
        .digest
        .as_deref()
        .map_or_else(String::new, |digest| format!(" {}", digest.get(..19).unwrap_or(digest)));
    let what = format!("{}{digest}", story.image);
    match (&story.failure, story.word) {
        (None, _) => format!("released {what} to {}", story.environment),
        (Some(why), word) => format!("{} in {}: {}", word.name(), why.step.name(), why.message),
    }
}

fn exit_of(code: u8) -> Exit {
    exit::ALL.iter().map(|(known, _)| *known).find(|known| known.code() == code).unwrap_or(exit::INTERNAL)
}

fn status(word: Word) -> &'static str {
    match word {
        Word::Released => "ok",
        Word::Refused => "refused",
        Word::Failed => "failed",
        Word::RolledBack => "rolled_back",
        Word::RollbackFailed => "rollback_failed",
        Word::Stopped => "stopped",
    }
}

/// The state of every step, with what it says.
fn steps(release: &Release, took: &[(Step, Duration)], stopped: Option<Step>) -> (Table, Vec<Value>) {
    let outputs = &release.outputs;
    let given = |step: Step| -> Option<Given> {
        Some(match step {
            Step::Budget => Given::Budget(outputs.budget.clone()?),
            Step::Plan => Given::Plan(outputs.plan.clone()?),
            Step::Apply => Given::Apply(outputs.apply.clone()?),
            Step::Build => Given::Build(outputs.build.clone()?),
            Step::Push => Given::Push(outputs.push.clone()?),
            Step::Deploy => Given::Deploy(outputs.deploy.clone()?),
            Step::Prove => Given::Prove(outputs.prove.clone()?),
            Step::Gate => Given::Gate(outputs.gate.clone()?),
            Step::Collect => Given::Collect(outputs.collect.clone()?),
            Step::RollBack => Given::RollBack(outputs.roll_back.clone()?),
            Step::Notice => Given::Notice(outputs.notice.clone()?),
        })
    };
    let mut table = Table::new([
        Column::left("step"),
        Column::left("state"),
        Column::right("took"),
        Column::left("says"),
    ]);
    let mut data = Vec::new();
    for step in Step::ALL {
        let given = given(step);
        let (state, says) = match (release.mark(step), &given) {
            (Some(Mark::Finished), Some(given)) => ("done", given.sentence()),
            (Some(Mark::Finished), None) => ("done", String::new()),
            (Some(Mark::Skipped), _) => {
                ("left out", release.request.skips(step).unwrap_or_default().to_owned())
            }
            (Some(Mark::Failed), _) => {
                let why = release.failure().filter(|failure| failure.step == step);
                ("failed", why.map(|failure| failure.message.clone()).unwrap_or_default())
            }
            (Some(Mark::Begun), _) if stopped == Some(step) => ("stopped", String::new()),
            (Some(Mark::Begun), _) => ("begun", "whether it happened is not known".to_owned()),
            (None, _) => continue,
        };
        let took = took.iter().rev().find(|(known, _)| *known == step).map(|(_, took)| *took);
        table.push([
            step.name().to_owned(),
            state.to_owned(),
            took.map(human::duration).unwrap_or_default(),
            says.clone(),
        ]);
        let given = given.map(|given| json!(given)["given"].clone());
        data.push(json!({
            "step": step.name(), "state": state, "says": says,
            "took_ms": took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)), "given": given,
        }));
    }
    (table, data)
}

fn document(run: &str, release: &Release, story: &Story, steps: Vec<Value>) -> Value {
    json!({
        "run": run, "environment": release.request.environment, "plan_only": false,
        "outcome": story.word, "exit": story.exit,
        "image": {
            "name": story.image, "digest": story.digest, "reference": story.reference, "revision": story.revision,
        },
        "steps": steps, "failure": story.failure, "problem": story.problem, "evidence": story.evidence,
        "skipped": skipped(&release.request),
    })
}

/// What is left out, as documents tell it.
pub fn skipped(request: &Request) -> Vec<Value> {
    let one = |(step, reason): (Step, &str)| json!({"step": step.name(), "reason": reason});
    request.left_out().into_iter().map(one).collect()
}

/// The answer at an end.
pub fn ended(driver: &Driver<'_>, release: &Release, end: &End) -> Report {
    let story = Story::of(release, end);
    let (id, took) = (driver.run.id(), driver.began.elapsed());
    let stopped = match end {
        End::Stopped { why, .. } => Some(why.step),
        _ => None,
    };
    let (table, steps) = steps(release, &driver.took, stopped);
    let mut data = document(&id, release, &story, steps);
    let noticed = match end {
        End::Stopped { noticed, .. } => noticed.clone(),
        _ => release.outputs.notice.clone(),
    };
    data["notice"] = json!(noticed);
    data["by"] = json!(driver.context.config.operator());
    data["took_ms"] = json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    data["resumable"] = json!(stopped.is_some());
    let mut report = Report::new("ship", data)
        .with_status(status(story.word), exit_of(end.exit()))
        .with_table(table)
        .with_text(format!("{}, in {}; run {id}", sentence(&story), human::duration(took)))
        .with_names([id]);
    for failure in [&story.failure, &story.problem].into_iter().flatten() {
        report.findings.push(finding(failure));
    }
    if !story.evidence.is_empty() {
        report = report.with_text(format!("evidence:\n  {}", story.evidence.join("\n  ")));
    }
    report.findings.extend(driver.findings.iter().cloned());
    report.findings.extend(left_out(release));
    report
}

/// A failure under its code, with its causes and hints.
fn finding(failure: &ship::Failure) -> Finding {
    let code = match failure.code.as_str() {
        ship::OTHER_DIGEST => &codes::SHP004,
        ship::OTHER_RUNS => &codes::SHP010,
        other => codes::find(other).unwrap_or(&codes::INT001),
    };
    let causes: String = failure.causes.iter().map(|cause| format!("\n  caused by: {cause}")).collect();
    let message = format!("{}: {}{causes}", failure.step.name(), failure.message);
    let finding = Finding::new(code, Severity::Error, message);
    if failure.code == ship::UNKNOWN {
        let hint = "--resume RUN --unproved goes on all the same; the journal keeps who said so";
        return finding.with_hint(code.action).with_hint(hint);
    }
    match failure.hints.as_slice() {
        [] => finding.with_hint(code.action),
        hints => hints.iter().fold(finding, |finding, hint| finding.with_hint(hint)),
    }
}

/// What was not looked at, for who believes that it was.
pub fn left_out(release: &Release) -> Vec<Finding> {
    let matters = |step: &Step| matches!(step, Step::Budget | Step::Prove | Step::Gate);
    let skipped = release.request.left_out().into_iter().filter(|(step, _)| matters(step));
    skipped
        .map(|(step, reason)| {
            Finding::new(&codes::SHP021, Severity::Info, format!("{} was left out: {reason}", step.name()))
        })
        .collect()
}

/// A run that could be gone on with, as it stands: for `--resume RUN --dry-run`.
pub fn standing(run: &str, release: &Release, context: &Context) -> Report {
    let story = Story::of(release, &release.end());
    let (table, steps) = steps(release, &[], None);
    let mut data = document(run, release, &story, steps);
    data["plan_only"] = json!(true);
    data["outcome"] = json!("open");
    let next = match release.next() {
        Next::Do { step, .. } | Next::Skip { step, .. } => step.name(),
        Next::End(_) => "its end",
    };
    data["next"] = json!(next);
    let hint = format!("{} ship --env {} --resume {run}", context.program(), release.request.environment);
    Report::new("ship", data)
        .with_table(table)
        .with_text(format!("{run} would go on with {next}"))
        .with_finding(Finding::new(&codes::SHP022, Severity::Info, "the run is open").with_hint(hint))
}
