//! An image into a registry.

use std::sync::{Arc, Mutex};

use futures_util::stream::{self, TryStreamExt as _};

use super::origin::Origin;
use super::{Options, Referrers, Summary, Transfer, without_doubles};
use crate::registry::{Fetched, Placed, Published, Repository, Step, Tagging};
use crate::{Descriptor, Error, Layout, Result, media};

/// Sends an image from a layout, with what it is made of and what refers to it.
///
/// # Errors
/// [`Error::TagImmutable`], before anything is sent if the tag is known to be; any other of a registry's or a layout's.
pub async fn push(
    layout: &Layout,
    image: &Descriptor,
    to: &Repository,
    tag: Option<&str>,
    options: &Options,
) -> Result<Summary> {
    let to = match &options.mount_from {
        Some(from) => to.clone().with_mounts_from([from.as_str()]),
        None => to.clone(),
    };
    send(Origin::Layout(layout), image, &to, tag, options).await
}

/// Copies an image from one repository to another. Within one registry no byte of a blob moves, unless the registry
/// does not mount; otherwise blobs go through this process, a few hundred kilobytes at a time.
///
/// # Errors
/// Those of [`push`], of either registry.
pub async fn copy(
    from: &Repository,
    reference: &str,
    to: &Repository,
    tag: Option<&str>,
    options: &Options,
) -> Result<Summary> {
    let Some(image) = from.head_manifest(reference).await? else {
        // Asked in a way that is answered with a reason.
        return Err(match from.get_manifest(reference).await {
            Err(error) => error,
            Ok(_) => Error::NotFound { what: format!("manifest {reference} in {}", from.full_name()) },
        });
    };
    let mut options = options.clone();
    let mut to = to.clone();
    if from.is_beside(&to) {
        options.mount_from = Some(from.name().to_owned());
        to = to.with_mounts_from([from.name()]);
    }
    send(Origin::Repository(from), &image, &to, tag, &options).await
}

/// What is to be sent, parts before what is made of them.
#[derive(Default)]
struct Plan {
    documents: Vec<Fetched>,
    blobs: Vec<Descriptor>,
}

async fn send(
    origin: Origin<'_>,
    image: &Descriptor,
    to: &Repository,
    tag: Option<&str>,
    options: &Options,
) -> Result<Summary> {
    let mut summary = Summary::new(image.clone());
    if let Some(tag) = tag
        && let Some(existing) = to.head_manifest(tag).await?
    {
        if existing.digest == image.digest {
            summary.is_unchanged = true;
            return Ok(summary);
        }
        if options.tagging == Tagging::Immutable {
            return Err(Error::TagImmutable {
                repository: to.full_name(),
                tag: tag.to_owned(),
                existing: Some(existing.digest),
                wanted: image.digest,
            });
        }
    }
    let mut plan = Plan::default();
    let is_there = !plan.add(origin, image, to).await?;
    if is_there && tag.is_none() {
        summary.is_unchanged = true;
        return Ok(summary);
    }
    let top = match plan.documents.pop() {
        Some(top) if !is_there => top,
        _ => origin.fetch(image).await?,
    };
    let mut referring = Plan::default();
    if options.referrers == Referrers::With {
        for referrer in origin.referrers(&image.digest).await? {
            referring.add(origin, &referrer, to).await?;
        }
    }
    let blobs = without_doubles([plan.blobs, referring.blobs].concat());
    let summary = send_blobs(origin, blobs, to, options, summary).await?;
    publish(plan.documents, top, referring.documents, to, tag, options, summary).await
}

impl Plan {
    /// Enters a document and its parts; `false` if it is there with all of them.
    async fn add(&mut self, origin: Origin<'_>, descriptor: &Descriptor, to: &Repository) -> Result<bool> {
        if self.documents.iter().any(|known| known.descriptor.digest == descriptor.digest) {
            return Ok(true);
        }
        if to.head_manifest(&descriptor.digest.to_string()).await?.is_some() {
            return Ok(false);
        }
        let fetched = origin.fetch(descriptor).await?;
        let document = fetched.document()?;
        for part in document.parts() {
            if media::is_manifest(&part.media_type) || media::is_index(&part.media_type) {
                Box::pin(self.add(origin, part, to)).await?;
            } else {
                self.blobs.push(part.clone());
            }
        }
        self.documents.push(fetched);
        Ok(true)
    }
}

async fn send_blobs(
    origin: Origin<'_>,
    blobs: Vec<Descriptor>,
    to: &Repository,
    options: &Options,
    summary: Summary,
) -> Result<Summary> {
    let tally = Mutex::new(summary);
    let tell = &options.events;
    stream::iter(blobs.into_iter().map(Ok))
        .try_for_each_concurrent(options.jobs.max(1), |blob| {
            let tally = &tally;
            async move {
                let digest = blob.digest;
                tell(Transfer::Began { digest, bytes: blob.size, media_type: blob.media_type.clone() });
                let events = tell.clone();
                let on = Arc::new(move |step: Step| {
                    events(match step {
                        Step::Moved(bytes) => Transfer::Moved { digest, bytes },
                        Step::Retried(retry) => Transfer::Retried { digest, retry },
                    });
                });
                let content = origin.content(&blob);
                let placed = to.place(&blob, &content, options.mount_from.as_deref(), on).await?;
                let mut tally = tally.lock().expect("nobody panics while holding it");
                match placed {
                    Placed::Existed => {
                        tally.existed += 1;
                        tell(Transfer::Existed { digest });
                    }
                    Placed::Mounted => {
                        tally.mounted += 1;
                        let from = options.mount_from.clone().unwrap_or_default();
                        tell(Transfer::Mounted { digest, from });
                    }
                    Placed::Sent => {
                        tally.moved += 1;
                        tally.bytes += blob.size;
                        tell(Transfer::Done { digest, bytes: blob.size });
                    }
                }
                Ok::<_, Error>(())
            }
        })
        .await?;
    Ok(tally.into_inner().expect("nobody panics while holding it"))
}

/// The image, under its digest while something that refers to it must come before its tag.
async fn publish(
    parts: Vec<Fetched>,
    top: Fetched,
    referring: Vec<Fetched>,
    to: &Repository,
    tag: Option<&str>,
    options: &Options,
    mut summary: Summary,
) -> Result<Summary> {
    let is_awaited = tag.is_some() && !referring.is_empty();
    let order = parts
        .iter()
        .map(|part| (part, None))
        .chain(is_awaited.then_some((&top, None)))
        .chain(referring.iter().filter(|_| is_awaited).map(|referrer| (referrer, None)))
        .chain([(&top, tag)])
        .chain(referring.iter().filter(|_| !is_awaited).map(|referrer| (referrer, None)));
    for (document, tag) in order {
        // Whether the tag may be moved was seen before anything was sent; a registry's own rule is still heeded.
        let published = to.publish(&document.descriptor, &document.bytes, tag, Tagging::Movable).await?;
        summary.documents += usize::from(published == Published::Sent);
        (options.events)(Transfer::Published {
            digest: document.descriptor.digest,
            tag: tag.map(str::to_owned),
        });
    }
    Ok(summary)
}
