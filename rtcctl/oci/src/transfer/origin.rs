//! Where an image comes from, a layout or a repository, as one thing to read from.

use crate::registry::{Content, Fetched, Repository};
use crate::{Descriptor, Digest, Layout, Result, media};

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

    /// What refers to an image or to a document in it, each once. `known` are documents that need not be read again.
    pub(super) async fn referrers(&self, image: &Descriptor, known: &[Fetched]) -> Result<Vec<Descriptor>> {
        let mut found: Vec<Descriptor> = Vec::new();
        for subject in self.subjects(image, known).await? {
            let referring = match self {
                Self::Layout(layout) => layout.referrers(&subject)?,
                Self::Repository(repository) => repository.referrers(&subject, None).await?,
            };
            found.extend(referring);
        }
        Ok(super::without_doubles(found))
    }

    /// An image and the documents in it: a bill of materials is of one platform, and refers to its manifest.
    async fn subjects(&self, image: &Descriptor, known: &[Fetched]) -> Result<Vec<Digest>> {
        let (mut found, mut open) = (Vec::new(), vec![image.clone()]);
        while let Some(descriptor) = open.pop() {
            if found.contains(&descriptor.digest) {
                continue;
            }
            found.push(descriptor.digest);
            if media::is_index(&descriptor.media_type) {
                let known = known.iter().find(|known| known.descriptor.digest == descriptor.digest);
                let fetched = match known {
                    Some(known) => known.clone(),
                    None => self.fetch(&descriptor).await?,
                };
                open.extend(
                    fetched.document()?.parts().into_iter().filter(|part| is_document(part)).cloned(),
                );
            }
        }
        Ok(found)
    }
}

pub(super) fn is_document(part: &Descriptor) -> bool {
    media::is_manifest(&part.media_type) || media::is_index(&part.media_type)
}
