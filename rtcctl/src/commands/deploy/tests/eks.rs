//! A cluster of EKS: reached with tokens of our own making, and what EKS says about trouble in it.

use eks::testing::{Aws, CLUSTER, OPERATOR, REGION, entry_at, instance};
use kubernetes::testing::behaviour::Behaviour;
use kubernetes::testing::{Api, Control, What};
use kubernetes::write::Apply;
use serde_json::{Value, json};

use crate::commands::testing::Typed;

/// A played cluster that EKS knows, and a folder whose environment names it and nothing else.
async fn place() -> (Aws, Api, Typed) {
    let (aws, api) = (Aws::start().await, Api::new());
    api.node(&node(0), 50, 4, 8);
    api.node(&node(1), 50, 4, 8);
    api.namespace("rtc");
    let address = api.serve().await.unwrap();
    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["endpoint"] = format!("http://{address}").into();
    });
    let typed = Typed::of_aws(&aws, &format!("kind = \"remote\"\ncluster = \"{CLUSTER}\"\n"));
    (aws, api, typed)
}

fn node(index: usize) -> String {
    format!("ip-10-0-0-{index}.{REGION}.compute.internal")
}

async fn deploy(api: &Api, replicas: u32) {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "orders", "namespace": "rtc", "labels": { "app.kubernetes.io/part-of": "rtc" } },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": "orders" } },
            "template": {
                "metadata": { "labels": { "app": "orders" } },
                "spec": { "containers": [{ "name": "orders", "image": "example.com/orders:1" }] },
            },
        },
    });
    api.cluster().apply(&object, &Apply::default()).await.unwrap();
    api.settle(9);
}

