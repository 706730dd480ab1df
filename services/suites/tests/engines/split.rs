//! The shop as processes on one machine: two of each service and two at the entrance, under one supervisor.
//!
//! `ROLLING_ROUNDS=20` restarts every process twenty times under load; without it, once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use suites::platform::{Ended, Platform, binaries};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::support::{Engine, Engines, Shopper};

const PROCESSES: usize = 16;
/// How long a restart of all of them may take, each of which waits for its consumer groups. The load is asked to end before.
const ROUND_S: u32 = 180;

/// One platform of so many processes at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// A seeded shop in several processes.
struct Split {
    engines: Engines,
    directory: TempDir,
    platform: Platform,
}

fn supervisor(engines: &Engines, directory: &TempDir) -> Command {
    let mut command = engines.program("rtcd");
    command.args(["split", "--replicas", "2", "--api-bind", "127.0.0.1:0", "--admin-bind", "127.0.0.1:0"]);
    let log = directory.path().join("supervisor.log");
    let log = std::fs::OpenOptions::new().append(true).create(true).open(log).expect("a log");
    command.arg("--data").arg(directory.path().join("data"));
    command.stdout(log.try_clone().expect("a second handle")).stderr(log);
    command
}

impl Split {
    async fn up(broker: Engine) -> Self {
        let engines = Engines::start(&[Engine::MariaDb, broker, Engine::Redis, Engine::S3]).await;
        let directory = crate::faults::shop::seeded(&engines).await;
        let data = directory.path().join("data");
        let platform = Platform::spawn(supervisor(&engines, &directory), &data).await;
        Self { engines, directory, platform }
    }

    async fn rtcctl(&self, arguments: &[&str]) -> Ended {
        self.engines.rtcctl(&self.platform.data, arguments).await
    }

    async fn status(&self) -> Value {
        self.rtcctl(&["status", "-o", "json"]).await.json()["data"]["platform"].clone()
    }

    /// How many orders are in which state.
    async fn orders(&self) -> BTreeMap<String, u64> {
        let by_state = self.status().await["orders"]["by_state"].clone();
        serde_json::from_value(by_state).expect("counts by state")
    }

    /// Restarts every process, one after the other.
    async fn restart(&self) -> usize {
        let report = self.rtcctl(&["restart", "-o", "json"]).await.expect(0).json();
        report["data"]["restarted"].as_array().expect("what was restarted").len()
    }

    fn load(&self, rate: u32, seconds: u32) -> Command {
        let mut command = self.engines.program("rtcctl");
        let (rate, duration) = (rate.to_string(), format!("{seconds}s"));
        command.args([
            "load",
            "--scenario",
            "shop",
            "--orders-only",
            "--rate",
            &rate,
            "--duration",
            &duration,
        ]);
        command.args([
            "--shoppers",
            "10",
            "--products",
            "5",
            "--restock",
            "100000",
            "--settle-timeout",
            "120s",
        ]);
        command.args(["--progress", "none", "-o", "json", "--no-input", "--data"]).arg(&self.platform.data);
        command
    }

    async fn invariants_hold(&self) {
        self.rtcctl(&["status", "--invariants"]).await.expect(0);
    }

    /// Stops it, and looks that nothing is left of it.
    async fn down(self) {
        let processes = pids(&self.status().await);
        assert_eq!(processes.len(), PROCESSES + 1);
        assert_eq!(self.platform.stop().await, 0);
        nothing_is_left(&processes);
    }
}

#[track_caller]
fn nothing_is_left(processes: &[i32]) {
    let left: Vec<&i32> = processes.iter().filter(|pid| lives(**pid)).collect();
    assert!(left.is_empty(), "still there: {left:?}");
}

/// Looks again and again, for as long as it is worth it.
async fn eventually(come: impl AsyncFnMut() -> bool) -> bool {
    within(Duration::from_secs(60), come).await
}

async fn within(time: Duration, mut come: impl AsyncFnMut() -> bool) -> bool {
    let looks = async {
        while !come().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(time, looks).await.is_ok()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The supervisor and its processes.
fn pids(status: &Value) -> Vec<i32> {
    let processes = status["processes"].as_array().expect("processes").iter();
    let pids = processes.chain([status]).filter_map(|process| process["pid"].as_i64());
    pids.map(|pid| i32::try_from(pid).expect("a process id")).collect()
}

/// Whether the process is there and is one of ours.
fn lives(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.contains("(rtcd)") && !text.contains(") Z ")
}

fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process id");
    kill_process(pid, signal).expect("a process that takes signals");
}

fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

/// Whether something has come to `port`, over a connection that a process has accepted, and nobody has read it: proc_net_tcp(5),
/// whose second field is the local address, the fourth the state, the fifth the queues and the tenth the inode, which those in a
/// listener's queue have not.
fn holds_a_request(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_there = fields[1].ends_with(&format!(":{port:04X}")) && fields[3] == "01";
        is_there && !fields[4].ends_with(":00000000") && fields[9] != "0"
    })
}

