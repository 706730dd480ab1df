//! The routes of a service: method, path, policy, documentation and handler in one entry.

use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Router, response::IntoResponse};
use kernel::Error;

use crate::edge::{Guard, guard};
use crate::{Edge, Op, Policy, Problem};

/// One entry of the table: what the gateway, the OpenAPI document and the tests of policies walk over.
#[derive(Clone)]
pub struct RouteInfo {
    pub service: &'static str,
    pub method: Method,
    pub path: &'static str,
    pub policy: Policy,
    pub(crate) op: Op,
}

/// The routes of one service, before they are given their state and their edge.
pub struct Routes<S> {
    service: &'static str,
    entries: Vec<(RouteInfo, MethodRouter<S>)>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new(service: &'static str) -> Self {
        Self { service, entries: Vec::new() }
    }

    #[must_use]
    pub fn get<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        policy: Policy,
        op: Op,
        handler: H,
    ) -> Self {
        self.route(Method::GET, MethodFilter::GET, path, policy, op, handler)
    }

    #[must_use]
    pub fn post<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        policy: Policy,
        op: Op,
        handler: H,
    ) -> Self {
        self.route(Method::POST, MethodFilter::POST, path, policy, op, handler)
    }

    #[must_use]
    pub fn put<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        policy: Policy,
        op: Op,
        handler: H,
    ) -> Self {
        self.route(Method::PUT, MethodFilter::PUT, path, policy, op, handler)
    }

    #[must_use]
    pub fn patch<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        policy: Policy,
        op: Op,
        handler: H,
    ) -> Self {
        self.route(Method::PATCH, MethodFilter::PATCH, path, policy, op, handler)
    }

    #[must_use]
    pub fn delete<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        policy: Policy,
        op: Op,
        handler: H,
    ) -> Self {
        self.route(Method::DELETE, MethodFilter::DELETE, path, policy, op, handler)
    }

    fn route<H: Handler<T, S>, T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        policy: Policy,
        op: Op,
        handler: H,
    ) -> Self {
        let info = RouteInfo { service: self.service, method, path, policy, op };
        self.entries.push((info, on(filter, handler)));
        self
    }

    pub fn table(&self) -> Vec<RouteInfo> {
        self.entries.iter().map(|(info, _)| info.clone()).collect()
    }

    /// The router, every route behind its guard.
    pub fn into_router(self, edge: &Arc<Edge>, state: S) -> Router {
        let mut router = Router::new();
        for (info, handler) in self.entries {
            let rules = Guard::of(&info);
            let edge = edge.clone();
            let layer = middleware::from_fn(move |request: Request, next: Next| {
                guard(edge.clone(), rules, request, next)
            });
            router = router.route(info.path, handler.layer(layer));
        }
        router
            .method_not_allowed_fallback(async || {
                let error = Error::invalid("method_not_allowed", "this address does not take that method");
                Problem(error.with_status(405)).into_response()
            })
            .with_state(state)
    }
}
