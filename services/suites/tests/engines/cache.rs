//! The cache on a real Redis: what every cache does, and F11: emptied, killed, stopped in its tracks, locked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache::{Cache, Lookup};
use cache_redis::Options;
use suites::platform::Platform;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{Engine, Engines, Shopper};

const LONG: Duration = Duration::from_secs(60);

/// With a deadline that holds on a machine that is busy with other tests; what a call may take is tested for itself.
fn options(test: &str) -> Options {
    Options { prefix: format!("rtc-test:{}:{test}:", std::process::id()), ..patient() }
}

pub fn patient() -> Options {
    Options { deadline: Duration::from_secs(2), ..Options::default() }
}

/// Says something to Redis as an operator would.
pub async fn say(url: &str, command: &str) -> String {
    let address = url.strip_prefix("redis://").expect("an address of Redis");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("sent");
    let mut answer = vec![0; 1_024];
    let length = stream.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..length]).trim_end().to_owned()
}

pub async fn keep(cache: &dyn Cache, key: &str, value: &'static str) {
    if let Lookup::Miss(lease) = cache.get(key).await {
        cache.put(key, lease, Bytes::from_static(value.as_bytes()), LONG).await;
    }
}

pub async fn known(cache: &dyn Cache, key: &str) -> Option<Bytes> {
    cache.get(key).await.hit()
}

