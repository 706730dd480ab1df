//! The form of `[deploy]` and of `[environments.NAME.deploy]`: what may be said in them, for editors and for whoever checks.
//!
//! Nothing is required: the two tables are laid over one another, and over what Terraform knows.
//!
//! Invariant: it has every key of a description but those that no table may say, and no other.

use serde_json::{Map, Value, json};

/// Keys of a description that only the program fills in.
pub const OWN: [&str; 2] = ["environment", "image"];

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn texts(about: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": about })
}

fn flag(about: &str) -> Value {
    json!({ "type": "boolean", "description": about })
}

fn count(about: &str, least: u32) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": u32::MAX, "description": about })
}

fn choice(words: &[&str], about: &str) -> Value {
    json!({ "enum": words, "description": about })
}

fn by_name(value: Value, about: &str) -> Value {
    json!({ "type": "object", "additionalProperties": value, "description": about })
}

fn list(value: Value, about: &str) -> Value {
    json!({ "type": "array", "items": value, "description": about })
}

/// Whatever rtcd knows; it checks that itself.
fn settings(about: &str) -> Value {
    json!({ "type": "object", "additionalProperties": true, "description": about })
}

fn table<const N: usize>(about: &str, keys: [(&str, Value); N]) -> Value {
    let keys: Map<String, Value> = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": keys, "description": about })
}

fn egress(about: &str) -> Value {
    let way = table(
        "a way out",
        [
            ("cidr", text("an address range")),
            (
                "port",
                json!({ "type": "integer", "minimum": 1, "maximum": 65535, "description": "a TCP port" }),
            ),
            ("why", text("what for")),
        ],
    );
    list(way, about)
}

fn resources() -> Value {
    table(
        "what a container is promised and what it may have",
        [
            ("cpu", text("250m, 2")),
            ("memory", text("256Mi, 1Gi; promised, and the most")),
            ("cpu_limit", text("none by default, so that a burst is not throttled")),
        ],
    )
}

fn scaling() -> Value {
    let lag = table(
        "messages that wait, as a metric that an adapter gives to the cluster",
        [
            ("metric", text("its name")),
            ("selector", by_name(text("value"), "labels of the series")),
            ("per_replica", count("messages that one replica may have before it", 1)),
        ],
    );
    table(
        "an autoscaler's bounds and what it looks at",
        [
            ("min", count("replicas at least", 1)),
            ("max", count("replicas at most", 2)),
            ("cpu_percent", count("percentage of the CPU that is requested", 1)),
            ("memory_percent", count("percentage of the memory that is requested", 1)),
            ("lag", lag),
            ("scale_down_after_s", count("how long fewer must have been enough", 0)),
        ],
    )
}

fn target() -> Value {
    let needs = table(
        "what it has to reach and to know",
        [
            ("database", flag("a database")),
            ("bus", flag("the broker")),
            ("cache", flag("the cache")),
            ("objects", flag("the bucket of images")),
            ("upstreams", texts("services that it calls")),
            ("secrets", texts("secrets beside those that every process has")),
            ("egress", egress("ways out of its own")),
            ("files", text("where the shared files are seen")),
        ],
    );
    table(
        "some services in one kind of process",
        [
            ("services", texts("the services; the target's own name by default")),
            ("replicas", count("either this or scaling", 1)),
            ("scaling", scaling()),
            ("resources", resources()),
            ("needs", needs),
            ("settings", settings("settings of rtcd in this target")),
            ("discovery", choice(&["cluster", "headless"], "how callers find the pods")),
        ],
    )
}

fn secrets() -> Value {
    let at = table(
        "a place in the store",
        [("key", text("name or ARN")), ("property", text("a field of a secret that is an object"))],
    );
    table(
        "where secrets are; never what they are",
        [
            ("kind", choice(&["external", "existing"], "a store, or Secrets that exist")),
            ("store", text("external: the name of the store")),
            ("store_kind", choice(&["ClusterSecretStore", "SecretStore"], "external: what it is")),
            ("refresh_s", count("external: how often it is asked", 1)),
            ("values", by_name(at, "external: by the names that rtcd has for them")),
            ("name", text("existing: {target} in it is the target's name")),
            ("keys", texts("existing: the keys that they have")),
        ],
    )
}

