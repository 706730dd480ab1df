//! The generator against servers that stall, refuse, break off, die and come back.
//!
//! Most run over connections in memory on a paused clock, so that a second of stalling is a second exactly; two use a
//! real socket.

mod pipes;

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kernel::Timestamp;
use pipes::{Act, Pipes, Platform, Server, ok};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn never() -> Stop {
    Stop::when(watch::channel(false).1)
}

fn limits() -> Limits {
    Limits { connections: 64, in_flight: 10_000, timeout: Duration::from_secs(10) }
}

fn patience() -> Patience {
    Patience {
        request: Duration::from_secs(5),
        unknown: Duration::from_secs(30),
        settling: Duration::from_secs(30),
        first_pause: 100 * MS,
        longest_pause: Duration::from_secs(2),
    }
}

fn requests(route: Route) -> Requests {
    let place = Place::parse("http://127.0.0.1:1").unwrap();
    let products: Vec<String> = (0..5).map(|number| format!("prd_{number}")).collect();
    let tokens: Vec<String> = (0..3).map(|number| format!("token{number}")).collect();
    Requests::new("load-test".into(), &place, route, &products, &tokens, Timestamp::EPOCH).unwrap()
}

fn job(per_second: f64, duration: Duration, orders_in_100: u64) -> Job {
    Job {
        schedule: Schedule::constant(per_second, duration),
        pace: Pace::Runtime,
        limits: limits(),
        patience: patience(),
        mix: Mix::new(1, Proportions::Shop { orders_in_100 }, 3, 5),
        requests: requests(Route::Accept),
        books: Books::default(),
        followers: 4,
        operator: None,
    }
}

async fn run_job(job: Job, server: &Rc<Server>) -> Outcome {
    let dial = Rc::new(Pipes(server.clone()));
    LocalSet::new().run_until(run(job, dial, never(), |_| {})).await
}

