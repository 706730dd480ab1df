//! `rtcctl runs list|show|evidence|notify`: what this machine has changed, and how it went.

pub mod notify;

use std::time::Duration;

use codes::{Error, Result};
use journal::{Entry, Journal, Record, State, StepState};
use serde_json::{Value, json};

use crate::context::Context;
use crate::human;
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The runs of this machine, the latest first
    List(ListArgs),
    /// One run: its steps, how long they took, how it ended
    Show(RunArgs),
    /// The files that a run kept
    Evidence(RunArgs),
    /// Tell others what a run came to: Slack, webhooks
    Notify(notify::Args),
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Only those that stopped before their end: nobody works on them, and they can be gone on with
    #[arg(long)]
    open: bool,
    /// Only those of a command: ship, infra apply
    #[arg(long, value_name = "WORDS")]
    of: Option<String>,
}

impl ListArgs {
    fn wants(&self, record: &Record) -> bool {
        let is_of = self.of.as_ref().is_none_or(|words| is_of(record, words));
        is_of && (!self.open || record.state == State::Interrupted)
    }
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The run's id, its beginning or its end, or `last`, which is no part of another run
    #[arg(value_name = "RUN", default_value = "last")]
    run: String,
}

pub async fn run(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::List(args) => list(&args, context),
        Command::Show(args) => show(&args, context),
        Command::Evidence(args) => evidence(&args, context),
        Command::Notify(args) => notify::run(args, context).await,
    }
}

/// What the journal says went wrong, under its code.
pub fn told(error: journal::Error) -> Error {
    let code = match &error {
        journal::Error::Disk { .. } | journal::Error::Name(_) => &codes::JRN001,
        journal::Error::NotFound(_) | journal::Error::Ambiguous { .. } => &codes::JRN002,
        journal::Error::Busy(_) | journal::Error::Ended(_) => &codes::JRN003,
        journal::Error::Unreadable { .. } => &codes::JRN004,
    };
    Error::new(code, error.to_string())
}

/// So many earlier runs are looked through for the one that a run is a part of.
const EARLIER: usize = 50;

fn is_of(record: &Record, words: &str) -> bool {
    record.header.command.starts_with(words)
}

/// A run by its id, or `last`: the latest one that is no part of another, as the rollout of a release is. `of` are the
/// commands that it may be of; any, where there are none.
pub fn find(wanted: &str, of: &[String], journal: &Journal) -> journal::Result<Record> {
    let may_be = |record: &Record| of.is_empty() || of.iter().any(|words| is_of(record, words));
    let absent = || match of {
        [] => wanted.to_owned(),
        of => format!("{wanted} of {}", of.join(" or ")),
    };
    if wanted != "last" {
        let record = journal.read(wanted)?;
        return if may_be(&record) { Ok(record) } else { Err(journal::Error::NotFound(absent())) };
    }
    let ids = journal.ids()?;
    for (place, id) in ids.iter().enumerate() {
        let record = journal.read(id);
        // What cannot be read is the last one, where nobody said of what.
        let may_be = record.as_ref().map_or(of.is_empty(), may_be);
        if may_be && !is_part(id, &ids[place + 1..], journal) {
            return record;
        }
    }
    Err(journal::Error::NotFound(absent()))
}

/// Whether one of the runs that began before it has it as its own: nothing else names a run that begins later.
fn is_part(id: &str, earlier: &[String], journal: &Journal) -> bool {
    let mut earlier = earlier.iter().take(EARLIER).filter_map(|id| journal.read(id).ok());
    earlier.any(|record| serde_json::to_string(&record.entries).is_ok_and(|entries| entries.contains(id)))
}

fn state(record: &Record) -> (&'static str, Option<u8>) {
    match record.state {
        State::UnderWay => ("under way", None),
        State::Interrupted => ("cut off", None),
        State::Ended { exit: 0 } => ("done", Some(0)),
        State::Ended { exit } => ("failed", Some(exit)),
    }
}

fn head(record: &Record) -> Value {
    let (state, exit) = state(record);
    json!({
        "run": record.header.run, "command": record.header.command, "environment": record.header.environment,
        "by": record.header.by, "started_at": record.header.started_at, "state": state, "exit": exit,
    })
}

