//! Making a plan: a file that only its owner can read, and what it says.

use std::path::PathBuf;
use std::time::Duration;

use codes::{Error, Result};
use tempfile::TempDir;
use terraform::failure::Failure;
use terraform::plan::Plan;
use terraform::process::Files;
use terraform::stream::{Event, Line};
use terraform::watch::Watch;
use tokio::time::Instant;

use super::site::Site;
use super::{failed, following};
use crate::human;

/// So often what passes by itself is tried, with these pauses between.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

/// What is planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// What the configuration wants.
    Wanted,
    /// That nothing is left.
    Destroyed,
    /// To see what is not as the state says. It is a whole plan: with a resource that is gone, a plan of the state alone
    /// fails wherever another one names it.
    Look,
    /// That the state says what is.
    Accepted,
}

/// Flags that every command with a plan takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Scope {
    /// This resource and what it needs alone; the rest stays as it is
    #[arg(long = "target", value_name = "ADDRESS")]
    pub targets: Vec<String>,
    /// How many resources are worked on at the same time [default: terraform's 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallelism: Option<u16>,
    /// How long to wait for a Terraform that lost its rtcctl, and with what is left of it for a lock that somebody holds
    #[arg(long, value_name = "TIME", value_parser = crate::cli::duration)]
    pub lock_timeout: Option<Duration>,
}

impl Scope {
    /// Those flags that an apply understands too.
    pub fn of_apply(&self) -> Vec<String> {
        let parallelism = self.parallelism.map(|number| format!("-parallelism={number}"));
        let timeout = self.lock_timeout.map(|time| format!("-lock-timeout={}s", time.as_secs()));
        parallelism.into_iter().chain(timeout).collect()
    }
}

/// A plan, and the file that Terraform applies. The file is gone with this.
pub struct Planned {
    pub aim: Aim,
    pub plan: Plan,
    pub file: PathBuf,
    _folder: TempDir,
}

/// Plans, again where what failed passes by itself.
pub async fn plan(site: &Site<'_>, aim: Aim, scope: &Scope) -> Result<Planned> {
    site.refuse_unsaved_state()?;
    site.initialise_once().await?;
    let mut pauses = PAUSES.iter();
    let mut was_initialised = false;
    loop {
        let (failure, error) = match attempt(site, aim, scope).await? {
            Ok(planned) => return Ok(planned),
            Err(failed) => failed,
        };
        match failure {
            Failure::Uninitialised if !was_initialised => {
                was_initialised = true;
                site.initialise().await?;
            }
            failure if failure.is_transient() => {
                let Some(pause) = pauses.next() else { return Err(error) };
                site.context.progress.say(format!(
                    "AWS did not answer well ({}), planning again in {}",
                    error
                        .causes()
                        .first()
                        .map_or("no reason", |cause| cause.lines().next().unwrap_or_default()),
                    human::duration(*pause)
                ));
                tokio::select! {
                    () = tokio::time::sleep(*pause) => {}
                    signal = site.context.interrupts.wait() => return Err(signal.error("nothing was changed")),
                }
            }
            _ => return Err(error),
        }
    }
}

async fn attempt(
    site: &Site<'_>,
    aim: Aim,
    scope: &Scope,
) -> Result<std::result::Result<Planned, (Failure, Error)>> {
    let folder = tempfile::Builder::new()
        .prefix("rtcctl-plan-")
        .tempdir()
        .map_err(|error| Error::internal("no place for the plan").with_source(&error))?;
    let file = folder.path().join("plan");
    let files = Files { lines: folder.path().join("lines"), talk: folder.path().join("talk") };
    let mut arguments = vec!["plan".to_owned(), "-json".to_owned(), format!("-out={}", file.display())];
    arguments.extend(match aim {
        Aim::Wanted | Aim::Look => None,
        Aim::Destroyed => Some("-destroy".to_owned()),
        Aim::Accepted => Some("-refresh-only".to_owned()),
    });
    arguments.extend(scope.of_apply());
    arguments.extend(scope.targets.iter().map(|target| format!("-target={target}")));
    arguments.extend(site.variables());

    let began = Instant::now();
    let task = site.context.progress.task("plan", format!("planning {}", site.env));
    let run = site.start(&arguments, &files)?;
    let mut watch = Watch::default();
    let mut refreshed = 0;
    let mut version = None;
    let ended = following::follow(site.context, run, |line| match line {
        Line::Event(event) => {
            if matches!(event, Event::RefreshComplete { .. }) {
                refreshed += 1;
                task.show(format!("planning {}, {refreshed} resources looked at", site.env));
            }
            watch.saw(&event);
            if let Event::Version { terraform, .. } = event {
                version = Some(terraform);
            }
        }
        Line::Text(text) => site.context.progress.detail(text),
        Line::Oversized { .. } => {}
    })
    .await?;
    if let Some(signal) = site.context.interrupts.seen() {
        task.fail("the plan was given up");
        return Err(signal.error("the plan was given up, nothing was changed"));
    }
    // It is the first thing that every Terraform since 0.15.3 says, and costs no run of its own.
    let is_new_enough = match &version {
        Some(version) => site.refuse_old(version),
        None => site.refuse_what_is_no_terraform().await,
    };
    if is_new_enough.is_err() || !ended.status.success() {
        task.fail("the plan failed");
        is_new_enough?;
        return Ok(Err(failed::of_run("terraform plan failed", watch.errors(), &ended.talk)));
    }
    let text = folder.path().join("shown");
    let shown = site.output_into(&["show".as_ref(), "-json".as_ref(), file.as_os_str()], &text).await?;
    if !shown.status.success() {
        let talk = String::from_utf8_lossy(&shown.stderr);
        return Err(failed::of_text("terraform show failed", &talk));
    }
    let text = std::fs::File::open(&text)
        .map_err(|error| Error::internal("the plan is not where it was put").with_source(&error))?;
    let mut plan = Plan::read(text)
        .map_err(|error| Error::new(&codes::INF017, "the plan cannot be read").with_source(&error))?;
    if !matches!(aim, Aim::Look | Aim::Accepted) {
        plan.forget_idle_drift();
    }
    task.done(format!("planned in {}", human::duration(began.elapsed())));
    Ok(Ok(Planned { aim, plan, file, _folder: folder }))
}
