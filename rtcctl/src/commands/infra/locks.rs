//! `rtcctl infra locks` and `unlock`: who holds the state, and what to do when they are gone.

use codes::{Error, Result};
use serde_json::{Value, json};
use terraform::failure::{self, Lock};

use super::failed;
use super::site::Site;
use crate::context::{Context, Effect};
use crate::output::Report;

/// No lock has this id. Asked to remove it, Terraform says which lock there is and removes nothing.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
/// A state on this machine is locked by a process and described here.
const LOCAL_LOCK: &str = ".terraform.tfstate.lock.info";

#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Debug, clap::Args)]
pub struct UnlockArgs {
    /// The lock's id, as rtcctl infra locks shows it
    #[arg(value_name = "ID")]
    id: String,
}

pub async fn run(context: &Context) -> Result<Report> {
    let site = Site::open(context)?;
    let held = find(&site).await?;
    let data = json!({"environment": site.env, "locks": held.iter().map(data).collect::<Vec<_>>()});
    let report = Report::new("infra/locks", data).with_names(held.iter().map(|lock| lock.id.clone()));
    Ok(match held {
        Some(lock) => report.with_status("locked", codes::exit::DONE).with_pairs([
            ("since", failed::since(&lock)),
            ("lock", lock.id),
            ("held by", lock.who),
            ("operation", lock.operation.trim_start_matches("OperationType").to_lowercase()),
            ("state", lock.path),
        ]),
        None => report.with_text("the state is not locked"),
    })
}

fn data(lock: &Lock) -> Value {
    json!({
        "id": lock.id, "who": lock.who, "operation": lock.operation, "created": lock.created, "path": lock.path,
    })
}

async fn find(site: &Site<'_>) -> Result<Option<Lock>> {
    site.initialise_once().await?;
    if let Some(lock) = local(site) {
        return Ok(Some(lock));
    }
    let asked = site.output(&["force-unlock", "-force", "-no-color", NOBODY]).await?;
    let said = String::from_utf8_lossy(&asked.stderr).into_owned() + &String::from_utf8_lossy(&asked.stdout);
    if let Some(lock) = failure::lock(&said) {
        return Ok(Some(lock));
    }
    let is_free = ["not locked", "NoSuchKey", "failed to retrieve lock info", "StatusCode: 404"];
    if is_free.iter().any(|words| said.contains(words)) {
        return Ok(None);
    }
    site.refuse_what_is_no_terraform().await?;
    Err(failed::of_text("terraform does not say who holds the state", &said))
}

fn local(site: &Site<'_>) -> Option<Lock> {
    let text = std::fs::read(site.terraform.folder().join(LOCAL_LOCK)).ok()?;
    let info: Value = serde_json::from_slice(&text).ok()?;
    let word = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
    Some(Lock {
        id: word("ID"),
        path: word("Path"),
        operation: word("Operation"),
        who: word("Who"),
        created: word("Created"),
    })
}

pub async fn unlock(args: UnlockArgs, context: &Context) -> Result<Report> {
    let site = Site::open(context)?;
    let held = find(&site).await?;
    let lock = match held {
        Some(lock) if lock.id == args.id => lock,
        other => {
            let error =
                Error::new(&codes::INF019, format!("the state of {} has no lock {}", site.env, args.id));
            return Err(match other {
                Some(lock) => error.with_hint(failed::held_by(&lock)),
                None => error.with_hint("it is not locked"),
            });
        }
    };
    if local(&site).is_some() {
        return Err(Error::new(&codes::INF007, failed::held_by(&lock))
            .with_hint("the lock of a state on this machine ends with the process that holds it"));
    }
    let data = json!({"environment": site.env, "unlocked": data(&lock)});
    if context.effect == Effect::Described {
        return Ok(
            Report::new("infra/unlock", data).with_text(format!("would remove the lock of {}", lock.who))
        );
    }
    context.confirm(&format!(
        "remove the lock that {} holds since {}: if that run is alive, both will write the state",
        lock.who, lock.created
    ))?;
    let asked = site.output(&["force-unlock", "-force", "-no-color", &args.id]).await?;
    if !asked.status.success() {
        return Err(failed::of_text("the lock was not removed", &String::from_utf8_lossy(&asked.stderr)));
    }
    Ok(Report::new("infra/unlock", data).with_text(format!("removed the lock of {}", lock.who)))
}
