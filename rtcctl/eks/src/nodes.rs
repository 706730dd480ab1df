//! The machines of a cluster: node groups as EKS keeps them, and instances as EC2 has them.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{self as ec2, Filter};
use aws_sdk_eks::types::{self, AmiTypes, CapacityTypes, NodegroupIssueCode, NodegroupStatus};
use kernel::Timestamp;
use serde::Serialize;

use crate::cluster::text_of;
use crate::info::{about, numbers};
use crate::several::{each, told_once};
use crate::{Concern, Eks, Error, Issue, Kind, Result, Series, Severity, What, instant};

/// What managed groups write on their machines, and what Auto Mode and Karpenter do.
const CLUSTER_TAGS: [&str; 2] = ["eks:cluster-name", "eks:eks-cluster-name"];
const GROUP_TAGS: [&str; 3] = ["eks:nodegroup-name", "karpenter.sh/nodepool", "aws:autoscaling:groupName"];
/// So many minor versions a node may be older than its cluster ("Kubernetes version skew policy").
const SKEW_MAX: u32 = 3;

/// A managed node group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    pub name: String,
    /// As EKS calls it: `ACTIVE`, `DEGRADED`.
    pub status: String,
    pub min: u32,
    pub desired: u32,
    pub max: u32,
    pub instance_types: Vec<String>,
    /// `ON_DEMAND` or `SPOT`.
    pub capacity: String,
    /// `AL2023_x86_64_STANDARD`; `CUSTOM` where the image is one's own.
    pub ami_type: String,
    /// Of Kubernetes.
    pub version: String,
    pub release: String,
    /// The last release that AWS has for it, where that can be seen.
    pub last_release: Option<String>,
    /// Whether the last release is newer than its own.
    pub is_behind: bool,
    pub subnet_ids: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// `key=value:EFFECT`
    pub taints: Vec<String>,
    pub issues: Vec<Issue>,
    pub created_at: Option<Timestamp>,
}

/// A machine of EC2 that belongs to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    pub id: String,
    /// The managed group, the node pool or the scaling group that started it.
    pub group: Option<String>,
    pub instance_type: String,
    pub zone: String,
    /// As EC2 calls it: `running`.
    pub state: String,
    pub launched_at: Option<Timestamp>,
    /// What the node is most often called in Kubernetes.
    pub dns_name: String,
    pub subnet_id: String,
    pub is_spot: bool,
    /// Network interfaces that are attached.
    pub interfaces: u32,
    /// Addresses on them beside each one's own: what pods have, and what is kept ready for pods.
    pub addresses: u32,
    /// Blocks of 16 addresses on them.
    pub prefixes: u32,
    /// Why EC2 changed its state, where it said so.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nodes {
    pub cluster: String,
    /// Of Kubernetes, in the control plane.
    pub version: String,
    pub is_auto: bool,
    pub groups: Vec<Group>,
    pub instances: Vec<Instance>,
    /// What could not be looked at.
    #[serde(skip)]
    pub missing: Vec<Error>,
}

impl Eks {
    /// The nodes of a cluster. What may not be asked is in [`Nodes::missing`]; the cluster itself must be.
    pub async fn nodes(&self, cluster: &str) -> Result<Nodes> {
        let (found, groups, instances) =
            tokio::join!(self.cluster(cluster), self.groups(cluster), self.instances(cluster));
        let found = found?;
        let (mut groups, mut missing) = groups.unwrap_or_else(|error| (Vec::new(), vec![error]));
        let instances = instances.unwrap_or_else(|error| {
            missing.push(error);
            Vec::new()
        });
        let series: BTreeMap<String, Series> = groups
            .iter()
            .filter_map(|group| Some((group.name.clone(), Series::of(&group.ami_type, &group.version)?)))
            .collect();
        let mut wanted: Vec<Series> = Vec::new();
        for one in series.values() {
            if !wanted.contains(one) {
                wanted.push(one.clone());
            }
        }
        let (last, refused) = each(wanted, |series| self.last_image(series)).await;
        missing.extend(refused);
        for group in &mut groups {
            let Some(own) = series.get(&group.name) else { continue };
            let last = last.iter().find(|(series, _)| series == own).and_then(|(_, last)| last.clone());
            group.is_behind = last.as_deref().is_some_and(|last| own.is_behind(&group.release, last));
            group.last_release = last;
        }
        told_once(&mut missing);
        Ok(Nodes {
            cluster: cluster.to_owned(),
            version: found.version,
            is_auto: found.is_auto,
            groups,
            instances,
            missing,
        })
    }

    pub(crate) async fn groups(&self, cluster: &str) -> Result<(Vec<Group>, Vec<Error>)> {
        let names = self.eks.list_nodegroups().cluster_name(cluster).into_paginator().items().send();
        let names = names.collect::<Result<Vec<_>, _>>().await;
        let mut names = names.map_err(|error| Error::of("eks:ListNodegroups", error))?;
        names.sort();
        Ok(each(names, |name| self.group(cluster, name)).await)
    }

