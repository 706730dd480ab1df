//! `rtcctl cluster kubeconfig`: the cluster among those of a kubeconfig.
//!
//! Invariants: the file is replaced as a whole or not at all, is readable by its owner alone, and is written under the lock
//! that kubectl uses; `-o yaml` and `--dry-run` write nothing.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use codes::{Error, Result, exit};
use eks::kubeconfig::{Entry, Merged, Refused, Selection, has_context};
use manifests::yaml;
use serde_json::{Value, json};

use super::access;
use crate::context::{Context, Effect};
use crate::output::{Finding, Format, Report, Severity};
use crate::recording::Recording;

/// What kubectl runs.
const PROGRAM: &str = "rtcctl";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kubeconfig: Option<PathBuf>,
    /// What to call the context [default: the name of the cluster]
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// Make it the context that is used when none is named
    #[arg(long)]
    set_current: bool,
}

impl Args {
    /// The file that was named, as a setting.
    pub fn file(&self) -> Option<String> {
        self.kubeconfig.as_ref().map(|path| path.display().to_string())
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let target = access::target(context).await?;
    let endpoint = match target.eks.describe(&target.name).await {
        Ok(endpoint) => endpoint,
        Err(error) => return Err(target.told(error, context).await),
    };
    let entry = Entry {
        endpoint: &endpoint,
        context: args.alias.as_deref().unwrap_or(&endpoint.name),
        command: PROGRAM,
        profile: context.config.text("aws_profile"),
        selection: if args.set_current { Selection::Taken } else { Selection::Kept },
    };
    if context.format == Format::Yaml {
        context.print(&yaml::write(&entry.alone()))?;
        return Ok(Report::already_written("cluster/kubeconfig", exit::DONE));
    }
    let path = file(entry.context, context)?;
    let report = match context.effect {
        Effect::Described => {
            let text = read(&path)?;
            let merged = merged(&entry, &path, text.as_deref())?;
            answer("would be written", &entry, &path, &merged, context).with_text(yaml::write(&entry.alone()))
        }
        Effect::Real => {
            let _lock = Lock::take(&path)?;
            let text = read(&path)?;
            let merged = merged(&entry, &path, text.as_deref())?;
            if !merged.changes.is_empty() {
                record(&entry, &path, &merged, context)?;
            }
            let report = answer("written", &entry, &path, &merged, context);
            let loses = !merged.changes.is_empty() && text.as_deref().is_some_and(has_comments);
            match loses {
                true => report.with_finding(Finding::new(
                    &codes::CLU040,
                    Severity::Info,
                    format!("the comments of {} were not kept", path.display()),
                )),
                false => report,
            }
        }
    };
    Ok(match is_on_path(context) {
        true => report,
        false => report.with_finding(
            Finding::new(
                &codes::CLU039,
                Severity::Warning,
                format!("{PROGRAM} is not on the PATH: kubectl will not find it"),
            )
            .with_hint(codes::CLU039.action),
        ),
    })
}

fn answer(done: &str, entry: &Entry<'_>, path: &Path, merged: &Merged, context: &Context) -> Report {
    let is_changed = !merged.changes.is_empty();
    let data = json!({
        "file": path,
        "context": entry.context,
        "cluster": entry.endpoint.name,
        "is_changed": is_changed,
        "is_written": is_changed && context.effect == Effect::Real,
        "changes": merged.changes,
        "entry": entry.alone(),
    });
    let outcome = match is_changed {
        true => format!("{done}: {}", merged.changes.join(", ")),
        false => "unchanged: the file has it already".to_owned(),
    };
    Report::new("cluster/kubeconfig", data).with_names([entry.context]).with_pairs([
        ("context", entry.context.to_owned()),
        ("file", path.display().to_string()),
        ("outcome", outcome),
    ])
}

fn merged(entry: &Entry<'_>, path: &Path, text: Option<&str>) -> Result<Merged> {
    let existing = text.map(|text| parsed(path, text)).transpose()?.flatten();
    entry.merged(existing).map_err(|refused| match &refused {
        Refused::NotOne(_) => not_one(path).with_source(&refused),
        Refused::Taken { .. } => Error::new(&codes::CLU011, format!("{}: {refused}", path.display()))
            .with_hint(codes::CLU011.action),
    })
}

fn parsed(path: &Path, text: &str) -> Result<Option<Value>> {
    let mut documents = yaml::read(text).map_err(|error| not_one(path).with_source(&error))?;
    match documents.len() {
        0 | 1 => Ok(documents.pop()),
        several => Err(not_one(path).with_cause(format!("it has {several} documents"))),
    }
}

fn not_one(path: &Path) -> Error {
    Error::new(&codes::CLU010, format!("{} is no kubeconfig, and was left as it is", path.display()))
        .with_hint(codes::CLU010.action)
}

/// The file that is meant: of several in `$KUBECONFIG` the one that has the context, otherwise the first that is there.
fn file(name: &str, context: &Context) -> Result<PathBuf> {
    if let Some(path) = context.config.path_of("kubeconfig") {
        return Ok(path);
    }
    let listed: Vec<PathBuf> = context
        .config
        .variable("KUBECONFIG")
        .map(|text| std::env::split_paths(text).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    let listed: Vec<PathBuf> = listed.into_iter().map(|path| context.current_dir.join(path)).collect();
    let has = |path: &&PathBuf| {
        let text = std::fs::read_to_string(path).ok();
        let root = text.and_then(|text| yaml::read(&text).ok()).and_then(|mut documents| documents.pop());
        root.is_some_and(|root| has_context(&root, name))
    };
    let own = listed.iter().find(has).or_else(|| listed.iter().find(|path| path.exists())).or(listed.last());
    if let Some(path) = own {
        return Ok(path.clone());
    }
    let home = context.config.variable("HOME").map(|home| Path::new(home).join(".kube").join("config"));
    home.ok_or_else(|| {
        Error::new(&codes::CLU013, "no kubeconfig is named, and there is no HOME to have one in")
            .with_hint("pass --kubeconfig FILE")
    })
}

/// The text of the file; `None` where it is not there.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|error| not_one(path).with_source(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, "cannot be read", &error)),
    }
}

