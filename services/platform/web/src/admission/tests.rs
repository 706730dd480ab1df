//! The gate under load: on a simulated clock, and with requests that wait.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Request;
use futures_util::FutureExt;
use kernel::id::SplitMix;
use kernel::{Clock, IdSource, ManualClock, Timestamp};
use prometheus_client::registry::Registry;
use tower::ServiceExt;

use super::*;
use crate::{
    DEADLINE_HEADER, Deadline, Edge, EdgeConfig, HttpMetrics, Limit, Limits, Op, Pages, Policy, Routes,
    SERVICE_TOKEN_HEADER, TokenVerifier,
};

/// A process with `CORES` cores: whoever was let in waits for one of them in the order of coming.
const CORES: usize = 4;
const SERVICE_US: u64 = 5_000;
/// What it can do: 800 a second.
const PEAK_PER_S: f64 = CORES as f64 * 1e6 / SERVICE_US as f64;
/// Whoever has no answer by then has gone.
const PATIENCE_US: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Arrival,
    Done { arrived: u64, priority: Priority },
    Probe,
}

#[derive(Debug, Default, Clone)]
struct Outcome {
    offered: [u32; LEVELS],
    /// Answered while somebody still waited for it.
    good: [u32; LEVELS],
    seconds: f64,
}

impl Outcome {
    fn goodput(&self) -> f64 {
        self.good.iter().map(|count| f64::from(*count)).sum::<f64>() / self.seconds / PEAK_PER_S
    }

    fn share(&self, priority: Priority) -> f64 {
        f64::from(self.good[priority as usize]) / f64::from(self.offered[priority as usize].max(1))
    }
}

/// `load` times what can be done, for `seconds`. Of a hundred requests 10 pay, 30 order, 50 read and 10 analyse.
fn simulate(gate: &Arc<Gate>, load: f64, seconds: u64, seed: u64) -> Outcome {
    let mut random = SplitMix(seed);
    let mut events = BinaryHeap::new();
    let mut waiting: VecDeque<(u64, Priority)> = VecDeque::new();
    let mut busy = 0;
    let mut outcome = Outcome { seconds: seconds as f64, ..Outcome::default() };
    let end = seconds * 1_000_000;
    let gap = 1e6 / (PEAK_PER_S * load);
    events.push(Reverse((0, Happens::Arrival)));
    events.push(Reverse((5_000, Happens::Probe)));
    let mut watch = Watch::new(gate.config.delay_target);
    while let Some(Reverse((now, event))) = events.pop() {
        if now >= end {
            break;
        }
        match event {
            Happens::Arrival => {
                let uniform = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
                let wait = -gap * (1.0 - uniform).ln();
                events.push(Reverse((now + wait.max(1.0) as u64, Happens::Arrival)));
                let priority = match random.below(100) {
                    0..10 => Priority::Pay,
                    10..40 => Priority::Order,
                    40..90 => Priority::Read,
                    _ => Priority::Analytics,
                };
                outcome.offered[priority as usize] += 1;
                if gate.try_enter(priority) == Entry::In {
                    waiting.push_back((now, priority));
                }
            }
            Happens::Done { arrived, priority } => {
                busy -= 1;
                gate.leave();
                if now - arrived <= PATIENCE_US {
                    outcome.good[priority as usize] += 1;
                }
            }
            Happens::Probe => {
                // What it would wait that joined the line now.
                let delay = Duration::from_micros(waiting.len() as u64 * SERVICE_US / CORES as u64);
                if let Some(delay) = watch.saw(delay, PROBE) {
                    gate.steer(delay);
                }
                events.push(Reverse((now + 5_000, Happens::Probe)));
            }
        }
        while busy < CORES
            && let Some((arrived, priority)) = waiting.pop_front()
        {
            busy += 1;
            events.push(Reverse((now + SERVICE_US, Happens::Done { arrived, priority })));
        }
    }
    outcome
}

