//! Death at every numbered step of an order: before and after each commit, publication and offset.
//!
//! One run is recorded, which says how many steps an order has. Then, for each step, a copy of the same shop dies at it,
//! starts again, and is asked again with the same key. `STEPS_EVERY=1` takes every step, `FAULT_SEED` says at which to begin.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::platform::{Platform, seeded};

const EVERY_DEFAULT: u64 = 6;
/// How many shops die at once.
const ABREAST: usize = 2;
const ENDS_WITHIN: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "a test's own knobs, not configuration")]
fn knob(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder for the copy");
    let permissions = std::fs::metadata(from).expect("a folder").permissions();
    std::fs::set_permissions(to, permissions).expect("permissions");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        if old.is_dir() {
            copy(&old, &new);
        } else {
            std::fs::copy(&old, &new).expect("a copy");
        }
    }
}

/// A seeded shop, not running, of which copies are made.
struct Original {
    directory: TempDir,
    token: String,
    order: Value,
    /// How many orders the shopper has already.
    before: usize,
}

/// What became of one death.
struct Outcome {
    died: bool,
    converged_after: Duration,
}

impl Original {
    async fn make() -> Self {
        let directory = seeded().await;
        let data = directory.path().join("data");
        let platform = Platform::start(&data).await;
        let body = json!({ "email": "demo@rtc.local", "password": "demo shopper 2026" });
        let (status, session) = post(&platform, "/api/v1/sessions", "", "", &body).await.expect("an answer");
        assert_eq!(status, 201, "{session}");
        let token = session["access_token"].as_str().expect("a token").to_owned();
        let (_, products) = platform.get("api_url", "/api/v1/products?limit=2", "").await;
        let line = |n: usize| json!({ "product_id": products["data"][n]["id"], "quantity": n + 1 });
        let order = json!({ "lines": [line(0), line(1)] });
        let before = orders(&platform, &token).await.len();
        assert_eq!(platform.stop().await, 0);
        Self { directory, token, order, before }
    }

    fn copy(&self) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        copy(&self.directory.path().join("data"), &data);
        (directory, data)
    }

    /// The names of the steps of an order from its placing to its end.
    async fn record(&self) -> Vec<String> {
        let (directory, data) = self.copy();
        let names = directory.path().join("steps");
        let mut command = Platform::command(&data, 0, 0);
        command.env("RTC_TEST_CRASH_AT", "0").env("RTC_TEST_STEPS", &names);
        let platform = Platform::spawn(command, &data).await;
        let (_, id) = self.place(&platform).await.expect("an answer");
        self.end(&platform, &id).await;
        // What follows the end (mail, read models) comes within moments.
        tokio::time::sleep(Duration::from_secs(1)).await;
        platform.kill().await;
        let text = std::fs::read_to_string(&names).expect("the steps");
        text.lines().map(str::to_owned).collect()
    }

    /// `None`: nobody answered, or with an error that says nothing about the order.
    async fn place(&self, platform: &Platform) -> Option<(u16, String)> {
        let (status, body) = post(platform, "/api/v1/orders", &self.token, "the-order", &self.order).await?;
        assert!(!(300..500).contains(&status), "{status} {body}");
        (status < 300).then(|| (status, body["id"].as_str().expect("an order's id").to_owned()))
    }

    /// Follows the order to its end.
    async fn end(&self, platform: &Platform, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let (status, view) = platform.get("api_url", &format!("/api/v1/orders/{id}"), &self.token).await;
            assert_eq!(status, 200, "an accepted order is not there: {view}");
            if matches!(view["state"].as_str(), Some("confirmed" | "rejected" | "cancelled")) {
                return view;
            }
            assert!(begun.elapsed() < ENDS_WITHIN, "an order that does not end: {view}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Dies at `step`, starts again, and asks again.
    async fn die_at(&self, step: u64) -> Outcome {
        let (_directory, data) = self.copy();
        let mut command = Platform::command(&data, 0, 0);
        command.env("RTC_TEST_CRASH_AT", step.to_string());
        let mut platform = Platform::spawn(command, &data).await;
        let first = self.place(&platform).await;
        let died = platform.dies_within(Duration::from_secs(3)).await;
        if !died {
            platform.kill().await;
        }

        let platform = Platform::start(&data).await;
        let begun = Instant::now();
        let (_, id) = self.place(&platform).await.expect("an answer after the restart");
        if let Some((_, first)) = first {
            assert_eq!(first, id, "one key, two orders");
        }
        let order = self.end(&platform, &id).await;
        let converged_after = begun.elapsed();
        assert_eq!(order["state"], "confirmed", "{order}");
        assert_eq!(orders(&platform, &self.token).await.len(), self.before + 1);
        platform.invariants_hold().await;
        platform.kill().await;
        Outcome { died, converged_after }
    }
}

async fn post(platform: &Platform, path: &str, token: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
    let url = format!("{}{path}", platform.run["api_url"].as_str().expect("an address"));
    let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client");
    let mut request = client.post(url).json(body);
    if !token.is_empty() {
        request = request.bearer_auth(token).header("idempotency-key", key);
    }
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().await.ok()?))
}

async fn orders(platform: &Platform, token: &str) -> Vec<Value> {
    let (status, page) = platform.get("api_url", "/api/v1/orders?limit=100", token).await;
    assert_eq!(status, 200, "{page}");
    page["data"].as_array().expect("orders").clone()
}

/// Says which step it was where a test fails at it.
struct Trace<'a> {
    step: u64,
    name: &'a str,
}

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it died at step {} ({}); STEPS_ONLY={} replays it", self.step, self.name, self.step);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_dies_at_any_step_of_an_order_ends_it_once() {
    let original = Original::make().await;
    let names = original.record().await;
    let count = names.len() as u64;
    assert!(count >= 60, "an order has more steps than these: {names:?}");
    for needle in [
        "orders: before the commit",
        "payments: after the commit",
        "before the publication",
        "after its offsets",
    ] {
        assert!(names.iter().any(|name| name.contains(needle)), "no step is {needle:?}: {names:?}");
    }
    let every = knob("STEPS_EVERY").unwrap_or(EVERY_DEFAULT).max(1);
    let seed = knob("FAULT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let steps: Vec<u64> = match knob("STEPS_ONLY") {
        Some(step) => vec![step],
        None => (1..=count).filter(|step| step % every == seed % every).collect(),
    };
    let begun = Instant::now();
    let mut died = 0;
    let mut slowest = (Duration::ZERO, 0);
    for abreast in steps.chunks(ABREAST) {
        let runs = abreast.iter().map(async |step| {
            let name = names.get(usize::try_from(*step).unwrap_or(0).saturating_sub(1));
            let _trace = Trace { step: *step, name: name.map_or("", String::as_str) };
            (*step, original.die_at(*step).await)
        });
        for (step, outcome) in futures_util::future::join_all(runs).await {
            died += u64::from(outcome.died);
            slowest = slowest.max((outcome.converged_after, step));
        }
    }
    println!(
        "{count} steps, {} taken, {died} deaths, slowest {:?} after the restart (step {}), {:?} in all",
        steps.len(),
        slowest.0,
        slowest.1,
        begun.elapsed()
    );
    // Threads do not meet in the same order every time: the last steps may come after the end.
    assert!(died * 10 >= steps.len() as u64 * 9, "{died} of {} died: seed {seed}", steps.len());
}
