//! An image out of a registry.

use std::io::Write as _;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt as _};
use tokio::sync::mpsc;

use super::origin::is_document;
use super::{Options, Referrers, Summary, Transfer, without_doubles};
use crate::layout::bare;
use crate::registry::{Fetched, Repository};
use crate::{Descriptor, Digest, Document, Error, Layout, Platform, Result, media};

/// How many pieces may wait for the disk.
const PIECES: usize = 4;

/// The image of one platform behind a reference: itself if it is for one alone, else the one of its index. To have
/// that platform alone, [`pull`] it by the digest of what this gives.
///
/// # Errors
/// [`Error::NotFound`]: there is none for that platform. Any of a registry's.
pub async fn choose(from: &Repository, reference: &str, platform: &Platform) -> Result<Fetched> {
    let fetched = from.get_manifest(reference).await?;
    match fetched.document()? {
        Document::Manifest(_) => Ok(fetched),
        Document::Index(index) => {
            let chosen = of_platform(&index.manifests, platform).ok_or_else(|| {
                let others: Vec<String> = index
                    .manifests
                    .iter()
                    .filter_map(|one| Some(one.platform.as_ref()?.to_string()))
                    .collect();
                Error::NotFound {
                    what: format!(
                        "image for {platform} in {}:{reference}, which has {}",
                        from.full_name(),
                        others.join(", ")
                    ),
                }
            })?;
            from.get_manifest(&chosen.digest.to_string()).await
        }
    }
}

/// The image of a platform among others: the very variant, else one that says none, else the first of that
/// architecture if none was asked for.
pub fn of_platform<'a>(images: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let mut candidates: Vec<(&Descriptor, &Platform)> = images
        .iter()
        .filter(|one| media::is_manifest(&one.media_type))
        .filter_map(|one| Some((one, one.platform.as_ref()?)))
        .filter(|(_, platform)| platform.os == wanted.os && platform.architecture == wanted.architecture)
        .collect();
    candidates.retain(|(_, platform)| {
        platform.variant == wanted.variant || platform.variant.is_none() || wanted.variant.is_none()
    });
    candidates.sort_by_key(|(_, platform)| (platform.variant != wanted.variant, platform.variant.is_some()));
    candidates.first().map(|(one, _)| *one)
}

/// Brings an image into a layout, under a name if one is given. Blobs that are there are not fetched.
///
/// # Errors
/// [`Error::NotFound`], [`Error::DigestMismatch`]; any other of a registry's or a layout's.
pub async fn pull(
    from: &Repository,
    reference: &str,
    layout: &Layout,
    name: Option<&str>,
    options: &Options,
) -> Result<Summary> {
    let top = from.get_manifest(reference).await?;
    let mut summary = Summary::new(top.descriptor.clone());
    let (mut documents, mut blobs) = (Vec::new(), Vec::new());
    collect(from, top.clone(), &mut documents, &mut blobs).await?;
    let mut referring = Vec::new();
    if options.referrers == Referrers::With {
        // A bill of materials is of one platform, and refers to its manifest.
        let subjects: Vec<Digest> = documents.iter().map(|document| document.descriptor.digest).collect();
        for subject in subjects {
            referring.extend(from.referrers(&subject, None).await?);
        }
        referring = without_doubles(referring);
        for referrer in &referring {
            let fetched = from.get_manifest(&referrer.digest.to_string()).await?;
            collect(from, fetched, &mut documents, &mut blobs).await?;
        }
    }
    let tally = Mutex::new(summary);
    stream::iter(without_doubles(blobs).into_iter().map(Ok))
        .try_for_each_concurrent(options.jobs.max(1), |blob| {
            let tally = &tally;
            async move {
                let digest = blob.digest;
                (options.events)(Transfer::Began {
                    digest,
                    bytes: blob.size,
                    media_type: blob.media_type.clone(),
                });
                if layout.blob_size(&digest)? == Some(blob.size) {
                    tally.lock().expect("nobody panics while holding it").existed += 1;
                    (options.events)(Transfer::Existed { digest });
                    return Ok(());
                }
                keep(from, &blob, layout, options).await?;
                let mut tally = tally.lock().expect("nobody panics while holding it");
                tally.moved += 1;
                tally.bytes += blob.size;
                (options.events)(Transfer::Done { digest, bytes: blob.size });
                Ok::<_, Error>(())
            }
        })
        .await?;
    summary = tally.into_inner().expect("nobody panics while holding it");
    for document in &documents {
        layout.put_blob(&document.bytes)?;
        summary.documents += 1;
        let digest = document.descriptor.digest;
        let tag = name.filter(|_| digest == top.descriptor.digest).map(str::to_owned);
        (options.events)(Transfer::Published { digest, tag });
    }
    match name {
        Some(name) => layout.tag(&top.descriptor, name)?,
        None => layout.list(&top.descriptor)?,
    }
    for referrer in &referring {
        layout.list(referrer)?;
    }
    summary.is_unchanged = summary.moved == 0;
    Ok(summary)
}

async fn collect(
    from: &Repository,
    fetched: Fetched,
    documents: &mut Vec<Fetched>,
    blobs: &mut Vec<Descriptor>,
) -> Result<()> {
    if documents.iter().any(|known| known.descriptor.digest == fetched.descriptor.digest) {
        return Ok(());
    }
    for part in fetched.document()?.parts() {
        if is_document(part) {
            let inner = from.get_manifest(&part.digest.to_string()).await?;
            Box::pin(collect(from, inner, documents, blobs)).await?;
        } else {
            blobs.push(part.clone());
        }
    }
    documents.push(fetched);
    Ok(())
}

/// One blob into the layout, written by a thread that may wait for the disk.
async fn keep(from: &Repository, blob: &Descriptor, layout: &Layout, options: &Options) -> Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(PIECES);
    let (target, expected) = (layout.clone(), blob.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = target.write_blob()?;
        let path = writer.path().to_owned();
        while let Some(bytes) = receiver.blocking_recv() {
            writer.write_all(&bytes).map_err(|error| bare(&path, error))?;
        }
        // One that was given up is too short, and leaves nothing.
        writer.finish_as(&expected)
    });
    let (events, digest) = (options.events.clone(), blob.digest);
    let mut download = from
        .get_blob(blob)
        .with_notice(move |retry| events(Transfer::Retried { digest, retry: retry.clone() }));
    let mut moved = 0;
    let fetched = loop {
        match download.next().await {
            Ok(Some(bytes)) => {
                moved += bytes.len() as u64;
                (options.events)(Transfer::Moved { digest: blob.digest, bytes: moved });
                if sender.send(bytes).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(sender);
    let written = writing.await.map_err(|error| Error::Invalid {
        what: format!("blob {}", blob.digest),
        reason: format!("the thread that wrote it ended: {error}"),
    })?;
    fetched.and(written.map(drop))
}
