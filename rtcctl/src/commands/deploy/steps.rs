//! Rolling out, proving, keeping evidence and going back for whoever has more to do than that.
//!
//! Invariants: the run of a rollout is known to its caller before it changes anything; a run that has ended is not done
//! again, whatever became of whoever began it.

use std::collections::BTreeSet;
use std::path::Path;

use ::deploy::apply::{self, Planned, What};
use ::deploy::manifest::Manifest;
use ::deploy::port::Port;
use ::deploy::revision::{Head, History, Others, Revision, Status};
use ::deploy::run::{Action, Book, Migration, Plan, Removal, Word};
use codes::{Code, Error, Result, exit};
use journal::State;
use kubernetes::Gvk;
use kubernetes::read::LogRequest;
use kubernetes::write::Force;
use oci::Digest;
use rollout::evidence::{masked, masked_text};
use rollout::lifecycle::{OnFailure, State as Lifecycle};
use rollout::verdict::Rules;
use serde_json::json;

use super::driving::{self, Drive};
use super::gauge::Metrics;
use super::{access, described, prove};
use crate::commands::runs;
use crate::context::Context;

mod survey;

pub use survey::{Survey, survey};

/// On everything that belongs to the platform.
const OWN: &str = "app.kubernetes.io/part-of=rtc";
/// Lines of a log that are kept of each pod.
const LINES: u32 = 200;

/// What a rollout came to.
pub struct Rolled {
    pub run: String,
    pub namespace: String,
    /// `repository@sha256:…`, as its manifest has it.
    pub image: String,
    /// Of the whole manifest.
    pub manifest: Digest,
    pub revision: u64,
    pub previous: Option<u64>,
    pub previous_image: Option<String>,
    /// Where it was asked for.
    pub load: Option<Load>,
}

/// How much of a rollout load was driven through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    All,
    /// It had begun before.
    Rest,
    /// It was over before, or the generator came to no answer.
    Nothing,
}

/// Load that was driven while it went on.
pub struct Load {
    pub seen: Seen,
    pub proved: Option<prove::Proved>,
}

/// Load that is being driven.
struct Driven {
    seen: Seen,
    proof: prove::Proof,
}

impl Driven {
    async fn begin(seen: Seen, proving: &prove::Args, context: &Context) -> Result<Option<Self>> {
        Ok(prove::begin(proving, context).await?.map(|proof| Self { seen, proof }))
    }

    async fn end(self) -> Load {
        match self.proof.end().await {
            Ok(proved) => Load { seen: self.seen, proved: Some(proved) },
            Err(_) => Load { seen: Seen::Nothing, proved: None },
        }
    }
}

/// A run that there may be already.
enum Earlier {
    /// It can be gone on with.
    Open,
    /// It has ended with this.
    Over(u8, String),
    None,
}

fn earlier(run: Option<&str>, context: &Context) -> Result<Earlier> {
    let Some(run) = run else { return Ok(Earlier::None) };
    let record = match context.journal().read(run) {
        Ok(record) => record,
        Err(journal::Error::NotFound(_)) => return Ok(Earlier::None),
        Err(error) => return Err(runs::told(error)),
    };
    Ok(match record.state {
        State::Ended { exit } => {
            let summary = record.entries.iter().rev().find_map(|stamped| match &stamped.entry {
                journal::Entry::Ended { summary, .. } => Some(summary.clone()),
                _ => None,
            });
            Earlier::Over(exit, summary.unwrap_or_default())
        }
        State::Interrupted | State::UnderWay => Earlier::Open,
    })
}

