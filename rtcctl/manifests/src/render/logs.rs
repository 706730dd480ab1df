//! Fluent Bit on every node: what pods write, with whose it is, to CloudWatch and OpenSearch.
//!
//! Invariant: it lives in a namespace of its own, since it reads the node's files, which no pod of the platform may.

use serde_json::{Value, json};

use super::draft::{Draft, selector};
use super::{Object, Wave};
use crate::Release;
use crate::description::{Image, Logs};

const NAME: &str = "fluent-bit";
const HTTP: u16 = 2020;
/// Where containers' output is on a node.
const PODS: &str = "/var/log";
/// Where it remembers how far it has read.
const STATE: &str = "/var/lib/fluent-bit";

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let (Some(logs), Some(image)) = (&release.description.logs, &release.logs_image) else {
        return Vec::new();
    };
    let namespace = format!("{}-logs", release.description.namespace);
    let cluster_name = format!("{namespace}-reader");
    let of_cluster = |wave, api, kind, name| Draft::of_cluster(release, wave, api, kind, name, NAME);
    let draft = |api: &str, kind: &str, name: &str| {
        Draft::new(release, Wave::Surroundings, api, kind, name, NAME).inside(&namespace)
    };
    let ground = of_cluster(Wave::Ground, "v1", "Namespace", &namespace);
    let ground = ["enforce", "audit", "warn"].iter().fold(ground, |ground, mode| {
        ground.label(&format!("pod-security.kubernetes.io/{mode}"), "privileged")
    });
    let mut account = draft("v1", "ServiceAccount", NAME);
    let identity = &release.description.identity;
    if let (crate::description::IdentityKind::Irsa, Some(role)) = (identity.kind, identity.roles.get(NAME)) {
        account = account.annotation("eks.amazonaws.com/role-arn", role);
    }
    let authorization = "rbac.authorization.k8s.io/v1";
    let rules = json!([{ "apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["get", "list", "watch"] }]);
    let text = settings(release, logs);
    vec![
        ground.done(),
        account.with("automountServiceAccountToken", json!(false)).done(),
        of_cluster(Wave::Surroundings, authorization, "ClusterRole", &cluster_name).with("rules", rules).done(),
        of_cluster(Wave::Surroundings, authorization, "ClusterRoleBinding", &cluster_name)
            .with("roleRef", json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_name }))
            .with("subjects", json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": namespace }]))
            .done(),
        draft("v1", "ConfigMap", NAME).with("data", json!({ "fluent-bit.conf": text, "parsers.conf": PARSERS })).done(),
        Draft::new(release, Wave::Workloads, "apps/v1", "DaemonSet", NAME, NAME)
            .inside(&namespace)
            .annotation("checkov.io/skip1", "CKV_K8S_23=a node's logs are readable by root alone")
            .annotation("checkov.io/skip2", "CKV_K8S_40=a node's logs are readable by root alone")
            .annotation("checkov.io/skip3", "CKV_K8S_38=it asks the cluster whose a line is")
            .spec(daemon(release, image, &text))
            .done(),
    ]
}

const PARSERS: &str = "\
[PARSER]
    Name        cri
    Format      regex
    Regex       ^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[FP]) (?<log>.*)$
    Time_Key    time
    Time_Format %Y-%m-%dT%H:%M:%S.%L%z
    Time_Keep   On
";

/// Only the platform's own pods: others' logs are others'.
fn settings(release: &Release, logs: &Logs) -> String {
    let namespace = &release.description.namespace;
    let mut text = format!(
        "\
[SERVICE]
    Flush                     5
    Grace                     30
    Log_Level                 info
    Daemon                    Off
    HTTP_Server               On
    HTTP_Listen               0.0.0.0
    HTTP_Port                 {HTTP}
    Health_Check              On
    Parsers_File              /fluent-bit/etc/parsers.conf
    storage.path              {STATE}/buffer
    storage.sync              normal
    storage.backlog.mem_limit 16M

[INPUT]
    Name              tail
    Tag               kube.*
    Path              {PODS}/containers/*_{namespace}_*.log
    multiline.parser  cri
    DB                {STATE}/tail.db
    Mem_Buf_Limit     32MB
    Skip_Long_Lines   On
    Refresh_Interval  5
    Rotate_Wait       30
    storage.type      filesystem

[FILTER]
    Name                kubernetes
    Match               kube.*
    Merge_Log           On
    Keep_Log            Off
    K8S-Logging.Parser  Off
    K8S-Logging.Exclude Off
    Labels              On
    Annotations         Off
    Buffer_Size         0
"
    );
    if let Some(group) = &logs.cloudwatch_group {
        text.push_str(&format!(
            "
[OUTPUT]
    Name              cloudwatch_logs
    Match             kube.*
    region            {region}
    log_group_name    {group}
    log_stream_prefix {namespace}-
    auto_create_group Off
    retry_limit       10
",
            region = logs.region
        ));
    }
    if let Some(host) = &logs.opensearch_host {
        text.push_str(&format!(
            "
[OUTPUT]
    Name               opensearch
    Match              kube.*
    Host               {host}
    Port               443
    TLS                On
    AWS_Auth           On
    AWS_Region         {region}
    Logstash_Format    On
    Logstash_Prefix    {namespace}
    Suppress_Type_Name On
    Trace_Error        On
    Retry_Limit        10
",
            region = logs.region
        ));
    }
    text
}

fn daemon(release: &Release, image: &Image, text: &str) -> Value {
    let probe = |path: &str| json!({ "httpGet": { "path": path, "port": "http" }, "periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 6 });
    let mut labels = super::draft::labels(release, NAME);
    labels.remove(super::RELEASE);
    labels.insert("sidecar.istio.io/inject".to_owned(), json!("false"));
    json!({
        "revisionHistoryLimit": 5,
        "minReadySeconds": 5,
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "20%" } },
        "selector": { "matchLabels": selector(NAME) },
        "template": {
            "metadata": {
                "labels": labels,
                "annotations": { super::SETTINGS: super::settings::fingerprint(text.as_bytes()), super::DRAIN: "30" },
            },
            "spec": {
                "serviceAccountName": NAME,
                // It asks the cluster whose a line is.
                "automountServiceAccountToken": true,
                "enableServiceLinks": false,
                "priorityClassName": "system-node-critical",
                "terminationGracePeriodSeconds": 45,
                "tolerations": [{ "operator": "Exists" }],
                "securityContext": { "runAsUser": 0, "runAsGroup": 0, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": NAME,
                    "image": image.to_string(),
                    "imagePullPolicy": "IfNotPresent",
                    "ports": [{ "name": "http", "containerPort": HTTP, "protocol": "TCP" }],
                    "livenessProbe": probe("/"),
                    "readinessProbe": probe("/api/v1/health"),
                    "resources": { "requests": { "cpu": "50m", "memory": "128Mi" }, "limits": { "memory": "128Mi" } },
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] },
                    },
                    "volumeMounts": [
                        { "name": "settings", "mountPath": "/fluent-bit/etc", "readOnly": true },
                        { "name": "logs", "mountPath": PODS, "readOnly": true },
                        { "name": "state", "mountPath": STATE },
                    ],
                }],
                "volumes": [
                    { "name": "settings", "configMap": { "name": NAME } },
                    { "name": "logs", "hostPath": { "path": PODS, "type": "Directory" } },
                    { "name": "state", "hostPath": { "path": STATE, "type": "DirectoryOrCreate" } },
                ],
            },
        },
    })
}