    async fn group(&self, cluster: &str, name: String) -> Result<Group> {
        const OPERATION: &str = "eks:DescribeNodegroup";
        let answer = self.eks.describe_nodegroup().cluster_name(cluster).nodegroup_name(&name).send().await;
        let answer = answer.map_err(|error| Error::of(OPERATION, error))?;
        let fault = || Error::new(Kind::Fault, OPERATION, "the answer has no node group");
        Ok(Group::of(name, answer.nodegroup.ok_or_else(fault)?))
    }

    /// Machines that are tagged as this cluster's, those aside that have gone.
    pub(crate) async fn instances(&self, cluster: &str) -> Result<Vec<Instance>> {
        let owned = format!("kubernetes.io/cluster/{cluster}");
        let filter =
            |name: &str, values: Vec<String>| Filter::builder().name(name).set_values(Some(values)).build();
        let keys = CLUSTER_TAGS.iter().map(|tag| (*tag).to_owned()).chain([owned.clone()]).collect();
        let states = ["pending", "running", "shutting-down", "stopping", "stopped"];
        let asked = self
            .ec2
            .describe_instances()
            .filters(filter("tag-key", keys))
            .filters(filter("instance-state-name", states.map(str::to_owned).to_vec()))
            .into_paginator()
            .items()
            .send();
        let found = asked.collect::<Result<Vec<_>, _>>().await;
        let found = found.map_err(|error| Error::of("ec2:DescribeInstances", error))?;
        let instances = found.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default());
        let mut instances: Vec<Instance> =
            instances.filter(|instance| belongs(instance, cluster, &owned)).map(Instance::of).collect();
        instances.sort_by(|a, b| (&a.group, &a.zone, &a.id).cmp(&(&b.group, &b.zone, &b.id)));
        Ok(instances)
    }
}

/// A filter by keys finds those of other clusters too.
fn belongs(instance: &ec2::Instance, cluster: &str, owned: &str) -> bool {
    instance.tags.iter().flatten().any(|tag| {
        let (key, value) = (tag.key.as_deref().unwrap_or_default(), tag.value.as_deref().unwrap_or_default());
        key == owned && value == "owned" || CLUSTER_TAGS.contains(&key) && value == cluster
    })
}

impl Group {
    fn of(name: String, found: types::Nodegroup) -> Self {
        let size = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        let scaling = found.scaling_config.as_ref();
        let taints = found.taints.unwrap_or_default().into_iter();
        let issues = found.health.and_then(|health| health.issues).unwrap_or_default().into_iter();
        Self {
            name,
            status: text_of(found.status.as_ref().map(NodegroupStatus::as_str)),
            min: size(scaling.and_then(|scaling| scaling.min_size)),
            desired: size(scaling.and_then(|scaling| scaling.desired_size)),
            max: size(scaling.and_then(|scaling| scaling.max_size)),
            instance_types: found.instance_types.unwrap_or_default(),
            capacity: text_of(found.capacity_type.as_ref().map(CapacityTypes::as_str)),
            ami_type: text_of(found.ami_type.as_ref().map(AmiTypes::as_str)),
            version: found.version.unwrap_or_default(),
            release: found.release_version.unwrap_or_default(),
            last_release: None,
            is_behind: false,
            subnet_ids: found.subnets.unwrap_or_default(),
            labels: found.labels.unwrap_or_default().into_iter().collect(),
            taints: taints
                .map(|taint| {
                    let effect = taint.effect.as_ref().map_or("", types::TaintEffect::as_str);
                    format!("{}={}:{effect}", taint.key.unwrap_or_default(), taint.value.unwrap_or_default())
                })
                .collect(),
            issues: issues
                .map(|issue| Issue {
                    code: text_of(issue.code.as_ref().map(NodegroupIssueCode::as_str)),
                    message: issue.message.unwrap_or_default(),
                    resources: issue.resource_ids.unwrap_or_default(),
                })
                .collect(),
            created_at: found.created_at.as_ref().and_then(instant),
        }
    }
}

