//! How many pods run on each node, as the cluster itself says.

use std::sync::Arc;

use eks::capacity::Pods;
use kubernetes::access::NoToken;
use kubernetes::{Access, Cluster, Error, Gvk};

use super::access::Target;
use crate::context::Context;

/// Those that have ended take no place.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Counts the pods of every namespace by their nodes.
pub async fn running(target: &Target, context: &Context) -> Result<Pods, Error> {
    let no_way = |error: aws::Error| Error::NoToken { host: target.name.clone(), reason: error.to_string() };
    let endpoint = target.eks.describe(&target.name).await.map_err(no_way)?;
    let tokens =
        eks::Tokens::new(&target.config, target.name.as_str(), context.clock.clone()).map_err(no_way)?;
    let cluster = Cluster::connect(Access::Endpoint {
        // Without TLS there is nothing to prove.
        ca_pem: endpoint.url.starts_with("https://").then_some(endpoint.ca_pem),
        url: endpoint.url,
        tokens: Arc::new(Tokens(tokens)),
    });
    let pods = cluster.await?.list_by_field(&Gvk::new("", "v1", "Pod"), "", NOT_ENDED).await?;
    let mut counted = Pods::new();
    for node in pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()) {
        *counted.entry(node.to_owned()).or_default() += 1;
    }
    Ok(counted)
}

struct Tokens(eks::Tokens);

#[async_trait::async_trait]
impl kubernetes::Tokens for Tokens {
    async fn token(&self) -> Result<String, NoToken> {
        Ok(self.0.token().await?.value().to_owned())
    }

    async fn refused(&self, _token: &str) {
        self.0.forget().await;
    }
}
