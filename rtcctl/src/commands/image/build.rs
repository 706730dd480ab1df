//! `rtcctl image build`: programs to an image on disk, the same on every machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use codes::{Error, Result};
use image::root::Account;
use image::settings::Materials;
use image::{Built, Event, Settings};
use kernel::Timestamp;
use oci::layout::Swept;
use oci::{Digest, Layout, Reference, archive, media};
use serde_json::{Value, json};
use settings::{Compression, ImageEntry};

use super::revision::{self, Revision};
use super::{base, binaries, failed, planned, push, subject};
use crate::context::{Context, Effect};
use crate::human;
use crate::output::{Column, Finding, Report, Severity, Table};
use crate::progress::Task;

#[derive(Debug, Default, clap::Args)]
#[command(
    after_help = "The same program gives the same digest, whatever the folder, the user and the time. A layer \
                        that did not change is neither packed nor uploaded again."
)]
pub struct Args {
    /// The image of rtc.toml; may be left out where there is only one
    #[arg(value_name = "IMAGE")]
    name: Option<String>,
    /// The program, once for each platform [default: binaries of rtc.toml]
    #[arg(long, value_name = "FILE[=PLATFORM]", value_hint = clap::ValueHint::FilePath)]
    pub(super) binary: Vec<String>,
    /// Where the libraries of programs are taken from [default: sysroot of rtc.toml, else this machine]
    #[arg(long, value_name = "[PLATFORM=]DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) sysroot: Vec<String>,
    /// A base by its digest, or none
    #[arg(long, value_name = "REFERENCE")]
    pub(super) base: Option<String>,
    /// A tag; may be given several times [default: the commit]
    #[arg(long, value_name = "TAG")]
    pub(super) tag: Vec<String>,
    /// The commit that the image names [default: what git says]
    #[arg(long, value_name = "COMMIT")]
    pub(super) revision: Option<String>,
    /// The version that the image names
    #[arg(long, value_name = "VERSION")]
    pub(super) version_label: Option<String>,
    /// gzip or zstd
    #[arg(long, value_name = "HOW")]
    pub(super) compression: Option<String>,
    /// Make no bill of materials
    #[arg(long)]
    pub(super) no_sbom: bool,
    /// Where the image is written, as an OCI layout [default: target/images/IMAGE]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) layout: Option<PathBuf>,
    /// Write it as one file too
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) tarball: Option<PathBuf>,
    /// Push it to the environment's registry
    #[arg(long)]
    pub(super) push: bool,
    /// Forget the other images of the layout, and delete what is of no use any more
    #[arg(long)]
    pub(super) clean: bool,
}

impl Args {
    /// An image as rtc.toml describes it.
    pub fn of(name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::default() }
    }
}

/// What was built, and where it lies.
pub struct Made<'a> {
    pub name: &'a str,
    pub entry: &'a ImageEntry,
    pub built: Built,
    pub layout: Layout,
    pub tags: Vec<String>,
    /// As the image names it.
    pub commit: Option<String>,
    revision: Option<Revision>,
}

impl Made<'_> {
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> =
            self.revision.as_ref().and_then(Revision::finding).into_iter().collect();
        if self.commit.is_none() {
            findings.push(Finding::new(&codes::IMG032, Severity::Info, "the image names no commit"));
        }
        findings
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    if context.effect == Effect::Described {
        let (name, entry) = subject::described(args.name.as_deref(), context)?;
        let folder = folder_of(name, entry, &args, context);
        let tags = tags(&args, source_of(entry, &args)?.as_ref())?;
        let settings = settings(name, entry, &args, context)?;
        let on = args.base.as_deref().unwrap_or(&entry.base);
        return planned::look(name, settings, (on, &folder, &tags), context).await;
    }
    if args.clean {
        let (name, entry) = subject::described(args.name.as_deref(), context)?;
        check_is_ours(&folder_of(name, entry, &args, context))?;
    }
    let made = make(&args, context).await?;
    let Made { name, entry, built, layout, tags, commit, .. } = &made;
    if let Some(file) = &args.tarball {
        save(layout, built, tags, &context.current_dir.join(file))?;
    }
    let mut data = document(name, built, tags, layout.root());
    data["revision"] = json!(commit);
    let mut report = screen(data, built);
    report.findings.extend(made.findings());
    report = match args.push {
        true => {
            let pushed = push::built((name, entry), layout, &built.descriptor, tags, context).await?;
            report.data["push"] = pushed.document();
            pushed.with(report)
        }
        false => report.with_text(built.digest().to_string()).with_names([built.digest().to_string()]),
    };
    if args.clean {
        let swept = clean(layout, built)?;
        match swept {
            Some(swept) => context.progress.say(format!(
                "{} blobs that nothing needs any more deleted, {}",
                swept.blobs,
                human::bytes(swept.bytes)
            )),
            None => context.progress.say("nothing deleted: somebody else is at work in this layout"),
        }
        report.data["deleted"] =
            json!(swept.map(|swept| json!({"blobs": swept.blobs, "bytes": swept.bytes})));
    }
    Ok(report)
}

