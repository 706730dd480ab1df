//! What the registry says about an image that a node cannot pull.

use oci::registry::{Access, Repository};
use oci::{Document, Error, Reference};
use rollout::evidence::masked_text;
use serde_json::Value;

use crate::commands::image::access;
use crate::context::Context;

/// Tags that are named when the one that is wanted is not there.
const TAGS: usize = 4;
/// A configuration of an image is a few kilobytes.
const CONFIG_BYTES: usize = 1024 * 1024;

/// Whether repository, tag or digest, and the node's platform are there; a line each.
pub async fn ask(image: &str, architecture: Option<&str>, context: &Context) -> Vec<String> {
    // As a runtime reads it: what has no host is of Docker's registry.
    let reference: Reference = match whole(image).parse() {
        Ok(reference) => reference,
        Err(error) => return vec![format!("the registry cannot be asked: {error}")],
    };
    let repository = match access::repository(&reference, Access::Pull, context) {
        Ok(repository) => repository,
        Err(error) => return vec![format!("the registry cannot be asked: {error}")],
    };
    let wanted = reference.wanted();
    let name = reference.name();
    match repository.get_manifest(&wanted).await {
        Ok(found) => {
            let digest = found.descriptor.digest;
            let mut seen = vec![format!("the registry has {name} {wanted} for us: {digest}")];
            match found.document() {
                Ok(document) => seen.extend(platforms(&repository, &document, architecture).await),
                Err(error) => {
                    seen.push(format!("what it has cannot be read: {}", masked_text(&error.to_string())))
                }
            }
            seen
        }
        Err(Error::NotFound { .. }) => {
            let mut seen = vec![format!("the registry has the repository {name}, and no {wanted} in it")];
            if let Ok(mut tags) = repository.tags().await {
                tags.retain(|tag| !tag.starts_with("sha256-"));
                let from = tags.len().saturating_sub(TAGS);
                if !tags.is_empty() {
                    seen.push(format!("it has {} tags, among them {}", tags.len(), tags[from..].join(", ")));
                }
            }
            seen
        }
        Err(Error::NameUnknown { .. }) => vec![format!("the registry has no repository {name}")],
        Err(Error::Denied { message, .. }) => {
            vec![format!("the registry does not let us look either: {}", masked_text(&message))]
        }
        Err(error) => vec![format!("the registry does not say: {}", masked_text(&error.to_string()))],
    }
}

fn whole(image: &str) -> String {
    let first = image.split('/').next().unwrap_or_default();
    let has_host = image.contains('/') && (first == "localhost" || first.contains(['.', ':']));
    match (has_host, image.contains('/')) {
        (true, _) => image.to_owned(),
        (false, true) => format!("docker.io/{image}"),
        (false, false) => format!("docker.io/library/{image}"),
    }
}

async fn platforms(repository: &Repository, document: &Document, architecture: Option<&str>) -> Vec<String> {
    let platforms: Vec<String> = match document {
        Document::Index(index) => index
            .manifests
            .iter()
            .filter_map(|one| one.platform.as_ref())
            .filter(|platform| platform.os != "unknown")
            .map(ToString::to_string)
            .collect(),
        Document::Manifest(manifest) => {
            let mut download = repository.get_blob(&manifest.config);
            let mut bytes = Vec::new();
            while let Ok(Some(part)) = download.next().await {
                bytes.extend_from_slice(&part);
                if bytes.len() > CONFIG_BYTES {
                    break;
                }
            }
            let config: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let part = |name: &str| config[name].as_str();
            part("os")
                .zip(part("architecture"))
                .map(|(os, machine)| format!("{os}/{machine}"))
                .into_iter()
                .collect()
        }
    };
    if platforms.is_empty() {
        return vec!["it does not say for which platform it is".to_owned()];
    }
    let there = platforms.join(", ");
    match architecture {
        Some(machine) if platforms.iter().any(|one| one.split('/').nth(1) == Some(machine)) => {
            vec![format!("it is for {there}, and the node is {machine}: that fits")]
        }
        Some(machine) => vec![format!("it is for {there}, and the node is {machine}: that does not fit")],
        None => vec![format!("it is for {there}; of which machine the node is is not known")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_host_is_of_the_registry_that_runtimes_mean() {
        assert_eq!(whole("nginx:1"), "docker.io/library/nginx:1");
        assert_eq!(whole("team/web"), "docker.io/team/web");
        assert_eq!(whole("localhost:5000/web"), "localhost:5000/web");
        assert_eq!(whole("example.com/web@sha256:00"), "example.com/web@sha256:00");
    }
}
