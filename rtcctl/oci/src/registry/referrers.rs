//! What refers to a document: its SBOM, its signatures.
//!
//! Registries of the specification 1.1 keep the list. For others it is an index under the tag `sha256-…`, which
//! whoever pushes a referrer writes; two who do so at the same moment may lose one entry, as the specification warns.

use reqwest::Method;

use super::{Call, Repository, Tagging};
use crate::document::{self, Annotations};
use crate::{Descriptor, Digest, Document, Error, Index, Result, media};

impl Repository {
    /// The documents that refer to another; of one artifact type, if it is given.
    ///
    /// # Errors
    /// Any of a registry's; that nothing refers to it is an empty list.
    pub async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let mut found = match self.listed(subject, artifact_type).await? {
            Some(found) => found,
            None => self.tagged(subject).await?.manifests,
        };
        // A registry may not have looked at the type.
        found.retain(|one| artifact_type.is_none_or(|kind| one.artifact_type.as_deref() == Some(kind)));
        Ok(found)
    }

    /// As the registry lists them; `None` when it keeps no list.
    async fn listed(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Option<Vec<Descriptor>>> {
        let what = format!("referrers of {subject}");
        let mut first = self.url(&format!("referrers/{subject}"));
        if let Some(kind) = artifact_type {
            first.query_pairs_mut().append_pair("artifactType", kind);
        }
        let mut found = Vec::new();
        let mut next = Some(first);
        while let Some(url) = next {
            let call = Call { accept: Some(media::INDEX), ..Call::new(Method::GET, url.clone(), &what) };
            let (headers, bytes) = match self.get(&call).await {
                Ok(answer) => answer,
                // Older registries do not know the address: some say so plainly, some in their own form.
                Err(
                    Error::NotFound { .. }
                    | Error::NameUnknown { .. }
                    | Error::NotARegistry { .. }
                    | Error::Refused { .. },
                ) if found.is_empty() => return Ok(None),
                Err(error) => return Err(error),
            };
            let page: Index = document::read(&what, &bytes)?;
            next = self.next_page(&url, &headers)?.filter(|_| !page.manifests.is_empty());
            found.extend(page.manifests);
        }
        Ok(Some(found))
    }

    async fn tagged(&self, subject: &Digest) -> Result<Index> {
        match self.get_manifest(&tag(subject)).await {
            Ok(fetched) => document::read(&format!("index {}", tag(subject)), &fetched.bytes),
            Err(Error::NotFound { .. } | Error::NameUnknown { .. }) => Ok(Index::new(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Enters a referrer where the registry does not.
    pub(super) async fn list_referrer(
        &self,
        subject: &Descriptor,
        descriptor: &Descriptor,
        document: &Document,
    ) -> Result<()> {
        let mut index = self.tagged(&subject.digest).await?;
        if index.manifests.iter().any(|known| known.digest == descriptor.digest) {
            return Ok(());
        }
        let (artifact_type, annotations) = described(document);
        index.media_type = Some(media::INDEX.to_owned());
        index.manifests.push(Descriptor { artifact_type, annotations, ..descriptor.clone() });
        let bytes = document::encode(&index);
        let entry = Descriptor::of(media::INDEX, &bytes);
        let tag = tag(&subject.digest);
        // An index refers to nothing: this ends here.
        Box::pin(self.publish(&entry, &bytes.into(), Some(&tag), Tagging::Movable)).await.map(drop)
    }
}

fn described(document: &Document) -> (Option<String>, Option<Annotations>) {
    match document {
        Document::Manifest(manifest) => {
            (Some(manifest.artifact_type().to_owned()), manifest.annotations.clone())
        }
        Document::Index(index) => (index.artifact_type.clone(), index.annotations.clone()),
    }
}

fn tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}
