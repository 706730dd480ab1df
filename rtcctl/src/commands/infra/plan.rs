//! `rtcctl infra plan`: what an apply would change, and whether it would be let.

use std::path::PathBuf;

use codes::{Result, exit};

use super::planning::{self, Aim, Scope};
use super::site::Site;
use super::{apply, cost, earlier, expected, screen};
use crate::context::Context;
use crate::output::Report;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is changed, and the plan is not kept: apply makes its own. Its digest is of every difference; apply \
                  --expect DIGEST carries out a plan with this one alone. -o name is the digest."
)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    /// End with 10 when there is something to change
    #[arg(long)]
    exit_code: bool,
    /// A resource that keeps data and may be destroyed all the same
    #[arg(long, value_name = "ADDRESS")]
    allow_destroy: Vec<String>,
    /// Add what a month costs, before and after
    #[arg(long)]
    cost: bool,
    /// Write the plan's digest into a file too, for apply --expect @FILE
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    digest_to: Option<PathBuf>,
}

pub async fn run(mut args: Args, context: &Context) -> Result<Report> {
    let site = Site::open(context)?;
    let earlier = earlier::account_for(&site, &mut args.scope.lock_timeout).await?;
    let planned = planning::plan(&site, Aim::Wanted, &args.scope).await?;
    let judged = terraform::guard::check(&planned.plan, &args.allow_destroy);
    let mut data = screen::data(&site.env, &planned.plan);
    data["refused"] = judged.refused.iter().map(|refusal| refusal.address.clone()).collect();
    let mut report = screen::with_plan(Report::new("infra/plan", data), &planned.plan);
    if args.cost {
        report = cost::add(report, &planned.plan)?;
    }
    let digest = screen::digest(&planned.plan).to_string();
    if let Some(file) = &args.digest_to {
        expected::keep(&digest, file, context)?;
    }
    report = report.with_text(format!("digest {digest}"));
    report.names = vec![digest];
    report.findings.extend(earlier);
    report.findings.extend(apply::refusals(&judged));
    if args.exit_code && !planned.plan.is_empty() {
        report = report.with_status("changes", exit::CHANGES);
    }
    Ok(report)
}
