//! What happens when S3 does not do as it should: against a small HTTP server that answers as it is told. What a store
//! does in good days is told by the conformance suite, on one that speaks the protocol.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const EMPTY_LIST: &str = "<?xml version=\"1.0\"?><ListBucketResult><Name>shop</Name><KeyCount>0</KeyCount>\
                          <MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>";

/// Answers every request with one status and body.
struct Server {
    port: u16,
    answer: Arc<Mutex<(u16, String)>>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new((200, EMPTY_LIST.to_owned())));
        let requests = Arc::new(AtomicUsize::new(0));
        let server = Self { port, answer: answer.clone(), requests: requests.clone() };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, requests) = (answer.clone(), requests.clone());
                tokio::spawn(async move {
                    // Requests here are small, and every connection has one.
                    let mut request = vec![0; 64 * 1024];
                    let _ = stream.read(&mut request).await;
                    requests.fetch_add(1, Ordering::SeqCst);
                    let (status, body) = answer.lock().unwrap().clone();
                    if status == 0 {
                        std::future::pending::<()>().await;
                    }
                    let head = format!(
                        "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(body.as_bytes()).await;
                });
            }
        });
        server
    }

    fn answer(&self, status: u16, code: &str) {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
        *self.answer.lock().unwrap() = (status, body);
    }

    async fn open(&self) -> Result<Arc<dyn Objects>, OpenError> {
        let url = format!("s3://shop/rtc?endpoint=http://127.0.0.1:{}&region=us-east-1", self.port);
        let address = Address::parse(&url).map_err(OpenError::Url)?;
        // Keys are given here and not by the environment, which tests leave alone.
        let builder = AmazonS3Builder::new().with_access_key_id("test").with_secret_access_key("test");
        connect(builder, address, options()).await
    }
}

fn options() -> Options {
    Options { deadline: Duration::from_secs(2), connect_timeout: Duration::from_millis(500), retries_max: 2 }
}

fn key() -> Key {
    Key::new("ab/one.png").unwrap()
}

#[tokio::test]
async fn a_store_that_is_overloaded_is_unavailable_after_a_few_tries() {
    let server = Server::start().await;
    let store = server.open().await.unwrap();
    server.answer(503, "SlowDown");
    let before = server.requests.load(Ordering::SeqCst);
    let started = tokio::time::Instant::now();
    for failed in [
        store.put(&key(), "x".into(), "image/png").await.unwrap_err(),
        store.get(&key()).await.unwrap_err(),
        store.exists(&key()).await.unwrap_err(),
        store.remove(&key()).await.unwrap_err(),
        store.list("", None, 10).await.unwrap_err(),
    ] {
        assert!(matches!(failed, Error::Unavailable(_)), "{failed}");
        let told = kernel::Error::from(failed);
        assert_eq!((told.http_status(), told.code()), (503, "objects_unavailable"));
        assert!(told.retry_after_s().is_some());
        assert!(!told.message().contains("127.0.0.1"), "{told}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst) - before, 15, "three tries each");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_store_that_hangs_is_unavailable_within_the_deadline() {
    let server = Server::start().await;
    let store = server.open().await.unwrap();
    *server.answer.lock().unwrap() = (0, String::new());
    let started = tokio::time::Instant::now();
    assert!(matches!(store.get(&key()).await, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    let server = Server::start().await;
    let store = server.open().await.unwrap();
    server.answer(404, "NoSuchKey");
    assert_eq!(store.get(&key()).await.unwrap(), None);
    server.answer(404, "NoSuchBucket");
    let refused = store.get(&key()).await.unwrap_err().to_string();
    assert_eq!(refused, "the object store refuses: there is no bucket shop: an operator has to make it");
    assert!(matches!(store.put(&key(), "x".into(), "image/png").await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn what_no_waiting_mends_is_an_error_at_the_start() {
    let server = Server::start().await;
    server.answer(404, "NoSuchBucket");
    let refused = server.open().await.err().unwrap().to_string();
    assert_eq!(refused, "there is no bucket shop: an operator has to make it");
    for (status, code) in
        [(403, "InvalidAccessKeyId"), (403, "AccessDenied"), (400, "AuthorizationHeaderMalformed")]
    {
        server.answer(status, code);
        let refused = server.open().await.err().unwrap().to_string();
        assert!(refused.contains(code), "{refused}");
    }
    server.answer(301, "PermanentRedirect");
    assert!(server.open().await.err().unwrap().to_string().contains("region"));
    assert!(matches!(open("s3://shop?zone=a", Options::default()).await, Err(OpenError::Url(_))));
}

#[tokio::test]
async fn a_store_that_is_away_is_no_reason_not_to_start() {
    let server = Server::start().await;
    server.answer(503, "ServiceUnavailable");
    let store = server.open().await.unwrap();
    *server.answer.lock().unwrap() = (200, EMPTY_LIST.to_owned());
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
}