impl Instance {
    fn of(found: ec2::Instance) -> Self {
        let tags = found.tags.unwrap_or_default();
        let tag = |wanted: &str| {
            let found = tags.iter().find(|tag| tag.key.as_deref() == Some(wanted));
            found.and_then(|tag| tag.value.clone())
        };
        let interfaces = found.network_interfaces.unwrap_or_default();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let addresses = interfaces.iter().map(|one| {
            let all = one.private_ip_addresses.as_deref().unwrap_or_default();
            all.iter().filter(|address| address.primary != Some(true)).count()
        });
        let prefixes = interfaces.iter().map(|one| one.ipv4_prefixes.as_deref().unwrap_or_default().len());
        Self {
            id: found.instance_id.unwrap_or_default(),
            group: GROUP_TAGS.into_iter().find_map(tag),
            instance_type: text_of(found.instance_type.as_ref().map(ec2::InstanceType::as_str)),
            zone: found.placement.and_then(|placement| placement.availability_zone).unwrap_or_default(),
            state: text_of(
                found
                    .state
                    .as_ref()
                    .and_then(|state| state.name.as_ref())
                    .map(ec2::InstanceStateName::as_str),
            ),
            launched_at: found.launch_time.as_ref().and_then(instant),
            dns_name: found.private_dns_name.unwrap_or_default(),
            subnet_id: found.subnet_id.unwrap_or_default(),
            is_spot: found.instance_lifecycle == Some(ec2::InstanceLifecycleType::Spot),
            interfaces: count(interfaces.len()),
            addresses: count(addresses.sum()),
            prefixes: count(prefixes.sum()),
            reason: found.state_reason.and_then(|reason| reason.message),
        }
    }

    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

impl Nodes {
    /// What an operator should know, the gravest first.
    pub fn concerns(&self) -> Vec<Concern> {
        let mut concerns: Vec<Concern> = self.missing.iter().map(Concern::not_seen).collect();
        let sees_instances = !self.missing.iter().any(|error| error.operation == "ec2:DescribeInstances");
        for group in &self.groups {
            self.look_at(group, sees_instances, &mut concerns);
        }
        let running: Vec<&Instance> =
            self.instances.iter().filter(|instance| instance.is_running()).collect();
        let zones: BTreeSet<&str> = running.iter().map(|instance| instance.zone.as_str()).collect();
        if let (true, [zone]) = (running.len() > 1, zones.into_iter().collect::<Vec<_>>().as_slice()) {
            let message =
                format!("all {} nodes are in {zone}: the cluster ends with that zone", running.len());
            concerns.push(Concern::new(What::OneZone, Severity::Warning, message));
        }
        if running.is_empty() && sees_instances && !self.is_auto {
            let message = format!("no node of {} is running: nothing can be scheduled", self.cluster);
            concerns.push(Concern::new(What::NoNodes, Severity::Warning, message));
        }
        concerns.sort_by_key(|concern| std::cmp::Reverse(concern.severity));
        concerns
    }

    fn look_at(&self, group: &Group, sees_instances: bool, concerns: &mut Vec<Concern>) {
        let name = &group.name;
        for issue in &group.issues {
            let message = format!("{name}: {}: {}{}", issue.code, issue.message, about(&issue.resources));
            let concern = Concern::new(What::GroupIssue, Severity::Error, message);
            concerns.push(match remedy(&issue.code) {
                Some(hint) => concern.hint(hint),
                None => concern,
            });
        }
        let severity = match group.status.as_str() {
            "ACTIVE" => None,
            "CREATING" | "UPDATING" => Some(Severity::Info),
            "DELETING" => Some(Severity::Warning),
            _ => Some(Severity::Error),
        };
        if let Some(severity) = severity {
            let message = format!("the node group {name} is {}", group.status);
            concerns.push(Concern::new(What::GroupStatus, severity, message));
        }
        let own = self.instances.iter().filter(|instance| instance.group.as_ref() == Some(name));
        let running = own.filter(|instance| instance.is_running()).count();
        if sees_instances && running < usize::try_from(group.desired).unwrap_or(usize::MAX) {
            let message = format!("{running} of {} nodes of {name} are running", group.desired);
            concerns.push(Concern::new(What::MissingInstances, Severity::Warning, message));
        }
        let (cluster, own) = (numbers(&self.version), numbers(&group.version));
        if own != (0, 0) && own < cluster {
            let skew = cluster.1.saturating_sub(own.1);
            let message = format!("{name} runs Kubernetes {}, the cluster {}", group.version, self.version);
            let concern = match skew >= SKEW_MAX {
                true => Concern::new(
                    What::VersionSkew,
                    Severity::Error,
                    format!("{message}: the cluster cannot be upgraded before the nodes are"),
                ),
                false => Concern::new(What::VersionSkew, Severity::Warning, message),
            };
            concerns.push(concern.hint(format!("upgrade the node group to {}", self.version)));
        }
        if let (true, Some(newer)) = (group.is_behind, &group.last_release) {
            let message = format!("{name} runs images of {}, the last are of {newer}", group.release);
            concerns.push(
                Concern::new(What::OldImage, Severity::Info, message)
                    .hint("an update of the node group replaces its nodes one after the other"),
            );
        }
    }
}

/// What is done about the issues that come most often ("Managed node group health issue codes").
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "InsufficientFreeAddresses" => {
            "its subnets have no addresses left: rtcctl cluster capacity shows them"
        }
        "AsgInstanceLaunchFailures" => {
            "no such machines are to be had there now: allow more types or zones, or wait"
        }
        "InstanceLimitExceeded" => "the account's quota of EC2 is used up: have it raised in Service Quotas",
        "NodeCreationFailure" => {
            "nodes start and do not join: look at their role, their subnets' way out, the API's address"
        }
        "IamNodeRoleNotFound" => "the role of the nodes is gone: have it made again",
        "AccessDenied" => {
            "the nodes, or EKS itself, lack a permission: look at the access entry of the node role"
        }
        "Ec2SubnetNotFound" | "Ec2SubnetInvalidConfiguration" => "its subnets are gone or were changed",
        "ClusterUnreachable" => {
            "EKS does not reach the API of the cluster: look at what admits requests there"
        }
        "PodEvictionFailure" => "a disruption budget lets no pod go: rtcctl deploy diagnose says which",
        _ => return None,
    })
}
