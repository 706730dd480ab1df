//! `cargo xtask test manifests`: what the manifests come to, against the schemas of Kubernetes, checkov and Helm; and the
//! chart under pipelines/helm, which is generated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use manifests::{Description, Release, chart, examples, lint, render, yaml};
use serde_json::{Value, json};

use crate::codegen::{Mode, binaries};
use crate::engines::script;
use crate::platform::Profile;
use crate::run::{Outcome, Parts, check, command, output, root};

const CHART: &str = "pipelines/helm/rtc";
/// What checkov looks at: the two environments, since the other shapes are made of the same parts.
const LOOKED_AT: [&str; 2] = ["dev", "prod"];

/// Writes the chart, or compares it.
pub fn chart(mode: Mode) -> Outcome {
    let description = examples::charted().map_err(|error| error.to_string())?;
    let files = chart::files(&description).map_err(faults)?;
    let folder = root().join(CHART);
    if mode == Mode::Write {
        let _ = std::fs::remove_dir_all(&folder);
        return write_all(&folder, &files);
    }
    let stale: Vec<&str> = files
        .iter()
        .filter(|(name, text)| std::fs::read_to_string(folder.join(name)).ok().as_ref() != Some(text))
        .map(|(name, _)| name.as_str())
        .collect();
    match stale.as_slice() {
        [] => Ok(()),
        names => Err(format!("{CHART}: {} out of date: cargo xtask codegen", names.join(", "))),
    }
}

pub fn run() -> Outcome {
    Parts::told(all)
}

pub fn all(parts: &mut Parts) -> Outcome {
    let folder = root().join("target/manifests");
    parts.part("manifests: install", || check(script(&["install", "manifests", "checkov"])))?;
    parts.part("manifests: render", || render_all(&folder))?;
    parts.part("manifests: chart is up to date", || chart(Mode::Check))?;
    parts.part("manifests: rtcd reads the settings", || settings(&folder.join("settings")))?;
    parts.part("manifests: schemas and chart", || {
        let python = root().join("target/engines/manifests/bin/python").display().to_string();
        let mut judge = command(&python, &["scripts/manifests"]);
        judge.arg(&folder);
        check(judge)
    })?;
    parts.part("manifests: checkov", || {
        // By module: a script of a Python environment names where that was made, which a copied checkout is not.
        let python = root().join("target/engines/checkov/bin/python").display().to_string();
        let config = "scripts/checkov-manifests.yaml";
        let mut checkov = command(&python, &["-m", "checkov.main", "--config-file", config]);
        checkov.arg("--directory").arg(folder.join("checkov"));
        check(checkov)
    })
}

/// Every settings file that is rendered, as rtcd itself reads it.
fn settings(folder: &Path) -> Outcome {
    // Both programs, as they are built anyway: rtcd alone is built with other features of what it stands on, and those once more.
    Profile::Dev.build()?;
    let rtcd = binaries().join("rtcd").display().to_string();
    let files = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    for file in files.flatten() {
        let mut read = command(&rtcd, &["config", "--config"]);
        read.arg(file.path());
        output(read)?;
    }
    Ok(())
}

fn faults(faults: Vec<manifests::Fault>) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn bodies(description: &Description) -> Result<Vec<Value>, String> {
    let release = Release::of(description.clone()).map_err(faults)?;
    Ok(render(&release).into_iter().map(|object| object.body).collect())
}

/// Every shape as YAML and as JSON, its chart, and what the chart has to give for which values.
fn render_all(folder: &Path) -> Outcome {
    let _ = std::fs::remove_dir_all(folder);
    for (name, description) in examples::every().map_err(|error| error.to_string())? {
        let objects = bodies(&description)?;
        let findings = lint::check(&objects);
        if !findings.is_empty() {
            return Err(format!("{name}: {findings:#?}"));
        }
        let maps = objects.iter().filter(|object| object["data"]["rtcd.toml"].is_string());
        let maps = maps.filter_map(|map| {
            let file = format!("{name}-{}.toml", map["metadata"]["name"].as_str()?);
            Some((file, map["data"]["rtcd.toml"].as_str()?.to_owned()))
        });
        write_all(&folder.join("settings"), &maps.collect())?;
        let mut files = BTreeMap::new();
        files.insert("objects.yaml".to_owned(), yaml::write_all(&objects));
        for (path, text) in chart::files(&description).map_err(faults)? {
            files.insert(format!("chart/{path}"), text);
        }
        let mut variants = Vec::new();
        for variant in [description.clone(), examples::altered(description)] {
            variants.push(json!({ "values": chart::values(&variant), "objects": bodies(&variant)? }));
        }
        files.insert("variants.json".to_owned(), Value::from(variants).to_string());
        write_all(&folder.join("shapes").join(name), &files)?;
        if LOOKED_AT.contains(&name) {
            let text = yaml::write_all(&objects);
            write_all(&folder.join("checkov"), &BTreeMap::from([(format!("{name}.yaml"), text)]))?;
        }
    }
    Ok(())
}

fn write_all(folder: &Path, files: &BTreeMap<String, String>) -> Outcome {
    for (name, text) in files {
        let path: PathBuf = folder.join(name);
        let parent = path.parent().map(PathBuf::from).unwrap_or_default();
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
