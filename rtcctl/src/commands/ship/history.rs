//! A release in the journal: facts as entries, entries as facts.
//!
//! Invariants: what a run was begun with is in its header, before anything else of it; an entry that this version cannot
//! read stops the run, it is never passed by.

use std::collections::BTreeMap;
use std::time::Duration;

use codes::{Error, Result};
use journal::{Entry, Record, Run, Stamped, Start, State};
use serde_json::{Value, json};
use ship::{Fact, Failure, Given, IfUnknown, Release, Request, Step};

use super::others;
use crate::commands::runs::told;
use crate::context::Context;
use crate::human;

pub const COMMAND: &str = "ship";
const REQUEST: &str = "request";
/// The kinds of what is noted.
const FAILURE: &str = "failure";
pub const STOPPED: &str = "stopped";
/// The runs that a release consists of, by the kind of the note.
pub const ROLLOUT: &str = "rollout";
pub const ROLLBACK: &str = "rollback";
/// Somebody said that it goes on although no load has shown whether it was noticed.
const UNPROVED: &str = "unproved";
/// How things stood was too old to be judged by.
const LOOK_AGAIN: &str = "look_again";
/// For so long a look at the budgets and at what the gate measures is of now.
const FRESH: Duration = Duration::from_secs(15 * 60);

