//! `rtcctl image prune`: what the lifecycle of a repository would delete, deleted now.

use std::collections::BTreeMap;

use codes::{Error, Result};
use ecr::lifecycle::Why;
use ecr::{Ecr, Image, Lifecycle};
use oci::registry::Access;
use oci::{Document, Reference, media};
use serde_json::{Value, json};

use super::{access, failed, subject};
use crate::context::{Consent, Context, Effect};
use crate::human;
use crate::output::{Column, Report, Table};
use crate::recording::Recording;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Look first: --dry-run shows what would go and why. What refers to an image goes with it, what an \
                        index holds stays as long as the index."
)]
pub struct Args {
    /// The image of rtc.toml; may be left out where there is only one
    #[arg(value_name = "IMAGE")]
    name: Option<String>,
    /// So many stay, the last pushed first [default: kept_releases of rtc.toml]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// What has no tag stays for so many days [default: untagged_days of rtc.toml]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    untagged_days: Option<u32>,
    /// The name of the environment, where it is protected and nobody can be asked
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let (name, entry) = subject::described(args.name.as_deref(), context)?;
    let target = super::push::target(name, entry, context).await?;
    let Some(ecr) = access::ecr(&target, context).await? else {
        return Err(Error::new(
            &codes::IMG021,
            format!("{} does not say when its images were pushed", target.registry()),
        ));
    };
    let lifecycle = Lifecycle {
        untagged_days: args.untagged_days.unwrap_or(entry.repository.untagged_days),
        kept: args.keep.unwrap_or(entry.repository.kept_releases),
    };
    let images = ecr.images(target.repository()).await.map_err(failed::of_aws)?;
    let held = held(&target, &images, context).await?;
    let expired = lifecycle.expired(&images, &held, context.clock.now());
    let mut data = json!({
        "repository": target.name(), "images": images.len(), "kept": images.len() - expired.len(),
        "expired": expired.iter().map(told).collect::<Vec<_>>(), "deleted": Value::Null,
    });
    if expired.is_empty() {
        let text = format!("nothing to delete: {} images, and the lifecycle keeps them all", images.len());
        return Ok(Report::new("image/prune", data).with_text(text));
    }
    let bytes = expired.iter().map(|(image, _)| image.bytes).sum();
    let names: Vec<String> = expired.iter().map(|(image, _)| image.digest.clone()).collect();
    let table = table(&expired, context);
    if context.effect == Effect::Described {
        let text = format!("{} of {} images would go, {}", expired.len(), images.len(), human::bytes(bytes));
        return Ok(Report::new("image/prune", data).with_table(table).with_text(text).with_names(names));
    }
    let shown = table.to_text(context.width);
    match context.consent {
        // Who is asked sees what it is about; who said yes before, under -q too, need not.
        Consent::Ask => context.progress.write(&format!("{shown}\n")),
        Consent::Given | Consent::Absent => context.progress.say(shown),
    }
    let what = format!("delete {} of {} images of {}", expired.len(), images.len(), target.name());
    match context.config.text("protected") {
        Some("yes") => context.confirm_by_name(&what, context.config.env(), args.confirm.as_deref())?,
        _ => context.confirm(&what)?,
    }
    let mut recording = Recording::begin(context, "image prune", [("repository".to_owned(), target.name())])?;
    recording.note("expired", data["expired"].clone())?;
    recording.step("delete", names.join(" "))?;
    let deleted = match delete(&ecr, target.repository(), &expired, &mut recording).await {
        Ok(deleted) => deleted,
        Err(error) => return Err(recording.failed(error)),
    };
    if !deleted.kept.is_empty() {
        let message = format!("{} of {} images could not be deleted", deleted.kept.len(), expired.len());
        let error = deleted
            .kept
            .iter()
            .take(5)
            .fold(Error::new(&codes::IMG022, message), |error, (digest, reason)| {
                error.with_cause(format!("{digest}: {reason}"))
            });
        return Err(recording.failed(error));
    }
    recording.finished(json!({"deleted": deleted.digests}))?;
    data["deleted"] = json!(deleted.digests.len());
    let text = format!("{} images deleted, {}", deleted.digests.len(), human::bytes(bytes));
    data["run"] = json!(recording.ended(text.clone())?);
    Ok(Report::new("image/prune", data).with_text(text).with_names(names))
}

/// What is referred to by nobody goes first: an index before what it holds, an artifact before its subject.
async fn delete(
    ecr: &Ecr,
    repository: &str,
    expired: &[(&Image, Why)],
    recording: &mut Recording,
) -> Result<ecr::Deleted> {
    let is_index = |image: &Image| image.media_type.as_deref().is_some_and(media::is_index);
    let rank = |image: &Image| match (&image.subject, is_index(image)) {
        (Some(_), _) => 0,
        (None, true) => 1,
        (None, false) => 2,
    };
    let mut all = ecr::Deleted::default();
    for wanted in 0..=2 {
        let digests = expired.iter().filter(|(image, _)| rank(image) == wanted);
        let digests: Vec<String> = digests.map(|(image, _)| image.digest.clone()).collect();
        if digests.is_empty() {
            continue;
        }
        let deleted = ecr.delete_images(repository, &digests).await.map_err(failed::of_aws)?;
        recording.note("deleted", json!(deleted.digests))?;
        all.digests.extend(deleted.digests);
        all.kept.extend(deleted.kept);
    }
    Ok(all)
}

/// What each index of a repository holds.
async fn held(
    target: &Reference,
    images: &[Image],
    context: &Context,
) -> Result<BTreeMap<String, Vec<String>>> {
    let repository = access::repository(target, Access::Pull, context)?;
    let mut held = BTreeMap::new();
    for image in images.iter().filter(|image| image.media_type.as_deref().is_some_and(media::is_index)) {
        let fetched = repository.get_manifest(&image.digest).await.map_err(failed::of_oci)?;
        if let Document::Index(index) = fetched.document().map_err(failed::of_oci)? {
            let children = index.manifests.iter().map(|child| child.digest.to_string());
            held.insert(image.digest.clone(), children.collect());
        }
    }
    Ok(held)
}

fn told((image, why): &(&Image, Why)) -> Value {
    json!({
        "digest": image.digest, "tags": image.tags, "bytes": image.bytes, "why": why.as_str(),
        "pushed_at": image.pushed_at.to_string(),
    })
}

fn table(expired: &[(&Image, Why)], context: &Context) -> Table {
    let now = context.clock.now();
    let mut table = Table::new([
        Column::left("tags"),
        Column::left("digest"),
        Column::right("size"),
        Column::right("pushed"),
        Column::left("why"),
    ]);
    for (image, why) in expired {
        let tags = if image.tags.is_empty() { "-".to_owned() } else { image.tags.join(", ") };
        table.push([
            tags,
            image.digest.chars().take("sha256:".len() + 12).collect(),
            human::bytes(image.bytes),
            human::ago(Some(image.pushed_at), now),
            why.as_str().to_owned(),
        ]);
    }
    table
}
