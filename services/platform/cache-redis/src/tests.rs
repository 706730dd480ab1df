//! What happens while Redis is away, slow, or another than thought: against a small server in this process that can be
//! told to misbehave. What a cache does in good days is told by the conformance suite, on a real Redis.

mod authority;
mod server;
mod tls;

use std::time::Duration;

use super::*;
use server::{Conduct, Server};

const LONG: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options {
        pause: Duration::from_millis(20),
        connect_timeout: Duration::from_millis(200),
        ..Options::default()
    }
}

async fn opened(server: &Server) -> Arc<dyn Cache> {
    open(&server.url(), options()).await.unwrap()
}

async fn keep(cache: &dyn Cache, key: &str, value: &'static str) {
    if let Lookup::Miss(lease) = cache.get(key).await {
        cache.put(key, lease, value.into(), LONG).await;
    }
}

async fn known(cache: &dyn Cache, key: &str) -> Option<Bytes> {
    cache.get(key).await.hit()
}

/// Until the cache says that it is back; it is told by its own task.
async fn back(cache: &dyn Cache) {
    let until_back = async {
        while !cache.metrics().is_available() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), until_back).await.expect("the cache comes back");
}

#[tokio::test]
async fn what_is_kept_is_found_by_another_process() {
    let server = Server::start().await;
    let (one, other) = (opened(&server).await, opened(&server).await);
    keep(one.as_ref(), "k", "v").await;
    assert_eq!(known(other.as_ref(), "k").await.as_deref(), Some(b"v".as_slice()));
    other.remove("k").await;
    assert_eq!(known(one.as_ref(), "k").await, None);
    assert_eq!(one.add("n", 2, LONG).await.unwrap().total, 2);
    assert_eq!(other.add("n", 3, LONG).await.unwrap().total, 5);
}

#[tokio::test]
async fn two_processes_never_have_the_same_lease() {
    let server = Server::start().await;
    let (one, other) = (opened(&server).await, opened(&server).await);
    let first = one.get("k").await;
    // Emptied between: the lease of before is worth nothing now.
    server.clear();
    let second = other.get("k").await;
    assert_ne!(first, second);
    let Lookup::Miss(lease) = first else { panic!("nothing was kept") };
    one.put("k", lease, "old".into(), LONG).await;
    assert_eq!(known(other.as_ref(), "k").await, None);
}

#[tokio::test]
async fn a_slow_redis_costs_a_few_deadlines_and_then_nothing() {
    let server = Server::start().await;
    let cache = opened(&server).await;
    keep(cache.as_ref(), "k", "v").await;
    server.conduct(Conduct::Silent);
    let started = tokio::time::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(cache.get("k").await, Lookup::Miss(Lease::VOID));
        assert_eq!(cache.add("n", 1, LONG).await, None);
        cache.put("k", Lease::new(7), "w".into(), LONG).await;
    }
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1_000), "3000 calls took {took:?} with Redis silent");
    assert_eq!(cache.metrics().outages(), 1);
    assert!(server.commands_while_silent() < 50, "it is left alone: {}", server.commands_while_silent());
    server.conduct(Conduct::Good);
    back(cache.as_ref()).await;
    assert_eq!(known(cache.as_ref(), "k").await.as_deref(), Some(b"v".as_slice()));
    assert_eq!(cache.metrics().outages(), 1);
}

#[tokio::test]
async fn a_redis_that_goes_and_comes_again_is_used_again() {
    let server = Server::start().await;
    let cache = opened(&server).await;
    keep(cache.as_ref(), "k", "v").await;
    server.conduct(Conduct::Closed);
    for _ in 0..100 {
        assert_eq!(known(cache.as_ref(), "k").await, None);
    }
    server.conduct(Conduct::Good);
    back(cache.as_ref()).await;
    assert!(known(cache.as_ref(), "k").await.is_some());
}

