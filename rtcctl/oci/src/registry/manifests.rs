//! Manifests and indexes by tag or digest, and the tags themselves.

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LINK};
use reqwest::{Method, Response, Url};
use serde::Deserialize;

use super::answer::shown;
use super::retry::Failure;
use super::{Call, Repository};
use crate::layout::check_document_size;
use crate::reference::{check_tag, check_wanted};
use crate::{Descriptor, Digest, Document, Error, Result, document, media};

const CONTENT_DIGEST: &str = "docker-content-digest";
const SUBJECT: &str = "oci-subject";
/// As many as ECR gives at once.
const PAGE: usize = 1000;

/// A document as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub descriptor: Descriptor,
    /// What the digest is of.
    pub bytes: Bytes,
}

impl Fetched {
    /// # Errors
    /// [`Error::Invalid`].
    pub fn document(&self) -> Result<Document> {
        Document::parse(&self.descriptor.digest.to_string(), &self.descriptor.media_type, &self.bytes)
    }
}

/// What may become of a tag that names something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tagging {
    /// It is given again.
    #[default]
    Movable,
    /// It stays, and nothing is sent.
    Immutable,
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The tag named it already.
    Existed,
    Sent,
}

impl Repository {
    /// What a tag or digest names, without its content.
    ///
    /// # Errors
    /// [`Error::Reference`]: it is neither a tag nor a digest. Any of a registry's; that it is not there is `None`.
    pub async fn head_manifest(&self, reference: &str) -> Result<Option<Descriptor>> {
        check_wanted(reference)?;
        let what = format!("manifest {reference}");
        let accept = media::DOCUMENTS.join(", ");
        let call = Call {
            accept: Some(&accept),
            ..Call::new(Method::HEAD, self.url(&format!("manifests/{reference}")), &what)
        };
        let response = match self.persist(&call).await {
            Ok(response) => response,
            Err(Error::NotFound { .. } | Error::NameUnknown { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let headers = response.headers();
        let size = header(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        match (content_digest(headers), size, media_type(headers)) {
            (Some(digest), Some(size), Some(kind)) => Ok(Some(Descriptor::new(kind, digest, size))),
            // The specification lets a registry say nothing but that it is there.
            _ => Ok(Some(self.get_manifest(reference).await?.descriptor)),
        }
    }

    /// What a tag or digest names, verified.
    ///
    /// # Errors
    /// [`Error::Reference`]: it is neither a tag nor a digest. [`Error::NotFound`], [`Error::NameUnknown`],
    /// [`Error::DigestMismatch`], and any other of a registry's.
    pub async fn get_manifest(&self, reference: &str) -> Result<Fetched> {
        check_wanted(reference)?;
        let what = format!("manifest {reference}");
        let accept = media::DOCUMENTS.join(", ");
        let url = self.url(&format!("manifests/{reference}"));
        let call = Call { accept: Some(&accept), ..Call::new(Method::GET, url, &what) };
        let (headers, bytes) = self.get(&call).await?;
        let digest = Digest::of(&bytes);
        let named = reference.parse::<Digest>().ok();
        if let Some(expected) = named.or_else(|| content_digest(&headers)) {
            expected.expect(digest, &what)?;
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            media_type: Option<String>,
        }
        let inner = || serde_json::from_slice::<Head>(&bytes).ok()?.media_type;
        let kind = media_type(&headers)
            .filter(|kind| media::is_manifest(kind) || media::is_index(kind))
            .or_else(inner)
            .or_else(|| media_type(&headers))
            .unwrap_or_default();
        Ok(Fetched { descriptor: Descriptor::new(kind, digest, bytes.len() as u64), bytes })
    }

    /// A whole answer, no longer than documents are.
    pub(super) async fn get(&self, call: &Call<'_>) -> Result<(HeaderMap, Bytes)> {
        let mut attempts = self.attempts();
        loop {
            let read = async {
                let response = self.call(call).await?;
                let headers = response.headers().clone();
                Ok((headers, self.whole(call.what, response).await?))
            };
            match read.await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.again(&mut attempts, call.what, failure).await?,
            }
        }
    }

    async fn whole(&self, what: &str, mut response: Response) -> Result<Bytes, Failure> {
        check_document_size(what, response.content_length().unwrap_or(0))?;
        let mut bytes = BytesMut::new();
        let stall = self.registry.0.patience.stall;
        loop {
            let chunk = tokio::time::timeout(stall, response.chunk())
                .await
                .map_err(|_| Failure::again(format!("nothing came for {} s", stall.as_secs_f32())))?
                .map_err(|error| Failure::again(super::answer::chain(&error.without_url())))?;
            match chunk {
                Some(chunk) => bytes.extend_from_slice(&chunk),
                None => return Ok(bytes.freeze()),
            }
            check_document_size(what, bytes.len() as u64)?;
        }
    }

    /// Puts a document under its digest, or under a tag. What it refers to must be there.
    ///
    /// # Errors
    /// [`Error::TagImmutable`]: the tag names another one and stays so. [`Error::Reference`]: it is no tag. Any other of
    /// a registry's.
    pub async fn publish(
        &self,
        descriptor: &Descriptor,
        bytes: &Bytes,
        tag: Option<&str>,
        tagging: Tagging,
    ) -> Result<Published> {
        tag.map_or(Ok(()), |tag| check_tag(tag, tag))?;
        let wanted = descriptor.digest;
        let immutable = |tag: &str, existing: Option<Digest>| Error::TagImmutable {
            repository: self.full_name(),
            tag: tag.to_owned(),
            existing,
            wanted,
        };
        if let Some(tag) = tag
            && tagging == Tagging::Immutable
            && let Some(existing) = self.head_manifest(tag).await?
        {
            return match existing.digest == wanted {
                true => Ok(Published::Existed),
                false => Err(immutable(tag, Some(existing.digest))),
            };
        }
        let reference = tag.map_or_else(|| wanted.to_string(), str::to_owned);
        let what = format!("manifest {reference}");
        let call = Call {
            content_type: Some(&descriptor.media_type),
            body: bytes.clone(),
            ..Call::new(Method::PUT, self.url(&format!("manifests/{reference}")), &what)
        };
        let response = match (self.persist(&call).await, tag) {
            (Ok(response), _) => response,
            // The repository's own rule, also against the very same digest.
            (Err(error), Some(tag)) if is_immutable(&error) => {
                let existing = self.head_manifest(tag).await?.map(|existing| existing.digest);
                return match existing == Some(wanted) {
                    true => Ok(Published::Existed),
                    false => Err(immutable(tag, existing)),
                };
            }
            (Err(error), _) => return Err(error),
        };
        if !response.status().is_success() {
            return Err(self.refusal(&what, response.status()));
        }
        if let Some(digest) = content_digest(response.headers()) {
            wanted.expect(digest, &what)?;
        }
        let knows_referrers = response.headers().contains_key(SUBJECT);
        let document = Document::parse(&what, &descriptor.media_type, bytes)?;
        if let Some(subject) = document.subject()
            && !knows_referrers
        {
            self.list_referrer(subject, descriptor, &document).await?;
        }
        Ok(Published::Sent)
    }

    /// Takes away a tag or, with a digest, a document and all its tags.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Refused`] where nothing may be deleted; [`Error::Reference`].
    pub async fn delete_manifest(&self, reference: &str) -> Result<()> {
        check_wanted(reference)?;
        let what = format!("manifest {reference}");
        let url = self.url(&format!("manifests/{reference}"));
        self.persist(&Call::new(Method::DELETE, url, &what)).await.map(drop)
    }

    /// All tags, as the registry sorts them.
    ///
    /// # Errors
    /// [`Error::NameUnknown`], and any other of a registry's.
    pub async fn tags(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Tags {
            // A repository whose last tag was taken away has null.
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        let mut next = Some(self.url(&format!("tags/list?n={PAGE}")));
        while let Some(url) = next {
            let (headers, bytes) = self.get(&Call::new(Method::GET, url.clone(), "tags")).await?;
            let page: Tags = document::read(&format!("list of tags from {}", shown(&url)), &bytes)?;
            let page = page.tags.unwrap_or_default();
            next = self.next_page(&url, &headers)?.filter(|_| !page.is_empty());
            tags.extend(page);
        }
        Ok(tags)
    }

    /// Where a list goes on; only in the registry itself.
    pub(super) fn next_page(&self, asked: &Url, headers: &HeaderMap) -> Result<Option<Url>> {
        let next = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            parameters.to_ascii_lowercase().replace('"', "").contains("rel=next").then_some(target)
        });
        let Some(next) = next else { return Ok(None) };
        match asked.join(next) {
            Ok(url) if super::is_same_origin(&url, &self.registry.0.base) && url != *asked => Ok(Some(url)),
            _ => Err(Error::Invalid {
                what: format!("list from {}", shown(asked)),
                reason: match asked.join(next) {
                    Ok(url) => format!("it goes on at {}, which is not in the registry", shown(&url)),
                    Err(_) => "it goes on at what is no address".to_owned(),
                },
            }),
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    header(headers, CONTENT_DIGEST)?.parse().ok()
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let kind = header(headers, CONTENT_TYPE.as_str())?;
    Some(kind.split(';').next().unwrap_or_default().trim().to_owned())
}

/// ECR: `TAG_INVALID`, "… cannot be overwritten because the tag is immutable"; others use other codes.
fn is_immutable(error: &Error) -> bool {
    match error {
        Error::Refused { message, .. } | Error::Denied { message, .. } => {
            message.to_ascii_lowercase().contains("immutable")
        }
        _ => false,
    }
}
