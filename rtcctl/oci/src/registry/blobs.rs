//! Blobs going up: looked for, mounted, or sent in one piece.
//!
//! Invariants:
//! - a blob is looked for before it is sent, and again before it is sent anew: what was cut off may have arrived;
//! - what fails is begun anew as a whole, with a new upload;
//! - whatever a registry answers to the wish to mount that is not a mount, the blob is uploaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::answer;
use super::retry::{Failure, Retry};
use super::{Call, Repository, challenges, is_about_login, is_same_origin, location};
use crate::error::io;
use crate::reference::check_repository;
use crate::{Descriptor, Digest, Error, Result};

/// How much of a file is in memory for one upload, a few times over.
const CHUNK_BYTES: usize = 256 * 1024;
/// A registry looks at all of a blob after the last byte came.
const LAST_WAIT: u32 = 5;

/// Where the bytes of a blob are.
#[derive(Debug, Clone)]
pub enum Content {
    File(PathBuf),
    Bytes(Bytes),
    /// In another repository; they go through this process without being kept.
    Elsewhere(Repository),
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    Sent,
}

/// What happens to a blob on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// So many bytes of it are out; fewer than before when it was begun anew.
    Moved(u64),
    Retried(Retry),
}

pub(crate) type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

/// What is tried so often for one blob, however many uploads it takes.
struct Chances<'a> {
    mount_from: Option<&'a str>,
    /// A login that is new and refused again is refused for good.
    renewals: u32,
}

enum Begun {
    Mounted,
    At(Url),
}

