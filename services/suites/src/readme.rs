//! The README's lines, exactly as they are printed.

use std::time::Duration;

use crate::platform::{Platform, root, run, seeded};

/// The code block under a heading of the README.
fn block(heading: &str) -> String {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = text.split_once(&format!("## {heading}\n")).expect("the heading");
    let (_, code) = section.split_once("```sh\n").expect("a block of shell lines");
    let (code, _) = code.split_once("\n```").expect("the end of the block");
    code.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_order_of_the_readme_works_as_written() {
    let directory = seeded().await;
    let platform = Platform::start(&directory.path().join("data")).await;
    let mut shell = tokio::process::Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &block("A first order")]);
    shell.env("RTC", platform.run["api_url"].as_str().unwrap()).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(60), run(shell)).await.unwrap().expect(0);
    assert!(ended.stdout.contains("\"state\":\"confirmed\""), "{}", ended.stdout);
    platform.invariants_hold().await;
    assert_eq!(platform.stop().await, 0);
}
