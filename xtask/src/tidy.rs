//! Rules of the house that no lint knows: who may see whom, how files are named, what must not be in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{Outcome, command, output, root};

/// The layers of ARCHITECTURE.md, the lowest first. A crate may use those of lower layers, and in its own layer only
/// those that the table of allowed neighbours names.
const LAYERS: [(&str, &[&str]); 10] = [
    ("words", &["rtc-kernel", "rtc-metrics", "rtc-trace"]),
    ("messages", &["rtc-contracts"]),
    ("ports", &["rtc-db", "rtc-cache", "rtc-objects"]),
    ("bus", &["rtc-bus"]),
    ("adapters", &["rtc-db-mysql", "rtc-bus-kafka", "rtc-cache-redis", "rtc-objects-s3"]),
    ("delivery", &["rtc-messaging"]),
    ("edges", &["rtc-web"]),
    ("hosting", &["rtc-host"]),
    (
        "services",
        &[
            "rtc-users",
            "rtc-catalog",
            "rtc-inventory",
            "rtc-orders",
            "rtc-payments",
            "rtc-notifications",
            "rtc-analytics",
            "rtc-gateway",
        ],
    ),
    ("binaries", &["rtcd"]),
];

/// The operator's binary speaks to services over HTTP only; of the house it knows the words, and its own parts.
const RTCCTL_MAY_USE: [&str; 19] = [
    "rtc-kernel",
    "rtc-metrics",
    "rtc-terraform",
    "rtc-rollout",
    "rtc-journal",
    "rtc-aws",
    "rtc-ecr",
    "rtc-oci",
    "rtc-image",
    "rtc-jenkins",
    "rtc-manifests",
    "rtc-deploy",
    "rtc-eks",
    "rtc-kubernetes",
    "rtc-ship",
    "rtc-notices",
    "rtc-codes",
    "rtc-settings",
    "rtc-sales",
];
/// Its parts, and what each of them may see of the house.
const RTCCTL_PARTS: [(&str, &[&str]); 18] = [
    ("rtc-masking", &[]),
    ("rtc-journal", &["rtc-kernel"]),
    ("rtc-terraform", &[]),
    ("rtc-rollout", &["rtc-kernel", "rtc-masking"]),
    ("rtc-aws", &[]),
    ("rtc-ecr", &["rtc-kernel", "rtc-aws"]),
    ("rtc-oci", &["rtc-kernel"]),
    ("rtc-image", &["rtc-kernel", "rtc-oci"]),
    ("rtc-jenkins", &["rtc-masking"]),
    ("rtc-manifests", &[]),
    ("rtc-deploy", &["rtc-kernel", "rtc-journal", "rtc-manifests", "rtc-rollout", "rtc-kubernetes"]),
    ("rtc-eks", &["rtc-kernel", "rtc-aws"]),
    ("rtc-kubernetes", &["rtc-kernel", "rtc-rollout"]),
    ("rtc-ship", &["rtc-kernel"]),
    ("rtc-notices", &["rtc-masking"]),
    ("rtc-codes", &["rtc-kernel", "rtc-manifests", "rtc-rollout"]),
    ("rtc-settings", &["rtc-codes", "rtc-jenkins", "rtc-manifests", "rtc-masking", "rtc-notices", "rtc-oci"]),
    ("rtc-sales", &["rtc-kernel", "rtc-codes"]),
];
/// Those parts whose parsers are fuzzed; all of rtcctl would be compiled a second time, AWS and Kubernetes with it.
const FUZZ_MAY_USE: [&str; 2] = ["rtc-sales", "rtc-settings"];
/// This program generates dashboards and rules from the catalogue, and the chart from the manifests.
const XTASK_MAY_USE: [&str; 2] = ["rtc-metrics", "rtc-manifests"];

const FORBIDDEN_NAMES: [&str; 6] = ["common", "core", "shared", "util", "helper", "manager"];
const FILE_LINES_MAX: usize = 700;

pub fn run() -> Outcome {
    let mut findings = Vec::new();
    edges(&mut findings)?;
    for file in rust_files(&root()) {
        file_rules(&file, &mut findings);
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!("{} findings\n  {}", findings.len(), findings.join("\n  ")))
}

fn layer(package: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, packages)| packages.contains(&package))
}

/// Normal dependencies between the workspace's packages.
fn edges(findings: &mut Vec<String>) -> Outcome {
    let text = output(command("cargo", &["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        let entry = uses.entry(name).or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["kind"].is_null() && dependency["path"].is_string() {
                entry.insert(dependency["name"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
    for (package, used) in &uses {
        for dependency in used {
            let allowed = match (package.as_str(), layer(package), layer(dependency)) {
                ("rtcctl", ..) => RTCCTL_MAY_USE.contains(&dependency.as_str()),
                ("xtask", ..) => XTASK_MAY_USE.contains(&dependency.as_str()),
                ("rtc-testkit" | "rtc-suites" | "rtc-conformance", _, to) => to.is_some(),
                ("rtc-fuzz", _, to) => to.is_some() || FUZZ_MAY_USE.contains(&dependency.as_str()),
                (_, Some(from), Some(to)) => to < from,
                (part, ..) => RTCCTL_PARTS
                    .iter()
                    .any(|(name, sees)| *name == part && sees.contains(&dependency.as_str())),
            };
            if !allowed {
                findings.push(format!(
                    "{package} may not use {dependency} (ARCHITECTURE.md, crates and who may see whom)"
                ));
            }
        }
    }
    Ok(())
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != "data" && !name.starts_with('.') {
                found.extend(rust_files(&path));
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn file_rules(file: &Path, findings: &mut Vec<String>) {
    let shown = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    let Ok(text) = std::fs::read_to_string(file) else {
        findings.push(format!("{shown}: cannot be read"));
        return;
    };
    let parts = shown.split(['/', '.']);
    for part in parts {
        if FORBIDDEN_NAMES.iter().any(|name| part == *name || part == format!("{name}s")) {
            findings.push(format!("{shown}: nothing is called {part} here: name what it does"));
        }
    }
    if !text.starts_with("//!") {
        findings.push(format!("{shown}: begins without //! saying what it is"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(format!("{shown}: {lines} lines: two things live in it"));
    }
    // Spelled in parts, so that this file does not find itself.
    let banned = [
        (concat!("#[", "ignore"), "a test that does not run shows nothing"),
        (concat!("#[", "should_panic"), "assert on an error instead"),
        (concat!("thread::", "sleep("), "wait for a state, not for a time"),
    ];
    for (needle, why) in banned {
        for (index, _) in text.match_indices(needle) {
            let line = text[..index].lines().count();
            findings.push(format!("{shown}:{line}: {needle}: {why}"));
        }
    }
}