fn list(args: &ListArgs, context: &Context) -> Result<Report> {
    let journal = context.journal();
    let mut table = Table::new([
        Column::left("run"),
        Column::left("command"),
        Column::left("env"),
        Column::left("state"),
        Column::right("began"),
        Column::left("by").wide(),
    ]);
    let (mut data, mut names) = (Vec::new(), Vec::new());
    for id in journal.ids().map_err(told)? {
        if names.len() == args.limit {
            break;
        }
        // One that cannot be read does not hide the others.
        match journal.read(&id) {
            Ok(record) if !args.wants(&record) => continue,
            Ok(record) => {
                let (word, exit) = state(&record);
                let word = match exit {
                    Some(exit) if exit != 0 => format!("{word} ({exit})"),
                    _ => word.to_owned(),
                };
                let header = &record.header;
                table.push([
                    id.clone(),
                    header.command.clone(),
                    header.environment.clone(),
                    word,
                    human::ago(Some(header.started_at), context.clock.now()),
                    header.by.clone(),
                ]);
                data.push(head(&record));
            }
            // What it is cannot be said, nor that it is what was asked for.
            Err(_) if args.open || args.of.is_some() => continue,
            Err(error) => {
                table.push([id.clone(), String::new(), String::new(), "unreadable".to_owned()]);
                data.push(json!({"run": id, "state": "unreadable", "reason": error.to_string()}));
            }
        }
        names.push(id);
    }
    let report = Report::new("runs/list", data).with_names(names);
    Ok(match table.is_empty() {
        true => report.with_text(format!("no runs in {}", journal.root().display())),
        false => report.with_table(table),
    })
}

fn show(args: &RunArgs, context: &Context) -> Result<Report> {
    let record = find(&args.run, &[], &context.journal()).map_err(told)?;
    let (word, exit) = state(&record);
    let header = &record.header;
    let summary = record.entries.iter().rev().find_map(|stamped| match &stamped.entry {
        Entry::Ended { summary, .. } => Some(summary.clone()),
        _ => None,
    });
    let mut pairs = vec![
        ("run", header.run.clone()),
        ("command", header.command.clone()),
        ("environment", header.environment.clone()),
        ("by", header.by.clone()),
        ("began", header.started_at.to_string()),
        ("state", exit.map_or_else(|| word.to_owned(), |exit| format!("{word}, exit {exit}"))),
    ];
    if let Some(summary) = &summary {
        pairs.push(("summary", summary.clone()));
    }
    pairs.push(("folder", record.folder().display().to_string()));
    let mut table = Table::new([
        Column::left("step"),
        Column::left("state"),
        Column::right("took"),
        Column::left("says"),
    ]);
    for step in record.steps() {
        let (state, took, says) = match &step.state {
            StepState::Begun => ("begun", String::new(), "whether it happened is not known".to_owned()),
            StepState::Finished { took_ms, outputs } => {
                ("done", human::duration(Duration::from_millis(*took_ms)), says(outputs))
            }
            StepState::Failed { code, message } => ("failed", String::new(), format!("{code}: {message}")),
            StepState::Skipped { reason } => ("skipped", String::new(), reason.clone()),
        };
        table.push([step.name.clone(), state.to_owned(), took, says]);
    }
    let mut data = head(&record);
    data["summary"] = json!(summary);
    data["entries"] = json!(record.entries);
    data["folder"] = json!(record.folder());
    let report = Report::new("runs/show", data).with_pairs(pairs).with_names([header.run.clone()]);
    let report = if table.is_empty() { report } else { report.with_table(table) };
    Ok(match (header.command.as_str(), record.state) {
        (super::ship::history::COMMAND, State::Interrupted) => {
            let again = format!("rtcctl ship --env {} --resume {}", header.environment, header.run);
            let finding =
                Finding::new(&codes::SHP022, Severity::Warning, "it stopped before its end, and is open");
            report.with_finding(finding.with_hint(again))
        }
        _ => report,
    })
}

