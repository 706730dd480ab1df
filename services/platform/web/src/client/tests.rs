//! Calls to other processes, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use kernel::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Client, DEADLINE_HEADER, Deadline, RemoteConfig, Server, ServerConfig};

/// A server of ours in this process.
struct Process {
    address: SocketAddr,
    notice: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Process {
    async fn start(router: Router) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), router).await
    }

    async fn start_at(address: SocketAddr, router: Router) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (notice, stop) = (CancellationToken::new(), CancellationToken::new());
        let server = Server::new(listener, router, ServerConfig::default()).with_notice(notice.clone());
        let task = tokio::spawn(server.run(stop.clone()));
        Self { address, notice, stop, task }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn stop(self) -> SocketAddr {
        self.stop.cancel();
        self.task.await.unwrap();
        self.address
    }
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn client(urls: &[String]) -> Client {
    Client::remote("things", urls, RemoteConfig::default()).unwrap()
}

fn request(method: &str, path: &str, body: impl Into<Body>) -> Request {
    Request::builder().method(method).uri(path).body(body.into()).unwrap()
}

async fn text(client: &Client, request: Request) -> Result<(u16, String), Error> {
    let response = client.send(request).await?;
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

fn named(name: &'static str) -> Router {
    Router::new().route("/", any(async move |body: String| format!("{name}{body}")))
}

#[tokio::test]
async fn replicas_take_turns_and_one_that_is_away_costs_nobody_anything() {
    let (a, b) = (Process::start(named("a")).await, Process::start(named("b")).await);
    let both = client(&[a.url(), b.url()]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(text(&both, request("GET", "/", "")).await.unwrap().1);
    }
    assert_eq!(seen, ["a", "b", "a", "b"]);

    let urls = [a.url(), nobody().await];
    let half = client(&urls);
    for _ in 0..20 {
        // Not idempotent, and tried again all the same: nothing of it was sent.
        assert_eq!(text(&half, request("POST", "/", "!")).await.unwrap(), (200, "a!".to_owned()));
    }
}

#[tokio::test]
async fn a_body_that_flows_reaches_the_next_replica_if_it_was_not_begun() {
    let a = Process::start(named("a")).await;
    let half = client(&[nobody().await, a.url()]);
    let lines = stream::iter(["x", "y", "z"].map(|line| Ok::<_, std::io::Error>(Bytes::from(line))));
    let answer = text(&half, request("POST", "/", Body::from_stream(lines))).await.unwrap();
    assert_eq!(answer, (200, "axyz".to_owned()));
}

/// Answers what comes over one connection, each once `may` is passed, and tells of its end.
async fn answer_until_closed(mut stream: tokio::net::TcpStream, may: Arc<Barrier>, ended: mpsc::Sender<()>) {
    let mut head = [0; 4_096];
    let mut is_first = true;
    while stream.read(&mut head).await.is_ok_and(|count| count > 0) {
        if std::mem::take(&mut is_first) {
            may.wait().await;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
    ended.send(()).await.unwrap();
}

#[tokio::test]
async fn connections_of_a_burst_are_given_up_while_others_are_used() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&[format!("http://{}", listener.local_addr().unwrap())]);
    let (ended, mut ends) = mpsc::channel(3);
    tokio::spawn(async move {
        let all = Arc::new(Barrier::new(3));
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_until_closed(stream, all.clone(), ended.clone()));
        }
    });
    let ask = async || text(&client, request("GET", "/", "")).await.unwrap().0;
    assert_eq!(tokio::join!(ask(), ask(), ask()), (200, 200, 200));
    for _ in 0..2 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(3)).await;
        tokio::time::resume();
        assert_eq!(ask().await, 200);
    }
    // Two have not been used for six seconds.
    assert!(ends.recv().await.is_some() && ends.recv().await.is_some());
    assert_eq!(ask().await, 200);
    assert!(ends.try_recv().is_err());
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_answer_was_read() {
    async fn port(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
        peer.port().to_string()
    }
    let chunks = async || Body::from_stream(stream::iter([Ok::<_, std::io::Error>("1"), Ok("2")]));
    let a = Process::start(Router::new().route("/", get(port)).route("/chunks", get(chunks))).await;
    let client = client(&[a.url()]);
    let first = text(&client, request("GET", "/", "")).await.unwrap();
    assert_eq!(text(&client, request("GET", "/", "")).await.unwrap(), first);
    assert_eq!(text(&client, request("GET", "/chunks", "")).await.unwrap().1, "12");
    assert_eq!(text(&client, request("HEAD", "/", "")).await.unwrap().0, 200);
    assert_eq!(text(&client, request("GET", "/", "")).await.unwrap(), first);
    // Two at once need two.
    let unread = client.send(request("GET", "/", "")).await.unwrap();
    assert_ne!(text(&client, request("GET", "/", "")).await.unwrap(), first);
    drop(unread);
}

