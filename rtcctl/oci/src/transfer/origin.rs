//! Where an image comes from, a layout or a repository, as one thing to read from.

use crate::registry::{Content, Fetched, Repository};
use crate::{Descriptor, Digest, Layout, Result};

#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    Layout(&'a Layout),
    Repository(&'a Repository),
}

impl Origin<'_> {
    pub(super) async fn fetch(&self, descriptor: &Descriptor) -> Result<Fetched> {
        match self {
            Self::Layout(layout) => {
                let bytes = layout.read_blob(descriptor)?.into();
                Ok(Fetched { descriptor: descriptor.clone(), bytes })
            }
            Self::Repository(repository) => repository.get_manifest(&descriptor.digest.to_string()).await,
        }
    }

    pub(super) fn content(&self, descriptor: &Descriptor) -> Content {
        match self {
            Self::Layout(layout) => Content::File(layout.blob_path(&descriptor.digest)),
            Self::Repository(repository) => Content::Elsewhere((*repository).clone()),
        }
    }

    pub(super) async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        match self {
            Self::Layout(layout) => layout.referrers(subject),
            Self::Repository(repository) => repository.referrers(subject, None).await,
        }
    }
}
