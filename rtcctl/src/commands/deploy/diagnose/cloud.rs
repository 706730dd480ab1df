//! What EKS says about trouble that it can explain: the machines behind the nodes, their subnets, and who is let in.
//!
//! Invariants: only the cluster is asked about that the API is of; nothing is asked where nothing needs explaining.

use codes::Error;
use eks::capacity::Capacity;
use eks::{Admission, Concern, Entry, Identity, Instance, Nodes, What};
use kubernetes::Cluster;
use rollout::code::Code;

use crate::commands::cluster::access::Target;
use crate::commands::deploy::access;
use crate::context::Context;

/// What there is to know of a cluster of EKS, as far as somebody needs it.
pub struct Cloud {
    nodes: Option<eks::Result<Nodes>>,
    capacity: Option<eks::Result<Capacity>>,
    /// The API is of another cluster than the environment names: so it was not asked.
    elsewhere: Option<String>,
}

/// Trouble with the machines.
fn is_about_machines(code: Code) -> bool {
    matches!(
        code,
        Code::NoRoom
            | Code::Tainted
            | Code::NoMatch
            | Code::VolumeUnbound
            | Code::NodeComing
            | Code::NodeLost
            | Code::NodeRefused
            | Code::Evicted
            | Code::BudgetDeadlock
    )
}

