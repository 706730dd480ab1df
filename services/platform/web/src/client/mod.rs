//! Calling a service: in this process or in another one, the same for the caller.

mod breaker;
mod budget;
mod health;
mod remote;
mod replica;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use kernel::Error;
use tower::ServiceExt;

pub use remote::{Remote, RemoteConfig};

/// Where a service is.
#[derive(Clone)]
pub enum Client {
    /// In this process. The request goes through the same router and the same checks.
    Local(Router),
    /// In other processes, over HTTP/1.1.
    Remote(Arc<Remote>),
}

impl Client {
    pub fn local(router: Router) -> Self {
        Client::Local(router)
    }

    /// `replicas` are the base URLs of processes that all serve `service`: `http://10.0.0.7:8080`.
    pub fn remote(
        service: impl Into<String>,
        replicas: &[impl AsRef<str>],
        config: RemoteConfig,
    ) -> Result<Self, Error> {
        Ok(Client::Remote(Arc::new(Remote::new(service.into(), replicas, config)?)))
    }

    /// Sends a request. The time that it may take is the [`Deadline`](crate::Deadline) in its extensions; an error is
    /// an answer that is ready for whoever asked.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        match self {
            Client::Local(router) => match router.clone().oneshot(request).await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            },
            Client::Remote(remote) => remote.send(request).await,
        }
    }
}
