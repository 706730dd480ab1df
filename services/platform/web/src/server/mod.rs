//! The HTTP/1.1 server: bounded headers, slow clients cut off, and a drain that finishes what it began (R92).
//!
//! Invariants: from the notice on every answer asks for its connection to be closed, while new connections are still
//! taken; so by the end of the notice nobody who talks to this server has a connection that would be cut. Whoever has
//! connected by then is given a moment to say what for. A connection without a request stays open for longer than anybody in
//! front keeps it: who closes it is whoever would send next, and no request meets the end of its connection.

mod connection;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Request, header};
use futures_util::FutureExt;
use hyper::body::Incoming;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Tells other processes of ours that this one is about to stop. With 503 it also says that nothing was begun.
pub(crate) const STOPPING_HEADER: HeaderName = HeaderName::from_static("x-rtc-stopping");

#[derive(Debug, Clone, Copy)]
pub struct ServerConfig {
    /// A client that takes longer to send its headers, from their first byte on, is cut off. So is one that connects and says
    /// nothing for as long.
    pub header_timeout: Duration,
    /// How long a connection stays open after an answer without another request: longer than a load balancer in front keeps it,
    /// or some request of a shopper is sent into a connection that is being closed.
    pub keep_alive: Duration,
    /// A client that has no room for what is sent to it for this long is cut off; one that takes less than some 10 kB/s may be, for its
    /// machine announces room in large steps. So is one whose machine is gone, once something is on its way to it.
    pub unread_timeout: Duration,
    /// How long after the stop connections without a request stay open: one may be on its way.
    pub linger: Duration,
    /// How long requests under way may go on after that.
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(150),
            unread_timeout: Duration::from_secs(30),
            linger: Duration::from_millis(250),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// One listening port.
pub struct Server {
    listener: TcpListener,
    router: Router,
    config: ServerConfig,
    notice: CancellationToken,
    stopping: Arc<AtomicBool>,
    connections: TaskTracker,
}

impl Server {
    pub fn new(listener: TcpListener, router: Router, config: ServerConfig) -> Self {
        let (notice, connections) = (CancellationToken::new(), TaskTracker::new());
        Self { listener, router, config, notice, stopping: Arc::default(), connections }
    }

    /// From `notice` on, which comes some time before the stop, clients are asked to close their connections.
    #[must_use]
    pub fn with_notice(mut self, notice: CancellationToken) -> Self {
        self.notice = notice;
        self
    }

    /// Serves until `stop`, then takes no new connection and waits for the requests under way.
    pub async fn run(self, stop: CancellationToken) {
        let closing = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.notice.cancelled(), if !self.stopping.load(Ordering::Relaxed) => {
                    self.stopping.store(true, Ordering::Relaxed);
                    continue;
                }
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => self.serve(stream, peer, &closing),
                Err(error) => {
                    // Out of file descriptors or memory: wait for connections to end rather than spin.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.stopping.store(true, Ordering::Relaxed);
        self.take_the_rest(&closing);
        drop(self.listener);
        self.connections.close();
        if tokio::time::timeout(self.config.linger, self.connections.wait()).await.is_ok() {
            return;
        }
        closing.cancel();
        if tokio::time::timeout(self.config.drain_timeout, self.connections.wait()).await.is_err() {
            tracing::warn!("requests were still under way when the time to drain was over");
        }
    }

    /// Whoever is in the listener's queue believes to be connected: closing it would cut them off. The queue itself is asked, for
    /// the runtime knows only of those who had come when it last looked.
    fn take_the_rest(&self, closing: &CancellationToken) {
        let queue = SockRef::from(&self.listener);
        loop {
            let stream = match queue.accept() {
                Ok((socket, _)) => std::net::TcpStream::from(socket),
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) =>
                {
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!(%error, "nobody can be taken from the port's queue any more");
                    return;
                }
            };
            let taken = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            match taken.and_then(|stream| Ok((stream.peer_addr()?, stream))) {
                Ok((peer, stream)) => self.serve(stream, peer, closing),
                Err(error) => tracing::debug!(%error, "a connection was gone before it was served"),
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, closing: &CancellationToken) {
        let _ = stream.set_nodelay(true);
        // The kernel alone sees what a client has taken. Where it has no such time, clients are trusted.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(self.config.unread_timeout));
        let router = self.router.clone();
        let stopping = self.stopping.clone();
        let answer = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let stopping = stopping.clone();
            router.clone().oneshot(request.map(axum::body::Body::new)).map(move |answer| {
                answer.map(|mut response| {
                    if stopping.load(Ordering::Relaxed) {
                        let headers = response.headers_mut();
                        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                        headers.insert(STOPPING_HEADER, HeaderValue::from_static("true"));
                    }
                    response
                })
            })
        };
        let connection = connection::serve(stream, self.config, answer, closing.clone());
        self.connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "connection ended early");
            }
        });
    }
}