/// What others put into a layout is not ours to delete.
fn check_is_ours(folder: &Path) -> Result<()> {
    match Layout::open(folder) {
        Ok(layout) if !image::kept::are_in(&layout) => {
            let message = format!("{} holds images that rtcctl did not build", folder.display());
            Err(Error::new(&codes::IMG027, message).with_hint(codes::IMG027.action))
        }
        _ => Ok(()),
    }
}

/// Leaves the image that was built with what refers to it, under its names.
fn clean(layout: &Layout, built: &Built) -> Result<Option<Swept>> {
    let sboms = built.images.iter().filter_map(|image| image.sbom.as_ref()).map(|sbom| sbom.digest);
    let wanted: Vec<Digest> = std::iter::once(built.digest()).chain(sboms).collect();
    layout.keep_only(&wanted).and_then(|()| layout.sweep()).map_err(failed::of_oci)
}

fn folder_of(name: &str, entry: &ImageEntry, args: &Args, context: &Context) -> PathBuf {
    args.layout.as_ref().map_or_else(|| layout_of(name, entry), |folder| context.current_dir.join(folder))
}

fn source_of(entry: &ImageEntry, args: &Args) -> Result<Option<Revision>> {
    match &args.revision {
        // Its time is that of the image, wherever it is built.
        Some(commit) => revision::named(&entry.folder, commit),
        None => revision::of(&entry.folder),
    }
}

/// Builds into the layout, whatever else is only described: nothing leaves this machine.
pub async fn make<'a>(args: &Args, context: &'a Context) -> Result<Made<'a>> {
    let (name, entry) = subject::described(args.name.as_deref(), context)?;
    let revision = source_of(entry, args)?;
    let commit = revision.as_ref().map(Revision::text).or_else(|| args.revision.clone());
    let tags = tags(args, revision.as_ref())?;
    let folder = folder_of(name, entry, args, context);
    let mut settings = settings(name, entry, args, context)?;
    settings.revision = commit.clone();
    if let Some(at) = revision.as_ref().and_then(|revision| text_of(revision.committed_at_s)) {
        // The commit's time is said, and not that of the files: layers would change with every commit.
        settings.annotations.insert("org.opencontainers.image.created".to_owned(), at);
    }
    let layout = Layout::create(&folder).map_err(of_folder)?;
    // Until they are named, nobody else knows what the blobs are for.
    let _busy = layout.busy().map_err(failed::of_oci)?;
    let on = args.base.as_deref().unwrap_or(&entry.base);
    settings.foundation = base::foundation(on, &settings.binaries, &layout, context).await?;
    let built = build(settings, &layout, name, context).await?;
    for tag in &tags {
        built.name(&layout, tag).map_err(failed::of_build)?;
    }
    Ok(Made { name, entry, built, layout, tags, commit, revision })
}

/// Where an image is kept between builds.
pub fn layout_of(name: &str, entry: &ImageEntry) -> PathBuf {
    entry.folder.join("target/images").join(name)
}

fn tags(args: &Args, revision: Option<&Revision>) -> Result<Vec<String>> {
    let mut tags = args.tag.clone();
    if tags.is_empty() {
        let short = || args.revision.as_ref().map(|text| text.chars().take(12).collect());
        tags.push(revision.map(Revision::tag).or_else(short).unwrap_or_else(|| "latest".to_owned()));
    }
    for tag in &tags {
        let any = Reference::new("registry.invalid", "a").map_err(failed::of_oci)?;
        any.with_tag(tag).map_err(failed::of_oci)?;
    }
    Ok(tags)
}