/// Rolls an image out, under load where `proving` says so. `known` is the run of somebody who is gone; `began` is told the
/// run before anything changes.
pub async fn roll_out(
    reference: &str,
    on_failure: OnFailure,
    proving: &prove::Args,
    known: Option<&str>,
    began: impl FnOnce(&str) -> Result<()>,
    context: &Context,
) -> Result<Rolled> {
    let before = earlier(known, context)?;
    let seen = if known.is_none() { Seen::All } else { Seen::Rest };
    let (book, load) = match before {
        Earlier::Open => {
            let book = driving::resume(known.unwrap_or_default(), context)?;
            // Nothing of it was done yet.
            let seen = if book.lifecycle().state == Lifecycle::Planned { Seen::All } else { seen };
            (book, Driven::begin(seen, proving, context).await?)
        }
        Earlier::Over(0, _) => {
            let mut rolled = rolled(known.unwrap_or_default(), context).await?;
            rolled.load = proving.prove.as_ref().map(|_| Load { seen: Seen::Nothing, proved: None });
            return Ok(rolled);
        }
        // Nobody knows what became of one that was not done in time: another looks, and changes nothing that is so.
        Earlier::Over(exit, summary) if exit != exit::TIMED_OUT.code() => {
            return Err(ended(known.unwrap_or_default(), exit, summary));
        }
        Earlier::Over(..) | Earlier::None => {
            let args = described::Args { image: Some(reference.to_owned()), ..described::Args::default() };
            let (release, manifest) = Box::pin(described::guarded(&args, context)).await?;
            let cluster = access::cluster(context).await?;
            let planned = apply::preview(&cluster, &manifest, Force::Never).await.map_err(access::failed)?;
            refuse(&planned)?;
            let description = &release.description;
            let plan = Plan {
                version: description.version.clone(),
                description: serde_json::to_value(description).unwrap_or_default(),
                migration: Migration::Run,
                on_failure,
                ..plan("rollout", &release.image.to_string(), &description.namespace, manifest, context)
            };
            let load = Driven::begin(seen, proving, context).await?;
            (driving::begin(plan, &[("image", reference.to_owned())], context)?, load)
        }
    };
    let done = drive(book, began, context).await;
    let load = match load {
        Some(load) => load.end().await,
        None => return done,
    };
    match done {
        Ok(rolled) => Ok(Rolled { load: Some(load), ..rolled }),
        Err(error) => Err(match &load.proved {
            Some(proved) => error.with_cause(format!("meanwhile {}", proved.sentence())),
            None => error,
        }),
    }
}

/// Goes back to the revision before `revision`; of a run that was begun before, on with it.
pub async fn go_back(
    revision: u64,
    known: Option<&str>,
    began: impl FnOnce(&str) -> Result<()>,
    context: &Context,
) -> Result<Rolled> {
    let earlier = earlier(known, context)?;
    if !matches!(earlier, Earlier::Over(0, _)) {
        nothing_is_newer(revision, known, context).await?;
    }
    let book = match earlier {
        Earlier::Open => driving::resume(known.unwrap_or_default(), context)?,
        Earlier::Over(0, _) => return rolled(known.unwrap_or_default(), context).await,
        Earlier::Over(..) | Earlier::None => {
            let cluster = access::cluster(context).await?;
            let namespace = access::namespace(context);
            let all = history(&cluster, &namespace, context).await?;
            let came_through =
                |one: &&Revision| matches!(one.head.status, Status::Deployed | Status::Superseded);
            let before = all.iter().filter(|one| one.head.number < revision).find(came_through);
            let before = before.ok_or_else(|| {
                let message = format!("no revision before {revision} came through");
                Error::new(&codes::DEP014, message).with_hint(codes::DEP014.action)
            })?;
            let newer = all.iter().filter(|one| one.head.number > before.head.number);
            let mut removes = Vec::new();
            for id in newer.flat_map(|one| one.manifest.ids()) {
                if !before.manifest.has(&id)
                    && apply::may_go(&id)
                    && !removes.contains(&Removal::from(id.clone()))
                {
                    removes.push(Removal::from(id));
                }
            }
            let head = &before.head;
            let plan = Plan {
                version: head.version.clone(),
                description: before.description.clone(),
                removes,
                takes_fields: true,
                // What it takes back is its own, whatever its run came to.
                others: match all.first() {
                    Some(newest) if newest.head.number > revision => Others::Respected,
                    _ => Others::TakenOver,
                },
                ..plan("rollback", &head.image, &namespace, before.manifest.clone(), context)
            };
            driving::begin(plan, &[("revision", head.number.to_string())], context)?
        }
    };
    drive(book, began, context).await
}

