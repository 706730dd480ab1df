//! Following workloads and what belongs to them: lists, then changes, over every break.
//!
//! Invariants:
//! - A world that is told everything in order is never wrong about what it has been told: a break is said before what
//!   comes after it, a place that is too old leads to a new list.
//! - A watch that is silent for longer than its server may be is broken.
//! - What may not be read although it is not needed to judge (nodes, events, autoscalers, budgets) is said once and left.

use std::collections::BTreeSet;
use std::time::Duration;

use kernel::Timestamp;
use rollout::objects::{Kind, Object};
use rollout::world::{Heard, Target, World};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::{Call, Cluster};
use crate::kinds::{Gvk, Scope};
use crate::lines::Lines;
use crate::read::{of_note, subject};
use crate::{Error, Result};

/// The server ends a watch after this; the next goes on from there.
const WATCH_FOR: Duration = Duration::from_secs(60);
/// Longer than that nothing may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// Before a broken watch is opened again; twice as long each time.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Refusals in a row after which a watch that once worked is given up.
const REFUSALS_MAX: u32 = 5;
/// An object is at most 1.5 MB in the store.
const LINE_BYTES: usize = 16 * 1024 * 1024;

/// Something that a [`World`] is to be told.
#[derive(Debug, Clone)]
pub enum News {
    /// All of a kind.
    Listed {
        kind: Kind,
        objects: Vec<Object>,
    },
    /// One change: `{"type":"MODIFIED","object":{…}}`.
    Line {
        kind: Kind,
        line: Json,
    },
    Disconnected {
        kind: Kind,
        why: Error,
    },
    Connected {
        kind: Kind,
    },
    /// Not to be had, and not tried again.
    Unavailable {
        kind: Kind,
        why: Error,
    },
}

/// What a world made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Something may be otherwise than before.
    Changed,
    Same,
}

impl News {
    pub fn kind(&self) -> Kind {
        match self {
            News::Listed { kind, .. }
            | News::Line { kind, .. }
            | News::Disconnected { kind, .. }
            | News::Connected { kind }
            | News::Unavailable { kind, .. } => *kind,
        }
    }

    /// Tells a world. Objects that cannot be read are passed by.
    pub fn tell(&self, world: &mut World, now: Timestamp) -> Told {
        match self {
            News::Listed { kind, objects } => {
                world.replace(*kind, objects.clone(), now);
                Told::Changed
            }
            News::Line { kind, line } => match world.line(*kind, line, now) {
                Ok(Heard::Repeated | Heard::Foreign | Heard::Bookmark) | Err(_) => Told::Same,
                Ok(_) => Told::Changed,
            },
            News::Disconnected { kind, .. } => {
                world.disconnected(*kind, now);
                Told::Changed
            }
            News::Connected { kind } => {
                world.connected(*kind);
                Told::Changed
            }
            News::Unavailable { .. } => Told::Changed,
        }
    }
}

/// The kinds that say more about workloads than they are judged by.
const AROUND: [Kind; 4] = [Kind::HorizontalPodAutoscaler, Kind::PodDisruptionBudget, Kind::Node, Kind::Event];

/// News about workloads, until it is dropped.
#[derive(Debug)]
pub struct Feed {
    news: mpsc::Receiver<News>,
    _followers: JoinSet<()>,
}

