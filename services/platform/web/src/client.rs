//! Calling a service: in this process or in another one, the same for the caller.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use kernel::Error;
use tower::ServiceExt;

/// Where a service is.
#[derive(Clone)]
pub enum Client {
    /// In this process. The request goes through the same router and the same checks.
    Local(Router),
}

impl Client {
    pub fn local(router: Router) -> Self {
        Client::Local(router)
    }

    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        match self {
            Client::Local(router) => match router.clone().oneshot(request).await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            },
        }
    }
}
