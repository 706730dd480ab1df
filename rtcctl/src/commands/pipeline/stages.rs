//! `rtcctl pipeline stages`: how far a build is.

use serde_json::json;

use super::access::{self, Named};
use super::status::build_of;
use super::{failed, shape};
use crate::context::Context;
use crate::error::Result;
use crate::output::Report;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: Named,
    /// The number of the build [default: the last one]
    #[arg(long, value_name = "N")]
    build: Option<u64>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let client = access::client(context)?;
    let job = args.job.find(context)?.job;
    let build = build_of(&client, &job, args.build, context).await?;
    let stages = client.stages(&job, build.number).await.map_err(failed::of)?;
    let data = json!({
        "job": job.to_string(), "build": build.number, "stages": stages.as_deref().map(shape::stages),
    });
    let report = Report::new("pipeline/stages", data);
    Ok(match stages {
        None => report.with_text("Jenkins tells no stages").with_finding(shape::no_stages()),
        Some(stages) if stages.is_empty() => report.with_text("no stage has begun"),
        Some(stages) => report
            .with_table(shape::stage_table(&stages))
            .with_names(stages.iter().map(|stage| shape::plain(&stage.name)).collect::<Vec<_>>()),
    })
}
