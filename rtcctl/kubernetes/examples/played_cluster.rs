//! Serves a played cluster, for programs that are run against one: `played_cluster FILE PODS [TURN_MS]` writes a kubeconfig
//! to FILE and fills the namespace `rtc` with so many pods in Deployments of fifty, of which every tenth crashes. With TURN_MS
//! the cluster goes on by itself, a step that often, and says on stdout when a Deployment is whole:
//! `{"deployment":"gateway","generation":2,"at":"2026-11-21T09:30:00.125Z"}`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kernel::{Clock, SystemClock};
use kubernetes::testing::Api;
use kubernetes::testing::behaviour::Behaviour;
use kubernetes::write::Apply;
use kubernetes::{Gvk, Resource, Scope};
use serde_json::{Value as Json, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let file = PathBuf::from(words.next().ok_or("which file?")?);
    let pods: u32 = words.next().ok_or("how many pods?")?.parse()?;
    let turn = words.next().map(|text| text.parse().map(Duration::from_millis)).transpose()?;
    let api = Api::at(SystemClock.now());
    for node in 0..pods.div_ceil(100) + 1 {
        api.node(&format!("node-{node}"), 110, 64, 256);
    }
    // Of a release there are more kinds than Kubernetes has by itself.
    for (group, version, kind, plural) in [
        ("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
        ("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding", "targetgroupbindings"),
        ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
        ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
        ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
    ] {
        let gvk = Gvk::new(group, version, kind);
        api.define(Resource { gvk, plural: plural.to_owned(), scope: Scope::Namespaced });
    }
    api.namespace("rtc");
    fill(&api, pods).await?;
    let address = api.serve().await?;
    Api::write_kubeconfig(&file, address, "tester")?;
    match turn {
        Some(turn) => go_on(&api, turn).await,
        None => std::future::pending().await,
    }
}

async fn fill(api: &Api, pods: u32) -> Result<(), Box<dyn std::error::Error>> {
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
    Ok(())
}

/// Turns, and says what has become whole by it. The moment is that before the turn: nobody can have seen it earlier.
async fn go_on(api: &Api, turn: Duration) -> ! {
    let mut ticks = tokio::time::interval(turn);
    // Where a turn takes long, there is time to answer before the next one all the same.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut whole: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let at = SystemClock.now();
        api.advance(turn);
        for deployment in api.objects("Deployment", "rtc") {
            let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
            let generation = deployment["metadata"]["generation"].as_i64().unwrap_or(0);
            if is_whole(&deployment) && whole.insert(name.to_owned(), generation) != Some(generation) {
                println!("{}", json!({ "deployment": name, "generation": generation, "at": at.to_string() }));
            }
        }
    }
}

fn is_whole(deployment: &Json) -> bool {
    let (metadata, spec, status) = (&deployment["metadata"], &deployment["spec"], &deployment["status"]);
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    status["observedGeneration"] == metadata["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|field| status[*field].as_u64().unwrap_or(0) == wanted)
}
