//! What is known of the workloads that are watched, from the events of the API's watches in whatever order they come.
//!
//! Invariants:
//! - Only what belongs to a watched workload is kept: its ReplicaSets by the uid of their owner, their pods by the uid
//!   of theirs, the events about them, the nodes. What is not yet known to be foreign is kept while its name allows it.
//! - An object that was deleted does not come back: uids are unique for all time. A version that was seen before, and a
//!   generation older than the known one, changes nothing; versions are compared for equality only.
//! - For each object in its own order, repetitions included, the end is the same however kinds and objects interleave.
//! - Its size is bounded by the pods, the nodes, [`EVENTS_OF_ONE`] events about each, and rings of fixed length.

mod entry;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use kernel::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::objects::{Error, Event, Kind, Object, Uid};
use entry::{Buried, Entry};

/// Events that are kept about one object, the newest.
pub const EVENTS_OF_ONE: usize = 16;
/// Objects about which events are kept before those are dropped whose object is not there.
const OBJECTS_WITH_EVENTS_MAX: usize = 4096;
/// Containers of which a log is kept.
const LOGS_MAX: usize = 64;
/// Bytes kept of one log, the last.
const LOG_BYTES: usize = 4096;

/// A workload by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl Target {
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The kinds that have to be watched to judge it.
    pub fn kinds(&self) -> &'static [Kind] {
        match self.kind {
            Kind::Deployment => &[Kind::Deployment, Kind::ReplicaSet, Kind::Pod],
            Kind::StatefulSet => &[Kind::StatefulSet, Kind::Pod],
            Kind::DaemonSet => &[Kind::DaemonSet, Kind::Pod],
            Kind::Job => &[Kind::Job, Kind::Pod],
            _ => &[],
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.name().to_lowercase(), self.name)
    }
}

/// What a watch says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `ADDED` or `MODIFIED`: after a reconnection either may come for either.
    Put,
    Deleted,
}

/// What became of something that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Changed,
    /// Nothing that was not known.
    Repeated,
    /// It belongs to none of the workloads.
    Foreign,
    /// The place in the stream, nothing else.
    Bookmark,
    /// 410 Gone: list again, then watch from there.
    Expired,
    /// The API ends the watch with this status.
    Refused(u16),
}

#[derive(Debug, Clone, Copy, Default)]
struct Freshness {
    listed: bool,
    broken_since: Option<Timestamp>,
}

#[derive(Debug, Clone, Default)]
pub struct World {
    targets: Vec<Target>,
    entries: BTreeMap<Uid, Entry>,
    names: BTreeMap<(Kind, String, String), Uid>,
    events: BTreeMap<Uid, BTreeMap<Uid, Event>>,
    /// ReplicaSets of other Deployments whose names begin alike.
    foreign: BTreeSet<Uid>,
    buried: Buried,
    freshness: BTreeMap<Kind, Freshness>,
    /// When something that this object owned last went away.
    departures: BTreeMap<Uid, Timestamp>,
    logs: BTreeMap<(Uid, String), String>,
}

impl World {
    pub fn new(targets: impl IntoIterator<Item = Target>) -> Self {
        Self { targets: targets.into_iter().collect(), ..Self::default() }
    }

    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// One line of a watch: `{"type":"MODIFIED","object":{…}}`.
    pub fn line(&mut self, kind: Kind, line: &Json, now: Timestamp) -> Result<Heard, Error> {
        let change = match line["type"].as_str().unwrap_or_default() {
            "ADDED" | "MODIFIED" => Change::Put,
            "DELETED" => Change::Deleted,
            "BOOKMARK" => {
                self.connected(kind);
                return Ok(Heard::Bookmark);
            }
            _ => {
                self.disconnected(kind, now);
                let code =
                    line["object"]["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
                return Ok(if code == 410 { Heard::Expired } else { Heard::Refused(code) });
            }
        };
        self.take(change, Object::read(kind, &line["object"])?, now)
    }

    /// The whole of a kind, after a connection or after 410: what is not in it is gone. Items that cannot be read are
    /// left out and reported.
    pub fn listed(&mut self, kind: Kind, items: &[Json], now: Timestamp) -> Vec<Error> {
        let (mut objects, mut errors) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            match Object::read(kind, item) {
                Ok(object) => objects.push(object),
                Err(error) => errors.push(error),
            }
        }
        self.replace(kind, objects, now);
        errors
    }

