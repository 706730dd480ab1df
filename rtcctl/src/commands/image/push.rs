//! `rtcctl image push`: an image on disk into a registry.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use codes::{Error, Result};
use ecr::{Difference, Ensured, Kept, Lifecycle, Scan, Tags, Wanted};
use oci::registry::{Access, Repository, Tagging};
use oci::transfer::{self, Options, Referrers, Summary, Transfer};
use oci::{Descriptor, Digest, Layout, Reference};
use serde_json::{Value, json};
use settings::{ImageEntry, RepositoryEntry};

use super::subject::Subject;
use super::{access, build, failed, subject};
use crate::context::{Context, Effect};
use crate::human;
use crate::output::{Finding, Report, Severity};
use crate::progress::{Reporter, Task};
use crate::recording::Recording;

const FETCHING: &str = "fetch";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What the registry has already is not sent. An image that its tag names already costs one request."
)]
pub struct Args {
    /// What is pushed: an image of rtc.toml that was built, with a tag (rtcd:v1), or a layout (oci:DIR[:TAG])
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
    /// Where to: a reference in full [default: the environment's registry]
    #[arg(long, value_name = "REFERENCE")]
    to: Option<String>,
    /// The tag in the registry; may be given several times [default: the same]
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let source = source(args.image.as_deref(), context)?;
    let image = source.layout.find(source.tag.as_deref()).map_err(|error| match error {
        oci::Error::NotFound { .. } => {
            Error::new(&codes::IMG017, error.to_string()).with_hint(codes::IMG017.action)
        }
        other => failed::of_finding(other),
    })?;
    let target = match (&args.to, &source.described) {
        (Some(to), _) => subject::remote(to, context).await?,
        (None, Some((name, entry))) => target(name, entry, context).await?,
        (None, None) => {
            return Err(Error::new(
                &codes::USE001,
                "where to? a layout has no place of its own: --to REFERENCE",
            ));
        }
    };
    if target.digest().is_some() {
        return Err(Error::new(
            &codes::IMG026,
            format!("{target}: where an image goes has a tag; its digest is what it is"),
        ));
    }
    let mut tags = args.tag.clone();
    if tags.is_empty() {
        tags.extend(target.tag().or(image.ref_name()).map(str::to_owned));
    }
    let entry = source.described.as_ref().map(|(_, entry)| *entry);
    let pushed = send(&source.layout, &image, &target, &tags, entry, context).await?;
    Ok(pushed.report())
}

/// What lies on disk, and the description that it was built from.
struct Source<'a> {
    layout: Layout,
    tag: Option<String>,
    described: Option<(&'a str, &'a ImageEntry)>,
}

fn source<'a>(image: Option<&str>, context: &'a Context) -> Result<Source<'a>> {
    if let Some(Subject::Layout { folder, tag }) = image.and_then(|text| subject::layout(text, context)) {
        return Ok(Source { layout: Layout::open(folder).map_err(failed::of_oci)?, tag, described: None });
    }
    let (name, tag) = match image.map(|text| text.split_once([':', '@']).unwrap_or((text, ""))) {
        Some((name, tag)) => (Some(name), Some(tag.to_owned()).filter(|tag| !tag.is_empty())),
        None => (None, None),
    };
    let (name, entry) = subject::described(name, context)?;
    let folder = build::layout_of(name, entry);
    let layout = match folder.exists() {
        true => Layout::open(&folder).map_err(failed::of_oci)?,
        false => {
            return Err(Error::new(
                &codes::IMG017,
                format!("{name} has not been built: {} is empty", folder.display()),
            )
            .with_hint(format!("rtcctl image build {name}")));
        }
    };
    // Without a tag it is the last one that was built.
    let tag = match tag {
        Some(tag) => Some(tag),
        None => last_tag(&layout)?,
    };
    Ok(Source { layout, tag, described: Some((name, entry)) })
}

/// Layouts list what was named last at their end.
fn last_tag(layout: &Layout) -> Result<Option<String>> {
    let index = layout.index().map_err(failed::of_oci)?;
    Ok(index.manifests.iter().rev().find_map(|named| named.ref_name().map(str::to_owned)))
}

