//! The gate in a server that is really too slow: one worker, requests that keep it busy, more of them than it can do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tests::edge;
use super::*;
use crate::{Op, Policy, Routes, Server, ServerConfig};

/// How long a request keeps the worker busy.
const BUSY: Duration = Duration::from_millis(4);
const PEAK_PER_S: f64 = 250.0;
const SECONDS: u64 = 3;

async fn work() -> &'static str {
    let until = Instant::now() + BUSY;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    "done"
}

/// Who works for those who were let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hands {
    /// Whoever reads the requests.
    Own,
    /// A thread of its own, under overload.
    Hired,
}

/// A server with a runtime of its own, which has one thread.
fn serve(hands: Hands, stop: CancellationToken) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let (say, said) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let edge = edge(4_096);
            let op = |priority| Op::new("Works").answers::<String>(200, "Done").priority(priority);
            let routes = Routes::new("things")
                .get("/pay", Policy::Public, op(Priority::Pay), work)
                .get("/read", Policy::Public, op(Priority::Read), work)
                .get("/analytics", Policy::Public, op(Priority::Analytics), work);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            say.send(listener.local_addr().unwrap()).unwrap();
            if hands == Hands::Hired {
                edge.admission().hire(Some(1)).unwrap();
            }
            tokio::spawn(edge.admission().clone().run(stop.clone()));
            let config = ServerConfig { linger: Duration::ZERO, ..ServerConfig::default() };
            Server::new(listener, routes.into_router(&edge, ()), config).run(stop).await;
        });
    });
    (said.recv().unwrap(), thread)
}

#[derive(Default)]
struct Seen {
    sent: AtomicU32,
    good: AtomicU32,
    refused: AtomicU32,
    refusals_us: Mutex<Vec<u32>>,
}

/// One caller who asks as soon as it was answered, and after a refusal a little later.
async fn call(address: SocketAddr, path: &'static str, seen: Arc<Seen>, until: Instant) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    while Instant::now() < until {
        seen.sent.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let request = Request::get(path).header("host", "x").body(Body::empty()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let _ = axum::body::to_bytes(Body::new(response.into_body()), 10_000).await;
        let micros = u32::try_from(began.elapsed().as_micros()).unwrap();
        match status {
            200 if micros <= 1_000_000 => drop(seen.good.fetch_add(1, Ordering::Relaxed)),
            503 => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                seen.refusals_us.lock().unwrap().push(micros);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => {}
        }
    }
}

/// What became of a flood.
#[derive(Debug)]
struct Flood {
    /// Of what could have been done.
    goodput: f64,
    /// How many were served, of those who pay, read and analyse.
    shares: [f64; 3],
    refusals: usize,
    refused_after: Duration,
}

fn flood(hands: Hands) -> Flood {
    let stop = CancellationToken::new();
    let (address, thread) = serve(hands, stop.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = runtime.block_on(async {
        let until = Instant::now() + Duration::from_secs(SECONDS);
        let mut callers = Vec::new();
        let seen = [("/pay", 5), ("/read", 100), ("/analytics", 100)].map(|(path, count)| {
            let seen = Arc::new(Seen::default());
            callers.extend((0..count).map(|_| tokio::spawn(call(address, path, seen.clone(), until))));
            seen
        });
        for caller in callers {
            caller.await.unwrap();
        }
        seen
    });
    stop.cancel();
    thread.join().unwrap();
    let count = |what: &AtomicU32| f64::from(what.load(Ordering::Relaxed));
    let good: f64 = seen.iter().map(|seen| count(&seen.good)).sum();
    let mut refusals: Vec<u32> =
        seen.iter().flat_map(|seen| seen.refusals_us.lock().unwrap().clone()).collect();
    refusals.sort_unstable();
    let median = refusals.get(refusals.len() / 2).copied().unwrap_or(0);
    let flood = Flood {
        goodput: good / PEAK_PER_S / SECONDS as f64,
        shares: seen.map(|seen| count(&seen.good) / count(&seen.sent)),
        refusals: refusals.len(),
        refused_after: Duration::from_micros(median.into()),
    };
    println!("{hands:?}: {flood:?}");
    flood
}

#[test]
fn a_flood_over_real_sockets_leaves_the_goodput_and_takes_from_the_least_important() {
    let flood = flood(Hands::Hired);
    // The model next door asks for nine tenths; this machine may have other things to do.
    assert!(flood.goodput >= 0.5, "{flood:?}");
    assert!(flood.shares[0] >= 0.9, "{flood:?}");
    assert!(flood.shares[1] > flood.shares[2], "{flood:?}");
    assert!(flood.refusals > 100, "{flood:?}");
}

/// One after the other on the same machine: what it has to do besides changes from one second to the next, so a second try is
/// allowed.
#[test]
fn who_is_refused_does_not_wait_behind_those_who_were_let_in() {
    let mut tries = Vec::new();
    for _ in 0..2 {
        let (own, hired) = (flood(Hands::Own), flood(Hands::Hired));
        if hired.refused_after * 4 <= own.refused_after {
            return;
        }
        tries.push((own, hired));
    }
    panic!("{tries:?}");
}
