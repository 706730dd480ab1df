//! A registry to be tested against, which behaves as real ones do when they are at their worst.
//!
//! It keeps what it is given in memory, notes every request, and breaks the [`Rules`] of good manners that it is told
//! to. As ECR it answers `PATCH` with 201, drops the second one, knows only the repositories that were made, and
//! refuses to give an immutable tag again even to the same digest.

mod answers;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Barrier;

use crate::credentials::{Credentials, Grant, Login};
use crate::{Digest, Result};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guard {
    #[default]
    Everybody,
    /// `Authorization: Basic` with [`Server::secret`].
    Basic,
    /// A token from `/token`, for which [`USER`] and [`PASSWORD`] are wanted.
    Bearer,
    /// As `Bearer`, but tokens are given to everybody.
    OpenBearer,
}

pub const USER: &str = "rtc";
pub const PASSWORD: &str = "not-a-secret";

/// What becomes of a wish to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mounts {
    #[default]
    Granted,
    /// 202 and an upload, as where mounting is switched off.
    Ignored,
    /// An error, as from some proxies.
    Refused,
}

/// How the registry behaves. Counters go down as they are used up.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub guard: Guard,
    /// After so many requests the secret changes.
    pub expires_after: Option<u32>,
    /// Says that a login expired as ECR does: 403 and a sentence.
    pub expires_as_forbidden: bool,
    /// Only these exist; empty: whatever is asked for.
    pub repositories: Vec<String>,
    pub has_immutable_tags: bool,
    pub mounts: Mounts,
    /// So many requests are answered with 429.
    pub busy: u32,
    /// So many requests for a token are answered with 503.
    pub busy_tokens: u32,
    /// In seconds.
    pub retry_after: Option<u64>,
    /// So many uploads are cut after some bytes.
    pub cut_uploads: u32,
    /// So many uploads are taken, and their answer is lost.
    pub lost_answers: u32,
    /// So many downloads are cut in their middle.
    pub cut_downloads: u32,
    /// Ignores `Range`.
    pub starts_over: bool,
    /// What every upload is answered with, status and body.
    pub upload_answer: Option<(u16, &'static str)>,
    /// What every wish for a token is granted with.
    pub token_answer: Option<&'static str>,
    /// Uploads go to another host, and downloads come from there.
    pub is_elsewhere: bool,
    /// Keeps no list of referrers.
    pub knows_no_referrers: bool,
    /// A proxy in front answers everything.
    pub is_portal: bool,
    /// So many tags or referrers at once.
    pub page: Option<usize>,
    /// A manifest that is asked for with GET is answered when so many are asked for at once.
    pub gate: Option<Arc<Barrier>>,
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    pub has_login: bool,
    /// It came to the other host.
    pub is_elsewhere: bool,
    pub range: Option<String>,
}

#[derive(Default)]
struct Repository {
    blobs: HashMap<Digest, Bytes>,
    manifests: BTreeMap<Digest, (String, Bytes)>,
    tags: BTreeMap<String, Digest>,
}

#[derive(Default)]
struct State {
    rules: Rules,
    requests: Vec<Request>,
    repositories: HashMap<String, Repository>,
    uploads: HashMap<String, Upload>,
    secrets: u32,
    serial: u32,
    at_gate: usize,
    most_at_gate: usize,
}

struct Upload {
    repository: String,
    parts: u32,
    bytes: Vec<u8>,
}

struct Shared {
    state: Mutex<State>,
    host: String,
    elsewhere: String,
}

