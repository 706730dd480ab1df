//! Where a target's secrets are, and which of them it sees: those that it needs, and no other.

use serde_json::{Value, json};

use super::draft::Draft;
use super::{Object, Wave};
use crate::Release;
use crate::description::{Secrets, Target};

/// Name of the Secret that a target reads.
pub(super) fn secret_of(release: &Release, name: &str) -> String {
    match &release.description.secrets {
        Secrets::External { .. } => format!("{name}-secrets"),
        Secrets::Existing { name: pattern, .. } => pattern.replace("{target}", name),
    }
}

/// The keys as files.
pub(super) fn items(release: &Release, name: &str, target: &Target) -> Vec<Value> {
    release.secrets(name, target).iter().map(|key| json!({ "key": key, "path": key })).collect()
}

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let targets = release.description.targets.iter();
    let mut objects: Vec<Object> =
        targets.filter_map(|(name, target)| external(release, name, target)).collect();
    objects.extend(external(release, "migrate", &release.migrating()));
    objects
}

fn external(release: &Release, name: &str, target: &Target) -> Option<Object> {
    let Secrets::External { store, store_kind, refresh_s, values } = &release.description.secrets else {
        return None;
    };
    let data: Vec<Value> = release
        .secrets(name, target)
        .iter()
        .filter_map(|secret| {
            let at = values.get(secret)?;
            let mut reference = json!({ "key": at.key });
            if let Some(property) = &at.property {
                reference["property"] = json!(property);
            }
            Some(json!({ "secretKey": secret, "remoteRef": reference }))
        })
        .collect();
    let full = secret_of(release, name);
    let spec = json!({
        "refreshInterval": format!("{refresh_s}s"),
        "secretStoreRef": { "kind": store_kind, "name": store },
        "target": { "name": full, "creationPolicy": "Owner", "deletionPolicy": "Retain" },
        "data": data,
    });
    let draft =
        Draft::new(release, Wave::Surroundings, "external-secrets.io/v1", "ExternalSecret", &full, name);
    Some(draft.spec(spec).done())
}
