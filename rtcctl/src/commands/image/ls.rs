//! `rtcctl image ls`: what a repository holds, the last pushed first.

use codes::Result;
use futures_util::{StreamExt as _, stream};
use kernel::Timestamp;
use oci::media;
use oci::registry::Access;
use oci::{Document, Reference};
use serde_json::{Value, json};

use super::subject::{self, Subject};
use super::{access, failed};
use crate::context::Context;
use crate::human;
use crate::output::{Column, Report, Table};

/// So many tags are asked for at the same time.
const QUESTIONS: usize = 8;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A repository, an image of rtc.toml, or a layout (oci:DIR)
    #[arg(value_name = "REPOSITORY")]
    repository: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
    limit: usize,
}

fn limit(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a number from 1".to_owned()),
    }
}

/// One image, wherever it is.
struct Row {
    digest: String,
    tags: Vec<String>,
    bytes: Option<u64>,
    pushed_at: Option<Timestamp>,
    pulled_at: Option<Timestamp>,
    kind: &'static str,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let text = match &args.repository {
        Some(text) => text.clone(),
        None => subject::described(None, context)?.0.to_owned(),
    };
    let (place, mut rows) = match Subject::find(&text, context).await? {
        Subject::Layout { folder, .. } => (folder.display().to_string(), in_layout(folder)?),
        Subject::Remote(reference) => (reference.name(), in_registry(&reference, context).await?),
    };
    rows.sort_by(|a, b| b.pushed_at.cmp(&a.pushed_at).then_with(|| a.tags.cmp(&b.tags)));
    let all = rows.len();
    rows.truncate(args.limit);
    Ok(report(&place, &rows, all, context))
}

async fn in_registry(reference: &Reference, context: &Context) -> Result<Vec<Row>> {
    if let Some(ecr) = access::ecr(reference, context).await? {
        let images = ecr.images(reference.repository()).await.map_err(failed::of_aws)?;
        // What belongs to another is seen with it: rtcctl image inspect.
        let own = images.into_iter().filter(|image| image.subject.is_none());
        return Ok(own
            .map(|image| Row {
                kind: kind(image.media_type.as_deref()),
                digest: image.digest,
                tags: image.tags,
                bytes: Some(image.bytes),
                pushed_at: Some(image.pushed_at),
                pulled_at: image.pulled_at,
            })
            .collect());
    }
    let repository = access::repository(reference, Access::Pull, context)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut tags = repository.tags().await.map_err(failed::of_oci)?;
    // What refers to an image is tagged by its digest where a registry has no better way.
    tags.retain(|tag| !tag.starts_with("sha256-"));
    let asking = stream::iter(tags).map(|tag| {
        let repository = &repository;
        async move { (repository.get_manifest(&tag).await, tag) }
    });
    let mut answers = std::pin::pin!(asking.buffered(QUESTIONS));
    while let Some((answer, tag)) = answers.next().await {
        let fetched = match answer {
            Ok(fetched) => fetched,
            // Somebody deleted it since the tags were listed.
            Err(oci::Error::NotFound { .. }) => continue,
            Err(error) => return Err(failed::of_oci(error)),
        };
        let digest = fetched.descriptor.digest.to_string();
        if let Some(row) = rows.iter_mut().find(|row| row.digest == digest) {
            row.tags.push(tag);
            continue;
        }
        // One that cannot be read hides no other.
        let document = fetched.document().ok();
        rows.push(Row {
            digest,
            tags: vec![tag],
            bytes: document.as_ref().and_then(bytes),
            pushed_at: None,
            pulled_at: None,
            kind: match document {
                Some(_) => kind(Some(&fetched.descriptor.media_type)),
                None => "unreadable",
            },
        });
    }
    Ok(rows)
}

fn in_layout(folder: std::path::PathBuf) -> Result<Vec<Row>> {
    let layout = oci::Layout::open(folder).map_err(failed::of_oci)?;
    let mut rows: Vec<Row> = Vec::new();
    for named in layout.index().map_err(failed::of_oci)?.manifests {
        let Some(tag) = named.ref_name().map(str::to_owned) else { continue };
        let digest = named.digest.to_string();
        if let Some(row) = rows.iter_mut().find(|row| row.digest == digest) {
            row.tags.push(tag);
            continue;
        }
        let document = layout.document(&named).map_err(failed::of_oci)?;
        let kind = kind(Some(&named.media_type));
        rows.push(Row {
            digest,
            tags: vec![tag],
            bytes: bytes(&document),
            pushed_at: None,
            pulled_at: None,
            kind,
        });
    }
    Ok(rows)
}

/// As many tags as fit a line; `-o json` has them all.
fn shown(tags: &[String]) -> String {
    const TAGS: usize = 4;
    match tags {
        [] => "-".to_owned(),
        tags if tags.len() <= TAGS => tags.join(", "),
        tags => format!("{} and {} more", tags[..TAGS].join(", "), tags.len() - TAGS),
    }
}

/// The layers of an image as they are stored; of several images nobody knows without asking for each.
fn bytes(document: &Document) -> Option<u64> {
    match document {
        Document::Manifest(manifest) => Some(manifest.layers.iter().map(|layer| layer.size).sum()),
        Document::Index(_) => None,
    }
}

fn kind(media_type: Option<&str>) -> &'static str {
    match media_type {
        Some(text) if media::is_index(text) => "index",
        _ => "image",
    }
}

fn report(place: &str, rows: &[Row], all: usize, context: &Context) -> Report {
    let now = context.clock.now();
    let has_times = rows.iter().any(|row| row.pushed_at.is_some());
    let mut columns =
        vec![Column::left("tags"), Column::left("digest"), Column::left("kind"), Column::right("size")];
    if has_times {
        columns.extend([Column::right("pushed"), Column::right("pulled")]);
    }
    let mut table = Table::new(columns);
    for row in rows {
        let tags = shown(&row.tags);
        let digest = row.digest.chars().take("sha256:".len() + 12).collect();
        let size = row.bytes.map_or_else(|| "-".to_owned(), human::bytes);
        let mut cells = vec![tags, digest, row.kind.to_owned(), size];
        if has_times {
            cells.extend([human::ago(row.pushed_at, now), human::ago(row.pulled_at, now)]);
        }
        table.push(cells);
    }
    let images: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "digest": row.digest, "tags": row.tags, "kind": row.kind, "bytes": row.bytes,
                "pushed_at": row.pushed_at.map(|at| at.to_string()),
                "pulled_at": row.pulled_at.map(|at| at.to_string()),
            })
        })
        .collect();
    let report = Report::new("image/ls", json!({"repository": place, "images": images, "in_all": all}))
        .with_names(rows.iter().map(|row| row.digest.clone()));
    match (rows.is_empty(), all > rows.len()) {
        (true, _) => report.with_text(format!("{place} holds no image")),
        (false, true) => {
            report.with_table(table).with_text(format!("{} of {all}; --limit shows more", rows.len()))
        }
        (false, false) => report.with_table(table),
    }
}
