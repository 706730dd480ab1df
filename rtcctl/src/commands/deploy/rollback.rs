//! `rtcctl deploy history` and `rollback`: what was deployed, and the way back to it.
//!
//! Invariant: a rollback applies the recorded manifest as it was, and takes away only what later revisions brought.

use std::time::Duration;

use ::deploy::apply;
use ::deploy::revision::{History, Status};
use ::deploy::run::{Action, Plan, Removal, Word};
use codes::{Error, Result};
use kubernetes::write::Force;
use rollout::verdict::Rules;
use serde_json::json;

use super::driving::{self, Drive};
use super::preview::described_report;
use super::rollout::{consent, metrics_of_a_failure, others};
use super::{access, within};
use crate::cli::duration;
use crate::context::{Context, Effect};
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// To this revision; without it to the last one before that came through
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Begin also where the run of somebody else seems to be under way
    #[arg(long)]
    take_over: bool,
    /// How long nothing may move
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = duration)]
    no_activity: Duration,
}

/// `rtcctl deploy rollback`
pub async fn rollback(args: Args, context: &Context) -> Result<Report> {
    let cluster = Box::pin(within(context, access::changeable(context))).await?;
    let namespace = access::namespace(context);
    let history = History { port: &cluster, namespace: &namespace, environment: context.config.env() };
    let all = within(context, async { history.all().await.map_err(access::failed) }).await?;
    let revision = match args.to {
        Some(number) => all.iter().find(|revision| revision.head.number == number).ok_or_else(|| {
            Error::new(&codes::DEP013, format!("there is no revision {number}"))
                .with_hint(codes::DEP013.action)
        })?,
        None => all
            .iter()
            .skip(1)
            .find(|revision| matches!(revision.head.status, Status::Deployed | Status::Superseded))
            .ok_or_else(|| {
                Error::new(&codes::DEP014, "no earlier revision came through").with_hint(codes::DEP014.action)
            })?,
    };
    // What later revisions brought and this one does not have.
    let mut removes: Vec<Removal> = Vec::new();
    for later in all.iter().filter(|later| later.head.number > revision.head.number) {
        for id in later.manifest.ids().filter(|id| !revision.manifest.has(id) && apply::may_go(id)) {
            let removal = Removal::from(id);
            if !removes.contains(&removal) {
                removes.push(removal);
            }
        }
    }
    let head = revision.head.clone();
    let what = format!("go back to revision {} ({}) in {}", head.number, head.image, context.config.env());
    if context.effect == Effect::Described {
        let planned =
            apply::preview(&cluster, &revision.manifest, Force::Take).await.map_err(access::failed)?;
        return Ok(described_report("deploy/rollback", &planned, &[]).with_text(format!("would {what}")));
    }
    consent(&what, &cluster, context)?;
    let action = Action::Apply { manifest: revision.manifest.clone() };
    let plan = Plan {
        image: head.image.clone(),
        version: head.version.clone(),
        description: revision.description.clone(),
        rules: Rules {
            no_activity: args.no_activity,
            deadline: context.config.duration("timeout"),
            ..Rules::default()
        },
        removes,
        takes_fields: true,
        others: others(args.take_over),
        metrics: metrics_of_a_failure(),
        ..Plan::new("rollback", context.config.env(), &namespace, context.config.operator(), action)
    };
    let book = driving::begin(plan, &[("revision", head.number.to_string())], context)?;
    let drive = Drive { port: &cluster, gauge: None, evidence: None, word: Word::GoOn };
    let mut report = driving::drive(book, drive, context).await?;
    report.command = "deploy/rollback";
    Ok(report)
}

/// `rtcctl deploy history`
pub async fn history(context: &Context) -> Result<Report> {
    let cluster = access::cluster(context).await?;
    let namespace = access::namespace(context);
    let history = History { port: &cluster, namespace: &namespace, environment: context.config.env() };
    let all = history.all().await.map_err(access::failed)?;
    let mut table = Table::new([
        Column::right("revision"),
        Column::left("status"),
        Column::right("when"),
        Column::left("command"),
        Column::left("version"),
        Column::left("image"),
        Column::left("by").wide(),
        Column::left("run").wide(),
    ]);
    let mut names = Vec::new();
    for revision in &all {
        let head = &revision.head;
        names.push(head.number.to_string());
        table.push([
            head.number.to_string(),
            head.status.name().to_owned(),
            crate::human::ago(Some(head.at), context.clock.now()),
            head.command.clone(),
            head.version.clone().unwrap_or_else(|| "-".to_owned()),
            head.image.clone(),
            head.by.clone(),
            head.run.clone(),
        ]);
    }
    let heads: Vec<_> = all.iter().map(|revision| &revision.head).collect();
    let report = Report::new("deploy/history", json!({ "revisions": heads })).with_names(names);
    Ok(match table.is_empty() {
        true => report.with_text(format!("nothing was rolled out in {namespace} yet")),
        false => report.with_table(table),
    })
}
