//! The images of a repository.

use aws_sdk_ecr::types::ImageIdentifier;
use aws_smithy_types::DateTime;
use kernel::Timestamp;

use crate::{Ecr, Error, Kind, Result};

/// How many images one request may name ("BatchDeleteImage", API reference).
const BATCH: usize = 100;

/// A manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…`
    pub digest: String,
    pub tags: Vec<String>,
    pub pushed_at: Timestamp,
    /// Its layers as they are stored; 0 where ECR does not say.
    pub bytes: u64,
    pub media_type: Option<String>,
    pub artifact_type: Option<String>,
    /// What it refers to, where it is an artifact of another image.
    pub subject: Option<String>,
    /// To the day, as ECR keeps it.
    pub pulled_at: Option<Timestamp>,
}

/// What became of a wish to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    pub digests: Vec<String>,
    /// Digest and ECR's reason.
    pub kept: Vec<(String, String)>,
}

impl Ecr {
    /// Every image of a repository, in no order that is promised.
    pub async fn images(&self, repository: &str) -> Result<Vec<Image>> {
        let mut pages = self
            .client
            .describe_images()
            .set_registry_id(self.account.clone())
            .repository_name(repository)
            .into_paginator()
            .send();
        let mut images = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Error::of("ecr:DescribeImages", error))?;
            for detail in page.image_details() {
                let Some(digest) = detail.image_digest() else { continue };
                images.push(Image {
                    digest: digest.to_owned(),
                    tags: detail.image_tags().to_vec(),
                    pushed_at: detail.image_pushed_at().map_or(Timestamp::from_millis(0), at),
                    bytes: detail.image_size_in_bytes().and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
                    media_type: detail.image_manifest_media_type().map(str::to_owned),
                    artifact_type: detail.artifact_media_type().map(str::to_owned),
                    subject: detail.subject_manifest_digest().map(str::to_owned),
                    pulled_at: detail.last_recorded_pull_time().map(at),
                });
            }
        }
        Ok(images)
    }

    /// Deletes manifests with all their tags, in the order given: an index goes before what it holds.
    pub async fn delete_images(&self, repository: &str, digests: &[String]) -> Result<Deleted> {
        let mut deleted = Deleted::default();
        for batch in digests.chunks(BATCH) {
            let ids = batch.iter().map(|digest| ImageIdentifier::builder().image_digest(digest).build());
            let answer = self
                .client
                .batch_delete_image()
                .set_registry_id(self.account.clone())
                .repository_name(repository)
                .set_image_ids(Some(ids.collect()))
                .send()
                .await
                .map_err(|error| Error::of("ecr:BatchDeleteImage", error))?;
            for failure in answer.failures() {
                let digest = failure.image_id().and_then(|id| id.image_digest()).unwrap_or("?");
                let reason = failure.failure_reason().unwrap_or("no reason given");
                deleted.kept.push((digest.to_owned(), reason.to_owned()));
            }
        }
        let is_kept = |digest: &String| deleted.kept.iter().any(|(kept, _)| kept == digest);
        deleted.digests = digests.iter().filter(|digest| !is_kept(digest)).cloned().collect();
        match deleted.kept.iter().any(|(digest, _)| digest == "?") {
            true => Err(Error::new(Kind::Fault, "ecr:BatchDeleteImage", "a failure names no image")),
            false => Ok(deleted),
        }
    }
}

pub(crate) fn at(time: &DateTime) -> Timestamp {
    Timestamp::from_millis(time.to_millis().unwrap_or(0))
}
