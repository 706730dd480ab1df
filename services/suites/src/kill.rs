//! SIGKILL under load: nothing accepted is lost, nothing happens twice, every invariant holds.

use std::process::Stdio;
use std::time::Duration;

use kernel::id::SplitMix;
use serde_json::Value;

use crate::platform::{Platform, program, root, seeded};

const ROUNDS_DEFAULT: u64 = 20;

#[expect(clippy::disallowed_methods, reason = "a test's own knob, not configuration")]
fn rounds() -> u64 {
    std::env::var("KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS_DEFAULT)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_killed_again_and_again_loses_no_accepted_order_and_doubles_none() {
    let directory = seeded().await;
    let data = directory.path().join("data");
    let mut platform = Platform::start(&data).await;
    let (api, admin) = (platform.port("api_url"), platform.port("admin_url"));
    let rounds = rounds();
    let journal = directory.path().join("accepted.ndjson");
    let mut load = program("rtcctl");
    load.args(["load", "--scenario", "shop", "--orders-only", "--rate", "40", "-o", "json"])
        .args(["--duration", &format!("{}s", rounds * 2 + 5), "--settle-timeout", "120s"])
        .args(["--shoppers", "20", "--no-input", "--progress", "none", "--data"])
        .arg(&data)
        .arg("--journal")
        .arg(&journal)
        .current_dir(root())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let load = load.spawn().expect("rtcctl can be started");
    let mut random = SplitMix(rounds);
    for _ in 0..rounds {
        let pause = Duration::from_millis(600 + random.below(900));
        tokio::time::sleep(pause).await;
        platform.kill().await;
        platform = Platform::spawn(Platform::command(&data, api, admin), &data).await;
    }
    let output = tokio::time::timeout(Duration::from_secs(300), load.wait_with_output());
    let output = output.await.expect("a load that ends").expect("its output");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
    let orders = &report["data"]["orders"];
    let accepted = orders["accepted"].as_u64().unwrap_or(0);
    assert!(accepted > rounds * 10, "too few orders to mean anything: {report}");
    assert_eq!(orders["by_state"]["missing"].as_u64().unwrap_or(0), 0, "{orders}");
    let ended: u64 = ["confirmed", "rejected", "cancelled"]
        .iter()
        .map(|state| orders["by_state"][*state].as_u64().unwrap_or(0))
        .sum();
    assert_eq!(ended, accepted, "{orders}");
    platform.invariants_hold().await;
    let written = std::fs::read_to_string(&journal).expect("the journal").lines().count() as u64;
    assert!(written >= accepted, "{written} lines for {accepted} orders");
    assert_eq!(platform.stop().await, 0);
    println!("{rounds} kills, {accepted} orders accepted, {}", orders["by_state"]);
}
