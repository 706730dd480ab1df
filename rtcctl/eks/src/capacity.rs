//! How many pods fit: into an instance by its network interfaces, into subnets by their free addresses.
//!
//! Sources: "Amazon EKS recommended maximum Pods for each Amazon EC2 instance type", "Increase the available IP addresses
//! for your nodes with prefixes", and the formula of the plugin vpc-cni.
//!
//! Invariant: what is called free is free. How many pods run is known to the cluster alone; where it was not asked, addresses that
//! the plugin holds are counted as used.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{InstanceType, InstanceTypeHypervisor, InstanceTypeInfo};
use serde::Serialize;

use crate::addons::NETWORK;
use crate::several::told_once;
use crate::{Cluster, Concern, Eks, Error, Group, Instance, Result, Severity, What};

/// Pods that need no address of their own: the plugins of the network themselves.
const ON_THE_HOST: u32 = 2;
/// A prefix is a /28.
const PREFIX: u32 = 16;
/// What EKS allows on a node, by its size.
const PODS_MAX_SMALL: u32 = 110;
const PODS_MAX_LARGE: u32 = 250;
const LARGE_VCPUS: u32 = 30;
/// A subnet with fewer has no room for a node and its pods.
const FEW_ADDRESSES: u32 = 16;
/// EC2 takes so many types at once.
const TYPES_AT_ONCE: usize = 100;

/// How the plugin gives addresses to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// Each pod has a secondary address of an interface.
    Secondary,
    /// Interfaces have blocks of 16.
    Prefixes,
}

/// Which interfaces pods may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interfaces {
    All,
    /// Pods are in subnets of their own, and the first interface is the node's (custom networking).
    AllButFirst,
}

/// How many pods run on each node, by the node's name; all are counted that have not ended.
pub type Pods = BTreeMap<String, u32>;

/// What an instance type can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub instance_type: String,
    pub vcpus: u32,
    pub memory_mib: u64,
    pub interfaces: u32,
    /// Of IPv4, on each interface, its own among them.
    pub addresses_per_interface: u32,
    /// Whether interfaces may have prefixes.
    pub is_nitro: bool,
}

impl Limits {
    /// How many pods a node of this type takes.
    pub fn pods_max(&self, addressing: Addressing, interfaces: Interfaces) -> u32 {
        let usable = match interfaces {
            Interfaces::All => self.interfaces,
            Interfaces::AllButFirst => self.interfaces.saturating_sub(1),
        };
        let slots = usable.saturating_mul(self.addresses_per_interface.saturating_sub(1));
        let addresses = match addressing {
            Addressing::Prefixes if self.is_nitro => slots.saturating_mul(PREFIX),
            _ => slots,
        };
        let allowed = if self.vcpus < LARGE_VCPUS { PODS_MAX_SMALL } else { PODS_MAX_LARGE };
        addresses.saturating_add(ON_THE_HOST).min(allowed)
    }

    fn of(found: &InstanceTypeInfo) -> Option<Self> {
        let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
        let network = found.network_info.as_ref()?;
        // Of several cards only the first serves pods.
        let card = network
            .network_cards
            .iter()
            .flatten()
            .find(|card| card.network_card_index == network.default_network_card_index);
        let interfaces = card.and_then(|card| number(card.maximum_network_interfaces));
        Some(Self {
            instance_type: found.instance_type.as_ref()?.as_str().to_owned(),
            vcpus: number(found.v_cpu_info.as_ref().and_then(|cpus| cpus.default_v_cpus))?,
            memory_mib: found
                .memory_info
                .as_ref()
                .and_then(|memory| u64::try_from(memory.size_in_mib?).ok())
                .unwrap_or_default(),
            interfaces: interfaces.or_else(|| number(network.maximum_network_interfaces))?,
            addresses_per_interface: number(network.ipv4_addresses_per_interface)?,
            is_nitro: found.bare_metal == Some(true)
                || found.hypervisor == Some(InstanceTypeHypervisor::Nitro),
        })
    }
}

/// The nodes of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    #[serde(flatten)]
    pub limits: Limits,
    pub nodes: u32,
    pub pods_per_node: u32,
    pub pods_max: u32,
    /// Pods that certainly still fit.
    pub pods_free: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subnet {
    pub id: String,
    pub zone: String,
    pub cidr: String,
    pub free: u32,
    /// Nodes that run in it.
    pub nodes: u32,
}

