//! `rtcctl cluster info`: one cluster with everything that EKS says about it.

use codes::Result;
use eks::{Info, Support};
use kernel::Timestamp;

use super::access;
use super::list::reached;
use super::told::{self, or_dash};
use crate::context::Context;
use crate::human;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: Args, context: &Context) -> Result<Report> {
    let target = access::target(context).await?;
    let info = match target.eks.info(&target.name).await {
        Ok(info) => info,
        Err(error) => return Err(target.told(error, context).await),
    };
    let now = context.clock.now();
    let mut report =
        Report::new("cluster/info", &info).with_pairs(pairs(&info, now)).with_names([&info.cluster.name]);
    if !info.addons.is_empty() {
        let mut table = Table::new([Column::left("add-on"), Column::left("version"), Column::left("status")]);
        for addon in &info.addons {
            table.push([&addon.name, &addon.version, &addon.status].map(String::clone));
        }
        report = report.with_table(table);
    }
    if !info.insights.is_empty() {
        let mut table = Table::new([
            Column::left("insight"),
            Column::left("for"),
            Column::left("status"),
            Column::left("category").wide(),
            Column::left("reason").wide(),
        ]);
        for insight in &info.insights {
            table.push(
                [&insight.name, &insight.version, &insight.status, &insight.category, &insight.reason]
                    .map(|text| or_dash(text)),
            );
        }
        report = report.with_table(table);
    }
    Ok(told::with_concerns(report, info.concerns(now)))
}

fn pairs(info: &Info, now: Timestamp) -> Vec<(&'static str, String)> {
    let cluster = &info.cluster;
    let from = match cluster.is_public {
        true => format!("{} ({})", reached(cluster), cluster.public_cidrs.join(", ")),
        false => reached(cluster).to_owned(),
    };
    let list = |texts: &[String]| or_dash(&texts.join(", "));
    let optional = |text: &Option<String>| or_dash(text.as_deref().unwrap_or_default());
    let nodes = if cluster.is_auto { "managed by AWS (Auto Mode)" } else { "node groups" };
    let mut pairs = vec![
        ("cluster", cluster.name.clone()),
        ("status", cluster.status.clone()),
        ("region", cluster.region.clone()),
        ("version", format!("{} ({})", cluster.version, or_dash(&cluster.platform_version))),
        ("support", info.support.as_ref().map_or_else(|| "-".to_owned(), support)),
        ("newer versions", list(&info.newer_versions)),
        ("created", human::ago(cluster.created_at, now)),
        ("address", optional(&cluster.url)),
        ("access", from),
        ("sign-in", optional(&cluster.authentication)),
        ("oidc", optional(&cluster.oidc_issuer)),
        ("logs kept", list(&cluster.logs)),
        ("secrets", cluster.encryption_key.clone().unwrap_or_else(|| "a key of AWS".to_owned())),
        (
            "network",
            format!(
                "{} ({}, services {})",
                or_dash(&cluster.vpc_id),
                cluster.ip_family,
                optional(&cluster.service_cidr)
            ),
        ),
        ("nodes", nodes.to_owned()),
        ("protected", if cluster.is_protected { "from deletion" } else { "no" }.to_owned()),
    ];
    let passing = info.insights.iter().filter(|insight| insight.status == "PASSING").count();
    if !info.insights.is_empty() {
        pairs.push(("insights", format!("{passing} of {} pass", info.insights.len())));
    }
    pairs
}

fn support(support: &Support) -> String {
    let day = |at: Option<Timestamp>| {
        at.map(|at| at.to_string())
            .and_then(|text| Some(text.split_once('T')?.0.to_owned()))
            .unwrap_or_else(|| "-".to_owned())
    };
    let kind = support.status.to_lowercase().replace('_', " ");
    format!(
        "{kind}; standard until {}, extended until {}",
        day(support.standard_ends_at),
        day(support.extended_ends_at)
    )
}
