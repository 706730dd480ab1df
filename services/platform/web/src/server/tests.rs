//! A server's connections: how long they stay open, and how they end.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Server, ServerConfig};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";

/// A server in this thread, which does nothing while its test does not wait.
struct Running {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(config: ServerConfig) -> Self {
        Self::with(config, Router::new()).await
    }

    async fn with(config: ServerConfig, router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = Server::new(listener, router.route("/", get(async || "hello")), config);
        Self { address, stop: stop.clone(), task: tokio::spawn(server.run(stop)) }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// The status line and headers of the next answer, whose body is `hello`.
async fn answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"hello") {
        let mut more = [0; 1_024];
        let count = stream.read(&mut more).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&more[..count]);
    }
    String::from_utf8(read).unwrap()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 16]).await.map_or(true, |count| count == 0)
}

/// Lets everybody do what there is to do, and the runtime look what has come.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// Lets `time` be over at once.
async fn pass(time: Duration) {
    settle().await;
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
    settle().await;
}

#[tokio::test]
async fn a_connection_between_two_requests_stays_open_for_longer_than_a_head_may_take() {
    let header_timeout = Duration::from_millis(100);
    let server = Running::start(ServerConfig { header_timeout, ..ServerConfig::default() }).await;
    let (mut patient, mut silent, mut slow) =
        (server.connect().await, server.connect().await, server.connect().await);
    for stream in [&mut patient, &mut slow] {
        stream.write_all(REQUEST).await.unwrap();
        answer(stream).await;
    }
    slow.write_all(&REQUEST[..9]).await.unwrap();
    // Both have had their time, so the one that is between two requests has had as much.
    assert!(is_closed(&mut silent).await && is_closed(&mut slow).await);
    patient.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut patient).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_that_nobody_uses_any_more_is_closed() {
    let keep_alive = Duration::from_millis(100);
    let server = Running::start(ServerConfig { keep_alive, ..ServerConfig::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(REQUEST).await.unwrap();
    answer(&mut stream).await;
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn the_time_of_a_head_begins_with_its_first_byte_however_long_its_client_was_silent() {
    let config = ServerConfig::default();
    let server = Running::start(config).await;
    let mut stream = server.connect().await;
    let (most, more) = (config.header_timeout * 4 / 5, config.header_timeout * 6 / 5);
    for silence in [most, config.keep_alive - config.header_timeout / 5] {
        pass(silence).await;
        stream.write_all(&REQUEST[..9]).await.unwrap();
        pass(most).await;
        stream.write_all(&REQUEST[9..]).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    stream.write_all(&REQUEST[..9]).await.unwrap();
    pass(more).await;
    stream.write_all(&REQUEST[9..]).await.unwrap();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_taken_for_a_head() {
    let config = ServerConfig { linger: Duration::ZERO, ..ServerConfig::default() };
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_begun, goes) = (begun.clone(), go.clone());
    let refuse = async move |request: Request| {
        has_begun.notify_one();
        goes.notified().await;
        drop(request);
        "hello"
    };
    let server = Running::with(config, Router::new().route("/refused", post(refuse))).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(b"POST /refused HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n\r\n").await.unwrap();
        let long = tokio::time::timeout(config.header_timeout, begun.notified());
        long.await.expect("a connection that is open");
        // One part is kept for whoever may read it; the other is still in the socket at the time of the answer.
        for part in [b"bo", b"dy"] {
            stream.write_all(part).await.unwrap();
            settle().await;
        }
        go.notify_one();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        // Between two requests, where a head would be late.
        pass(config.header_timeout * 2).await;
    }
    server.stop.cancel();
    let long = tokio::time::timeout(config.header_timeout, server.task);
    long.await.expect("an end without a wait for a head").unwrap();
}

#[tokio::test]
async fn a_head_that_comes_in_pieces_within_its_time_is_answered() {
    let server = Running::start(ServerConfig::default()).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        for piece in REQUEST.chunks(7) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn a_request_that_the_runtime_has_not_seen_yet_is_answered_before_its_connection_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let closing = CancellationToken::new();
    let hello = async |_| Ok::<_, std::convert::Infallible>(axum::response::Response::new("hello".into()));
    let (stream, _) = listener.accept().await.unwrap();
    let served = super::connection::serve(stream, ServerConfig::default(), hello, closing.clone());
    let mut served = std::pin::pin!(served);
    client.write_all(REQUEST).unwrap();
    let mut first = [0; 1_024];
    client.set_nonblocking(true).unwrap();
    // The server turns until it has answered, and waits for another request then.
    let count = loop {
        let turn = tokio::time::timeout(Duration::from_millis(20), served.as_mut()).await;
        assert!(turn.is_err(), "closed early");
        if let Ok(count) = client.read(&mut first) {
            break count;
        }
    };
    assert!(first[..count].ends_with(b"hello"));
    // From here on nobody asks the kernel what has come, but the server itself.
    client.set_nonblocking(false).unwrap();
    client.write_all(REQUEST).unwrap();
    closing.cancel();
    served.await.unwrap();
    let mut second = String::new();
    client.read_to_string(&mut second).unwrap();
    assert!(second.starts_with("HTTP/1.1 200") && second.ends_with("hello"), "{second}");
}

#[tokio::test]
async fn whoever_is_in_the_queue_at_the_stop_is_answered_also_if_the_runtime_has_not_seen_him() {
    let server = Running::start(ServerConfig::default()).await;
    // The server waits for somebody to come.
    tokio::task::yield_now().await;
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(server.address).unwrap();
            client.write_all(REQUEST).unwrap();
            client
        })
        .collect();
    server.stop.cancel();
    server.task.await.unwrap();
    for client in &mut clients {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
    }
}

#[tokio::test]
async fn a_stop_waits_for_no_connection_without_a_request() {
    let config = ServerConfig { linger: Duration::ZERO, ..ServerConfig::default() };
    let server = Running::start(config).await;
    let (mut fresh, mut used) = (server.connect().await, server.connect().await);
    used.write_all(REQUEST).await.unwrap();
    answer(&mut used).await;
    server.stop.cancel();
    let long = tokio::time::timeout(config.header_timeout, server.task);
    long.await.expect("an end before a head's time is over").unwrap();
    assert!(is_closed(&mut fresh).await && is_closed(&mut used).await);
}

/// The kernel sees what a client takes.
#[cfg(target_os = "linux")]
mod unread {
    use axum::body::{Body, Bytes};

    use super::*;

    /// A server at which `/endless` has an answer without an end, and what is cancelled once that is given up.
    async fn endless(unread_timeout: Duration) -> (Running, CancellationToken) {
        let given_up = CancellationToken::new();
        let seen = given_up.clone();
        let answer = async move || {
            let held = seen.clone().drop_guard();
            Body::from_stream(futures_util::stream::repeat_with(move || {
                let _held = &held;
                Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'.'; 64 * 1024]))
            }))
        };
        let config = ServerConfig { unread_timeout, ..ServerConfig::default() };
        (Running::with(config, Router::new().route("/endless", get(answer))).await, given_up)
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
        let (server, given_up) = endless(Duration::from_millis(500)).await;
        let mut stream = server.connect().await;
        stream.write_all(b"GET /endless HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let cut_off = tokio::time::timeout(Duration::from_secs(20), given_up.cancelled());
        cut_off.await.expect("an answer that nobody reads is given up");
    }

    #[tokio::test]
    async fn a_client_that_takes_its_answer_with_pauses_gets_it() {
        let unread_timeout = Duration::from_secs(1);
        let (server, given_up) = endless(unread_timeout).await;
        let mut stream = server.connect().await;
        stream.write_all(b"GET /endless HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let mut some = vec![0; 512 * 1024];
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < 3 * unread_timeout {
            stream.read_exact(&mut some).await.unwrap();
            tokio::time::sleep(unread_timeout / 10).await;
        }
        assert!(!given_up.is_cancelled());
    }
}
