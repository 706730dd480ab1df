//! `rtcctl infra apply`: a plan, its judgement, and exactly that plan carried out.
//!
//! The states of a run: planned → judged → confirmed → begun (in the journal, before Terraform starts) → ended (with its
//! timings). A run that is begun and not ended lost its rtcctl: Terraform went on alone, and the next run tells how far
//! it got.

use std::time::Duration;

use codes::{Error, Result};
use serde_json::{Value, json};
use terraform::guard::{self, Judgement};
use terraform::process::{Files, Identity};
use terraform::stream::{Event, Line};
use terraform::watch::{Outcome, Watch};

use super::earlier::{self, LINES, TALK};
use super::expected::{self, Expected};
use super::planning::{self, Aim, Planned, Scope};
use super::site::{Site, UNSAVED_STATE};
use super::{failed, following, screen};
use crate::context::{Context, Effect};
use crate::human;
use crate::output::{Column, Finding, Report, Severity, Table};
use crate::recording::Recording;

const STEP: &str = "apply";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The plan is made, judged, shown and applied by this one command; no other plan can come between. Where somebody \
                  agreed to a plan before, --expect its digest: another one is exit 8. A protected environment wants its name, \
                  typed or with --confirm; --yes is not enough for it."
)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    /// A resource that keeps data and may be destroyed all the same
    #[arg(long, value_name = "ADDRESS")]
    allow_destroy: Vec<String>,
    /// Apply no plan but the one of this digest, as infra plan tells it; @FILE reads it from a file
    #[arg(long, value_name = "DIGEST", value_parser = expected::parse)]
    expect: Option<Expected>,
    /// The name of the environment, for those that are protected
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

/// What an operator has to say before a plan is carried out.
pub enum Consent {
    Yes {
        what: String,
    },
    Name {
        what: String,
        typed: Option<String>,
    },
    /// Was asked for already, with what else is about to be done.
    Asked,
}

impl Consent {
    /// What this environment wants; `typed` is the operator's --confirm.
    pub fn of(site: &Site<'_>, what: String, typed: Option<String>) -> Self {
        match site.is_protected {
            true => Consent::Name { what, typed },
            false => Consent::Yes { what },
        }
    }
}

pub async fn run(mut args: Args, context: &Context) -> Result<Report> {
    let site = Site::open(context)?;
    let earlier = earlier::account_for(&site, &mut args.scope.lock_timeout).await?;
    let agreed = args.expect.as_ref().map(|expected| expected.digest(context)).transpose()?;
    let planned = planning::plan(&site, Aim::Wanted, &args.scope).await?;
    let judged = guard::check(&planned.plan, &args.allow_destroy);
    let let_through = match judged.passes() {
        true => agreed.map_or(Ok(()), |agreed| expected::check(&planned.plan, &agreed, &site.env)),
        false => Err(refuse(&judged)),
    };
    if let Err(refusal) = let_through {
        context.progress.write(&format!("{}\n", screen::table(&planned.plan.changes).to_text(context.width)));
        return Err(refusal);
    }
    let what = format!(
        "change {}: {}",
        site.env,
        screen::sentence(&planned.plan.counts(), planned.plan.outputs.len())
    );
    let consent = Consent::of(&site, what, args.confirm);
    carry_out(&site, "infra apply", planned, &args.scope, consent, earlier).await
}

/// The error of a plan that was judged and not let.
pub fn refuse(judged: &Judgement) -> Error {
    let mut error = match judged.refused.as_slice() {
        [] => Error::new(&codes::INF006, format!("this plan does not destroy {}", judged.idle.join(", "))),
        [one] => Error::new(
            &codes::INF005,
            format!("the plan would {} {}, which loses {}", one.action.word(), one.address, one.loss),
        ),
        many => Error::new(
            &codes::INF005,
            format!("the plan would destroy {} resources that keep data", many.len()),
        ),
    };
    for refusal in &judged.refused {
        let forced = match refusal.forced_by.as_slice() {
            [] => String::new(),
            paths => format!(", forced by {}", paths.join(", ")),
        };
        error = error.with_cause(format!(
            "{} {}{forced}: loses {}",
            refusal.action.word(),
            refusal.address,
            refusal.loss
        ));
    }
    if let Some(first) = judged.refused.first() {
        error = error.with_hint(format!("if that is meant: --allow-destroy '{}'", first.address));
    }
    error
}

