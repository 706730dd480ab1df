//! `rtcctl deploy lint [FILES…]`: what makes a rollout lose requests, found before anything is applied.
//!
//! Invariant: everything that was given is looked at together, for what belongs together lies in several files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use codes::{Error, Result, exit};
use manifests::lint::{self, Severity as Grave};
use manifests::{render, yaml};
use serde_json::{Value, json};

use super::described::{self, Naming};
use crate::context::Context;
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ends with code 30 where requests would be lost; warnings alone end with 0, or with 30 under --strict."
)]
pub struct Args {
    /// Files or folders of manifests, `-` for stdin; the environment's own release without any
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    files: Vec<PathBuf>,
    /// Let warnings fail too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    described: described::Args,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let objects = match args.files.is_empty() {
        true => {
            let release = described::release(&args.described, Naming::Indifferent, context).await?;
            render(&release).into_iter().map(|object| object.body).collect()
        }
        false => read_all(&args.files, context)?,
    };
    let found = lint::check(&objects);
    let errors = found.iter().filter(|finding| finding.severity == Grave::Error).count();
    let warnings = found.len() - errors;
    let data = json!({ "objects": objects.len(), "errors": errors, "warnings": warnings, "findings": found });
    let mut report = Report::new("deploy/lint", data).with_names(found.iter().map(|finding| finding.id));
    if found.is_empty() {
        return Ok(report.with_text(format!("{} objects, nothing to complain of", objects.len())));
    }
    let mut table = Table::new([Column::left("code"), Column::left("object"), Column::left("what")]);
    for finding in &found {
        table.push([finding.id, &finding.object, &finding.message]);
        let severity = match finding.severity {
            Grave::Error => Severity::Error,
            Grave::Warning => Severity::Warning,
        };
        let message = format!("{}: {}", finding.object, finding.message);
        let told = Finding::new(codes::of_lint(finding.id), severity, message);
        report = report.with_finding(told.with_hint(finding.hint));
    }
    report = report
        .with_text(format!("{} objects, {errors} errors, {warnings} warnings", objects.len()))
        .with_table(table);
    Ok(match errors > 0 || args.strict {
        true => report.with_status("breached", exit::BREACHED),
        false => report,
    })
}

fn read_all(files: &[PathBuf], context: &Context) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for file in files {
        if file.as_os_str() == "-" {
            objects.extend(documents("stdin", &stdin(context)?)?);
            continue;
        }
        let path = context.current_dir.join(file);
        for path in manifests_in(&path)? {
            let text =
                std::fs::read_to_string(&path).map_err(|error| unreadable(&path).with_source(&error))?;
            objects.extend(documents(&path.display().to_string(), &text)?);
        }
    }
    Ok(objects)
}

fn stdin(context: &Context) -> Result<String> {
    let mut text = String::new();
    let mut stdin = context.stdin.lock().unwrap_or_else(PoisonError::into_inner);
    let read = stdin.read_to_string(&mut text);
    read.map_err(|error| Error::new(&codes::DEP006, "cannot read stdin").with_source(&error))?;
    Ok(text)
}

fn documents(name: &str, text: &str) -> Result<Vec<Value>> {
    yaml::read(text).map_err(|error| {
        Error::new(&codes::DEP006, format!("{name} is neither YAML nor JSON")).with_source(&error)
    })
}

/// A file as it is named; of a folder all that look like manifests, in the order of their names.
fn manifests_in(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| unreadable(&folder).with_source(&error))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if ["yaml", "yml", "json"].contains(&end) {
                found.push(path);
            }
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(Error::new(&codes::DEP006, format!("{} holds no manifests", path.display()))),
        false => Ok(found),
    }
}

fn unreadable(path: &Path) -> Error {
    Error::new(&codes::DEP006, format!("cannot read {}", path.display())).with_hint(codes::DEP006.action)
}