#[tokio::test(start_paused = true)]
async fn a_stall_of_a_second_is_seen_by_every_request_that_fell_into_it() {
    let start = Instant::now();
    // From the fifth second to the sixth the server answers nothing: 100 of 1 000 requests wait up to a second.
    let server = Server::new(move |_, _, _| async move {
        let now = Instant::now() - start;
        if (Duration::from_secs(5)..Duration::from_secs(6)).contains(&now) {
            sleep_until(start + Duration::from_secs(6)).await;
        }
        ok("{}")
    });
    let outcome = run_job(job(100.0, Duration::from_secs(10), 0), &server).await;
    let spread = outcome.figures.latency.unwrap();
    assert_eq!((outcome.figures.requests, outcome.figures.unavailable), (1_000, 0));
    assert!(spread.p50_ms < 5.0, "{spread:?}");
    // A tenth of the requests fell into it and waited 0 to 1 000 ms, one for each 10 ms: the 99th percentile of all is
    // the 90th of those. A generator that waits for its answers would have one slow request a connection.
    assert!((880.0..=920.0).contains(&spread.p99_ms), "{spread:?}");
    assert!((990.0..=1_010.0).contains(&spread.max_ms), "{spread:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_anybody_on_the_way_may_have_closed_by_now_is_not_used_again() {
    for (gap_s, connections) in [(10.0, 1), (40.0, 3)] {
        let server = Server::new(|_, _, _| async { ok("{}") });
        let outcome = run_job(job(1.0 / gap_s, Duration::from_secs_f64(3.0 * gap_s), 0), &server).await;
        assert_eq!((outcome.figures.requests, outcome.figures.unavailable), (3, 0));
        assert_eq!(server.connections.borrow().len(), connections, "{gap_s} s between two requests");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_server_with_few_connections_is_still_timed_from_the_intended_time() {
    let start = Instant::now();
    let server = Server::new(move |_, _, _| async move {
        sleep_until(start + Duration::from_secs(1)).await;
        ok("{}")
    });
    let mut job = job(1_000.0, Duration::from_secs(1), 0);
    job.limits.connections = 2;
    let outcome = run_job(job, &server).await;
    let spread = outcome.figures.latency.unwrap();
    assert_eq!(outcome.figures.answered, 1_000);
    assert!((490.0..=510.0).contains(&spread.p50_ms), "{spread:?}");
    assert!((980.0..=1_010.0).contains(&spread.p99_ms), "{spread:?}");
    assert_eq!(server.connections.borrow().len(), 2);
    // It is told how much of that was the lack of connections.
    assert!(outcome.figures.connection_wait_p99_ms.unwrap() > 980.0, "{:?}", outcome.figures);
    assert!(outcome.figures.generator_lag_p99_ms.unwrap() < 3.0, "{:?}", outcome.figures);
}

#[tokio::test(start_paused = true)]
async fn what_comes_due_beyond_the_bound_is_counted_as_dropped() {
    let server = Server::new(|_, _, _| async {
        sleep(Duration::from_secs(3)).await;
        ok("{}")
    });
    let mut job = job(100.0, Duration::from_secs(1), 0);
    job.limits.in_flight = 30;
    let outcome = run_job(job, &server).await;
    assert_eq!(outcome.figures.errors["dropped"], 70);
    assert_eq!((outcome.figures.requests, outcome.figures.answered), (100, 30));
    assert_eq!(outcome.figures.availability_percent, Some(30.0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_in_time_keeps_its_time_in_the_percentiles() {
    let server = Server::new(|_, _, _| std::future::pending::<Act>());
    let outcome = run_job(job(10.0, Duration::from_secs(1), 0), &server).await;
    assert_eq!(outcome.figures.errors["timeout"], 10);
    assert!(outcome.figures.latency.unwrap().p50_ms >= 10_000.0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_and_comes_back_costs_its_absence_and_no_more() {
    let server = Server::new(|_, _, _| async { ok("{}") });
    let local = LocalSet::new();
    let (killed, revived) = (server.clone(), server.clone());
    local.spawn_local(async move {
        sleep(Duration::from_secs(2)).await;
        killed.kill();
        sleep(Duration::from_secs(1)).await;
        revived.down.set(false);
    });
    let dial = Rc::new(Pipes(server.clone()));
    let outcome = local.run_until(run(job(100.0, Duration::from_secs(5), 0), dial, never(), |_| {})).await;
    assert_eq!(outcome.figures.requests, 500);
    let connect = outcome.figures.errors["connect"];
    assert!((98..=101).contains(&connect), "{:?}", outcome.figures.errors);
    assert!(outcome.figures.answered >= 398);
}

#[tokio::test(start_paused = true)]
async fn every_order_of_unknown_outcome_is_repeated_under_its_key_until_it_is_known() {
    let platform = Rc::new(Platform::default());
    platform.mishaps.borrow_mut().extend([
        "turn away",
        "lost after",
        "nonsense",
        "refuse",
        "shed",
        "lost before",
        "lost after",
    ]);
    let server = platform.clone().serve();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut job = job(20.0, Duration::from_secs(1), 100);
    job.books.journal = Some(Journal::create(&path).unwrap());
    let outcome = run_job(job, &server).await;
    outcome.journal.unwrap();
    let orders = outcome.orders;
    assert_eq!(
        (orders.accepted, orders.recovered, orders.refused, orders.shed, orders.unknown),
        (18, 5, 1, 1, 0)
    );
    assert_eq!(orders.by_state, [("confirmed".to_owned(), 18)].into());
    assert_eq!(outcome.figures.errors["reset"], 3);
    assert_eq!(outcome.figures.errors["http_503"], 2);
    assert_eq!(outcome.figures.errors["http_409"], 1);
    assert_eq!(outcome.figures.errors["bad_answer"], 1);
    let settling = orders.settling.unwrap();
    assert!((249.0..=251.0).contains(&settling.p50_ms), "{settling:?}");
    // The journal and the platform know the same orders under the same keys.
    let mut journal: Vec<(String, String)> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<JournalLine>(line).unwrap())
        .map(|line| (line.key, line.id))
        .collect();
    journal.sort();
    assert_eq!(journal, platform.orders.borrow().clone().into_iter().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_order_that_stays_unknown_is_said_to_be() {
    let server = Server::new(|_, _, _| async { Act::Break });
    let outcome = run_job(job(2.0, Duration::from_secs(1), 100), &server).await;
    assert_eq!((outcome.orders.accepted, outcome.orders.unknown), (0, 2));
    assert_eq!(outcome.orders.unknown_keys.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn orders_that_never_settle_are_left_at_the_deadline_and_counted() {
    let platform = Rc::new(Platform::default());
    let server = Server::new(move |method, path, key| {
        let platform = platform.clone();
        async move {
            if method == "GET" {
                return ok(r#"{"id":"x","state":"paying"}"#);
            }
            platform.answer(&method, &path, &key)
        }
    });
    let began = Instant::now();
    let outcome = run_job(job(5.0, Duration::from_secs(1), 100), &server).await;
    assert_eq!((outcome.orders.accepted, outcome.orders.unsettled), (5, 5));
    assert_eq!(outcome.orders.by_state, [("paying".to_owned(), 5)].into());
    assert!(began.elapsed() < Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_accepted_and_is_not_there_is_called_missing() {
    let platform = Rc::new(Platform::default());
    let server = Server::new(move |method, path, key| {
        let platform = platform.clone();
        async move {
            if method == "GET" {
                return Act::Answer(StatusCode::NOT_FOUND, "{}".into());
            }
            platform.answer(&method, &path, &key)
        }
    });
    let outcome = run_job(job(5.0, Duration::from_secs(1), 100), &server).await;
    assert_eq!(outcome.orders.by_state, [("missing".to_owned(), 5)].into());
}

#[tokio::test(start_paused = true)]
async fn with_wait_terminal_an_order_is_settled_by_its_own_answer() {
    let server = Server::new(|method, path, _| async move {
        assert_eq!((method.as_str(), path.as_str()), ("POST", "/api/v1/orders?wait=terminal"));
        sleep(40 * MS).await;
        Act::Answer(StatusCode::CREATED, r#"{"id":"ord_1","state":"confirmed"}"#.into())
    });
    let mut job = job(10.0, Duration::from_secs(1), 100);
    job.requests = requests(Route::WaitTerminal);
    let outcome = run_job(job, &server).await;
    let settling = outcome.orders.settling.unwrap();
    assert_eq!((settling.samples, outcome.orders.unsettled), (10, 0));
    assert!((40.0..=43.0).contains(&settling.p50_ms), "{settling:?}");
}

#[tokio::test(start_paused = true)]
async fn ingest_counts_what_the_platform_took() {
    let server = Server::new(|_, path, _| async move {
        assert_eq!(path, "/api/v1/transactions?source=load-test");
        ok(r#"{"accepted":99,"duplicates":0,"rejected":[{"index":3,"code":"x","detail":"y"}]}"#)
    });
    let mut job = job(10.0, Duration::from_secs(1), 0);
    job.mix = Mix::new(1, Proportions::Ingest { batch: 100 }, 0, 0);
    let outcome = run_job(job, &server).await;
    assert_eq!((outcome.ingest.accepted, outcome.ingest.rejected), (990, 10));
    assert_eq!(outcome.figures.unavailable, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_sending_and_keeps_what_was_measured() {
    let server = Server::new(|_, _, _| async { ok("{}") });
    let (sender, receiver) = watch::channel(false);
    let local = LocalSet::new();
    local.spawn_local(async move {
        sleep(Duration::from_millis(1_500)).await;
        sender.send(true).unwrap();
        std::future::pending::<()>().await;
    });
    let dial = Rc::new(Pipes(server.clone()));
    let ticks = RefCell::new(Vec::new());
    let tell = |news: News| {
        if let News::Sending(tick) = news {
            ticks.borrow_mut().push(tick.per_second);
        }
    };
    let job = job(100.0, Duration::from_secs(60), 0);
    let outcome = local.run_until(run(job, dial, Stop::when(receiver), tell)).await;
    assert!(outcome.stopped_early);
    assert!((149..=151).contains(&outcome.figures.requests), "{}", outcome.figures.requests);
    assert_eq!(outcome.figures.sent_for_s, 1.5);
    assert_eq!(ticks.into_inner().len(), 1);
}

#[test]
fn an_order_on_the_wire_has_its_key_its_token_and_its_lines() {
    let requests = requests(Route::Accept);
    let action = Action::Order { shopper: 2, lines: vec![(0, 1), (3, 2)] };
    let request = requests.build(17, &action);
    assert_eq!(request.uri(), "/api/v1/orders");
    assert_eq!(request.headers()["idempotency-key"], "load-test-17");
    assert_eq!(request.headers()["authorization"], "Bearer token2");
    let body = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(request.into_body().collect());
    let body: serde_json::Value = serde_json::from_slice(&body.unwrap().to_bytes()).unwrap();
    let lines = serde_json::json!([
        { "product_id": "prd_0", "quantity": 1 },
        { "product_id": "prd_3", "quantity": 2 },
    ]);
    assert_eq!(body, serde_json::json!({ "lines": lines }));
}

#[tokio::test]
async fn a_batch_of_sales_on_the_wire_is_json_with_ids_of_its_own() {
    let requests = requests(Route::Accept);
    let body =
        requests.build(0, &Action::Ingest { first: 200, count: 3 }).into_body().collect().await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    let ids: Vec<&str> = body["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["external_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["200", "201", "202"]);
    assert_eq!(body["transactions"][1]["amount"], 2_000);
}

/// A server on a real socket that is killed at its 200th request and comes back on another port.
struct Mortal {
    answered: AtomicU64,
    dying: tokio::sync::Notify,
    connections: Mutex<Vec<tokio::task::AbortHandle>>,
}

impl Mortal {
    async fn serve(self: Arc<Self>, listener: tokio::net::TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let mortal = self.clone();
            let service = service_fn(move |_: Request<Incoming>| {
                if mortal.answered.fetch_add(1, Ordering::Relaxed) + 1 == 200 {
                    mortal.dying.notify_one();
                }
                async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("{}")))) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let task = tokio::spawn(async move {
                let _ = connection.await;
            });
            self.connections.lock().unwrap().push(task.abort_handle());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_killed_and_returns_on_another_port_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let run_file = folder.path().join("run.json");
    let mortal = Arc::new(Mortal {
        answered: AtomicU64::new(0),
        dying: tokio::sync::Notify::new(),
        connections: Mutex::default(),
    });
    let first = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::parse(&format!("http://{}", first.local_addr().unwrap())).unwrap();
    let first = tokio::spawn(mortal.clone().serve(first));
    let (again, path) = (mortal.clone(), run_file.clone());
    let second = tokio::spawn(async move {
        again.dying.notified().await;
        first.abort();
        // Its listener is closed once the task is gone.
        assert!(first.await.unwrap_err().is_cancelled());
        again.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api_url = format!("http://{}", listener.local_addr().unwrap());
        std::fs::write(&path, serde_json::json!({ "api_url": api_url }).to_string()).unwrap();
        again.serve(listener).await;
    });
    let (news, _) = tokio::sync::mpsc::unbounded_channel();
    let job = job(500.0, 2_000 * MS, 0);
    let outcome = start(job, place, Some(RunFile(run_file)), never(), news).unwrap().await.unwrap();
    let errors = |name: &str| outcome.figures.errors.get(name).copied().unwrap_or(0);
    assert_eq!(outcome.figures.requests, 1_000);
    assert_eq!(
        outcome.figures.answered + errors("reset") + errors("connect"),
        1_000,
        "{:?}",
        outcome.figures
    );
    assert!(outcome.figures.answered > 300, "the second life was found: {:?}", outcome.figures);
    assert!(mortal.answered.load(Ordering::Relaxed) >= outcome.figures.answered);
    second.abort();
}