/// The same as findings of a plan that is only shown.
pub fn refusals(judged: &Judgement) -> Vec<Finding> {
    let refused = judged.refused.iter().map(|refusal| {
        let forced = match refusal.forced_by.as_slice() {
            [] => String::new(),
            paths => format!(" (forced by {})", paths.join(", ")),
        };
        Finding::new(
            &codes::INF005,
            Severity::Error,
            format!("{} {}{forced} loses {}", refusal.action.word(), refusal.address, refusal.loss),
        )
        .with_hint(format!("an apply is refused without --allow-destroy '{}'", refusal.address))
    });
    let idle = judged.idle.iter().map(|address| {
        Finding::new(&codes::INF006, Severity::Error, format!("this plan does not destroy {address}"))
    });
    refused.chain(idle).collect()
}

/// Shows the plan, asks, and carries it out.
pub async fn carry_out(
    site: &Site<'_>,
    command: &'static str,
    planned: Planned,
    scope: &Scope,
    consent: Consent,
    earlier: Vec<Finding>,
) -> Result<Report> {
    let context = site.context;
    let mut data = screen::data(&site.env, &planned.plan);
    let schema = match planned.aim {
        Aim::Wanted => "infra/apply",
        Aim::Destroyed => "infra/destroy",
        Aim::Look | Aim::Accepted => "infra/drift",
    };
    // What has drifted is written into the state alone.
    if planned.plan.is_empty() && planned.aim != Aim::Accepted {
        let mut report = screen::with_plan(Report::new(schema, data), &planned.plan);
        report.findings.extend(earlier);
        return Ok(report);
    }
    // Whoever asked has shown it.
    if planned.aim != Aim::Accepted && !matches!(consent, Consent::Asked) {
        context.progress.write(&format!("{}\n", screen::table(&planned.plan.changes).to_text(context.width)));
    }
    if context.effect == Effect::Described {
        let mut report = screen::with_plan(Report::new(schema, data), &planned.plan);
        report.findings.extend(earlier);
        return Ok(report);
    }
    match &consent {
        Consent::Asked => {}
        Consent::Yes { what } => context.confirm(what)?,
        Consent::Name { what, typed } => context.confirm_by_name(what, &site.env, typed.as_deref())?,
    }
    if let Some(signal) = context.interrupts.seen() {
        return Err(signal.error("nothing was changed"));
    }
    let mut recording = begin(context, command, site, &planned)?;
    let watch = match applying(site, &planned, scope, &mut recording).await {
        Ok(watch) => watch,
        Err(error) => return Err(recording.failed(error)),
    };
    let took = match recording.finished(screen::counts(&planned.plan.counts())) {
        Ok(took) => took,
        Err(error) => {
            return Err(recording.failed(error.with_cause("terraform has done what was planned")));
        }
    };
    // What it said may quote values; its timings are in the journal.
    for file in [LINES, TALK] {
        let _ = std::fs::remove_file(recording.folder().join(file));
    }
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let summary = match planned.aim {
        Aim::Accepted => match planned.plan.drift.as_slice() {
            [one] => format!("{} is in the state as it is now", one.address),
            many => format!("{} resources are in the state as they are now", many.len()),
        },
        Aim::Wanted | Aim::Look | Aim::Destroyed => following::how_far(&watch),
    };
    let run = recording.ended(summary.clone())?;
    data["run"] = json!(run);
    data["took_ms"] = json!(took_ms);
    data["steps"] = timings(&watch);
    let mut report = Report::new(schema, data);
    if !watch.steps().is_empty() {
        report = report.with_table(slowest(&watch));
    }
    let mut report =
        report.with_text(format!("{summary} in {}; run {run}", human::duration(took))).with_names([run]);
    report.findings.extend(earlier);
    Ok(report)
}

