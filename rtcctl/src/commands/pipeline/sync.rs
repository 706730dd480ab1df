//! `rtcctl pipeline sync`: the jobs of Jenkins as the files of the repository describe them.
//!
//! Invariants: what would change is shown before it is; where one job must not be changed none is; nothing is deleted
//! without --prune, and then only what we made; no secret is shown or sent.

use std::path::{Path, PathBuf};

use codes::{Error, Result, exit};
use jenkins::{Adopting, Change, Client, Description, Filled, Planned, Sync};
use serde_json::{Value, json};
use settings::{Origin, PROJECT_FILE};

use super::{access, failed};
use crate::context::{Consent, Context, Effect};
use crate::output::{Finding, Report, Severity};
use crate::recording::Recording;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "--dry-run shows what would be done; with --exit-code it ends with 10 where something would."
)]
pub struct Args {
    /// The folder of the descriptions [default: pipelines/jenkins/jobs beside rtc.toml]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    jobs: Option<PathBuf>,
    /// Delete what we made and no file describes any more
    #[arg(long)]
    prune: bool,
    /// Take over jobs of these names that somebody else made
    #[arg(long)]
    adopt: bool,
    /// With --dry-run: end with 10 where something would be done
    #[arg(long)]
    exit_code: bool,
    /// The name of the environment, for those that are protected
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let state = "each job is as it was or as it is described; run it again to go on";
    tokio::select! {
        done = carry_out(&args, context) => done,
        signal = context.interrupts.wait() => Err(signal.error(state)),
    }
}

async fn carry_out(args: &Args, context: &Context) -> Result<Report> {
    let described = read(args, context)?;
    let client = access::client(context)?;
    let sync = Sync {
        owner: context.config.text("jenkins_owner").unwrap_or("rtc").to_owned(),
        adopting: if args.adopt { Adopting::Allowed } else { Adopting::Refused },
    };
    let mut planned = sync.plan(&client, &described).await.map_err(failed::of)?;
    let strays = sync.strays(&client, &described).await.map_err(failed::of)?;
    let left = match args.prune {
        true => {
            planned.extend(strays);
            Vec::new()
        }
        false => strays,
    };
    let refused: Vec<String> = planned.iter().filter_map(failed::refusal).collect();
    let changes: Vec<&Planned> = planned.iter().filter(|one| acts(one)).collect();
    let mut data = json!({
        "jenkins": client.address(""), "jobs": planned.iter().map(told).collect::<Vec<_>>(),
        "strays": left.iter().map(|stray| stray.name.to_string()).collect::<Vec<_>>(), "changed": 0, "run": null,
    });
    let shown = diff(&planned);
    if !refused.is_empty() {
        if !shown.is_empty() {
            context.progress.say(&shown);
        }
        let number = refused.len();
        let message = format!(
            "{number} {} not be changed, so nothing was",
            if number == 1 { "job must" } else { "jobs must" }
        );
        let error = refused.into_iter().fold(Error::new(&codes::PIP019, message), Error::with_cause);
        return Err(error.with_hint(codes::PIP019.action));
    }
    if changes.is_empty() || context.effect == Effect::Described {
        let text = match changes.len() {
            0 => format!("{} jobs are as they are described", planned.len()),
            number => format!("{shown}{}", counted(&changes, number)),
        };
        let mut report = Report::new("pipeline/sync", data).with_text(text);
        if !changes.is_empty() {
            report.status = "changes";
            report.exit = if args.exit_code { exit::CHANGES } else { exit::DONE };
        }
        return Ok(with_strays(report.with_names(changes.iter().map(|one| one.name.to_string())), &left));
    }
    match context.consent {
        Consent::Ask => context.progress.write(&shown),
        Consent::Given | Consent::Absent => context.progress.say(shown.trim_end()),
    }
    let what = format!("change {} of {}", jobs(changes.len()), client.address(""));
    let mut deletes = changes.iter().filter(|one| one.change == Change::Delete);
    match deletes.find_map(|one| access::protected(&one.name, context)) {
        Some(name) => {
            let what = format!("{what}, deleting jobs with all their builds");
            context.confirm_by_name(&what, name, args.confirm.as_deref())?;
        }
        None => context.confirm(&what)?,
    }
    let inputs = [("jenkins".to_owned(), client.address(""))];
    let mut recording = Recording::begin(context, "pipeline sync", inputs)?;
    if let Err(error) = apply(&sync, &client, &changes, &mut recording, context).await {
        return Err(recording.failed(error));
    }
    data["changed"] = changes.len().into();
    let text = counted(&changes, changes.len()).replace("would be ", "");
    data["run"] = recording.ended(text.clone())?.into();
    let report = Report::new("pipeline/sync", data).with_text(text);
    Ok(with_strays(report.with_names(changes.iter().map(|one| one.name.to_string())), &left))
}

