//! A healthy cluster: three nodes in three zones, a group that may grow, the last images, insights that pass.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Aws;

pub const CLUSTER: &str = "rtc-dev";
pub const REGION: &str = "ap-northeast-2";
/// Who signs for a test, as an access entry names it.
pub const OPERATOR: &str = "arn:aws:iam::123456789012:role/teams/operator";
/// Far away: nothing of this ends while anybody tests.
const FAR: i64 = 4_000_000_000;
const ZONES: [&str; 3] = ["a", "b", "c"];

/// The certificate of the cluster. Its content proves nothing; its form is that of one.
pub fn ca_pem() -> &'static str {
    "-----BEGIN CERTIFICATE-----\nMIIBeDCCAR+gAwIBAgIUExample\n-----END CERTIFICATE-----\n"
}

pub(super) fn fill(aws: &Aws) {
    aws.eks_answers("GET /clusters", json!({"clusters": [CLUSTER]}));
    aws.eks_answers(&format!("GET /clusters/{CLUSTER}"), json!({"cluster": cluster()}));
    aws.eks_answers("GET /cluster-versions", json!({"clusterVersions": versions()}));
    let at = |rest: &str| format!("/clusters/{CLUSTER}/{rest}");
    aws.eks_answers(
        &format!("POST {}", at("insights")),
        json!({"insights": [insight("i-1", "Kubelet version skew", "PASSING")]}),
    );
    aws.eks_answers(&format!("GET {}", at("addons")), json!({"addons": ["vpc-cni"]}));
    aws.eks_answers(&format!("GET {}", at("addons/vpc-cni")), json!({"addon": {
        "addonName": "vpc-cni", "clusterName": CLUSTER, "status": "ACTIVE", "addonVersion": "v1.20.1-eksbuild.1",
        "health": {"issues": []}, "configurationValues": "{\"env\":{\"WARM_IP_TARGET\":\"2\"}}",
    }}));
    aws.eks_answers(&format!("GET {}", at("node-groups")), json!({"nodegroups": ["shop", "batch"]}));
    aws.eks_answers(&format!("GET {}", at("node-groups/shop")), json!({"nodegroup": group("shop", 3, 3, 6)}));
    let mut batch = group("batch", 0, 0, 4);
    batch["capacityType"] = "SPOT".into();
    batch["amiType"] = "BOTTLEROCKET_ARM_64".into();
    batch["releaseVersion"] = "1.44.0-c1d2a3b4".into();
    batch["instanceTypes"] = json!(["c6g.xlarge"]);
    batch["taints"] = json!([{"key": "batch", "value": "yes", "effect": "NO_SCHEDULE"}]);
    aws.eks_answers(&format!("GET {}", at("node-groups/batch")), json!({"nodegroup": batch}));

    aws.we_are("arn:aws:sts::123456789012:assumed-role/operator/somebody");
    let node_role = "arn:aws:iam::123456789012:role/node";
    aws.eks_answers(
        &format!("GET {}", at("access-entries")),
        json!({"accessEntries": [node_role, OPERATOR]}),
    );
    aws.eks_answers(
        &format!("GET {}", entry_at(OPERATOR)),
        json!({"accessEntry": {
            "clusterName": CLUSTER, "principalArn": OPERATOR, "type": "STANDARD", "kubernetesGroups": ["shop"],
            "username": "arn:aws:sts::123456789012:assumed-role/operator/{{SessionName}}",
        }}),
    );
    let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
    aws.eks_answers(
        &format!("GET {}/access-policies", entry_at(OPERATOR)),
        json!({"clusterName": CLUSTER, "principalArn": OPERATOR, "associatedAccessPolicies": [
            {"policyArn": policy, "accessScope": {"type": "cluster", "namespaces": []}},
        ]}),
    );

    let nodes: String =
        ZONES.iter().enumerate().map(|(index, zone)| instance(index, zone, "running", 5, 0)).collect();
    aws.ec2_answers("DescribeInstances", &format!("<reservationSet><item><reservationId>r-1</reservationId><instancesSet>{nodes}</instancesSet></item></reservationSet>"));
    let subnets: String = ZONES.iter().enumerate().map(|(index, zone)| format!(
        "<item><subnetId>subnet-{zone}</subnetId><vpcId>vpc-1</vpcId><cidrBlock>10.0.{index}.0/24</cidrBlock>\
         <availableIpAddressCount>200</availableIpAddressCount><availabilityZone>{REGION}{zone}</availabilityZone></item>"
    )).collect();
    aws.ec2_answers("DescribeSubnets", &format!("<subnetSet>{subnets}</subnetSet>"));
    let types = [("m6i.large", 2, 8_192, 3, 10), ("c6g.xlarge", 4, 8_192, 4, 15)].map(|(name, cpus, mib, cards, addresses)| format!(
        "<item><instanceType>{name}</instanceType><bareMetal>false</bareMetal><hypervisor>nitro</hypervisor>\
         <vCpuInfo><defaultVCpus>{cpus}</defaultVCpus></vCpuInfo><memoryInfo><sizeInMiB>{mib}</sizeInMiB></memoryInfo>\
         <networkInfo><maximumNetworkInterfaces>{cards}</maximumNetworkInterfaces><defaultNetworkCardIndex>0</defaultNetworkCardIndex>\
         <networkCards><item><networkCardIndex>0</networkCardIndex><maximumNetworkInterfaces>{cards}</maximumNetworkInterfaces></item></networkCards>\
         <ipv4AddressesPerInterface>{addresses}</ipv4AddressesPerInterface></networkInfo></item>"
    ));
    aws.ec2_answers(
        "DescribeInstanceTypes",
        &format!("<instanceTypeSet>{}</instanceTypeSet>", types.concat()),
    );
    let images = [
        "amazon-eks-node-al2023-x86_64-standard-1.33-v20260110",
        "amazon-eks-node-al2023-x86_64-standard-1.33-v20260220",
        "bottlerocket-aws-k8s-1.33-aarch64-v1.44.0-c1d2a3b4",
        "bottlerocket-aws-k8s-1.33-aarch64-v1.9.0-0badcafe",
    ]
    .map(|name| format!("<item><imageId>ami-1</imageId><name>{name}</name></item>"));
    aws.ec2_answers("DescribeImages", &format!("<imagesSet>{}</imagesSet>", images.concat()));
}