/// What rtc.toml and the flags want, as the builder wants it.
fn settings(name: &str, entry: &ImageEntry, args: &Args, context: &Context) -> Result<Settings> {
    let wrong = |problem: String| Error::new(&codes::IMG002, format!("{}: {problem}", entry.place));
    let binaries = binaries::find(entry, &args.binary, &args.sysroot, context)?;
    let Some(first) = binaries.first() else {
        let error = wrong("binaries names no program".to_owned());
        return Err(error.with_hint(format!("name one in images.{name}.binaries, or pass --binary FILE")));
    };
    let mut settings = Settings::new(name, &first.path);
    settings.binaries = binaries;
    settings.target = some(&entry.path);
    settings.account = Some(Account {
        // An image may have a name that no user has.
        name: if Account::may_be_called(name) { name.to_owned() } else { Account::default().name },
        uid: entry.user,
        gid: entry.user,
        home: some(&entry.workdir).unwrap_or_else(|| format!("/home/{name}")),
    });
    settings.owned.clone_from(&entry.folders);
    settings.ports = entry.ports.iter().map(|port| format!("{port}/tcp")).collect();
    settings.labels.clone_from(&entry.labels);
    settings.environment.clone_from(&entry.environment);
    settings.entrypoint = Some(entry.entrypoint.clone()).filter(|words| !words.is_empty());
    settings.cmd = Some(entry.command.clone()).filter(|words| !words.is_empty());
    settings.workdir = some(&entry.workdir);
    settings.stop_signal = some(&entry.stop_signal);
    settings.source = some(&entry.source);
    settings.version.clone_from(&args.version_label);
    if !entry.zones.is_empty() {
        settings.zones = image::root::Zones::Named(entry.zones.clone());
    }
    settings.compression = match args.compression.as_deref() {
        None => match entry.compression {
            Compression::Gzip => media::Compression::Gzip,
            Compression::Zstd => media::Compression::Zstd,
        },
        Some("gzip") => media::Compression::Gzip,
        Some("zstd") => media::Compression::Zstd,
        Some(other) => {
            return Err(Error::new(
                &codes::USE001,
                format!("--compression {other:?}: allowed are gzip and zstd"),
            ));
        }
    };
    if let Some(epoch) = context.config.variable("SOURCE_DATE_EPOCH") {
        settings.epoch = epoch.parse().map_err(|_| {
            Error::new(&codes::USE001, format!("SOURCE_DATE_EPOCH = {epoch:?} is no number of seconds"))
        })?;
    }
    let lock = entry.folder.join("Cargo.lock");
    if !args.no_sbom && lock.exists() {
        let package = some(&entry.package).unwrap_or_else(|| name.to_owned());
        settings.materials = Some(Materials { lock, package });
    }
    Ok(settings)
}

/// Where something else lies an image is not built.
pub fn of_folder(error: oci::Error) -> Error {
    let is_taken = matches!(error, oci::Error::NotALayout { .. });
    let told = failed::of_oci(error);
    match is_taken {
        true => told.with_hint("choose an empty folder, or one that is a layout: --layout DIR"),
        false => told,
    }
}

pub fn programs(settings: &Settings) -> Vec<PathBuf> {
    settings.binaries.iter().map(|binary| binary.path.clone()).collect()
}

