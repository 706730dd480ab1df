//! `rtcctl cluster nodes`: node groups and their machines.

use codes::Result;
use eks::{Group, Instance, Nodes};
use kernel::Timestamp;

use super::access;
use super::told::{self, or_dash};
use crate::context::Context;
use crate::human;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: Args, context: &Context) -> Result<Report> {
    let target = access::target(context).await?;
    let nodes = match target.eks.nodes(&target.name).await {
        Ok(nodes) => nodes,
        Err(error) => return Err(target.told(error, context).await),
    };
    let now = context.clock.now();
    let mut report = Report::new("cluster/nodes", &nodes)
        .with_names(nodes.instances.iter().map(|instance| instance.id.clone()));
    if !nodes.groups.is_empty() {
        report = report.with_table(groups(&nodes));
    }
    report = match nodes.instances.is_empty() {
        true => report.with_text("no machines"),
        false => report.with_table(instances(&nodes.instances, now)),
    };
    Ok(told::with_concerns(report, nodes.concerns()))
}

fn groups(nodes: &Nodes) -> Table {
    let mut table = Table::new([
        Column::left("group"),
        Column::left("status"),
        Column::right("running"),
        Column::right("min"),
        Column::right("max"),
        Column::left("types"),
        Column::left("version"),
        Column::left("image"),
        Column::left("last image"),
        Column::left("capacity").wide(),
        Column::left("kind").wide(),
        Column::left("taints").wide(),
    ]);
    for group in &nodes.groups {
        table.push(row(group, &nodes.instances));
    }
    table
}

fn row(group: &Group, instances: &[Instance]) -> Vec<String> {
    let own = instances.iter().filter(|instance| instance.group.as_ref() == Some(&group.name));
    let running = own.filter(|instance| instance.is_running()).count();
    vec![
        group.name.clone(),
        group.status.clone(),
        format!("{running} of {}", group.desired),
        group.min.to_string(),
        group.max.to_string(),
        or_dash(&group.instance_types.join(", ")),
        or_dash(&group.version),
        or_dash(&group.release),
        or_dash(last_image(group)),
        group.capacity.clone(),
        group.ami_type.clone(),
        or_dash(&group.taints.join(", ")),
    ]
}

/// `=` where it is the one that the group has.
fn last_image(group: &Group) -> &str {
    match (&group.last_release, group.is_behind) {
        (Some(last), true) => last,
        (Some(_), false) => "=",
        (None, _) => "",
    }
}

fn instances(instances: &[Instance], now: Timestamp) -> Table {
    let mut table = Table::new([
        Column::left("machine"),
        Column::left("group"),
        Column::left("type"),
        Column::left("zone"),
        Column::left("state"),
        Column::left("started"),
        Column::left("node").wide(),
        Column::left("subnet").wide(),
        Column::right("addresses").wide(),
        Column::right("prefixes").wide(),
        Column::left("reason").wide(),
    ]);
    for instance in instances {
        let spot = if instance.is_spot { " (spot)" } else { "" };
        table.push([
            instance.id.clone(),
            or_dash(instance.group.as_deref().unwrap_or_default()),
            format!("{}{spot}", instance.instance_type),
            instance.zone.clone(),
            instance.state.clone(),
            human::ago(instance.launched_at, now),
            or_dash(&instance.dns_name),
            or_dash(&instance.subnet_id),
            instance.addresses.to_string(),
            instance.prefixes.to_string(),
            or_dash(instance.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table
}
