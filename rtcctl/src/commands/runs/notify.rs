//! `rtcctl runs notify`: tells others what a run came to.

use std::process::Command;

use codes::{Error, Result, exit};
use journal::{Entry, Record, State, StepState};
use notices::{Delivery, Kind, Link, Notice, Outcome, Sent};
use serde_json::{Value, json};

use super::{in_words, told};
use crate::context::{Context, Effect};
use crate::notifying::{self, Wanted};
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's id, its beginning or its end, or `last`, which is no part of another run
    #[arg(value_name = "RUN", default_value = "last")]
    run: String,
    /// Only a run of this command: ship, infra apply; may be given several times
    #[arg(long, value_name = "COMMAND")]
    of: Vec<String>,
    /// A receiver of rtc.toml, told whatever came of it; may be given several times [default: those of the environment]
    #[arg(long, value_name = "NAME")]
    to: Vec<String>,
    /// What the whole came to, where the run itself went well or there is none: released, failed, stopped, …
    /// (1 and 0, as CodeBuild has it, are released and failed)
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    outcome: Option<Outcome>,
    /// Why, where the run does not say it
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who caused it, where a machine ran it
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Tell the commit that is checked out, and its author as who caused it
    #[arg(long, conflicts_with = "by")]
    commit: bool,
    /// Something to look at; may be given several times
    #[arg(long, value_name = "LABEL=URL", value_parser = link)]
    link: Vec<Link>,
}

fn outcome(text: &str) -> Result<Outcome, String> {
    match text {
        "1" => Ok(Outcome::Released),
        "0" => Ok(Outcome::Failed),
        word => word.parse(),
    }
}

