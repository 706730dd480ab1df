//! Runs that lost their rtcctl: Terraform goes on alone, and whoever comes next tells how far it got.
//!
//! Invariants: nothing is planned beside a Terraform that is still at work; whoever wants to wait for it waits, and stops
//! waiting without stopping it; a run is told of once, however many wait for it.

use std::io::Read as _;
use std::time::Duration;

use codes::exit::{self, Exit};
use codes::{Error, Result};
use journal::{Child, Entry, Record, State, StepState};
use terraform::process::{Files, Identity, follow_left};
use terraform::stream::Line;
use terraform::watch::Watch;
use tokio::time::Instant;

use super::following;
use super::site::Site;
use crate::commands::runs::told;
use crate::human;
use crate::output::{Finding, Severity};

pub const LINES: &str = "apply.ndjson";
pub const TALK: &str = "apply.stderr";

/// Looks for runs of this environment that lost their rtcctl: one that Terraform still works on is waited for as long as
/// `patience` says, and an error without any; of one that has ended is told how far it got. What was waited is taken off
/// `patience`: the rest is for the next one, and for the state's lock.
pub async fn account_for(site: &Site<'_>, patience: &mut Option<Duration>) -> Result<Vec<Finding>> {
    let journal = site.context.journal();
    let mut findings = Vec::new();
    for id in journal.ids().map_err(told)?.into_iter().take(50) {
        let Ok(record) = journal.read(&id) else { continue };
        let is_ours = record.header.environment == site.env && record.header.command.starts_with("infra ");
        if !is_ours || record.state != State::Interrupted {
            continue;
        }
        let child = record.steps().iter().find_map(|step| step.child);
        let identity = child.map(|Child { pid, born }| Identity { pid, born });
        if let Some(identity) = identity.filter(|identity| identity.is_alive()) {
            let left = patience.as_mut().ok_or_else(|| at_work(&record, identity))?;
            let began = Instant::now();
            wait_for(site, &record, identity, *left).await?;
            *left = left.saturating_sub(began.elapsed());
        }
        let (mut run, record) = match journal.resume(&id) {
            Ok(resumed) => resumed,
            // Somebody else waited for it too, and has told of it.
            Err(journal::Error::Ended(_) | journal::Error::Busy(_)) => continue,
            Err(error) => return Err(told(error)),
        };
        let (exit, far) = how_far_alone(&record);
        run.append(Entry::Resumed { by: site.context.config.operator() }).map_err(told)?;
        run.append(Entry::Ended { exit: exit.code(), summary: far.clone() }).map_err(told)?;
        findings.push(
            Finding::new(&codes::INF031, Severity::Warning, format!("the run {id} was cut off: {far}"))
                .with_hint(format!("rtcctl runs show {id}")),
        );
    }
    Ok(findings)
}

/// Who is at work, in words.
fn whose(record: &Record, identity: Identity) -> String {
    let header = &record.header;
    format!("{} of {} (process {}, run {})", header.command, header.by, identity.pid, header.run)
}

fn at_work(record: &Record, identity: Identity) -> Error {
    let message = format!("terraform still works on the {}, whose rtcctl is gone", whose(record, identity));
    Error::new(&codes::INF014, message).with_hint(codes::INF014.action)
}

async fn wait_for(site: &Site<'_>, record: &Record, identity: Identity, patience: Duration) -> Result<()> {
    let context = site.context;
    let files = Files { lines: record.folder().join(LINES), talk: record.folder().join(TALK) };
    let whose = whose(record, identity);
    let task = context.progress.task("wait", format!("waiting for terraform, which works on the {whose}"));
    let mut watch = Watch::default();
    let following = follow_left(identity, &files, |line| {
        if let Line::Event(event) = line {
            watch.saw(&event);
            let tally = watch.tally();
            task.show(format!("waiting for terraform of the {whose}: {} resources done", tally.done));
        }
    });
    tokio::select! {
        followed = following => {
            followed.map_err(|error| {
                Error::internal("cannot follow terraform, which goes on").with_source(&error)
            })?;
        }
        () = tokio::time::sleep(patience) => {
            task.fail(format!("terraform did not end within {}", human::duration(patience)));
            return Err(at_work(record, identity));
        }
        signal = context.interrupts.wait() => {
            task.fail("not waited for any longer");
            return Err(signal.error(format!("nothing was changed; terraform goes on with the {whose}")));
        }
    }
    task.done(format!("terraform has ended the {whose}"));
    Ok(())
}

/// From the lines that Terraform wrote after its rtcctl was gone.
fn how_far_alone(record: &Record) -> (Exit, String) {
    if record.steps().iter().any(|step| matches!(step.state, StepState::Finished { .. })) {
        return (exit::DONE, "terraform had finished".to_owned());
    }
    let Ok(mut file) = std::fs::File::open(record.folder().join(LINES)) else {
        return (exit::TERRAFORM_FAILED, "terraform had not begun".to_owned());
    };
    let mut watch = Watch::default();
    let mut is_complete = false;
    let mut lines = terraform::stream::Lines::default();
    let mut see = |line: Line| {
        if let Line::Event(event) = line {
            // The summary of an apply is its last word, and it says none when something failed.
            is_complete |= matches!(&event, terraform::stream::Event::ChangeSummary(_));
            watch.saw(&event);
        }
    };
    let mut portion = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = file.read(&mut portion) {
        lines.feed(portion.get(..read).unwrap_or_default(), &mut see);
    }
    lines.finish(&mut see);
    let far = following::how_far(&watch);
    match is_complete && watch.tally().failed == 0 {
        true => (exit::DONE, format!("terraform finished by itself, {far}")),
        false => (exit::TERRAFORM_FAILED, format!("terraform did not finish, {far}")),
    }
}
