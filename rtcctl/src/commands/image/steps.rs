//! Building, pushing and finding images for whoever has more to do than that.
//!
//! Invariant: an image is spoken of by its digest; a tag is only how it is found the first time.

use std::path::{Path, PathBuf};

use codes::{Error, Result};
use futures_util::StreamExt as _;
use oci::registry::Access;
use oci::{Descriptor, Layout, Reference, media};
use serde_json::Value;

use super::{access, build, failed, push, subject};
use crate::context::Context;
use crate::human;
use crate::output::Finding;

/// So many questions are asked at the same time.
const QUESTIONS: usize = 8;

/// An image that lies on this machine.
pub struct Made {
    pub name: String,
    pub digest: String,
    pub tags: Vec<String>,
    pub layout: PathBuf,
    /// Of all its layers.
    pub bytes: u64,
    pub revision: Option<String>,
    pub findings: Vec<Finding>,
}

/// What a push would send.
pub struct Missing {
    pub repository: String,
    pub layers: Vec<Part>,
}

/// A blob of an image.
pub struct Part {
    pub digest: String,
    pub bytes: u64,
    pub is_there: bool,
}

impl Missing {
    pub fn bytes(&self) -> u64 {
        self.layers.iter().filter(|part| !part.is_there).map(|part| part.bytes).sum()
    }

    pub fn count(&self) -> usize {
        self.layers.iter().filter(|part| !part.is_there).count()
    }

    pub fn sentence(&self) -> String {
        match self.count() {
            0 => format!("nothing to send: {} has every layer", self.repository),
            count => format!(
                "{count} of {} blobs to send, {}, to {}",
                self.layers.len(),
                human::bytes(self.bytes()),
                self.repository
            ),
        }
    }
}

/// The name of the image that is meant.
pub fn name_of(name: Option<&str>, context: &Context) -> Result<String> {
    Ok(subject::described(name, context)?.0.to_owned())
}

/// Builds an image of `rtc.toml` on this machine; nothing leaves it.
pub async fn build(name: &str, context: &Context) -> Result<Made> {
    let made = Box::pin(build::make(&build::Args::of(name), context)).await?;
    Ok(Made {
        name: made.name.to_owned(),
        digest: made.built.digest().to_string(),
        tags: made.tags.clone(),
        layout: made.layout.root().to_owned(),
        bytes: made.built.images.iter().map(|image| image.size()).sum(),
        revision: made.commit.clone(),
        findings: made.findings(),
    })
}

/// Pushes what was built by its digest; the answer is that of `image push`.
pub async fn push(
    name: &str,
    layout: &Path,
    digest: &str,
    tags: &[String],
    context: &Context,
) -> Result<(Value, Vec<Finding>)> {
    let (name, entry) = subject::described(Some(name), context)?;
    let (layout, image) = find(layout, digest)?;
    let pushed = Box::pin(push::built((name, entry), &layout, &image, tags, context)).await?;
    let report = pushed.with(crate::output::Report::new("image/push", pushed.document()));
    Ok((report.data, report.findings))
}

fn find(layout: &Path, digest: &str) -> Result<(Layout, Descriptor)> {
    let layout = Layout::open(layout).map_err(failed::of_oci)?;
    let image = layout.find(Some(digest)).map_err(|error| {
        Error::new(&codes::IMG017, format!("{digest} does not lie in {} any more", layout.root().display()))
            .with_source(&error)
            .with_hint(codes::IMG017.action)
    })?;
    Ok((layout, image))
}

/// Asks the registry which parts of an image it lacks.
pub async fn missing(name: &str, layout: &Path, digest: &str, context: &Context) -> Result<Missing> {
    let (name, entry) = subject::described(Some(name), context)?;
    let (layout, image) = find(layout, digest)?;
    let target = push::target(name, entry, context).await?;
    let repository = access::repository(&target, Access::Pull, context)?;
    let parts = layout.reachable(&[image]).map_err(failed::of_oci)?;
    let is_document =
        |part: &Descriptor| media::is_manifest(&part.media_type) || media::is_index(&part.media_type);
    let blobs: Vec<Descriptor> = parts.into_iter().filter(|part| !is_document(part)).collect();
    let asked = futures_util::stream::iter(blobs).map(|part| {
        let repository = &repository;
        async move {
            let there = repository.has_blob(&part.digest).await.map_err(failed::of_oci)?;
            Ok(Part { digest: part.digest.to_string(), bytes: part.size, is_there: there.is_some() })
        }
    });
    let layers: Vec<Result<Part>> = asked.buffered(QUESTIONS).collect().await;
    Ok(Missing { repository: target.name(), layers: layers.into_iter().collect::<Result<_>>()? })
}

/// What an operator calls an image, by its digest: `repository@sha256:…` and the digest alone.
pub async fn pinned(text: &str, context: &Context) -> Result<(String, String)> {
    let reference: Reference = subject::remote(text, context).await?;
    let repository = access::repository(&reference, Access::Pull, context)?;
    let asked = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.to_owned(),
        (None, None) => {
            return Err(Error::new(&codes::IMG026, format!("{text} names neither a tag nor a digest")));
        }
    };
    let found = repository.head_manifest(&asked).await.map_err(failed::of_oci)?;
    let found = found.ok_or_else(|| {
        Error::new(&codes::IMG009, format!("{} has no {asked}", reference.name()))
            .with_hint(codes::IMG009.action)
    })?;
    Ok((reference.with_digest(found.digest).to_string(), found.digest.to_string()))
}