fn process<'a>(status: &'a Value, service: &str, replica: u64) -> &'a Value {
    let processes = status["processes"].as_array().expect("processes");
    let found = processes.iter().find(|one| one["service"] == service && one["replica"] == replica);
    found.expect("the process")
}

fn pid_of(status: &Value, service: &str, replica: u64) -> i32 {
    i32::try_from(process(status, service, replica)["pid"].as_i64().expect("a pid")).expect("a process id")
}

/// What `rtcctl load` saw: nobody was turned away or left without an answer. How many orders were accepted.
#[track_caller]
fn nothing_failed(report: &Value) -> u64 {
    let data = &report["data"];
    assert_eq!(data["unavailable"], 0, "{data}");
    assert_eq!(data["errors"], json!({}), "{data}");
    assert_eq!(data["orders"]["unknown"], 0, "{data}");
    data["orders"]["accepted"].as_u64().expect("orders")
}

fn report_in(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[expect(clippy::disallowed_methods, reason = "how long a test goes on is no configuration")]
fn rounds() -> u32 {
    std::env::var("ROLLING_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_starts_the_shop_in_processes_and_down_leaves_none_of_them() {
    let _turn = TURN.lock().await;
    let engines = Engines::start(&[Engine::MariaDb, Engine::KafkaA, Engine::Redis, Engine::S3]).await;
    let directory = engines.directory("");
    let data = directory.path().join("data");
    let rtcd = binaries().join("rtcd");
    let words =
        ["up", "--split", "--replicas", "2", "--detach", "--port", "0", "-o", "json", "--rtcd", path(&rtcd)];
    let report = engines.rtcctl(&data, &words).await.expect(0).json();
    let processes = report["data"]["processes"].as_array().expect("processes");
    assert_eq!(processes.len(), PROCESSES, "{report}");
    let status = engines.rtcctl(&data, &["status", "-o", "json"]).await.expect(0).json();
    assert_eq!((&status["status"], &status["findings"]), (&json!("ok"), &json!([])));
    let processes = pids(&status["data"]["platform"]);
    assert!(processes.iter().all(|pid| lives(*pid)));
    // What is configured is what is used: a data directory of a process has no database but what it can fill again.
    assert!(!data.join("split/orders-1/orders.db").exists() && !data.join("orders.db").exists());
    let admin = report["data"]["run"]["admin_url"].as_str().expect("an address");
    let metrics =
        reqwest::get(format!("{admin}/metrics")).await.expect("metrics").text().await.expect("text");
    for service in ["orders", "gateway"] {
        let up = format!("rtc_split_process_up{{process=\"{service}\",replica=\"2\"}} 1\n");
        assert!(metrics.contains(&up), "{metrics}");
    }
    assert!(metrics.contains("http_server_request_duration_seconds_count{process=\"catalog\",replica=\""));
    // One page of all processes: a family is described once.
    assert_eq!(metrics.matches("# TYPE http_server_request_duration_seconds ").count(), 1);
    engines.rtcctl(&data, &["down"]).await.expect(0);
    nothing_is_left(&processes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_confirmed_by_processes_that_come_back_when_they_are_killed() {
    let _turn = TURN.lock().await;
    let split = Split::up(Engine::KafkaB).await;
    let shopper = Shopper::demo(&split.platform).await;
    let products = shopper.get("/api/v1/products?limit=2").await.expect(200);
    let product = products["data"][0]["id"].as_str().expect("a product");
    let order = shopper.order_to_its_end(product, "first").await;
    assert_eq!(order["state"], "confirmed", "{order}");

    // One of two is gone at once: the other answers, and the first comes back in its place.
    let before = split.status().await;
    kill(pid_of(&before, "catalog", 1));
    // What it had of its groups' partitions goes to the other when the session has passed.
    kill(pid_of(&before, "payments", 1));
    for _ in 0..50 {
        shopper.get("/api/v1/products?limit=2").await.expect(200);
    }
    let back = async || {
        let status = split.status().await;
        ["catalog", "payments"].into_iter().all(|service| {
            let process = process(&status, service, 1);
            process["state"] == "ready" && process["restarts"] == 1
        })
    };
    assert!(eventually(back).await, "{}", split.status().await);
    let after = split.status().await;
    assert_ne!(pid_of(&after, "catalog", 1), pid_of(&before, "catalog", 1));
    assert_eq!(process(&after, "catalog", 1)["api_url"], process(&before, "catalog", 1)["api_url"]);
    for key in ["second", "third", "fourth", "fifth"] {
        let again = shopper.order_to_its_end(product, key).await;
        assert_eq!(again["state"], "confirmed", "{again}");
    }
    split.invariants_hold().await;
    split.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_everything_under_load_fails_no_request() {
    let _turn = TURN.lock().await;
    let split = Split::up(Engine::KafkaA).await;
    let rounds = rounds();
    let load = split.load(10, rounds * ROUND_S).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let load = load.expect("a load that can be run");
    let loader = i32::try_from(load.id().expect("a process id")).expect("a process id");
    let loading = tokio::spawn(load.wait_with_output());
    // The load signs its shoppers in first.
    assert!(eventually(async || !split.orders().await.is_empty()).await);
    for _ in 0..rounds {
        assert_eq!(split.restart().await, PROCESSES);
    }
    assert!(!loading.is_finished(), "restarts that no load has seen");
    signal(loader, Signal::INT);
    let output = loading.await.expect("a load").expect("what it said");
    let accepted = nothing_failed(&report_in(&output));
    println!("{rounds} restarts of everything: 0 of {accepted} requests failed");
    let confirmed = async || split.orders().await == [("confirmed".to_owned(), accepted)].into();
    assert!(within(Duration::from_secs(120), confirmed).await, "{accepted}: {:?}", split.orders().await);
    split.invariants_hold().await;
    split.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_proves_that_nobody_noticed_and_a_kill_that_somebody_did() {
    let _turn = TURN.lock().await;
    let split = Split::up(Engine::KafkaA).await;
    // What the machine bears without refusing anything: a release is built for 200 a second, a debug build for less.
    let rate = if cfg!(debug_assertions) { "20" } else { "200" };
    let words = ["restart", "--prove", "--prove-rate", rate, "-o", "json"];
    let report = split.rtcctl(&words).await.expect(0).json();
    let figures = &report["data"]["proof"]["figures"];
    assert_eq!(report["data"]["restarted"].as_array().map(Vec::len), Some(PROCESSES), "{report}");
    assert_eq!(
        (&figures["unavailable"], &figures["availability_percent"]),
        (&json!(0), &json!(100.0)),
        "{figures}"
    );
    assert!(figures["requests"].as_u64() > Some(100), "{figures}");

    // The same eyes see what is lost where nothing is drained: both entrances die at once, with a request in their hands.
    let words = ["restart", "analytics", "--prove", "--prove-rate", rate, "-o", "json"];
    let before = pid_of(&split.status().await, "analytics", 1);
    let seen = tokio::join!(split.rtcctl(&words), async {
        // Once a process is another one, the load has begun.
        let has_begun = async || pid_of(&split.status().await, "analytics", 1) != before;
        assert!(eventually(has_begun).await);
        let status = split.status().await;
        let entrances = [1, 2].map(|replica| pid_of(&status, "gateway", replica));
        // Asleep they keep what comes to them; only then is there something to lose for certain.
        entrances.into_iter().for_each(|pid| signal(pid, Signal::STOP));
        assert!(eventually(async || holds_a_request(split.platform.port("api_url"))).await);
        entrances.into_iter().for_each(kill);
    });
    let report = seen.0.expect(30).json();
    assert_eq!(report["data"]["proof"]["verdict"], "breached", "{report}");
    assert!(report["data"]["proof"]["figures"]["unavailable"].as_u64() > Some(0), "{report}");
    split.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_outlives_a_supervisor_that_was_killed_and_the_next_one_takes_over() {
    let _turn = TURN.lock().await;
    let Split { engines, directory, platform } = Split::up(Engine::KafkaA).await;
    let status = engines.rtcctl(&platform.data, &["status", "-o", "json"]).await.json();
    let before = pids(&status["data"]["platform"]);
    let data = platform.data.clone();
    platform.kill().await;
    // They drain as they would when asked, and the next ones wait for their places.
    let platform = Platform::spawn(supervisor(&engines, &directory), &data).await;
    assert!(eventually(async || !before.iter().any(|pid| lives(*pid))).await, "{before:?}");
    let split = Split { engines, directory, platform };
    Shopper::demo(&split.platform).await.get("/api/v1/products?limit=2").await.expect(200);
    split.invariants_hold().await;
    split.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_processes_cannot_share_is_refused_with_the_way_to_engines_that_they_can() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let rtcd = binaries().join("rtcd");
    let words = ["up", "--split", "--detach", "--port", "0", "-o", "json", "--rtcd", path(&rtcd)];
    let refused = suites::platform::rtcctl(&data, &words).await.expect(3);
    for told in ["RTD034", "scripts/engines start", "target/engines/rtcd.toml"] {
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
}
