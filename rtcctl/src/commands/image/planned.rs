//! `rtcctl image build --dry-run`: what would be built, with everything looked at that a build reads.

use std::path::Path;

use codes::{Error, Result};
use image::elf::Linkage;
use image::{Foundation, Outline, Settings};
use oci::Layout;
use serde_json::{Value, json};

use super::{base, build};
use crate::context::Context;
use crate::human;
use crate::output::{Column, Report, Table};

/// Programs are read, libraries found, and the base is asked for; nothing is written.
pub async fn look(
    name: &str,
    mut settings: Settings,
    (on, folder, tags): (&str, &Path, &[String]),
    context: &Context,
) -> Result<Report> {
    if folder.exists() && std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        Layout::open(folder).map_err(build::of_folder)?;
    }
    if on != base::NO_BASE {
        base::bases(on, &settings.binaries, context).await?;
        settings.foundation = Foundation::Bases(Vec::new());
    }
    let programs = build::programs(&settings);
    let looking = tokio::task::spawn_blocking(move || image::check(&settings));
    let found = looking.await.map_err(|error| Error::internal("the look broke off").with_source(&error))?;
    let outlines = found.map_err(|error| build::refused(error, name, &programs))?;
    Ok(report(name, (on, folder, tags), &outlines))
}

fn report(name: &str, (base_name, folder, tags): (&str, &Path, &[String]), outlines: &[Outline]) -> Report {
    let images: Vec<Value> = outlines
        .iter()
        .map(|one| {
            json!({
                "platform": one.platform.to_string(), "binary": one.binary, "linkage": linkage(one.linkage),
                "libraries": one.libraries, "file_bytes": one.bytes,
            })
        })
        .collect();
    let mut table = Table::new([
        Column::left("platform"),
        Column::left("program"),
        Column::left("linked"),
        Column::right("libraries"),
        Column::right("files"),
    ]);
    for one in outlines {
        table.push([
            one.platform.to_string(),
            one.binary.display().to_string(),
            linkage(one.linkage).to_owned(),
            one.libraries.len().to_string(),
            human::bytes(one.bytes),
        ]);
    }
    let data = json!({"image": name, "layout": folder, "tags": tags, "base": base_name, "images": images});
    let on = if base_name == base::NO_BASE { String::new() } else { format!(" on {base_name}") };
    let text = format!("{name} would be built{on} into {} as {}", folder.display(), tags.join(", "));
    Report::new("image/build", data).with_table(table).with_text(text)
}

fn linkage(linkage: Linkage) -> &'static str {
    match linkage {
        Linkage::Dynamic => "dynamic",
        Linkage::StaticPie | Linkage::Static => "static",
        Linkage::Library => "library",
    }
}