#[test]
fn goodput_stays_near_its_peak_under_overload_and_payments_go_before_analytics() {
    for (load, seed) in [(2.0, 1), (2.0, 2), (3.0, 3), (5.0, 4), (10.0, 5), (10.0, 6)] {
        let gate = Gate::new(AdmissionConfig::default());
        let outcome = simulate(&gate, load, 10, seed);
        assert!(outcome.goodput() >= 0.9, "{load}: {:.3} {outcome:?}", outcome.goodput());
        // At ten times the load those who pay alone are as many as can be served.
        let paid = if load < 10.0 { 0.95 } else { 0.85 };
        assert!(outcome.share(Priority::Pay) >= paid, "{load}: {outcome:?}");
        assert!(outcome.share(Priority::Analytics) < 0.1, "{load}: {outcome:?}");
        assert!(outcome.share(Priority::Order) >= outcome.share(Priority::Read), "{load}: {outcome:?}");
    }
}

#[test]
fn without_a_gate_the_same_load_leaves_next_to_nothing() {
    // Proves that the model can tell a good gate from a bad one.
    let open = Gate::new(AdmissionConfig {
        work_max: usize::MAX,
        delay_target: Duration::from_secs(3_600),
        ..AdmissionConfig::default()
    });
    let outcome = simulate(&open, 2.0, 10, 1);
    assert!(outcome.goodput() < 0.3, "{:.3}", outcome.goodput());
}

#[test]
fn nobody_is_refused_where_there_is_no_overload_or_no_more() {
    let gate = Gate::new(AdmissionConfig::default());
    let outcome = simulate(&gate, 0.8, 10, 7);
    let (offered, good) = (outcome.offered.iter().sum::<u32>(), outcome.good.iter().sum::<u32>());
    assert!(offered - good < 20, "all but those that are still at work: {outcome:?}");
    simulate(&gate, 10.0, 5, 8);
    let finish = || {
        // What the run left at work is done by now.
        while work(gate.state.load(Ordering::SeqCst)) > 0 {
            gate.leave();
        }
    };
    finish();
    simulate(&gate, 0.5, 3, 9);
    finish();
    let after = simulate(&gate, 0.5, 10, 10);
    let (offered, good) = (after.offered.iter().sum::<u32>(), after.good.iter().sum::<u32>());
    assert!(offered - good < 20, "{after:?}");
}

