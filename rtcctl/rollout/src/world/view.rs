//! Questions to what is known.

use std::collections::BTreeMap;

use kernel::Timestamp;

use super::{Target, World};
use crate::objects::{Budget, Event, Kind, Node, Object, Pod, ReplicaSet, Scaler, Uid};

impl World {
    /// The workload of this name, as it is now.
    pub fn workload(&self, target: &Target) -> Option<&Object> {
        let name = (target.kind, target.namespace.clone(), target.name.clone());
        self.object(self.names.get(&name)?)
    }

    pub fn object(&self, uid: &Uid) -> Option<&Object> {
        self.entries.get(uid).map(|entry| &entry.object)
    }

    /// Whether it was there and is not any more.
    pub fn is_gone(&self, uid: &Uid) -> bool {
        self.buried.holds(uid)
    }

    /// Every object but the events, by uid.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.entries.values().map(|entry| &entry.object)
    }

    fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.objects().filter_map(|object| match object {
            Object::Pod(pod) => Some(&**pod),
            _ => None,
        })
    }

    /// The ReplicaSets of a Deployment, by name.
    pub fn replica_sets_of(&self, deployment: &Uid) -> Vec<&ReplicaSet> {
        let mut found: Vec<&ReplicaSet> = self
            .objects()
            .filter_map(|object| match object {
                Object::ReplicaSet(set) => Some(set),
                _ => None,
            })
            .filter(|set| set.metadata.controller().is_some_and(|owner| owner.uid == *deployment))
            .collect();
        found.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        found
    }

    /// The pods that an object controls, by name.
    pub fn pods_of(&self, owner: &Uid) -> Vec<&Pod> {
        let mut found: Vec<&Pod> = self
            .pods()
            .filter(|pod| pod.metadata.controller().is_some_and(|known| known.uid == *owner))
            .collect();
        found.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        found
    }

    /// All pods under the uid of their controller, by name.
    pub fn pods_by_owner(&self) -> BTreeMap<&Uid, Vec<&Pod>> {
        let mut found: BTreeMap<&Uid, Vec<&Pod>> = BTreeMap::new();
        for pod in self.pods() {
            if let Some(owner) = pod.metadata.controller() {
                found.entry(&owner.uid).or_default().push(pod);
            }
        }
        for pods in found.values_mut() {
            pods.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        }
        found
    }

    /// The events about an object, the newest first.
    pub fn events_about(&self, uid: &Uid) -> Vec<&Event> {
        let mut found: Vec<&Event> = self.events.get(uid).into_iter().flat_map(BTreeMap::values).collect();
        found.sort_by(|one, other| {
            (other.last_at(), &other.metadata.uid).cmp(&(one.last_at(), &one.metadata.uid))
        });
        found
    }

    pub fn node(&self, name: &str) -> Option<&Node> {
        let uid = self.names.get(&(Kind::Node, String::new(), name.to_owned()))?;
        match self.object(uid)? {
            Object::Node(node) => Some(node),
            _ => None,
        }
    }

    /// The autoscaler of a workload.
    pub fn scaler_of(&self, target: &Target) -> Option<&Scaler> {
        self.objects().find_map(|object| match object {
            Object::Scaler(scaler) => {
                let of = &scaler.spec.scale_target_ref;
                let is_of = of.kind == target.kind.name()
                    && of.name == target.name
                    && scaler.metadata.namespace == target.namespace;
                is_of.then_some(scaler)
            }
            _ => None,
        })
    }

    /// The disruption budgets that are about a pod.
    pub fn budgets_of<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a Budget> + 'a {
        self.objects().filter_map(move |object| match object {
            Object::Budget(budget) => {
                let is_about = budget.metadata.namespace == pod.metadata.namespace
                    && budget.selects(&pod.metadata.labels);
                is_about.then_some(budget)
            }
            _ => None,
        })
    }

    pub fn log(&self, pod: &Uid, container: &str) -> Option<&str> {
        self.logs.get(&(pod.clone(), container.to_owned())).map(String::as_str)
    }

    /// Whether every kind that this workload is judged by has been listed.
    pub fn is_listed(&self, target: &Target) -> bool {
        target.kinds().iter().all(|kind| self.freshness.get(kind).is_some_and(|freshness| freshness.listed))
    }

    /// Since when something that this workload is judged by is not heard of.
    pub fn broken_since(&self, target: &Target) -> Option<Timestamp> {
        target.kinds().iter().filter_map(|kind| self.freshness.get(kind)?.broken_since).min()
    }

    /// When anything of a workload last got on.
    pub fn moved_at(&self, workload: &Uid) -> Option<Timestamp> {
        let sets = self.replica_sets_of(workload);
        let owners: Vec<&Uid> =
            std::iter::once(workload).chain(sets.iter().map(|set| &set.metadata.uid)).collect();
        let own = owners.iter().filter_map(|uid| Some(self.entries.get(uid)?.moved_at));
        let departed = owners.iter().filter_map(|uid| self.departures.get(uid).copied());
        let of_pods = self.entries.values().filter_map(|entry| {
            let owner = entry.object.meta().controller()?;
            (entry.object.kind() == Kind::Pod && owners.contains(&&owner.uid)).then_some(entry.moved_at)
        });
        own.chain(departed).chain(of_pods).max()
    }
}