fn link(text: &str) -> Result<Link, String> {
    match text.split_once('=') {
        Some((label, url))
            if !label.is_empty() && (url.starts_with("https://") || url.starts_with("http://")) =>
        {
            Ok(Link::new(label, url))
        }
        _ => Err("a link is LABEL=URL, and URL begins with https:// or http://".to_owned()),
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let notice = notice(&args, context)?;
    let (receivers, wanted) = match args.to.as_slice() {
        [] => (notifying::of_environment(&notice.environment, context), Wanted::AsDescribed),
        names => (notifying::by_name(names, context)?, Wanted::Any),
    };
    if context.effect == Effect::Described {
        let would: Vec<Value> = receivers
            .iter()
            .map(|(name, entry)| {
                let (body, shortened) = match entry.kind {
                    Kind::Slack => notices::slack_message(&notice),
                    Kind::Webhook => notices::webhook_document(&notice),
                };
                json!({"target": name, "kind": entry.kind, "body": body, "shortened": shortened})
            })
            .collect();
        let text = notices::slack_message(&notice).0["text"].as_str().unwrap_or_default().to_owned();
        return Ok(Report::new("runs/notify", would).with_text(format!("would be told: {text}")));
    }
    let told = notifying::tell_them(&notice, &receivers, wanted, context).await;
    let failed: Vec<(&str, &str)> = told.failures().collect();
    if !failed.is_empty() {
        let reached = told.deliveries.len() - failed.len();
        let message = match failed.as_slice() {
            [(name, _)] => format!("{name} was not told"),
            several => format!("{} receivers were not told", several.len()),
        };
        let error = failed.iter().fold(Error::new(&codes::NTC001, message), |error, (name, reason)| {
            error.with_cause(format!("{name}: {reason}"))
        });
        let error = error.with_hint(codes::NTC001.action);
        return Err(if reached == 0 { error } else { error.with_exit(exit::PARTIAL) });
    }
    Ok(report(&told.deliveries, &notice))
}

fn report(deliveries: &[Delivery], notice: &Notice) -> Report {
    let mut table =
        Table::new([Column::left("receiver"), Column::left("kind"), Column::left("state"), Column::left("")]);
    for delivery in deliveries {
        let kind = match delivery.kind {
            Kind::Slack => "slack",
            Kind::Webhook => "webhook",
        };
        let state = match &delivery.sent {
            Sent::Delivered => "told".to_owned(),
            Sent::NotWanted => format!("not told of {}", notice.outcome),
            Sent::Failed { reason } => reason.clone(),
        };
        let shortened = match delivery.shortened.as_slice() {
            [] => String::new(),
            parts => format!("shortened: {}", parts.join("; ")),
        };
        table.push([delivery.target.clone(), kind.to_owned(), state, shortened]);
    }
    let data = json!({"outcome": notice.outcome, "run": notice.run, "deliveries": deliveries});
    let names = deliveries.iter().filter(|delivery| delivery.sent == Sent::Delivered);
    let report = Report::new("runs/notify", data).with_names(names.map(|delivery| delivery.target.clone()));
    match deliveries {
        [] => {
            let message = format!("nobody is told of {}", notice.environment);
            report.with_finding(Finding::new(&codes::NTC003, Severity::Info, message))
        }
        _ => report.with_table(table),
    }
}

/// What is told, from the journal and the flags.
fn notice(args: &Args, context: &Context) -> Result<Notice> {
    let mut notice = match (super::find(&args.run, &args.of, &context.journal()), args.outcome) {
        (Ok(record), _) if record.state == State::UnderWay => {
            let message = format!("the run {} is under way: there is nothing to tell yet", record.header.run);
            return Err(Error::new(&codes::JRN003, message));
        }
        (Ok(record), _) => of_record(&record),
        // A pipeline that failed before it changed anything has no run.
        (Err(journal::Error::NotFound(_)), Some(outcome)) => Notice {
            at: context.clock.now().to_string(),
            by: context.config.operator(),
            ..Notice::new(outcome, context.config.env(), "pipeline")
        },
        (Err(error), _) => return Err(told(error)),
    };
    if let Some(outcome) = args.outcome.filter(|_| notice.outcome == Outcome::Released) {
        notice.outcome = outcome;
    }
    if let Some(by) = args.by.as_ref().filter(|by| !by.is_empty()) {
        notice.by.clone_from(by);
    }
    if args.commit {
        let (commit, subject, author) = checked_out(context)?;
        notice.changed.insert(0, format!("commit {commit}: {subject}"));
        notice.by = author;
    }
    notice.why = notice.why.or_else(|| args.why.clone());
    notice.links.extend(args.link.iter().cloned());
    Ok(notice)
}

/// The commit of the current folder, its subject and its author.
fn checked_out(context: &Context) -> Result<(String, String, String)> {
    let unknown = |why: String| {
        Error::new(&codes::NTC004, "which commit is checked out cannot be said").with_cause(why)
    };
    let output = Command::new("git")
        .args(["log", "-1", "--no-show-signature", "--format=%h%x00%s%x00%an", "--abbrev=12"])
        .current_dir(&context.current_dir)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| unknown(error.to_string()))?;
    if !output.status.success() {
        return Err(unknown(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut parts = text.trim_end().splitn(3, '\0').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(commit), Some(subject), Some(author)) => Ok((commit, subject, author)),
        _ => Err(unknown("git answered something else".to_owned())),
    }
}

/// What the journal says of a run that nobody works on any more.
pub fn of_record(record: &Record) -> Notice {
    let header = &record.header;
    let outcome = record.end().map_or(Outcome::Stopped, Outcome::of_exit);
    let mut notice = Notice::new(outcome, &header.environment, &header.command);
    notice.run = Some(header.run.clone());
    notice.by.clone_from(&header.by);
    let mut said = Said::default();
    header.inputs.iter().for_each(|(key, value)| said.text(key, value));
    for step in record.steps() {
        match &step.state {
            StepState::Finished { outputs, .. } => {
                said.outputs(outputs);
                let words = super::super::ship::history::says(outputs);
                let words = words.unwrap_or_else(|| scalars(outputs));
                notice.changed.push(format!("{}: {words}", step.name));
            }
            StepState::Skipped { reason } => notice.changed.push(format!("{}: skipped, {reason}", step.name)),
            StepState::Failed { code, message } => {
                notice.why = Some(format!("{code}: {message}"));
                notice.changed.push(format!("{}: failed", step.name));
            }
            StepState::Begun => {
                notice.changed.push(format!("{}: begun, and whether it happened is not known", step.name));
            }
        }
    }
    for stamped in &record.entries {
        match &stamped.entry {
            Entry::Noted { data, .. } => said.note(data),
            Entry::Ended { exit, summary } if *exit != 0 && notice.why.is_none() => {
                notice.why = Some(summary.clone());
            }
            _ => {}
        }
    }
    if let Some(last) = record.entries.last() {
        notice.at = last.at.to_string();
        notice.took = Some(last.at.since(header.started_at));
    }
    notice.digest = said.digest;
    notice.previous_digest = said.previous;
    notice
}

/// The digests that a run speaks of, where it speaks of what it releases; the last of each stands. What is deeper in a
/// document, such as an object of Kubernetes, may name any image.
#[derive(Default)]
struct Said {
    digest: Option<String>,
    previous: Option<String>,
}

impl Said {
    fn outputs(&mut self, outputs: &Value) {
        // A step of `ship` says what it gave below `given`.
        for document in [Some(outputs), outputs.get("given")].into_iter().flatten() {
            for (key, value) in document.as_object().into_iter().flatten() {
                self.text(key, value.as_str().unwrap_or_default());
            }
        }
    }

    /// `deploy` notes the revision that ran before.
    fn note(&mut self, data: &Value) {
        if let Some(image) = data["previous"]["image"].as_str() {
            self.text("previous_image", image);
        }
        if let Some(image) = data["previous_image"].as_str() {
            self.text("previous_image", image);
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        // Also `HOST/NAME@sha256:…`.
        let Some(digest) = text.rfind("sha256:").map(|at| text[at..].to_owned()) else { return };
        match key {
            "digest" | "image" | "reference" => self.digest = Some(digest),
            "previous_digest" | "previous_image" => self.previous = Some(digest),
            _ => {}
        }
    }
}

/// Counts in words, or what of a document is a text, a number or a flag.
fn scalars(outputs: &Value) -> String {
    let Some(map) = outputs.as_object() else { return in_words(outputs) };
    if map.values().all(Value::is_u64) {
        return in_words(outputs);
    }
    let parts = map.iter().filter_map(|(key, value)| match value {
        Value::String(text) if !text.is_empty() => Some(format!("{key} {text}")),
        Value::Number(number) => Some(format!("{key} {number}")),
        Value::Bool(flag) => Some(format!("{key} {}", if *flag { "yes" } else { "no" })),
        _ => None,
    });
    let said: Vec<String> = parts.collect();
    if said.is_empty() { "done".to_owned() } else { said.join(", ") }
}

#[cfg(test)]
mod tests;
