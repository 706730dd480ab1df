//! `rtcctl pipeline run`: a job started, or a build taken up again, and followed to its end.

use std::collections::BTreeMap;

use codes::exit::{self, Exit};
use codes::{Error, Result};
use jenkins::{BuildResult, Client, From, Job, JobName, ParameterKind, Place, Watch};
use serde_json::{Value, json};

use super::access::Unprotected;
use super::following::{End, Follower, Logging, OnInterrupt, left, what};
use super::{access, failed, shape};
use crate::cli::choice;
use crate::context::{Context, Effect};
use crate::human;
use crate::output::{Finding, Report, Severity};
use crate::recording::Recording;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The exit code is the result: 0 success, 26 failed, 27 unstable, 28 aborted, 29 gone from the queue, 6 not \
                  over within --timeout. Ctrl-C asks whether to stop the build or to leave it (--on-interrupt); with \
                  --no-input it is left, and --follow takes it up again."
)]
pub struct Args {
    /// The job: a short name of rtc.toml, its full name (folder/job), or its address
    #[arg(value_name = "NAME", required_unless_present = "follow")]
    name: Option<String>,
    /// The branch of a multibranch, as it is called in the repository
    #[arg(long, value_name = "BRANCH", requires = "name")]
    branch: Option<String>,
    /// A parameter; of a password a reference: NAME=env:VARIABLE, file:PATH or cmd:COMMAND
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// Follow the build to its end; the default
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Leave as soon as the build is in the queue
    #[arg(long)]
    no_wait: bool,
    /// Take up again what runs: the address of an item of the queue or of a build; nothing is started
    #[arg(long, value_name = "URL", conflicts_with_all = ["params", "no_wait"])]
    follow: Option<String>,
    /// Show the stages alone; of a build that fails the end of its log
    #[arg(long)]
    no_log: bool,
    /// What Ctrl-C does with the build [default: ask]
    #[arg(long, value_name = "WHAT")]
    on_interrupt: Option<OnInterrupt>,
    /// The name of the environment, for those that are protected
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) | None => Err("write KEY=VALUE".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let client = access::client(context)?;
    tokio::select! {
        started = begin(&args, &client, context) => match started? {
            Begun::Told(report) => Ok(*report),
            Begun::Follow(followed) => follow(&args, &client, *followed, context).await,
        },
        signal = context.interrupts.wait() => Err(signal.error("if a build was asked for, rtcctl pipeline status shows it")),
    }
}

enum Begun {
    Told(Box<Report>),
    Follow(Box<Followed>),
}

/// What is followed from here on.
struct Followed {
    job: JobName,
    from: From,
    named: String,
    /// There is none for what somebody else started.
    recording: Option<Recording>,
    data: Value,
}

async fn begin(args: &Args, client: &Client, context: &Context) -> Result<Begun> {
    if let Some(address) = &args.follow {
        return reattach(address, args, client, context)
            .await
            .map(|followed| Begun::Follow(Box::new(followed)));
    }
    let name = args.name.as_deref().unwrap_or_default();
    let found = access::find(name, args.branch.as_deref(), context)?;
    let job = access::job(client, &found.job, context).await?;
    let preset = found.entry.map(|entry| &entry.parameters);
    let given = given(&job, preset, &args.params, context)?;
    let named = match &args.branch {
        Some(branch) => format!("{name} --branch {branch}"),
        None => name.to_owned(),
    };
    let shown = masked(&job, &given);
    let data = json!({
        "job": job.name.to_string(), "parameters": shown, "item": null, "joined": false, "build": null,
        "url": null, "result": null, "stages": null, "run": null,
    });
    if context.effect == Effect::Described {
        if !job.is_buildable {
            return Err(failed::of(jenkins::Error::NotBuildable { job: job.name.to_string() }));
        }
        let text = format!("{} would be started{}", job.name, with(&shown));
        return Ok(Begun::Told(Box::new(Report::new("pipeline/run", data).with_text(text))));
    }
    let what = format!("start {}{}", job.name, with(&shown));
    access::confirm(&job.name, &what, args.confirm.as_deref(), Unprotected::Free, context)?;
    trigger(
        args,
        client,
        &job,
        &given,
        Followed { job: job.name.clone(), from: From::Item(0), named, recording: None, data },
        context,
    )
    .await
}

