//! The objects of a cluster, their versions, and the stream of what became of them.
//!
//! Invariants: every write gets a version of its own, larger than all before; a write that changes nothing is none; a
//! uid is never given twice; what an old place in the stream would have to be told and is not kept any more is 410.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use kernel::Timestamp;
use serde_json::{Value as Json, json};

use super::fields;
use super::refusal::{Done, Refusal, check_name, details};
use super::{defaults, selectors, valid};
use crate::kinds::{KNOWN, Resource, Scope};

/// Changes that are kept for watches.
const KEPT: usize = 20_000;

/// The resource (`deployments.apps`), the namespace, the name.
pub type Key = (String, String, String);

/// A change, for watches.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub version: u64,
    pub resource: String,
    pub namespace: String,
    pub before: Option<Arc<Json>>,
    pub after: Option<Arc<Json>>,
}

/// Whether something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Yes,
    Dry,
}

/// What is not let in.
#[derive(Debug, Clone)]
pub struct Denial {
    pub kind: String,
    /// Of names that begin so.
    pub prefix: String,
    pub message: String,
}

pub struct Store {
    pub objects: BTreeMap<Key, Arc<Json>>,
    pub log: VecDeque<Recorded>,
    /// Places before this one are gone.
    pub oldest: u64,
    pub version: u64,
    uids: u64,
    pub resources: Vec<Resource>,
    pub denials: Vec<Denial>,
    pub now: Timestamp,
    /// The rest of lists, by the token that asks for it.
    pub continued: HashMap<String, (u64, Vec<Arc<Json>>)>,
    pub logs: HashMap<(String, String, String, bool), Vec<(Timestamp, String)>>,
    /// Turns that each pod has seen, and other memory of the controllers.
    pub ages: HashMap<String, u32>,
    pub names: u64,
}

