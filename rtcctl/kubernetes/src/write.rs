//! Changing: server-side apply, patches, deletion, scale, eviction.
//!
//! Invariants: what is applied names its manager and is validated strictly; nothing of others is taken unless that was
//! asked for; what is deleted is the object that was meant, where its uid is given.

use std::time::Duration;

use http::Method;
use rollout::objects::Uid;
use serde_json::{Value as Json, json};

use crate::cluster::{Call, Cluster, Repeat};
use crate::error::Subject;
use crate::kinds::Gvk;
use crate::read::subject;
use crate::{Error, Result};

/// Who writes, as the API keeps it beside each field.
pub const MANAGER: &str = "rtcctl";

/// Whether something is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Effect {
    #[default]
    Real,
    /// Everything happens but the keeping: validation, admission, conflicts.
    DryRun,
}

/// What becomes of fields that others own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Force {
    /// They stay theirs; wanting another value is an error that names them.
    #[default]
    Never,
    /// They become ours.
    Take,
}

/// How to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    pub manager: String,
    pub force: Force,
    pub effect: Effect,
}

impl Default for Apply {
    fn default() -> Self {
        Self { manager: MANAGER.to_owned(), force: Force::Never, effect: Effect::Real }
    }
}

impl Apply {
    pub fn dry_run() -> Self {
        Self { effect: Effect::DryRun, ..Self::default() }
    }

    pub fn forced(self) -> Self {
        Self { force: Force::Take, ..self }
    }
}

/// What an apply came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// As it is now, or would be.
    pub object: Json,
    /// As it was, unless it is new.
    pub before: Option<Json>,
    pub change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Created,
    Changed,
    Unchanged,
}

impl Applied {
    pub fn is_changed(&self) -> bool {
        self.change != Change::Unchanged
    }
}

/// What becomes of what an object owns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owned {
    /// Deleted after it.
    #[default]
    Background,
    /// Deleted before it.
    Foreground,
    /// Left.
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delete {
    /// The object that is meant: another of the same name is left alone.
    pub uid: Option<Uid>,
    pub owned: Owned,
    pub effect: Effect,
}

/// What a deletion came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Deleted {
    Gone,
    /// Its end has begun: finalizers or pods are waited for.
    UnderWay(Json),
    NotThere,
}

/// What an eviction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evicted {
    Accepted,
    /// A disruption budget does not let it go now.
    Withheld {
        message: String,
        retry_after: Option<Duration>,
    },
    NotThere,
}

impl Cluster {
    /// Makes an object be as described, by the server: fields that are left out since last time are removed, fields of
    /// others stay.
    pub async fn apply(&self, object: &Json, how: &Apply) -> Result<Applied> {
        let (gvk, namespace, name) = named(object)?;
        let before = self.get(&gvk, &namespace, &name).await?;
        let resource = self.resource(&gvk).await?;
        let subject = subject("patch", &resource, &namespace, &name);
        let mut call =
            Call::sending(subject, Method::PATCH, resource.path(&namespace, &name), object, Repeat::Safe);
        // A document of JSON is one of YAML.
        call.content_type = "application/apply-patch+yaml";
        call.query.push(("fieldManager", how.manager.clone()));
        call.query.push(("fieldValidation", "Strict".to_owned()));
        if how.force == Force::Take {
            call.query.push(("force", "true".to_owned()));
        }
        call.query.extend(dry_run(how.effect));
        let after = self.json(call).await?;
        let change = match &before {
            None => Change::Created,
            Some(before) if is_same(before, &after) => Change::Unchanged,
            Some(_) => Change::Changed,
        };
        Ok(Applied { object: after, before, change })
    }

    /// Makes an object that is not there yet. Its name may be left to the server (`generateName`).
    pub async fn create(&self, object: &Json, effect: Effect) -> Result<Json> {
        let gvk = Gvk::of(object).ok_or_else(|| Error::Unsendable("it does not say its kind".to_owned()))?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let resource = self.resource(&gvk).await?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let subject = subject("create", &resource, namespace, name);
        let path = resource.collection(namespace);
        let mut call = Call::sending(subject, Method::POST, path, object, Repeat::Never);
        call.query.push(("fieldManager", MANAGER.to_owned()));
        call.query.push(("fieldValidation", "Strict".to_owned()));
        call.query.extend(dry_run(effect));
        self.json(call).await
    }

    /// Changes the fields of a patch and no others; null removes one.
    pub async fn merge_patch(
        &self,
        gvk: &Gvk,
        namespace: &str,
        name: &str,
        patch: &Json,
        effect: Effect,
    ) -> Result<Json> {
        let resource = self.resource(gvk).await?;
        let subject = subject("patch", &resource, namespace, name);
        self.patch(subject, resource.path(namespace, name), patch, effect).await
    }