fn evidence(args: &RunArgs, context: &Context) -> Result<Report> {
    let record = find(&args.run, &[], &context.journal()).map_err(told)?;
    let mut files = record.evidence().map_err(told)?;
    // Those of the runs that it consists of.
    for (_, run) in super::ship::history::runs_of(&record.entries) {
        if let Ok(part) = context.journal().read(&run) {
            files.extend(part.evidence().map_err(told)?);
        }
    }
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let report = Report::new("runs/evidence", &files).with_names(files.clone());
    Ok(match files.is_empty() {
        true => report.with_text(format!("{} kept no files", record.header.run)),
        false => report.with_text(files.join("\n")),
    })
}

/// What a step gave, in the words of whoever wrote it.
fn says(outputs: &Value) -> String {
    super::ship::history::says(outputs).unwrap_or_else(|| in_words(outputs))
}

/// Counts that are not nothing, `create 5, delete 1`; what is no object of numbers as it stands.
fn in_words(outputs: &Value) -> String {
    let counts = outputs.as_object().map(|all| all.iter().map(|(name, count)| Some((name, count.as_u64()?))));
    match counts.map(Iterator::collect::<Option<Vec<_>>>) {
        Some(Some(counts)) if !counts.is_empty() => {
            let said: Vec<String> = counts
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
        }
        _ => outputs.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Typed;

    fn journal(typed: &Typed) -> journal::Journal {
        typed.write("rtc.toml", b"[defaults]\njournal = \"runs\"\n");
        journal::Journal::new(typed.path("runs"), std::sync::Arc::new(kernel::SystemClock))
    }

    fn start() -> journal::Start {
        journal::Start {
            command: "infra apply".to_owned(),
            environment: "dev".to_owned(),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn runs_are_listed_shown_and_named() {
        let typed = Typed::alone();
        let mut run = journal(&typed).begin(start(), 1).unwrap();
        let begun = journal::Entry::Begun { step: "apply".to_owned(), inputs: String::new() };
        run.append(begun).unwrap();
        std::fs::write(run.evidence("plan.txt").unwrap(), "").unwrap();
        let id = run.id();
        assert_eq!(typed.run(&["runs", "list", "-o", "json"]).await.json()["data"][0]["state"], "under way");
        drop(run);
        let listed = typed.run(&["runs", "list"]).await;
        assert!(listed.stdout.contains(&id) && listed.stdout.contains("cut off"), "{}", listed.stdout);
        let shown = typed.run(&["runs", "show"]).await;
        assert!(shown.stdout.contains("whether it happened is not known"), "{}", shown.stdout);
        assert!(typed.run(&["runs", "evidence", &id]).await.stdout.ends_with("plan.txt\n"));
        let open = typed.run(&["runs", "list", "--open", "-o", "name"]).await;
        assert_eq!(open.stdout.trim(), id);
        assert_eq!(typed.run(&["runs", "list", "--open", "--of", "ship", "-o", "name"]).await.stdout, "");
        assert_eq!(typed.run(&["runs", "list", "--of", "infra", "-o", "name"]).await.stdout.trim(), id);
        let missing = typed.run(&["runs", "show", "nothing", "-o", "json"]).await;
        assert_eq!((missing.exit, &missing.error()["code"]), (5, &serde_json::json!("JRN002")));
    }

    #[tokio::test]
    async fn a_run_that_cannot_be_read_does_not_hide_the_others() {
        let typed = Typed::alone();
        let journal = journal(&typed);
        journal.begin(start(), 1).unwrap();
        let broken = journal.begin(start(), 2).unwrap();
        std::fs::write(broken.folder().join("steps.ndjson"), "nonsense\n{}\n").unwrap();
        let listed = typed.run(&["runs", "list", "-o", "json"]).await.json();
        assert_eq!(listed["data"].as_array().unwrap().len(), 2);
        let shown = typed.run(&["runs", "show", &broken.id(), "-o", "json"]).await;
        assert_eq!(shown.error()["code"], "JRN004");
    }

    #[tokio::test]
    async fn no_runs_is_no_error() {
        let typed = Typed::alone();
        journal(&typed);
        let listed = typed.run(&["runs", "list"]).await;
        assert_eq!(listed.exit, 0);
        assert!(listed.stdout.starts_with("no runs in"), "{}", listed.stdout);
    }
}
