//! `rtcctl image diff`: what is in the second image and not in the first, and the other way round.

use image::diff::{self, Fact, Fate, FileChange, Side};
use image::files::Item;
use oci::registry::Access;
use oci::transfer;
use oci::{Descriptor, Layout, Platform};
use serde_json::{Value, json};

use super::inspect::serves;
use super::subject::Subject;
use super::{access, failed, push};
use crate::codes;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::exit;
use crate::human;
use crate::output::{Column, Report, Table};

/// So many files are shown; `-o json` has all of them.
const SHOWN: usize = 40;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The older image: a reference, an image of rtc.toml with a tag, or oci:DIR[:TAG]
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The newer one
    #[arg(value_name = "AFTER")]
    after: String,
    /// Which image of several
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64")]
    platform: String,
    /// End with 10 where they differ
    #[arg(long)]
    exit_code: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let platform =
        Platform::parse(&args.platform).map_err(|error| Error::new(&codes::USE001, error.to_string()))?;
    let folder = push::looked_at(context)
        .map_err(|error| Error::new(&codes::IMG006, "cannot keep what is compared").with_source(&error))?;
    let fetched = Layout::create(folder.path()).map_err(failed::of_oci)?;
    let before = bring(&args.before, &platform, &fetched, context).await?;
    let after = bring(&args.after, &platform, &fetched, context).await?;
    let compared = tokio::task::spawn_blocking(move || {
        diff::diff(
            Side { layout: &before.0, manifest: &before.1 },
            Side { layout: &after.0, manifest: &after.1 },
        )
    });
    let found =
        compared.await.map_err(|error| Error::internal("the comparison broke off").with_source(&error))?;
    Ok(report(&args, &found.map_err(failed::of_build)?))
}

/// An image with its layers on disk: where it lies, or fetched.
async fn bring(
    text: &str,
    platform: &Platform,
    fetched: &Layout,
    context: &Context,
) -> Result<(Layout, Descriptor)> {
    match Subject::find(text, context).await? {
        Subject::Layout { folder, tag } => {
            let layout = Layout::open(folder).map_err(failed::of_oci)?;
            let top = layout.find(tag.as_deref()).map_err(failed::of_finding)?;
            let images = push::images_of(&layout, &top).map_err(failed::of_oci)?;
            let image = match images.as_slice() {
                [one] => one.clone(),
                several => several
                    .iter()
                    .find(|one| one.platform.as_ref().is_some_and(|found| serves(found, platform)))
                    .cloned()
                    .ok_or_else(|| {
                        Error::new(&codes::IMG009, format!("{text} has no image for {platform}"))
                    })?,
            };
            Ok((layout, image))
        }
        Subject::Remote(reference) => {
            let repository = access::repository(&reference, Access::Pull, context)?;
            let chosen =
                transfer::choose(&repository, &reference.wanted(), platform).await.map_err(failed::of_oci)?;
            let digest = chosen.descriptor.digest.to_string();
            let image = push::pull(&repository, &digest, fetched, context).await.map_err(failed::of_oci)?;
            Ok((fetched.clone(), image))
        }
    }
}

fn report(args: &Args, found: &diff::Difference) -> Report {
    let fate = |fate: Fate| match fate {
        Fate::Kept => "kept",
        Fate::Added => "added",
        Fate::Removed => "removed",
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
    let data = json!({
        "before": args.before, "after": args.after, "same": found.is_empty(),
        "layers": layers, "files": files, "configuration": facts, "added_bytes": found.added_bytes(),
    });
    let mut report = Report::new("image/diff", data);
    if found.is_empty() {
        return report.with_text("the same: layers, files and configuration");
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
    if left > 0 {
        report = report.with_text(format!("and {left} more files; -o json has them all"));
    }
    let added = human::bytes(found.added_bytes());
    report = report.with_text(format!("who has the first one fetches {added} for the second"));
    match args.exit_code {
        true => report.with_status("changes", exit::CHANGES),
        false => report,
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
