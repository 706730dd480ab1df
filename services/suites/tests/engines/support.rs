//! The engines of a test: those that all tests share, or some of its own that it may pause, kill and restart.
//!
//! Invariant: engines that a test started are stopped and their data deleted when it ends; after a failure the data and the
//! logs stay until the next run.

// Every file of this target takes what it needs from here; none needs everything.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use suites::platform::{Platform, program, root, run};
use tempfile::TempDir;
use tokio::process::Command;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    MariaDb,
    /// noida-db: keeps its log over a restart.
    KafkaA,
    /// tansu: keeps nothing over a restart.
    KafkaB,
    Redis,
    S3,
    Smtp,
}

impl Engine {
    /// Its name in `scripts/engines`.
    fn name(self) -> &'static str {
        match self {
            Engine::MariaDb => "mariadb",
            Engine::KafkaA => "kafka-a",
            Engine::KafkaB => "kafka-b",
            Engine::Redis => "redis",
            Engine::S3 => "s3",
            Engine::Smtp => "smtp",
        }
    }
}

/// Whatever was lost or late, everything agrees again after so long.
pub const CONVERGES_WITHIN: Duration = Duration::from_secs(60);

/// How long members of groups on broker B are silent before they count as dead: what Kafka allows at least.
pub const SESSION: Duration = Duration::from_secs(6);

/// Running engines.
pub struct Engines {
    home: PathBuf,
    variables: BTreeMap<String, String>,
    own: bool,
}

impl Engines {
    /// Those that all tests share: for suites that keep to schemas, topics and prefixes of their own.
    #[track_caller]
    pub fn shared() -> Self {
        Self { variables: variables(&shared_home()), home: shared_home(), own: false }
    }

    /// Fresh ones that nobody else uses.
    pub async fn start(engines: &[Engine]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = shared_home().join("own").join(format!("{}-{number}", std::process::id()));
        let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
        control(&home, "start", &names).await;
        Self { variables: variables(&home), home, own: true }
    }

    /// One of the variables that `scripts/engines` hands out.
    #[track_caller]
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| {
            panic!("{name} is not set: its engine was not started (scripts/engines status)")
        })
    }

    /// `mysql://root@host:port`, without a schema.
    #[track_caller]
    pub fn mysql(&self) -> &str {
        self.variable("RTC_TEST_MYSQL")
    }

    /// `kafka://host:port` of one of the brokers.
    #[track_caller]
    pub fn kafka(&self, broker: Engine) -> &str {
        match broker {
            Engine::KafkaB => self.variable("RTC_TEST_KAFKA_B"),
            _ => self.variable("RTC_TEST_KAFKA_A"),
        }
    }

    /// `redis://host:port`.
    #[track_caller]
    pub fn redis(&self) -> &str {
        self.variable("RTC_TEST_REDIS")
    }

    /// `s3://bucket?endpoint=…&region=…`; its credentials are in the environment of the tests.
    #[track_caller]
    pub fn s3(&self) -> String {
        let (endpoint, bucket) = (self.variable("RTC_TEST_S3"), self.variable("RTC_TEST_S3_BUCKET"));
        format!("s3://{bucket}?endpoint={endpoint}&region={}", self.variable("AWS_REGION"))
    }

    /// `smtp://host:port`, and the folder where it puts one file for each letter.
    #[track_caller]
    pub fn smtp(&self) -> (&str, &Path) {
        (self.variable("RTC_TEST_SMTP"), Path::new(self.variable("RTC_TEST_SMTP_MAIL")))
    }

    /// Stops it in good order and starts it on the same port with the same data.
    pub async fn restart(&self, engine: Engine) {
        control(&self.home, "restart", &[engine.name()]).await;
    }

    /// SIGKILL; `revive` brings it back on the same port.
    pub async fn kill(&self, engine: Engine) {
        control(&self.home, "kill", &[engine.name()]).await;
    }

    /// Stops it in good order; `revive` brings it back on the same port.
    pub async fn stop(&self, engine: Engine) {
        control(&self.home, "stop", &[engine.name()]).await;
    }

    pub async fn revive(&self, engine: Engine) {
        control(&self.home, "start", &[engine.name()]).await;
    }

    /// SIGSTOP: connections stay open and nobody answers.
    pub async fn pause(&self, engine: Engine) {
        control(&self.home, "pause", &[engine.name()]).await;
    }

    /// SIGCONT.
    pub async fn resume(&self, engine: Engine) {
        control(&self.home, "resume", &[engine.name()]).await;
    }

    /// The configuration of a platform on these engines, as TOML: top-level keys, to which sections may be added.
    pub fn configuration(&self) -> String {
        let text = std::fs::read_to_string(self.home.join("rtcd.toml"))
            .expect("the configuration that scripts/engines writes");
        // Broker B is the one on which members die: the shorter the session, the shorter their groups rest.
        match self.variables.get("RTC_TEST_KAFKA_B") {
            Some(url) => {
                let with = format!("\"{url}?session_timeout_ms={}\"", SESSION.as_millis());
                text.replace(&format!("\"{url}\""), &with)
            }
            None => text,
        }
    }

    /// A program of ours that finds the credentials of the engines in its environment.
    pub fn program(&self, name: &str) -> Command {
        let mut command = program(name);
        command.envs(self.variables.iter().filter(|(name, _)| name.starts_with("AWS_")));
        command
    }

    /// `rtcd serve` on free ports with the configuration in its data directory; its log is beside it.
    pub fn rtcd(&self, data: &Path, more: &[&str]) -> Command {
        let mut command = self.program("rtcd");
        command.args(["serve", "--admin-bind", "127.0.0.1:0", "--data"]).arg(data).args(more);
        if !more.contains(&"--api-bind") {
            command.args(["--api-bind", "127.0.0.1:0"]);
        }
        let log = data.with_extension("log");
        let log = std::fs::OpenOptions::new().append(true).create(true).open(log).expect("a log");
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        command
    }

    /// A data directory whose rtcd.toml names these engines, followed by `sections`.
    pub fn directory(&self, sections: &str) -> TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("the data directory");
        private(&data);
        std::fs::write(data.join("rtcd.toml"), self.configuration() + sections).expect("the configuration");
        directory
    }

    pub async fn rtcctl(&self, data: &Path, arguments: &[&str]) -> suites::platform::Ended {
        let mut command = self.program("rtcctl");
        command.args(arguments).arg("--data").arg(data).arg("--no-input").current_dir(root());
        run(command).await
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        if !self.own {
            return;
        }
        // After a failure somebody will want to read the logs.
        let action = if std::thread::panicking() { "stop" } else { "reset" };
        let mut command = std::process::Command::new(script());
        command.arg("--home").arg(&self.home).arg(action).stdin(Stdio::null());
        let stopped = command.status().is_ok_and(|status| status.success());
        if stopped && action == "reset" {
            let _ = std::fs::remove_dir_all(&self.home);
        } else {
            eprintln!("the engines of this test were in {}", self.home.display());
        }
    }
}

