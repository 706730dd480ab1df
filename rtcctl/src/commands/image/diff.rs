//! `rtcctl image diff`: what is in the second image and not in the first, and the other way round.

use codes::{Error, Result, exit};
use image::diff::{self, Difference, Fact, Fate, FileChange, Side};
use image::files::Item;
use image::platform::same;
use oci::{Descriptor, Layout, Platform, media};
use serde_json::{Value, json};

use super::inspect::{Place, chosen, platform};
use super::subject::Subject;
use super::{failed, push};
use crate::context::Context;
use crate::human;
use crate::output::{Column, Report, Table};

/// So many files are shown; `-o json` has all of them.
const SHOWN: usize = 40;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Of several images each platform is compared with the same one; what has one digest is not fetched."
)]
pub struct Args {
    /// The older image: a reference, an image of rtc.toml with a tag, or oci:DIR[:TAG]
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The newer one
    #[arg(value_name = "AFTER")]
    after: String,
    /// Which image of several [default: all of them]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// End with 10 where they differ
    #[arg(long)]
    exit_code: bool,
}

/// One of the two, with the images that it has.
struct Named<'a> {
    text: &'a str,
    place: Place,
    top: Descriptor,
    images: Vec<Descriptor>,
}

/// The images of one platform.
struct Pair {
    platform: Option<Platform>,
    before: Option<Descriptor>,
    after: Option<Descriptor>,
}

/// What became of a platform.
struct Compared {
    platform: Option<Platform>,
    change: Change,
}

enum Change {
    Same,
    Changed(Difference),
    /// With the bytes of its layers.
    Added(u64),
    Removed,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let wanted = args.platform.as_deref().map(platform).transpose()?;
    let before = open(&args.before, context).await?;
    let after = open(&args.after, context).await?;
    if before.top.digest == after.top.digest && wanted.is_none() {
        return Ok(report(&args, &[]));
    }
    let before = with_images(before).await?;
    let after = with_images(after).await?;
    let folder = push::looked_at(context)
        .map_err(|error| Error::new(&codes::IMG006, "cannot keep what is compared").with_source(&error))?;
    let fetched = Layout::create(folder.path()).map_err(failed::of_oci)?;
    let mut compared = Vec::new();
    for pair in pairs(&before, &after, wanted.as_ref())? {
        let change = match (&pair.before, &pair.after) {
            (Some(one), Some(other)) if one.digest == other.digest => Change::Same,
            (Some(one), Some(other)) => {
                let one = bring(&before, one, &fetched, context).await?;
                let other = bring(&after, other, &fetched, context).await?;
                Change::Changed(differences(one, other).await?)
            }
            (None, Some(other)) => Change::Added(bytes_of(&after, other).await?),
            (_, None) => Change::Removed,
        };
        compared.push(Compared { platform: pair.platform, change });
    }
    Ok(report(&args, &compared))
}

async fn open<'a>(text: &'a str, context: &Context) -> Result<Named<'a>> {
    let (place, top) = Place::open(&Subject::find(text, context).await?, context).await?;
    Ok(Named { text, place, top, images: Vec::new() })
}

/// What is no image of a known platform is not compared: proofs, other indexes.
async fn with_images(mut named: Named<'_>) -> Result<Named<'_>> {
    let is_known = |platform: &Platform| platform.os != "unknown" && platform.architecture != "unknown";
    named.images = named.place.entries(&named.top).await?;
    let is_alone = matches!(named.images.as_slice(), [one] if one.digest == named.top.digest);
    named.images.retain(|one| {
        media::is_manifest(&one.media_type) && (is_alone || one.platform.as_ref().is_some_and(is_known))
    });
    match named.images.is_empty() {
        true => Err(Error::new(&codes::IMG009, format!("{} has no image of a known platform", named.text))),
        false => Ok(named),
    }
}

impl Named<'_> {
    /// The only image that it is; `None` for an index.
    fn alone(&self) -> Option<&Descriptor> {
        self.images.first().filter(|one| one.digest == self.top.digest)
    }

    /// What is alone is taken for any platform.
    fn image_for(&self, platform: &Platform) -> Result<Descriptor> {
        match self.alone() {
            Some(one) => Ok(one.clone()),
            None => chosen(&self.images, platform, self.text),
        }
    }
}

