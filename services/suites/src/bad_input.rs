//! What people get wrong when they start it: one clear error, a hint, a documented exit code.

use std::path::Path;
use std::process::Stdio;

use db::{Db, params};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::platform::{Ended, Platform, program, rtcctl, run, seeded};

async fn serve(data: &Path, more: &[&str]) -> Ended {
    let mut command = program("rtcd");
    command.args(["serve", "--admin-bind", "127.0.0.1:0", "--data"]).arg(data).args(more);
    if !more.contains(&"--api-bind") {
        command.args(["--api-bind", "127.0.0.1:0"]);
    }
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), run(command)).await;
    ended.unwrap_or_else(|_| panic!("rtcd {more:?} did not refuse to start"))
}

#[track_caller]
fn refused(ended: Ended, code: i32, name: &str, word: &str) {
    let ended = ended.expect(code);
    assert!(ended.stderr.contains(&format!("error[{name}]")), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    assert!(ended.stderr.contains(word), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_configuration_is_named_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let file = directory.path().join("rtcd.toml");
    let path = file.to_str().unwrap();
    for (text, word) in [
        ("[server]\napi_prot = 1\n", "api_prot"),
        ("[server]\nconcurrency_max = \"many\"\n", "server.concurrency_max"),
        ("[services.order]\nstep_timeout_ms = 1\n", "services.order"),
        ("[services.orders]\nstep_timeout = 1\n", "step_timeout"),
        ("[log]\nformat = \"xml\"\n", "log.format"),
        ("not toml at all", "rtcd.toml"),
    ] {
        std::fs::write(&file, text).unwrap();
        refused(serve(&data, &["--config", path]).await, 3, "RTD001", word);
    }
    refused(serve(&data, &["--config", "/nowhere/rtcd.toml"]).await, 3, "RTD001", "/nowhere/rtcd.toml");
    refused(serve(&data, &["--only", "orders,payment"]).await, 3, "RTD002", "payments");
    refused(serve(Path::new("/proc/nowhere"), &[]).await, 3, "RTD003", "/proc/nowhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_occupied_port_and_a_directory_in_use_are_conflicts() {
    let directory = seeded().await;
    let data = directory.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(serve(&data, &["--api-bind", &address]).await, 8, "RTD005", &address);
    let platform = Platform::start(&data).await;
    refused(serve(&data, &[]).await, 8, "RTD004", "another rtcd");
    assert_eq!(platform.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_and_a_damaged_database_are_left_alone() {
    let directory = seeded().await;
    let data = directory.path().join("data");
    {
        let db = Db::open_sqlite(&data.join("orders.db")).unwrap();
        db.write(|tx| {
            let sql =
                "INSERT INTO schema_migrations (component, version, name) VALUES ('orders', 99, 'later')";
            tx.execute(sql, params![])
        })
        .await
        .unwrap();
    }
    refused(serve(&data, &[]).await, 8, "RTD006", "99");
    std::fs::write(
        data.join("orders.db"),
        "this is no database, and it is long enough to be looked at".repeat(100),
    )
    .unwrap();
    let _ = std::fs::remove_file(data.join("orders.db-wal"));
    refused(serve(&data, &[]).await, 1, "RTD009", "orders");
}

/// A limit on the size of files stands in for a full disk: writes fail with an error of the file system in the middle of
/// the work, as they do when no block is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_writes_cleanly_reads_go_on_and_nothing_accepted_is_lost() {
    let directory = seeded().await;
    let data = directory.path().join("data");
    let rtcd = crate::platform::binaries().join("rtcd");
    let mut shell = tokio::process::Command::new("bash");
    // SIGXFSZ is ignored, so that a write over the limit is an error and not a death.
    let script = "trap '' XFSZ; ulimit -f 1200; exec \"$0\" serve --data \"$1\" --api-bind 127.0.0.1:0 --admin-bind 127.0.0.1:0";
    shell.args(["-c", script]).arg(rtcd).arg(&data).kill_on_drop(true);
    shell.stdout(Stdio::null()).stderr(Stdio::null());
    let platform = Platform::spawn(shell, &data).await;
    let journal = directory.path().join("accepted.ndjson");
    let load = rtcctl(
        &data,
        &[
            "load",
            "--scenario",
            "shop",
            "--orders-only",
            "--rate",
            "150",
            "--duration",
            "12s",
            "--settle-timeout",
            "0s",
            "--shoppers",
            "5",
            "--progress",
            "none",
            "-o",
            "json",
            "--journal",
            journal.to_str().unwrap(),
        ],
    )
    .await;
    let report = load.json();
    let refused = report["data"]["errors"].to_string();
    assert!(refused.contains("503"), "the disk never filled up: {}", report["data"]);
    let (status, _) = platform.get("api_url", "/api/v1/products", "").await;
    assert_eq!(status, 200);
    platform.kill().await;

    // With room again everything that was accepted is there, and ends.
    let platform = Platform::start(&data).await;
    let accepted: Vec<Value> = std::fs::read_to_string(&journal)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!accepted.is_empty());
    let db = Db::open_sqlite(&data.join("orders.db")).unwrap();
    for order in &accepted {
        let id = order["id"].as_str().unwrap().to_owned();
        let found = db
            .read(move |tx| tx.query_opt("SELECT 1 FROM orders WHERE id = ?", params![id], |_| Ok(())))
            .await
            .map_err(|error: db::Error| error)
            .unwrap();
        assert!(found.is_some(), "{order} was accepted and is not there");
    }
    drop(db);
    for _ in 0..600 {
        let (_, status) = platform.get("admin_url", "/admin/status", &platform.operator_token()).await;
        let states = &status["orders"]["by_state"];
        let open = ["placed", "reserving", "reserved", "paying", "paid", "compensating"];
        if open.iter().all(|state| states[*state] == Value::Null || states[*state] == json!(0)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    platform.invariants_hold().await;
    assert_eq!(platform.stop().await, 0);
}