fn record(entry: &Entry<'_>, path: &Path, merged: &Merged, context: &Context) -> Result<()> {
    let inputs = [("cluster", entry.endpoint.arn.clone()), ("file", path.display().to_string())];
    let inputs = inputs.map(|(key, value)| (key.to_owned(), value));
    let mut recording = Recording::begin(context, "cluster kubeconfig", inputs)?;
    recording.step("write", entry.context)?;
    match write(path, &yaml::write(&merged.value)) {
        Ok(()) => {
            recording.finished(json!({"changes": merged.changes}))?;
            recording.ended(format!("context {} in {}", entry.context, path.display())).map(drop)
        }
        Err(error) => Err(recording.failed(error)),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    // A link stays one; what it points at is replaced.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = real.parent().unwrap_or(Path::new("."));
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".kubeconfig-").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&real)?;
        std::fs::File::open(folder)?.sync_all()
    };
    written().map_err(|error| unusable(path, "cannot be written", &error))
}

fn unusable(path: &Path, what: &str, error: &std::io::Error) -> Error {
    Error::new(&codes::CLU013, format!("{} {what}", path.display()))
        .with_source(error)
        .with_hint(codes::CLU013.action)
}

/// The lock of a kubeconfig: a file beside it that nobody else could make, as kubectl takes it.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| unusable(path, "has no folder", &error))?;
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::new(&codes::CLU012, format!("somebody writes {}", path.display()))
                    .with_hint(format!("repeat; where nobody does, remove {}", lock.display())))
            }
            Err(error) => Err(unusable(path, "cannot be locked", &error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn has_comments(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with('#'))
}

fn is_on_path(context: &Context) -> bool {
    let path = context.config.variable("PATH").unwrap_or_default();
    std::env::split_paths(path).any(|folder| folder.join(PROGRAM).is_file())
}