/// Reads requests and hangs up on the first `lost` of them; the others are answered with how many there were.
async fn unreliable(lost: u32) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicU32::new(0));
    let count = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.windows(4).any(|window| window == b"\r\n\r\n") {
                let mut buffer = [0; 1_024];
                let n = stream.read(&mut buffer).await.unwrap();
                read.extend_from_slice(&buffer[..n]);
            }
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            if n > lost {
                let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n{n}");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        }
    });
    (url, seen)
}

#[tokio::test]
async fn what_may_have_been_done_is_tried_again_only_where_that_changes_nothing() {
    for (method, key, again) in [
        ("GET", false, true),
        ("HEAD", false, true),
        ("PUT", false, true),
        ("DELETE", true, true),
        ("POST", true, true),
        ("PATCH", true, true),
        ("DELETE", false, false),
        ("POST", false, false),
        ("PATCH", false, false),
    ] {
        let (url, seen) = unreliable(1).await;
        let client = client(&[url]);
        let mut request = request(method, "/", "");
        if key {
            request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        }
        let result = text(&client, request).await;
        if again {
            assert_eq!(result.unwrap().0, 200, "{method}");
            assert_eq!(seen.load(Ordering::SeqCst), 2, "{method}");
        } else {
            let error = result.unwrap_err();
            assert_eq!((error.code(), error.http_status()), ("answer_lost", 504), "{method}");
            assert_eq!(seen.load(Ordering::SeqCst), 1, "{method}");
        }
    }
    // What was made under a condition does not meet it again.
    for condition in ["if-match", "if-none-match"] {
        let (url, seen) = unreliable(1).await;
        let mut request = request("PUT", "/", "");
        request.headers_mut().insert(condition, "*".parse().unwrap());
        assert_eq!(text(&client(&[url]), request).await.unwrap_err().code(), "answer_lost", "{condition}");
        assert_eq!(seen.load(Ordering::SeqCst), 1, "{condition}");
    }
    // A body that flowed is gone.
    let (url, seen) = unreliable(1).await;
    let lines = stream::iter([Ok::<_, std::io::Error>("x")]);
    let error = text(&client(&[url]), request("PUT", "/", Body::from_stream(lines))).await.unwrap_err();
    assert_eq!((error.code(), seen.load(Ordering::SeqCst)), ("service_unavailable", 1));
}

#[tokio::test]
async fn attempts_are_bounded_and_so_is_what_retries_add() {
    let (url, seen) = unreliable(u32::MAX).await;
    let client = client(&[url]);
    let error = text(&client, request("GET", "/", "")).await.unwrap_err();
    assert_eq!((error.code(), error.http_status()), ("service_unavailable", 503));
    assert!(error.retry_after_s().is_some());
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    let mut requests = 1;
    // The breaker ends it.
    for _ in 0..40 {
        let before = seen.load(Ordering::SeqCst);
        text(&client, request("GET", "/", "")).await.unwrap_err();
        requests += u32::from(seen.load(Ordering::SeqCst) > before);
    }
    assert_eq!(requests, 20);
    assert!(seen.load(Ordering::SeqCst) <= requests + requests / 5 + 10, "{seen:?}");
}

