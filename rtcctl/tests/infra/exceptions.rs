//! What moto cannot hold is a list (`terraform/tests/moto/exceptions.json`), and nothing else is changed for it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::environments::prepared;
use crate::ground::Ground;

/// A module and a resource in it: `eks`, `aws_eks_addon.before_nodes`.
type Place = (String, String);

fn terraform() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform")
}

/// The exceptions, with the file each is made in.
fn listed() -> Vec<(String, String, Place)> {
    let text = std::fs::read_to_string(terraform().join("tests/moto/exceptions.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut all = Vec::new();
    for exception in document["exceptions"].as_array().unwrap() {
        let word =
            |name: &str| exception[name].as_str().unwrap_or_else(|| panic!("{name}: {exception}")).to_owned();
        assert!(!word("moto").is_empty(), "each says what moto lacks");
        let file = word("file");
        let module = file.trim_end_matches("/moto_override.tf").rsplit('/').next().unwrap().to_owned();
        for resource in exception["resources"].as_array().unwrap() {
            let place = (module.clone(), resource.as_str().unwrap().to_owned());
            all.push((file.clone(), word("how"), place));
        }
    }
    all
}

#[test]
fn every_resource_that_an_override_names_is_listed_and_no_other() {
    let folder = terraform().join("tests/moto/overrides");
    let mut overridden = BTreeSet::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let file = entry.path().strip_prefix(&folder).unwrap().display().to_string();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            for line in text.lines().filter_map(|line| line.strip_prefix("resource \"")) {
                let words: Vec<&str> = line.split('"').collect();
                overridden.insert((file.clone(), format!("{}.{}", words[0], words[2])));
            }
        }
    }
    let listed: BTreeSet<_> = listed().into_iter().map(|(file, _, (_, resource))| (file, resource)).collect();
    assert_eq!(overridden, listed);
}

/// `module.platform.module.eks.aws_eks_addon.x["a"]` as its module and its resource.
fn place(address: &str) -> Place {
    let at = address.find(".aws_").unwrap_or_else(|| panic!("{address} is in no module"));
    let module = address[..at].rsplit('.').next().unwrap().to_owned();
    let resource = address[at + 1..].split('[').next().unwrap().to_owned();
    (module, resource)
}

/// Whether moto answers something else at every look at this resource.
pub fn is_ignored(address: &str) -> bool {
    listed().iter().any(|(_, how, listed)| how == "ignored" && *listed == place(address))
}

#[test]
fn exactly_what_is_listed_as_absent_is_missing_from_the_plans() {
    let mut missing = BTreeSet::new();
    for env in ["dev", "prod"] {
        // Without keys: that a node which is not there has no alarm either is no exception of its own.
        let planned = |ground: &Ground| -> BTreeSet<Place> {
            let plan = ground.infra(env, &["plan"]).ended_with(0).data();
            let changes = plan["changes"].as_array().unwrap().iter();
            changes.map(|change| place(change["address"].as_str().unwrap())).collect()
        };
        let ground = prepared(env);
        let on_moto = planned(&ground);
        let on_aws = planned(&ground.without_overrides());
        assert_eq!(on_moto.difference(&on_aws).next(), None, "{env}");
        missing.extend(on_aws.difference(&on_moto).cloned());
    }
    let absent =
        listed().into_iter().filter(|(file, how, _)| how == "absent" && !file.starts_with("bootstrap"));
    assert_eq!(missing, absent.map(|(_, _, place)| place).collect());
}
