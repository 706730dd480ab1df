//! What is counted of a request: once, where it came in, whatever becomes of it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use kernel::{Clock, IdSource, ManualClock, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::{
    Edge, EdgeConfig, HttpMetrics, Limits, Op, Pages, Policy, Routes, SERVICE_TOKEN_HEADER, TokenVerifier,
    encode,
};

struct Counted {
    registry: Registry,
    edge: Arc<Edge>,
    router: Router,
    /// Told when the slow handler has begun.
    begun: Arc<Notify>,
}

fn counted() -> Counted {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::EPOCH));
    let mut registry = Registry::default();
    let edge = Arc::new(Edge::new(
        Arc::new(TokenVerifier::new(clock.clone(), Arc::default())),
        Limits::new(clock.clone(), HashMap::new()),
        HttpMetrics::register(&mut registry),
        Pages::new(b"key"),
        clock.clone(),
        IdSource::new(clock, 1),
        EdgeConfig::default(),
    ));
    let begun = Arc::new(Notify::new());
    let told = begun.clone();
    let slow = move || {
        let told = told.clone();
        async move {
            told.notify_one();
            std::future::pending::<()>().await;
            "never"
        }
    };
    let op = || Op::new("Waits").answers::<String>(200, "Done");
    let routes = Routes::new("things").get("/slow", Policy::Public, op(), slow).get(
        "/quick",
        Policy::Public,
        op(),
        async || "done",
    );
    let router = routes.into_router(&edge, ());
    Counted { registry, edge, router, begun }
}

impl Counted {
    /// Status, hop and number of the requests of a route.
    fn of(&self, route: &str) -> Vec<(String, String, u32)> {
        let page = encode(&self.registry);
        let label = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let counts = page.lines().filter(|line| line.contains("duration_seconds_count{"));
        let mut found: Vec<_> = counts
            .filter(|line| label(line, "http_route") == route)
            .map(|line| {
                let count = line.rsplit(' ').next().unwrap().parse().unwrap();
                (label(line, "http_response_status_code"), label(line, "hop"), count)
            })
            .collect();
        found.sort();
        found
    }

    fn active(&self) -> bool {
        encode(&self.registry).contains("http_server_active_requests{service=\"things\"} 1\n")
    }
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn left_half_way(house: &Counted) {
    let mut answer = Box::pin(house.router.clone().oneshot(request("/slow")));
    tokio::select! {
        _ = &mut answer => unreachable!("it never answers"),
        () = house.begun.notified() => {}
    }
    assert!(house.active());
    assert_eq!(house.of("/slow"), [], "nobody has left yet");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_caller_goes_away_is_counted_as_left() {
    let house = counted();
    left_half_way(&house).await;
    assert_eq!(house.of("/slow"), [("499".to_owned(), "entry".to_owned(), 1)]);
    assert!(!house.active());
    house.router.clone().oneshot(request("/quick")).await.unwrap();
    assert_eq!(house.of("/quick"), [("200".to_owned(), "entry".to_owned(), 1)], "an answer is no leave");
}

#[tokio::test]
async fn so_is_one_that_is_worked_on_elsewhere() {
    let house = counted();
    house.edge.admission().hire(Some(1)).unwrap();
    house.edge.admission().send_to_work();
    left_half_way(&house).await;
    assert_eq!(house.of("/slow"), [("499".to_owned(), "entry".to_owned(), 1)]);
}

#[tokio::test]
async fn only_what_comes_from_outside_is_counted_as_entered() {
    let house = counted();
    house.edge.trust_service_tokens(&["ours"]).unwrap();
    for token in ["ours", "guessed", "ours"] {
        let mut request = request("/quick");
        request.headers_mut().insert(SERVICE_TOKEN_HEADER, token.parse().unwrap());
        house.router.clone().oneshot(request).await.unwrap();
    }
    let of = |hop: &str, count| ("200".to_owned(), hop.to_owned(), count);
    assert_eq!(house.of("/quick"), [of("entry", 1), of("inner", 2)]);
}
