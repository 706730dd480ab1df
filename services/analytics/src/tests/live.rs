//! The stream of live numbers: one computation for all, the last state for whoever is slow or was away.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use db::Asker;
use futures_util::StreamExt;
use host::StartError;
use http::{Request, Response};
use kernel::{Currency, Money};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use testkit::{House, NOON};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::orders::{confirm, order};
use super::{analyst, house, house_with};
use crate::Config;
use crate::http::App;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::report::Rules;

/// Somebody who listens.
struct Ear {
    chunks: Pin<Box<BodyDataStream>>,
}

/// One event of the stream.
#[derive(Debug)]
struct Heard {
    id: String,
    data: Value,
}

async fn ask(house: &House, seen: Option<&str>) -> Response<Body> {
    let mut request = Request::builder()
        .uri("/api/v1/analytics/stream")
        .header("authorization", format!("Bearer {}", analyst(house)));
    if let Some(seen) = seen {
        request = request.header("last-event-id", seen);
    }
    house.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn listen(house: &House, seen: Option<&str>) -> Ear {
    let response = ask(house, seen).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let mut ear = Ear { chunks: Box::pin(response.into_body().into_data_stream()) };
    assert_eq!(ear.chunk().await.unwrap(), "retry: 2000\n\n");
    ear
}

impl Ear {
    async fn chunk(&mut self) -> Option<String> {
        let chunk = self.chunks.next().await?;
        Some(String::from_utf8(chunk.unwrap().to_vec()).unwrap())
    }

    async fn hear(&mut self) -> Heard {
        let chunk = self.chunk().await.expect("an event");
        let field = |name: &str| chunk.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        assert!(chunk.ends_with("\n\n") && field("event: ") == "numbers");
        Heard { id: field("id: "), data: serde_json::from_str(&field("data: ")).unwrap() }
    }

    /// Nothing is there to be heard.
    async fn is_silent(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.chunks.next() => false,
            () = std::future::ready(()) => true,
        }
    }
}

async fn sell(house: &House, n: u128) {
    confirm(house, &order(n, NOON, Money::new(100, Currency::KRW))).await;
    house.settle().await;
}

fn computations(house: &House) -> u64 {
    let metrics = house.context.encode_metrics();
    let of = |line: &str| line.strip_prefix("rtc_analytics_live_computations_total ")?.parse().ok();
    metrics.lines().find_map(of).unwrap()
}

#[tokio::test]
async fn whoever_listens_hears_the_state_and_then_each_change() {
    let house = house().await;
    sell(&house, 1).await;
    let mut ear = listen(&house, None).await;
    let first = ear.hear().await;
    assert_eq!(first.data["today"]["orders"], 1);
    assert_eq!(first.data["hour"]["revenue"], json!([{ "amount": 100, "currency": "KRW" }]));
    assert_eq!(first.data["seconds"][59]["orders"], 1);
    assert_eq!(first.data["minutes"].as_array().unwrap().len(), 60);
    assert_eq!(first.data["top_products"]["data"][0]["sku"], "SKU-1");
    assert_eq!(first.data["funnel"][2], json!({ "stage": "order", "count": 1 }));
    assert!(ear.is_silent().await);
    sell(&house, 2).await;
    let second = ear.hear().await;
    assert_eq!(second.data["today"]["orders"], 2);
    assert_ne!(first.id, second.id);
    // Lines from outside change the numbers too, and so does time.
    house.clock.advance(Duration::from_secs(60));
    house.settle().await;
    let third = ear.hear().await;
    assert_eq!(
        (&third.data["today"]["orders"], &third.data["seconds"][59]["orders"]),
        (&json!(2), &json!(0))
    );
}

#[tokio::test]
async fn a_slow_listener_gets_the_last_state_and_no_queue() {
    let house = house().await;
    let mut slow = listen(&house, None).await;
    let mut quick = listen(&house, None).await;
    slow.hear().await;
    quick.hear().await;
    for n in 1..=20 {
        sell(&house, n).await;
        assert_eq!(quick.hear().await.data["today"]["orders"], json!(n));
    }
    assert_eq!(slow.hear().await.data["today"]["orders"], 20);
    assert!(slow.is_silent().await);
}

