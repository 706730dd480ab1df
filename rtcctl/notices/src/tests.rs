//! What is told, to whom, how often, and what never is.

mod sending;
mod told;
mod wild;

use std::time::Duration;

use serde_json::Value;

use crate::*;

fn notice() -> Notice {
    Notice {
        changed: vec!["infrastructure: create 2".to_owned(), "rtcd: 3 layers, 12 MB".to_owned()],
        by: "ann@desk".to_owned(),
        run: Some("20261121-095812-417-ship-prod-3f2a".to_owned()),
        digest: Some("sha256:aaaa".to_owned()),
        previous_digest: Some("sha256:bbbb".to_owned()),
        took: Some(Duration::from_secs(187)),
        links: vec![Link::new("build 7", "https://ci.example/job/main/7/")],
        at: "2026-11-21T09:58:12Z".to_owned(),
        ..Notice::new(Outcome::Released, "prod", "ship")
    }
}

/// Every text of a message, wherever it stands.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
