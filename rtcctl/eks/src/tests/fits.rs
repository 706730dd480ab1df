//! How many pods fit.

use serde_json::json;

use crate::What;
use crate::capacity::{Addressing, Capacity, Fit, Growth, Interfaces, Limits, Room, Subnet};
use crate::testing::{Aws, CLUSTER, instance};

fn limits(name: &str, vcpus: u32, interfaces: u32, addresses: u32) -> Limits {
    Limits {
        instance_type: name.to_owned(),
        vcpus,
        memory_mib: 0,
        interfaces,
        addresses_per_interface: addresses,
        is_nitro: name != "t2.medium",
    }
}

/// The numbers are those of AWS's own list of maximum pods (`eni-max-pods.txt`), and of its bounds.
#[test]
fn pods_on_a_node_follow_the_published_list() {
    use Addressing::{Prefixes, Secondary};
    use Interfaces::{All, AllButFirst};
    for (limits, addressing, interfaces, pods) in [
        (limits("t3.micro", 2, 2, 2), Secondary, All, 4),
        (limits("t3.medium", 2, 3, 6), Secondary, All, 17),
        (limits("m5.large", 2, 3, 10), Secondary, All, 29),
        (limits("m5.xlarge", 4, 4, 15), Secondary, All, 58),
        (limits("m5.4xlarge", 16, 8, 30), Secondary, All, 110),
        (limits("m5.24xlarge", 96, 15, 50), Secondary, All, 250),
        (limits("m5.large", 2, 3, 10), Prefixes, All, 110),
        (limits("m5.8xlarge", 32, 8, 30), Prefixes, All, 250),
        (limits("t3.micro", 2, 2, 2), Prefixes, All, 34),
        (limits("m5.large", 2, 3, 10), Secondary, AllButFirst, 20),
        (limits("t2.medium", 2, 3, 6), Prefixes, All, 17),
        (limits("t3.nano", 2, 0, 0), Secondary, AllButFirst, 2),
    ] {
        assert_eq!(limits.pods_max(addressing, interfaces), pods, "{limits:?} {addressing:?} {interfaces:?}");
    }
}

fn capacity(nodes: u32, free: u32, growth: u32, addresses: u32) -> Capacity {
    Capacity {
        cluster: CLUSTER.to_owned(),
        addressing: Addressing::Secondary,
        interfaces: Interfaces::All,
        addressing_from: "a test",
        ip_family: "ipv4".to_owned(),
        are_pods_counted: false,
        types: vec![Room {
            limits: limits("m5.large", 2, 3, 10),
            nodes,
            pods_per_node: 29,
            pods_max: 29 * nodes,
            pods_free: free,
        }],
        growth: vec![Growth { group: "shop".to_owned(), nodes: growth, pods_per_node: 29 }],
        subnets: vec![
            Subnet { id: "a".to_owned(), zone: "a".to_owned(), cidr: "c".to_owned(), free: addresses, nodes },
            Subnet { id: "b".to_owned(), zone: "b".to_owned(), cidr: "c".to_owned(), free: 0, nodes: 0 },
        ],
        missing: Vec::new(),
    }
}

#[test]
fn a_surge_fits_or_wants_nodes_or_does_not() {
    for (free, growth, addresses, surge, fit) in [
        (10, 0, 200, 10, Fit::Now),
        (10, 0, 200, 0, Fit::Now),
        (10, 0, 200, 11, Fit::TooMany(1)),
        (10, 1, 200, 11, Fit::WithNodes(1)),
        (10, 1, 200, 37, Fit::WithNodes(1)),
        (10, 2, 200, 38, Fit::WithNodes(2)),
        (10, 1, 200, 38, Fit::TooMany(1)),
        (10, 0, 9, 10, Fit::NoAddresses(1)),
        (10, 1, 11, 11, Fit::NoAddresses(1)),
        (10, 1, 12, 11, Fit::WithNodes(1)),
    ] {
        assert_eq!(
            capacity(3, free, growth, addresses).fit(surge),
            fit,
            "{free} {growth} {addresses} {surge}"
        );
    }
    // A prefix is taken whole, and addresses of IPv6 do not end.
    let prefixes = Capacity { addressing: Addressing::Prefixes, ..capacity(3, 10, 0, 15) };
    assert_eq!(prefixes.fit(1), Fit::NoAddresses(1));
    let six = Capacity { ip_family: "ipv6".to_owned(), ..prefixes };
    assert_eq!(six.fit(1), Fit::Now);
    assert!(six.concerns(None).is_empty());
}

