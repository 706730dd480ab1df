//! Commands of clusters as they are typed, against an AWS that a test makes up.

use std::os::unix::fs::PermissionsExt as _;

use eks::testing::{Aws, CLUSTER, REGION, instance};
use serde_json::{Value, json};

use crate::commands::testing::{Came, Typed};

/// A folder whose files of AWS lead to the stand-in.
fn typed(aws: &Aws) -> Typed {
    Typed::of_aws(aws, &format!("cluster = \"{CLUSTER}\"\n"))
}

#[track_caller]
fn refused(came: &Came, exit: u8, code: &str) -> Value {
    let error = came.error();
    assert_eq!((came.exit, error["code"].as_str()), (exit, Some(code)), "{}", came.stderr);
    assert!(!error["hints"].as_array().unwrap().is_empty(), "{error}");
    error
}

fn codes(document: &Value) -> Vec<&str> {
    document["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn clusters_are_listed_in_every_form() {
    let aws = Aws::start().await;
    aws.eks_answers("GET /clusters", json!({"clusters": [CLUSTER, "secret"]}));
    aws.refuse("GET /clusters/secret", 403, "AccessDeniedException", "not authorized");
    let typed = typed(&aws);
    let table = typed.run(&["cluster", "list"]).await;
    assert_eq!(table.exit, 0, "{}", table.stderr);
    for part in ["rtc-dev *", "ACTIVE", "1.33", "not seen"] {
        assert!(table.stdout.contains(part), "{part}: {}", table.stdout);
    }
    assert!(table.stderr.contains("CLU020"), "{}", table.stderr);
    assert!(typed.run(&["cluster", "list", "-o", "wide"]).await.stdout.contains("vpc-1"));
    assert_eq!(typed.run(&["cluster", "list", "-o", "name"]).await.stdout, "rtc-dev\nsecret\n");
    let document = typed.run(&["cluster", "list", "-o", "json"]).await.json();
    assert_eq!(
        (document["schema"].as_str(), codes(&document)),
        (Some("rtcctl/cluster/list/v1"), vec!["CLU020"])
    );
    assert_eq!(document["data"]["clusters"][0]["cluster"]["status"], "ACTIVE");
    assert!(typed.run(&["cluster", "list", "-o", "yaml"]).await.stdout.contains("name: rtc-dev"));
}

#[tokio::test]
async fn a_cluster_its_nodes_and_its_room_are_shown() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    let info = typed.run(&["cluster", "info"]).await;
    assert_eq!((info.exit, info.stderr.as_str()), (0, ""));
    for part in
        ["1.33 (eks.12)", "standard support", "1.34, 1.35", "203.0.113.0/24", "vpc-cni", "1 of 1 pass"]
    {
        assert!(info.stdout.contains(part), "{part}: {}", info.stdout);
    }
    let nodes = typed.run(&["cluster", "nodes", "-o", "wide"]).await;
    for part in ["3 of 3", "1.33.4-20260220", "batch=yes:NO_SCHEDULE", "ap-northeast-2c", "subnet-b"] {
        assert!(nodes.stdout.contains(part), "{part}: {}", nodes.stdout);
    }
    assert_eq!(typed.run(&["cluster", "nodes", "-o", "name"]).await.stdout, "i-0a\ni-1b\ni-2c\n");
    let capacity = typed.run(&["cluster", "capacity", "--surge", "70"]).await;
    assert_eq!(capacity.exit, 0, "{}", capacity.stderr);
    for part in [
        "66 of 87 certainly free",
        "70 more fit when more nodes have joined: one node",
        "m6i.large",
        "10.0.1.0/24",
    ] {
        assert!(capacity.stdout.contains(part), "{part}: {}", capacity.stdout);
    }
    assert!(capacity.stderr.contains("CLU038"), "{}", capacity.stderr);
    let prefixes = typed.run(&["cluster", "capacity", "--addresses", "prefixes", "-o", "json"]).await.json();
    assert_eq!(prefixes["data"]["types"][1]["pods_per_node"], 110);
}