async fn trigger(
    args: &Args,
    client: &Client,
    job: &Job,
    given: &[(String, String)],
    mut followed: Followed,
    context: &Context,
) -> Result<Begun> {
    let shown = masked(job, given);
    let inputs = shown.iter().map(|(name, value)| (format!("parameter {name}"), value.clone()));
    let inputs = inputs.chain([("job".to_owned(), job.name.to_string())]);
    let mut recording = Recording::begin(context, "pipeline run", inputs)?;
    recording.step("trigger", format!("{}{}", job.name, with(&shown)))?;
    let queued = match client.ask(job, given).await {
        Ok(queued) => queued,
        Err(error) if failed::leaves_open(&error) => {
            let unknown = Error::new(&codes::PIP024, format!("whether {} was asked for a build", job.name))
                .with_source(&error)
                .with_hint(codes::PIP024.action);
            return Err(recording.failed(unknown));
        }
        Err(error) => return Err(recording.failed(failed::of(error))),
    };
    recording.finished(json!({"item": queued.item, "joined": queued.joined}))?;
    if queued.joined {
        context.progress.say("the same wish was in the queue already; this one joined it");
    }
    followed.data["item"] = queued.item.into();
    followed.data["joined"] = queued.joined.into();
    followed.from = From::Item(queued.item);
    if args.no_wait {
        let address = client.address(&format!("queue/item/{}/", queued.item));
        let text = format!("{} is in the queue: {address}", job.name);
        followed.data["url"] = address.as_str().into();
        followed.data["run"] = recording.ended(text.clone())?.into();
        let report = Report::new("pipeline/run", followed.data).with_text(text).with_names([address]);
        return Ok(Begun::Told(Box::new(report)));
    }
    recording.step("follow", queued.item.to_string())?;
    followed.recording = Some(recording);
    Ok(Begun::Follow(Box::new(followed)))
}

async fn reattach(address: &str, args: &Args, client: &Client, context: &Context) -> Result<Followed> {
    let place: Place = address.parse().map_err(failed::of)?;
    let by_name = match &args.name {
        Some(name) => Some(access::find(name, args.branch.as_deref(), context)?.job),
        None => None,
    };
    let (job, from) = match place {
        Place::Build(job, number) => (job, From::Build(number)),
        Place::Job(job) => {
            let last = client.last_build(&job).await;
            let last = match last {
                Ok(last) => last,
                Err(error) => return Err(access::told(client, &job, error, context).await),
            };
            (job, From::Build(last.number))
        }
        Place::Item(item) => {
            match (by_name, client.job_of_item(item).await.map_err(failed::of)?) {
                (_, Some(job)) | (Some(job), None) => (job, From::Item(item)),
                (None, None) => {
                    return Err(Error::new(&codes::PIP013, format!("Jenkins does not know item {item} any more"))
                    .with_hint("name the job too, and its build is looked for: rtcctl pipeline run NAME --follow URL"));
                }
            }
        }
    };
    let named = args.name.clone().unwrap_or_else(|| job.to_string());
    let data = json!({
        "job": job.to_string(), "parameters": {}, "item": null, "joined": false, "build": null, "url": null,
        "result": null, "stages": null, "run": null,
    });
    Ok(Followed { job, from, named, recording: None, data })
}

/// What is sent: what the command line says over what rtc.toml says, passwords by reference.
fn given(
    job: &Job,
    preset: Option<&BTreeMap<String, String>>,
    typed: &[(String, String)],
    context: &Context,
) -> Result<Vec<(String, String)>> {
    let is_typed = |name: &str| typed.iter().any(|(typed, _)| typed == name);
    let preset = preset.into_iter().flatten().filter(|(name, _)| !is_typed(name));
    let mut given: Vec<(String, String)> =
        preset.map(|(name, value)| (name.clone(), value.clone())).chain(typed.iter().cloned()).collect();
    let problems = jenkins::check(&job.parameters, &given);
    if !problems.is_empty() {
        return Err(failed::parameters(&job.name.to_string(), &problems));
    }
    for (name, value) in given.iter_mut().filter(|(name, _)| is_password(job, name)) {
        *value = password(name, value, context)?;
    }
    Ok(given)
}

/// The secret behind a reference: what stands on a command line is seen by others.
pub fn password(name: &str, reference: &str, context: &Context) -> Result<String> {
    match context.config.secret_of(reference) {
        Ok(secret) => Ok(secret.reveal().to_owned()),
        Err(error) if error.code().id == codes::CFG007.id => {
            Err(Error::new(&codes::PIP022, format!("the parameter {name} is a password"))
                .with_hint(codes::PIP022.action))
        }
        Err(error) => Err(error.with_cause(format!("for the parameter {name}"))),
    }
}

fn is_password(job: &Job, name: &str) -> bool {
    let is = |kind: &ParameterKind| match kind {
        ParameterKind::Password => true,
        // Plug-ins have passwords of their own.
        ParameterKind::Other(class) => ["assword", "ecret"].iter().any(|word| class.contains(word)),
        _ => false,
    };
    job.parameters.iter().any(|parameter| parameter.name == name && is(&parameter.kind))
}

/// The parameters as anybody may see them.
fn masked(job: &Job, given: &[(String, String)]) -> BTreeMap<String, String> {
    let shown = |(name, value): &(String, String)| {
        let value = if is_password(job, name) { "[hidden]".to_owned() } else { value.clone() };
        (name.clone(), value)
    };
    given.iter().map(shown).collect()
}

