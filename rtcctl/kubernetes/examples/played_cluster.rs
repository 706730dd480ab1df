//! Serves a played cluster, for programs that are run against one: `played_cluster FILE PODS` writes a kubeconfig to FILE
//! and fills the namespace `rtc` with so many pods in Deployments of fifty, of which every tenth crashes.

use std::path::PathBuf;
use std::time::Duration;

use kubernetes::testing::Api;
use kubernetes::testing::behaviour::Behaviour;
use kubernetes::write::Apply;
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let file = PathBuf::from(words.next().ok_or("which file?")?);
    let pods: u32 = words.next().ok_or("how many pods?")?.parse()?;
    let api = Api::new();
    for node in 0..pods.div_ceil(100) + 1 {
        api.node(&format!("node-{node}"), 110, 64, 256);
    }
    api.namespace("rtc");
    let log = vec!["connecting".to_owned(), "panicked: no such table".to_owned()];
    api.behave("crashes", Behaviour::Crash { exit_code: 101, log });
    let mut left = pods;
    let mut number = 0;
    while left > 0 {
        let replicas = left.min(if number % 10 == 9 { 5 } else { 50 });
        let name = format!("service-{number:02}");
        let image = if number % 10 == 9 { "example.com/crashes:1" } else { "example.com/service:1" };
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "namespace": "rtc", "labels": { "app.kubernetes.io/part-of": "rtc" } },
            "spec": {
                "replicas": replicas, "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": { "containers": [{
                        "name": "service", "image": image,
                        "env": (0..30).map(|at| json!({ "name": format!("SETTING_{at}"), "value": "x".repeat(60) })).collect::<Vec<_>>(),
                    }]},
                },
            },
        });
        api.cluster().apply(&object, &Apply::default()).await?;
        left -= replicas;
        number += 1;
    }
    for _ in 0..9 {
        api.turn();
    }
    let address = api.serve().await?;
    Api::write_kubeconfig(&file, address, "tester")?;
    api.turn_every(Duration::from_secs(3600)).await?;
    Ok(())
}
