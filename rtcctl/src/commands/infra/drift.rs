//! `rtcctl infra drift`: what was changed behind Terraform's back.

use codes::{Result, exit};
use terraform::plan::Change;

use super::apply::{self, Consent};
use super::earlier;
use super::planning::{self, Aim, Scope};
use super::screen;
use super::site::Site;
use crate::context::Context;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is changed, the state included, unless --accept says so. The first look after an apply finds what \
resources have come to know of each other, a bucket its policy, a group its rules: accept that once, and what is found later \
somebody has done."
)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    /// End with 10 when something has drifted
    #[arg(long)]
    exit_code: bool,
    /// Write it into the state as it is now; AWS is not changed
    #[arg(long, conflicts_with = "exit_code")]
    accept: bool,
    /// The name of the environment, for those that are protected
    #[arg(long, value_name = "NAME", requires = "accept")]
    confirm: Option<String>,
}

pub async fn run(mut args: Args, context: &Context) -> Result<Report> {
    let site = Site::open(context)?;
    let earlier = earlier::account_for(&site, &mut args.scope.lock_timeout).await?;
    let aim = if args.accept { Aim::Accepted } else { Aim::Look };
    let planned = planning::plan(&site, aim, &args.scope).await?;
    let drift = &planned.plan.drift;
    let data = serde_json::json!({
        "environment": site.env,
        "drift": drift.iter().map(screen::change).collect::<Vec<_>>(),
    });
    if args.accept && !drift.is_empty() {
        context.progress.write(&format!("{}\n", table(drift).to_text(context.width)));
        let what = match drift.as_slice() {
            [one] => format!("write {} into the state of {} as it is now", one.address, site.env),
            many => format!("write {} drifted resources into the state of {}", many.len(), site.env),
        };
        let consent = Consent::of(&site, what, args.confirm);
        return apply::carry_out(&site, "infra drift", planned, &args.scope, consent, earlier).await;
    }
    let mut report = Report::new("infra/drift", data).with_names(drift.iter().map(|one| one.address.clone()));
    report.findings.extend(earlier);
    if drift.is_empty() {
        return Ok(report.with_text("nothing has drifted: everything is as terraform left it"));
    }
    report = report
        .with_table(table(drift))
        .with_status("drifted", if args.exit_code { exit::CHANGES } else { exit::DONE });
    Ok(report)
}

fn table(drift: &[Change]) -> Table {
    let mut table = Table::new([Column::left("resource"), Column::left("what"), Column::left("difference")]);
    for change in drift {
        let is_gone = change.action.destroys();
        let what = if is_gone { "gone" } else { "changed" };
        let mut differences = change.differences.iter().map(screen::difference);
        let first = if is_gone { String::new() } else { differences.next().unwrap_or_default() };
        table.push([change.address.clone(), what.to_owned(), first]);
        if !is_gone {
            for difference in differences {
                table.push([String::new(), String::new(), difference]);
            }
        }
    }
    table
}