/// A group that may grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    pub group: String,
    /// Nodes that may still be started.
    pub nodes: u32,
    /// Pods that the smallest of its types takes.
    pub pods_per_node: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capacity {
    pub cluster: String,
    pub addressing: Addressing,
    pub interfaces: Interfaces,
    /// What says so.
    pub addressing_from: &'static str,
    pub ip_family: String,
    /// Whether the cluster said how many pods run; otherwise addresses that are held for pods are counted as used.
    pub are_pods_counted: bool,
    pub types: Vec<Room>,
    pub growth: Vec<Growth>,
    pub subnets: Vec<Subnet>,
    #[serde(skip)]
    pub missing: Vec<Error>,
}

impl Eks {
    /// What still fits into a cluster. `addressing` overrules what is found out about it; `running` is what the cluster says.
    pub async fn capacity(
        &self,
        name: &str,
        addressing: Option<Addressing>,
        running: Option<&Pods>,
    ) -> Result<Capacity> {
        let network = self.addon(name, NETWORK.to_owned());
        let (cluster, groups, instances, network) =
            tokio::join!(self.cluster(name), self.groups(name), self.instances(name), network);
        let cluster = cluster?;
        let (groups, mut missing) = groups.unwrap_or_else(|error| (Vec::new(), vec![error]));
        let mut kept = |error: Error| missing.push(error);
        let instances = instances.unwrap_or_else(|error| {
            kept(error);
            Vec::new()
        });
        // Whoever installed the plugin himself has no such add-on.
        let network = match network {
            Ok(addon) => Some(addon),
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                kept(error);
                None
            }
        };
        let variable = |name: &str| network.as_ref().and_then(|addon| addon.variable(name));
        let (addressing, addressing_from) = match addressing {
            Some(said) => (said, "the command line"),
            None if cluster.ip_family == "ipv6" => (Addressing::Prefixes, "the cluster is of IPv6"),
            None if variable("ENABLE_PREFIX_DELEGATION").as_deref() == Some("true") => {
                (Addressing::Prefixes, "the settings of vpc-cni")
            }
            None if instances.iter().any(|one| one.prefixes > 0) => {
                (Addressing::Prefixes, "the interfaces of nodes")
            }
            None => (Addressing::Secondary, "nothing says otherwise"),
        };
        let interfaces = match variable("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG").as_deref() {
            Some("true") => Interfaces::AllButFirst,
            _ => Interfaces::All,
        };
        let (limits, subnets) =
            tokio::join!(self.limits(&groups, &instances), self.subnets(&cluster, &groups, &instances));
        let limits = limits.unwrap_or_else(|error| {
            kept(error);
            Vec::new()
        });
        let subnets = subnets.unwrap_or_else(|error| {
            kept(error);
            Vec::new()
        });
        told_once(&mut missing);
        let pods = |limits: &Limits| limits.pods_max(addressing, interfaces);
        Ok(Capacity {
            cluster: name.to_owned(),
            addressing,
            interfaces,
            addressing_from,
            ip_family: cluster.ip_family,
            are_pods_counted: running.is_some(),
            types: rooms(&limits, &instances, running, pods),
            growth: growth(&groups, &limits, pods),
            subnets,
            missing,
        })
    }

    async fn limits(&self, groups: &[Group], instances: &[Instance]) -> Result<Vec<Limits>> {
        let of_groups = groups.iter().flat_map(|group| group.instance_types.iter().map(String::as_str));
        let types: BTreeSet<&str> =
            instances.iter().map(|one| one.instance_type.as_str()).chain(of_groups).collect();
        let types: Vec<InstanceType> = types.into_iter().map(InstanceType::from).collect();
        let mut limits = Vec::new();
        for some in types.chunks(TYPES_AT_ONCE) {
            let asked = self.ec2.describe_instance_types().set_instance_types(Some(some.to_vec()));
            let found = asked.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
            let found = found.map_err(|error| Error::of("ec2:DescribeInstanceTypes", error))?;
            limits.extend(found.iter().filter_map(Limits::of));
        }
        limits.sort_by(|a, b| a.instance_type.cmp(&b.instance_type));
        Ok(limits)
    }

    async fn subnets(
        &self,
        cluster: &Cluster,
        groups: &[Group],
        instances: &[Instance],
    ) -> Result<Vec<Subnet>> {
        let of_groups = groups.iter().flat_map(|group| group.subnet_ids.iter());
        let ids: BTreeSet<&String> =
            instances.iter().map(|one| &one.subnet_id).chain(of_groups).filter(|id| !id.is_empty()).collect();
        // Where no node says better, the cluster's own.
        let ids: Vec<String> = match ids.is_empty() {
            true => cluster.subnet_ids.clone(),
            false => ids.into_iter().cloned().collect(),
        };
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let asked = self.ec2.describe_subnets().set_subnet_ids(Some(ids)).into_paginator().items().send();
        let found = asked.collect::<Result<Vec<_>, _>>().await;
        let found = found.map_err(|error| Error::of("ec2:DescribeSubnets", error))?;
        let mut subnets: Vec<Subnet> = found
            .into_iter()
            .map(|subnet| {
                let id = subnet.subnet_id.unwrap_or_default();
                let nodes = instances.iter().filter(|one| one.is_running() && one.subnet_id == id).count();
                Subnet {
                    zone: subnet.availability_zone.unwrap_or_default(),
                    cidr: subnet.cidr_block.unwrap_or_default(),
                    free: subnet
                        .available_ip_address_count
                        .and_then(|free| u32::try_from(free).ok())
                        .unwrap_or(0),
                    nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
                    id,
                }
            })
            .collect();
        subnets.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
        Ok(subnets)
    }
}

