//! One replica: its connections, and the one call that is made over one of them.
//!
//! Invariants: a connection carries one request at a time and is used again only once the answer was read to its end;
//! it is given up well before the other side would close it for being idle; a request that never left is given back.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, Uri};
use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::health::{Failure, Health, Probe};

/// Shorter than the time after which a server of ours closes an idle connection, and than a drain's notice: what is
/// taken from the pool is open.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// A connection that lives for ever would never see the replicas that came after it behind one name.
const AGE_MAX: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS_MAX: usize = 256;
/// An answer that has begun and from which nothing more comes is cut off. Streams of ours beat at least twice as often.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Whoever waits for less than this does not prove anybody slow.
pub(super) const PATIENCE_MIN: Duration = Duration::from_secs(1);

pub(super) struct Replica {
    host: String,
    port: u16,
    pub(super) authority: HeaderValue,
    connect_timeout: Duration,
    idle: Mutex<Pool>,
    health: Mutex<Health>,
}

pub(super) type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Default)]
struct Pool {
    connections: Vec<Idle>,
    /// Connections of an earlier era lead to a process that is going or gone.
    era: u64,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: SendRequest<Body>,
    opened_at: Instant,
    era: u64,
}

/// What became of a call.
pub(super) enum Outcome {
    Answered(Response<Body>),
    /// Nothing of it reached the replica: here it is again.
    NotSent(Request<Body>, Failed),
    /// It may have been received, and no answer came.
    Lost {
        error: hyper::Error,
        reused: bool,
    },
}

impl Replica {
    /// An `Err` is what is wrong with `url`, in words that hold none of it but its scheme: what is no address may be
    /// anything.
    pub(super) fn new(url: &str, connect_timeout: Duration) -> Result<Self, String> {
        if !url.contains("://") {
            return Err("it has no scheme".to_owned());
        }
        let wrong = || "it is no address".to_owned();
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if let Some(scheme) = uri.scheme_str().filter(|scheme| *scheme != "http") {
            return Err(format!("{scheme}:// is not spoken between services"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("it names a user, and nobody signs in there".to_owned());
        }
        if uri.path_and_query().is_some_and(|rest| rest.as_str() != "/") {
            return Err("it goes on after the port".to_owned());
        }
        let host = uri.host().ok_or_else(wrong)?.to_owned();
        let port = uri.port_u16().unwrap_or(80);
        let authority = HeaderValue::from_str(&format!("{host}:{port}")).map_err(|_| wrong())?;
        // An IPv6 address is in brackets in a URL and without them everywhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, authority, connect_timeout, idle: Mutex::default(), health: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        self.authority.to_str().unwrap_or("?")
    }

    fn health<T>(&self, ask: impl FnOnce(&mut Health) -> T) -> T {
        ask(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `Some` where a call may be sent there.
    pub(super) fn admit(&self, now: Instant) -> Option<Asked<'_>> {
        let admitted = self.health(|health| health.admits(now).then(|| health.probe()));
        admitted.map(|probe| Asked { replica: self, probe, sent_at: None })
    }

    /// A call that is sent there for want of a better one.
    pub(super) fn insist(&self) -> Asked<'_> {
        Asked { replica: self, probe: None, sent_at: None }
    }

    fn answered(&self) {
        if self.health(Health::answered) {
            tracing::info!(replica = self.name(), "replica answers again");
        }
    }

    pub(super) fn stops(&self, now: Instant) {
        self.health(|health| health.stops(now));
        self.begin_era();
    }

    fn failed(&self, failure: Failure, now: Instant) {
        if failure == Failure::Unreachable {
            self.begin_era();
        }
        if let Some(out) = self.health(|health| health.failed(failure, now)) {
            tracing::warn!(replica = self.name(), ?failure, out_ms = out.as_millis(), "replica is left out");
        }
    }

    fn pool<T>(&self, ask: impl FnOnce(&mut Pool) -> T) -> T {
        ask(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An open connection that nobody uses.
    fn take_idle(&self, now: Instant) -> Option<Connection> {
        self.pool(|pool| {
            let idle = &mut pool.connections;
            let mut at = idle.len();
            while at > 0 {
                at -= 1;
                let Idle { connection, since } = &idle[at];
                let old = now > *since + IDLE_MAX || now > connection.opened_at + AGE_MAX;
                if old || connection.sender.is_closed() {
                    // What is swapped in has been looked at already.
                    idle.swap_remove(at);
                } else if connection.sender.is_ready() {
                    return Some(idle.swap_remove(at).connection);
                }
            }
            None
        })
    }

    fn put_idle(&self, connection: Connection) {
        let since = Instant::now();
        self.pool(|pool| {
            // Those of a burst are below those that are used, and would stay for as long as the other side keeps them.
            pool.connections.retain(|idle| since <= idle.since + IDLE_MAX);
            let is_of_use = connection.era == pool.era && !connection.sender.is_closed();
            if is_of_use && pool.connections.len() < IDLE_CONNECTIONS_MAX {
                pool.connections.push(Idle { connection, since });
            }
        });
    }

    /// No connection from before is used again: what it leads to is about to close it.
    fn begin_era(&self) {
        self.pool(|pool| {
            pool.connections.clear();
            pool.era += 1;
        });
    }

    async fn connect(&self) -> Result<Connection, Failed> {
        let era = self.pool(|pool| pool.era);
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(self.connect_timeout, connecting).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a replica ended early");
            }
        });
        Ok(Connection { sender, opened_at: Instant::now(), era })
    }

    /// Sends a request over an idle connection, or over a new one where none is open any more.
    pub(super) async fn call(self: &Arc<Self>, mut request: Request<Body>) -> Outcome {
        while let Some(mut connection) = self.take_idle(Instant::now()) {
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Outcome::Answered(self.follow(response, connection)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => {
                        // One was closed unasked: the others are, too, or will be.
                        self.begin_era();
                        return Outcome::Lost { error: failed.into_error(), reused: true };
                    }
                },
            }
        }
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => return Outcome::NotSent(request, error),
        };
        match connection.sender.try_send_request(request).await {
            Ok(response) => Outcome::Answered(self.follow(response, connection)),
            Err(mut failed) => match failed.take_message() {
                Some(unsent) => Outcome::NotSent(unsent, failed.into_error().into()),
                None => Outcome::Lost { error: failed.into_error(), reused: false },
            },
        }
    }

    fn follow(self: &Arc<Self>, response: Response<Incoming>, connection: Connection) -> Response<Body> {
        response.map(|body| Body::new(Answer { body, back: Some((self.clone(), connection)), silence: None }))
    }
}

