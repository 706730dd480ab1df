//! What EKS says about trouble that it can explain: the machines behind the nodes, their subnets, and who is let in.
//!
//! Invariants: only the cluster is asked about that the API is of; nothing is asked where nothing needs explaining.

use eks::capacity::Capacity;
use eks::{Admission, Concern, Entry, Identity, Nodes, What};
use kubernetes::Cluster;
use rollout::code::Code;

use crate::commands::cluster::access::Target;
use crate::commands::deploy::access;
use crate::context::Context;
use crate::error::Error;

/// What there is to know of a cluster of EKS, as far as somebody needs it.
pub struct Cloud {
    name: String,
    nodes: Option<eks::Result<Nodes>>,
    capacity: Option<eks::Result<Capacity>>,
    /// The API is of another cluster than the environment names.
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
    let mut cloud = Cloud { name: target.name.clone(), nodes: None, capacity: None, elsewhere: None };
    match target.eks.describe(&target.name).await {
        Ok(endpoint) if !host(&endpoint.url).eq_ignore_ascii_case(cluster.host()) => {
            cloud.elsewhere = Some(host(&endpoint.url).to_owned());
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

impl Cloud {
    /// What it says about trouble of this kind with a pod on this node, a line each.
    pub fn about(&self, code: Code, node: &str) -> Vec<String> {
        if !is_about_machines(code) && code != Code::NoSandbox {
            return Vec::new();
        }
        if let Some(other) = &self.elsewhere {
            return vec![format!("EKS was not asked: the API of its cluster {} is {other}", self.name)];
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

/// What became of the machine behind a node.
fn machine(nodes: &Nodes, node: &str) -> Vec<String> {
    let sees_instances = !nodes.missing.iter().any(|error| error.operation == "ec2:DescribeInstances");
    let own = nodes.instances.iter().find(|instance| instance.dns_name == node || instance.id == node);
    let mut seen = match own {
        Some(instance) => {
            let spot = if instance.is_spot { ", a spot one" } else { "" };
            let why = instance.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            vec![format!("EC2: the machine {} of the node{spot} is {}{why}", instance.id, instance.state)]
        }
        None if sees_instances => vec![format!("EC2 has no machine {node} any more: it was terminated")],
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
pub async fn explained(refusal: Error, context: &Context) -> Error {
    let Some(target) = access::of_eks(context).await else { return refusal };
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
             arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy",
            target.name, entry.principal
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host() {
        assert_eq!(host("https://ABC.gr7.eks.amazonaws.com"), "ABC.gr7.eks.amazonaws.com");
        assert_eq!(host("http://127.0.0.1:80/path"), "127.0.0.1:80");
    }
}