/// A registry on this machine, gone when it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Server {
    /// Starts on two free ports.
    pub async fn start(rules: Rules) -> Self {
        let first = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let second = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let name = |listener: &TcpListener| listener.local_addr().expect("it is bound").to_string();
        let (host, elsewhere) = (name(&first), name(&second));
        Self::serving(rules, (host, async { first }), (elsewhere, second))
    }

    /// One that refuses connections for a while, as while it is started again.
    pub async fn absent_for(rules: Rules, absence: Duration) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let host = socket.local_addr().expect("it is bound").to_string();
        let second = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let elsewhere = second.local_addr().expect("it is bound").to_string();
        let opening = async move {
            tokio::time::sleep(absence).await;
            socket.listen(64).expect("it is bound")
        };
        Self::serving(rules, (host, opening), (elsewhere, second))
    }

    fn serving(
        rules: Rules,
        (host, first): (String, impl Future<Output = TcpListener> + Send + 'static),
        (elsewhere, second): (String, TcpListener),
    ) -> Self {
        let state = Mutex::new(State { rules, secrets: 1, ..State::default() });
        let shared = Arc::new(Shared { state, host, elsewhere });
        let tasks = [serve(first, shared.clone(), false), serve(async { second }, shared.clone(), true)];
        Self { shared, tasks }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.shared.host.clone()
    }

    pub fn change(&self, how: impl FnOnce(&mut Rules)) {
        how(&mut self.state().rules);
    }

    /// What follows `Basic` at present.
    pub fn secret(&self) -> String {
        self.state().secret()
    }

    /// A login of [`Guard::Basic`] that is right whenever it is asked for, and how often that was.
    pub fn credentials(&self) -> Arc<Issuer> {
        Arc::new(Issuer { shared: self.shared.clone(), asked: Mutex::default() })
    }

    /// All requests since the last time.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    /// How many requests had this method and this part of a path.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let state = self.state();
        state.requests.iter().filter(|one| one.method == method && one.path.contains(part)).count()
    }

    pub fn tag(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.state().repositories.get(repository)?.tags.get(tag).copied()
    }

    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        self.state().repositories.get(repository)?.blobs.get(digest).cloned()
    }

    pub fn manifest(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        self.state().repositories.get(repository)?.manifests.get(digest).map(|(_, bytes)| bytes.clone())
    }

    /// Puts a blob past the protocol, whatever its bytes.
    pub fn plant_blob(&self, repository: &str, digest: Digest, bytes: impl Into<Bytes>) {
        let mut state = self.state();
        state.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest, bytes.into());
    }

    /// How many were at most at the gate at once.
    pub fn most_at_gate(&self) -> usize {
        self.state().most_at_gate
    }

    /// Puts a document past the protocol under any digest.
    pub fn plant_manifest(&self, repository: &str, digest: Digest, kind: &str, bytes: impl Into<Bytes>) {
        let mut state = self.state();
        let kept = state.repositories.entry(repository.to_owned()).or_default();
        kept.manifests.insert(digest, (kind.to_owned(), bytes.into()));
    }

    /// Takes a document away with all its tags, as the API of ECR does.
    pub fn remove(&self, repository: &str, digest: &Digest) {
        if let Some(kept) = self.state().repositories.get_mut(repository) {
            kept.tags.retain(|_, named| named != digest);
            kept.manifests.remove(digest);
        }
    }

    /// Names a document past the protocol.
    pub fn plant_tag(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let mut state = self.state();
        let kept = state.repositories.entry(repository.to_owned()).or_default();
        kept.manifests.insert(digest, (media_type.to_owned(), bytes));
        kept.tags.insert(tag.to_owned(), digest);
        digest
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl State {
    fn secret(&self) -> String {
        format!("c2VjcmV0LQ{}", self.secrets)
    }
}

/// Gives out the present secret of a server.
pub struct Issuer {
    shared: Arc<Shared>,
    asked: Mutex<u32>,
}

impl Issuer {
    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        *self.asked.lock().expect("nobody panics while holding it")
    }
}

#[async_trait::async_trait]
impl Credentials for Issuer {
    async fn login(&self, _registry: &str) -> Result<Grant> {
        *self.asked.lock().expect("nobody panics while holding it") += 1;
        Ok(Login::Ready(self.shared.state().secret()).into())
    }
}

fn serve(
    listening: impl Future<Output = TcpListener> + Send + 'static,
    shared: Arc<Shared>,
    is_elsewhere: bool,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let listener = listening.await;
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let shared = shared.clone();
            connections.spawn(async move {
                let service = service_fn(|request| answers::answer(shared.clone(), is_elsewhere, request));
                // An answer that is an error ends the connection without one, which is what is wanted.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}
