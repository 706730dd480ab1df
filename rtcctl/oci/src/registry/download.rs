//! Blobs coming down: gone on with where they were cut off, and verified before the last of them is given away.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use reqwest::header::CONTENT_RANGE;
use reqwest::{Method, Response, StatusCode};

use super::retry::{Attempts, Failure, Retry};
use super::{Call, Repository};
use crate::{Descriptor, Error, Hasher, Result};

/// A blob on its way here.
///
/// Invariant: whoever has read it to the end has read what its digest names.
pub struct Download {
    repository: Repository,
    descriptor: Descriptor,
    what: String,
    attempts: Attempts,
    hasher: Hasher,
    received: u64,
    /// What a registry that cannot go on in the middle sends a second time.
    skip: u64,
    response: Option<Response>,
    is_verified: bool,
    notice: Arc<dyn Fn(&Retry) + Send + Sync>,
}

impl Repository {
    /// A blob. Nothing is sent until it is read.
    pub fn get_blob(&self, descriptor: &Descriptor) -> Download {
        Download {
            what: format!("blob {}", descriptor.digest),
            attempts: self.attempts(),
            repository: self.clone(),
            descriptor: descriptor.clone(),
            hasher: Hasher::default(),
            received: 0,
            skip: 0,
            response: None,
            is_verified: false,
            notice: Arc::new(|_| ()),
        }
    }
}

impl Download {
    /// Tells when it is gone on with after a failure.
    #[must_use]
    pub fn with_notice(mut self, notice: impl Fn(&Retry) + Send + Sync + 'static) -> Self {
        self.notice = Arc::new(notice);
        self
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// Any of a registry's; [`Error::SizeMismatch`], [`Error::DigestMismatch`].
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.received == self.descriptor.size {
                self.verify()?;
                return Ok(None);
            }
            match self.step().await {
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => {}
                Err(failure) => {
                    self.response = None;
                    let host = self.repository.registry.0.host.clone();
                    self.attempts.next(&host, &self.what, failure, &*self.notice).await?;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut response = match self.response.take() {
            Some(response) => response,
            None => self.open().await?,
        };
        let stall = self.repository.registry.0.patience.stall;
        let chunk = tokio::time::timeout(stall, response.chunk())
            .await
            .map_err(|_| Failure::again(format!("nothing came for {} s", stall.as_secs_f32())))?
            .map_err(|error| Failure::again(super::answer::chain(&error.without_url())))?;
        let Some(mut bytes) = chunk else {
            return Err(Failure::again(format!("it ended after {} bytes", self.received)));
        };
        let known = self.skip.min(bytes.len() as u64);
        self.skip -= known;
        let _ = bytes.split_to(known as usize);
        self.response = Some(response);
        if bytes.is_empty() {
            return Ok(None);
        }
        self.received += bytes.len() as u64;
        self.hasher.update(&bytes);
        self.attempts.forget();
        if self.received > self.descriptor.size {
            return Err(Failure::Final(Error::SizeMismatch {
                what: self.what.clone(),
                expected: self.descriptor.size,
                actual: self.received,
            }));
        }
        if self.received == self.descriptor.size {
            self.verify()?;
        }
        Ok(Some(bytes))
    }

    async fn open(&mut self) -> Result<Response, Failure> {
        let url = self.repository.url(&format!("blobs/{}", self.descriptor.digest));
        let range = (self.received > 0).then_some(self.received);
        let call = Call { range, ..Call::new(Method::GET, url, &self.what) };
        let response = self.repository.call(&call).await?;
        self.skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let start: Option<u64> =
                    range.and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
                match start {
                    Some(start) if start <= self.received => self.received - start,
                    _ => return Err(Failure::again("it went on somewhere else than it was asked to")),
                }
            }
            StatusCode::OK => self.received,
            status => return Err(self.repository.unexpected(&self.what, status)),
        };
        Ok(response)
    }

    fn verify(&mut self) -> Result<()> {
        if !self.is_verified {
            self.descriptor.digest.expect(self.hasher.clone().finish(), &self.what)?;
            self.is_verified = true;
        }
        Ok(())
    }

    /// The pieces one after the other.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, |mut download| async move {
            Ok(download.next().await?.map(|bytes| (bytes, download)))
        })
    }
}