impl Repository {
    /// Whether a blob is there, and its size as the registry says.
    ///
    /// # Errors
    /// All but [`Error::NotFound`] and [`Error::NameUnknown`], which are `None`.
    pub async fn has_blob(&self, digest: &Digest) -> Result<Option<u64>> {
        let what = format!("blob {digest}");
        let call = Call::new(Method::HEAD, self.url(&format!("blobs/{digest}")), &what);
        match self.persist(&call).await {
            Ok(response) => Ok(Some(size(&response))),
            Err(Error::NotFound { .. } | Error::NameUnknown { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a blob where it may be already. `mount_from` names a repository of the same registry that may have it.
    ///
    /// # Errors
    /// Any of a registry's, and those of reading `content`.
    pub async fn put_blob(
        &self,
        descriptor: &Descriptor,
        content: &Content,
        mount_from: Option<&str>,
        on: impl Fn(Step) + Send + Sync + 'static,
    ) -> Result<Placed> {
        self.place(descriptor, content, mount_from, Arc::new(on)).await
    }

    pub(crate) async fn place(
        &self,
        descriptor: &Descriptor,
        content: &Content,
        mount_from: Option<&str>,
        on: OnStep,
    ) -> Result<Placed> {
        let what = format!("blob {}", descriptor.digest);
        mount_from.map_or(Ok(()), |name| check_repository(name, name))?;
        let mut chances = Chances { mount_from: mount_from.filter(|name| *name != self.name), renewals: 1 };
        let mut attempts = self.attempts();
        loop {
            match self.place_once(descriptor, &what, content, &mut chances, &on).await {
                Ok(placed) => return Ok(placed),
                Err(failure) => {
                    let notice = |retry: &Retry| on(Step::Retried(retry.clone()));
                    attempts.next(&self.registry.0.host, &what, failure, &notice).await?;
                }
            }
        }
    }

    async fn place_once(
        &self,
        descriptor: &Descriptor,
        what: &str,
        content: &Content,
        chances: &mut Chances<'_>,
        on: &OnStep,
    ) -> Result<Placed, Failure> {
        let head = Call::new(Method::HEAD, self.url(&format!("blobs/{}", descriptor.digest)), what);
        match self.call(&head).await {
            Ok(_) => return Ok(Placed::Existed),
            Err(Failure::Final(Error::NotFound { .. } | Error::NameUnknown { .. })) => {}
            Err(failure) => return Err(failure),
        }
        match self.begin(descriptor, what, &mut chances.mount_from).await? {
            Begun::Mounted => Ok(Placed::Mounted),
            Begun::At(url) => {
                self.send(descriptor, what, content, url, &mut chances.renewals, on).await?;
                Ok(Placed::Sent)
            }
        }
    }

    async fn begin(
        &self,
        descriptor: &Descriptor,
        what: &str,
        mount_from: &mut Option<&str>,
    ) -> Result<Begun, Failure> {
        if let Some(from) = mount_from.take() {
            let url = self.url(&format!("blobs/uploads/?mount={}&from={from}", descriptor.digest));
            // A mount is wished for once. That it failed, in whatever way, is no reason to fail.
            if let Ok(response) = self.call(&Call::new(Method::POST, url.clone(), what)).await {
                match response.status() {
                    StatusCode::CREATED => return Ok(Begun::Mounted),
                    StatusCode::ACCEPTED => {
                        if let Some(location) = location(&url, response.headers()) {
                            return Ok(Begun::At(location));
                        }
                    }
                    _ => {}
                }
            }
        }
        let url = self.url("blobs/uploads/");
        let response = self.call(&Call::new(Method::POST, url.clone(), what)).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.unexpected(what, response.status()));
        }
        let location = location(&url, response.headers()).ok_or_else(|| self.lost(what, &url))?;
        Ok(Begun::At(location))
    }

    pub(super) fn unexpected(&self, what: &str, status: StatusCode) -> Failure {
        Failure::Final(self.refusal(what, status))
    }

    /// An answer that is none to what was asked.
    pub(super) fn refusal(&self, what: &str, status: StatusCode) -> Error {
        Error::Refused {
            registry: self.registry.0.host.clone(),
            what: what.to_owned(),
            status: status.as_u16(),
            code: String::new(),
            message: format!("{status} is no answer to that"),
        }
    }

    /// The one `PUT` that carries the content and ends the upload.
    async fn send(
        &self,
        descriptor: &Descriptor,
        what: &str,
        content: &Content,
        mut url: Url,
        renewals: &mut u32,
        on: &OnStep,
    ) -> Result<(), Failure> {
        let inner = &self.registry.0;
        url.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
        let flow = Flow::new(on);
        let mut request = inner
            .http
            .put(url.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, descriptor.size)
            .body(flow.body(content.read(descriptor).await?));
        let header = inner.auth.header(&inner.http, &self.name, &self.scopes).await?;
        if let Some(value) = &header.value
            && is_same_origin(&url, &inner.base)
        {
            request = request.header(AUTHORIZATION, value);
        }
        let asked = self.asked(what, &url);
        let response = match flow.watch(request.send(), descriptor.size, inner.patience.stall).await? {
            Ok(response) => response,
            // The content could not be read: that is the cause, and the connection's end its effect.
            Err(error) => {
                return Err(flow.fault().map_or_else(|| answer::broken(&asked, error), Failure::Final));
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            return Err(self.unexpected(what, status));
        }
        let headers = response.headers().clone();
        let bytes = answer::body(response).await;
        if is_about_login(status, &bytes)
            && is_same_origin(&url, &inner.base)
            && *renewals > 0
            && inner.auth.refused(&header, &self.name, &self.scopes, &challenges(&headers)).await
        {
            *renewals -= 1;
            return Err(Failure::again(format!("the login expired ({status})")));
        }
        let failure = answer::failure(&asked, status, &headers, &bytes);
        if let Failure::Final(Error::Refused { code, .. }) = &failure
            && code == "DIGEST_INVALID"
        {
            content.verify(descriptor).await?;
        }
        Err(failure)
    }
}

/// The size of what a HEAD found.
fn size(response: &Response) -> u64 {
    let length = response.headers().get(CONTENT_LENGTH);
    length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

type Chunks = stream::BoxStream<'static, Result<Bytes>>;

impl Content {
    /// The bytes from the beginning, exactly as many as there should be.
    async fn read(&self, descriptor: &Descriptor) -> Result<Chunks> {
        let size = descriptor.size;
        match self {
            Self::Bytes(bytes) => {
                check_size(descriptor, bytes.len() as u64, || format!("blob {}", descriptor.digest))?;
                Ok(stream::iter([Ok(bytes.clone())]).boxed())
            }
            Self::File(path) => {
                let mut file = tokio::fs::File::open(path).await.map_err(io(path))?;
                let length = file.seek(std::io::SeekFrom::End(0)).await.map_err(io(path))?;
                check_size(descriptor, length, || damaged(path))?;
                file.rewind().await.map_err(io(path))?;
                file.set_max_buf_size(CHUNK_BYTES);
                let path = path.clone();
                let chunks = stream::try_unfold((file, size), move |(mut file, left)| {
                    let path = path.clone();
                    async move {
                        if left == 0 {
                            return Ok(None);
                        }
                        let want = left.min(CHUNK_BYTES as u64);
                        let mut chunk = BytesMut::with_capacity(want as usize);
                        let read = (&mut file).take(want).read_buf(&mut chunk).await.map_err(io(&path))?;
                        if read == 0 {
                            let what = damaged(&path);
                            return Err(Error::SizeMismatch { what, expected: size, actual: size - left });
                        }
                        Ok(Some((chunk.freeze(), (file, left - read as u64))))
                    }
                });
                Ok(chunks.boxed())
            }
            Self::Elsewhere(repository) => Ok(repository.get_blob(descriptor).into_stream().boxed()),
        }
    }

    /// Whether what the registry refused is what it was said to be.
    async fn verify(&self, descriptor: &Descriptor) -> Result<()> {
        let mut hasher = crate::Hasher::default();
        let mut chunks = self.read(descriptor).await?;
        while let Some(chunk) = chunks.try_next().await? {
            hasher.update(&chunk);
        }
        let what = match self {
            Self::File(path) => damaged(path),
            _ => format!("blob {}", descriptor.digest),
        };
        descriptor.digest.expect(hasher.finish(), &what)
    }
}

/// A file that was kept under a digest and is another one now: it is not the registry that is wrong.
fn damaged(path: &Path) -> String {
    format!("{} in the layout", path.display())
}

fn check_size(descriptor: &Descriptor, actual: u64, what: impl FnOnce() -> String) -> Result<()> {
    match actual == descriptor.size {
        true => Ok(()),
        false => Err(Error::SizeMismatch { what: what(), expected: descriptor.size, actual }),
    }
}

/// One upload as it runs: what has gone out, and why its content could not be read.
struct Flow {
    moved: Arc<AtomicU64>,
    fault: Arc<std::sync::Mutex<Option<Error>>>,
    on: OnStep,
}

impl Flow {
    fn new(on: &OnStep) -> Self {
        Self { moved: Arc::default(), fault: Arc::default(), on: on.clone() }
    }

    fn body(&self, chunks: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Body {
        let (moved, on, fault) = (self.moved.clone(), self.on.clone(), self.fault.clone());
        Body::wrap_stream(chunks.map(move |chunk| match chunk {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                on(Step::Moved(moved.fetch_add(length, Ordering::Relaxed) + length));
                Ok(bytes)
            }
            Err(error) => {
                let told = std::io::Error::other(error.to_string());
                *fault.lock().expect("nobody panics while holding it") = Some(error);
                Err(told)
            }
        }))
    }

    fn fault(&self) -> Option<Error> {
        self.fault.lock().expect("nobody panics while holding it").take()
    }

    /// Waits for an answer as long as something moves.
    async fn watch<T>(
        &self,
        send: impl Future<Output = T>,
        size: u64,
        stall: Duration,
    ) -> Result<T, Failure> {
        let mut send = std::pin::pin!(send);
        let mut before = 0;
        loop {
            let is_out = before == size;
            let wait = if is_out { stall * LAST_WAIT } else { stall };
            match tokio::time::timeout(wait, &mut send).await {
                Ok(answer) => return Ok(answer),
                Err(_) => {
                    let now = self.moved.load(Ordering::Relaxed);
                    if now == before {
                        return Err(Failure::again(format!("nothing moved for {} s", wait.as_secs_f32())));
                    }
                    before = now;
                }
            }
        }
    }
}
