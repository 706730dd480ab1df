//! `rtcctl deploy render` and `rtcctl deploy chart`: what a release consists of, as files.

use std::path::{Path, PathBuf};

use ::deploy::manifest::{Item, Manifest};
use codes::{Error, Result, exit};
use manifests::{chart, yaml};
use serde_json::{Value, json};

use super::described::{self, Naming};
use crate::context::{Context, Effect};
use crate::output::{Finding, Format, Report, Severity};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --dir the manifests are written as YAML, ready for other tools; -o json gives one document."
)]
pub struct Args {
    #[command(flatten)]
    described: described::Args,
    /// Write a file an object into this folder
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct ChartArgs {
    #[command(flatten)]
    described: described::Args,
    /// The folder that the chart is written into
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let release = described::release(&args.described, Naming::Needed, context).await?;
    let manifest = Manifest::of(&release);
    let image = release.image.to_string();
    let names = manifest.ids().map(|id| id.to_string());
    if let Some(dir) = &args.dir {
        let dir = context.current_dir.join(dir);
        let files: Vec<(String, String)> =
            manifest.items.iter().map(|item| (file_name(item), yaml::write(&item.body))).collect();
        return written("deploy/render", &dir, &files, context);
    }
    let text = yaml::write_all(manifest.items.iter().map(|item| &item.body));
    if context.format == Format::Yaml {
        context.print(&text)?;
        return Ok(Report::already_written("deploy/render", exit::DONE));
    }
    let objects: Vec<Value> =
        manifest.items.iter().map(|item| json!({ "wave": item.wave, "object": item.body })).collect();
    let data = json!({ "environment": context.config.env(), "image": image, "objects": objects });
    Ok(Report::new("deploy/render", data).with_text(text).with_names(names))
}

pub async fn chart(args: ChartArgs, context: &Context) -> Result<Report> {
    let release = described::release(&args.described, Naming::Needed, context).await?;
    // The description was meant, and so is what the chart is made of.
    let files = chart::files(&release.description).map_err(|faults| {
        let error = Error::new(&codes::DEP002, "the description makes no chart");
        faults.iter().fold(error, |error, fault| error.with_cause(fault.to_string()))
    })?;
    let files: Vec<(String, String)> = files.into_iter().collect();
    written("deploy/chart", &context.current_dir.join(&args.dir), &files, context)
}

/// In the order in which they are applied.
fn file_name(item: &Item) -> String {
    let id = item.id();
    let wave = item.wave as u8 + 1;
    let place = match id.namespace.as_str() {
        "" => String::new(),
        namespace => format!("{namespace}-"),
    };
    format!("{wave}-{}-{place}{}.yaml", id.kind.to_lowercase(), id.name.replace(':', "-"))
}

fn written(
    command: &'static str,
    dir: &Path,
    files: &[(String, String)],
    context: &Context,
) -> Result<Report> {
    let names: Vec<&String> = files.iter().map(|(name, _)| name).collect();
    let data = json!({ "dir": dir.display().to_string(), "files": names });
    if context.effect == Effect::Described {
        let text = format!("would write {} files into {}", files.len(), dir.display());
        return Ok(Report::new(command, data).with_text(text));
    }
    for (name, text) in files {
        let path = dir.join(name);
        let failed = |error: std::io::Error| {
            Error::new(&codes::DEP008, format!("cannot write {}", path.display())).with_source(&error)
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(&path, text).map_err(failed)?;
    }
    let text = format!("{} files in {}", files.len(), dir.display());
    let report = Report::new(command, data)
        .with_text(text)
        .with_names(names.iter().map(|name| dir.join(name).display().to_string()));
    let strangers = strangers(dir, files);
    Ok(match strangers.is_empty() {
        true => report,
        false => report.with_finding(
            Finding::new(
                &codes::DEP012,
                Severity::Warning,
                format!("not of this release: {}", strangers.join(", ")),
            )
            .with_hint("delete them, or write into an empty folder"),
        ),
    })
}

/// Manifests that lay there already and would be taken for part of it.
fn strangers(dir: &Path, files: &[(String, String)]) -> Vec<String> {
    let folders: std::collections::BTreeSet<PathBuf> =
        files.iter().filter_map(|(name, _)| Some(dir.join(name).parent()?.to_owned())).collect();
    let mut found: Vec<String> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && !files.iter().any(|(name, _)| dir.join(name) == *path))
        .map(|path| path.strip_prefix(dir).unwrap_or(&path).display().to_string())
        .collect();
    found.sort();
    found
}
