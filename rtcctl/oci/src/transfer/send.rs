//! An image into a registry.

use std::sync::{Arc, Mutex};

use futures_util::stream::{self, TryStreamExt as _};

use super::origin::{Origin, is_document};
use super::{Options, Referrers, Summary, Transfer, without_doubles};
use crate::registry::{Fetched, Placed, Published, Repository, Step, Tagging};
use crate::{Descriptor, Error, Layout, Result};

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
    let mut state = Found::Nothing;
    if let Some(tag) = tag
        && let Some(existing) = to.head_manifest(tag).await?
    {
        if existing.digest == image.digest {
            state = Found::UnderItsName;
        } else if options.tagging == Tagging::Immutable {
            return Err(Error::TagImmutable {
                repository: to.full_name(),
                tag: tag.to_owned(),
                existing: Some(existing.digest),
                wanted: image.digest,
            });
        }
    }
    let mut plan = Plan::default();
    if state == Found::Nothing && !plan.add(origin, image, to).await? {
        state = if tag.is_some() { Found::ByDigest } else { Found::UnderItsName };
    }
    // They may have come to an image that was sent without them.
    let mut referring = Plan::default();
    if options.referrers == Referrers::With {
        for referrer in origin.referrers(image, &plan.documents).await? {
            referring.add(origin, &referrer, to).await?;
        }
    }
    if state == Found::UnderItsName && referring.documents.is_empty() {
        summary.is_unchanged = true;
        return Ok(summary);
    }
    let top = match state {
        Found::Nothing => plan.documents.pop(),
        Found::ByDigest => Some(origin.fetch(image).await?),
        Found::UnderItsName => None,
    };
    let blobs = without_doubles([plan.blobs, referring.blobs].concat());
    let summary = send_blobs(origin, blobs, to, options, summary).await?;
    // Before its tag names it, what refers to it is there; and a registry may want to see what that refers to.
    let is_awaited = |referrer: &Fetched| {
        let document = referrer.document();
        document
            .is_ok_and(|document| document.subject().is_some_and(|subject| subject.digest == image.digest))
    };
    let first = (state == Found::Nothing && tag.is_some() && referring.documents.iter().any(is_awaited))
        .then(|| top.clone())
        .flatten();
    let order = (plan.documents.into_iter().chain(first).chain(referring.documents))
        .map(|document| (document, None))
        .chain(top.map(|top| (top, tag)))
        .collect();
    publish(order, to, options, summary).await
}

/// What the target has of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// All of it, and not under the tag that it should have.
    ByDigest,
    /// All of it, under its tag or, if it should have none, its digest.
    UnderItsName,
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
            if is_document(part) {
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

/// Puts documents in their order, each under a tag if it has one.
async fn publish(
    order: Vec<(Fetched, Option<&str>)>,
    to: &Repository,
    options: &Options,
    mut summary: Summary,
) -> Result<Summary> {
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
