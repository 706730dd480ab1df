//! `rtcctl pipeline status`: one build as it stands.

use codes::Result;
use jenkins::{Build, Client, JobName};
use serde_json::json;

use super::access::{self, Named};
use super::{failed, shape};
use crate::context::Context;
use crate::human;
use crate::output::Report;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: Named,
    /// The number of the build [default: the last one]
    #[arg(long, value_name = "N")]
    build: Option<u64>,
    /// End with the build's result: 26 failed, 27 unstable, 28 aborted
    #[arg(long)]
    exit_code: bool,
}

/// A build of a job, by its number or the last one.
pub async fn build_of(
    client: &Client,
    job: &JobName,
    number: Option<u64>,
    context: &Context,
) -> Result<Build> {
    let build = match number {
        Some(number) => client.build(job, number).await,
        None => client.last_build(job).await,
    };
    match build {
        Ok(build) => Ok(build),
        Err(error) => Err(access::told(client, job, error, context).await),
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let client = access::client(context)?;
    let name = args.job.find(context)?.job;
    let job = access::job(&client, &name, context).await?;
    if let (None, None) = (args.build, &job.last) {
        let text = match &job.queued {
            Some((item, why)) => format!("{name} was never built; item {item} waits: {}", shape::plain(why)),
            None => format!("{name} was never built"),
        };
        let data = json!({"job": name.to_string(), "build": null, "queued": job.queued.as_ref().map(|(item, _)| item)});
        return Ok(Report::new("pipeline/status", data).with_text(text));
    }
    let build = build_of(&client, &name, args.build, context).await?;
    let stages = client.stages(&name, build.number).await.map_err(failed::of)?;
    let inputs = match build.is_running {
        true => client.inputs(&name, build.number).await.map_err(failed::of)?,
        false => Vec::new(),
    };
    let (status, exit, _) = shape::outcome(build.result.as_ref());
    let mut data = shape::build(&client, &name, &build);
    data["stages"] = stages.as_deref().map(shape::stages).into();
    data["inputs"] = shape::inputs(&inputs);
    data["queued"] = job.queued.as_ref().map(|(item, _)| *item).into();
    let mut report = Report::new("pipeline/status", data)
        .with_pairs(pairs(&client, &name, &build, &job, context))
        .with_names([build.number.to_string()]);
    report.status = status;
    if args.exit_code {
        report.exit = exit;
    }
    match &stages {
        None => report = report.with_finding(shape::no_stages()),
        Some(stages) if !stages.is_empty() => report = report.with_table(shape::stage_table(stages)),
        Some(_) => {}
    }
    let words = format!("{} --build {}", args.job.words(), build.number);
    for finding in shape::waits(&inputs, &words) {
        report = report.with_finding(finding);
    }
    Ok(report)
}

fn pairs(
    client: &Client,
    name: &JobName,
    build: &Build,
    job: &jenkins::Job,
    context: &Context,
) -> Vec<(&'static str, String)> {
    let now = context.clock.now();
    let started = kernel::Timestamp::from_millis(build.started_at_ms);
    let result = match (&build.result, build.estimated) {
        (Some(result), _) => format!("{result} after {}", human::duration(build.took)),
        (None, Some(estimated)) => {
            format!(
                "running for {} of about {}",
                human::duration(now.since(started)),
                human::duration(estimated)
            )
        }
        (None, None) => format!("running for {}", human::duration(now.since(started))),
    };
    let mut pairs = vec![
        ("build", format!("{} of {name}", build.number)),
        ("result", result),
        ("started", human::ago(Some(started), now)),
    ];
    let causes: Vec<&str> = build.causes.iter().map(|cause| cause.text.as_str()).collect();
    if !causes.is_empty() {
        pairs.push(("because", causes.join("; ")));
    }
    if !build.parameters.is_empty() {
        let parameters: Vec<String> =
            build.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.push(("with", parameters.join(" ")));
    }
    if let Some((item, why)) = &job.queued {
        pairs.push(("next", format!("item {item} waits: {why}")));
    }
    pairs.push(("address", client.build_address(name, build.number)));
    pairs
}