/// Where EKS has the access entry of a principal.
pub fn entry_at(principal: &str) -> String {
    let escaped = principal.replace(':', "%3A").replace('/', "%2F");
    format!("/clusters/{CLUSTER}/access-entries/{escaped}")
}

fn cluster() -> Value {
    json!({
        "name": CLUSTER,
        "arn": format!("arn:aws:eks:{REGION}:123456789012:cluster/{CLUSTER}"),
        "createdAt": 1_772_355_600.5,
        "version": "1.33",
        "platformVersion": "eks.12",
        "endpoint": "https://0123456789ABCDEF.gr7.ap-northeast-2.eks.amazonaws.com",
        "roleArn": "arn:aws:iam::123456789012:role/cluster",
        "resourcesVpcConfig": {
            "subnetIds": ["subnet-a", "subnet-b", "subnet-c"], "securityGroupIds": ["sg-1"],
            "clusterSecurityGroupId": "sg-2", "vpcId": "vpc-1", "endpointPublicAccess": true,
            "endpointPrivateAccess": true, "publicAccessCidrs": ["203.0.113.0/24"],
        },
        "kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/16", "ipFamily": "ipv4"},
        "logging": {"clusterLogging": [
            {"types": ["api", "audit", "authenticator"], "enabled": true},
            {"types": ["controllerManager", "scheduler"], "enabled": false},
        ]},
        "identity": {"oidc": {"issuer": "https://oidc.eks.ap-northeast-2.amazonaws.com/id/0123456789ABCDEF"}},
        "status": "ACTIVE",
        "certificateAuthority": {"data": STANDARD.encode(ca_pem())},
        "encryptionConfig": [{"resources": ["secrets"], "provider": {"keyArn": "arn:aws:kms:ap-northeast-2:123456789012:key/1"}}],
        "health": {"issues": []},
        "accessConfig": {"authenticationMode": "API"},
        "upgradePolicy": {"supportType": "STANDARD"},
        "deletionProtection": true,
        "tags": {"environment": "dev"},
    })
}