impl Feed {
    /// The next piece of news; `None` when nothing is followed any more.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// What has come already, without waiting.
    pub fn ready(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

/// What is there once, without following it.
#[derive(Debug)]
pub struct Snapshot {
    pub world: World,
    /// Kinds around the workloads that could not be read.
    pub missing: Vec<(Kind, Error)>,
}

impl Cluster {
    /// Follows workloads and what is around them. The first news of each kind is its list.
    pub fn watch(&self, targets: &[Target]) -> Feed {
        let (sender, news) = mpsc::channel(256);
        let mut followers = JoinSet::new();
        // Without a target there is nothing that the kinds around it could be about.
        let kinds = if targets.is_empty() { Vec::new() } else { kinds(targets) };
        for (kind, _) in kinds {
            let follower = Follower {
                cluster: self.clone(),
                kind,
                places: places(kind, targets),
                sender: sender.clone(),
                has_worked: false,
                refusals: 0,
            };
            followers.spawn(follower.run());
        }
        Feed { news, _followers: followers }
    }

    /// Reads workloads and what is around them once. What is needed to judge has to be readable.
    pub async fn look(&self, targets: &[Target], now: Timestamp) -> Result<Snapshot> {
        let mut world = World::new(targets.iter().cloned());
        let mut missing = Vec::new();
        let lists = kinds(targets)
            .into_iter()
            .map(|(kind, need)| async move { (kind, need, self.listed(kind, &places(kind, targets)).await) });
        for (kind, need, listed) in futures_util::future::join_all(lists).await {
            match (listed, need) {
                (Ok((objects, _)), _) => world.replace(kind, objects, now),
                (Err(error), Need::Judged) => return Err(error),
                (Err(error), Need::Around) => missing.push((kind, error)),
            }
        }
        Ok(Snapshot { world, missing })
    }

    /// All of a kind in some namespaces, and the place of each in its stream.
    async fn listed(&self, kind: Kind, places: &[String]) -> Result<(Vec<Object>, Vec<String>)> {
        let mut objects = Vec::new();
        let mut versions = Vec::new();
        for place in places {
            let mut listed = self.objects(kind, place).await?;
            objects.append(&mut listed.items);
            versions.push(listed.resource_version);
        }
        Ok((objects, versions))
    }
}

/// Takes out what no world reads and what makes an object large: owners of fields, and of pods what their containers
/// are given.
fn lean(object: &mut Json) {
    if object["kind"] == "Pod"
        && let Some(spec) = object.get_mut("spec").and_then(Json::as_object_mut)
    {
        for field in ["volumes", "affinity", "tolerations", "topologySpreadConstraints"] {
            spec.remove(field);
        }
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten();
            for container in containers.filter_map(Json::as_object_mut) {
                for field in ["env", "envFrom", "args", "volumeMounts", "resources", "securityContext"] {
                    container.remove(field);
                }
            }
        }
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Judged,
    Around,
}

fn kinds(targets: &[Target]) -> Vec<(Kind, Need)> {
    let judged: BTreeSet<Kind> = targets.iter().flat_map(|target| target.kinds()).copied().collect();
    let judged = judged.into_iter().map(|kind| (kind, Need::Judged));
    judged.chain(AROUND.into_iter().map(|kind| (kind, Need::Around))).collect()
}

/// The namespaces to follow; of kinds of the whole cluster the one that is none.
fn places(kind: Kind, targets: &[Target]) -> Vec<String> {
    if crate::Resource::known(&kind.into()).is_some_and(|resource| resource.scope == Scope::Cluster) {
        return vec![String::new()];
    }
    let is_judged = |target: &&Target| AROUND.contains(&kind) || target.kinds().contains(&kind);
    let names: BTreeSet<&String> = targets.iter().filter(is_judged).map(|target| &target.namespace).collect();
    names.into_iter().cloned().collect()
}

/// Follows one kind.
struct Follower {
    cluster: Cluster,
    kind: Kind,
    places: Vec<String>,
    sender: mpsc::Sender<News>,
    has_worked: bool,
    refusals: u32,
}

/// Why a round of watching ended.
enum Ended {
    /// By the server, in good order.
    Regularly,
    /// The place is too old.
    Expired,
    /// It has to be tried again.
    Broken(Error),
    /// Nobody listens any more.
    Unheard,
}

impl Follower {
    async fn run(mut self) {
        let mut pause = PAUSES.0;
        'lists: loop {
            let (objects, mut versions) = match self.cluster.listed(self.kind, &self.places).await {
                Ok(listed) => listed,
                Err(error) => match self.broke(error, &mut pause).await {
                    Some(()) => continue 'lists,
                    None => return,
                },
            };
            self.has_worked = true;
            self.refusals = 0;
            if self.sender.send(News::Listed { kind: self.kind, objects }).await.is_err() {
                return;
            }
            let mut is_broken = false;
            loop {
                let began = tokio::time::Instant::now();
                match self.round(&mut versions, &mut is_broken).await {
                    Ended::Unheard => return,
                    Ended::Expired => continue 'lists,
                    Ended::Regularly if began.elapsed() >= Duration::from_secs(1) => pause = PAUSES.0,
                    Ended::Regularly => {
                        // A server that ends each watch at once is not asked as fast as it ends them.
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSES.1);
                    }
                    Ended::Broken(error) => {
                        if began.elapsed() >= PAUSES.1 {
                            pause = PAUSES.0;
                        }
                        is_broken = true;
                        if self.broke(error, &mut pause).await.is_none() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Says that something broke, and waits; `None` where it is not to be tried again.
    async fn broke(&mut self, error: Error, pause: &mut Duration) -> Option<()> {
        let is_refusal = matches!(
            error,
            Error::Unauthorized { .. }
                | Error::Forbidden { .. }
                | Error::NotFound { .. }
                | Error::NoToken { .. }
                | Error::Untrusted { .. }
                | Error::NotKubernetes { .. }
        );
        self.refusals = if is_refusal { self.refusals + 1 } else { 0 };
        if is_refusal && (!self.has_worked || self.refusals > REFUSALS_MAX) {
            let _ = self.sender.send(News::Unavailable { kind: self.kind, why: error }).await;
            return None;
        }
        self.sender.send(News::Disconnected { kind: self.kind, why: error }).await.ok()?;
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSES.1);
        Some(())
    }

    /// Opens a watch for each namespace and reads them until one ends.
    async fn round(&mut self, versions: &mut [String], is_broken: &mut bool) -> Ended {
        let mut streams = Vec::new();
        for (place, version) in self.places.iter().zip(versions.iter()) {
            match self.open(place, version).await {
                Ok(lines) => streams.push(lines),
                Err(Error::Expired { .. }) => return Ended::Expired,
                Err(error) => return Ended::Broken(error),
            }
        }
        self.refusals = 0;
        if std::mem::take(is_broken) && self.sender.send(News::Connected { kind: self.kind }).await.is_err() {
            return Ended::Unheard;
        }
        loop {
            let next = tokio::time::timeout(SILENCE_MAX, any(&mut streams)).await;
            let (at, line) = match next {
                Err(_) => {
                    let host = self.cluster.host().to_owned();
                    let reason = format!("a watch was silent for {} s", SILENCE_MAX.as_secs());
                    return Ended::Broken(Error::Unreachable { host, reason });
                }
                Ok((_, Err(error))) => {
                    return Ended::Broken(Error::unanswered(self.cluster.host(), &error));
                }
                Ok((_, Ok(None))) => return Ended::Regularly,
                Ok((at, Ok(Some(line)))) => (at, line),
            };
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Ok(mut line) = serde_json::from_slice::<Json>(&line) else {
                // Cut off in the middle: what it said comes again.
                let reason = "a watch broke off in the middle of a line".to_owned();
                return Ended::Broken(Error::Unreachable { host: self.cluster.host().to_owned(), reason });
            };
            if line["type"] == "ERROR" {
                if line["object"]["code"] == 410 {
                    return match self.sender.send(News::Line { kind: self.kind, line }).await {
                        Ok(()) => Ended::Expired,
                        Err(_) => Ended::Unheard,
                    };
                }
                let body = line["object"].to_string();
                let status = line["object"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                let answer = crate::error::Answer {
                    status: status.unwrap_or(500),
                    retry_after: None,
                    body: body.as_bytes(),
                };
                let resource = Gvk::from(self.kind);
                let subject = crate::Subject {
                    verb: "watch",
                    resource: resource.kind,
                    namespace: self.places[at].clone(),
                    name: String::new(),
                };
                return Ended::Broken(Error::answered(self.cluster.host(), &subject, &answer));
            }
            if let Some(version) = line["object"]["metadata"]["resourceVersion"].as_str() {
                version.clone_into(&mut versions[at]);
            }
            lean(&mut line["object"]);
            if self.sender.send(News::Line { kind: self.kind, line }).await.is_err() {
                return Ended::Unheard;
            }
        }
    }

    async fn open(&self, place: &str, version: &str) -> Result<Lines> {
        let resource = self.cluster.resource(&self.kind.into()).await?;
        let mut call = Call::get(subject("watch", &resource, place, ""), resource.collection(place));
        call.query = vec![
            ("watch", "true".to_owned()),
            ("allowWatchBookmarks", "true".to_owned()),
            ("resourceVersion", version.to_owned()),
            ("timeoutSeconds", WATCH_FOR.as_secs().to_string()),
        ];
        call.query.extend(of_note(self.kind).map(|fields| ("fieldSelector", fields.to_owned())));
        Ok(Lines::new(self.cluster.open(&call).await?.into_body(), LINE_BYTES))
    }
}

/// The next line of whichever has one.
async fn any(streams: &mut [Lines]) -> (usize, Result<Option<Vec<u8>>, kube::Error>) {
    let next =
        streams.iter_mut().enumerate().map(|(at, lines)| Box::pin(async move { (at, lines.next().await) }));
    let ((at, line), ..) = futures_util::future::select_all(next).await;
    (at, line)
}