    async fn patch(&self, subject: Subject, path: String, patch: &Json, effect: Effect) -> Result<Json> {
        let mut call = Call::sending(subject, Method::PATCH, path, patch, Repeat::Safe);
        call.content_type = "application/merge-patch+json";
        call.query.push(("fieldManager", MANAGER.to_owned()));
        call.query.extend(dry_run(effect));
        self.json(call).await
    }

    /// Deletes an object.
    pub async fn delete(&self, gvk: &Gvk, namespace: &str, name: &str, how: &Delete) -> Result<Deleted> {
        let resource = self.resource(gvk).await?;
        let subject = subject("delete", &resource, namespace, name);
        let owned = match how.owned {
            Owned::Background => "Background",
            Owned::Foreground => "Foreground",
            Owned::Orphan => "Orphan",
        };
        let mut options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": owned });
        if let Some(uid) = &how.uid {
            options["preconditions"] = json!({ "uid": uid });
        }
        if how.effect == Effect::DryRun {
            options["dryRun"] = json!(["All"]);
        }
        let path = resource.path(namespace, name);
        match self.json(Call::sending(subject, Method::DELETE, path, &options, Repeat::Safe)).await {
            Ok(answer) if answer["kind"] == "Status" => Ok(Deleted::Gone),
            Ok(answer) if answer["metadata"]["deletionTimestamp"].is_null() => Ok(Deleted::Gone),
            Ok(answer) => Ok(Deleted::UnderWay(answer)),
            Err(Error::NotFound { .. }) => Ok(Deleted::NotThere),
            Err(error) => Err(error),
        }
    }

    /// How many are wanted of a Deployment, StatefulSet or ReplicaSet.
    pub async fn replicas(&self, gvk: &Gvk, namespace: &str, name: &str) -> Result<u32> {
        let resource = self.resource(gvk).await?;
        let mut subject = subject("get", &resource, namespace, name);
        subject.resource = format!("{}/scale", subject.resource);
        let path = format!("{}/scale", resource.path(namespace, name));
        Ok(wanted(&self.json(Call::get(subject, path)).await?))
    }

    /// Wants another number; gives the one that is wanted now.
    pub async fn scale(
        &self,
        gvk: &Gvk,
        namespace: &str,
        name: &str,
        replicas: u32,
        effect: Effect,
    ) -> Result<u32> {
        let resource = self.resource(gvk).await?;
        let mut subject = subject("patch", &resource, namespace, name);
        subject.resource = format!("{}/scale", subject.resource);
        let path = format!("{}/scale", resource.path(namespace, name));
        Ok(wanted(&self.patch(subject, path, &json!({ "spec": { "replicas": replicas } }), effect).await?))
    }

    /// Asks a pod to go, as far as disruption budgets allow it.
    pub async fn evict(&self, namespace: &str, pod: &str, uid: Option<&Uid>) -> Result<Evicted> {
        let resource = self.resource(&Gvk::named("v1", "Pod")).await?;
        let mut subject = subject("create", &resource, namespace, pod);
        subject.resource = "pods/eviction".to_owned();
        let mut eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": pod, "namespace": namespace },
        });
        if let Some(uid) = uid {
            eviction["deleteOptions"] = json!({ "preconditions": { "uid": uid } });
        }
        let path = format!("{}/eviction", resource.path(namespace, pod));
        match self.json(Call::sending(subject, Method::POST, path, &eviction, Repeat::Never)).await {
            Ok(_) => Ok(Evicted::Accepted),
            Err(Error::NotFound { .. }) => Ok(Evicted::NotThere),
            Err(Error::TooMany { message, retry_after, .. }) => {
                Ok(Evicted::Withheld { message, retry_after })
            }
            Err(error) => Err(error),
        }
    }
}

fn wanted(scale: &Json) -> u32 {
    scale["spec"]["replicas"].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

fn dry_run(effect: Effect) -> Option<(&'static str, String)> {
    (effect == Effect::DryRun).then(|| ("dryRun", "All".to_owned()))
}

/// Kind, namespace and name of a document.
fn named(object: &Json) -> Result<(Gvk, String, String)> {
    let gvk = Gvk::of(object).ok_or_else(|| Error::Unsendable("it does not say its kind".to_owned()))?;
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::Unsendable(format!("a {} without a name", gvk.kind)))?;
    Ok((gvk, metadata["namespace"].as_str().unwrap_or_default().to_owned(), name.to_owned()))
}

/// Whether nothing differs but what the server counts.
fn is_same(before: &Json, after: &Json) -> bool {
    let plain = |object: &Json| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for field in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(field);
            }
        }
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
        object
    };
    plain(before) == plain(after)
}