#[tokio::test]
async fn a_service_that_is_away_is_left_in_peace_and_found_again() {
    let url = nobody().await;
    let client = client(std::slice::from_ref(&url));
    for _ in 0..25 {
        let error = text(&client, request("POST", "/", "")).await.unwrap_err();
        assert_eq!((error.code(), error.http_status()), ("service_unavailable", 503));
    }
    let began = Instant::now();
    for _ in 0..100 {
        text(&client, request("POST", "/", "")).await.unwrap_err();
    }
    assert!(began.elapsed() < Duration::from_millis(100), "not one of them tried to connect");
    // It is back: within seconds somebody is let through to see.
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    let _back = Process::start_at(address, named("back")).await;
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    let found = tokio::time::timeout(Duration::from_secs(10), async {
        while text(&client, request("POST", "/", "")).await.is_err() {
            interval.tick().await;
        }
    });
    found.await.unwrap();
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_tries_a_replica_leaves_that_to_the_next_one() {
    let (url, b) = (nobody().await, Process::start(named("b").route("/slow", get(async || "b"))).await);
    let both = client(&[url.clone(), b.url()]);
    assert_eq!(text(&both, request("GET", "/", "")).await.unwrap().1, "b", "the first is away, and out");
    let asked = Arc::new(tokio::sync::Notify::new());
    let told = asked.clone();
    let slow = async move || -> String {
        told.notify_one();
        std::future::pending().await
    };
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    let _a = Process::start_at(address, named("a").route("/slow", get(slow))).await;
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let tried = async {
        loop {
            tokio::select! {
                _ = text(&both, request("GET", "/slow", "")) => {}
                // Whoever asked leaves here.
                () = asked.notified() => break,
            }
            interval.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), tried).await.expect("its time out is over");
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(text(&both, request("GET", "/", "")).await.unwrap().1);
    }
    assert!(seen.iter().any(|one| one == "a"), "{seen:?}");
}