pub async fn until(cache: &dyn Cache, is_available: bool) {
    let reached = async {
        while cache.metrics().is_available() != is_available {
            cache.get("whatever").await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the cache notices");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_does_all_that_a_cache_does() {
    let engines = Engines::shared();
    let cache = cache_redis::open(engines.redis(), options("suite")).await.unwrap();
    conformance::cache::all(&cache, "suite").await;
    assert_eq!(cache.metrics().outages(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn additions_of_many_processes_are_all_counted() {
    let engines = Engines::shared();
    let mut adders = Vec::new();
    for _ in 0..4 {
        let cache = cache_redis::open(engines.redis(), options("adders")).await.unwrap();
        adders.push(tokio::spawn(async move {
            for _ in 0..250 {
                cache.add("together", 1, LONG).await.expect("a count");
            }
            cache
        }));
    }
    let mut last = None;
    for adder in adders {
        last = Some(adder.await.unwrap());
    }
    let cache: Arc<dyn Cache> = last.unwrap();
    assert_eq!(cache.add("together", 0, LONG).await.unwrap().total, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_costs_misses_and_keeps_no_lease_of_before() {
    let engines = Engines::start(&[Engine::Redis]).await;
    let cache = cache_redis::open(engines.redis(), patient()).await.unwrap();
    keep(cache.as_ref(), "k", "v").await;
    let Lookup::Miss(before) = cache.get("other").await else { panic!("nothing was kept") };
    assert_eq!(say(engines.redis(), "FLUSHALL").await, "+OK");
    assert_eq!(known(cache.as_ref(), "k").await, None);
    cache.put("other", before, Bytes::from_static(b"old"), LONG).await;
    assert_eq!(known(cache.as_ref(), "other").await, None);
    // The script is gone too, and is sent again.
    assert_eq!(say(engines.redis(), "SCRIPT FLUSH").await, "+OK");
    keep(cache.as_ref(), "k", "w").await;
    assert_eq!(known(cache.as_ref(), "k").await.as_deref(), Some(b"w".as_slice()));
    assert_eq!(cache.metrics().outages(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_costs_a_few_deadlines() {
    let engines = Engines::start(&[Engine::Redis]).await;
    let quick = Options { pause: Duration::from_millis(100), ..Options::default() };
    let cache = cache_redis::open(engines.redis(), quick).await.unwrap();
    keep(cache.as_ref(), "k", "v").await;
    engines.pause(Engine::Redis).await;
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    for _ in 0..2_000 {
        let one = Instant::now();
        assert_eq!(known(cache.as_ref(), "k").await, None);
        cache.remove("k").await;
        longest = longest.max(one.elapsed());
    }
    assert!(longest < Duration::from_millis(250), "one call took {longest:?}");
    assert!(started.elapsed() < Duration::from_secs(1), "4000 calls took {:?}", started.elapsed());
    assert!(!cache.metrics().is_available());
    engines.resume(Engine::Redis).await;
    until(cache.as_ref(), true).await;
    assert_eq!(known(cache.as_ref(), "k").await, None, "what was removed meanwhile is gone");
    keep(cache.as_ref(), "k", "w").await;
    assert!(known(cache.as_ref(), "k").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_and_returns_is_used_again() {
    let engines = Engines::start(&[Engine::Redis]).await;
    let cache = cache_redis::open(engines.redis(), patient()).await.unwrap();
    keep(cache.as_ref(), "k", "v").await;
    engines.kill(Engine::Redis).await;
    until(cache.as_ref(), false).await;
    assert_eq!(cache.add("n", 1, LONG).await, None);
    engines.revive(Engine::Redis).await;
    until(cache.as_ref(), true).await;
    keep(cache.as_ref(), "k", "w").await;
    assert_eq!(known(cache.as_ref(), "k").await.as_deref(), Some(b"w".as_slice()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_asked_for_and_may_change() {
    let engines = Engines::start(&[Engine::Redis]).await;
    assert_eq!(say(engines.redis(), "CONFIG SET requirepass first").await, "+OK");
    let refused = cache_redis::open(engines.redis(), patient()).await.err().unwrap().to_string();
    assert!(refused.starts_with("redis does not take the password"), "{refused}");
    let current = Arc::new(std::sync::Mutex::new("first".to_owned()));
    let given = current.clone();
    let with = Options { password: Arc::new(move || Ok(Some(given.lock().unwrap().clone()))), ..patient() };
    let cache = cache_redis::open(engines.redis(), with.clone()).await.unwrap();
    keep(cache.as_ref(), "k", "v").await;
    // Rotated: the old connections are cut, and the new password is read for the next.
    "second".clone_into(&mut current.lock().unwrap());
    let address = engines.redis().strip_prefix("redis://").unwrap();
    let rotate = "CONFIG SET requirepass second\r\nCLIENT KILL TYPE normal SKIPME yes";
    assert!(say(&format!("redis://{address}"), &format!("AUTH first\r\n{rotate}")).await.starts_with("+OK"));
    until(cache.as_ref(), true).await;
    keep(cache.as_ref(), "k2", "v").await;
    let fresh = cache_redis::open(engines.redis(), with).await.unwrap();
    assert!(known(fresh.as_ref(), "k").await.is_some());
}

/// Changes a product's name and answers its next version.
async fn rename(platform: &Platform, token: &str, path: &str, version: i64) -> i64 {
    let url = format!("{}{path}", platform.run["api_url"].as_str().expect("an address"));
    let name = format!("version {}", version + 1);
    let change = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap().patch(url);
    let change = change.bearer_auth(token).header("if-match", format!("\"{version}\""));
    let answer = change.json(&serde_json::json!({ "name": name })).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let view: serde_json::Value = answer.json().await.expect("a product");
    view["version"].as_i64().expect("a version")
}

/// What shoppers are shown, and how long the slowest answer took.
async fn look(shopper: &Shopper, path: &str, times: u32, version: i64) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        let started = Instant::now();
        let view = shopper.get(path).await.expect(200);
        slowest = slowest.max(started.elapsed());
        assert_eq!(view["version"].as_i64(), Some(version), "{view}");
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_goes_on_and_shows_nothing_old_while_redis_stands_still_or_is_dead() {
    let engines = Engines::start(&[Engine::Redis]).await;
    let directory = crate::faults::shop::seeded(&engines).await;
    let data = directory.path().join("data");
    let platform = Platform::spawn(engines.rtcd(&data, &[]), &data).await;
    let (shopper, admin) = (Shopper::demo(&platform).await, Shopper::admin(&platform).await);
    let products = shopper.get("/api/v1/products?limit=1").await.expect(200);
    let path = format!("/api/v1/products/{}", products["data"][0]["id"].as_str().expect("a product"));
    let mut version = products["data"][0]["version"].as_i64().expect("a version");
    look(&shopper, &path, 5, version).await;
    let keys = say(engines.redis(), "DBSIZE").await;
    assert_ne!(keys, ":0", "products are kept in Redis");

    engines.pause(Engine::Redis).await;
    let slowest = look(&shopper, &path, 100, version).await;
    assert!(slowest < Duration::from_secs(1), "an answer took {slowest:?} while Redis stood still");
    version = rename(&platform, &admin.token, &path, version).await;
    look(&shopper, &path, 20, version).await;
    engines.resume(Engine::Redis).await;
    // Redis still has what was before the change; it is not shown while the link comes back, nor after.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        look(&shopper, &path, 20, version).await;
    }

    engines.kill(Engine::Redis).await;
    version = rename(&platform, &admin.token, &path, version).await;
    let slowest = look(&shopper, &path, 100, version).await;
    assert!(slowest < Duration::from_secs(1), "an answer took {slowest:?} while Redis was dead");
    // Limits are counted by the process itself now: signing in works.
    Shopper::demo(&platform).await;
    engines.revive(Engine::Redis).await;
    look(&shopper, &path, 20, version).await;
    assert_eq!(say(engines.redis(), "FLUSHALL").await, "+OK");
    look(&shopper, &path, 20, version).await;
    let order = shopper.order(path.rsplit('/').next().unwrap(), 1, "after-all-that").await.expect(201);
    assert_eq!(order["state"], "confirmed", "{order}");
    platform.invariants_hold().await;
    assert_eq!(platform.stop().await, 0);
}
