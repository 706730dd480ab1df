//! Servers at the other end of pipes in memory: they stall, refuse, break off, are down, and one is a platform in miniature.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use crate::load::Dial;

/// What a server in memory does with a request.
pub(super) enum Act {
    Answer(StatusCode, String),
    /// Takes the request in and breaks the connection.
    Break,
}

type Handler = dyn Fn(String, String, String) -> std::pin::Pin<Box<dyn Future<Output = Act>>>;

/// A server at the other end of pipes; it can be down.
pub(super) struct Server {
    handler: Rc<Handler>,
    pub(super) down: Cell<bool>,
    pub(super) connections: RefCell<Vec<JoinHandle<()>>>,
}

impl Server {
    pub(super) fn new<F: Future<Output = Act> + 'static>(
        handler: impl Fn(String, String, String) -> F + 'static,
    ) -> Rc<Self> {
        let handler = move |method: String,
                            path: String,
                            key: String|
              -> std::pin::Pin<Box<dyn Future<Output = Act>>> {
            Box::pin(handler(method, path, key))
        };
        Rc::new(Self { handler: Rc::new(handler), down: Cell::new(false), connections: RefCell::default() })
    }

    pub(super) fn kill(&self) {
        self.down.set(true);
        self.connections.borrow_mut().drain(..).for_each(|connection| connection.abort());
    }
}

pub(super) struct Pipes(pub(super) Rc<Server>);

impl Dial for Pipes {
    type Stream = TokioIo<DuplexStream>;

    async fn dial(&self) -> io::Result<Self::Stream> {
        if self.0.down.get() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let handler = self.0.handler.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let handler = handler.clone();
            async move {
                let header = request.headers().get("idempotency-key").cloned();
                let key = header.map(|key| key.to_str().unwrap().to_owned()).unwrap_or_default();
                let (method, path) = (request.method().to_string(), request.uri().to_string());
                request.into_body().collect().await.map_err(|_| io::Error::other("gone"))?;
                match handler(method, path, key).await {
                    Act::Answer(status, body) => {
                        Ok(Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap())
                    }
                    Act::Break => Err(io::Error::other("broken on purpose")),
                }
            }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
        let task = tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        self.0.connections.borrow_mut().push(task);
        Ok(TokioIo::new(ours))
    }
}

pub(super) fn ok(body: &str) -> Act {
    Act::Answer(StatusCode::OK, body.to_owned())
}

/// A platform in miniature: an order per idempotency key, and a script of mishaps before the answer.
#[derive(Default)]
pub(super) struct Platform {
    pub(super) orders: RefCell<std::collections::BTreeMap<String, String>>,
    /// Each befalls a key that was never seen before.
    pub(super) mishaps: RefCell<Vec<&'static str>>,
    pub(super) seen: RefCell<std::collections::HashSet<String>>,
    pub(super) looks: Cell<u64>,
}

impl Platform {
    pub(super) fn serve(self: Rc<Self>) -> Rc<Server> {
        Server::new(move |method, path, key| {
            let platform = self.clone();
            async move { platform.answer(&method, &path, &key) }
        })
    }

    pub(super) fn answer(&self, method: &str, path: &str, key: &str) -> Act {
        if method == Method::POST {
            let is_first = self.seen.borrow_mut().insert(key.to_owned());
            let mishap = if is_first { self.mishaps.borrow_mut().pop() } else { None };
            match mishap {
                Some("refuse") => return Act::Answer(StatusCode::CONFLICT, "{}".into()),
                Some("shed") => return Act::Answer(StatusCode::SERVICE_UNAVAILABLE, "{}".into()),
                Some("turn away") => {
                    let body = r#"{"status":503,"code":"overloaded","detail":"later"}"#;
                    return Act::Answer(StatusCode::SERVICE_UNAVAILABLE, body.into());
                }
                Some("lost before") => return Act::Break,
                _ => {}
            }
            let mut orders = self.orders.borrow_mut();
            let next = format!("ord_{}", orders.len());
            let id = orders.entry(key.to_owned()).or_insert(next).clone();
            return match mishap {
                Some("lost after") => Act::Break,
                Some("nonsense") => ok("<html>"),
                _ => Act::Answer(StatusCode::ACCEPTED, format!(r#"{{"id":"{id}","state":"placed"}}"#)),
            };
        }
        self.looks.set(self.looks.get() + 1);
        let id = path.rsplit('/').next().unwrap();
        let state = if self.looks.get() > 10 { "confirmed" } else { "paying" };
        ok(&format!(
            r#"{{"id":"{id}","state":"{state}","total":{{}},"history":[
                {{"sequence":1,"state":"placed","at":"2026-01-01T00:00:00.000Z"}},
                {{"sequence":2,"state":"{state}","at":"2026-01-01T00:00:00.250Z"}}]}}"#
        ))
    }
}