/// What others brought after a revision is not taken back with it.
async fn nothing_is_newer(revision: u64, known: Option<&str>, context: &Context) -> Result<()> {
    let cluster = access::cluster(context).await?;
    let all = history(&cluster, &access::namespace(context), context).await?;
    let is_other = |head: &&Head| head.number > revision && Some(head.run.as_str()) != known;
    match all.first().map(|newest| &newest.head).filter(is_other) {
        None => Ok(()),
        Some(Head { number, run, by, .. }) => {
            let message = format!("revision {number} of {by} came after {revision}: nothing is taken back");
            Err(Error::new(&codes::SHP004, message).with_hint(format!("rtcctl runs show {run}")))
        }
    }
}

fn plan(command: &str, image: &str, namespace: &str, manifest: Manifest, context: &Context) -> Plan {
    let action = Action::Apply { manifest };
    Plan {
        image: image.to_owned(),
        rules: Rules { deadline: context.config.duration("timeout"), ..Rules::default() },
        metrics: super::rollout::metrics_of_a_failure(),
        ..Plan::new(command, context.config.env(), namespace, context.config.operator(), action)
    }
}

async fn drive(book: Book, began: impl FnOnce(&str) -> Result<()>, context: &Context) -> Result<Rolled> {
    let run = book.id();
    began(&run)?;
    let cluster = access::cluster(context).await?;
    let metrics = Metrics(context);
    let drive = Drive { port: &cluster, gauge: Some(&metrics), evidence: None, word: Word::GoOn };
    Box::pin(driving::drive(book, drive, context)).await?;
    rolled(&run, context).await
}

/// A run that came through, as the cluster remembers it.
async fn rolled(run: &str, context: &Context) -> Result<Rolled> {
    let cluster = access::cluster(context).await?;
    // Where it went is in its plan.
    let record = context.journal().read(run).map_err(runs::told)?;
    let namespace = record
        .entries
        .iter()
        .find_map(|stamped| match &stamped.entry {
            journal::Entry::Noted { kind, data } if kind == "plan" => data["namespace"].as_str(),
            _ => None,
        })
        .map_or_else(|| access::namespace(context), str::to_owned);
    let all = history(&cluster, &namespace, context).await?;
    let ours = all.iter().find(|revision| revision.head.run == run).ok_or_else(|| {
        Error::new(&codes::DEP013, format!("the cluster knows no revision of the run {run}"))
            .with_hint(codes::DEP013.action)
    })?;
    let previous = all
        .iter()
        .filter(|one| one.head.number < ours.head.number)
        .find(|one| matches!(one.head.status, Status::Deployed | Status::Superseded));
    Ok(Rolled {
        run: run.to_owned(),
        namespace,
        image: ours.head.image.clone(),
        manifest: Digest::of(json!(ours.manifest).to_string().as_bytes()),
        revision: ours.head.number,
        previous: previous.map(|one| one.head.number),
        previous_image: previous.map(|one| one.head.image.clone()),
        load: None,
    })
}

async fn history(port: &dyn Port, namespace: &str, context: &Context) -> Result<Vec<Revision>> {
    let history = History { port, namespace, environment: context.config.env() };
    history.all().await.map_err(access::failed)
}

/// The end of a run that ended without its caller.
fn ended(run: &str, exit: u8, summary: String) -> Error {
    let code: &'static Code = match exit {
        24 => &codes::DEP021,
        25 => &codes::DEP022,
        _ => &codes::DEP020,
    };
    Error::new(code, summary).with_hint(format!("rtcctl runs show {run}"))
}

