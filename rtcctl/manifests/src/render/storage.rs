//! Files that pods share, on EFS.

use serde_json::json;

use super::access::PLATFORM;
use super::draft::Draft;
use super::pod::USER;
use super::{Object, Wave};
use crate::Release;
use crate::description::{Files, Provisioning};

/// The claim of every target that sees them.
pub(super) const CLAIM: &str = "files";
const DRIVER: &str = "efs.csi.aws.com";

/// One of an environment, since these names are the cluster's.
fn class(release: &Release) -> String {
    format!("{}-{}-efs", release.description.namespace, release.description.environment)
}

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let Some(files) = &release.description.files else { return Vec::new() };
    let class = class(release);
    let mut objects = Vec::new();
    let storage = match files.provisioning {
        Provisioning::AccessPoint => {
            objects.push(storage_class(release, &class, files));
            json!({ "storageClassName": class })
        }
        Provisioning::Static => {
            objects.push(volume(release, &class, files));
            // Empty: no class is asked to make one.
            json!({ "storageClassName": "", "volumeName": class })
        }
    };
    let mut spec = json!({
        "accessModes": ["ReadWriteMany"],
        "resources": { "requests": { "storage": files.size } },
    });
    if let (Some(spec), Some(storage)) = (spec.as_object_mut(), storage.as_object()) {
        spec.extend(storage.clone());
    }
    let draft = Draft::new(release, Wave::Surroundings, "v1", "PersistentVolumeClaim", CLAIM, PLATFORM);
    objects.push(draft.spec(spec).done());
    objects
}

fn storage_class(release: &Release, class: &str, files: &Files) -> Object {
    Draft::of_cluster(release, Wave::Surroundings, "storage.k8s.io/v1", "StorageClass", class, PLATFORM)
        .with("provisioner", json!(DRIVER))
        .with(
            "parameters",
            json!({
                "provisioningMode": "efs-ap",
                "fileSystemId": files.file_system_id,
                "directoryPerms": "700",
                "uid": USER.to_string(),
                "gid": USER.to_string(),
                "basePath": format!("/{}", release.description.namespace),
            }),
        )
        .with("mountOptions", json!(["tls"]))
        .with("reclaimPolicy", json!("Retain"))
        .with("volumeBindingMode", json!("Immediate"))
        .done()
}

fn volume(release: &Release, class: &str, files: &Files) -> Object {
    let spec = json!({
        "capacity": { "storage": files.size },
        "volumeMode": "Filesystem",
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "mountOptions": ["tls"],
        "csi": { "driver": DRIVER, "volumeHandle": files.file_system_id },
        "claimRef": { "namespace": release.description.namespace, "name": CLAIM },
    });
    let kind = "PersistentVolume";
    Draft::of_cluster(release, Wave::Surroundings, "v1", kind, class, PLATFORM).spec(spec).done()
}
