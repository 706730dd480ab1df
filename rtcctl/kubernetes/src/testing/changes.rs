//! Changing what is there: apply, patches, whole objects, deletion.
//!
//! Invariants: what may not change is refused with its field; status is changed by nothing but its own path; a change
//! that is none gets no version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::fields::{self, Outcome};
use super::refusal::{Done, Refusal, modified};
use super::store::{Keep, Store, generation, has_generation, has_status, is_owned_by, is_same, patched};
use super::{defaults, schemas, valid};
use crate::kinds::{Resource, Scope};

impl Store {
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
            Outcome::Conflicts(conflicts) => return Err(owned_by_others(&conflicts, &live)),
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
                let why = format!("Invalid value: {}: field is immutable", object["spec"][field]);
                let field = format!("spec.{field}");
                return Err(Refusal::invalid(&resource.gvk, &name, &field, "FieldValueInvalid", &why));
            }
        }
        valid::check(resource, &object)?;
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
                let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
                let (wanted, known) = (text(wanted), text(known));
                let why = format!(
                    "the UID in the precondition ({wanted}) does not match the UID in record ({known}). The object might \
                     have been deleted and then recreated"
                );
                return Err(Refusal::conflict(&resource.gvk.kind, name, &why));
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
            // As `registry/rest/delete.go` does it: to go is something else that is wanted.
            if generation(&object) > 0 {
                object["metadata"]["generation"] = (generation(&object) + 1).into();
            }
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
}

fn check_apply(resource: &Resource, namespace: &str, name: &str, document: &Json) -> Done<()> {
    let bad = |message: String| Err(Refusal::new(400, "BadRequest", message));
    let named = document["metadata"]["name"].as_str().unwrap_or_default();
    if named != name {
        return bad(format!("the name of the object ({named}) does not match the name on the URL ({name})"));
    }
    let said = document["metadata"]["namespace"].as_str().unwrap_or_default();
    if resource.scope == Scope::Namespaced && !said.is_empty() && said != namespace {
        return bad(format!(
            "the namespace of the object ({said}) does not match the namespace on the request ({namespace})"
        ));
    }
    if document["kind"] != resource.gvk.kind.as_str() {
        return bad(format!("the kind of the object is not {}", resource.gvk.kind));
    }
    if !document["metadata"]["managedFields"].is_null() {
        return bad("metadata.managedFields must be nil".to_owned());
    }
    schemas::check(resource, namespace, document)
}

/// As `fieldmanager/internal/conflict.go` of the API server says it: who applies is named, who updates also with how and when.
fn owned_by_others(conflicts: &[(String, String)], live: &Json) -> Refusal {
    let owners = fields::managers(live);
    let owner = |field: &str, manager: &str| {
        let known = owners
            .iter()
            .find(|one| one.manager == manager && one.set.iter().any(|path| fields::dotted(path) == *field));
        match known {
            Some(one) if one.operation == "Update" => {
                let through = match one.subresource.as_str() {
                    "" => String::new(),
                    subresource => format!(" with subresource \"{subresource}\""),
                };
                let version = live["apiVersion"].as_str().unwrap_or_default();
                format!("\"{manager}\"{through} using {version} at {}", one.time)
            }
            _ => format!("\"{manager}\""),
        }
    };
    let causes: Vec<Json> = conflicts
        .iter()
        .map(|(field, manager)| {
            let message = format!("conflict with {}", owner(field, manager));
            json!({ "reason": "FieldManagerConflict", "message": message, "field": field })
        })
        .collect();
    let message = match conflicts {
        [(field, manager)] => {
            format!("Apply failed with 1 conflict: conflict with {}: {field}", owner(field, manager))
        }
        many => {
            let mut by_owner: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for (field, manager) in many {
                by_owner.entry(owner(field, manager)).or_default().push(field);
            }
            let lines = by_owner.iter().flat_map(|(owner, fields)| {
                let head = format!("conflicts with {owner}:");
                [head].into_iter().chain(fields.iter().map(|field| format!("- {field}")))
            });
            format!("Apply failed with {} conflicts: {}", many.len(), lines.collect::<Vec<_>>().join("\n"))
        }
    };
    Refusal { details: json!({ "causes": causes }), ..Refusal::new(409, "Conflict", message) }
}