fn versions() -> Value {
    let version = |version: &str, is_default: bool| {
        json!({
            "clusterVersion": version, "clusterType": "eks", "defaultVersion": is_default,
            "releaseDate": 1_748_390_400, "endOfStandardSupportDate": FAR, "endOfExtendedSupportDate": FAR + 31_536_000,
            "status": "standard-support", "versionStatus": "STANDARD_SUPPORT", "kubernetesPatchVersion": format!("{version}.4"),
        })
    };
    json!([version("1.35", false), version("1.34", true), version("1.33", false)])
}

fn insight(id: &str, name: &str, status: &str) -> Value {
    json!({
        "id": id, "name": name, "category": "UPGRADE_READINESS", "kubernetesVersion": "1.34",
        "lastRefreshTime": 1_772_355_600, "lastTransitionTime": 1_772_355_600, "description": "checked daily",
        "insightStatus": {"status": status, "reason": "nothing to be done"},
    })
}

fn group(name: &str, min: u32, desired: u32, max: u32) -> Value {
    json!({
        "nodegroupName": name, "clusterName": CLUSTER, "version": "1.33", "releaseVersion": "1.33.4-20260220",
        "createdAt": 1_772_355_600, "status": "ACTIVE", "capacityType": "ON_DEMAND",
        "scalingConfig": {"minSize": min, "desiredSize": desired, "maxSize": max},
        "instanceTypes": ["m6i.large"], "subnets": ["subnet-a", "subnet-b", "subnet-c"],
        "amiType": "AL2023_x86_64_STANDARD", "nodeRole": "arn:aws:iam::123456789012:role/node",
        "labels": {"pool": name}, "taints": [], "health": {"issues": []},
    })
}

/// A machine of the group `shop` as EC2 has it: one interface with `addresses` beside its own, and `prefixes`.
pub fn instance(index: usize, zone: &str, state: &str, addresses: usize, prefixes: usize) -> String {
    let own = "<item><privateIpAddress>10.0.0.4</privateIpAddress><primary>true</primary></item>".to_owned();
    let more = "<item><privateIpAddress>10.0.0.5</privateIpAddress><primary>false</primary></item>"
        .repeat(addresses);
    let blocks = "<item><ipv4Prefix>10.0.0.16/28</ipv4Prefix></item>".repeat(prefixes);
    let tag = |key: &str, value: &str| format!("<item><key>{key}</key><value>{value}</value></item>");
    format!(
        "<item><instanceId>i-{index}{zone}</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>{state}</name></instanceState>\
         <privateDnsName>ip-10-0-0-{index}.{REGION}.compute.internal</privateDnsName><instanceType>m6i.large</instanceType>\
         <launchTime>2026-03-01T09:00:00.000Z</launchTime><placement><availabilityZone>{REGION}{zone}</availabilityZone></placement>\
         <subnetId>subnet-{zone}</subnetId><tagSet>{}{}{}</tagSet><networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId>\
         <privateIpAddressesSet>{own}{more}</privateIpAddressesSet><ipv4PrefixSet>{blocks}</ipv4PrefixSet></item></networkInterfaceSet></item>",
        tag(&format!("kubernetes.io/cluster/{CLUSTER}"), "owned"),
        tag("eks:cluster-name", CLUSTER),
        tag("eks:nodegroup-name", "shop"),
    )
}