/// Which image is compared with which.
fn pairs(before: &Named<'_>, after: &Named<'_>, wanted: Option<&Platform>) -> Result<Vec<Pair>> {
    let of = |platform: &Platform| {
        let (one, other) = (before.image_for(platform)?, after.image_for(platform)?);
        Ok(vec![Pair { platform: Some(platform.clone()), before: Some(one), after: Some(other) }])
    };
    if let Some(wanted) = wanted {
        return of(wanted);
    }
    match (before.alone(), after.alone()) {
        (Some(one), Some(other)) => {
            Ok(vec![Pair { platform: None, before: Some(one.clone()), after: Some(other.clone()) }])
        }
        (Some(one), None) | (None, Some(one)) => match &one.platform {
            Some(platform) => of(platform),
            None => Err(Error::new(&codes::IMG009, "one of the two is no image of a platform")),
        },
        (None, None) => {
            let is_same = |one: &Descriptor, other: &Descriptor| matches!((&one.platform, &other.platform), (Some(one), Some(other)) if same(one, other));
            let mut pairs: Vec<Pair> = Vec::new();
            for one in &before.images {
                let other = after.images.iter().find(|other| is_same(one, other)).cloned();
                pairs.push(Pair { platform: one.platform.clone(), before: Some(one.clone()), after: other });
            }
            for other in &after.images {
                if !before.images.iter().any(|one| is_same(one, other)) {
                    let (platform, after) = (other.platform.clone(), Some(other.clone()));
                    pairs.push(Pair { platform, before: None, after });
                }
            }
            Ok(pairs)
        }
    }
}

/// An image with its layers on disk: where it lies, or fetched.
async fn bring(
    named: &Named<'_>,
    image: &Descriptor,
    fetched: &Layout,
    context: &Context,
) -> Result<(Layout, Descriptor)> {
    match &named.place {
        Place::Layout(layout) => Ok((layout.clone(), image.clone())),
        Place::Remote(repository) => {
            let digest = image.digest.to_string();
            let image = push::pull(repository, &digest, fetched, context).await.map_err(failed::of_oci)?;
            Ok((fetched.clone(), image))
        }
    }
}

async fn differences(before: (Layout, Descriptor), after: (Layout, Descriptor)) -> Result<Difference> {
    let comparing = tokio::task::spawn_blocking(move || {
        diff::diff(
            Side { layout: &before.0, manifest: &before.1 },
            Side { layout: &after.0, manifest: &after.1 },
        )
    });
    let found =
        comparing.await.map_err(|error| Error::internal("the comparison broke off").with_source(&error))?;
    found.map_err(failed::of_build)
}

async fn bytes_of(named: &Named<'_>, image: &Descriptor) -> Result<u64> {
    Ok(match named.place.document(image).await? {
        oci::Document::Manifest(parts) => parts.layers.iter().map(|layer| layer.size).sum(),
        oci::Document::Index(_) => 0,
    })
}

impl Change {
    fn is_same(&self) -> bool {
        match self {
            Change::Same => true,
            Change::Changed(found) => found.is_empty(),
            Change::Added(_) | Change::Removed => false,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            _ if self.is_same() => "same",
            Change::Added(_) => "added",
            Change::Removed => "removed",
            _ => "changed",
        }
    }

    fn added_bytes(&self) -> u64 {
        match self {
            Change::Same | Change::Removed => 0,
            Change::Changed(found) => found.added_bytes(),
            Change::Added(bytes) => *bytes,
        }
    }
}