/// The repository of an image in the environment's registry.
pub async fn target(name: &str, entry: &ImageEntry, context: &Context) -> Result<Reference> {
    let host = subject::registry(context).await?;
    Reference::new(&host, &subject::repository(name, entry, context)).map_err(failed::of_oci)
}

/// What was pushed, and what it took.
pub struct Pushed {
    target: Reference,
    tags: Vec<String>,
    digest: Digest,
    summaries: Vec<Summary>,
    has_made_repository: bool,
    findings: Vec<Finding>,
    run: Option<String>,
}

/// Pushes what was just built.
pub async fn built(
    (name, entry): (&str, &ImageEntry),
    layout: &Layout,
    image: &Descriptor,
    tags: &[String],
    context: &Context,
) -> Result<Pushed> {
    let target = target(name, entry, context).await?;
    send(layout, image, &target, tags, Some(entry), context).await
}

async fn send(
    layout: &Layout,
    image: &Descriptor,
    target: &Reference,
    tags: &[String],
    entry: Option<&ImageEntry>,
    context: &Context,
) -> Result<Pushed> {
    let mut pushed = Pushed {
        target: target.clone(),
        tags: tags.to_vec(),
        digest: image.digest,
        summaries: Vec::new(),
        has_made_repository: false,
        findings: Vec::new(),
        run: None,
    };
    for tag in tags {
        target.with_tag(tag).map_err(failed::of_oci)?;
    }
    if context.effect == Effect::Described {
        return Ok(pushed);
    }
    let inputs = [("image", image.digest.to_string()), ("to", target.name()), ("tags", tags.join(" "))];
    let inputs = inputs.map(|(key, value)| (key.to_owned(), value));
    let mut recording = Recording::begin(context, "image push", inputs)?;
    recording.step("push", image.digest.to_string())?;
    match sending(layout, image, entry, &mut pushed, context).await {
        Ok(()) => {
            recording.finished(pushed.document())?;
            pushed.run = Some(recording.ended(pushed.sentence())?);
            Ok(pushed)
        }
        Err(error) => Err(recording.failed(error)),
    }
}

async fn sending(
    layout: &Layout,
    image: &Descriptor,
    entry: Option<&ImageEntry>,
    pushed: &mut Pushed,
    context: &Context,
) -> Result<()> {
    let repository = access::repository(&pushed.target, Access::Push, context)?;
    let _busy = layout.busy().map_err(failed::of_oci)?;
    let is_immutable = entry.is_none_or(|entry| entry.repository.immutable);
    let tagging = if is_immutable { Tagging::Immutable } else { Tagging::Movable };
    if is_immutable && pushed.tags.len() > 1 {
        none_is_taken(&repository, &pushed.tags, image).await?;
    }
    // Without a tag it is pushed by its digest alone.
    let wanted: Vec<Option<&str>> = match pushed.tags.as_slice() {
        [] => vec![None],
        tags => tags.iter().map(|tag| Some(tag.as_str())).collect(),
    };
    for tag in wanted {
        let options =
            Options { tagging, events: Show::new(&context.progress, "push").events(), ..Options::default() };
        let mut sent = transfer::push(layout, image, &repository, tag, &options).await;
        if let Err(oci::Error::NameUnknown { .. }) = &sent
            && let Some(made) = make_repository(&pushed.target, entry, context).await?
        {
            pushed.has_made_repository = matches!(made, Ensured::Created(_));
            pushed.findings = findings(&pushed.target, made);
            sent = transfer::push(layout, image, &repository, tag, &options).await;
        }
        pushed.summaries.push(sent.map_err(failed::of_oci)?);
    }
    let has_sent = pushed.summaries.iter().any(|summary| !summary.is_unchanged);
    if let Some(entry) = entry.filter(|_| has_sent && !pushed.has_made_repository) {
        pushed.findings.extend(give_lifecycle(&pushed.target, entry, context).await);
    }
    Ok(())
}