async fn apply(
    sync: &Sync,
    client: &Client,
    changes: &[&Planned],
    recording: &mut Recording,
    context: &Context,
) -> Result<()> {
    let task = context.progress.task("sync", format!("changing {}", jobs(changes.len())));
    for (position, one) in changes.iter().enumerate() {
        task.position(position as u64, changes.len() as u64);
        task.show(one.name.to_string());
        recording.step(&format!("{} {}", verb(one), one.name), diff(std::slice::from_ref(*one)))?;
        if let Err(error) = sync.apply(client, one).await {
            let error = failed::of(error);
            task.fail(format!("{} of {} done", position, changes.len()));
            return Err(
                error.with_cause(format!("{position} of {} were changed before", jobs(changes.len())))
            );
        }
        recording.finished(Value::Null)?;
    }
    task.done("");
    Ok(())
}

/// Every description of the folder, by the names of the files.
fn read(args: &Args, context: &Context) -> Result<Vec<(String, Description)>> {
    let folder = folder(args, context);
    let wrong = |error: &std::io::Error| {
        Error::new(&codes::PIP018, format!("cannot read {}", folder.display()))
            .with_source(error)
            .with_hint("name the folder: --jobs DIR, or [jenkins] jobs in rtc.toml")
    };
    let filled = Filled {
        repository: context.config.text("jenkins_repository").map(str::to_owned),
        credentials: context.config.text("jenkins_credentials").map(str::to_owned),
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|error| wrong(&error))?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    if files.is_empty() {
        // Everything of ours would be a stray.
        return Err(Error::new(&codes::PIP018, format!("{} describes no job", folder.display()))
            .with_hint("name the folder: --jobs DIR, or [jenkins] jobs in rtc.toml"));
    }
    let mut described = Vec::with_capacity(files.len());
    for path in files {
        let name = path.strip_prefix(&context.current_dir).unwrap_or(&path).display().to_string();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::new(&codes::PIP018, format!("cannot read {name}")).with_source(&error))?;
        let description = Description::parse(&name, &text, &filled).map_err(failed::of)?;
        described.push((name, description));
    }
    Ok(described)
}

fn folder(args: &Args, context: &Context) -> PathBuf {
    let config = &context.config;
    match (&args.jobs, &config.get("jenkins_jobs").origin) {
        (Some(folder), _) => context.current_dir.join(folder),
        (None, Origin::Default) => {
            let project = config.files.iter().find(|path| path.ends_with(PROJECT_FILE));
            let beside = project.and_then(|path| path.parent()).unwrap_or(Path::new("."));
            context.current_dir.join(beside).join(&config.get("jenkins_jobs").text)
        }
        (None, _) => config.path("jenkins_jobs"),
    }
}

fn acts(planned: &Planned) -> bool {
    matches!(planned.change, Change::Create | Change::Update | Change::Delete)
}

fn verb(planned: &Planned) -> &'static str {
    match planned.change {
        Change::Create => "create",
        Change::Update => "update",
        Change::Delete => "delete",
        Change::Nothing => "unchanged",
        Change::Refused(_) => "refused",
    }
}

fn told(planned: &Planned) -> Value {
    json!({
        "job": planned.name.to_string(), "kind": planned.kind.as_str(), "file": planned.file,
        "change": verb(planned), "differences": planned.differences, "why": failed::refusal(planned),
    })
}

/// What would be done, as a person reads it: `+ job`, `~ job` with its differences, `- job`.
fn diff(planned: &[Planned]) -> String {
    let mut text = String::new();
    for one in planned {
        let sign = match one.change {
            Change::Create => '+',
            Change::Update => '~',
            Change::Delete => '-',
            Change::Refused(_) => '!',
            Change::Nothing => continue,
        };
        text.push_str(&format!("{sign} {} ({})\n", one.name, one.kind.as_str()));
        for difference in &one.differences {
            let change = match (&difference.has, &difference.wants) {
                (Some(has), Some(wants)) => format!("{has:?} → {wants:?}"),
                (None, Some(wants)) => format!("+ {wants}"),
                (Some(has), None) => format!("- {has}"),
                (None, None) => String::new(),
            };
            text.push_str(&format!("    {}: {}\n", difference.at, super::shape::plain(&change)));
        }
    }
    text
}

fn counted(changes: &[&Planned], all: usize) -> String {
    let count = |change: &Change| changes.iter().filter(|one| one.change == *change).count();
    format!(
        "{}: {} would be created, {} would be updated, {} would be deleted",
        jobs(all),
        count(&Change::Create),
        count(&Change::Update),
        count(&Change::Delete)
    )
}

fn jobs(number: usize) -> String {
    if number == 1 { "1 job".to_owned() } else { format!("{number} jobs") }
}

fn with_strays(report: Report, left: &[Planned]) -> Report {
    if left.is_empty() {
        return report;
    }
    let names: Vec<String> = left.iter().map(|stray| stray.name.to_string()).collect();
    let message = format!("made by us and described no more: {}", names.join(", "));
    report.with_finding(
        Finding::new(&codes::PIP032, Severity::Info, message)
            .with_hint("--prune deletes them, with all their builds"),
    )
}
