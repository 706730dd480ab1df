//! Objects into a cluster: tried without keeping anything, applied wave by wave, and what is left over.
//!
//! Invariants:
//! - nothing of others is taken unless that was asked for, and who they are is known before anything is changed;
//! - a number of replicas that somebody else decides is never changed, also when it was ours until now;
//! - only what carries our labels is ever deleted, and never what keeps data.

use std::collections::BTreeSet;

use kubernetes::write::{Apply, Change, Force, MANAGER};
use kubernetes::{Conflict, Error, Gvk, Result};
use manifests::render::{ENVIRONMENT, OWNER};
use rollout::evidence::masked_text;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::diff;
use crate::manifest::{Id, Item, Manifest};
use crate::port::Port;

/// Keeps a number of replicas that was ours while somebody else takes it over.
const REPLICAS_MANAGER: &str = "rtcctl-replicas";

/// Kinds that a release may consist of: where to look for what is left over.
pub const KINDS: [(&str, &str); 28] = [
    ("v1", "Namespace"),
    ("v1", "PersistentVolume"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("external-secrets.io/v1", "ExternalSecret"),
    ("elbv2.k8s.aws/v1beta1", "TargetGroupBinding"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.k8s.aws/v1beta1", "LoadBalancerConfiguration"),
    ("gateway.k8s.aws/v1beta1", "TargetGroupConfiguration"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "VirtualService"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
];

/// Kinds that are never deleted by themselves: what they keep would be gone. A job is past, and ends by itself.
const KEPT: [&str; 5] = ["Namespace", "PersistentVolume", "PersistentVolumeClaim", "StorageClass", "Job"];

/// What an apply of one object would come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    pub id: Id,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum What {
    Created,
    /// The namespace that it belongs to is made by the same manifest, so the cluster could not be asked.
    CreatedLater,
    Changed {
        fields: Vec<diff::Change>,
    },
    Unchanged,
    /// Others own fields that would be changed.
    Owned {
        owners: Vec<Owner>,
    },
    Refused {
        reason: String,
        hint: String,
        #[serde(skip)]
        why: Refusal,
    },
}

/// What kind of no it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// We may not.
    Denied,
    /// Nobody may: it is not valid there, or a policy does not let it.
    Unwanted,
}

/// A field and who owns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub manager: String,
    pub field: String,
}

impl From<&Conflict> for Owner {
    fn from(conflict: &Conflict) -> Self {
        Self { manager: conflict.manager.clone(), field: conflict.field.clone() }
    }
}

impl Planned {
    pub fn is_change(&self) -> bool {
        matches!(self.what, What::Created | What::CreatedLater | What::Changed { .. })
    }
}

/// Tries every object without keeping anything. An error is one of the way there; what the cluster refuses is an answer.
pub async fn preview(port: &dyn Port, manifest: &Manifest, force: Force) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    let mut coming: BTreeSet<String> = BTreeSet::new();
    for item in &manifest.items {
        let id = item.id();
        let what = match port.apply(&item.body, &Apply { force, ..Apply::dry_run() }).await {
            Ok(applied) => match (&applied.before, applied.change) {
                (None, _) => What::Created,
                (Some(_), Change::Unchanged) => What::Unchanged,
                (Some(before), _) => {
                    let mut fields = diff::changes(before, &applied.object);
                    if replicas_to_hand_over(&item.body, before).is_some() {
                        fields.retain(|change| change.field != ".spec.replicas");
                    }
                    if fields.is_empty() { What::Unchanged } else { What::Changed { fields } }
                }
            },
            Err(Error::NotFound { .. }) if coming.contains(&id.namespace) => What::CreatedLater,
            Err(Error::Owned { fields, .. }) => {
                What::Owned { owners: fields.iter().map(Owner::from).collect() }
            }
            Err(error) if is_refusal(&error) => {
                let why = match error {
                    Error::Forbidden { .. } => Refusal::Denied,
                    _ => Refusal::Unwanted,
                };
                What::Refused { reason: said(&error), hint: error.hint(), why }
            }
            Err(error) => return Err(error),
        };
        if id.kind == "Namespace" && what == What::Created {
            coming.insert(id.name.clone());
        }
        // What runs already is not run again, whatever its form.
        let is_job = id.kind == "Job";
        let what = match what {
            What::Refused { .. } | What::Changed { .. }
                if is_job && port.get(&id.gvk(), &id.namespace, &id.name).await?.is_some() =>
            {
                What::Unchanged
            }
            what => what,
        };
        planned.push(Planned { id, what });
    }
    Ok(planned)
}