/// Begins a run.
pub fn begin(request: &Request, context: &Context) -> Result<Run> {
    let text = serde_json::to_string(request)
        .map_err(|error| Error::internal("the request cannot be kept").with_source(&error))?;
    let mut inputs =
        BTreeMap::from([(REQUEST.to_owned(), text), ("image".to_owned(), request.image.clone())]);
    if let Some(pinned) = &request.pinned {
        inputs.insert("reference".to_owned(), pinned.reference.clone());
    }
    let start = Start {
        command: COMMAND.to_owned(),
        environment: request.environment.clone(),
        inputs,
        by: context.config.operator(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let chance = context.clock.now().as_millis().unsigned_abs() ^ u64::from(std::process::id());
    let run = context.journal().begin(start, chance).map_err(told)?;
    context.progress.say(format!("run {}", run.id()));
    Ok(run)
}

/// Takes an interrupted run up, as it stands.
pub fn take_up(wanted: &str, context: &Context) -> Result<(Run, Release, Vec<(String, String)>)> {
    let journal = context.journal();
    let wanted = match wanted {
        "last" => last_open(context)?,
        other => other.to_owned(),
    };
    let cannot = |reason: String| Error::new(&codes::SHP002, reason).with_hint(codes::SHP002.action);
    let seen = journal.read(&wanted).map_err(told)?;
    let id = seen.header.run.clone();
    if seen.header.command != COMMAND {
        return Err(cannot(format!("{id} is a run of {}", seen.header.command)));
    }
    if let State::Ended { exit } = seen.state {
        return Err(cannot(format!("{id} has ended with {exit}")));
    }
    if seen.header.environment != context.config.env() {
        let environment = &seen.header.environment;
        return Err(cannot(format!("{id} is of {environment}"))
            .with_hint(format!("rtcctl ship --env {environment} --resume {id}")));
    }
    if let Some(later) = others::later(&id, context)? {
        return Err(cannot(format!("{later} came after {id}, and has changed what runs"))
            .with_hint(format!("rtcctl runs show {later}")));
    }
    let (run, record) = journal.resume(&id).map_err(told)?;
    let release = release(&record)?;
    Ok((run, release, runs_of(&record.entries)))
}

/// The latest run of this environment that has no end and that nobody works on.
fn last_open(context: &Context) -> Result<String> {
    let journal = context.journal();
    for id in journal.ids().map_err(told)? {
        if let Ok(record) = journal.read(&id)
            && record.header.command == COMMAND
            && record.header.environment == context.config.env()
            && record.state == State::Interrupted
        {
            return Ok(id);
        }
    }
    let message = format!("no release of {} is open", context.config.env());
    Err(Error::new(&codes::SHP002, message).with_hint("rtcctl runs list --open"))
}

/// Says that this process goes on with it. Until its rollout was begun, it is judged by how things stand now.
pub fn resumed(mut run: Run, release: &mut Release, context: &Context) -> Result<Run> {
    run.append(Entry::Resumed { by: context.config.operator() }).map_err(told)?;
    let record = context.journal().read(&run.id()).map_err(told)?;
    let is_look = |stamped: &&Stamped| matches!(&stamped.entry, Entry::Finished { step, .. } if step == Step::Budget.name());
    let looked = record.entries.iter().rev().find(is_look).map(|stamped| stamped.at);
    let age = looked.map(|at| context.clock.now().since(at));
    if let Some(age) = age.filter(|age| *age > FRESH && release.may_look_again()) {
        let ago = human::duration(age);
        context.progress.say(format!("the budgets were looked at {ago} ago: they are looked at again"));
        run.append(Entry::Noted { kind: LOOK_AGAIN.to_owned(), data: Value::Null }).map_err(told)?;
        release.take(Fact::LookAgain);
    }
    Ok(run)
}

/// Writes down that it goes on without its proof, and by whose word.
pub fn unproved(run: &mut Run, release: &mut Release, context: &Context) -> Result<()> {
    run.append(Entry::Noted { kind: UNPROVED.to_owned(), data: json!(context.config.operator()) })
        .map_err(told)?;
    go_on_unproved(&mut release.request);
    Ok(())
}

fn go_on_unproved(request: &mut Request) {
    if let Some(asked) = &mut request.prove {
        asked.if_unknown = IfUnknown::GoOn;
    }
}

/// A release as its record says.
pub fn release(record: &Record) -> Result<Release> {
    let strange = |reason: String| {
        Error::new(&codes::SHP009, format!("{}: {reason}", record.header.run)).with_hint(codes::SHP009.action)
    };
    let text = record.header.inputs.get(REQUEST).map_or("", String::as_str);
    let mut request: Request = serde_json::from_str(text).map_err(|error| strange(error.to_string()))?;
    let is_unproved =
        |stamped: &Stamped| matches!(&stamped.entry, Entry::Noted { kind, .. } if kind == UNPROVED);
    if record.entries.iter().any(is_unproved) {
        go_on_unproved(&mut request);
    }
    let mut facts = Vec::new();
    for stamped in &record.entries {
        if let Some(fact) = fact(&stamped.entry).map_err(strange)? {
            facts.push(fact);
        }
    }
    Release::fold(request, facts).map_err(|(place, reason)| strange(format!("fact {}: {reason}", place + 1)))
}

fn fact(entry: &Entry) -> std::result::Result<Option<Fact>, String> {
    let named = |name: &str| Step::named(name).ok_or_else(|| format!("there is no step {name}"));
    Ok(Some(match entry {
        Entry::Begun { step, inputs } => Fact::Begun { step: named(step)?, inputs: inputs.clone() },
        Entry::Finished { outputs, .. } => Fact::Finished { given: given(outputs)? },
        Entry::Skipped { step, reason } => Fact::Skipped { step: named(step)?, reason: reason.clone() },
        Entry::Noted { kind, .. } if kind == LOOK_AGAIN => Fact::LookAgain,
        Entry::Noted { kind, data } if kind == FAILURE => {
            let failure: Failure = serde_json::from_value(data.clone()).map_err(|error| error.to_string())?;
            Fact::Failed { failure }
        }
        // What failed is noted in full beside it.
        Entry::Failed { .. }
        | Entry::Noted { .. }
        | Entry::Child { .. }
        | Entry::Resumed { .. }
        | Entry::Ended { .. } => return Ok(None),
    }))
}

fn given(outputs: &Value) -> std::result::Result<Given, String> {
    serde_json::from_value(outputs.clone()).map_err(|error| error.to_string())
}

/// What a step of a release gave, in words; `None` where the outputs are of something else.
pub fn says(outputs: &Value) -> Option<String> {
    outputs.get("of")?;
    given(outputs).ok().map(|given| given.sentence())
}

/// A fact as the journal has it.
pub fn entries(fact: &Fact, took: Duration) -> Vec<Entry> {
    match fact {
        Fact::Begun { step, inputs } => {
            vec![Entry::Begun { step: step.name().to_owned(), inputs: inputs.clone() }]
        }
        Fact::Finished { given } => vec![Entry::Finished {
            step: given.step().name().to_owned(),
            outputs: json!(given),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }],
        Fact::Skipped { step, reason } => {
            vec![Entry::Skipped { step: step.name().to_owned(), reason: reason.clone() }]
        }
        Fact::LookAgain => vec![Entry::Noted { kind: LOOK_AGAIN.to_owned(), data: Value::Null }],
        Fact::Failed { failure } => vec![
            Entry::Noted { kind: FAILURE.to_owned(), data: json!(failure) },
            Entry::Failed {
                step: failure.step.name().to_owned(),
                code: failure.code.clone(),
                message: failure.message.clone(),
            },
        ],
    }
}

/// The runs that were noted, the last of each kind.
pub fn runs_of(entries: &[Stamped]) -> Vec<(String, String)> {
    let noted = entries.iter().filter_map(|stamped| match &stamped.entry {
        Entry::Noted { kind, data: Value::String(run) } if kind == ROLLOUT || kind == ROLLBACK => {
            Some((kind.clone(), run.clone()))
        }
        _ => None,
    });
    noted.collect()
}
