//! The whole of `up` with a stand-in for rtcd: a script that announces a server of the test and then waits.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use kernel::SystemClock;
use serde_json::{Value, json};

use crate::io::{Captured, Io, Sink};
use crate::local::Process;
use crate::signals::{Interrupts, Signal, Trigger};

struct Bench {
    folder: tempfile::TempDir,
    stdout: Captured,
    stderr: Captured,
}

/// What a server of the test does when somebody looks at its status.
type OnStatus = Arc<dyn Fn() + Send + Sync>;

async fn serve(on_status: OnStatus) -> String {
    let app = Router::new()
        .route("/readyz", get(|| async { "ok" }))
        .route(
            "/admin/status",
            get(move || {
                on_status();
                let process = |service: &str, replica: u32, pid: u32, port: u32| {
                    json!({
                        "service": service, "replica": replica, "pid": pid, "state": "ready",
                        "api_url": format!("http://127.0.0.1:{port}"),
                    })
                };
                let processes = [
                    process("orders", 1, 11, 9_101),
                    process("orders", 2, 12, 9_102),
                    process("gateway", 1, 13, 8_080),
                ];
                let services = json!([{"name": "orders", "state": "ready"}]);
                async move { json!({"services": services, "processes": processes}).to_string() }
            }),
        )
        .route(
            "/api/v1/sessions",
            post(|| async { json!({"access_token": "t", "user": {"id": "u"}}).to_string() }),
        )
        .route("/api/v1/accounts", get(|| async { json!({"data": []}).to_string() }))
        .route("/admin/shoppers/fund", post(|| async { "{}" }))
        .route(
            "/api/v1/products",
            get(|| async { json!({"data": []}).to_string() }).post(|| async { (StatusCode::CREATED, "{}") }),
        )
        .route("/api/v1/stock/{sku}/adjustments", post(|| async { (StatusCode::CREATED, "{}") }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

impl Bench {
    /// `ending` is what the stand-in does once it has announced itself.
    fn new(url: &str, ending: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = json!({
            "pid": "PID", "api_url": url, "admin_url": url, "started_at": "2026-01-01T00:00:00Z", "version": "0.1.0",
        });
        let run = run.to_string().replace("\"PID\"", "'$$'");
        let script = format!(
            "#!/bin/sh\nmkdir -p \"$3/secrets\"\necho secret > \"$3/secrets/admin_password\"\n\
             echo '{run}' > \"$3/run.json\"\n{ending}\n"
        );
        let path = folder.path().join("rtcd");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, stdout: Captured::default(), stderr: Captured::default() }
    }

    async fn up(&self, words: &[&str], interrupts: Interrupts) -> u8 {
        let io = Io {
            stdin: Box::new(std::io::empty()),
            stdout: Sink::new(self.stdout.clone()),
            stderr: Sink::new(self.stderr.clone()),
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            width: None,
            variables: Default::default(),
            current_dir: self.folder.path().to_owned(),
            executable: None,
        };
        let words = ["rtcctl", "up", "--rtcd", "rtcd"].iter().chain(words).map(|word| (*word).into());
        Box::pin(crate::run(words, io, interrupts, Arc::new(SystemClock))).await.code()
    }

    /// The stand-in, as it announced itself.
    fn process(&self) -> Option<Process> {
        let run = std::fs::read(self.data().join("run.json")).ok()?;
        let run: Value = serde_json::from_slice(&run).ok()?;
        Process::new(i32::try_from(run["pid"].as_i64()?).ok()?)
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(process) = self.process() {
            let _ = process.terminate();
        }
    }
}

fn nothing() -> OnStatus {
    Arc::new(|| {})
}

#[tokio::test]
async fn detached_it_starts_seeds_says_where_everything_is_and_leaves_it_running() {
    let bench = Bench::new(&serve(nothing()).await, "exec sleep 20");
    let (_trigger, interrupts) = Interrupts::new();
    let exit = bench.up(&["--detach", "-o", "json"], interrupts).await;
    assert_eq!(exit, 0, "{}", bench.stderr.text());
    let document: Value = serde_json::from_str(&bench.stdout.text()).unwrap();
    assert_eq!(document["data"]["demo_shopper"]["email"], "demo@rtc.local");
    assert_eq!(document["data"]["seeded"]["created"], super::goods::GOODS.len());
    assert!(Path::new(document["data"]["log"].as_str().unwrap()).exists());
    assert!(bench.process().unwrap().is_alive());
}

#[tokio::test]
async fn ctrl_c_while_it_shows_live_status_stops_what_it_started() {
    let (trigger, interrupts) = Interrupts::new();
    let trigger: Arc<Mutex<Trigger>> = Arc::new(Mutex::new(trigger));
    let on_status = Arc::new(move || trigger.lock().unwrap().fire(Signal::Interrupt));
    let bench = Bench::new(&serve(on_status).await, "exec sleep 20");
    let exit = bench.up(&["--seed", "none"], interrupts).await;
    assert_eq!(exit, 130, "{}", bench.stderr.text());
    assert!(bench.stdout.text().contains("The platform is ready."), "{}", bench.stdout.text());
    assert!(bench.stderr.text().contains("rtcd has drained and stopped"), "{}", bench.stderr.text());
    assert!(!bench.process().unwrap().is_alive());
}

#[tokio::test]
async fn a_crash_while_it_is_watched_is_an_error_with_the_way_on() {
    let order = tempfile::tempdir().unwrap();
    let die = order.path().join("die");
    let ending = format!("while [ ! -e {} ]; do sleep 0.02; done; kill -9 $$", die.display());
    let on_status = Arc::new(move || std::fs::write(&die, "").unwrap());
    let bench = Bench::new(&serve(on_status).await, &ending);
    let (_trigger, interrupts) = Interrupts::new();
    let exit = bench.up(&["--seed", "none"], interrupts).await;
    assert_eq!(exit, 1, "{}", bench.stderr.text());
    assert!(bench.stderr.text().contains("error[RUN009]"), "{}", bench.stderr.text());
}

#[tokio::test]
async fn what_is_not_ready_in_time_is_left_running_and_told() {
    let bench = Bench::new("http://127.0.0.1:1", "exec sleep 20");
    let (_trigger, interrupts) = Interrupts::new();
    let exit = bench.up(&["--timeout", "1s"], interrupts).await;
    assert_eq!(exit, 6, "{}", bench.stderr.text());
    assert!(bench.stderr.text().contains("error[RUN007]"), "{}", bench.stderr.text());
    assert!(bench.process().unwrap().is_alive());
}

#[test]
fn a_running_platform_on_another_port_is_not_what_was_asked_for() {
    assert!(super::is_another("http://127.0.0.1:8080", 8081));
    assert!(super::is_another("http://127.0.0.1:18080", 8080));
    assert!(!super::is_another("http://127.0.0.1:8080", 8080));
    assert!(!super::is_another("http://127.0.0.1:8080", 0));
}

#[tokio::test]
async fn split_is_started_with_its_replicas_and_says_what_runs_where() {
    let bench = Bench::new(&serve(nothing()).await, "echo \"$@\" > \"$3/arguments\"\nexec sleep 20");
    let (_trigger, interrupts) = Interrupts::new();
    let exit = bench.up(&["--split", "--replicas", "3", "--seed", "none", "--detach"], interrupts).await;
    assert_eq!(exit, 0, "{}", bench.stderr.text());
    let arguments = std::fs::read_to_string(bench.data().join("arguments")).unwrap();
    assert!(arguments.starts_with("split --data "), "{arguments}");
    assert!(arguments.trim_end().ends_with("--replicas 3"), "{arguments}");
    let stdout = bench.stdout.text();
    assert!(stdout.contains("orders           2  11, 12  127.0.0.1:9101, 127.0.0.1:9102"), "{stdout}");
    assert!(stdout.contains("gateway          1  13      127.0.0.1:8080"), "{stdout}");
}

#[tokio::test]
async fn replicas_are_for_split_alone_and_split_has_every_service() {
    let (_trigger, interrupts) = Interrupts::new();
    let bench = Bench::new("http://127.0.0.1:1", "exit 0");
    assert_eq!(bench.up(&["--replicas", "2"], interrupts.clone()).await, 2);
    assert_eq!(bench.up(&["--split", "--only", "orders"], interrupts).await, 2);
}