#[test]
fn what_does_not_fit_is_a_concern() {
    let what = |capacity: &Capacity, surge| -> Vec<What> {
        capacity.concerns(surge).into_iter().map(|concern| concern.what).collect()
    };
    assert_eq!(what(&capacity(3, 10, 1, 200), Some(5)), [What::FewAddresses]);
    assert_eq!(what(&capacity(3, 10, 1, 200), Some(11)), [What::SurgeNeedsNodes, What::FewAddresses]);
    assert_eq!(what(&capacity(3, 10, 0, 200), Some(11)), [What::SurgeDoesNotFit, What::FewAddresses]);
    assert_eq!(what(&capacity(3, 0, 0, 200), None), [What::NoFreePods, What::FewAddresses]);
}

#[tokio::test]
async fn capacity_is_read_from_interfaces_types_and_subnets() {
    let aws = Aws::start().await;
    let capacity = aws.eks().capacity(CLUSTER, None, None).await.unwrap();
    assert_eq!(
        (capacity.addressing, capacity.addressing_from),
        (Addressing::Secondary, "nothing says otherwise")
    );
    let rooms: Vec<(&str, u32, u32, u32)> = capacity
        .types
        .iter()
        .map(|room| (room.limits.instance_type.as_str(), room.nodes, room.pods_per_node, room.pods_free))
        .collect();
    // Five addresses are held on each node, and two pods need none.
    assert_eq!(rooms, [("c6g.xlarge", 0, 58, 0), ("m6i.large", 3, 29, 3 * (29 - 7))]);
    let growth: Vec<(&str, u32, u32)> =
        capacity.growth.iter().map(|one| (one.group.as_str(), one.nodes, one.pods_per_node)).collect();
    assert_eq!(growth, [("batch", 4, 58), ("shop", 3, 29)]);
    let subnets: Vec<(&str, u32, u32)> =
        capacity.subnets.iter().map(|subnet| (subnet.id.as_str(), subnet.free, subnet.nodes)).collect();
    assert_eq!(subnets, [("subnet-a", 200, 1), ("subnet-b", 200, 1), ("subnet-c", 200, 1)]);
    assert_eq!((capacity.pods_free(), capacity.fit(66), capacity.fit(67)), (66, Fit::Now, Fit::WithNodes(1)));
}

#[tokio::test]
async fn prefixes_are_known_by_settings_by_interfaces_and_by_the_operator() {
    let settings = format!("GET /clusters/{CLUSTER}/addons/vpc-cni");
    let aws = Aws::start().await;
    aws.change(&settings, |body| {
        body["addon"]["configurationValues"] = json!({"env": {
            "ENABLE_PREFIX_DELEGATION": "true", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true",
        }})
        .to_string()
        .into();
    });
    let capacity = aws.eks().capacity(CLUSTER, None, None).await.unwrap();
    assert_eq!((capacity.addressing, capacity.interfaces), (Addressing::Prefixes, Interfaces::AllButFirst));

    let aws = Aws::start().await;
    // Without the add-on, whoever installed the plugin himself is seen by what it does.
    aws.refuse(&settings, 404, "ResourceNotFoundException", "no addon");
    let nodes = instance(0, "a", "running", 0, 2);
    let content =
        format!("<reservationSet><item><instancesSet>{nodes}</instancesSet></item></reservationSet>");
    aws.ec2_answers("DescribeInstances", &content);
    let capacity = aws.eks().capacity(CLUSTER, None, None).await.unwrap();
    assert_eq!(
        (capacity.addressing, capacity.addressing_from),
        (Addressing::Prefixes, "the interfaces of nodes")
    );
    assert!(capacity.missing.is_empty());
    assert_eq!((capacity.pods_max(), capacity.pods_free()), (110, 110 - 32 - 2));
    let capacity = aws.eks().capacity(CLUSTER, Some(Addressing::Secondary), None).await.unwrap();
    assert_eq!((capacity.addressing, capacity.pods_max()), (Addressing::Secondary, 29));
}

#[tokio::test]
async fn where_nodes_may_not_be_seen_nothing_is_said_of_a_surge() {
    let aws = Aws::start().await;
    for action in ["DescribeInstances", "DescribeInstanceTypes", "DescribeSubnets"] {
        aws.refuse(&format!("ec2 {action}"), 403, "UnauthorizedOperation", "you are not authorized");
    }
    let capacity = aws.eks().capacity(CLUSTER, None, None).await.unwrap();
    assert_eq!((capacity.missing.len(), capacity.fit(5)), (3, Fit::Unknown));
    assert!(capacity.concerns(Some(5)).iter().all(|concern| concern.what == What::NotSeen));
}

#[tokio::test]
async fn where_the_cluster_says_how_many_pods_run_they_are_counted() {
    let aws = Aws::start().await;
    let name = |index: usize| format!("ip-10-0-0-{index}.ap-northeast-2.compute.internal");
    let running = [(name(0), 29), (name(1), 4), ("another".to_owned(), 50)].into();
    let capacity = aws.eks().capacity(CLUSTER, None, Some(&running)).await.unwrap();
    assert_eq!((capacity.are_pods_counted, capacity.pods_free()), (true, 25 + 29));
}
