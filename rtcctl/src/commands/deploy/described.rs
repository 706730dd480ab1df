//! The release that is meant: `rtc.toml`, what Terraform knows, and an image by its digest.
//!
//! Invariant: with `--outputs FILE` and an image by digest no network is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::deploy::describe::{self, Problem, Sources};
use ::deploy::manifest::Manifest;
use codes::{Error, Result};
use manifests::Release;
use manifests::description::Image;
use manifests::lint::{self, Severity};
use oci::registry::Access;
use serde_json::Value;
use settings::nearest;

use crate::commands::image::{access, failed, subject};
use crate::commands::infra::outputs;
use crate::context::Context;

/// Where rules of Prometheus are, beside `rtc.toml`.
const RULES: &str = "dashboards/prometheus";
const RULES_END: &str = ".rules.yml";

#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// The image: REPOSITORY@sha256:DIGEST, or a tag that the registry turns into one
    #[arg(long, value_name = "REF")]
    pub image: Option<String>,
    /// A file with the outputs of the infrastructure; without it Terraform is asked
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub outputs: Option<PathBuf>,
    /// What people call the release, instead of what rtc.toml says
    #[arg(long, value_name = "TEXT")]
    pub version_label: Option<String>,
}

/// Whether an image has to be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    Needed,
    /// What is looked at does not depend on which one it is.
    Indifferent,
}

/// The release of the environment.
pub async fn release(args: &Args, naming: Naming, context: &Context) -> Result<Release> {
    let config = &context.config;
    let (base, over) = (config.deploy.as_ref(), config.deploy_in.get(config.env()));
    let Some(entry) = over.or(base) else { return Err(not_described(context)) };
    let outputs = outputs_of(args, context).await?;
    let image = match (&args.image, naming) {
        (Some(text), _) => pinned(text, context).await?.to_string(),
        (None, Naming::Indifferent) => format!("registry.invalid/rtcd@sha256:{}", "0".repeat(64)),
        (None, Naming::Needed) => {
            let message = format!("no image was named for {}", config.env());
            return Err(Error::new(&codes::DEP004, message).with_hint(codes::DEP004.action));
        }
    };
    let rules = rules(&entry.folder)?;
    let services: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
    let sources = Sources {
        environment: config.env(),
        base: base.map(|entry| &entry.table),
        over: over.map(|entry| &entry.table),
        outputs: outputs.as_ref(),
        image: &image,
        rules: &rules,
        services: &services,
    };
    let release = describe::release(&sources).map_err(|problem| told(problem, &entry.place, context))?;
    let namespace = config.text("namespace").filter(|name| *name != release.description.namespace);
    if namespace.is_none() && args.version_label.is_none() {
        return Ok(release);
    }
    let mut description = release.description;
    if let Some(namespace) = namespace {
        namespace.clone_into(&mut description.namespace);
    }
    if let Some(version) = &args.version_label {
        description.version = Some(version.clone());
    }
    Release::of(description).map_err(|faults| told(Problem::Faults(faults), &entry.place, context))
}

/// The same with its objects; what would lose requests is not let through.
pub async fn guarded(args: &Args, context: &Context) -> Result<(Release, Manifest)> {
    let release = release(args, Naming::Needed, context).await?;
    let manifest = Manifest::of(&release);
    let bodies: Vec<Value> = manifest.items.iter().map(|item| item.body.clone()).collect();
    let findings = lint::check(&bodies);
    let grave: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    if grave.is_empty() {
        return Ok((release, manifest));
    }
    let mut error = Error::new(&codes::DEP009, format!("{} findings would lose requests", grave.len()));
    for finding in grave {
        error = error.with_cause(format!("{} {}: {}", finding.id, finding.object, finding.message));
    }
    Err(error.with_hint(codes::DEP009.action))
}