    /// As [`World::listed`], of objects that have been read.
    pub fn replace(&mut self, kind: Kind, objects: Vec<Object>, now: Timestamp) {
        let mut present = BTreeSet::new();
        for object in objects {
            present.insert(object.meta().uid.clone());
            // It cannot fail for an object that was read.
            let _ = self.take(Change::Put, object, now);
        }
        if kind == Kind::Event {
            // Events expire one by one; a list without one says nothing about what it told.
            self.freshness.insert(kind, Freshness { listed: true, broken_since: None });
            return;
        }
        let gone: Vec<Uid> = self
            .entries
            .iter()
            .filter(|(uid, entry)| entry.object.kind() == kind && !present.contains(uid))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            self.bury(&uid, now);
        }
        if kind == Kind::ReplicaSet {
            self.foreign.retain(|uid| present.contains(uid));
        }
        self.freshness.insert(kind, Freshness { listed: true, broken_since: None });
    }

    /// The watch of a kind ended: what is known of it may be old from now on.
    pub fn disconnected(&mut self, kind: Kind, now: Timestamp) {
        let freshness = self.freshness.entry(kind).or_default();
        freshness.broken_since.get_or_insert(now);
    }

    /// The watch goes on from the version at which it ended.
    pub fn connected(&mut self, kind: Kind) {
        self.freshness.entry(kind).or_default().broken_since = None;
    }

    /// The last lines of a container, as far as somebody asked for them.
    pub fn read_log(&mut self, pod: &Uid, container: &str, text: &str) {
        if self.logs.len() >= LOGS_MAX && !self.logs.contains_key(&(pod.clone(), container.to_owned())) {
            return;
        }
        let from = text.len().saturating_sub(LOG_BYTES);
        let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.logs.insert((pod.clone(), container.to_owned()), text[from..].to_owned());
    }

    pub fn take(&mut self, change: Change, object: Object, now: Timestamp) -> Result<Heard, Error> {
        self.connected(object.kind());
        let uid = object.meta().uid.clone();
        if self.buried.holds(&uid) {
            return Ok(Heard::Repeated);
        }
        if let Object::Event(event) = object {
            return Ok(self.event(change, event));
        }
        if !self.belongs(&object) {
            return Ok(self.stranger(change, object, now));
        }
        if change == Change::Deleted {
            return Ok(self.bury(&uid, now));
        }
        match self.entries.get_mut(&uid) {
            Some(entry) => Ok(entry.update(object, now)),
            None => {
                self.enter(uid, object, now);
                Ok(Heard::Changed)
            }
        }
    }

    fn enter(&mut self, uid: Uid, object: Object, now: Timestamp) {
        let meta = object.meta();
        let name = (object.kind(), meta.namespace.clone(), meta.name.clone());
        // Of two objects with one name the older is gone, whether or not anybody said so.
        if let Some(predecessor) = self.names.insert(name.clone(), uid.clone())
            && predecessor != uid
        {
            self.bury(&predecessor, now);
            self.names.insert(name, uid.clone());
        }
        self.entries.insert(uid, Entry::new(object, now));
    }

    fn bury(&mut self, uid: &Uid, now: Timestamp) -> Heard {
        self.buried.add(uid);
        self.events.remove(uid);
        self.departures.remove(uid);
        self.logs.retain(|(pod, _), _| pod != uid);
        let Some(entry) = self.entries.remove(uid) else { return Heard::Repeated };
        let meta = entry.object.meta();
        let name = (entry.object.kind(), meta.namespace.clone(), meta.name.clone());
        if self.names.get(&name) == Some(uid) {
            self.names.remove(&name);
        }
        if let Some(owner) = meta.controller()
            && !self.buried.holds(&owner.uid)
        {
            self.departures.insert(owner.uid.clone(), now);
        }
        Heard::Changed
    }

    /// Something that belongs to nobody here. What was kept because its name allowed it goes with it.
    fn stranger(&mut self, change: Change, object: Object, now: Timestamp) -> Heard {
        let uid = object.meta().uid.clone();
        if object.kind() != Kind::ReplicaSet {
            return Heard::Foreign;
        }
        if change == Change::Deleted {
            self.foreign.remove(&uid);
            return Heard::Foreign;
        }
        let name = &object.meta().name;
        if self.targets.iter().any(|target| begins_like(name, &target.name))
            && self.foreign.insert(uid.clone())
        {
            let pods: Vec<Uid> = self.pods_of(&uid).into_iter().map(|pod| pod.metadata.uid.clone()).collect();
            for pod in pods {
                self.bury(&pod, now);
            }
            self.departures.remove(&uid);
            self.events.remove(&uid);
        }
        Heard::Foreign
    }

    fn belongs(&self, object: &Object) -> bool {
        let meta = object.meta();
        let mut targets = self.targets.iter().filter(|target| target.namespace == meta.namespace);
        match object {
            Object::Deployment(_) | Object::StatefulSet(_) | Object::DaemonSet(_) | Object::Job(_) => {
                targets.any(|target| target.kind == object.kind() && target.name == meta.name)
            }
            Object::ReplicaSet(_) => meta.controller().is_some_and(|owner| {
                owner.kind == "Deployment"
                    && targets.any(|target| target.kind == Kind::Deployment && target.name == owner.name)
            }),
            Object::Pod(_) => meta.controller().is_some_and(|owner| match owner.kind.as_str() {
                "ReplicaSet" => {
                    !self.foreign.contains(&owner.uid)
                        && (self.entries.contains_key(&owner.uid)
                            || targets.any(|target| {
                                target.kind == Kind::Deployment && begins_like(&owner.name, &target.name)
                            }))
                }
                kind => targets.any(|target| target.kind.name() == kind && target.name == owner.name),
            }),
            Object::Scaler(scaler) => {
                let of = &scaler.spec.scale_target_ref;
                targets.any(|target| target.kind.name() == of.kind && target.name == of.name)
            }
            Object::Budget(_) => targets.next().is_some(),
            Object::Node(_) => true,
            Object::Event(_) => false,
        }
    }

    fn event(&mut self, change: Change, event: Event) -> Heard {
        let about = &event.involved_object;
        let is_ours = self.targets.iter().any(|target| {
            target.namespace == about.namespace
                && match about.kind.as_str() {
                    "Pod" | "ReplicaSet" => begins_like(&about.name, &target.name),
                    kind => target.kind.name() == kind && target.name == about.name,
                }
        });
        if !is_ours || about.uid.is_empty() || self.foreign.contains(&about.uid) {
            return Heard::Foreign;
        }
        if self.buried.holds(&about.uid) {
            return Heard::Repeated;
        }
        if change == Change::Deleted {
            // It expired; what it told is as true as before, and is kept while there is room.
            return Heard::Repeated;
        }
        if self.events.len() > OBJECTS_WITH_EVENTS_MAX && !self.events.contains_key(&about.uid) {
            // Of objects that were gone before anybody watched.
            self.events.retain(|uid, _| self.entries.contains_key(uid));
        }
        let known = self.events.entry(about.uid.clone()).or_default();
        let uid = event.metadata.uid.clone();
        if known
            .get(&uid)
            .is_some_and(|older| (older.count(), older.last_at()) >= (event.count(), event.last_at()))
        {
            return Heard::Repeated;
        }
        known.insert(uid, event);
        if known.len() > EVENTS_OF_ONE
            && let Some(oldest) =
                known.iter().min_by_key(|(uid, event)| (event.last_at(), *uid)).map(|(uid, _)| uid.clone())
        {
            known.remove(&oldest);
        }
        Heard::Changed
    }
}

/// `web-7d9c5b8f6d` and `web-7d9c5b8f6d-x2x4z` begin like `web`.
fn begins_like(name: &str, target: &str) -> bool {
    name.strip_prefix(target).is_some_and(|rest| rest.starts_with('-'))
}
