//! `rtcctl infra destroy`: nothing is left of an environment.

use codes::Result;
use terraform::guard;

use super::apply::{self, Consent};
use super::earlier;
use super::planning::{self, Aim, Scope};
use super::site::Site;
use crate::context::Context;
use crate::output::Report;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A protected environment wants its name, typed or with --confirm; --yes is not enough for it."
)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    /// The name of the environment, in place of typing it
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

pub async fn run(mut args: Args, context: &Context) -> Result<Report> {
    let site = Site::open(context)?;
    let earlier = earlier::account_for(&site, &mut args.scope.lock_timeout).await?;
    let planned = planning::plan(&site, Aim::Destroyed, &args.scope).await?;
    let losses: Vec<&str> = planned
        .plan
        .changes
        .iter()
        .filter(|change| change.action.destroys() && guard::loss(&change.kind).is_some())
        .map(|change| change.address.as_str())
        .collect();
    let what = format!(
        "destroy {} resources of {}, {} of which keep data{}",
        planned.plan.changes.len(),
        site.env,
        losses.len(),
        if losses.is_empty() { String::new() } else { format!(" ({})", losses.join(", ")) },
    );
    let consent = Consent::of(&site, what, args.confirm);
    apply::carry_out(&site, "infra destroy", planned, &args.scope, consent, earlier).await
}
