//! `rtcctl pipeline stop`: a build stopped, or a wish taken out of the queue.

use std::time::Duration;

use codes::{Error, Result};
use jenkins::{Client, JobName};
use serde_json::json;
use tokio::time::Instant;

use super::access::{self, Named, Unprotected};
use super::status::build_of;
use super::{failed, shape};
use crate::context::{Context, Effect};
use crate::human;
use crate::output::Report;
use crate::recording::Recording;

/// Steps may clean up for a while after they were stopped.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: Named,
    /// The number of the build [default: the last one, or what waits in the queue]
    #[arg(long, value_name = "N")]
    build: Option<u64>,
    /// The name of the environment, for those that are protected
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

/// What is stopped.
enum Target {
    Build(u64),
    Item(u64),
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let state = "whether it was stopped, rtcctl pipeline status shows";
    tokio::select! {
        done = carry_out(&args, context) => done,
        signal = context.interrupts.wait() => Err(signal.error(state)),
    }
}

async fn carry_out(args: &Args, context: &Context) -> Result<Report> {
    let client = access::client(context)?;
    let name = args.job.find(context)?.job;
    let Some(target) = target(args, &client, &name, context).await? else {
        let data =
            json!({"job": name.to_string(), "build": args.build, "item": null, "result": null, "run": null});
        return Ok(Report::new("pipeline/stop", data).with_text(format!("nothing of {name} runs or waits")));
    };
    let what = match target {
        Target::Build(number) => format!("build {number} of {name}"),
        Target::Item(item) => format!("item {item} of the queue, for {name}"),
    };
    let mut data = json!({
        "job": name.to_string(), "result": null, "run": null,
        "build": match target { Target::Build(number) => Some(number), Target::Item(_) => None },
        "item": match target { Target::Item(item) => Some(item), Target::Build(_) => None },
    });
    if context.effect == Effect::Described {
        return Ok(Report::new("pipeline/stop", data).with_text(format!("{what} would be stopped")));
    }
    let asked = format!("stop {what}");
    access::confirm(&name, &asked, args.confirm.as_deref(), Unprotected::Asked, context)?;
    let mut recording = Recording::begin(context, "pipeline stop", [("what".to_owned(), what.clone())])?;
    recording.step("stop", what.clone())?;
    let text = match stop(&client, &name, &target, &what, context).await {
        Ok((text, result)) => {
            data["result"] = result.into();
            text
        }
        Err(error) => return Err(recording.failed(error)),
    };
    recording.finished(data.clone())?;
    data["run"] = recording.ended(text.clone())?.into();
    Ok(Report::new("pipeline/stop", data).with_text(text))
}

async fn target(args: &Args, client: &Client, name: &JobName, context: &Context) -> Result<Option<Target>> {
    let job = access::job(client, name, context).await?;
    let number = args.build.or(job.last.as_ref().map(|(number, _)| *number));
    if let Some(number) = number {
        let build = build_of(client, name, Some(number), context).await?;
        if build.is_running {
            return Ok(Some(Target::Build(number)));
        }
    }
    match args.build {
        Some(_) => Ok(None),
        None => Ok(job.queued.map(|(item, _)| Target::Item(item))),
    }
}

async fn stop(
    client: &Client,
    name: &JobName,
    target: &Target,
    what: &str,
    context: &Context,
) -> Result<(String, Option<String>)> {
    let number = match target {
        Target::Item(item) => {
            client.cancel(*item).await.map_err(failed::of)?;
            return Ok((format!("{what}: taken out"), None));
        }
        Target::Build(number) => *number,
    };
    client.stop(name, number).await.map_err(failed::of)?;
    context.interrupts.cost_of_leaving(format!("{what} was asked to stop and may not have stopped yet"));
    let task = context.progress.task("stop", format!("{what} was asked to stop"));
    let wait = context.timeout_or(DEFAULT_WAIT);
    let deadline = Instant::now() + wait;
    let poll = access::pace(context).poll;
    // Reading its log makes sure that what it still writes has been written.
    let mut log = jenkins::Log::default();
    loop {
        let chunk = client.log(name, number, &mut log).await.map_err(failed::of)?;
        let build = client.build(name, number).await.map_err(failed::of)?;
        if let (false, Some(result)) = (build.is_running, &build.result) {
            let text = format!("{what} ended as {result}");
            task.done("");
            return Ok((text, Some(result.as_str().to_owned())));
        }
        if Instant::now() >= deadline {
            task.fail("still running");
            let message = format!("{what} was asked to stop and still runs after {}", human::duration(wait));
            return Err(Error::new(&codes::PIP014, message)
                .with_hint(format!("it cleans up, or hangs: {}", client.build_address(name, number))));
        }
        if !chunk.text.is_empty() {
            task.show(shape::plain(chunk.text.lines().last().unwrap_or_default()));
        }
        tokio::time::sleep(poll).await;
    }
}
