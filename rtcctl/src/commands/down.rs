//! `rtcctl down`: asks rtcd to drain and end, and waits for that.
//!
//! Invariants: only a process that is rtcd is ever signalled; nothing is killed.

use std::time::Duration;

use codes::{Error, Result};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::context::{Context, Effect};
use crate::human;
use crate::local::{DataDir, Lock, Process};
use crate::output::Report;

/// How long a drain may take where the operator says nothing.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "rtcd finishes what it accepted, then ends. A platform that is not running is no failure."
)]
pub struct Args {}

pub async fn run(_: Args, context: &Context) -> Result<Report> {
    let data = DataDir::new(context.config.data_dir());
    let shown = data.path().display();
    let Some((run, process)) = data.running() else {
        return not_running(&data);
    };
    if context.effect == Effect::Described {
        return Ok(Report::new("down", json!({"would_stop": run}))
            .with_text(format!("would stop rtcd (pid {}) on {shown}", process.id()))
            .with_names([process.id().to_string()]));
    }
    let started = Instant::now();
    stop(context, process).await?;
    let took = started.elapsed();
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Ok(Report::new("down", json!({"stopped": run, "took_ms": millis}))
        .with_text(format!(
            "rtcd (pid {}) drained and stopped in {}; its data is kept in {shown}",
            process.id(),
            human::duration(took)
        ))
        .with_names([process.id().to_string()]))
}

fn not_running(data: &DataDir) -> Result<Report> {
    let shown = data.path().display();
    if let Some(run) = data.read_run_file()
        && Process::new(run.pid).is_some_and(Process::is_alive)
    {
        return Err(Error::new(
            &codes::RUN011,
            format!("process {} in {} is not rtcd", run.pid, data.run_file().display()),
        )
        .with_hint("nothing was signalled; rtcctl up replaces the stale file"));
    }
    if data.lock() == Lock::Held {
        return Err(Error::new(
            &codes::RUN005,
            format!("{} is held by an rtcd that has not said its process id yet", data.lock_file().display()),
        )
        .with_hint("it is starting or ending: run rtcctl down again in a moment"));
    }
    Ok(Report::new("down", json!({"stopped": null})).with_text(format!("not running on {shown}")))
}

/// Asks the process to end and waits until it has.
pub async fn stop(context: &Context, process: Process) -> Result<()> {
    let limit = context.timeout_or(DRAIN_TIMEOUT);
    let id = process.id();
    let task = context.progress.task("down", format!("stopping rtcd (pid {id}): it drains first"));
    context.interrupts.cost_of_leaving(format!("rtcd (pid {id}) goes on draining by itself and then ends"));
    process.terminate()?;
    let gone = async {
        while process.is_alive() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(limit, gone).await {
        Ok(()) => {
            task.done("");
            Ok(())
        }
        Err(_) => {
            task.fail("rtcd is still draining");
            Err(Error::new(
                &codes::RUN012,
                format!("rtcd (pid {id}) is still draining after {}", human::duration(limit)),
            )
            .with_hint("run rtcctl down again with a longer --timeout")
            .with_hint("its log says what it waits for: rtcd.log in the data directory"))
        }
    }
}