/// What the cluster would not take, before anything is changed.
fn refuse(planned: &[Planned]) -> Result<()> {
    for one in planned {
        match &one.what {
            What::Refused { reason, hint, .. } => {
                let message = format!("{}: {reason}", one.id);
                return Err(Error::new(&codes::DEP011, message).with_hint(hint.clone()));
            }
            What::Owned { owners } => {
                let mut error = Error::new(&codes::DEP010, format!("{} has fields of others", one.id));
                for owner in owners {
                    error = error.with_cause(format!("{} is owned by {}", owner.field, owner.manager));
                }
                return Err(error.with_hint(codes::DEP010.action));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The digests of an image that pods of the platform run, and how many pods those are.
pub async fn running(namespace: &str, repository: &str, context: &Context) -> Result<(Vec<String>, u32)> {
    let cluster = access::cluster(context).await?;
    let pods =
        Port::list(&cluster, &Gvk::named("v1", "Pod"), namespace, OWN).await.map_err(access::failed)?;
    let (mut digests, mut count) = (BTreeSet::new(), 0);
    for pod in &pods {
        let is_over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if is_over || !pod["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let ours: Vec<&str> = containers
            .filter(|one| one["image"].as_str().is_some_and(|image| name_of(image) == repository))
            .filter_map(|one| one["name"].as_str())
            .collect();
        if ours.is_empty() {
            continue;
        }
        count += 1;
        let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        for status in statuses.filter(|one| one["name"].as_str().is_some_and(|name| ours.contains(&name))) {
            let id = status["imageID"].as_str().unwrap_or_default();
            if let Some(at) = id.rfind("sha256:") {
                digests.insert(id.get(at..).unwrap_or_default().to_owned());
            }
        }
    }
    Ok((digests.into_iter().collect(), count))
}

/// A reference without its tag and digest.
pub fn name_of(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// Keeps pods, workloads, events and logs of the platform; what cannot be had is told.
pub async fn keep(
    namespace: &str,
    file: impl Fn(&str) -> Result<std::path::PathBuf>,
    context: &Context,
) -> Result<(Vec<String>, Vec<String>)> {
    let cluster = access::cluster(context).await?;
    let (mut files, mut missing) = (Vec::new(), Vec::new());
    let mut write = |name: &str, text: String| -> Result<()> {
        let path = file(name)?;
        save(&path, &text)?;
        files.push(path.display().to_string());
        Ok(())
    };
    let mut names = Vec::new();
    for (kind, version, labels, name) in [
        ("Pod", "v1", OWN, "pods.json"),
        ("Deployment", "apps/v1", OWN, "deployments.json"),
        ("ReplicaSet", "apps/v1", OWN, "replica-sets.json"),
        ("Event", "v1", "", "events.json"),
    ] {
        match Port::list(&cluster, &Gvk::named(version, kind), namespace, labels).await {
            Ok(mut items) => {
                if kind == "Pod" {
                    names = items
                        .iter()
                        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
                        .collect();
                }
                items.iter_mut().for_each(masked);
                write(name, serde_json::to_string_pretty(&items).unwrap_or_default())?;
            }
            Err(error) => missing.push(format!("{name}: {}", apply::said(&error))),
        }
    }
    for pod in names {
        let request = LogRequest {
            namespace: namespace.to_owned(),
            pod: pod.clone(),
            tail: Some(LINES),
            ..LogRequest::default()
        };
        match Port::log(&cluster, &request).await {
            Ok(text) => write(&format!("{pod}.log"), masked_text(&text))?,
            Err(error) => missing.push(format!("{pod}.log: {}", apply::said(&error))),
        }
    }
    Ok((files, missing))
}

fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| {
        Error::new(&codes::DEP008, format!("cannot write {}", path.display())).with_source(&error)
    })
}

/// The files that a run of a rollout has kept.
pub fn evidence(run: &str, context: &Context) -> Vec<String> {
    let record = context.journal().read(run).ok();
    let files = record.and_then(|record| record.evidence().ok()).unwrap_or_default();
    files.iter().map(|path| path.display().to_string()).collect()
}