fn with(parameters: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", shape::plain(value))).collect();
    if pairs.is_empty() { String::new() } else { format!(" with {}", pairs.join(" ")) }
}

async fn follow(args: &Args, client: &Client, followed: Followed, context: &Context) -> Result<Report> {
    let Followed { job, from, named, recording, mut data } = followed;
    let on_interrupt = args
        .on_interrupt
        .or_else(|| choice(&context.config, "jenkins_on_interrupt"))
        .unwrap_or(OnInterrupt::Ask);
    let logging = if args.no_log { Logging::Hidden } else { Logging::Shown };
    let mut follower = Follower::new(client, context, on_interrupt, logging, named);
    follower.protected = access::protected(&job, context).map(str::to_owned);
    follower.recording = recording;
    let mut watch = Watch::new(client, job, from, access::pace(context));
    let end = follower.follow(&mut watch).await;
    let mut recording = follower.recording.take();
    let address = follower.address(&watch);
    let what = what(&watch);
    let again = format!("rtcctl pipeline run --follow {address}");
    if let (Some(number), Some(recording)) = (watch.number(), &mut recording) {
        recording.note("build", json!({"number": number, "url": address}))?;
    }
    let error = match end {
        Ok(End::Ended(build)) => {
            return ended(client, &watch, &follower, build, recording, &mut data);
        }
        Ok(End::Cancelled) => Error::new(&codes::PIP013, format!("{what} was taken out of the queue"))
            .with_hint(codes::PIP013.action),
        Ok(End::Expired) => {
            Error::new(&codes::PIP013, format!("{what} is not known to Jenkins, and no build came of it"))
                .with_hint(codes::PIP013.action)
        }
        Ok(End::TimedOut) => {
            let after = human::duration(context.config.duration("timeout").unwrap_or_default());
            Error::new(&codes::PIP014, format!("not over after {after}: {what} goes on")).with_hint(again)
        }
        Ok(End::Left(signal)) => left(signal, &what, &address),
        Ok(End::Stopped(signal, build)) => {
            let result = build.and_then(|build| build.result);
            signal.error(match result {
                Some(result) => format!("{what} was stopped, and ended as {result}"),
                None if watch.number().is_none() => format!("{what} was taken out of the queue"),
                None => format!("{what} was asked to stop, and has not yet"),
            })
        }
        Err(error) => match watch.number().is_some() || error.exit() == exit::UNAVAILABLE {
            true => error.with_cause(format!("{what} goes on")).with_hint(again),
            false => error,
        },
    };
    Err(match recording {
        Some(recording) => recording.failed(error),
        None => error,
    })
}

fn ended(
    client: &Client,
    watch: &Watch<'_>,
    follower: &Follower<'_>,
    build: jenkins::Build,
    recording: Option<Recording>,
    data: &mut Value,
) -> Result<Report> {
    let (status, exit, code) = shape::outcome(build.result.as_ref());
    let result = build.result.as_ref().map_or("", BuildResult::as_str);
    let sentence =
        format!("build {} of {}: {result} after {}", build.number, watch.job(), human::duration(build.took));
    let told = shape::build(client, watch.job(), &build);
    for key in ["build", "url", "result", "took_ms", "started_at"] {
        data[key] = told[key].clone();
    }
    if !follower.lacks_stages {
        data["stages"] = shape::stages(&follower.stages);
    }
    if let Some(mut recording) = recording {
        if exit == exit::DONE {
            recording.finished(data.clone())?;
        }
        data["run"] = recording.id().into();
        end_recording(recording, exit, code, &sentence)?;
    }
    let mut report = Report::new("pipeline/run", data.clone()).with_status(status, exit);
    if !follower.stages.is_empty() {
        report = report.with_table(shape::stage_table(&follower.stages));
    }
    report = report.with_text(sentence.clone()).with_names([build.number.to_string()]);
    if follower.lacks_stages {
        report = report.with_finding(shape::no_stages());
    }
    if let Some(code) = code {
        if !follower.tail.is_empty() {
            let tail = anstream::adapter::strip_str(&follower.tail.join("\n")).to_string();
            report = report.with_text(format!("the end of its log:\n{tail}"));
        }
        let hint = format!("rtcctl pipeline logs {} --build {}", follower.named, build.number);
        report = report.with_finding(Finding::new(code, Severity::Error, sentence).with_hint(hint));
    }
    Ok(report)
}

fn end_recording(
    recording: Recording,
    exit: Exit,
    code: Option<&'static codes::Code>,
    sentence: &str,
) -> Result<()> {
    match code {
        None => recording.ended(sentence).map(drop),
        Some(code) => {
            // The report says it; the journal has it as what the run failed with.
            drop(recording.failed(Error::new(code, sentence).with_exit(exit)));
            Ok(())
        }
    }
}
