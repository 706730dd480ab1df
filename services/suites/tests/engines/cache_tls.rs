//! The cache on a real Redis behind TLS and a token, as the cloud's is: the same as without, and what is wrong with it is told.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cache::Cache;
use cache_redis::{OpenError, Options};
use suites::platform::Platform;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::cache::{keep, known, patient, say, until};
use crate::support::{CONVERGES_WITHIN, Engine, Engines, Shopper};

#[path = "../../../platform/cache-redis/src/tests/authority.rs"]
pub mod authority;

use authority::{Authority, LATER};

/// A Redis of a test's own that speaks TLS at a port beside its usual one, by the name `localhost`.
pub struct Secured {
    pub engines: Engines,
    pub port: u16,
    folder: TempDir,
}

impl Secured {
    pub async fn start() -> Self {
        let engines = Engines::start(&[Engine::Redis]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let ours = Authority::new("ours");
        let issued = ours.issue(&["localhost"], LATER);
        for (name, text) in [
            ("ca.pem", ours.pem()),
            ("others.pem", Authority::new("others").pem()),
            ("server.pem", authority::pem("CERTIFICATE", &issued.certificate)),
            ("server.key", authority::pem("PRIVATE KEY", &issued.key)),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let mut secured = Self { engines, port: 0, folder };
        // Somebody may take the port between.
        let mut said = String::new();
        for _ in 0..5 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            secured.port = listener.local_addr().expect("an address").port();
            drop(listener);
            said = secured.speak_tls().await;
            if said == "+OK" {
                return secured;
            }
        }
        panic!("redis speaks no TLS: {said}");
    }

    /// As `redis-server --tls-port …` does from its start.
    pub async fn speak_tls(&self) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        let settings = [
            ("tls-cert-file", file("server.pem")),
            ("tls-key-file", file("server.key")),
            ("tls-ca-cert-file", file("ca.pem")),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-port", self.port.to_string()),
        ];
        let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        say(self.engines.redis(), &format!("CONFIG SET {}", settings.join(" "))).await
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its address for one who knows its authority.
    pub fn url(&self) -> String {
        self.at("localhost", &self.file("ca.pem"))
    }

    pub fn at(&self, host: &str, ca: &Path) -> String {
        format!("rediss://{host}:{}?ca={}", self.port, ca.display())
    }

    /// Says something as an operator would who has the token.
    async fn say_with(&self, token: &str, command: &str) -> String {
        let address = self.engines.redis().strip_prefix("redis://").expect("an address of Redis");
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(format!("AUTH {token}\r\n").as_bytes()).await.expect("sent");
        let mut taken = [0; 5];
        stream.read_exact(&mut taken).await.expect("an answer");
        assert_eq!(&taken, b"+OK\r\n");
        stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("sent");
        let mut answer = vec![0; 1_024];
        let length = stream.read(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[..length]).trim_end().to_owned()
    }

    /// Asks for another token from now on, and cuts the connections of the one before.
    async fn rotate(&self, before: &str, token: &str) {
        assert_eq!(self.say_with(before, &format!("CONFIG SET requirepass {token}")).await, "+OK");
        let cut = self.say_with(token, "CLIENT KILL TYPE normal SKIPME yes").await;
        assert!(cut.starts_with(':') && cut != ":0", "somebody was connected: {cut}");
    }
}

/// What is kept on a connection that has been cut is not.
async fn until_kept(cache: &dyn Cache, key: &str) {
    let kept = async {
        while known(cache, key).await.is_none() {
            keep(cache, key, "v").await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(CONVERGES_WITHIN, kept).await.expect("the cache is used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_behind_tls_does_all_that_a_cache_does() {
    let redis = Secured::start().await;
    let cache = cache_redis::open(&redis.url(), patient()).await.unwrap();
    conformance::cache::all(&cache, "suite").await;
    assert_eq!(cache.metrics().outages(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_prove_to_be_that_redis_is_not_used() {
    let redis = Secured::start().await;
    let refused = async |url: &str| cache_redis::open(url, patient()).await.err().expect("an error");
    let error = refused(&redis.at("localhost", &redis.file("others.pem"))).await;
    assert!(matches!(error, OpenError::Untrusted(_)), "{error}");
    let error = refused(&redis.at("127.0.0.1", &redis.file("ca.pem"))).await;
    assert!(matches!(error, OpenError::WrongName(_)), "{error}");
    let error = refused(&format!("redis://localhost:{}", redis.port)).await;
    assert!(matches!(error, OpenError::Encrypted), "{error}");
    // Also where it asks for a token, and to one who has it.
    let plain = redis.engines.redis().replacen("redis://127.0.0.1", "rediss://localhost", 1);
    let plain = format!("{plain}?ca={}", redis.file("ca.pem").display());
    let error = refused(&plain).await;
    assert!(matches!(error, OpenError::InTheOpen), "{error}");
    assert_eq!(say(redis.engines.redis(), "CONFIG SET requirepass token").await, "+OK");
    let with = Options { password: Arc::new(|| Ok(Some("token".to_owned()))), ..patient() };
    for (url, is_encrypted) in [(plain, false), (format!("redis://localhost:{}", redis.port), true)] {
        let error = cache_redis::open(&url, with.clone()).await.err().expect("an error");
        assert_eq!(matches!(error, OpenError::Encrypted), is_encrypted, "{url}: {error}");
        assert_eq!(matches!(error, OpenError::InTheOpen), !is_encrypted, "{url}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_change_behind_tls_and_redis_may_die() {
    let redis = Secured::start().await;
    assert_eq!(say(redis.engines.redis(), "CONFIG SET requirepass first").await, "+OK");
    let refused = cache_redis::open(&redis.url(), patient()).await.err().unwrap().to_string();
    assert!(refused.starts_with("redis does not take the password"), "{refused}");
    let current = Arc::new(Mutex::new("first".to_owned()));
    let given = current.clone();
    let with = Options { password: Arc::new(move || Ok(Some(given.lock().unwrap().clone()))), ..patient() };
    let cache = cache_redis::open(&redis.url(), with).await.unwrap();
    keep(cache.as_ref(), "k", "v").await;
    "second".clone_into(&mut current.lock().unwrap());
    redis.rotate("first", "second").await;
    until_kept(cache.as_ref(), "k2").await;
    // It comes back with nothing: in the open, and without a token.
    redis.engines.kill(Engine::Redis).await;
    until(cache.as_ref(), false).await;
    redis.engines.revive(Engine::Redis).await;
    assert_eq!(redis.speak_tls().await, "+OK");
    assert_eq!(say(redis.engines.redis(), "CONFIG SET requirepass second").await, "+OK");
    until_kept(cache.as_ref(), "k3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_keeps_behind_tls_by_the_authorities_of_the_machine_and_a_token() {
    let redis = Secured::start().await;
    let directory = crate::faults::shop::seeded(&redis.engines).await;
    let data = directory.path().join("data");
    assert_eq!(say(redis.engines.redis(), "FLUSHALL").await, "+OK");
    assert_eq!(say(redis.engines.redis(), "CONFIG SET requirepass first").await, "+OK");
    let token = redis.file("token");
    std::fs::write(&token, "first").expect("a token");
    let file = data.join("rtcd.toml");
    let settings = std::fs::read_to_string(&file).expect("the configuration");
    let settings = settings.replace(redis.engines.redis(), &format!("rediss://localhost:{}", redis.port));
    let token_reference = format!("\n[credentials]\ncache = \"file:{}\"\n", token.display());
    std::fs::write(&file, settings + &token_reference).expect("the configuration");
    let mut rtcd = redis.engines.rtcd(&data, &[]);
    rtcd.env("SSL_CERT_FILE", redis.file("ca.pem")).env_remove("SSL_CERT_DIR");
    let platform = Platform::spawn(rtcd, &data).await;
    let shopper = Shopper::demo(&platform).await;
    let products = shopper.get("/api/v1/products?limit=1").await.expect(200);
    let path = format!("/api/v1/products/{}", products["data"][0]["id"].as_str().expect("a product"));
    shopper.get(&path).await.expect(200);
    assert_ne!(redis.say_with("first", "DBSIZE").await, ":0", "products are kept there");

    std::fs::write(&token, "second").expect("a token");
    redis.rotate("first", "second").await;
    assert!(redis.say_with("second", "FLUSHALL").await.starts_with("+OK"));
    let begun = Instant::now();
    while redis.say_with("second", "DBSIZE").await == ":0" {
        shopper.get(&path).await.expect(200);
        assert!(begun.elapsed() < CONVERGES_WITHIN, "the new token is not used");
    }
    assert_eq!(platform.stop().await, 0);
}
