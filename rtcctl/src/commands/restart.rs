//! `rtcctl restart [SERVICE]`: a rolling restart of a platform that is split into processes.
//!
//! Invariants: one process at a time, the next one only when the last one is ready again; Ctrl-C ends it between two of
//! them, so that it leaves no process half restarted.

use std::time::Duration;

use codes::{Error, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::admin::{Page, ProcessStatus, Restarted, Status};
use crate::api::{Call, Endpoint, Platform};
use crate::commands::deploy::prove;
use crate::context::{Context, Effect};
use crate::human;
use crate::output::{Column, Report, Table};

/// A process drains and starts within this time, or something is wrong with it.
const ONE_TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Debug, clap::Args)]
#[command(after_help = "With two replicas or more of each service, no request fails meanwhile.")]
pub struct Args {
    /// The processes of this service alone; `gateway` is the entrance
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// This replica alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    replica: Option<u32>,
    #[command(flatten)]
    proving: prove::Args,
}

impl Args {
    fn names(&self, process: &ProcessStatus) -> bool {
        self.service.as_deref().is_none_or(|service| service == process.service)
            && self.replica.is_none_or(|replica| replica == process.replica)
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let platform = context.platform()?;
    let status: Status = tokio::select! {
        status = platform.admin.json(Call::get(&["admin", "status"])) => status?,
        signal = context.interrupts.wait() => return Err(signal.error("nothing was changed")),
    };
    if status.processes.is_empty() {
        return Err(Error::new(
            &codes::RUN016,
            "the platform runs in one process, which cannot wait for itself",
        )
        .with_hint("rtcctl down and rtcctl up --split start it as several"));
    }
    let chosen: Vec<&ProcessStatus> = status.processes.iter().filter(|process| args.names(process)).collect();
    if chosen.is_empty() {
        let wanted = args.service.as_deref().unwrap_or("any service");
        let replica = args.replica.map_or_else(String::new, |replica| format!(" with the number {replica}"));
        return Err(Error::new(&codes::RUN017, format!("there is no process of {wanted}{replica}")));
    }
    let names: Vec<String> = chosen.iter().map(|process| process.name()).collect();
    if context.effect == Effect::Described {
        return Ok(Report::new("restart", json!({"would_restart": names}))
            .with_text(format!("would restart {}", names.join(", ")))
            .with_names(names));
    }
    let proof = prove::begin(&args.proving, context).await?;
    let done = roll(&platform, &chosen, context).await;
    prove::conclude(proof, done).await
}

async fn roll(platform: &Platform, chosen: &[&ProcessStatus], context: &Context) -> Result<Report> {
    let names: Vec<String> = chosen.iter().map(|process| process.name()).collect();
    let admin = platform.admin.clone().waiting(context.timeout_or(ONE_TIMEOUT));
    let began = Instant::now();
    let mut restarted = Vec::new();
    let task = context.progress.task("restart", format!("restarting {} processes", chosen.len()));
    for (done, process) in chosen.iter().enumerate() {
        task.position(done as u64, chosen.len() as u64);
        context.interrupts.cost_of_leaving(format!("{} goes on restarting by itself", process.name()));
        restarted.push(one(&admin, process).await?);
        task.state(format!("{} is ready again ({} of {})", process.name(), done + 1, chosen.len()));
        let rest = &names[done + 1..];
        if let (false, Some(signal)) = (rest.is_empty(), context.interrupts.seen()) {
            return Err(signal.error(format!("not restarted: {}", rest.join(", "))));
        }
    }
    task.done(format!("{} processes restarted in {}", restarted.len(), human::duration(began.elapsed())));
    Ok(report(&restarted))
}

async fn one(admin: &Endpoint, process: &ProcessStatus) -> Result<Restarted> {
    let body: Value = json!({"service": process.service, "replica": process.replica});
    let mut page: Page<Restarted> = admin.json(Call::post(&["admin", "split", "restart"], body)).await?;
    page.data
        .pop()
        .ok_or_else(|| Error::new(&codes::NET004, "the answer of the admin port is not understood"))
}

fn report(restarted: &[Restarted]) -> Report {
    let mut table = Table::new([
        Column::left("service"),
        Column::right("replica"),
        Column::right("old process"),
        Column::right("process"),
        Column::right("took"),
    ]);
    let pid = |pid: Option<i32>| pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    for one in restarted {
        table.push([
            one.service.clone(),
            one.replica.to_string(),
            pid(one.old_pid),
            pid(one.pid),
            human::duration(Duration::from_millis(one.took_ms)),
        ]);
    }
    let names = restarted.iter().map(|one| format!("{}-{}", one.service, one.replica));
    Report::new("restart", json!({"restarted": restarted})).with_table(table).with_names(names)
}

#[cfg(test)]
mod tests;
