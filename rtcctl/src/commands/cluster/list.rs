//! `rtcctl cluster list`: the clusters of the region.

use codes::Result;
use eks::{Cluster, Concern, Eks};
use serde_json::{Value, json};

use super::{access, failed, told};
use crate::commands::image::subject;
use crate::context::Context;
use crate::human;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: Args, context: &Context) -> Result<Report> {
    let eks = Eks::new(&access::open(&subject::place(context), context).await?);
    let (clusters, missing) = eks.clusters().await.map_err(|error| failed::of_aws(error, context))?;
    let own = context.config.text("cluster");
    let mut table = Table::new([
        Column::left("cluster"),
        Column::left("status"),
        Column::left("version"),
        Column::left("access"),
        Column::left("created"),
        Column::left("platform").wide(),
        Column::left("vpc").wide(),
        Column::left("address").wide(),
    ]);
    for (name, cluster) in &clusters {
        let shown = if Some(name.as_str()) == own { format!("{name} *") } else { name.clone() };
        match cluster {
            Some(cluster) => table.push(row(shown, cluster, context)),
            None => table.push([shown, "not seen".to_owned()]),
        }
    }
    let data: Vec<Value> = clusters
        .iter()
        .map(|(name, cluster)| {
            json!({"name": name, "is_of_environment": Some(name.as_str()) == own, "cluster": cluster})
        })
        .collect();
    let report = Report::new("cluster/list", json!({"region": eks.region(), "clusters": data}))
        .with_names(clusters.iter().map(|(name, _)| name.clone()));
    let report = match clusters.is_empty() {
        true => report.with_text(format!("no clusters in {}", eks.region())),
        false => report.with_table(table),
    };
    Ok(told::with_concerns(report, missing.iter().map(Concern::not_seen).collect()))
}

fn row(name: String, cluster: &Cluster, context: &Context) -> Vec<String> {
    vec![
        name,
        cluster.status.clone(),
        cluster.version.clone(),
        reached(cluster).to_owned(),
        human::ago(cluster.created_at, context.clock.now()),
        cluster.platform_version.clone(),
        cluster.vpc_id.clone(),
        cluster.url.clone().unwrap_or_default(),
    ]
}

/// From where the API is reached.
pub fn reached(cluster: &Cluster) -> &'static str {
    match (cluster.is_public, cluster.is_private) {
        (true, true) => "public and private",
        (true, false) => "public",
        (false, true) => "private",
        (false, false) => "-",
    }
}
