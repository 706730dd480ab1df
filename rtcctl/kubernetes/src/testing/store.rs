//! The objects of a cluster, their versions, and the stream of what became of them.
//!
//! Invariants: every write gets a version of its own, larger than all before; a write that changes nothing is none; a
//! uid is never given twice; what an old place in the stream would have to be told and is not kept any more is 410.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kernel::Timestamp;
use serde_json::{Value as Json, json};

use super::fields::{self, Outcome};
use super::{defaults, selectors};
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

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Json,
}

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: json!({}) }
    }

    pub fn not_found(resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found"))
    }

    pub fn conflict(resource: &str, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"))
    }

    fn invalid(kind: &str, name: &str, field: &str, why: &str) -> Self {
        let details = json!({
            "name": name, "kind": kind,
            "causes": [{ "reason": "FieldValueInvalid", "message": why, "field": field }],
        });
        let message = format!("{kind} \"{name}\" is invalid: {field}: {why}");
        Self { details, ..Self::new(422, "Invalid", message) }
    }

    pub fn status(&self) -> Json {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": self.details, "code": self.code,
        })
    }
}

pub type Done<T> = Result<T, Refusal>;

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
                    &resource.gvk.kind,
                    "",
                    "metadata.name",
                    "Required value: name or generateName is required",
                ));
            };
            self.names += 1;
            object["metadata"]["name"] = format!("{prefix}{}", suffix(self.names)).into();
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if self.get(resource, namespace, &name).is_some() {
            return Err(Refusal::new(
                409,
                "AlreadyExists",
                format!("{} \"{name}\" already exists", resource.name()),
            ));
        }
        defaults::settle(&mut object);
        let time = self.time();
        let blank = json!({ "apiVersion": resource.gvk.api_version(), "kind": resource.gvk.kind });
        fields::updated(&blank, &mut object, manager, "", &time);
        self.enter(resource, namespace, object, keep)
    }

    /// The last step of making an object.
    fn enter(&mut self, resource: &Resource, namespace: &str, mut object: Json, keep: Keep) -> Done<Json> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if resource.scope == Scope::Namespaced {
            self.check_namespace(namespace)?;
            object["metadata"]["namespace"] = namespace.into();
        }
        self.admit(resource, namespace, &name)?;
        check_name(resource, &name)?;
        let time = self.time();
        let uid = self.uid();
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

    /// Server-side apply.
    pub fn apply(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        document: &Json,
        manager: &str,
        is_forced: bool,
        keep: Keep,
    ) -> Done<(Json, bool)> {
        check_apply(resource, namespace, name, document)?;
        let time = self.time();
        let Some(live) = self.get(resource, namespace, name).cloned() else {
            let blank = json!({
                "apiVersion": resource.gvk.api_version(), "kind": resource.gvk.kind, "metadata": { "name": name },
            });
            let Outcome::Merged(object) =
                fields::apply(&blank, document, manager, is_forced, &time, defaults::settle)
            else {
                return Err(Refusal::new(500, "InternalError", "an apply to nothing has a conflict"));
            };
            return Ok((self.enter(resource, namespace, object, keep)?, true));
        };
        if document["metadata"]["uid"].as_str().is_some_and(|uid| live["metadata"]["uid"] != uid) {
            return Err(Refusal::conflict(
                &resource.name(),
                name,
                "Precondition failed: UID in precondition",
            ));
        }
        let merged = match fields::apply(&live, document, manager, is_forced, &time, defaults::settle) {
            Outcome::Merged(merged) => merged,
            Outcome::Conflicts(conflicts) => return Err(owned_by_others(&conflicts, resource)),
        };
        Ok((self.replace(resource, &live, merged, keep)?, false))
    }

    /// The last step of changing an object: what may not change is refused, what only status may say stays.
    fn replace(&mut self, resource: &Resource, live: &Json, mut object: Json, keep: Keep) -> Done<Json> {
        let name = live["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let kind = resource.gvk.kind.as_str();
        for field in ["uid", "creationTimestamp", "generation", "resourceVersion", "namespace", "name"] {
            match live["metadata"].get(field) {
                Some(value) => object["metadata"][field] = value.clone(),
                None => {
                    object["metadata"].as_object_mut().map(|map| map.shift_remove(field));
                }
            }
        }
        if has_status(kind) {
            object["status"] = live["status"].clone();
        }
        let immutable: &[&str] = match kind {
            "Deployment" | "StatefulSet" | "DaemonSet" => &["selector"],
            "Job" => &["selector", "template"],
            _ => &[],
        };
        for field in immutable {
            if live["spec"].get(field) != object["spec"].get(field) {
                return Err(Refusal::invalid(kind, &name, &format!("spec.{field}"), "field is immutable"));
            }
        }
        let namespace = live["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        if !is_same(live, &object) {
            self.admit_change(kind, &name)?;
        }
        if has_generation(kind) && object["spec"] != live["spec"] {
            object["metadata"]["generation"] = (generation(live) + 1).into();
        }
        if keep == Keep::Dry || object == *live {
            return Ok(object);
        }
        let is_leaving = !object["metadata"]["deletionTimestamp"].is_null();
        if is_leaving
            && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
            && kind != "Pod"
        {
            self.take(resource, &namespace, &name);
            return Ok(object);
        }
        Ok(self.put(resource, object))
    }

    fn admit_change(&self, kind: &str, name: &str) -> Done<()> {
        let denial = self.denials.iter().find(|one| one.kind == kind && name.starts_with(&one.prefix));
        match denial {
            Some(denial) => Err(Refusal::new(
                403,
                "Forbidden",
                format!("admission webhook \"policy.example.com\" denied the request: {}", denial.message),
            )),
            None => Ok(()),
        }
    }

    /// A merge patch, of the object or of its status.
    pub fn merge_patch(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        patch: &Json,
        manager: &str,
        subresource: &str,
        keep: Keep,
    ) -> Done<Json> {
        let live = self.get(resource, namespace, name).cloned();
        let live = live.ok_or_else(|| Refusal::not_found(&resource.name(), name))?;
        let wanted = patch["metadata"]["resourceVersion"].as_str();
        if wanted.is_some_and(|wanted| live["metadata"]["resourceVersion"] != wanted) {
            return Err(modified(resource, name));
        }
        let mut object = (*live).clone();
        patched(&mut object, patch);
        self.update(resource, &live, object, manager, subresource, keep)
    }

    /// A whole object in place of another.
    pub fn update(
        &mut self,
        resource: &Resource,
        live: &Json,
        mut object: Json,
        manager: &str,
        subresource: &str,
        keep: Keep,
    ) -> Done<Json> {
        let time = self.time();
        if subresource == "status" {
            let mut whole = live.clone();
            whole["status"] = object["status"].take();
            if whole == *live || keep == Keep::Dry {
                return Ok(whole);
            }
            fields::updated(live, &mut whole, manager, subresource, &time);
            return Ok(self.put(resource, whole));
        }
        defaults::settle(&mut object);
        fields::updated(live, &mut object, manager, subresource, &time);
        self.replace(resource, live, object, keep)
    }

    /// Deletes an object as far as it may go at once; `Some` where its end has only begun.
    pub fn delete(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &Json,
        keep: Keep,
    ) -> Done<Option<Json>> {
        let live = self.get(resource, namespace, name).cloned();
        let live = live.ok_or_else(|| Refusal::not_found(&resource.name(), name))?;
        for (wanted, known) in [
            (&options["preconditions"]["uid"], &live["metadata"]["uid"]),
            (&options["preconditions"]["resourceVersion"], &live["metadata"]["resourceVersion"]),
        ] {
            if !wanted.is_null() && wanted != known {
                let why = format!(
                    "Precondition failed: UID in precondition: {wanted}, UID in object meta: {known}"
                );
                return Err(Refusal::conflict(&resource.name(), name, &why));
            }
        }
        let mut object = (*live).clone();
        let policy = options["propagationPolicy"].as_str().unwrap_or("Background");
        if policy == "Orphan" && keep == Keep::Yes {
            self.orphan(live["metadata"]["uid"].as_str().unwrap_or_default());
        }
        let mut waits = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if policy == "Foreground" {
            let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            finalizers.push("foregroundDeletion".into());
            object["metadata"]["finalizers"] = finalizers.into();
            waits = true;
        }
        let is_pod = resource.gvk.kind == "Pod" && options["gracePeriodSeconds"] != 0;
        if !waits && !is_pod && resource.gvk.kind != "Namespace" {
            if keep == Keep::Yes {
                self.take(resource, namespace, name);
            }
            return Ok(None);
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            let grace = if is_pod {
                object["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30)
            } else {
                0
            };
            let end = self.now.plus(Duration::from_secs(grace)).to_string();
            object["metadata"]["deletionTimestamp"] = end.replace(".000Z", "Z").into();
            object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
            if resource.gvk.kind == "Namespace" {
                object["status"]["phase"] = "Terminating".into();
            }
        }
        Ok(Some(match keep {
            Keep::Yes if object != *live => self.put(resource, object),
            _ => object,
        }))
    }

    /// What an object owned belongs to nobody from now on.
    fn orphan(&mut self, uid: &str) {
        let owned: Vec<Arc<Json>> =
            self.objects.values().filter(|one| is_owned_by(one, uid)).cloned().collect();
        for object in owned {
            let Some(resource) = self.of_kind(object["kind"].as_str().unwrap_or_default()) else { continue };
            let mut object = (*object).clone();
            if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
                owners.retain(|owner| owner["uid"] != uid);
            }
            self.put(&resource, object);
        }
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

fn has_generation(kind: &str) -> bool {
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

fn has_status(kind: &str) -> bool {
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

fn is_same(one: &Json, other: &Json) -> bool {
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

pub fn modified(resource: &Resource, name: &str) -> Refusal {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    Refusal::conflict(&resource.name(), name, why)
}

fn check_name(resource: &Resource, name: &str) -> Done<()> {
    let is_right = !name.is_empty()
        && name.len() <= 253
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte));
    if is_right {
        return Ok(());
    }
    let why =
        "Invalid value: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters";
    Err(Refusal::invalid(&resource.gvk.kind, name, "metadata.name", why))
}

fn check_apply(resource: &Resource, namespace: &str, name: &str, document: &Json) -> Done<()> {
    let bad = |message: String| Err(Refusal::new(400, "BadRequest", message));
    if document["metadata"]["name"] != name {
        return bad("the name of the object does not match the name on the URL".to_owned());
    }
    let said = &document["metadata"]["namespace"];
    if resource.scope == Scope::Namespaced && !said.is_null() && said != namespace {
        return bad("the namespace of the object does not match the namespace on the URL".to_owned());
    }
    if document["kind"] != resource.gvk.kind.as_str() {
        return bad(format!("the kind of the object is not {}", resource.gvk.kind));
    }
    if !document["metadata"]["managedFields"].is_null() {
        return bad("metadata.managedFields must be nil".to_owned());
    }
    Ok(())
}

fn owned_by_others(conflicts: &[(String, String)], resource: &Resource) -> Refusal {
    let causes: Vec<Json> = conflicts
        .iter()
        .map(|(field, manager)| {
            let using = resource.gvk.api_version();
            json!({
                "reason": "FieldManagerConflict", "field": field,
                "message": format!("conflict with \"{manager}\" using {using}"),
            })
        })
        .collect();
    let message = match conflicts {
        [(field, manager)] => format!("Apply failed with 1 conflict: conflict with \"{manager}\": {field}"),
        many => format!("Apply failed with {} conflicts", many.len()),
    };
    Refusal { details: json!({ "causes": causes }), ..Refusal::new(409, "Conflict", message) }
}
