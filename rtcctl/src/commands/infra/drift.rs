//! `rtcctl infra drift`: what was changed behind Terraform's back.

use super::planning::{self, Aim, Scope};
use super::screen;
use super::site::Site;
use crate::context::Context;
use crate::error::Result;
use crate::exit;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
#[command(after_help = "Nothing is changed, the state included.")]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    /// End with 10 when something has drifted
    #[arg(long)]
    exit_code: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let site = Site::open(context).await?;
    let planned = planning::plan(&site, Aim::Drift, &args.scope).await?;
    let drift = &planned.plan.drift;
    let data = serde_json::json!({
        "environment": site.env,
        "drift": drift.iter().map(screen::change).collect::<Vec<_>>(),
    });
    let mut report = Report::new("infra/drift", data).with_names(drift.iter().map(|one| one.address.clone()));
    if drift.is_empty() {
        return Ok(report.with_text("nothing has drifted: everything is as terraform left it"));
    }
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
    report = report
        .with_table(table)
        .with_status("drifted", if args.exit_code { exit::CHANGES } else { exit::DONE });
    Ok(report)
}
