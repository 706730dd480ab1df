//! Deny by default: what is not in the tables is not there, even if some router has a handler for it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, Ready, ready};
use kernel::Error;
use tower::{Layer, Service};
use web::{HttpMetrics, Problem, RouteInfo};

use crate::NAME;

/// The methods of each path.
pub(crate) struct Listed {
    paths: HashMap<&'static str, Vec<Method>>,
    metrics: HttpMetrics,
}

impl Listed {
    pub(crate) fn new(table: &[RouteInfo], metrics: HttpMetrics) -> Self {
        let mut paths: HashMap<&'static str, Vec<Method>> = HashMap::new();
        for route in table {
            let methods = paths.entry(route.path).or_default();
            methods.push(route.method.clone());
            if route.method == Method::GET {
                methods.push(Method::HEAD);
            }
        }
        Self { paths, metrics }
    }

    /// `Some` is the refusal.
    fn refuse(&self, request: &Request) -> Option<Response> {
        let path = request.extensions().get::<MatchedPath>();
        let Some((route, methods)) = path.and_then(|path| self.paths.get_key_value(path.as_str())) else {
            self.metrics.unmatched(NAME, request.method(), 404);
            let error = Error::not_found("no_such_route", "there is nothing under this address");
            return Some(Problem(error).into_response());
        };
        if methods.contains(request.method()) {
            return None;
        }
        self.metrics.observe(NAME, request.method(), route, 405, 0.0, None);
        let error = Error::invalid("method_not_allowed", "this address does not take that method");
        let mut response = Problem(error.with_status(405)).into_response();
        let allowed = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        if let Ok(value) = HeaderValue::from_str(&allowed) {
            response.headers_mut().insert(header::ALLOW, value);
        }
        Some(response)
    }
}

#[derive(Clone)]
pub(crate) struct ListedLayer(Arc<Listed>);

impl ListedLayer {
    pub(crate) fn new(listed: Listed) -> Self {
        Self(Arc::new(listed))
    }
}

impl<S> Layer<S> for ListedLayer {
    type Service = OnlyListed<S>;

    fn layer(&self, inner: S) -> OnlyListed<S> {
        OnlyListed { inner, listed: self.0.clone() }
    }
}

/// Hands on what is listed and refuses the rest.
#[derive(Clone)]
pub(crate) struct OnlyListed<S> {
    inner: S,
    listed: Arc<Listed>,
}

impl<S> Service<Request> for OnlyListed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.listed.refuse(&request) {
            None => Either::Left(self.inner.call(request)),
            Some(refusal) => Either::Right(ready(Ok(refusal))),
        }
    }
}
