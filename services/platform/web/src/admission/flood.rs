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
const SECONDS: u64 = 4;

async fn work() -> &'static str {
    let until = Instant::now() + BUSY;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    "done"
}

/// A server with a runtime of its own, which has one thread.
fn serve(stop: CancellationToken) -> (SocketAddr, std::thread::JoinHandle<()>) {
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

#[test]
fn a_flood_over_real_sockets_leaves_the_goodput_and_takes_from_the_least_important() {
    let stop = CancellationToken::new();
    let (address, thread) = serve(stop.clone());
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
    let [pay, read, analytics] = seen;
    let count = |what: &AtomicU32| f64::from(what.load(Ordering::Relaxed));
    let goodput =
        (count(&pay.good) + count(&read.good) + count(&analytics.good)) / PEAK_PER_S / SECONDS as f64;
    let share = |seen: &Seen| count(&seen.good) / count(&seen.sent);
    let mut refusals = read.refusals_us.lock().unwrap().clone();
    refusals.sort_unstable();
    let figures = format!(
        "goodput {goodput:.2}; served of those who pay {:.2}, read {:.2}, analyse {:.2}; {} refusals, the median after {} us",
        share(&pay),
        share(&read),
        share(&analytics),
        refusals.len(),
        refusals.get(refusals.len() / 2).unwrap_or(&0)
    );
    // The model next door asks for nine tenths; this machine may have other things to do.
    assert!(goodput >= 0.5, "{figures}");
    assert!(share(&pay) >= 0.9, "{figures}");
    assert!(share(&read) > 2.0 * share(&analytics), "{figures}");
    assert!(refusals.len() > 100, "{figures}");
}