#[tokio::test]
async fn pods_are_counted_where_the_cluster_is_asked() {
    let (aws, api) = (Aws::start().await, kubernetes::testing::Api::new());
    let address = api.serve().await.unwrap();
    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["endpoint"] = format!("http://{address}").into();
    });
    for (name, node, phase) in
        [("a", 0, "Running"), ("b", 0, "Pending"), ("c", 1, "Running"), ("d", 1, "Succeeded")]
    {
        let node = format!("ip-10-0-0-{node}.{REGION}.compute.internal");
        api.given(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}, "status": {"phase": phase},
        }));
    }
    let typed = typed(&aws);
    let counted = typed.run(&["cluster", "capacity", "--pods", "-o", "json"]).await.json();
    assert_eq!((codes(&counted), &counted["data"]["types"][1]["pods_free"]), (vec![], &json!(87 - 3)));
    assert!(
        api.asked()
            .iter()
            .all(|asked| asked.token.as_deref().is_some_and(|token| token.starts_with("k8s-aws-v1.")))
    );
    // Where it does not let us, what AWS says is told.
    api.forbid("list", "pods");
    let came = typed.run(&["cluster", "capacity", "--pods", "-o", "json"]).await;
    assert_eq!((came.exit, codes(&came.json())), (0, vec!["CLU020"]));
    assert_eq!(came.json()["data"]["types"][1]["pods_free"], 66);
}

#[tokio::test]
async fn a_surge_without_room_is_a_breach_and_one_that_nobody_can_judge_is_inconclusive() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    let came = typed.run(&["cluster", "capacity", "--surge", "1000", "-o", "json"]).await;
    assert_eq!((came.exit, came.json()["status"].as_str()), (30, Some("too_small")));
    assert_eq!(codes(&came.json()), ["CLU038"]);
    aws.refuse("ec2 DescribeInstances", 403, "UnauthorizedOperation", "no");
    let came = typed.run(&["cluster", "capacity", "--surge", "5", "-o", "json"]).await;
    assert_eq!((came.exit, came.json()["status"].as_str()), (31, Some("inconclusive")));
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_a_finding_and_hides_nothing() {
    let aws = Aws::start().await;
    aws.refuse(&format!("POST /clusters/{CLUSTER}/insights"), 403, "AccessDeniedException", "not authorized");
    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["health"] =
            json!({"issues": [{"code": "Ec2SecurityGroupNotFound", "message": "it is gone", "resourceIds": ["sg-1"]}]});
    });
    let came = typed(&aws).run(&["cluster", "info", "-o", "json"]).await;
    let document = came.json();
    assert_eq!((came.exit, document["status"].as_str()), (0, Some("degraded")));
    assert_eq!(codes(&document), ["CLU022", "CLU020"]);
    assert_eq!(document["data"]["addons"][0]["name"], "vpc-cni");
    assert!(document["findings"][1]["hints"][0].as_str().unwrap().contains("eks:ListInsights"));
}

#[tokio::test]
async fn machines_that_are_missing_are_told() {
    let aws = Aws::start().await;
    let nodes = instance(0, "a", "running", 1, 0);
    let content =
        format!("<reservationSet><item><instancesSet>{nodes}</instancesSet></item></reservationSet>");
    aws.ec2_answers("DescribeInstances", &content);
    let document = typed(&aws).run(&["cluster", "nodes", "-o", "json"]).await.json();
    assert_eq!(codes(&document), ["CLU032"]);
}

#[tokio::test]
async fn a_token_is_what_kubectl_reads_under_every_form() {
    let aws = Aws::start().await;
    let mut typed = typed(&aws);
    for form in ["table", "json", "yaml", "name"] {
        let came = typed.run(&["cluster", "token", "-o", form]).await;
        assert_eq!((came.exit, came.stderr.as_str()), (0, ""));
        let credential = came.json();
        assert_eq!(
            (credential["kind"].as_str(), credential["apiVersion"].as_str()),
            (Some("ExecCredential"), Some("client.authentication.k8s.io/v1"))
        );
        assert!(credential["status"]["token"].as_str().unwrap().starts_with("k8s-aws-v1."));
        let expires = credential["status"]["expirationTimestamp"].as_str().unwrap();
        assert!(expires.len() == "2026-03-01T09:14:00Z".len() && expires.ends_with('Z'), "{expires}");
    }
    let raw = typed
        .run(&["cluster", "token", "--raw", "--cluster", "other", "--region", "cn-north-1"])
        .await
        .stdout;
    assert!(raw.starts_with("k8s-aws-v1.") && raw.trim_end().lines().count() == 1, "{raw}");
    typed.set(
        "KUBERNETES_EXEC_INFO",
        r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential"}"#,
    );
    let credential = typed.run(&["cluster", "token"]).await.json();
    assert_eq!(credential["apiVersion"], "client.authentication.k8s.io/v1beta1");
    // Nothing is asked of AWS for it.
    assert!(aws.take_asked().is_empty());
}