/// Gives a repository of ours its lifecycle, where that was refused when it was made. That it cannot be given, or looked
/// at, is no reason for a push to fail.
async fn give_lifecycle(target: &Reference, entry: &ImageEntry, context: &Context) -> Option<Finding> {
    let ecr = access::ecr(target, context).await.ok()??;
    match ecr.ensure_lifecycle(target.repository(), &lifecycle_of(&entry.repository)).await {
        Ok(Kept::AsItIs) => None,
        Ok(Kept::Put) => {
            context.progress.say(format!("gave the repository {} its lifecycle", target.name()));
            None
        }
        Ok(Kept::Refused(error)) => Some(without_lifecycle(target, &error)),
        Err(error) => {
            context.progress.detail(format!("the lifecycle of {} was not looked at: {error}", target.name()));
            None
        }
    }
}

fn lifecycle_of(described: &RepositoryEntry) -> Lifecycle {
    Lifecycle { untagged_days: described.untagged_days, kept: described.kept_releases }
}

fn without_lifecycle(target: &Reference, error: &ecr::Error) -> Finding {
    let message = format!("{}: lifecycle is none, and rtc.toml says a policy: {error}", target.name());
    Finding::new(&codes::IMG030, Severity::Warning, message)
        .with_hint("allow ecr:PutLifecyclePolicy; the next push gives it its lifecycle")
}

/// Of several tags none is moved where one of them cannot be.
async fn none_is_taken(repository: &Repository, tags: &[String], image: &Descriptor) -> Result<()> {
    for tag in tags {
        let existing = match repository.head_manifest(tag).await {
            Ok(existing) => existing,
            // It is made when it is pushed to.
            Err(oci::Error::NameUnknown { .. }) => return Ok(()),
            Err(error) => return Err(failed::of_oci(error)),
        };
        if let Some(existing) = existing.filter(|existing| existing.digest != image.digest) {
            return Err(failed::of_oci(oci::Error::TagImmutable {
                repository: repository.full_name(),
                tag: tag.clone(),
                existing: Some(existing.digest),
                wanted: image.digest,
            }));
        }
    }
    Ok(())
}

/// Makes a repository of ECR as rtc.toml describes it. `None` where the registry is another.
pub async fn make_repository(
    target: &Reference,
    entry: Option<&ImageEntry>,
    context: &Context,
) -> Result<Option<Ensured>> {
    let Some(ecr) = access::ecr(target, context).await? else { return Ok(None) };
    let described = entry.map(|entry| entry.repository.clone()).unwrap_or_default();
    let wanted = Wanted {
        name: target.repository().to_owned(),
        tags: if described.immutable { Tags::Immutable } else { Tags::Mutable },
        scan: if described.scan_on_push { Scan::OnPush } else { Scan::OnRequest },
        lifecycle: Some(lifecycle_of(&described)),
        key: None,
    };
    let made = ecr.ensure_repository(&wanted).await.map_err(failed::of_aws)?;
    if matches!(made, Ensured::Created(_)) {
        context.progress.say(format!("made the repository {}", target.name()));
    }
    Ok(Some(made))
}

/// Of a repository that is not as it should be, made by us or by somebody else between our look and our wish.
fn findings(target: &Reference, made: Ensured) -> Vec<Finding> {
    let differences = match made {
        Ensured::Created(Kept::Refused(error)) => return vec![without_lifecycle(target, &error)],
        Ensured::Created(_) => return Vec::new(),
        Ensured::Existed(differences) => differences,
    };
    let finding = |one: Difference| {
        let message =
            format!("{}: {} is {}, and rtc.toml says {}", target.name(), one.what, one.is, one.wanted);
        Finding::new(&codes::IMG030, Severity::Warning, message)
    };
    differences.into_iter().map(finding).collect()
}

impl Pushed {
    /// `repository@sha256:…`: what a deployment is given.
    fn pinned(&self) -> String {
        self.target.with_digest(self.digest).to_string()
    }

    fn moved(&self) -> (usize, u64) {
        let moved = self.summaries.iter().map(|summary| summary.moved).sum();
        (moved, self.summaries.iter().map(|summary| summary.bytes).sum())
    }

    fn sentence(&self) -> String {
        let (moved, bytes) = self.moved();
        let existed: usize = self.summaries.iter().map(|summary| summary.existed + summary.mounted).sum();
        match self.summaries.iter().all(|summary| summary.is_unchanged) {
            _ if self.summaries.is_empty() => format!("{} would be pushed", self.digest.short()),
            true => "unchanged: the registry has it under this tag, nothing was sent".to_owned(),
            false if moved == 0 => "every blob was there, the tag is new".to_owned(),
            false => format!("{moved} blobs sent ({}), {existed} were there", human::bytes(bytes)),
        }
    }