/// Why an image is not built, with what to do about it in `rtc.toml`.
pub fn refused(error: image::Error, name: &str, programs: &[PathBuf]) -> Error {
    use image::Error as E;
    let hint = match &error {
        E::Unreadable { path, source }
            if source.kind() == std::io::ErrorKind::NotFound && programs.contains(path) =>
        {
            Some("is it built? cargo build --release".to_owned())
        }
        E::Covers { .. } => {
            Some(format!("choose another images.{name}.path; /usr/local/bin/{name} is the default"))
        }
        E::UnknownZone { .. } => Some(format!("mend images.{name}.zones")),
        E::Conflict { .. } => Some(format!("mend images.{name}.path, .folders or .workdir")),
        _ => None,
    };
    let told = failed::of_build(error);
    match hint {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

async fn build(settings: Settings, layout: &Layout, name: &str, context: &Context) -> Result<Built> {
    let task = context.progress.task("build", format!("building {name}"));
    let shown = Arc::new(Shown { task, state: Default::default() });
    let (seen, layout) = (shown.clone(), layout.clone());
    let programs = programs(&settings);
    let working =
        tokio::task::spawn_blocking(move || image::build(&settings, &layout, &|event| seen.saw(&event)));
    let built = working.await.map_err(|error| Error::internal("the build broke off").with_source(&error))?;
    let Some(Shown { task, .. }) = Arc::into_inner(shown) else {
        return Err(Error::internal("the build goes on after its end"));
    };
    match built {
        Ok(built) => {
            task.done(format!("{} is built", built.digest().short()));
            Ok(built)
        }
        Err(error) => {
            task.fail("not built");
            Err(refused(error, name, &programs))
        }
    }
}

/// How far the packing is.
struct Shown {
    task: Task,
    state: std::sync::Mutex<(u64, u64)>,
}

impl Shown {
    fn saw(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Begun { platform, concern, bytes } => {
                *state = (0, *bytes);
                self.task.show(format!("{platform}: {concern}, {}", human::bytes(*bytes)));
            }
            Event::Read { bytes } => {
                state.0 += bytes;
                // It may be read twice.
                self.task.show(format!(
                    "{} of {}",
                    human::bytes(state.0.min(state.1)),
                    human::bytes(state.1)
                ));
            }
            Event::Done { .. } => {}
        }
    }
}

/// The image alone, as one file.
fn save(layout: &Layout, built: &Built, tags: &[String], file: &Path) -> Result<()> {
    let beside = layout.root().parent().unwrap_or(Path::new("."));
    let unwritable = |error: std::io::Error| {
        Error::new(&codes::IMG006, format!("cannot write beside {}", layout.root().display()))
            .with_source(&error)
    };
    let folder = tempfile::Builder::new().prefix(".archive-").tempdir_in(beside).map_err(unwritable)?;
    let alone = Layout::create(folder.path()).map_err(failed::of_oci)?;
    let sboms = built.images.iter().filter_map(|image| image.sbom.clone());
    let roots: Vec<_> = std::iter::once(built.descriptor.clone()).chain(sboms).collect();
    for part in layout.reachable(&roots).map_err(failed::of_oci)? {
        let (from, to) = (layout.blob_path(&part.digest), alone.blob_path(&part.digest));
        std::fs::hard_link(&from, &to)
            .or_else(|_| std::fs::copy(&from, &to).map(drop))
            .map_err(unwritable)?;
    }
    for tag in tags {
        built.name(&alone, tag).map_err(failed::of_build)?;
    }
    archive::save(&alone, file).map_err(failed::of_oci)
}

fn document(name: &str, built: &Built, tags: &[String], folder: &Path) -> Value {
    let images: Vec<Value> = built
        .images
        .iter()
        .map(|image| {
            let layers: Vec<Value> = image
                .layers
                .iter()
                .map(|built| {
                    json!({
                        "of": built.concern.map_or_else(|| "base".to_owned(), |concern| concern.to_string()),
                        "digest": built.layer.descriptor.digest,
                        "diff_id": built.layer.diff_id,
                        "bytes": built.layer.descriptor.size,
                        "reused": built.layer.origin != image::layer::Origin::Packed,
                    })
                })
                .collect();
            json!({
                "platform": image.platform.to_string(),
                "digest": image.manifest.digest,
                "binary": image.binary,
                "bytes": image.size(),
                "layers": layers,
                "sbom": image.sbom.as_ref().map(|sbom| sbom.digest),
            })
        })
        .collect();
    json!({"image": name, "digest": built.digest(), "tags": tags, "layout": folder, "images": images})
}

fn screen(data: Value, built: &Built) -> Report {
    let mut table = Table::new([
        Column::left("platform"),
        Column::left("layer"),
        Column::right("size"),
        Column::left("digest"),
        Column::left(""),
    ]);
    for image in &built.images {
        for part in &image.layers {
            let was = match part.layer.origin {
                image::layer::Origin::Packed => "packed",
                image::layer::Origin::Kept => "unchanged",
                image::layer::Origin::Base => "of the base",
            };
            table.push([
                image.platform.to_string(),
                part.concern.map_or_else(|| "base".to_owned(), |concern| concern.to_string()),
                human::bytes(part.layer.descriptor.size),
                part.layer.descriptor.digest.short(),
                was.to_owned(),
            ]);
        }
    }
    Report::new("image/build", data).with_table(table)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn text_of(seconds: i64) -> Option<String> {
    Some(Timestamp::from_millis(seconds.checked_mul(1_000)?).to_string())
}
