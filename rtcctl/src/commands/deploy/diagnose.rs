//! `rtcctl deploy diagnose`: what is wrong with the workloads, each trouble once, with what every layer says about it.
//!
//! Invariants: only what is wrong now is told; another layer is asked only about trouble that it can explain; what a
//! layer does not answer is said and hides nothing; no value of a secret is shown.

mod cloud;
mod nodes;
mod registry;
mod revisions;

use std::collections::BTreeMap;

use ::deploy::apply;
use codes::{Result, exit};
use futures_util::StreamExt;
use kubernetes::read::{Life, LogRequest};
use kubernetes::{Cluster, Gvk};
use rollout::code::Code;
use rollout::evidence::masked_text;
use rollout::failure::{self, Allowance, Finality, Reference};
use rollout::objects::{Kind, Object, Pod};
use rollout::world::World;
use serde_json::{Value, json};
use settings::nearest;

use super::{access, targets, within};
use crate::context::{Context, Screen};
use crate::output::{Finding, Report, Severity};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: targets::Args,
    /// End with 23 where something is wrong
    #[arg(long)]
    exit_code: bool,
}

const COMMAND: &str = "deploy/diagnose";
/// Lines of a log that are told.
const LOG_LINES: u32 = 12;
/// Names that are told of all whom it befell.
const NAMES: usize = 5;

/// One trouble, with all whom it befell.
struct Trouble {
    code: Code,
    is_final: bool,
    why: String,
    about: Vec<Reference>,
    /// What other layers say, a line each.
    seen: Vec<String>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let looking = async {
        let cluster = access::cluster(context).await?;
        match Box::pin(look(args, &cluster, context)).await {
            // Who is let in, and to what, is EKS's to say.
            Err(error) if [codes::KUB002.id, codes::KUB003.id].contains(&error.code().id) => {
                Err(cloud::explained(error, &cluster, context).await)
            }
            looked => looked,
        }
    };
    Box::pin(within(context, looking)).await
}

async fn look(args: Args, cluster: &Cluster, context: &Context) -> Result<Report> {
    let namespace = access::namespace(context);
    let targets = targets::find(&args.which, targets::Of::Anybody, cluster, &namespace).await?;
    let snapshot = cluster.look(&targets, context.clock.now()).await.map_err(access::failed)?;
    let mut troubles = troubles(&snapshot.world, context);
    let known: Vec<Code> = troubles.iter().map(|trouble| trouble.code).collect();
    let cloud = Box::pin(cloud::ask(&known, cluster, context)).await;
    for trouble in &mut troubles {
        trouble.seen = ask(trouble, &snapshot.world, cluster, context).await;
        if let Some(cloud) = &cloud {
            let node = pod_of(trouble, &snapshot.world).map_or("", |(pod, _)| pod.spec.node.as_str());
            trouble.seen.extend(cloud.about(trouble.code, node));
        }
    }
    let mut report = report(&troubles, cluster, &namespace, targets.len(), context.screen);
    for (kind, error) in &snapshot.missing {
        let message = format!("{} cannot be looked at: {}", kind.name(), apply::said(error));
        report = report.with_finding(Finding::new(&codes::KUB015, Severity::Warning, message));
    }
    Ok(match troubles.is_empty() {
        true => report,
        false if args.exit_code => report.with_status("failing", exit::ROLLOUT_FAILED),
        false => report.with_status("failing", exit::DONE),
    })
}

