//! The HTTP/1.1 server: bounded headers, slow clients cut off, and a drain that finishes what it began (R92).
//!
//! Invariants: from the notice on every answer asks for its connection to be closed, while new connections are still
//! taken; so by the end of the notice nobody who talks to this server has a connection that would be cut. Whoever has
//! connected by then is given a moment to say what for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Request, header};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Tells other processes of ours that this one is about to stop. With 503 it also says that nothing was begun.
pub(crate) const STOPPING_HEADER: HeaderName = HeaderName::from_static("x-rtc-stopping");

#[derive(Debug, Clone, Copy)]
pub struct ServerConfig {
    /// A client that takes longer to send its headers is cut off.
    pub header_timeout: Duration,
    /// How long after the stop connections without a request stay open: one may be on its way.
    pub linger: Duration,
    /// How long requests under way may go on after that.
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
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
        let graceful = GracefulShutdown::new();
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
                Ok((stream, peer)) => self.serve(stream, peer, &graceful),
                Err(error) => {
                    // Out of file descriptors or memory: wait for connections to end rather than spin.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.stopping.store(true, Ordering::Relaxed);
        // Whoever is in the listener's queue believes to be connected: closing it would cut them off.
        while let Some(Ok((stream, peer))) = self.listener.accept().now_or_never() {
            self.serve(stream, peer, &graceful);
        }
        drop(self.listener);
        self.connections.close();
        if tokio::time::timeout(self.config.linger, self.connections.wait()).await.is_ok() {
            return;
        }
        if tokio::time::timeout(self.config.drain_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still under way when the time to drain was over");
        }
    }

    fn serve(&self, stream: tokio::net::TcpStream, peer: SocketAddr, graceful: &GracefulShutdown) {
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let stopping = self.stopping.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
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
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        self.connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "connection ended early");
            }
        });
    }
}
