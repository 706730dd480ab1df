//! What Prometheus' operator is told: where to scrape, and which rules there are.

use serde_json::{Value, json};

use super::access::PLATFORM;
use super::draft::Draft;
use super::{ADMIN, ENVIRONMENT, Object, Wave};
use crate::Release;
use crate::description::Monitoring;

/// The job that rules and dashboards speak of.
const JOB: &str = "rtcd";
const API: &str = "monitoring.coreos.com/v1";

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let Some(monitoring) = &release.description.monitoring else { return Vec::new() };
    let mut objects = vec![monitor(release, monitoring)];
    for (file, groups) in &release.rules {
        let name = format!("rtc-{}", file.replace(['.', '_'], "-").to_lowercase());
        let draft = Draft::new(release, Wave::Entry, API, "PrometheusRule", &name, PLATFORM);
        objects.push(labelled(draft, monitoring).spec(json!({ "groups": groups })).done());
    }
    objects
}

fn labelled(draft: Draft, monitoring: &Monitoring) -> Draft {
    monitoring.labels.iter().fold(draft, |draft, (key, value)| draft.label(key, value))
}

/// The names of Services, not of pods without one: a headless twin would have every pod scraped twice.
fn monitor(release: &Release, monitoring: &Monitoring) -> Object {
    let names: Vec<&String> = release.description.targets.keys().collect();
    let relabel = |source: &str, target: &str| -> Value {
        json!({ "sourceLabels": [source], "targetLabel": target, "action": "replace" })
    };
    let spec = json!({
        "namespaceSelector": { "matchNames": [release.description.namespace] },
        "selector": {
            "matchLabels": { "app.kubernetes.io/part-of": "rtc", ENVIRONMENT: release.description.environment },
            "matchExpressions": [
                { "key": "app.kubernetes.io/name", "operator": "In", "values": names },
                { "key": super::HEADLESS, "operator": "DoesNotExist" },
            ],
        },
        "endpoints": [{
            "port": ADMIN.0,
            "path": "/metrics",
            "scheme": "http",
            "interval": format!("{}s", monitoring.interval_s),
            "scrapeTimeout": format!("{}s", monitoring.interval_s.min(10)),
            "relabelings": [
                { "targetLabel": "job", "replacement": JOB, "action": "replace" },
                relabel("__meta_kubernetes_pod_name", "pod"),
                relabel("__meta_kubernetes_pod_label_rtc_io_track", "track"),
            ],
        }],
    });
    let draft = Draft::new(release, Wave::Entry, API, "ServiceMonitor", PLATFORM, PLATFORM);
    labelled(draft, monitoring).spec(spec).done()
}
