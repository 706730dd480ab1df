//! Ways to a cluster that are not gone, and what tells one cluster from another.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::access::NoToken;
use crate::{Access, Cluster, Error, Tokens};

struct Fixed;

#[async_trait::async_trait]
impl Tokens for Fixed {
    async fn token(&self) -> Result<String, NoToken> {
        Ok("k8s-aws-v1.x".to_owned())
    }
}

async fn endpoint(url: &str) -> Result<Cluster, Error> {
    let url = url.to_owned();
    Cluster::connect(Access::Endpoint { url, ca_pem: None, tokens: Arc::new(Fixed) }).await
}

#[tokio::test]
async fn a_token_goes_nowhere_without_tls_but_to_this_machine() {
    for url in ["http://10.0.0.1", "http://api.example.com:8080", "http://127.0.0.1.example.com"] {
        let refused = endpoint(url).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Kubeconfig { reason, .. } if reason.contains("TLS")),
            "{url}: {refused}"
        );
    }
    for url in ["https://api.example.com", "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:1"]
    {
        assert!(endpoint(url).await.is_ok(), "{url}");
    }
}

#[tokio::test]
async fn a_cluster_is_told_from_another_by_its_host() {
    let (one, other) = (endpoint("https://a.example.com").await, endpoint("https://b.example.com").await);
    let (one, other) = (one.unwrap().place(), other.unwrap().place());
    assert_eq!(one.host, "a.example.com");
    assert_ne!(one, other);
}

/// Removes it at its end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_for_tokens_that_does_not_end_is_not_waited_for() {
    let folder = Folder(std::env::temp_dir().join(format!("rtc-kubernetes-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{ "name": "a", "cluster": { "server": "https://a.example.com" } }],
        "users": [{ "name": "a", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["2"],
            "interactiveMode": "Never",
        } } }],
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    let connected = Cluster::connect(Access::Kubeconfig { path: Some(path), context: None });
    let later = async {
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(31)).await;
    };
    let (connected, ()) = tokio::join!(connected, later);
    let refused = connected.unwrap_err();
    assert!(matches!(&refused, Error::Kubeconfig { reason, .. } if reason.contains("30 s")), "{refused}");
}