/// What somebody has already, with things that a careless writer loses.
const OTHERS: &str = "# mine\napiVersion: v1\nkind: Config\ncurrent-context: home\npreferences:\n  colors: true\nclusters:\n\
    - name: home\n  cluster:\n    server: https://10.0.0.1:6443\n    insecure-skip-tls-verify: true\nusers:\n- name: me\n  user:\n    \
    exec:\n      apiVersion: client.authentication.k8s.io/v1beta1\n      command: aws\n      env:\n      - name: X\n        value: \"true\"\n\
    contexts:\n- name: home\n  context: {cluster: home, user: me, namespace: \"007\"}\nextensions:\n- name: e\n  extension: 1\n";

#[tokio::test]
async fn a_kubeconfig_gets_the_cluster_once_and_loses_nothing() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    typed.write("kube", OTHERS.as_bytes());
    let path = typed.path("kube");
    let words = ["cluster", "kubeconfig", "--kubeconfig", "kube", "-o", "json"];
    let came = typed.run(&words).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(codes(&came.json()), ["CLU040", "CLU039"]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = |text: &str| manifests::yaml::read(text).unwrap().pop().unwrap();
    let (before, after) = (read(OTHERS), read(&text));
    for list in ["clusters", "users", "contexts"] {
        assert_eq!(after[list][0], before[list][0], "{list}");
        assert_eq!(after[list].as_array().map(Vec::len), Some(2), "{list}");
    }
    for key in ["preferences", "extensions", "current-context"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["users"][1]["user"]["exec"]["args"][3], CLUSTER);
    // Once more: the file is not even touched.
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let again = typed.run(&words).await;
    assert_eq!((again.exit, again.json()["data"]["is_changed"].as_bool()), (0, Some(false)));
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), modified);
    let current = typed.run(&[&words[..], &["--set-current", "--alias", "shop"]].concat()).await;
    assert_eq!(current.exit, 0, "{}", current.stderr);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(read(&text)["current-context"], "shop");
    assert!(!typed.path("kube.lock").exists());
    let runs = typed.run(&["runs", "list", "-o", "json"]).await.json();
    assert_eq!(runs["data"].as_array().map(Vec::len), Some(2), "{runs}");
}

#[tokio::test]
async fn what_is_only_shown_is_not_written() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    let shown = typed.run(&["cluster", "kubeconfig", "--aws-profile", "default", "-o", "yaml"]).await;
    let alone = manifests::yaml::read(&shown.stdout).unwrap().pop().unwrap();
    assert_eq!(alone["users"][0]["user"]["exec"]["args"][7], "default", "{}", shown.stdout);
    let described = typed.run(&["cluster", "kubeconfig", "--dry-run"]).await;
    assert!(
        described.stdout.contains("would be written")
            && described.stdout.contains("certificate-authority-data")
    );
    assert!(!typed.path(".kube").exists());
    // The usual place is made, and is the owner's alone.
    assert_eq!(typed.run(&["cluster", "kubeconfig"]).await.exit, 0);
    assert_eq!(std::fs::metadata(typed.path(".kube")).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(typed.path(".kube/config").is_file());
}

#[tokio::test]
async fn of_several_kubeconfigs_the_one_that_has_the_context_is_written() {
    let aws = Aws::start().await;
    let mut typed = typed(&aws);
    typed.write("first", b"{}\n");
    typed.set("KUBECONFIG", "absent:first:second");
    let file =
        |came: &Came| came.json()["data"]["file"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(file(&typed.run(&["cluster", "kubeconfig", "-o", "json"]).await), "first");
    std::fs::rename(typed.path("first"), typed.path("second")).unwrap();
    typed.write("first", b"{}\n");
    assert_eq!(file(&typed.run(&["cluster", "kubeconfig", "-o", "json"]).await), "second");
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_changed_is_left_as_it_is() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    let words = |file| ["cluster", "kubeconfig", "--kubeconfig", file, "-o", "json"];
    for (name, text) in
        [("pod", "kind: Pod\n"), ("list", "- a\n"), ("broken", "a: [\n"), ("two", "a: 1\n---\nb: 2\n")]
    {
        typed.write(name, text.as_bytes());
        refused(&typed.run(&words(name)).await, 3, "CLU010");
        assert_eq!(std::fs::read_to_string(typed.path(name)).unwrap(), text);
    }
    typed.write("others", OTHERS.as_bytes());
    refused(&typed.run(&[&words("others")[..], &["--alias", "home"]].concat()).await, 8, "CLU011");
    typed.write("others.lock", b"");
    let error = refused(&typed.run(&words("others")).await, 8, "CLU012");
    assert!(error["hints"][0].as_str().unwrap().contains("others.lock"));
    assert!(typed.path("others.lock").exists(), "the lock of somebody else");
    assert_eq!(std::fs::read_to_string(typed.path("others")).unwrap(), OTHERS);
    refused(&typed.run(&words("pod/x")).await, 3, "CLU013");
}

#[tokio::test]
async fn a_link_to_a_kubeconfig_stays_one() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    typed.write("real", OTHERS.as_bytes());
    std::os::unix::fs::symlink(typed.path("real"), typed.path("link")).unwrap();
    assert_eq!(typed.run(&["cluster", "kubeconfig", "--kubeconfig", "link"]).await.exit, 0);
    assert!(typed.path("link").is_symlink());
    assert!(std::fs::read_to_string(typed.path("real")).unwrap().contains(CLUSTER));
}