fn rooms(
    limits: &[Limits],
    instances: &[Instance],
    running: Option<&Pods>,
    pods: impl Fn(&Limits) -> u32,
) -> Vec<Room> {
    let mut by_type: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for instance in instances.iter().filter(|instance| instance.is_running()) {
        by_type.entry(instance.instance_type.as_str()).or_default().push(instance);
    }
    let room = |limits: &Limits| {
        let own = by_type.get(limits.instance_type.as_str()).map(Vec::as_slice).unwrap_or_default();
        let pods_per_node = pods(limits);
        let nodes = u32::try_from(own.len()).unwrap_or(u32::MAX);
        let free = own.iter().map(|one| {
            let held =
                one.addresses.saturating_add(one.prefixes.saturating_mul(PREFIX)).saturating_add(ON_THE_HOST);
            let used = match running {
                Some(running) => running.get(&one.dns_name).copied().unwrap_or(0),
                None => held,
            };
            pods_per_node.saturating_sub(used)
        });
        Room {
            limits: limits.clone(),
            nodes,
            pods_per_node,
            pods_max: pods_per_node.saturating_mul(nodes),
            pods_free: free.sum(),
        }
    };
    limits.iter().map(room).collect()
}

fn growth(groups: &[Group], limits: &[Limits], pods: impl Fn(&Limits) -> u32) -> Vec<Growth> {
    let grown = groups.iter().filter(|group| group.max > group.desired).map(|group| {
        let own = limits.iter().filter(|limits| group.instance_types.contains(&limits.instance_type));
        Growth {
            group: group.name.clone(),
            nodes: group.max - group.desired,
            pods_per_node: own.map(&pods).min().unwrap_or(0),
        }
    });
    grown.collect()
}

/// Whether some more pods fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Now,
    /// So many nodes must be started, and may be.
    WithNodes(u32),
    /// So many pods have no place.
    TooMany(u32),
    /// So many addresses are missing in the subnets.
    NoAddresses(u32),
    /// The nodes could not be looked at.
    Unknown,
}

impl Capacity {
    pub fn pods_free(&self) -> u32 {
        self.types.iter().map(|room| room.pods_free).sum()
    }

    pub fn pods_max(&self) -> u32 {
        self.types.iter().map(|room| room.pods_max).sum()
    }