/// What is wrong, one entry a code and container; what ends a rollout first, then what befell most.
fn troubles(world: &World, context: &Context) -> Vec<Trouble> {
    let now = context.clock.now();
    let mut causes = Vec::new();
    for object in world.objects() {
        match object {
            Object::Pod(pod) => causes.extend(failure::of_pod(world, pod, &Allowance::default(), now)),
            Object::Deployment(_)
            | Object::ReplicaSet(_)
            | Object::StatefulSet(_)
            | Object::DaemonSet(_)
            | Object::Job(_) => causes.extend(failure::of_owner(world, object)),
            _ => {}
        }
    }
    let mut groups: BTreeMap<(Finality, Code, Option<String>), Trouble> = BTreeMap::new();
    for cause in causes {
        let container = cause.about.first().and_then(|about| about.container.clone());
        let trouble = groups.entry((cause.finality, cause.code, container)).or_insert_with(|| Trouble {
            code: cause.code,
            is_final: cause.is_final(),
            why: cause.why.clone(),
            about: Vec::new(),
            seen: Vec::new(),
        });
        trouble.about.extend(cause.about);
    }
    let mut troubles: Vec<Trouble> = groups.into_values().collect();
    troubles.sort_by_key(|trouble| (!trouble.is_final, std::cmp::Reverse(trouble.about.len())));
    troubles
}

/// A pod that it befell, and which of its containers.
fn pod_of<'a>(trouble: &'a Trouble, world: &'a World) -> Option<(&'a Pod, Option<&'a str>)> {
    trouble.about.iter().find_map(|about| match world.object(&about.uid) {
        Some(Object::Pod(pod)) => Some((&**pod, about.container.as_deref())),
        _ => None,
    })
}

/// Asks the layers that can explain it.
async fn ask(trouble: &Trouble, world: &World, cluster: &Cluster, context: &Context) -> Vec<String> {
    let Some((pod, container)) = pod_of(trouble, world) else { return Vec::new() };
    match trouble.code {
        Code::ImageMissing
        | Code::PlatformMissing
        | Code::PullDenied
        | Code::RegistryAway
        | Code::ImageUnusable
        | Code::PullFailed => {
            let Some(image) = container.and_then(|name| pod.container(name)).map(|one| one.image.clone())
            else {
                return Vec::new();
            };
            let architecture = nodes::architecture(cluster, &pod.spec.node).await;
            registry::ask(&image, architecture.as_deref(), context).await
        }
        Code::NoRoom | Code::Tainted | Code::NoMatch | Code::NodeComing => {
            nodes::ask(cluster, &pod.metadata.namespace, &pod.metadata.name).await
        }
        Code::Crashed | Code::OutOfMemory | Code::WrongFormat | Code::StartRefused | Code::NeverReady => {
            let mut seen = Vec::new();
            if matches!(
                trouble.code,
                Code::Crashed | Code::OutOfMemory | Code::WrongFormat | Code::NeverReady
            ) {
                seen.extend(last_words(trouble.code, pod, container, cluster).await);
            }
            if trouble.code == Code::WrongFormat
                && let Some(image) =
                    container.and_then(|name| pod.container(name)).map(|one| one.image.clone())
            {
                let architecture = nodes::architecture(cluster, &pod.spec.node).await;
                seen.extend(registry::ask(&image, architecture.as_deref(), context).await);
            }
            seen.extend(revisions::ask(world, pod, cluster).await);
            seen
        }
        Code::ConfigMissing => missing(&trouble.why, pod, cluster).await,
        _ => Vec::new(),
    }
}

/// How it last ended, and what it said before.
async fn last_words(code: Code, pod: &Pod, container: Option<&str>, cluster: &Cluster) -> Vec<String> {
    let mut seen = Vec::new();
    let statuses = pod.status.containers.iter().chain(&pod.status.init_containers);
    let status = statuses.into_iter().find(|status| Some(status.name.as_str()) == container);
    let end = status.and_then(|status| status.ended());
    if let Some(end) = end {
        let signal = if end.signal != 0 { format!(", signal {}", end.signal) } else { String::new() };
        seen.push(
            format!("it last ended with exit code {}{signal} {}", end.exit_code, end.reason)
                .trim_end()
                .to_owned(),
        );
    }
    let lives: &[Life] = match (code, status.map_or(0, |status| status.restarts)) {
        (Code::NeverReady, _) | (_, 0) => &[Life::Present],
        _ => &[Life::Previous, Life::Present],
    };
    for life in lives {
        let request = LogRequest {
            namespace: pod.metadata.namespace.clone(),
            pod: pod.metadata.name.clone(),
            container: container.map(str::to_owned),
            life: *life,
            tail: Some(LOG_LINES),
            ..LogRequest::default()
        };
        let Ok(lines) = cluster.logs(&request).await else { continue };
        let lines: Vec<String> =
            lines.take(LOG_LINES as usize).filter_map(|line| async { line.ok() }).collect().await;
        if !lines.is_empty() {
            seen.push("its last words:".to_owned());
            seen.extend(lines.iter().map(|line| format!("  | {}", masked_text(line).trim_end())));
            return seen;
        }
    }
    seen.push("it left no log that can be read".to_owned());
    seen
}