impl Store {
    pub fn new(now: Timestamp) -> Self {
        let mut resources: Vec<Resource> = KNOWN
            .iter()
            .map(|(group, kind, plural, scope)| Resource {
                gvk: crate::Gvk::new(group, version_of(group), kind),
                plural: (*plural).to_owned(),
                scope: *scope,
            })
            .collect();
        let custom = [
            ("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
            ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
            ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
            ("gateway.networking.k8s.io", "v1", "Gateway", "gateways"),
            ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            ("networking.istio.io", "v1", "VirtualService", "virtualservices"),
            ("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
            ("security.istio.io", "v1", "PeerAuthentication", "peerauthentications"),
            ("security.istio.io", "v1", "AuthorizationPolicy", "authorizationpolicies"),
            ("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
            ("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding", "targetgroupbindings"),
        ];
        resources.extend(custom.into_iter().map(|(group, version, kind, plural)| Resource {
            gvk: crate::Gvk::new(group, version, kind),
            plural: plural.to_owned(),
            scope: Scope::Namespaced,
        }));
        Self {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            oldest: 0,
            version: 1000,
            uids: 0,
            resources,
            denials: Vec::new(),
            now,
            continued: HashMap::new(),
            logs: HashMap::new(),
            ages: HashMap::new(),
            names: 0,
        }
    }

    /// RFC 3339 in whole seconds, as the API writes times.
    pub fn time(&self) -> String {
        let text = self.now.to_string();
        match text.split_once('.') {
            Some((seconds, _)) => format!("{seconds}Z"),
            None => text,
        }
    }

    pub fn uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    pub fn resource(&self, group: &str, plural: &str) -> Option<Resource> {
        self.resources.iter().find(|one| one.gvk.group == group && one.plural == plural).cloned()
    }

    pub fn of_kind(&self, kind: &str) -> Option<Resource> {
        self.resources.iter().find(|one| one.gvk.kind == kind).cloned()
    }

    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Arc<Json>> {
        self.objects.get(&key(resource, namespace, name))
    }

    /// All of a kind, in the order of their names.
    pub fn all(&self, kind: &str) -> Vec<Arc<Json>> {
        let Some(resource) = self.of_kind(kind) else { return Vec::new() };
        let name = resource.name();
        self.objects.iter().filter(|(key, _)| key.0 == name).map(|(_, object)| object.clone()).collect()
    }

    pub fn list(&self, resource: &Resource, namespace: &str, labels: &str, fields: &str) -> Vec<Arc<Json>> {
        let wanted = resource.name();
        self.objects
            .iter()
            .filter(|((name, place, _), object)| {
                *name == wanted
                    && (namespace.is_empty() || place == namespace)
                    && selectors::labels_match(labels, object)
                    && selectors::fields_match(fields, object)
            })
            .map(|(_, object)| object.clone())
            .collect()
    }

    fn record(&mut self, key: &Key, before: Option<Arc<Json>>, after: Option<Arc<Json>>) {
        let recorded = Recorded {
            version: self.version,
            resource: key.0.clone(),
            namespace: key.1.clone(),
            before,
            after,
        };
        self.log.push_back(recorded);
        if self.log.len() > KEPT
            && let Some(gone) = self.log.pop_front()
        {
            self.oldest = gone.version;
        }
    }

    /// Keeps an object as it is given, under a new version.
    pub fn put(&mut self, resource: &Resource, mut object: Json) -> Json {
        let at = key(
            resource,
            object["metadata"]["namespace"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default(),
        );
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let kept = Arc::new(object.clone());
        let before = self.objects.insert(at.clone(), kept.clone());
        self.record(&at, before, Some(kept));
        object
    }

    /// Takes an object away.
    pub fn take(&mut self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Json>> {
        let at = key(resource, namespace, name);
        let before = self.objects.remove(&at)?;
        self.version += 1;
        let mut last = (*before).clone();
        last["metadata"]["resourceVersion"] = self.version.to_string().into();
        let last = Arc::new(last);
        self.record(&at, Some(last.clone()), None);
        Some(last)
    }

    /// Whatever a controller writes: the object as it is now is changed, and kept where that made a difference.
    pub fn change(&mut self, kind: &str, namespace: &str, name: &str, edit: impl FnOnce(&mut Json)) {
        let Some(resource) = self.of_kind(kind) else { return };
        let Some(live) = self.get(&resource, namespace, name).cloned() else { return };
        let mut object = (*live).clone();
        edit(&mut object);
        if object != *live {
            if has_generation(kind) && object["spec"] != live["spec"] {
                object["metadata"]["generation"] = (generation(&live) + 1).into();
            }
            self.put(&resource, object);
        }
    }

    /// Makes an object. Admission is asked.
    pub fn create(
        &mut self,
        resource: &Resource,
        namespace: &str,
        mut object: Json,
        manager: &str,
        keep: Keep,
    ) -> Done<Json> {
        if object["metadata"]["name"].as_str().unwrap_or_default().is_empty() {
            let Some(prefix) = object["metadata"]["generateName"].as_str().map(str::to_owned) else {
                return Err(Refusal::invalid(
                    &resource.gvk,
                    "",
                    "metadata.name",
                    "FieldValueRequired",
                    "Required value: name or generateName is required",
                ));
            };
            self.names += 1;
            object["metadata"]["name"] = format!("{prefix}{}", suffix(self.names)).into();
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if self.get(resource, namespace, &name).is_some() {
            let message = format!("{} \"{name}\" already exists", resource.name());
            let details = details(&resource.name(), &name);
            return Err(Refusal { details, ..Refusal::new(409, "AlreadyExists", message) });
        }
        defaults::settle(&mut object);
        let time = self.time();
        let blank = json!({ "apiVersion": resource.gvk.api_version(), "kind": resource.gvk.kind });
        fields::updated(&blank, &mut object, manager, "", &time);
        self.enter(resource, namespace, object, keep)
    }

    /// The last step of making an object.
    pub(super) fn enter(
        &mut self,
        resource: &Resource,
        namespace: &str,
        mut object: Json,
        keep: Keep,
    ) -> Done<Json> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if resource.scope == Scope::Namespaced {
            self.check_namespace(namespace)?;
            object["metadata"]["namespace"] = namespace.into();
        }
        self.admit(resource, namespace, &name)?;
        check_name(resource, &name)?;
        valid::check(resource, &object)?;
        let time = self.time();
        let uid = self.uid();
        defaults::labelled(&mut object, &uid);
        object["apiVersion"] = resource.gvk.api_version().into();
        object["kind"] = resource.gvk.kind.as_str().into();
        object["metadata"]["uid"] = uid.into();
        object["metadata"]["creationTimestamp"] = time.into();
        if has_generation(&resource.gvk.kind) {
            object["metadata"]["generation"] = 1.into();
        }
        if has_status(&resource.gvk.kind)
            && let Some(map) = object.as_object_mut()
        {
            map.insert("status".to_owned(), json!({}));
        }
        if resource.gvk.kind == "Namespace" {
            object["status"] = json!({ "phase": "Active" });
        }
        if resource.gvk.kind == "Pod" {
            object["status"] = json!({ "phase": "Pending", "qosClass": "Burstable" });
        }
        Ok(match keep {
            Keep::Yes => self.put(resource, object),
            Keep::Dry => object,
        })
    }

    fn check_namespace(&self, namespace: &str) -> Done<()> {
        let found = self.objects.get(&("namespaces".to_owned(), String::new(), namespace.to_owned()));
        match found {
            None => Err(Refusal::not_found("namespaces", namespace)),
            Some(found) if !found["metadata"]["deletionTimestamp"].is_null() => Err(Refusal::new(
                403,
                "Forbidden",
                format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                ),
            )),
            Some(_) => Ok(()),
        }
    }

    /// Webhooks, and quotas on pods.
    fn admit(&self, resource: &Resource, namespace: &str, name: &str) -> Done<()> {
        let kind = &resource.gvk.kind;
        if let Some(denial) =
            self.denials.iter().find(|one| one.kind == *kind && name.starts_with(&one.prefix))
        {
            let message =
                format!("admission webhook \"policy.example.com\" denied the request: {}", denial.message);
            return Err(Refusal::new(403, "Forbidden", message));
        }
        if kind != "Pod" {
            return Ok(());
        }
        for quota in self.all("ResourceQuota").iter().filter(|one| one["metadata"]["namespace"] == namespace)
        {
            let hard = &quota["spec"]["hard"]["pods"];
            let limit = hard.as_str().and_then(|text| text.parse().ok()).or(hard.as_u64());
            let used =
                self.all("Pod").iter().filter(|pod| pod["metadata"]["namespace"] == namespace).count() as u64;
            if let Some(limit) = limit.filter(|limit| used >= *limit) {
                let message = format!(
                    "pods \"{name}\" is forbidden: exceeded quota: {}, requested: pods=1, used: pods={used}, limited: \
                     pods={limit}",
                    quota["metadata"]["name"].as_str().unwrap_or_default()
                );
                return Err(Refusal::new(403, "Forbidden", message));
            }
        }
        Ok(())
    }

    /// Notes an event about an object, as controllers do.
    pub fn event(
        &mut self,
        about: &Json,
        severity: &str,
        reason: &str,
        message: &str,
        reporter: &str,
        field: &str,
    ) {
        let Some(resource) = self.of_kind("Event") else { return };
        let namespace = about["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let name = about["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let time = self.time();
        let uid = about["metadata"]["uid"].clone();
        let known = self.objects.iter().find(|((kind, place, _), event)| {
            kind == "events"
                && *place == namespace
                && event["involvedObject"]["uid"] == uid
                && event["reason"] == reason
                && event["message"] == message
        });
        if let Some((_, known)) = known {
            let mut again = (**known).clone();
            again["count"] = (again["count"].as_u64().unwrap_or(1) + 1).into();
            again["lastTimestamp"] = time.into();
            self.put(&resource, again);
            return;
        }
        let own = self.uid();
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {
                "name": format!("{name}.{}", &own[24..]), "namespace": namespace, "uid": own, "creationTimestamp": time,
            },
            "involvedObject": {
                "kind": about["kind"], "namespace": namespace, "name": name, "uid": uid,
                "apiVersion": about["apiVersion"], "fieldPath": field,
            },
            "type": severity, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": time, "lastTimestamp": time,
            "source": { "component": reporter }, "reportingComponent": reporter,
        });
        self.put(&resource, event);
    }
}

pub fn key(resource: &Resource, namespace: &str, name: &str) -> Key {
    let namespace = match resource.scope {
        Scope::Namespaced => namespace,
        Scope::Cluster => "",
    };
    (resource.name(), namespace.to_owned(), name.to_owned())
}

pub fn is_owned_by(object: &Json, uid: &str) -> bool {
    object["metadata"]["ownerReferences"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["uid"] == uid))
}

pub fn generation(object: &Json) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

/// Letters as the API makes names of, the same for the same number.
pub fn suffix(number: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = number.wrapping_mul(2_654_435_761) % 14_348_907;
    (0..5)
        .map(|_| {
            let letter = LETTERS[(rest % 27) as usize];
            rest /= 27;
            char::from(letter)
        })
        .collect()
}

fn version_of(group: &str) -> &'static str {
    if group == "autoscaling" { "v2" } else { "v1" }
}

pub fn has_generation(kind: &str) -> bool {
    !matches!(
        kind,
        "Service"
            | "Node"
            | "Namespace"
            | "ConfigMap"
            | "Secret"
            | "ServiceAccount"
            | "Event"
            | "Role"
            | "RoleBinding"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "HorizontalPodAutoscaler"
            | "PersistentVolumeClaim"
            | "PersistentVolume"
            | "StorageClass"
            | "PriorityClass"
            | "Lease"
            | "ResourceQuota"
            | "LimitRange"
    )
}

pub fn has_status(kind: &str) -> bool {
    matches!(
        kind,
        "Deployment"
            | "ReplicaSet"
            | "StatefulSet"
            | "DaemonSet"
            | "Job"
            | "HorizontalPodAutoscaler"
            | "PodDisruptionBudget"
            | "Service"
            | "Ingress"
    )
}

pub fn is_same(one: &Json, other: &Json) -> bool {
    let plain = |object: &Json| {
        let mut object = object.clone();
        object["metadata"].as_object_mut().map(|map| map.shift_remove("managedFields"));
        object
    };
    plain(one) == plain(other)
}

/// RFC 7386.
pub fn patched(object: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let Json::Object(map) = object else { return };
    for (name, value) in patch {
        if value.is_null() {
            map.shift_remove(name);
        } else {
            patched(map.entry(name.clone()).or_insert(Json::Null), value);
        }
    }
}