#[tokio::test]
async fn each_failure_has_its_code_and_its_exit() {
    let address = format!("GET /clusters/{CLUSTER}");
    for (status, aws_code, exit, code) in [
        (403, "AccessDeniedException", 4, "CLU005"),
        (403, "UnrecognizedClientException", 4, "CLU003"),
        (403, "ExpiredTokenException", 4, "CLU004"),
        (429, "ThrottlingException", 9, "CLU006"),
        (503, "ServiceUnavailableException", 9, "CLU007"),
        (400, "InvalidParameterException", 3, "CLU008"),
    ] {
        let aws = Aws::start().await;
        aws.refuse(&address, status, aws_code, "because");
        let typed = typed(&aws);
        for command in ["info", "nodes", "capacity", "kubeconfig"] {
            refused(&typed.run(&["cluster", command, "-o", "json"]).await, exit, code);
        }
    }
    let aws = Aws::start().await;
    aws.change(&address, |body| {
        body["cluster"]["status"] = "CREATING".into();
        body["cluster"].as_object_mut().unwrap().remove("endpoint");
    });
    refused(&typed(&aws).run(&["cluster", "kubeconfig", "-o", "json"]).await, 9, "CLU009");
}

#[tokio::test]
async fn a_cluster_that_is_not_there_or_not_named_is_helped() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    let hint = |error: Value| error["hints"][0].as_str().unwrap().to_owned();
    let near = typed.run(&["cluster", "info", "--cluster", "rtc-dve", "-o", "json"]).await;
    assert_eq!(hint(refused(&near, 5, "CLU002")), "did you mean rtc-dev?");
    let far = typed.run(&["cluster", "info", "--cluster", "completely-else", "-o", "json"]).await;
    assert_eq!(hint(refused(&far, 5, "CLU002")), "there are rtc-dev");
    aws.eks_answers("GET /clusters", json!({"clusters": []}));
    let none = typed.run(&["cluster", "info", "--cluster", "rtc", "-o", "json"]).await;
    assert!(hint(refused(&none, 5, "CLU002")).contains("has none in this account"));
    let unnamed = typed.run(&["cluster", "info", "--env", "local", "-o", "json"]).await;
    assert!(hint(refused(&unnamed, 3, "CLU001")).contains("--cluster NAME"));
    refused(&typed.run(&["cluster", "token", "--cluster", "a/b", "-o", "json"]).await, 3, "CLU008");
}

#[tokio::test]
async fn terraform_names_the_cluster_where_nobody_else_does() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    let script = "#!/bin/sh\nprintf '{\"rtc\":{\"value\":{\"region\":\"eu-west-1\",\"cluster\":{\"name\":\"rtc-dev\"}}}}'\n";
    typed.write("terraform.sh", script.as_bytes());
    std::fs::set_permissions(typed.path("terraform.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(typed.path("tf/.terraform")).unwrap();
    let description = "[environments.dev]\nterraform = \"tf\"\nterraform_binary = \"./terraform.sh\"\n";
    typed.write("rtc.toml", description.as_bytes());
    let shown = typed.run(&["cluster", "kubeconfig", "-o", "yaml"]).await;
    assert_eq!(shown.exit, 0, "{}", shown.stderr);
    let alone = manifests::yaml::read(&shown.stdout).unwrap().pop().unwrap();
    let args = &alone["users"][0]["user"]["exec"]["args"];
    assert_eq!((args[3].as_str(), args[5].as_str()), (Some("rtc-dev"), Some("eu-west-1")));
    typed.write("terraform.sh", b"#!/bin/sh\nprintf '{}'\n");
    refused(&typed.run(&["cluster", "info", "-o", "json"]).await, 3, "CLU001");
}

#[tokio::test]
async fn the_deadline_is_kept() {
    let aws = Aws::start().await;
    let typed = typed(&aws);
    let error = refused(&typed.run(&["cluster", "info", "--timeout", "0", "-o", "json"]).await, 6, "CLU014");
    assert!(error["message"].as_str().unwrap().starts_with("not done after"));
}
