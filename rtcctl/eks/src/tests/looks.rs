//! A cluster and its nodes as they are read, and what follows from that.

use std::collections::BTreeSet;

use kernel::Timestamp;
use serde_json::json;

use crate::testing::{Aws, CLUSTER, ca_pem, instance};
use crate::{Concern, Severity, What};

const DAY_S: i64 = 24 * 3_600;

fn now() -> Timestamp {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

fn at(rest: &str) -> String {
    format!("/clusters/{CLUSTER}{rest}")
}

fn kinds(concerns: &[Concern]) -> Vec<What> {
    concerns.iter().map(|concern| concern.what).collect()
}

#[tokio::test]
async fn the_api_of_a_cluster_is_found_with_what_it_proves_itself_with() {
    let aws = Aws::start().await;
    let endpoint = aws.eks().describe(CLUSTER).await.unwrap();
    assert!(endpoint.url.starts_with("https://") && endpoint.ca_pem == ca_pem(), "{endpoint:?}");
    assert_eq!((endpoint.version.as_str(), endpoint.status.as_str()), ("1.33", "ACTIVE"));
    assert_eq!(aws.take_asked(), [format!("GET {}", at(""))]);
}

#[tokio::test]
async fn a_healthy_cluster_is_of_no_concern() {
    let aws = Aws::start().await;
    let info = aws.eks().info(CLUSTER).await.unwrap();
    assert_eq!(info.concerns(now()), []);
    assert_eq!(info.newer_versions, ["1.34", "1.35"]);
    let cluster = &info.cluster;
    assert_eq!(cluster.logs, ["api", "audit", "authenticator"]);
    assert_eq!(cluster.created_at.map(Timestamp::as_millis), Some(1_772_355_600_500));
    assert_eq!((info.insights.len(), info.addons.len()), (1, 1));
    let nodes = aws.eks().nodes(CLUSTER).await.unwrap();
    assert_eq!(nodes.concerns(), []);
    assert_eq!((nodes.groups.len(), nodes.instances.len()), (2, 3));
    assert_eq!(nodes.groups[0].taints, ["batch=yes:NO_SCHEDULE"]);
    assert_eq!(nodes.instances[0].launched_at, Some(now()));
    assert_eq!((nodes.instances[0].interfaces, nodes.instances[0].addresses), (1, 5));
}

#[tokio::test]
async fn what_is_wrong_with_a_cluster_is_told_the_gravest_first() {
    let aws = Aws::start().await;
    aws.change(&format!("GET {}", at("")), |body| {
        let cluster = &mut body["cluster"];
        cluster["status"] = "UPDATING".into();
        cluster["resourcesVpcConfig"]["publicAccessCidrs"] = json!(["0.0.0.0/0"]);
        cluster["logging"] = json!({"clusterLogging": [{"types": ["audit"], "enabled": false}]});
        cluster["accessConfig"] = json!({"authenticationMode": "CONFIG_MAP"});
        cluster["deletionProtection"] = false.into();
        cluster["health"] = json!({"issues": [
            {"code": "Ec2SubnetNotFound", "message": "one or more subnets were deleted", "resourceIds": ["subnet-a"]},
        ]});
    });
    aws.change(&format!("POST {}", at("/insights")), |body| {
        body["insights"][0]["insightStatus"] =
            json!({"status": "ERROR", "reason": "deprecated APIs are used"});
        body["insights"][0]["name"] = "Deprecated APIs removed in Kubernetes v1.34".into();
    });
    aws.eks_answers(
        &format!("GET {}", at("/insights/i-1")),
        json!({"insight": {
            "id": "i-1", "recommendation": "move to the newer API", "insightStatus": {"status": "ERROR"},
            "resources": [{"kubernetesResourceUri": "/apis/old/v1beta1/things/a"}],
            "categorySpecificSummary": {"deprecationDetails": [{
                "usage": "/apis/old/v1beta1/things", "replacedWith": "/apis/new/v1/things", "stopServingVersion": "1.34",
                "startServingReplacementVersion": "1.30",
                "clientStats": [{"userAgent": "shop-operator", "numberOfRequestsLast30Days": 7}],
            }]},
        }}),
    );
    aws.change(&format!("GET {}", at("/addons/vpc-cni")), |body| body["addon"]["status"] = "DEGRADED".into());
    let concerns = aws.eks().info(CLUSTER).await.unwrap().concerns(now());
    let found: BTreeSet<String> = kinds(&concerns).iter().map(|what| format!("{what:?}")).collect();
    let wanted = [
        "ClusterStatus",
        "ClusterIssue",
        "OpenToAll",
        "NoAuditLog",
        "OldAuthentication",
        "NoDeletionProtection",
        "Insight",
        "Addon",
    ];
    assert_eq!(found, wanted.map(str::to_owned).into());
    assert!(concerns.is_sorted_by_key(|concern| std::cmp::Reverse(concern.severity)), "{concerns:?}");
    let insight = concerns.iter().find(|concern| concern.what == What::Insight).unwrap();
    for part in
        ["deprecated APIs are used", "gone in 1.34", "use /apis/new/v1/things", "shop-operator", "things/a"]
    {
        assert!(insight.message.contains(part), "{part}: {}", insight.message);
    }
    assert_eq!(insight.hint.as_deref(), Some("move to the newer API"));
    let issue = concerns.iter().find(|concern| concern.what == What::ClusterIssue).unwrap();
    assert_eq!(issue.message, "Ec2SubnetNotFound: one or more subnets were deleted (subnet-a)");
}

#[tokio::test]
async fn the_end_of_support_is_told_in_time() {
    let now_s = now().as_millis() / 1_000;
    for (standard, extended, policy, expected) in [
        (100, 500, "STANDARD", None),
        (
            90,
            500,
            "STANDARD",
            Some((Severity::Warning, "ends in 90 days (2026-05-30); then AWS upgrades it by itself")),
        ),
        (
            1,
            366,
            "EXTENDED",
            Some((Severity::Warning, "ends in 1 days (2026-03-02); then it costs more by the hour")),
        ),
        (-10, 355, "EXTENDED", Some((Severity::Warning, "in extended support until 2027-02-19"))),
        (-400, -1, "EXTENDED", Some((Severity::Error, "supported no longer since 2026-02-28"))),
    ] {
        let aws = Aws::start().await;
        aws.change(&format!("GET {}", at("")), |body| {
            body["cluster"]["upgradePolicy"]["supportType"] = policy.into();
        });
        aws.change("GET /cluster-versions", |body| {
            body["clusterVersions"][2]["endOfStandardSupportDate"] = (now_s + standard * DAY_S).into();
            body["clusterVersions"][2]["endOfExtendedSupportDate"] = (now_s + extended * DAY_S).into();
        });
        let concerns = aws.eks().info(CLUSTER).await.unwrap().concerns(now());
        match (concerns.as_slice(), expected) {
            ([], None) => {}
            ([concern], Some((severity, part))) => {
                assert_eq!((concern.what, concern.severity), (What::VersionSupport, severity));
                assert!(concern.message.contains(part), "{}", concern.message);
                assert_eq!(concern.hint.as_deref(), Some("the next version is 1.34"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_told_once_and_hides_nothing() {
    let aws = Aws::start().await;
    for address in [
        format!("POST {}", at("/insights")),
        format!("GET {}", at("/addons")),
        "GET /cluster-versions".to_owned(),
    ] {
        aws.refuse(&address, 403, "AccessDeniedException", "not authorized to perform this");
    }
    let info = aws.eks().info(CLUSTER).await.unwrap();
    assert_eq!((info.cluster.version.as_str(), info.missing.len()), ("1.33", 3));
    let concerns = info.concerns(now());
    assert_eq!(kinds(&concerns), [What::NotSeen, What::NotSeen, What::NotSeen]);
    let hints: Vec<&str> = concerns.iter().filter_map(|concern| concern.hint.as_deref()).collect();
    assert!(hints.iter().any(|hint| hint.contains("allow eks:ListInsights")), "{hints:?}");

    let aws = Aws::start().await;
    for group in ["shop", "batch"] {
        aws.refuse(
            &format!("GET {}", at(&format!("/node-groups/{group}"))),
            403,
            "AccessDeniedException",
            "no",
        );
    }
    aws.refuse("ec2 DescribeInstances", 403, "UnauthorizedOperation", "you are not authorized");
    let nodes = aws.eks().nodes(CLUSTER).await.unwrap();
    // Neither is it said that no node runs, where nobody could see one.
    assert_eq!(kinds(&nodes.concerns()), [What::NotSeen, What::NotSeen]);
}

#[tokio::test]
async fn what_is_asked_of_aws_is_asked_at_the_same_time() {
    let aws = Aws::start().await;
    aws.eks().info(CLUSTER).await.unwrap();
    // Four questions and what follows from their answers: no question twice.
    let asked = aws.take_asked();
    let different: BTreeSet<&String> = asked.iter().collect();
    assert_eq!((asked.len(), different.len()), (5, 5), "{asked:?}");
}

#[tokio::test]
async fn what_is_wrong_with_nodes_is_told() {
    let aws = Aws::start().await;
    aws.change(&format!("GET {}", at("/node-groups/shop")), |body| {
        let group = &mut body["nodegroup"];
        group["status"] = "DEGRADED".into();
        group["version"] = "1.30".into();
        group["releaseVersion"] = "1.30.9-20250101".into();
        group["scalingConfig"]["desiredSize"] = 5.into();
        group["health"] = json!({"issues": [{
            "code": "InsufficientFreeAddresses", "message": "the subnets have no free addresses",
            "resourceIds": ["subnet-a"],
        }]});
    });
    aws.change(&format!("GET {}", at("/node-groups/batch")), |body| {
        body["nodegroup"]["releaseVersion"] = "1.9.0-0badcafe".into();
    });
    let nodes = [
        instance(0, "a", "running", 5, 0),
        instance(1, "a", "running", 5, 0),
        instance(2, "a", "stopping", 5, 0),
    ];
    aws.ec2_answers(
        "DescribeInstances",
        &format!(
            "<reservationSet><item><instancesSet>{}</instancesSet></item></reservationSet>",
            nodes.concat()
        ),
    );
    let nodes = aws.eks().nodes(CLUSTER).await.unwrap();
    let concerns = nodes.concerns();
    let found: Vec<(What, Severity)> = concerns.iter().map(|one| (one.what, one.severity)).collect();
    assert_eq!(
        found,
        [
            (What::GroupIssue, Severity::Error),
            (What::GroupStatus, Severity::Error),
            (What::VersionSkew, Severity::Error),
            (What::MissingInstances, Severity::Warning),
            (What::OneZone, Severity::Warning),
            (What::OldImage, Severity::Info),
        ]
    );
    assert!(concerns[0].hint.as_deref().is_some_and(|hint| hint.contains("cluster capacity")));
    assert_eq!(concerns[3].message, "2 of 5 nodes of shop are running");
    let last = |index: usize| (nodes.groups[index].last_release.as_deref(), nodes.groups[index].is_behind);
    // Of 1.30 there are no images any more: nothing is said of them.
    assert_eq!((last(0), last(1)), ((Some("1.44.0-c1d2a3b4"), true), (None, false)));
}

#[tokio::test]
async fn nodes_of_other_clusters_are_not_counted() {
    let aws = Aws::start().await;
    let own = instance(0, "a", "running", 0, 0);
    let other = own.replace(CLUSTER, "other").replace("i-0a", "i-other");
    let shared =
        own.replace("owned", "shared").replace("eks:cluster-name", "name").replace("i-0a", "i-shared");
    let content = format!(
        "<reservationSet><item><instancesSet>{own}{other}{shared}</instancesSet></item></reservationSet>"
    );
    aws.ec2_answers("DescribeInstances", &content);
    let nodes = aws.eks().nodes(CLUSTER).await.unwrap();
    let ids: Vec<&str> = nodes.instances.iter().map(|instance| instance.id.as_str()).collect();
    assert_eq!(ids, ["i-0a"]);
}

#[tokio::test]
async fn clusters_are_listed_also_where_one_may_not_be_looked_at() {
    let aws = Aws::start().await;
    aws.eks_answers("GET /clusters", json!({"clusters": ["secret", CLUSTER]}));
    aws.refuse("GET /clusters/secret", 403, "AccessDeniedException", "not authorized");
    let (clusters, missing) = aws.eks().clusters().await.unwrap();
    let seen: Vec<(&str, bool)> =
        clusters.iter().map(|(name, found)| (name.as_str(), found.is_some())).collect();
    assert_eq!(seen, [(CLUSTER, true), ("secret", false)]);
    assert_eq!(missing.len(), 1);
}