/// Only its owner may look into a data directory.
fn private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).expect("permissions");
}

fn script() -> PathBuf {
    root().join("scripts/engines")
}

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "where the engines of the tests are is no configuration")]
fn shared_home() -> PathBuf {
    match std::env::var("RTC_TEST_ENGINES") {
        Ok(home) => PathBuf::from(home),
        Err(_) => panic!(
            "no engines: `cargo xtask test engines` runs these tests, or `scripts/engines start` and `. target/engines/env` before cargo test"
        ),
    }
}

/// The lines `export NAME='value'` of a home.
#[track_caller]
fn variables(home: &Path) -> BTreeMap<String, String> {
    let file = home.join("env");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}: `scripts/engines start` writes it", file.display());
    });
    let pair = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Runs `scripts/engines` and fails with what it says.
async fn control(home: &Path, action: &str, engines: &[&str]) {
    let mut command = Command::new(script());
    command.arg("--home").arg(home).arg(action).args(engines).stdin(Stdio::null());
    run(command).await.expect(0);
}

/// What the API says to somebody.
pub struct Answer {
    pub status: u16,
    pub replayed: bool,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

/// Somebody who is signed in.
pub struct Shopper {
    client: reqwest::Client,
    base: String,
    pub token: String,
}

impl Shopper {
    /// The demo shopper of a seeded shop.
    pub async fn demo(platform: &Platform) -> Self {
        Self::sign_in(platform, "demo@rtc.local", "demo shopper 2026").await
    }

    pub async fn admin(platform: &Platform) -> Self {
        let password = std::fs::read_to_string(platform.data.join("secrets/admin_password"));
        Self::sign_in(platform, "admin@rtc.local", password.expect("the administrator's password").trim())
            .await
    }

    pub async fn sign_in(platform: &Platform, email: &str, password: &str) -> Self {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        let base = platform.run["api_url"].as_str().expect("an address").to_owned();
        let mut shopper = Self { client, base, token: String::new() };
        let body = json!({ "email": email, "password": password });
        let session = shopper.post("/api/v1/sessions", None, &body).await.expect(201);
        session["access_token"].as_str().expect("a token").clone_into(&mut shopper.token);
        shopper
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    /// `key` is the idempotency key.
    pub async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let mut request = self.client.post(format!("{}{path}", self.base)).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        let answer = request.send().await.expect("an answer");
        Answer {
            status: answer.status().as_u16(),
            replayed: answer.headers().get("idempotent-replayed").is_some_and(|value| value == "true"),
            body: answer.json().await.unwrap_or_default(),
        }
    }

    /// Orders one of a product and waits for the end of it.
    pub async fn order(&self, product: &str, quantity: u32, key: &str) -> Answer {
        let body = json!({ "lines": [{ "product_id": product, "quantity": quantity }] });
        self.post("/api/v1/orders?wait=terminal", Some(key), &body).await
    }

    /// Orders and follows the order to its end. Services that begin with an empty head first hear of the products, and a
    /// group of consumers whose member was killed waits for it for a while: both are over within a minute.
    pub async fn order_to_its_end(&self, product: &str, key: &str) -> Value {
        let begun = tokio::time::Instant::now();
        let mut view = loop {
            let answer = self.order(product, 1, key).await;
            if answer.status < 300 {
                break answer.body;
            }
            let unheard_of = answer.body.to_string().contains("product_unavailable");
            assert!(unheard_of && begun.elapsed() < CONVERGES_WITHIN, "{}: {}", answer.status, answer.body);
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let path = format!("/api/v1/orders/{}", view["id"].as_str().expect("an order's id"));
        while !matches!(view["state"].as_str(), Some("confirmed" | "rejected" | "cancelled")) {
            assert!(begun.elapsed() < CONVERGES_WITHIN, "{view}");
            tokio::time::sleep(Duration::from_millis(200)).await;
            view = self.get(&path).await.expect(200);
        }
        view
    }
}