/// The lines of other layers about the only trouble.
async fn seen(typed: &Typed, code: &str) -> String {
    let came = typed.run(&["deploy", "diagnose", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let troubles = came.json()["data"]["troubles"].clone();
    let found = troubles.as_array().unwrap().iter().find(|one| one["code"] == code);
    let found = found.unwrap_or_else(|| panic!("no {code} in {troubles:#}"));
    let lines = found["seen"].as_array().unwrap().iter().filter_map(Value::as_str);
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_cluster_is_watched_with_tokens_that_are_renewed_when_one_is_refused() {
    let (_aws, api, typed) = place().await;
    deploy(&api, 1).await;
    let before = api.asked().len();
    let played = api.clone();
    let step = std::cell::Cell::new(0);
    let came = typed
        .run_until_said(&["deploy", "status", "--watch"], |said| {
            if said.contains("well deployment/orders 1/1") && step.get() == 0 {
                // Every watch breaks, and the way back asks for another token.
                played.fault("GET", "watch=true", What::Status(401, "Unauthorized".to_owned()), 1);
                played.control(Control::Cut);
                played.autoscale("rtc", "orders", 2);
                played.settle(20);
                step.set(1);
            }
            said.contains("well deployment/orders 2/2")
        })
        .await;
    assert_eq!(came.exit, 130, "{}", came.stderr);
    let asked = api.asked().split_off(before);
    assert!(asked.iter().any(|asked| asked.path.contains("watch=true")));
    let is_signed =
        |token: &Option<String>| token.as_deref().is_some_and(|token| token.starts_with("k8s-aws-v1."));
    assert!(asked.iter().all(|asked| is_signed(&asked.token)));
    assert!(!came.stderr.contains("k8s-aws-v1") && !came.stdout.contains("k8s-aws-v1"));
}

#[tokio::test]
async fn no_room_is_told_with_what_keeps_the_node_groups_small() {
    let (aws, api, typed) = place().await;
    api.behave("orders", Behaviour::Unschedulable { node_coming: false });
    deploy(&api, 1).await;
    aws.change(&format!("GET /clusters/{CLUSTER}/node-groups/shop"), |body| {
        let group = &mut body["nodegroup"];
        group["status"] = "DEGRADED".into();
        group["scalingConfig"]["maxSize"] = 3.into();
        group["health"] = json!({"issues": [{
            "code": "AsgInstanceLaunchFailures", "message": "no m6i.large in ap-northeast-2a", "resourceIds": ["asg-1"],
        }]});
    });
    let lines = seen(&typed, "ROL020").await;
    for part in [
        "EKS: shop: AsgInstanceLaunchFailures: no m6i.large in ap-northeast-2a (asg-1)",
        "allow more types or zones",
        "EKS: the node group shop is DEGRADED",
        "EKS: node group shop has as many nodes as it may: 3",
        "EKS: node group batch has 0 of at most 4 nodes, for what tolerates batch=yes:NO_SCHEDULE",
        &format!("node {} has", node(0)),
    ] {
        assert!(lines.contains(part), "{part} in\n{lines}");
    }
}

#[tokio::test]
async fn a_lost_node_is_told_with_what_became_of_its_machine() {
    let (aws, api, typed) = place().await;
    deploy(&api, 2).await;
    let reason = "<stateReason><code>Server.SpotInstanceTermination</code><message>Server.SpotInstanceTermination: \
                  reclaimed</message></stateReason>";
    let stopping =
        instance(0, "a", "shutting-down", 1, 0).replace("<placement>", &format!("{reason}<placement>"));
    let content =
        format!("<reservationSet><item><instancesSet>{stopping}</instancesSet></item></reservationSet>");
    aws.ec2_answers("DescribeInstances", &content);
    api.lose_node(&node(0));
    let lines = seen(&typed, "ROL040").await;
    assert!(
        lines.contains("the machine i-0a of the node is shutting-down: Server.SpotInstanceTermination"),
        "{lines}"
    );
    assert!(lines.contains("EKS: 0 of 3 nodes of shop are running"), "{lines}");
    aws.ec2_answers("DescribeInstances", "<reservationSet/>");
    let lines = seen(&typed, "ROL040").await;
    assert!(lines.contains(&format!("EC2 has no machine {} any more", node(0))), "{lines}");
}

#[tokio::test]
async fn a_pod_without_an_address_is_told_with_the_subnets_that_have_none() {
    let (aws, api, typed) = place().await;
    api.behave("orders", Behaviour::NeverCreated);
    deploy(&api, 1).await;
    let pod = &api.objects("Pod", "rtc")[0]["metadata"];
    api.given(&json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e", "namespace": "rtc" }, "type": "Warning",
        "reason": "FailedCreatePodSandBox", "message": "plugin type=\"aws-cni\": failed to assign an IP address",
        "involvedObject": { "kind": "Pod", "name": pod["name"], "namespace": "rtc", "uid": pod["uid"] },
    }));
    let lines = seen(&typed, "ROL025").await;
    assert!(lines.contains("every subnet of the nodes has addresses") && lines.contains("200"), "{lines}");
    aws.ec2_answers(
        "DescribeSubnets",
        "<subnetSet><item><subnetId>subnet-a</subnetId><cidrBlock>10.0.0.0/28</cidrBlock>\
         <availableIpAddressCount>1</availableIpAddressCount><availabilityZone>ap-northeast-2a</availabilityZone></item></subnetSet>",
    );
    let lines = seen(&typed, "ROL025").await;
    assert!(lines.contains("1 addresses are free in subnet-a"), "{lines}");
}

#[tokio::test]
async fn what_aws_does_not_answer_is_said_and_hides_nothing() {
    let (aws, api, typed) = place().await;
    api.behave("orders", Behaviour::Unschedulable { node_coming: false });
    deploy(&api, 1).await;
    let groups = format!("GET /clusters/{CLUSTER}/node-groups");
    aws.refuse(&groups, 403, "AccessDeniedException", "not authorized");
    let lines = seen(&typed, "ROL020").await;
    assert!(lines.contains("eks:ListNodegroups") && lines.contains("the pod asks for"), "{lines}");
}

#[tokio::test]
async fn nothing_is_asked_of_eks_about_what_it_cannot_explain_nor_about_another_cluster() {
    let (aws, api, mut typed) = place().await;
    api.behave("orders", Behaviour::ImageMissing);
    deploy(&api, 1).await;
    seen(&typed, "ROL001").await;
    let describe = format!("GET /clusters/{CLUSTER}");
    assert_eq!(aws.take_asked(), [describe.as_str()], "the address of the API, and nothing else");
    // A context that leads somewhere else than the environment's cluster is.
    let other = Api::new();
    other.namespace("rtc");
    other.behave("orders", Behaviour::Unschedulable { node_coming: false });
    deploy(&other, 1).await;
    let address = other.serve().await.unwrap();
    Api::write_kubeconfig(&typed.path("kubeconfig"), address, "t").unwrap();
    let file = typed.path("kubeconfig").display().to_string();
    typed.set("RTCCTL_KUBECONFIG", &file);
    typed.set("RTCCTL_CONTEXT", "test");
    let lines = seen(&typed, "ROL020").await;
    assert!(lines.contains(&format!("EKS was not asked: the API of its cluster {CLUSTER} is ")), "{lines}");
    assert_eq!(aws.take_asked(), [describe.as_str()]);
    // Nor is its refusal explained by who is let into the other.
    other.accept(&["another"]);
    let came = typed.run(&["deploy", "diagnose", "-o", "json"]).await;
    let said = came.error().to_string();
    assert_eq!((came.exit, came.error()["code"].as_str()), (4, Some("KUB002")), "{}", came.stderr);
    assert!(said.contains("EKS was not asked") && !said.contains("AWS knows us"), "{said}");
    assert_eq!(aws.take_asked(), [describe]);
}

#[tokio::test]
async fn a_refusal_is_told_with_what_the_access_entries_say() {
    let (aws, api, typed) = place().await;
    deploy(&api, 1).await;
    let diagnose = ["deploy", "diagnose", "-o", "json"];
    api.accept(&["another"]);
    let came = typed.run(&diagnose).await;
    let error = came.error();
    assert_eq!((came.exit, error["code"].as_str()), (4, Some("KUB002")), "{}", came.stderr);
    let said = error.to_string();
    assert!(
        said.contains("AWS knows us as arn:aws:sts::123456789012:assumed-role/operator/somebody"),
        "{said}"
    );
    assert!(said.contains(&format!("the access entry {OPERATOR} lets us in as")), "{said}");
    assert!(said.contains("groups: shop; policies: AmazonEKSClusterAdminPolicy"), "{said}");

    aws.we_are("arn:aws:sts::123456789012:assumed-role/stranger/x");
    let said = typed.run(&diagnose).await.error().to_string();
    assert!(said.contains("none of the 2 access entries of rtc-dev is for us"), "{said}");
    assert!(said.contains("--principal-arn arn:aws:iam::123456789012:role/stranger"), "{said}");

    aws.we_are("arn:aws:sts::123456789012:assumed-role/operator/somebody");
    aws.change(&format!("GET {}", entry_at(OPERATOR)), |body| {
        body["accessEntry"]["kubernetesGroups"] = json!([])
    });
    aws.change(&format!("GET {}/access-policies", entry_at(OPERATOR)), |body| {
        body["associatedAccessPolicies"][0]["accessScope"] =
            json!({"type": "namespace", "namespaces": ["other-*"]});
    });
    api.accept(&[]);
    api.forbid("list", "deployments");
    let came = typed.run(&diagnose).await;
    let error = came.error();
    assert_eq!((came.exit, error["code"].as_str()), (4, Some("KUB003")), "{}", came.stderr);
    let said = error.to_string();
    assert!(said.contains("AmazonEKSClusterAdminPolicy in other-*"), "{said}");
    assert!(said.contains("aws eks associate-access-policy") && said.contains("namespaces=rtc"), "{said}");

    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["accessConfig"] = json!({"authenticationMode": "CONFIG_MAP"});
    });
    assert!(typed.run(&diagnose).await.error().to_string().contains("ConfigMap aws-auth"));
    aws.refuse("sts GetCallerIdentity", 403, "AccessDenied", "no");
    assert!(typed.run(&diagnose).await.error().to_string().contains("sts:GetCallerIdentity"));
}