fn entry() -> Value {
    let certificate = table(
        "gateway-api: what is shown to browsers, one of the two",
        [("arn", text("of ACM")), ("secret", text("a TLS secret in the namespace"))],
    );
    table(
        "how traffic comes in",
        [
            ("kind", choice(&["none", "target-group", "alb", "gateway-api"], "through what")),
            ("target", text("the target behind it")),
            ("target_group_arn", text("target-group: rtc.edge.target_group_arn by default")),
            ("hosts", texts("alb, gateway-api: rtc.edge.hosts by default")),
            ("certificate_arn", text("alb: rtc.edge.certificate_arn by default")),
            ("scheme", choice(&["internet-facing", "internal"], "alb, gateway-api: who may reach it")),
            ("class", text("gateway-api: the class of the gateway")),
            ("certificate", certificate),
            ("pods_in", text("gateway-api: namespace of the gateway's pods, where it has any")),
        ],
    )
}

/// The JSON Schema of the tables.
pub fn json_schema() -> Value {
    let networks = table(
        "address ranges that the network policies speak of",
        [
            ("engines", texts("where databases, brokers and caches are")),
            ("load_balancer", texts("where the load balancer comes from")),
            ("resolvers", texts("resolvers outside the cluster's own")),
            ("egress", egress("ways out that every target has")),
        ],
    );
    let engines = table(
        "where things are kept; what is absent is embedded",
        [
            ("database", text("mysql://…; rtc.database.url by default")),
            ("bus", text("kafka://…; from rtc.events by default")),
            ("cache", text("rediss://… (TLS) or redis://…; from rtc.cache by default")),
            ("objects", text("s3://…; from rtc.storage.buckets.images by default")),
        ],
    );
    let drain = table(
        "how a process goes",
        [
            ("pause_s", count("seconds until the process is told", 0)),
            ("notice_s", count("seconds of not ready, with connections asked to close", 0)),
            ("timeout_s", count("seconds for requests under way, then as long for pumps", 0)),
        ],
    );
    let identity = table(
        "how pods come to be somebody in AWS",
        [
            ("kind", choice(&["pod-identity", "irsa"], "associations, or annotations")),
            ("roles", by_name(text("an ARN"), "by service account; rtc.cluster.roles by default")),
        ],
    );
    let migration = table(
        "the job that brings the schemas up to date",
        [("resources", resources()), ("deadline_s", count("how long it may take", 1))],
    );
    let mesh = table(
        "Istio around every pod",
        [
            ("revision", text("of the control plane")),
            ("namespace", text("where it runs")),
            ("attempts", count("tries of a call that never reached a handler", 0)),
        ],
    );
    let canary = table(
        "a second version of some targets beside the first",
        [
            ("image", text("by digest")),
            ("weight", count("percentage of requests", 1)),
            ("replicas", count("pods of it", 1)),
            ("targets", texts("which targets")),
        ],
    );
    let files = table(
        "a file system that pods share",
        [
            ("file_system_id", text("rtc.storage.file_system_id by default")),
            ("size", text("the claim's size")),
            ("provisioning", choice(&["access-point", "static"], "how the claim is kept")),
        ],
    );
    let monitoring = table(
        "the Prometheus operator",
        [
            ("namespace", text("where Prometheus runs")),
            ("interval_s", count("seconds between two looks", 1)),
            ("labels", by_name(text("value"), "labels by which it picks monitors and rules")),
            (
                "rules",
                by_name(text("text of a file"), "rule files; those of dashboards/prometheus by default"),
            ),
        ],
    );
    let logs = table(
        "Fluent Bit on every node",
        [
            ("image", text("by digest")),
            ("region", text("rtc.region by default")),
            ("cloudwatch_group", text("rtc.log_groups.services by default")),
            ("opensearch_host", text("the host of rtc.search.url by default")),
        ],
    );
    table(
        "what runs on the cluster; [environments.NAME.deploy] is laid over [deploy]",
        [
            ("namespace", text("rtc.cluster.namespace by default")),
            ("version", text("what people call the release")),
            ("labels", by_name(text("value"), "on every object")),
            ("engines", engines),
            ("networks", networks),
            ("settings", settings("settings of rtcd in every target")),
            ("secrets", secrets()),
            ("identity", identity),
            ("drain", drain),
            ("targets", by_name(target(), "what is deployed, by name")),
            ("migration", migration),
            ("entry", entry()),
            ("mesh", mesh),
            ("canary", canary),
            ("files", files),
            ("monitoring", monitoring),
            ("logs", logs),
        ],
    )
}
