//! What callers that leave before their deadline say of a replica.

use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;

/// Reads what it is asked, says so, and answers nobody.
async fn mute() -> (Remote, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Notify::new());
    let told = asked.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.windows(4).any(|window| window == b"\r\n\r\n") {
                stream.read_buf(&mut read).await.unwrap();
            }
            held.push(stream);
            told.notify_one();
        }
    });
    (Remote::new("things".to_owned(), &[url], RemoteConfig::default()).unwrap(), asked)
}

/// Asks, leaves after two seconds, and tells whether the replica is left out at that moment.
async fn is_out_after_leaving(remote: &Remote, asked: &Notify, body: Body) -> bool {
    let request = Request::builder().method("PUT").uri("/").body(body).unwrap();
    let mut sending = Box::pin(remote.send(request));
    tokio::select! {
        _ = &mut sending => panic!("nobody answers"),
        () = asked.notified() => {}
    }
    tokio::time::pause();
    tokio::time::advance(2 * PATIENCE_MIN).await;
    drop(sending);
    let is_out = remote.replicas[0].admit(Instant::now()).is_none();
    tokio::time::resume();
    is_out
}

#[tokio::test]
async fn a_replica_that_hangs_is_left_out_though_nobody_stays_until_the_deadline() {
    let (remote, asked) = mute().await;
    let mut out = Vec::new();
    for _ in 0..3 {
        out.push(is_out_after_leaving(&remote, &asked, Body::from("whole")).await);
    }
    assert_eq!(out, [false, false, true]);
}

#[tokio::test]
async fn whoever_leaves_amid_its_own_body_says_nothing_of_the_replica() {
    let (remote, asked) = mute().await;
    for _ in 0..5 {
        let body = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        assert!(!is_out_after_leaving(&remote, &asked, body).await);
    }
}