/// A call that a replica was chosen for. Dropped before it is known how it went, it gives a probe back: the next call may
/// be one. Where its caller had patience and the replica all that it needs, it has gone unanswered: whoever leaves before
/// the deadline would otherwise never be the one who tells that a replica hangs.
pub(super) struct Asked<'a> {
    replica: &'a Replica,
    probe: Option<Probe>,
    sent_at: Option<Instant>,
}

impl Asked<'_> {
    /// The whole request is sent from now on: what comes next is the replica's part.
    pub(super) fn sends(&mut self, now: Instant) {
        self.sent_at = Some(now);
    }

    pub(super) fn answered(mut self) {
        (self.probe, self.sent_at) = (None, None);
        self.replica.answered();
    }

    pub(super) fn failed(mut self, failure: Failure, now: Instant) {
        (self.probe, self.sent_at) = (None, None);
        self.replica.failed(failure, now);
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        if self.sent_at.is_some_and(|at| now >= at + PATIENCE_MIN) {
            let is_probe = self.probe.is_some();
            self.replica.failed(if is_probe { Failure::Unanswered } else { Failure::Left }, now);
        } else if let Some(probe) = self.probe.take() {
            self.replica.health(|health| health.given_up(probe));
        }
    }
}

/// An answer's body; read to its end, it gives its connection back.
struct Answer {
    body: Incoming,
    back: Option<(Arc<Replica>, Connection)>,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    fn give_back(&mut self) {
        if let Some((replica, connection)) = self.back.take() {
            replica.put_idle(connection);
        }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                self.silence = None;
                match frame {
                    None => self.give_back(),
                    Some(Ok(_)) if self.body.is_end_stream() => self.give_back(),
                    _ => {}
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE_MAX)));
                match silence.as_mut().poll(context) {
                    Poll::Ready(()) => {
                        let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
                        Poll::Ready(Some(Err(error.into())))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Without a body nobody reads to its end. One that was cut off closes its connection.
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn leave_after(replica: &Replica, waited: Duration) {
        let mut asked = replica.insist();
        asked.sends(Instant::now());
        tokio::time::advance(waited).await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_after_some_patience_has_not_been_answered() {
        let replica = Replica::new("http://127.0.0.1:1", Duration::from_secs(1)).unwrap();
        for _ in 0..10 {
            leave_after(&replica, PATIENCE_MIN - Duration::from_millis(1)).await;
        }
        assert!(replica.admit(Instant::now()).is_some(), "impatience proves nothing");
        for _ in 0..5 {
            leave_after(&replica, PATIENCE_MIN).await;
            leave_after(&replica, PATIENCE_MIN).await;
            replica.insist().answered();
        }
        assert!(replica.admit(Instant::now()).is_some(), "others are answered meanwhile");
        for _ in 0..3 {
            leave_after(&replica, PATIENCE_MIN).await;
        }
        assert!(replica.admit(Instant::now()).is_none());
        tokio::time::advance(Duration::from_millis(250)).await;
        let mut probe = replica.admit(Instant::now()).expect("it is tried again");
        probe.sends(Instant::now());
        tokio::time::advance(PATIENCE_MIN).await;
        drop(probe);
        tokio::time::advance(Duration::from_millis(499)).await;
        assert!(replica.admit(Instant::now()).is_none(), "out for longer: its probe was not answered");
    }
}