/// Whether the cluster said no to the object, and not something on the way to it.
pub fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::Invalid { .. }
            | Error::Admission { .. }
            | Error::Quota { .. }
            | Error::UnknownKind { .. }
            | Error::Forbidden { .. }
            | Error::Refused { .. }
            | Error::NotFound { .. }
            | Error::Owned { .. }
            | Error::Unsendable(_)
    )
}

/// What the API said, as it may be kept and shown: whoever refuses something may repeat what is in it.
pub fn said(error: &Error) -> String {
    masked_text(&error.to_string())
}

/// Makes one object be as described.
pub async fn one(port: &dyn Port, item: &Item, force: Force) -> Result<kubernetes::write::Applied> {
    let id = item.id();
    // An object without a number of its own may have had one of ours: leaving it out would make it 1.
    if id.kind == "Deployment"
        && item.body["spec"]["replicas"].is_null()
        && let Some(before) = port.get(&id.gvk(), &id.namespace, &id.name).await?
        && let Some(replicas) = replicas_to_hand_over(&item.body, &before)
    {
        self::replicas(port, &id.namespace, &id.name, replicas).await?;
    }
    port.apply(&item.body, &Apply { force, ..Apply::default() }).await
}

/// Says how many pods a Deployment has whose manifest does not.
pub async fn replicas(
    port: &dyn Port,
    namespace: &str,
    name: &str,
    replicas: u64,
) -> Result<kubernetes::write::Applied> {
    let number = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "replicas": replicas },
    });
    let how = Apply { manager: REPLICAS_MANAGER.to_owned(), force: Force::Take, ..Apply::default() };
    port.apply(&number, &how).await
}

/// The number of replicas that we own and do not say any more.
fn replicas_to_hand_over(body: &Json, before: &Json) -> Option<u64> {
    if body["kind"] != "Deployment" || !body["spec"]["replicas"].is_null() {
        return None;
    }
    let owners = |manager: &Json| manager["fieldsV1"]["f:spec"].get("f:replicas").is_some();
    let managers = before["metadata"]["managedFields"].as_array()?;
    let is_ours = managers
        .iter()
        .any(|manager| manager["manager"] == MANAGER && manager["operation"] == "Apply" && owners(manager));
    let is_others = managers.iter().any(|manager| manager["manager"] != MANAGER && owners(manager));
    (is_ours && !is_others).then(|| before["spec"]["replicas"].as_u64()).flatten()
}

/// Something with our labels that the manifest does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    pub id: Id,
    pub uid: String,
    /// Never deleted by itself.
    pub is_kept: bool,
}

/// Everything of an environment that is not in the manifest, in the namespaces of the manifest and outside of all. Kinds that the cluster does not have, or that we may not
/// list, are passed by and named.
pub async fn leftovers(
    port: &dyn Port,
    manifest: &Manifest,
    environment: &str,
) -> Result<(Vec<Leftover>, Vec<String>)> {
    let labels = format!("{}={},{ENVIRONMENT}={environment}", OWNER.0, OWNER.1);
    let mut kinds: BTreeSet<Gvk> =
        KINDS.iter().map(|(api_version, kind)| Gvk::named(api_version, kind)).collect();
    kinds.extend(manifest.ids().map(|id| id.gvk()));
    let ours: BTreeSet<String> = manifest.ids().map(|id| id.namespace).collect();
    let (mut found, mut unseen) = (Vec::new(), Vec::new());
    for gvk in kinds {
        let items = match port.list(&gvk, "", &labels).await {
            Ok(items) => items,
            Err(Error::NotFound { .. } | Error::UnknownKind { .. }) => continue,
            Err(Error::Forbidden { .. }) => {
                unseen.push(gvk.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        for item in items {
            let id = Id::of(&item);
            let is_going = !item["metadata"]["deletionTimestamp"].is_null();
            let is_owned =
                item["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
            let is_elsewhere = !id.namespace.is_empty() && !ours.contains(&id.namespace);
            if is_going || is_owned || is_elsewhere || manifest.has(&id) {
                continue;
            }
            let uid = item["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let is_kept = KEPT.contains(&id.kind.as_str());
            found.push(Leftover { id, uid, is_kept });
        }
    }
    Ok((found, unseen))
}

/// Whether an object has the labels of an environment that we deployed.
pub fn is_ours(object: &Json, environment: &str) -> bool {
    let labels = &object["metadata"]["labels"];
    labels[OWNER.0] == OWNER.1 && labels[ENVIRONMENT] == environment
}

/// Whether what was added may be taken away again.
pub fn may_go(id: &Id) -> bool {
    !KEPT.contains(&id.kind.as_str())
}