fn begin(context: &Context, command: &str, site: &Site<'_>, planned: &Planned) -> Result<Recording> {
    let inputs = [
        ("folder".to_owned(), site.terraform.folder().display().to_string()),
        ("terraform".to_owned(), planned.plan.terraform_version.clone()),
    ];
    let mut recording = Recording::begin(context, command, inputs)?;
    recording.note("plan", screen::data(&site.env, &planned.plan))?;
    recording.step(STEP, planned.plan.changes.len().to_string())?;
    Ok(recording)
}

/// Runs the apply to its end, and keeps its timings.
async fn applying(
    site: &Site<'_>,
    planned: &Planned,
    scope: &Scope,
    recording: &mut Recording,
) -> Result<Watch> {
    let context = site.context;
    let files = Files { lines: recording.folder().join(LINES), talk: recording.folder().join(TALK) };
    let mut arguments = vec!["apply".to_owned(), "-json".to_owned()];
    arguments.extend(scope.of_apply());
    arguments.push(planned.file.display().to_string());
    let child = site.start(&arguments, &files)?;
    recording.child_began();
    // Also where it cannot be written down it is better watched than left.
    let unwritten = child.identity().and_then(|Identity { pid, born }| recording.child(pid, born).err());
    let mut watch = Watch::new(&planned.plan);
    let mut display =
        following::Display::new(&context.progress, &format!("changing {}", site.env), context.width);
    let ended = following::follow(context, child, |line| match line {
        Line::Event(event) => {
            watch.saw(&event);
            display.saw(&event, &watch);
            if let Event::Other { message, .. } = &event {
                context.progress.detail(message);
            }
        }
        Line::Text(text) => context.progress.detail(text),
        Line::Oversized { bytes } => {
            context.progress.detail(format!("a line of {bytes} bytes was passed by"))
        }
    })
    .await?;
    recording.child_ended();
    recording.note("timings", timings(&watch))?;
    let unsaved = site.terraform.folder().join(UNSAVED_STATE);
    if unsaved.exists() {
        let kept = recording.evidence(UNSAVED_STATE)?;
        std::fs::copy(&unsaved, &kept).map_err(|error| {
            Error::new(&codes::JRN001, "cannot keep the unsaved state").with_source(&error)
        })?;
        context.progress.write(&format!(
            "\x1b[1;31mTHE STATE WAS NOT SAVED\x1b[0m: {} is the only place that knows what exists now; a copy is {}\n",
            unsaved.display(),
            kept.display()
        ));
    }
    let far = following::how_far(&watch);
    if ended.interrupts > 0
        && let Some(signal) = context.interrupts.seen()
    {
        display.fail(format!("stopped: {far}"));
        return Err(signal.error(format!("terraform ended cleanly, {far}")));
    }
    if !ended.status.success() {
        display.fail(format!("failed: {far}"));
        let (_, error) = failed::of_run(&format!("the apply failed, {far}"), watch.errors(), &ended.talk);
        return Err(error);
    }
    display.done(match planned.aim {
        Aim::Accepted => "the state is written".to_owned(),
        Aim::Wanted | Aim::Look | Aim::Destroyed => far,
    });
    match unwritten {
        Some(unwritten) => Err(unwritten.with_cause("terraform has done what was planned")),
        None => Ok(watch),
    }
}

fn timings(watch: &Watch) -> Value {
    watch
        .steps()
        .iter()
        .map(|step| {
            json!({
                "address": step.address, "action": step.action, "seconds": step.elapsed_s,
                "done": step.outcome == Outcome::Done,
            })
        })
        .collect()
}

/// The five steps that took longest.
fn slowest(watch: &Watch) -> Table {
    let mut steps: Vec<_> = watch.steps().iter().collect();
    steps.sort_by_key(|step| std::cmp::Reverse(step.elapsed_s));
    let mut table = Table::new([Column::left("slowest"), Column::left("action"), Column::right("took")]);
    for step in steps.into_iter().take(5) {
        // Terraform counts whole seconds.
        let took = match step.elapsed_s {
            0 => "under 1 s".to_owned(),
            seconds => human::duration(Duration::from_secs(seconds)),
        };
        table.push([step.address.clone(), step.action.clone(), took]);
    }
    table
}