    pub fn document(&self) -> Value {
        let (moved, bytes) = self.moved();
        json!({
            "reference": self.pinned(),
            "repository": self.target.name(),
            "digest": self.digest,
            "tags": self.tags,
            "unchanged": !self.summaries.is_empty() && self.summaries.iter().all(|summary| summary.is_unchanged),
            "blobs": {
                "sent": moved,
                "existed": self.summaries.iter().map(|summary| summary.existed).sum::<usize>(),
                "mounted": self.summaries.iter().map(|summary| summary.mounted).sum::<usize>(),
            },
            "bytes_sent": bytes,
            "repository_made": self.has_made_repository,
            "run": self.run,
        })
    }

    /// The answer of a push alone.
    fn report(&self) -> Report {
        self.with(Report::new("image/push", self.document()))
    }

    /// The answer of a build with its push.
    pub fn with(&self, mut report: Report) -> Report {
        report.findings.extend(self.findings.iter().cloned());
        report.with_text(self.sentence()).with_text(self.pinned()).with_names([self.pinned()])
    }
}

/// Layers on their way, a bar each.
pub struct Show {
    progress: Reporter,
    name: &'static str,
    tasks: Mutex<HashMap<Digest, (Task, u64)>>,
}

impl Show {
    pub fn new(progress: &Reporter, name: &'static str) -> Arc<Self> {
        Arc::new(Self { progress: progress.clone(), name, tasks: Mutex::default() })
    }

    pub fn events(self: Arc<Self>) -> transfer::Events {
        Arc::new(move |event| self.saw(event))
    }

    fn saw(&self, event: Transfer) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Transfer::Began { digest, bytes, .. } => {
                let message = format!("{} {}", digest.short(), human::bytes(bytes));
                tasks.insert(digest, (self.progress.task(self.name, message), bytes));
            }
            Transfer::Moved { digest, bytes } => {
                if let Some((task, size)) = tasks.get(&digest) {
                    task.bytes(bytes, *size);
                }
            }
            Transfer::Retried { digest, retry } => {
                if let Some((task, _)) = tasks.get(&digest) {
                    task.state(format!(
                        "{}: again in {}, {}",
                        digest.short(),
                        human::duration(retry.wait),
                        retry.reason
                    ));
                }
            }
            Transfer::Existed { digest } => {
                close(tasks.remove(&digest), format!("{} was there", digest.short()))
            }
            Transfer::Mounted { digest, from } => {
                close(
                    tasks.remove(&digest),
                    format!("{} came from {from}, no byte was sent", digest.short()),
                );
            }
            Transfer::Done { digest, bytes } => {
                let done = if self.name == FETCHING { "fetched" } else { "sent" };
                close(tasks.remove(&digest), format!("{} {done}, {}", digest.short(), human::bytes(bytes)));
            }
            Transfer::Published { digest, tag } => {
                let tag = tag.map_or_else(String::new, |tag| format!(" is {tag}"));
                self.progress.detail(format!("{}{tag}", digest.short()));
            }
        }
    }
}

fn close(task: Option<(Task, u64)>, message: String) {
    if let Some((task, _)) = task {
        task.done(message);
    }
}

/// Brings an image into a layout, without what refers to it.
pub async fn pull(
    from: &Repository,
    reference: &str,
    layout: &Layout,
    context: &Context,
) -> oci::Result<Descriptor> {
    let events = Show::new(&context.progress, FETCHING).events();
    let options = Options { referrers: Referrers::Without, events, ..Options::default() };
    Ok(transfer::pull(from, reference, layout, None, &options).await?.image)
}

/// Where images are kept that are only looked at.
pub fn looked_at(context: &Context) -> std::io::Result<tempfile::TempDir> {
    let folder = context
        .config
        .variable("TMPDIR")
        .map_or_else(std::env::temp_dir, |folder| Path::new(folder).to_owned());
    tempfile::Builder::new().prefix("rtcctl-image-").tempdir_in(folder)
}