fn small(work_max: usize, queue_max: usize) -> Arc<Gate> {
    Gate::new(AdmissionConfig { work_max, queue_max, ..AdmissionConfig::default() })
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_let_in_by_importance_and_a_full_queue_lets_go_of_the_least() {
    let gate = small(1, 3);
    let at_work = gate.enter(Priority::Read).await.ok().unwrap();
    let enter = |priority| {
        let gate = gate.clone();
        tokio::spawn(async move { gate.enter(priority).await.map(std::mem::forget) })
    };
    let analytics = enter(Priority::Analytics);
    tokio::task::yield_now().await;
    let read = enter(Priority::Read);
    tokio::task::yield_now().await;
    let order = enter(Priority::Order);
    tokio::task::yield_now().await;
    let pay = enter(Priority::Pay);
    assert_eq!(analytics.await.unwrap().unwrap_err().code(), "overloaded");
    assert!(gate.enter(Priority::Analytics).now_or_never().unwrap().is_err(), "refused without a wait");
    drop(at_work);
    pay.await.unwrap().unwrap();
    assert!(!order.is_finished() && !read.is_finished());
    gate.leave();
    order.await.unwrap().unwrap();
    gate.leave();
    read.await.unwrap().unwrap();
    gate.leave();
    assert_eq!(work(gate.state.load(Ordering::SeqCst)), 0);
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_short_and_whoever_gave_up_holds_no_place() {
    let gate = small(1, 3);
    let at_work = gate.enter(Priority::Read).await.ok().unwrap();
    assert_eq!(gate.enter(Priority::Pay).await.err().unwrap().code(), "overloaded");
    let gone = gate.clone();
    let gone = tokio::spawn(async move { drop(gone.enter(Priority::Pay).await) });
    tokio::task::yield_now().await;
    gone.abort();
    let _ = gone.await;
    drop(at_work);
    let _again = gate.enter(Priority::Analytics).now_or_never().unwrap().ok().unwrap();
    assert_eq!(work(gate.state.load(Ordering::SeqCst)), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_holds_and_no_place_is_lost_with_many_at_once() {
    let gate = small(3, 1_000);
    let inside = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..600)
        .map(|n| {
            let (gate, inside) = (gate.clone(), inside.clone());
            tokio::spawn(async move {
                let priority = [Priority::Pay, Priority::Read, Priority::Analytics][n % 3];
                let Ok(_permit) = gate.enter(priority).await else { return };
                assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(work(gate.state.load(Ordering::SeqCst)), 0);
    assert!(gate.enter(Priority::Analytics).now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pressure_at_its_limit_refuses_what_yields_to_it() {
    let gate = small(10, 10);
    let level = Arc::new(AtomicU32::new(0));
    let source = level.clone();
    gate.set_pressure("sagas", Arc::new(move || f64::from(source.load(Ordering::Relaxed)) / 100.0));
    assert!(gate.check_pressure("sagas").is_ok() && gate.check_pressure("nobody's").is_ok());
    level.store(99, Ordering::Relaxed);
    assert!(gate.check_pressure("sagas").is_ok());
    level.store(100, Ordering::Relaxed);
    assert_eq!(gate.check_pressure("sagas").unwrap_err().code(), "overloaded");
}

/// An edge of its own whose gate lets `work_max` requests in.
pub(super) fn edge(work_max: usize) -> Arc<Edge> {
    measured_edge(work_max, &mut Default::default())
}

fn measured_edge(work_max: usize, registry: &mut Registry) -> Arc<Edge> {
    limiting_edge(work_max, registry, Arc::new(ManualClock::at(Timestamp::EPOCH)))
}

/// Its limits go by a clock of their own.
fn limiting_edge(work_max: usize, registry: &mut Registry, of_limits: Arc<dyn Clock>) -> Arc<Edge> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::EPOCH));
    let verifier = Arc::new(TokenVerifier::new(clock.clone(), Arc::default()));
    Arc::new(Edge::new(
        verifier,
        Limits::new(of_limits, HashMap::new()),
        HttpMetrics::register(registry),
        Pages::new(b"key"),
        clock.clone(),
        IdSource::new(clock, 1),
        EdgeConfig { concurrency_max: work_max, ..EdgeConfig::default() },
    ))
}

/// An edge under overload: one hired thread works for those who were let in.
fn overloaded_edge(registry: &mut Registry) -> Arc<Edge> {
    overloaded(measured_edge(4_096, registry))
}

fn overloaded(edge: Arc<Edge>) -> Arc<Edge> {
    edge.admission().hire(Some(1)).unwrap();
    edge.admission().work_there.store(true, Ordering::Relaxed);
    edge
}

/// A defect of what requests stand on.
#[derive(Debug)]
struct Broken;

impl Clock for Broken {
    fn now(&self) -> Timestamp {
        panic!("a defect")
    }
}

#[tokio::test]
async fn work_that_panics_over_there_is_a_defect_and_no_overload() {
    let edge = overloaded(limiting_edge(4_096, &mut Registry::default(), Arc::new(Broken)));
    let op = Op::new("Fails").answers::<String>(200, "Done").limit(Limit::per_address("broken", 1, 1));
    let routes = Routes::new("things").get("/a", Policy::Public, op, async || "done");
    let request = Request::get("/a").body(axum::body::Body::empty()).unwrap();
    assert_eq!(routes.into_router(&edge, ()).oneshot(request).await.unwrap().status(), 500);
    assert_eq!(work(edge.admission().state.load(Ordering::SeqCst)), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_yields_to_a_pressure_waits_for_nobody_and_is_no_work_that_was_done() {
    let mut registry = Registry::default();
    let edge = overloaded_edge(&mut registry);
    edge.admission().set_pressure("full", Arc::new(|| 1.0));
    let (begun, begins) = std::sync::mpsc::channel();
    let (ends, may_end) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(may_end));
    let busy = move || {
        let _ = begun.send(());
        let _ = held.lock().unwrap().recv();
        std::future::ready("done")
    };
    let op = || Op::new("Works").answers::<String>(200, "Done");
    let routes = Routes::new("things").get("/busy", Policy::Public, op(), busy).get(
        "/yields",
        Policy::Public,
        op().yields_to("full"),
        async || "done",
    );
    let router = routes.into_router(&edge, ());
    let ask = |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        tokio::spawn(router.clone().oneshot(request))
    };
    let first = ask("/busy");
    tokio::task::spawn_blocking(move || begins.recv()).await.unwrap().unwrap();
    // The only hired thread is busy until it is told to end.
    for _ in 0..300 {
        assert_eq!(ask("/yields").await.unwrap().unwrap().status(), 503);
    }
    let offered: u32 = edge.admission().offered.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    assert_eq!(offered, 1, "the gate steers by what is work");
    ends.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    let page = crate::metrics::encode(&registry);
    assert!(page.contains("rtc_http_shed_total{service=\"things\",reason=\"pressure\"} 300"), "{page}");
}

#[tokio::test]
async fn who_asks_through_the_door_is_a_guest_unless_only_the_house_may_ask() {
    let asker = async || if db::Asker::current() == db::Asker::Guest { "guest" } else { "house" };
    let op = Op::new("Asks").answers::<String>(200, "Who");
    for edge in [edge(8), overloaded_edge(&mut Registry::default())] {
        edge.trust_service_token("ours").unwrap();
        let routes = Routes::new("things").get("/a", Policy::Public, op.clone(), asker);
        let router = routes.get("/ours", Policy::Service, op.clone(), asker).into_router(&edge, ());
        // What a process of ours passes on is asked by a guest; what only our processes may ask is not.
        for (path, token, who) in
            [("/a", "none", "guest"), ("/a", "ours", "guest"), ("/ours", "ours", "house")]
        {
            let request = Request::get(path).header(SERVICE_TOKEN_HEADER, token);
            let request = request.body(axum::body::Body::empty()).unwrap();
            let body = router.clone().oneshot(request).await.unwrap().into_body();
            assert_eq!(axum::body::to_bytes(body, 100).await.unwrap(), who, "{path} with {token}");
        }
    }
    assert_eq!(asker().await, "house");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_to_make_room_for_the_more_important_is_counted_as_refused() {
    let mut registry = Registry::default();
    let edge = overloaded_edge(&mut registry);
    let (begun, begins) = std::sync::mpsc::channel();
    let (ends, may_end) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(may_end));
    let busy = move || {
        let _ = begun.send(());
        let _ = held.lock().unwrap().recv();
        std::future::ready("done")
    };
    let op = |priority| Op::new("Works").answers::<String>(200, "Done").priority(priority);
    let routes = Routes::new("things")
        .get("/busy", Policy::Public, op(Priority::Pay), busy)
        .get("/analytics", Policy::Public, op(Priority::Analytics), async || "done")
        .get("/pay", Policy::Public, op(Priority::Pay), async || "done");
    let router = routes.into_router(&edge, ());
    let ask = |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        tokio::spawn(router.clone().oneshot(request))
    };
    let first = ask("/busy");
    tokio::task::spawn_blocking(move || begins.recv()).await.unwrap().unwrap();
    // More than can wait, and then one who is more important than all of them.
    let mut waiting: tokio::task::JoinSet<u16> = tokio::task::JoinSet::new();
    for _ in 0..257 {
        let asked = ask("/analytics");
        waiting.spawn(async move { asked.await.unwrap().unwrap().status().as_u16() });
    }
    assert_eq!(waiting.join_next().await.unwrap().unwrap(), 503);
    let pay = ask("/pay");
    assert_eq!(waiting.join_next().await.unwrap().unwrap(), 503);
    ends.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(pay.await.unwrap().unwrap().status(), 200);
    assert!(waiting.join_all().await.into_iter().all(|status| status == 200));
    let page = crate::metrics::encode(&registry);
    let shed = "rtc_http_shed_total{service=\"things\",reason=\"overloaded\"} 2";
    assert!(page.contains(shed), "{page}");
    assert_eq!(edge.admission().shed.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn all_routes_of_an_edge_share_one_bound_and_it_is_given_back() {
    let edge = edge(2);
    let (hold, held) = tokio::sync::watch::channel(());
    let handler = move || {
        let mut held = held.clone();
        async move {
            let _ = held.changed().await;
            "done"
        }
    };
    let op = || Op::new("Waits").answers::<String>(200, "Done");
    let routes = Routes::new("things").get("/a", Policy::Public, op(), handler.clone()).get(
        "/b",
        Policy::Public,
        op(),
        handler,
    );
    let router = routes.into_router(&edge, ());
    let ask = |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        router.clone().oneshot(request)
    };
    let under_way = [tokio::spawn(ask("/a")), tokio::spawn(ask("/b"))];
    tokio::task::yield_now().await;
    let refused = ask("/a").await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let waits = tokio::spawn(ask("/b"));
    tokio::task::yield_now().await;
    hold.send(()).unwrap();
    for answer in under_way {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    tokio::task::yield_now().await;
    hold.send(()).unwrap();
    assert_eq!(waits.await.unwrap().unwrap().status(), 200);
    // A caller who goes away leaves no place behind.
    let gone = tokio::spawn(ask("/a"));
    tokio::task::yield_now().await;
    gone.abort();
    let _ = gone.await;
    assert_eq!(work(edge.admission().state.load(Ordering::SeqCst)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_deadline_has_passed_is_not_begun_and_a_deadline_only_shortens() {
    let edge = edge(10);
    let op = || Op::new("Deadline").answers::<String>(200, "What is left").timeout(Duration::from_secs(2));
    let left = async |Extension(deadline): Extension<Deadline>| {
        deadline.left(Instant::now()).as_millis().to_string()
    };
    let never = async || -> String { std::future::pending().await };
    let routes = Routes::new("things").get("/left", Policy::Public, op(), left).get(
        "/never",
        Policy::Public,
        op(),
        never,
    );
    let router = routes.into_router(&edge, ());
    let ask = async |path: &str, asked: Option<&str>| {
        let mut request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        if let Some(asked) = asked {
            request.headers_mut().insert(DEADLINE_HEADER, asked.parse().unwrap());
        }
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(ask("/left", None).await, (200, "2000".to_owned()));
    assert_eq!(ask("/left", Some("500")).await, (200, "500".to_owned()));
    assert_eq!(ask("/left", Some("60000")).await, (200, "2000".to_owned()));
    for (path, asked, code) in [
        ("/left", Some("0"), "deadline_exceeded"),
        ("/never", Some("500"), "deadline_exceeded"),
        ("/never", None, "timeout"),
    ] {
        let (status, body) = ask(path, asked).await;
        assert_eq!(status, 504, "{path} {asked:?}");
        assert!(body.contains(&format!("\"code\":\"{code}\"")), "{body}");
    }
}

#[test]
fn a_request_is_worth_what_its_service_and_method_say() {
    for (service, method, priority) in [
        ("payments", Method::POST, Priority::Pay),
        ("payments", Method::GET, Priority::Read),
        ("orders", Method::POST, Priority::Order),
        ("users", Method::POST, Priority::Order),
        ("catalog", Method::HEAD, Priority::Read),
        ("analytics", Method::GET, Priority::Analytics),
        ("analytics", Method::POST, Priority::Analytics),
    ] {
        assert_eq!(Priority::usual(service, &method), priority, "{method} {service}");
    }
}