    /// Whether `more` pods fit beside those that run: the surge of a rollout.
    pub fn fit(&self, more: u32) -> Fit {
        if !self.missing.is_empty() && self.types.iter().all(|room| room.nodes == 0) {
            return Fit::Unknown;
        }
        let mut left = more.saturating_sub(self.pods_free());
        let mut nodes = 0;
        for growth in self.growth.iter().filter(|growth| growth.pods_per_node > ON_THE_HOST) {
            let per_node = growth.pods_per_node - ON_THE_HOST;
            let started = left.div_ceil(per_node).min(growth.nodes);
            nodes += started;
            left = left.saturating_sub(started.saturating_mul(per_node));
        }
        if left > 0 {
            return Fit::TooMany(left);
        }
        // A new node has an address itself; prefixes are taken whole.
        let wanted = match self.addressing {
            Addressing::Secondary => more,
            Addressing::Prefixes => more.div_ceil(PREFIX).saturating_mul(PREFIX),
        };
        let wanted = wanted.saturating_add(nodes);
        let used = self.subnets.iter().any(|subnet| subnet.nodes > 0);
        let free = self
            .subnets
            .iter()
            .filter(|subnet| !used || subnet.nodes > 0 || nodes > 0)
            .map(|subnet| subnet.free);
        let missing = wanted.saturating_sub(free.sum());
        match (self.ip_family == "ipv6" || self.subnets.is_empty(), missing, nodes) {
            (false, 1.., _) => Fit::NoAddresses(missing),
            (_, _, 0) => Fit::Now,
            (_, _, nodes) => Fit::WithNodes(nodes),
        }
    }

    /// What an operator should know, the gravest first. `surge` is how many pods a rollout wants beside those that run.
    pub fn concerns(&self, surge: Option<u32>) -> Vec<Concern> {
        let mut concerns: Vec<Concern> = self.missing.iter().map(Concern::not_seen).collect();
        for subnet in
            self.subnets.iter().filter(|subnet| subnet.free < FEW_ADDRESSES && self.ip_family != "ipv6")
        {
            let severity = if subnet.nodes > 0 { Severity::Warning } else { Severity::Info };
            let message = format!(
                "{} addresses are free in {} ({}, {})",
                subnet.free, subnet.id, subnet.cidr, subnet.zone
            );
            concerns.push(
                Concern::new(What::FewAddresses, severity, message)
                    .hint("pods there will wait in ContainerCreating: add a subnet, or let pods have subnets of their own"),
            );
        }
        let nodes: u32 = self.types.iter().map(|room| room.nodes).sum();
        if nodes > 0 && self.pods_free() == 0 {
            let message = match self.are_pods_counted {
                true => format!("each of the {nodes} nodes has as many pods as it may"),
                false => format!("every address that the {nodes} nodes may have is held already"),
            };
            concerns.push(Concern::new(What::NoFreePods, Severity::Warning, message));
        }
        if let Some(surge) = surge {
            concerns.extend(self.surge_concern(surge));
        }
        concerns.sort_by_key(|concern| std::cmp::Reverse(concern.severity));
        concerns
    }

    fn surge_concern(&self, surge: u32) -> Option<Concern> {
        let free = self.pods_free();
        let does_not = |message: String| Concern::new(What::SurgeDoesNotFit, Severity::Error, message);
        Some(match self.fit(surge) {
            Fit::Now => return None,
            Fit::WithNodes(nodes) => {
                let message = format!(
                    "{surge} more pods want {} to be started: {free} certainly fit into those that run",
                    nodes_of(nodes)
                );
                Concern::new(What::SurgeNeedsNodes, Severity::Warning, message)
                    .hint("a rollout waits until they have joined; give it time, or start them before")
            }
            Fit::TooMany(left) => does_not(format!(
                "{left} of {surge} more pods have no place: {free} fit, and no group may grow enough"
            ))
            .hint("raise the groups' maximum, or roll with a smaller surge"),
            Fit::NoAddresses(missing) => {
                does_not(format!("{missing} addresses are missing for {surge} more pods"))
                    .hint("add a subnet, or roll with a smaller surge")
            }
            Fit::Unknown => Concern::new(
                What::NotSeen,
                Severity::Warning,
                format!("whether {surge} more pods fit is not known: the nodes could not be looked at"),
            ),
        })
    }
}

/// `one node`, `3 nodes`
pub fn nodes_of(count: u32) -> String {
    match count {
        1 => "one node".to_owned(),
        count => format!("{count} nodes"),
    }
}