#[tokio::test]
async fn a_listener_goes_on_where_it_was_also_after_a_restart() {
    let mut house = house().await;
    sell(&house, 1).await;
    let seen = listen(&house, None).await.hear().await.id;
    let mut again = listen(&house, Some(&seen)).await;
    assert!(again.is_silent().await);
    drop(again);
    house.restart(async |context| Ok::<_, StartError>(vec![crate::service(context).await?])).await;
    let mut again = listen(&house, Some(&seen)).await;
    assert!(again.is_silent().await, "what was seen already came again");
    sell(&house, 2).await;
    assert_eq!(again.hear().await.data["today"]["orders"], 2);
    // Whoever was away hears the state at once, and an id that is nobody's is like none.
    for seen in [seen.as_str(), "99999999.1", "nonsense"] {
        assert_eq!(listen(&house, Some(seen)).await.hear().await.data["today"]["orders"], 2, "{seen}");
    }
}

#[tokio::test]
async fn thousands_of_listeners_cost_one_computation() {
    let house = house().await;
    sell(&house, 1).await;
    assert_eq!(computations(&house), 0, "computed for nobody");
    let mut ears = Vec::new();
    for _ in 0..2_000 {
        ears.push(listen(&house, None).await);
    }
    for ear in &mut ears {
        assert_eq!(ear.hear().await.data["today"]["orders"], 1);
    }
    assert_eq!(computations(&house), 1);
    sell(&house, 2).await;
    let mut ids = std::collections::HashSet::new();
    for ear in &mut ears {
        ids.insert(ear.hear().await.id);
    }
    assert_eq!((ids.len(), computations(&house)), (1, 2));
    assert!(house.context.encode_metrics().contains("rtc_analytics_listeners 2000"));
    ears.clear();
    sell(&house, 3).await;
    assert_eq!(computations(&house), 2, "computed for nobody");
    assert!(house.context.encode_metrics().contains("rtc_analytics_listeners 0"));
}

#[tokio::test]
async fn listeners_are_bounded_and_let_go() {
    let house = house_with(json!({ "listeners_max": 1 })).await;
    let mut ear = listen(&house, None).await;
    let refused = ask(&house, None).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    ear.hear().await;
    house.context.stopping.cancel();
    assert!(ear.chunk().await.is_none(), "the process stops, and so does the stream");
    drop(ear);

    let house = house_with(json!({ "listen_max_ms": 0 })).await;
    let mut ear = listen(&house, None).await;
    ear.hear().await;
    assert!(ear.chunk().await.is_none(), "its time is over");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_says_that_it_is_alive() {
    let house = house().await;
    let mut ear = listen(&house, None).await;
    ear.hear().await;
    let before = tokio::time::Instant::now();
    assert_eq!(ear.chunk().await.unwrap(), ":\n\n");
    assert_eq!(before.elapsed(), Duration::from_secs(15));
}

#[tokio::test]
async fn whoever_begins_to_listen_asks_as_the_house_that_waits_behind() {
    let house = house().await;
    sell(&house, 1).await;
    let askers = testkit::Askers::default();
    let db = askers.around(house.service("analytics").db.clone());
    let metrics = Metrics::register(&mut Registry::default());
    let rules = Rules::of(&Config::default());
    let app = App {
        db: db.clone(),
        clock: house.context.clock.clone(),
        pages: house.context.edge.pages.clone(),
        streams: Arc::new(Semaphore::new(1)),
        stream_idle: Duration::from_secs(1),
        stopping: CancellationToken::new(),
        rules,
        live: Arc::new(Live::new(db, house.context.clock.clone(), rules, metrics)),
        listeners: Arc::new(Semaphore::new(1)),
        listen_max: Duration::from_secs(1),
    };
    let router = crate::http::routes().into_router(&house.context.edge, app);
    let ask = async |path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {}", analyst(&house)));
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        askers.take()
    };
    assert_eq!(ask("/api/v1/analytics/stream").await, [Asker::House; 2], "what has changed, and the numbers");
    assert_eq!(ask("/api/v1/analytics/summary").await, [Asker::Guest]);
}
