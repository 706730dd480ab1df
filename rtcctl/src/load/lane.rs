//! One kept-alive HTTP/1.1 connection that is made when it is needed and made anew when it breaks.
//!
//! Invariants: a request is sent at most once per call, except when the connection is known to have died before the
//! first byte was handed to it; a connection on which a time-out fell is thrown away, its late answer is nobody's.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::Failure;

/// Makes connections to wherever the platform is at the moment.
pub trait Dial {
    type Stream: hyper::rt::Read + hyper::rt::Write + Unpin + 'static;

    fn dial(&self) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// What came back. The body is empty where it was not asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

/// Whether anybody looks at the body of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Kept,
    Skipped,
}

/// Shorter than anybody on the way keeps a connection without a request: load balancers mostly 60 s. It is this end that closes it,
/// and nothing is sent to where it is being closed.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The longest body that is kept; the rest of a longer one is read and forgotten.
const BODY_LIMIT: usize = 1 << 20;

struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    used_at: Instant,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection's place in the pool. Used inside a `LocalSet`.
pub struct Lane<D> {
    dial: Rc<D>,
    open: Option<Open>,
}

impl<D: Dial> Lane<D> {
    pub fn new(dial: Rc<D>) -> Self {
        Self { dial, open: None }
    }

    /// Sends what `request` builds and waits for the whole answer until `deadline`.
    pub async fn call(
        &mut self,
        deadline: Instant,
        body: Body,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<Reply, Failure> {
        let sent = Cell::new(false);
        match timeout_at(deadline, self.exchange(body, &request, &sent)).await {
            Ok(outcome) => outcome,
            Err(_) if sent.get() => Err(Failure::Timeout),
            Err(_) => Err(Failure::TimeoutUnsent),
        }
    }

    async fn exchange(
        &mut self,
        body: Body,
        request: &impl Fn() -> Request<Full<Bytes>>,
        sent: &Cell<bool>,
    ) -> Result<Reply, Failure> {
        // Taken out for as long as it is in use: whoever gives up on this future throws the connection away with it.
        let mut kept = self.open.take().filter(|open| open.used_at.elapsed() < IDLE_MAX);
        loop {
            let mut kept = match kept.take() {
                Some(mut open) => open.sender.ready().await.is_ok().then_some(open),
                None => None,
            };
            let is_fresh = kept.is_none();
            let mut open = match kept.take() {
                Some(open) => open,
                None => self.connect().await?,
            };
            sent.set(true);
            match open.sender.send_request(request()).await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    let body = read(response.into_body(), body).await?;
                    open.used_at = Instant::now();
                    self.open = Some(open);
                    return Ok(Reply { status, body });
                }
                Err(error) if error.is_canceled() && !is_fresh => sent.set(false),
                Err(_) => return Err(Failure::Reset),
            }
        }
    }

    async fn connect(&self) -> Result<Open, Failure> {
        let stream = self.dial.dial().await.map_err(|_| Failure::Connect)?;
        let (sender, connection) = http1::handshake(stream).await.map_err(|_| Failure::Connect)?;
        let driver = tokio::task::spawn_local(async move {
            // How it ended is told to the sender.
            let _ = connection.await;
        });
        Ok(Open { sender, driver, used_at: Instant::now() })
    }
}

async fn read(mut incoming: Incoming, body: Body) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::Reset)?.into_data() else { continue };
        if body == Body::Skipped || first.len() + more.len() + data.len() > BODY_LIMIT {
            continue;
        }
        if first.is_empty() {
            first = data;
        } else {
            more.extend_from_slice(&data);
        }
    }
    if more.is_empty() {
        return Ok(first);
    }
    Ok([&first[..], &more[..]].concat().into())
}