async fn outputs_of(args: &Args, context: &Context) -> Result<Option<Value>> {
    let Some(file) = &args.outputs else {
        if context.config.path_of("terraform").is_none() {
            return Ok(None);
        }
        return outputs::rtc(context).await.map_err(|error| {
            error.with_hint("--outputs FILE reads them from a file: rtcctl infra outputs -o json > FILE")
        });
    };
    let path = context.current_dir.join(file);
    let wrong = |message: String| Error::new(&codes::DEP003, message).with_hint(codes::DEP003.action);
    let text = std::fs::read(&path)
        .map_err(|error| wrong(format!("cannot read {}", path.display())).with_source(&error))?;
    let document: Value = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("{} is not JSON", path.display())).with_source(&error))?;
    match describe::rtc_output(&document) {
        Some(found) => Ok(Some(found.clone())),
        None => Err(wrong(format!("{} has no output rtc", path.display()))),
    }
}

/// An image by its digest; a registry is asked where a tag was given.
pub async fn pinned(text: &str, context: &Context) -> Result<Image> {
    if let Ok(image) = Image::parse(text) {
        return Ok(image);
    }
    let reference = subject::remote(text, context).await?;
    let pinned = match reference.digest() {
        Some(_) => reference.clone(),
        None => {
            let repository = access::repository(&reference, Access::Pull, context)?;
            let found = repository.head_manifest(&reference.wanted()).await.map_err(failed::of_oci)?;
            let Some(found) = found else {
                return Err(Error::new(&codes::IMG009, format!("there is no {reference}"))
                    .with_hint(codes::IMG009.action));
            };
            reference.with_digest(found.digest)
        }
    };
    let name = match pinned.digest() {
        Some(digest) => format!("{}@{digest}", pinned.name()),
        None => pinned.to_string(),
    };
    Image::parse(&name)
        .map_err(|why| Error::new(&codes::DEP005, format!("{name}: {why}")).with_hint(codes::DEP005.action))
}

/// The rule files beside `rtc.toml`, by name.
fn rules(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut rules = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder.join(RULES)) else { return Ok(rules) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(RULES_END) else { continue };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Error::new(&codes::DEP006, format!("cannot read {}", path.display())).with_source(&error)
        })?;
        rules.insert(name.to_owned(), text);
    }
    Ok(rules)
}

fn not_described(context: &Context) -> Error {
    let described: Vec<&str> = context.config.deploy_in.keys().map(String::as_str).collect();
    let message = format!("nothing says what runs in {}", context.config.env());
    let error = Error::new(&codes::DEP001, message);
    match described.is_empty() {
        true => error.with_hint(codes::DEP001.action),
        false => error.with_hint(format!("described are: --env {}", described.join(", --env "))),
    }
}

fn told(problem: Problem, place: &str, context: &Context) -> Error {
    match problem {
        Problem::NotDescribed(_) => not_described(context),
        Problem::OtherEnvironment { .. } | Problem::OtherSchema(_) => {
            Error::new(&codes::DEP003, problem.to_string()).with_hint(codes::DEP003.action)
        }
        Problem::Shape(message) => {
            let error = Error::new(&codes::DEP002, format!("{place}: {message}"));
            match message.contains("missing field") {
                true => error.with_hint("say it in rtc.toml, or pass --outputs where Terraform knows it"),
                false => error.with_hint(codes::DEP002.action),
            }
        }
        Problem::Faults(faults) => {
            let message = match faults.len() {
                1 => format!("{place}: the description has a fault"),
                many => format!("{place}: the description has {many} faults"),
            };
            let error = Error::new(&codes::DEP002, message);
            let error = faults.iter().fold(error, |error, fault| error.with_cause(fault.to_string()));
            error.with_hint(codes::DEP002.action)
        }
        Problem::NoService { target, service } => {
            let message = format!("{place}: targets.{target} runs {service}, and there is no such service");
            let names = context.config.services.iter().map(|service| service.name.as_str());
            let error = Error::new(&codes::DEP002, message);
            match nearest(&service, names) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint("rtcctl config show lists the services".to_owned()),
            }
        }
    }
}