#[tokio::test]
async fn nobody_waits_beyond_the_deadline_and_the_service_is_told_of_it() {
    let told = async |headers: HeaderMap| headers[DEADLINE_HEADER].to_str().unwrap().to_owned();
    let never = async || -> String { std::future::pending().await };
    let a = Process::start(Router::new().route("/told", get(told)).route("/never", get(never))).await;
    let client = client(&[a.url()]);
    let within = |path: &str, millis| {
        let mut request = request("GET", path, "");
        request.extensions_mut().insert(Deadline(Instant::now() + Duration::from_millis(millis)));
        request
    };
    let told: u64 = text(&client, within("/told", 2_000)).await.unwrap().1.parse().unwrap();
    assert!((1_000..=1_900).contains(&told), "{told}");
    let began = Instant::now();
    let error = text(&client, within("/never", 100)).await.unwrap_err();
    assert_eq!((error.code(), error.http_status()), ("deadline_exceeded", 504));
    assert!((90..1_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let error = text(&client, within("/told", 2)).await.unwrap_err();
    assert_eq!(error.code(), "deadline_exceeded", "there is no time to ask anybody");
    // Impatient callers do not make a service a bad one.
    for _ in 0..50 {
        text(&client, within("/never", 10)).await.unwrap_err();
    }
    assert_eq!(text(&client, within("/told", 2_000)).await.unwrap().0, 200);
}

#[tokio::test]
async fn streams_flow_both_ways_while_both_sides_still_talk() {
    // Answers each piece as it comes.
    let echo = async |request: Request| Body::from_stream(request.into_body().into_data_stream());
    let a = Process::start(Router::new().route("/", post(echo))).await;
    let client = client(&[a.url()]);
    let (say, said) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let said = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
    say.send(Ok("one".into())).await.unwrap();
    let response = client.send(request("POST", "/", Body::from_stream(said))).await.unwrap();
    let mut heard = response.into_body().into_data_stream();
    assert_eq!(heard.next().await.unwrap().unwrap(), "one");
    say.send(Ok("two".into())).await.unwrap();
    assert_eq!(heard.next().await.unwrap().unwrap(), "two");
    drop(say);
    assert!(heard.next().await.is_none());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1_024]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
    });
    let response = client(&[url]).send(request("GET", "/", "")).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_replica_that_is_stopping_asks_for_its_connections_to_be_closed_and_is_left_alone() {
    let (a, b) = (Process::start(named("a")).await, Process::start(named("b")).await);
    let both = client(&[a.url(), b.url()]);
    for _ in 0..4 {
        text(&both, request("GET", "/", "")).await.unwrap();
    }
    a.notice.cancel();
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(text(&both, request("POST", "/", "")).await.unwrap().1);
    }
    assert!(seen.iter().filter(|one| *one == "a").count() <= 1, "{seen:?}");
    // It still takes whoever does not know.
    let only = client(&[a.url()]);
    let response = only.send(request("GET", "/", "")).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_rolling_restart_under_load_costs_no_request() {
    let count = Arc::new(AtomicU32::new(0));
    let router = || {
        let count = count.clone();
        Router::new().route(
            "/",
            any(async move |_: Method| {
                tokio::task::yield_now().await;
                count.fetch_add(1, Ordering::SeqCst).to_string()
            }),
        )
    };
    let mut processes = vec![Process::start(router()).await, Process::start(router()).await];
    let client = client(&processes.iter().map(Process::url).collect::<Vec<_>>());
    let over = CancellationToken::new();
    let sent = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, over, sent) = (client.clone(), over.clone(), sent.clone());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !over.is_cancelled() {
                    // Without a key: whatever is lost stays lost.
                    let answer = text(&client, request("POST", "/", "x")).await;
                    sent.fetch_add(1, Ordering::SeqCst);
                    failed.extend(answer.err());
                }
                failed
            })
        })
        .collect();
    let some_requests = async |n: u32| {
        let until = sent.load(Ordering::SeqCst) + n;
        while sent.load(Ordering::SeqCst) < until {
            tokio::task::yield_now().await;
        }
    };
    for _ in 0..10 {
        some_requests(50).await;
        let old = processes.remove(0);
        old.notice.cancel();
        some_requests(50).await;
        let address = old.stop().await;
        some_requests(50).await;
        processes.push(Process::start_at(address, router()).await);
    }
    over.cancel();
    for caller in callers {
        let failed = caller.await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), sent.load(Ordering::SeqCst), "each was done once");
}

#[test]
fn a_replica_is_an_address_and_nothing_more() {
    for good in ["http://127.0.0.1:8080", "http://orders.rtc.svc:80/", "http://[::1]:8080"] {
        assert!(Client::remote("x", &[good], RemoteConfig::default()).is_ok(), "{good}");
    }
    for (bad, problem) in [
        ("127.0.0.1:8080", "it has no scheme"),
        ("", "it has no scheme"),
        ("name:hunter2@orders", "it has no scheme"),
        ("https://127.0.0.1", "https:// is not spoken between services"),
        ("ftp://x", "ftp:// is not spoken between services"),
        ("http://name:hunter2@orders:8080", "it names a user"),
        ("http://127.0.0.1/api", "it goes on after the port"),
        ("http://127.0.0.1?to=api", "it goes on after the port"),
        ("http://hunter2 is here", "it is no address"),
    ] {
        let urls = ["http://127.0.0.1:8080", bad];
        let error = Client::remote("x", &urls, RemoteConfig::default()).err().expect(bad);
        let told = error.chain();
        assert_eq!(error.code(), "replica_address", "{told}");
        assert!(told.contains(&format!("replica 2: {problem}")), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let error = Client::remote("x", &[] as &[String], RemoteConfig::default()).err().unwrap();
    assert_eq!(error.to_string(), "a service elsewhere has at least one replica");
}
