//! How many pods run on each node, as the cluster itself says.

use eks::capacity::Pods;
use kubernetes::{Cluster, Error, Gvk};

use super::access::Target;
use crate::context::Context;

/// Those that have ended take no place.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Counts the pods of every namespace by their nodes.
pub async fn running(target: &Target, context: &Context) -> Result<Pods, Error> {
    let no_way = |error: aws::Error| Error::NoToken { host: target.name.clone(), reason: error.to_string() };
    let cluster = Cluster::connect(target.way(context).await.map_err(no_way)?);
    let pods = cluster.await?.list_by_field(&Gvk::new("", "v1", "Pod"), "", NOT_ENDED).await?;
    let mut counted = Pods::new();
    for node in pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()) {
        *counted.entry(node.to_owned()).or_default() += 1;
    }
    Ok(counted)
}
