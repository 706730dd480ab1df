//! `rtcctl pipeline logs`: what a build wrote.
//!
//! Invariant: nothing of it moves the cursor; colours pass to a terminal that has some.

use codes::{Error, Result, exit};
use jenkins::{Build, Client, Colours, Event, From, JobName, Log, Shown, Watch};
use serde_json::json;

use super::access::{self, Named};
use super::status::build_of;
use super::{failed, shape};
use crate::context::{Context, Screen};
use crate::output::{Format, Report};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: Named,
    /// The number of the build [default: the last one]
    #[arg(long, value_name = "N")]
    build: Option<u64>,
    /// Go on until the build has ended
    #[arg(short, long)]
    follow: bool,
    /// The last lines alone
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    tail: Option<usize>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let is_document = matches!(context.format, Format::Json | Format::Yaml);
    if args.follow && is_document {
        let message = "a log that is followed has no end to make a document of; leave -o or --follow";
        return Err(Error::new(&codes::USE001, message));
    }
    let client = access::client(context)?;
    let job = args.job.find(context)?.job;
    let build = build_of(&client, &job, args.build, context).await?;
    let colours = match context.screen {
        Screen::Coloured if !is_document => Colours::Kept,
        _ => Colours::Removed,
    };
    match args.follow {
        true => follow(&client, job, &build, Shown::new(colours), context).await,
        false => print(&args, &client, &job, &build, Shown::new(colours), context).await,
    }
}

async fn follow(
    client: &Client,
    job: JobName,
    build: &Build,
    mut shown: Shown,
    context: &Context,
) -> Result<Report> {
    let mut watch = Watch::new(client, job, From::Build(build.number), access::pace(context));
    while let Some(event) = watch.next().await.map_err(failed::of)? {
        match event {
            Event::Log(text) => context.print(&shown.take(&text))?,
            Event::LogBeganAgain => context.progress.say("the log begins anew: Jenkins has another one now"),
            Event::Away(reason) => {
                context.progress.say(format!("{}; it is asked again", shape::plain(&reason)))
            }
            Event::Asks(inputs) => {
                for finding in shape::waits(&inputs, &watch.job().to_string()) {
                    context.progress.say(format!("{}; {}", finding.message, finding.hints.join(" ")));
                }
            }
            _ => {}
        }
        if context.stdout_is_closed() {
            break;
        }
    }
    Ok(Report::already_written("pipeline/logs", exit::DONE))
}

async fn print(
    args: &Args,
    client: &Client,
    job: &JobName,
    build: &Build,
    mut shown: Shown,
    context: &Context,
) -> Result<Report> {
    let is_streamed =
        matches!(context.format, Format::Table | Format::Wide | Format::Name) && args.tail.is_none();
    let (mut log, mut text) = (Log::default(), String::new());
    let has_more = loop {
        let chunk = client.log(job, build.number, &mut log).await.map_err(failed::of)?;
        if chunk.began_again {
            text.clear();
        }
        let piece = shown.take(&chunk.text);
        match is_streamed {
            true => context.print(&piece)?,
            false => text.push_str(&piece),
        }
        // What a running build has written so far.
        if !chunk.has_more || chunk.text.is_empty() || context.stdout_is_closed() {
            break chunk.has_more;
        }
    };
    if is_streamed {
        return Ok(Report::already_written("pipeline/logs", exit::DONE));
    }
    if let Some(wanted) = args.tail {
        let lines: Vec<&str> = text.lines().collect();
        text = lines[lines.len().saturating_sub(wanted)..].iter().map(|line| format!("{line}\n")).collect();
    }
    let data = json!({"job": job.to_string(), "build": build.number, "has_more": has_more, "log": text});
    let names = text.lines().map(str::to_owned).collect::<Vec<_>>();
    Ok(Report::new("pipeline/logs", data).with_text(text).with_names(names))
}