#[tokio::test]
async fn what_was_removed_during_an_outage_is_not_found_after_it() {
    for conduct in [Conduct::Silent, Conduct::Closed] {
        let server = Server::start().await;
        let cache = opened(&server).await;
        for n in 0..1_200 {
            keep(cache.as_ref(), &format!("k{n}"), "old").await;
        }
        server.conduct(conduct);
        // Of these the first finds the outage, the others know of it.
        for n in 0..1_199 {
            cache.remove(&format!("k{n}")).await;
        }
        assert!(!cache.metrics().is_available());
        server.conduct(Conduct::Good);
        back(cache.as_ref()).await;
        for n in 0..1_199 {
            assert_eq!(known(cache.as_ref(), &format!("k{n}")).await, None, "{n}");
        }
        assert!(known(cache.as_ref(), "k1199").await.is_some());
    }
}

#[tokio::test]
async fn one_refused_command_is_no_outage() {
    let server = Server::start().await;
    let cache = opened(&server).await;
    keep(cache.as_ref(), "k", "v").await;
    server.conduct(Conduct::Full);
    for n in 0..20 {
        keep(cache.as_ref(), &format!("more{n}"), "v").await;
        assert!(known(cache.as_ref(), "k").await.is_some());
    }
    assert_eq!(cache.metrics().outages(), 0);
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_no_reason_not_to_start() {
    let server = Server::start().await;
    server.conduct(Conduct::Closed);
    let cache = opened(&server).await;
    assert!(!cache.metrics().is_available());
    assert_eq!(cache.get("k").await, Lookup::Miss(Lease::VOID));
    server.conduct(Conduct::Good);
    back(cache.as_ref()).await;
    keep(cache.as_ref(), "k", "v").await;
    assert!(known(cache.as_ref(), "k").await.is_some());
}

async fn refusal(url: &str, options: Options) -> String {
    open(url, options).await.err().expect("an error").to_string()
}

#[tokio::test]
async fn what_no_waiting_mends_is_an_error_at_the_start() {
    let server = Server::start().await;
    server.require_password("secret");
    let with = |password: Option<&'static str>| Options {
        password: Arc::new(move || Ok(password.map(str::to_owned))),
        ..options()
    };
    assert!(refusal(&server.url(), with(None)).await.contains("does not take the password"));
    assert!(refusal(&server.url(), with(Some("wrong"))).await.contains("does not take the password"));
    assert!(open(&server.url(), with(Some("secret"))).await.is_ok());
    let unreadable = Options { password: Arc::new(|| Err("no such file".into())), ..options() };
    assert_eq!(
        refusal(&server.url(), unreadable).await,
        "the password of redis cannot be read: no such file"
    );
    let old = Server::start().await;
    old.be_version("6.0.16");
    assert_eq!(refusal(&old.url(), options()).await, "redis is 6.0.16, and 6.2 is the oldest that will do");
    for version in ["6.2.0", "7.4.1", "8.0.0-rc1"] {
        old.be_version(version);
        assert!(open(&old.url(), options()).await.is_ok(), "{version}");
    }
    assert!(refusal("http://localhost", options()).await.starts_with("not the address of a redis"));
}

#[tokio::test]
async fn the_password_of_the_moment_is_used_for_a_new_connection() {
    let server = Server::start().await;
    server.require_password("first");
    let current = Arc::new(std::sync::Mutex::new("first".to_owned()));
    let given = current.clone();
    let options =
        Options { password: Arc::new(move || Ok(Some(given.lock().unwrap().clone()))), ..options() };
    let cache = open(&server.url(), options).await.unwrap();
    keep(cache.as_ref(), "k", "v").await;
    server.require_password("second");
    server.conduct(Conduct::Closed);
    assert_eq!(known(cache.as_ref(), "k").await, None);
    *current.lock().unwrap() = "second".to_owned();
    server.conduct(Conduct::Good);
    back(cache.as_ref()).await;
    assert!(known(cache.as_ref(), "k").await.is_some());
}