/// Asks EKS, where the environment has a cluster of it and something of this can be explained.
pub async fn ask(codes: &[Code], cluster: &Cluster, context: &Context) -> Option<Cloud> {
    let wants_machines = codes.iter().any(|code| is_about_machines(*code));
    let wants_addresses = codes.contains(&Code::NoSandbox);
    if !wants_machines && !wants_addresses {
        return None;
    }
    let target = access::of_eks(context).await?;
    let mut cloud = Cloud { nodes: None, capacity: None, elsewhere: None };
    match target.eks.describe(&target.name).await {
        Ok(endpoint) if !is_of(cluster, &endpoint.url) => {
            cloud.elsewhere = Some(not_asked(&target.name, &endpoint.url));
        }
        Ok(_) => {
            let nodes = async {
                match wants_machines {
                    true => Some(target.eks.nodes(&target.name).await),
                    false => None,
                }
            };
            let capacity = async {
                match wants_addresses {
                    true => Some(target.eks.capacity(&target.name, None, None).await),
                    false => None,
                }
            };
            (cloud.nodes, cloud.capacity) = tokio::join!(nodes, capacity);
        }
        Err(error) => cloud.nodes = Some(Err(error)),
    }
    Some(cloud)
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Whether this is the API that EKS has of its cluster.
fn is_of(cluster: &Cluster, url: &str) -> bool {
    host(url).eq_ignore_ascii_case(cluster.host())
}

fn not_asked(name: &str, url: &str) -> String {
    format!("EKS was not asked: the API of its cluster {name} is {}", host(url))
}

impl Cloud {
    /// What it says about trouble of this kind with a pod on this node, a line each.
    pub fn about(&self, code: Code, node: &str) -> Vec<String> {
        if !is_about_machines(code) && code != Code::NoSandbox {
            return Vec::new();
        }
        if let Some(why) = &self.elsewhere {
            return vec![why.clone()];
        }
        let refused = |error: &eks::Error| vec![format!("EKS cannot be asked: {error}")];
        if code == Code::NoSandbox {
            return match &self.capacity {
                Some(Ok(capacity)) => addresses(capacity),
                Some(Err(error)) => refused(error),
                None => Vec::new(),
            };
        }
        match &self.nodes {
            Some(Ok(nodes)) if code == Code::NodeLost => machine(nodes, node),
            Some(Ok(nodes)) => groups(nodes),
            Some(Err(error)) => refused(error),
            None => Vec::new(),
        }
    }
}

/// What is wrong with the groups, and how far each may grow.
fn groups(nodes: &Nodes) -> Vec<String> {
    let is_told = |concern: &Concern| {
        matches!(
            concern.what,
            What::GroupIssue | What::GroupStatus | What::MissingInstances | What::NoNodes | What::NotSeen
        )
    };
    let mut seen = told(nodes.concerns().into_iter().filter(is_told));
    for group in &nodes.groups {
        let (name, desired, max) = (&group.name, group.desired, group.max);
        let only = if group.taints.is_empty() {
            String::new()
        } else {
            format!(", for what tolerates {}", group.taints.join(", "))
        };
        seen.push(match desired >= max {
            true => format!("EKS: node group {name} has as many nodes as it may: {desired}{only}"),
            false => format!("EKS: node group {name} has {desired} of at most {max} nodes{only}"),
        });
    }
    if nodes.is_auto {
        seen.push("EKS makes nodes as pods need them (Auto Mode)".to_owned());
    }
    seen
}

/// Nodes of Fargate, and machines that somebody has elsewhere, were never EC2's.
fn is_named_by_ec2(node: &str) -> bool {
    node.starts_with("ip-") || node.starts_with("i-")
}

/// What became of the machine behind a node.
fn machine(nodes: &Nodes, node: &str) -> Vec<String> {
    let sees_instances = !nodes.missing.iter().any(|error| error.operation == "ec2:DescribeInstances");
    // A machine that is not started yet has no name, and neither has the node of a pod without a place.
    let is_own =
        |instance: &&Instance| !node.is_empty() && (instance.dns_name == node || instance.id == node);
    let own = nodes.instances.iter().find(is_own);
    let mut seen = match own {
        Some(instance) => {
            let spot = if instance.is_spot { ", a spot one" } else { "" };
            let why = instance.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            vec![format!("EC2: the machine {} of the node{spot} is {}{why}", instance.id, instance.state)]
        }
        None if sees_instances && is_named_by_ec2(node) => {
            vec![format!("EC2 has no machine {node} any more: it was terminated")]
        }
        None => Vec::new(),
    };
    seen.extend(groups(nodes));
    seen
}

fn addresses(capacity: &Capacity) -> Vec<String> {
    let is_told =
        |concern: &Concern| matches!(concern.what, What::FewAddresses | What::NoFreePods | What::NotSeen);
    let mut seen = told(capacity.concerns(None).into_iter().filter(is_told));
    if seen.is_empty()
        && let Some(least) = capacity.subnets.iter().min_by_key(|subnet| subnet.free)
    {
        seen.push(format!(
            "EC2: every subnet of the nodes has addresses, {} the fewest: {}",
            least.id, least.free
        ));
    }
    seen
}

fn told(concerns: impl Iterator<Item = Concern>) -> Vec<String> {
    concerns
        .map(|concern| match concern.hint {
            Some(hint) => format!("EKS: {} ({hint})", concern.message),
            None => format!("EKS: {}", concern.message),
        })
        .collect()
}

/// Adds to a refusal of the API what EKS says about who is let in.
pub async fn explained(refusal: Error, cluster: &Cluster, context: &Context) -> Error {
    let Some(target) = access::of_eks(context).await else { return refusal };
    match target.eks.describe(&target.name).await {
        Ok(endpoint) if is_of(cluster, &endpoint.url) => {}
        Ok(endpoint) => return refusal.with_cause(not_asked(&target.name, &endpoint.url)),
        Err(error) => return refusal.with_cause(format!("EKS cannot be asked: {error}")),
    }
    let identity = match target.eks.identity().await {
        Ok(identity) => identity,
        Err(error) => return refusal.with_cause(format!("who we are for AWS cannot be asked: {error}")),
    };
    let admission = target.eks.admission(&target.name, &identity).await;
    let told = refusal.with_cause(format!("AWS knows us as {}", identity.arn));
    match admission {
        Err(error) => told.with_cause(format!("access entries of {} cannot be asked: {error}", target.name)),
        Ok(Admission::ConfigMap) => told.with_cause(format!(
            "{} has no access entries: who may sign in is in its ConfigMap aws-auth, which only those see who may",
            target.name
        )),
        Ok(Admission::NoEntry { entries }) => none(told, entries, &identity, &target),
        Ok(Admission::Entry(entry)) => granted(told, &entry, &target, context),
    }
}

fn none(told: Error, entries: usize, identity: &Identity, target: &Target) -> Error {
    let (name, principal) = (&target.name, identity.principal());
    told.with_cause(format!("none of the {entries} access entries of {name} is for us"))
        .with_hint(format!("aws eks create-access-entry --cluster-name {name} --principal-arn {principal}"))
}

fn granted(told: Error, entry: &Entry, target: &Target, context: &Context) -> Error {
    let namespace = access::namespace(context);
    let policies: Vec<String> = entry
        .policies
        .iter()
        .map(|policy| match policy.namespaces.is_empty() {
            true => policy.name.clone(),
            false => format!("{} in {}", policy.name, policy.namespaces.join(", ")),
        })
        .collect();
    let or_none = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    let told = told.with_cause(format!(
        "the access entry {} lets us in as {}; groups: {}; policies: {}",
        entry.principal,
        entry.user,
        or_none(entry.groups.clone()),
        or_none(policies),
    ));
    let grants = entry.policies.iter().any(|policy| policy.holds_in(&namespace)) || !entry.groups.is_empty();
    match grants {
        true => told,
        false => told.with_hint(format!(
            "aws eks associate-access-policy --cluster-name {} --principal-arn {} --access-scope \
             type=namespace,namespaces={namespace} --policy-arn \
             arn:{}:eks::aws:cluster-access-policy/AmazonEKSEditPolicy",
            target.name,
            entry.principal,
            partition(&entry.principal)
        )),
    }
}

/// Which of the clouds of AWS somebody is of: `aws-cn`.
fn partition(principal: &str) -> &str {
    principal.split(':').nth(1).filter(|name| !name.is_empty()).unwrap_or("aws")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(dns_name: &str) -> Nodes {
        let instance = Instance {
            id: "i-0a".to_owned(),
            group: None,
            instance_type: "m6i.large".to_owned(),
            zone: "ap-northeast-2a".to_owned(),
            state: "running".to_owned(),
            launched_at: None,
            dns_name: dns_name.to_owned(),
            subnet_id: "subnet-a".to_owned(),
            is_spot: false,
            interfaces: 1,
            addresses: 0,
            prefixes: 0,
            reason: None,
        };
        Nodes {
            cluster: "rtc".to_owned(),
            version: "1.33".to_owned(),
            is_auto: false,
            groups: Vec::new(),
            instances: vec![instance],
            missing: Vec::new(),
        }
    }

    #[test]
    fn of_a_node_that_was_never_ec2s_no_machine_is_said_to_have_gone() {
        for node in ["fargate-ip-10-0-0-7.ap-northeast-2.compute.internal", "mi-0123", "rack-7", ""] {
            assert_eq!(machine(&nodes("ip-10-0-0-1"), node), Vec::<String>::new(), "{node:?}");
        }
        for gone in ["ip-10-0-0-2", "i-0b.ap-northeast-2.compute.internal"] {
            assert!(machine(&nodes("ip-10-0-0-1"), gone)[0].contains("it was terminated"), "{gone}");
        }
    }

    #[test]
    fn a_machine_without_a_name_is_nobodys_node() {
        assert_eq!(machine(&nodes(""), ""), Vec::<String>::new());
        assert!(machine(&nodes(""), "i-0a")[0].contains("the machine i-0a of the node is running"));
    }

    #[test]
    fn a_policy_is_of_the_cloud_of_whoever_it_is_for() {
        assert_eq!(partition("arn:aws-cn:iam::123456789012:role/operator"), "aws-cn");
        assert_eq!(partition("arn:aws-us-gov:iam::123456789012:user/o"), "aws-us-gov");
        assert_eq!(partition("nobody"), "aws");
    }

    #[test]
    fn an_address_has_a_host() {
        assert_eq!(host("https://ABC.gr7.eks.amazonaws.com"), "ABC.gr7.eks.amazonaws.com");
        assert_eq!(host("http://127.0.0.1:80/path"), "127.0.0.1:80");
    }
}