fn report(args: &Args, compared: &[Compared]) -> Report {
    let is_same = compared.iter().all(|one| one.change.is_same());
    let added: u64 = compared.iter().map(|one| one.change.added_bytes()).sum();
    let data = json!({
        "before": args.before, "after": args.after, "same": is_same, "added_bytes": added,
        "platforms": compared.iter().map(told).collect::<Vec<_>>(),
    });
    let mut report = Report::new("image/diff", data);
    if is_same {
        return report.with_text("the same: layers, files and configuration");
    }
    for one in compared {
        if let (Some(platform), true) = (&one.platform, compared.len() > 1) {
            report = report.with_text(format!("{platform}: {}", one.change.word()));
        }
        if let Change::Changed(found) = &one.change {
            report = screen(report, found);
        }
    }
    report =
        report.with_text(format!("who has the first one fetches {} for the second", human::bytes(added)));
    match args.exit_code {
        true => report.with_status("changes", exit::CHANGES),
        false => report,
    }
}

fn told(one: &Compared) -> Value {
    let nothing = Difference { layers: Vec::new(), files: Vec::new(), configuration: Vec::new() };
    let found = match &one.change {
        Change::Changed(found) => found,
        _ => &nothing,
    };
    let layers: Vec<Value> = found
        .layers
        .iter()
        .map(|(is, layer)| json!({"fate": fate(*is), "digest": layer.digest, "bytes": layer.size}))
        .collect();
    let files: Vec<Value> = found
        .files
        .iter()
        .map(|file| json!({"path": file.path, "change": change(file), "before": item(&file.before), "after": item(&file.after)}))
        .collect();
    let facts: Vec<Value> = found
        .configuration
        .iter()
        .map(|fact| json!({"name": fact.name, "before": fact.before, "after": fact.after}))
        .collect();
    json!({
        "platform": one.platform.as_ref().map(ToString::to_string), "change": one.change.word(),
        "layers": layers, "files": files, "configuration": facts, "added_bytes": one.change.added_bytes(),
    })
}

fn screen(mut report: Report, found: &Difference) -> Report {
    if found.is_empty() {
        return report;
    }
    let mut table = Table::new([Column::left("layer"), Column::left("digest"), Column::right("size")]);
    for (is, layer) in &found.layers {
        table.push([fate(*is).to_owned(), layer.digest.short(), human::bytes(layer.size)]);
    }
    report = report.with_table(table);
    if !found.configuration.is_empty() {
        report = report.with_table(configuration(&found.configuration));
    }
    if !found.files.is_empty() {
        report = report.with_table(changed(&found.files));
    }
    let left = found.files.len().saturating_sub(SHOWN);
    match left {
        0 => report,
        left => report.with_text(format!("and {left} more files; -o json has them all")),
    }
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Kept => "kept",
        Fate::Added => "added",
        Fate::Removed => "removed",
    }
}

fn configuration(facts: &[Fact]) -> Table {
    let mut table =
        Table::new([Column::left("configuration"), Column::left("before"), Column::left("after")]);
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    for fact in facts {
        table.push([fact.name.clone(), shown(&fact.before), shown(&fact.after)]);
    }
    table
}

fn changed(files: &[FileChange]) -> Table {
    let mut table = Table::new([
        Column::left("file"),
        Column::left("path"),
        Column::right("before"),
        Column::right("after"),
    ]);
    let size =
        |item: &Option<Item>| item.as_ref().map_or_else(|| "-".to_owned(), |item| human::bytes(item.size()));
    for file in files.iter().take(SHOWN) {
        table.push([change(file).to_owned(), file.path.clone(), size(&file.before), size(&file.after)]);
    }
    table
}

fn change(file: &FileChange) -> &'static str {
    match (&file.before, &file.after) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    }
}

fn item(item: &Option<Item>) -> Value {
    item.as_ref().map_or(Value::Null, |item| {
        json!({"bytes": item.size(), "mode": format!("{:o}", item.mode), "uid": item.uid, "gid": item.gid})
    })
}
