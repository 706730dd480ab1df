//! `rtcctl cluster capacity`: what still fits.

use codes::{Result, exit};
use eks::Capacity;
use eks::capacity::{Addressing, Fit, Interfaces, nodes_of};

use super::{access, pods, told};
use crate::context::Context;
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many pods a rollout wants beside those that run: exit 30 where they do not fit
    #[arg(long, value_name = "PODS")]
    surge: Option<u32>,
    /// Ask the cluster how many pods run; otherwise addresses that are held for pods count as used
    #[arg(long)]
    pods: bool,
    /// How pods get their addresses, where it cannot be seen
    #[arg(long, value_name = "HOW")]
    addresses: Option<How>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum How {
    /// Each pod has a secondary address of an interface
    Secondary,
    /// Interfaces have blocks of 16 addresses
    Prefixes,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let target = access::target(context).await?;
    let addressing = args.addresses.map(|how| match how {
        How::Secondary => Addressing::Secondary,
        How::Prefixes => Addressing::Prefixes,
    });
    let counted = match args.pods {
        true => Some(pods::running(&target, context).await),
        false => None,
    };
    let running = counted.as_ref().and_then(|counted| counted.as_ref().ok());
    let capacity = match target.eks.capacity(&target.name, addressing, running).await {
        Ok(capacity) => capacity,
        Err(error) => return Err(target.told(error, context).await),
    };
    let report = Report::new("cluster/capacity", &capacity).with_pairs(pairs(&capacity, args.surge));
    let report = tables(report, &capacity)
        .with_names(capacity.types.iter().map(|room| room.limits.instance_type.clone()));
    let mut report = told::with_concerns(report, capacity.concerns(args.surge));
    if let Some(Err(error)) = counted {
        let message = format!("the pods could not be counted, held addresses are: {error}");
        report = report
            .with_finding(Finding::new(&codes::CLU020, Severity::Warning, message).with_hint(error.hint()));
    }
    Ok(match args.surge.map(|surge| capacity.fit(surge)) {
        Some(Fit::TooMany(_) | Fit::NoAddresses(_)) => report.with_status("too_small", exit::BREACHED),
        Some(Fit::Unknown) => report.with_status("inconclusive", exit::INCONCLUSIVE),
        Some(Fit::Now | Fit::WithNodes(_)) | None => report,
    })
}

fn pairs(capacity: &Capacity, surge: Option<u32>) -> Vec<(&'static str, String)> {
    let how = match (capacity.addressing, capacity.interfaces) {
        (Addressing::Secondary, Interfaces::All) => "secondary addresses",
        (Addressing::Secondary, Interfaces::AllButFirst) => "secondary addresses, in subnets of their own",
        (Addressing::Prefixes, Interfaces::All) => "prefixes of 16",
        (Addressing::Prefixes, Interfaces::AllButFirst) => "prefixes of 16, in subnets of their own",
    };
    let free = if capacity.are_pods_counted { "free" } else { "certainly free" };
    let mut pairs = vec![
        ("cluster", capacity.cluster.clone()),
        ("pods get", format!("{how} ({})", capacity.addressing_from)),
        ("pods", format!("{} of {} {free}", capacity.pods_free(), capacity.pods_max())),
    ];
    if let Some(surge) = surge {
        let fits = match capacity.fit(surge) {
            Fit::Now => "fit".to_owned(),
            Fit::WithNodes(nodes) => format!("fit when more nodes have joined: {}", nodes_of(nodes)),
            Fit::TooMany(left) => format!("do not fit: {left} have no place"),
            Fit::NoAddresses(missing) => format!("do not fit: {missing} addresses are missing"),
            Fit::Unknown => "may fit or not: the nodes could not be looked at".to_owned(),
        };
        pairs.push(("surge", format!("{surge} more {fits}")));
    }
    pairs
}

fn tables(mut report: Report, capacity: &Capacity) -> Report {
    let mut types = Table::new([
        Column::left("type"),
        Column::right("nodes"),
        Column::right("pods a node"),
        Column::right("pods"),
        Column::right("free"),
        Column::right("interfaces").wide(),
        Column::right("addresses each").wide(),
        Column::right("vcpus").wide(),
        Column::right("mib").wide(),
    ]);
    for room in &capacity.types {
        types.push([
            room.limits.instance_type.clone(),
            room.nodes.to_string(),
            room.pods_per_node.to_string(),
            room.pods_max.to_string(),
            room.pods_free.to_string(),
            room.limits.interfaces.to_string(),
            room.limits.addresses_per_interface.to_string(),
            room.limits.vcpus.to_string(),
            room.limits.memory_mib.to_string(),
        ]);
    }
    let mut subnets = Table::new([
        Column::left("subnet"),
        Column::left("zone"),
        Column::left("cidr"),
        Column::right("free"),
        Column::right("nodes"),
    ]);
    for subnet in &capacity.subnets {
        let counts = [subnet.free.to_string(), subnet.nodes.to_string()];
        subnets.push([&subnet.id, &subnet.zone, &subnet.cidr].map(String::clone).into_iter().chain(counts));
    }
    let mut growth =
        Table::new([Column::left("group"), Column::right("may grow by"), Column::right("pods a node")]);
    for one in &capacity.growth {
        growth.push([one.group.clone(), one.nodes.to_string(), one.pods_per_node.to_string()]);
    }
    for table in [types, growth, subnets].into_iter().filter(|table| !table.is_empty()) {
        report = report.with_table(table);
    }
    report
}