/// Whether something of nearly that name is there.
async fn missing(why: &str, pod: &Pod, cluster: &Cluster) -> Vec<String> {
    let kind = if why.contains("secret") { "Secret" } else { "ConfigMap" };
    let namespace = &pod.metadata.namespace;
    let found = match cluster.list(&Gvk::named("v1", kind), namespace, None).await {
        Ok(found) => found,
        Err(error) => {
            return vec![format!("what there is of {kind} cannot be asked: {}", apply::said(&error))];
        }
    };
    let names: Vec<&str> = found.iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
    let wanted = why.split('"').nth(1).unwrap_or_default();
    let wanted = wanted.rsplit('/').next().unwrap_or_default();
    if names.contains(&wanted) {
        return vec![format!("{kind} {wanted} is there: what is missing is a key in it, or it came later")];
    }
    match nearest(wanted, names.iter().copied()) {
        Some(near) => vec![format!("{namespace} has no {kind} {wanted}, but it has {near}")],
        None => vec![format!("{namespace} has {} of {kind}, and none is called {wanted}", names.len())],
    }
}

fn report(
    troubles: &[Trouble],
    cluster: &Cluster,
    namespace: &str,
    workloads: usize,
    screen: Screen,
) -> Report {
    let data: Vec<Value> = troubles.iter().map(document).collect();
    let report = Report::new(
        COMMAND,
        json!({ "cluster": cluster.host(), "namespace": namespace, "workloads": workloads, "troubles": data }),
    )
    .with_names(troubles.iter().map(|trouble| trouble.code.id()));
    if troubles.is_empty() {
        return report.with_text(format!(
            "nothing is wrong with {workloads} workloads of {namespace} at {}",
            cluster.host()
        ));
    }
    troubles.iter().fold(report, |report, trouble| report.with_text(told(trouble, screen)))
}

fn document(trouble: &Trouble) -> Value {
    json!({
        "code": trouble.code, "summary": trouble.code.summary(), "final": trouble.is_final, "why": masked_text(&trouble.why),
        "about": trouble.about, "seen": trouble.seen, "action": trouble.code.action(),
    })
}

fn told(trouble: &Trouble, screen: Screen) -> String {
    let (colour, word) = if trouble.is_final { ("31", "final") } else { ("33", "may pass") };
    let mut names: Vec<String> = trouble
        .about
        .iter()
        .map(|about| {
            if about.kind == Kind::Pod {
                about.name.clone()
            } else {
                format!("{} {}", about.kind.name(), about.name)
            }
        })
        .collect();
    names.dedup();
    let more = match names.len() {
        count if count > NAMES => format!(" and {} more", count - NAMES),
        _ => String::new(),
    };
    let code = match screen {
        Screen::Coloured => format!("\x1b[1;{colour}m{}\x1b[0m", trouble.code),
        Screen::Plain | Screen::None => trouble.code.to_string(),
    };
    let mut text = format!(
        "{code} {} ({word})\n  why    {}\n  befell {}{more}\n",
        trouble.code.summary(),
        plain(&masked_text(&trouble.why)),
        names[..names.len().min(NAMES)].join(", "),
    );
    for line in &trouble.seen {
        text.push_str(&format!("  seen   {}\n", plain(line)));
    }
    text.push_str(&format!("  do     {}\n", trouble.code.action()));
    text
}

/// What others wrote moves no cursor.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
