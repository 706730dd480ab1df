//! `rtcctl deploy restart`: every pod anew.
//!
//! Invariant: what is restarted is of the environment that is meant, and lasts.

use std::time::Duration;

use ::deploy::run::{Action, Plan, Word};
use codes::Result;
use rollout::objects::Kind;
use rollout::verdict::Rules;
use serde_json::json;

use super::driving::{self, Drive};
use super::rollout::{consent, metrics_of_a_failure};
use super::{access, prove, targets, within};
use crate::cli::duration;
use crate::context::{Context, Effect};
use crate::output::Report;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    targets: targets::Args,
    #[command(flatten)]
    proving: prove::Args,
    /// How long nothing may move
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = duration)]
    no_activity: Duration,
}

/// `rtcctl deploy restart`
pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let cluster = Box::pin(within(context, access::changeable(context))).await?;
    let namespace = access::namespace(context);
    let lasting = |target: &rollout::world::Target| {
        matches!(target.kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet)
    };
    let of = targets::Of::Environment(context.config.env());
    let found = within(context, targets::find(&args.targets, of, &cluster, &namespace)).await?;
    let targets: Vec<_> = found.into_iter().filter(lasting).collect();
    if targets.is_empty() {
        return Err(targets::nothing("only jobs are meant, and they end by themselves".to_owned(), &cluster));
    }
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    if context.effect == Effect::Described {
        let text = format!("would restart {}", names.join(", "));
        return Ok(Report::new("deploy/restart", json!({ "would_restart": names }))
            .with_text(text)
            .with_names(names));
    }
    consent(&format!("restart {} in {}", names.join(", "), context.config.env()), &cluster, context)?;
    let action = Action::Restart { targets, at: context.clock.now() };
    let plan = Plan {
        rules: Rules {
            no_activity: args.no_activity,
            deadline: context.config.duration("timeout"),
            ..Rules::default()
        },
        takes_fields: true,
        metrics: metrics_of_a_failure(),
        ..Plan::new("restart", context.config.env(), &namespace, context.config.operator(), action)
    };
    let proof = prove::begin(&args.proving, context).await?;
    let book = driving::begin(plan, &[("workloads", names.join(","))], context)?;
    let drive = Drive { port: &cluster, gauge: None, evidence: None, word: Word::GoOn };
    let mut report = prove::conclude(proof, driving::drive(book, drive, context).await).await?;
    report.command = "deploy/restart";
    Ok(report)
}
