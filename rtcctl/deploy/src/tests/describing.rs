//! What a person wrote, what Terraform knows, and what comes of both.

use std::collections::BTreeMap;

use manifests::description::{Entry, Secrets};
use manifests::{Fault, Release, examples, render};
use serde_json::{Value as Json, json};
use toml::Table;

use crate::describe::{Problem, Sources, description, lay_over, release, rtc_output};

const IMAGE: &str = "111122223333.dkr.ecr.ap-northeast-2.amazonaws.com/rtc-prod/rtcd@sha256:9d0c8f4b1a2e3d5c6b7a8990a1b2c3d4e5f60718293a4b5c6d7e8f9001122334";

fn outputs() -> Json {
    json!({
        "schema": 1,
        "environment": "prod",
        "region": "ap-northeast-2",
        "cluster": { "namespace": "rtc", "roles": {
            "catalog": "arn:aws:iam::111122223333:role/rtc-prod-catalog",
            "notifications": "arn:aws:iam::111122223333:role/rtc-prod-notifications",
        } },
        "database": {
            "url": "mysql://rtc_{service}@rtc-prod.internal:3306/rtc_{service}",
            "secret_arns": { "orders": "arn:aws:secretsmanager:ap-northeast-2:111122223333:secret:orders" },
        },
        "events": {
            "bootstrap": "b1.rtc-prod.internal:9096,b2.rtc-prod.internal:9096,b3.rtc-prod.internal:9096",
            "security": "sasl_tls",
            "mechanism": "SCRAM-SHA-512",
            "username": "rtc",
            "replication": 3,
            "secret_arn": "arn:aws:secretsmanager:ap-northeast-2:111122223333:secret:events",
        },
        "cache": {
            "id": "rtc-prod",
            "host": "rtc-prod-cache.internal",
            "reader_host": "rtc-prod-cache-ro.internal",
            "port": 6379,
            "tls": true,
            "secret_arn": "arn:aws:secretsmanager:ap-northeast-2:111122223333:secret:cache",
        },
        "storage": { "buckets": { "images": "rtc-prod-images" }, "file_system_id": "fs-0123456789abcdef0" },
        "edge": {
            "hosts": { "api": "api.example.com", "shop": "shop.example.com" },
            "certificate_arn": "arn:aws:acm:ap-northeast-2:111122223333:certificate/a",
            "target_group_arn": "arn:aws:elasticloadbalancing:ap-northeast-2:111122223333:targetgroup/rtc-prod-gateway/0123456789abcdef",
        },
        "log_groups": { "services": "/rtc/rtc-prod/services" },
        "search": { "url": "https://search-rtc-prod.ap-northeast-2.es.amazonaws.com" },
    })
}

/// The example without what is filled in.
fn by_hand() -> Table {
    let mut table: Table = toml::from_str(examples::PROD).unwrap();
    for key in ["environment", "image", "namespace"] {
        table.remove(key);
    }
    let mut inside = |table_: &str, keys: &[&str]| {
        let inner = table.get_mut(table_).and_then(toml::Value::as_table_mut).unwrap();
        keys.iter().for_each(|key| {
            inner.remove(*key);
        });
    };
    inside("engines", &["database", "bus", "cache", "objects"]);
    inside("identity", &["roles"]);
    inside("entry", &["target_group_arn"]);
    inside("files", &["file_system_id"]);
    inside("logs", &["region", "cloudwatch_group", "opensearch_host"]);
    table
}

fn sources<'a>(
    base: &'a Table,
    over: Option<&'a Table>,
    outputs: Option<&'a Json>,
    rules: &'a BTreeMap<String, String>,
) -> Sources<'a> {
    Sources { environment: "prod", base: Some(base), over, outputs, image: IMAGE, rules, services: &[] }
}

#[test]
fn what_terraform_knows_need_not_be_written() {
    let (rules, outputs, base) = (BTreeMap::new(), outputs(), by_hand());
    let found = description(&sources(&base, None, Some(&outputs), &rules)).unwrap();
    let whole: manifests::Description = toml::from_str(examples::PROD).unwrap();
    assert_eq!(found, whole);
    assert!(!render(&Release::of(found).unwrap()).is_empty());
}

#[test]
fn what_a_person_wrote_is_never_overruled() {
    let (rules, outputs) = (BTreeMap::new(), outputs());
    let mut base = by_hand();
    let own: Table = toml::from_str(
        "namespace = \"elsewhere\"\n[engines]\nbus = \"kafka://own:9092\"\ncache = \"redis://own:6380\"\n[files]\nfile_system_id = \"fs-1\"\n",
    )
    .unwrap();
    lay_over(&mut base, &own);
    let found = description(&sources(&base, None, Some(&outputs), &rules)).unwrap();
    assert_eq!(found.namespace, "elsewhere");
    assert_eq!(found.engines.bus.as_deref(), Some("kafka://own:9092"));
    assert_eq!(found.engines.cache.as_deref(), Some("redis://own:6380"));
    assert_eq!(found.engines.database.as_deref(), outputs["database"]["url"].as_str());
    assert_eq!(found.files.unwrap().file_system_id, "fs-1");
}

#[test]
fn brokers_are_spoken_to_as_terraform_has_set_them_up() {
    let (rules, base) = (BTreeMap::new(), by_hand());
    let bus = |said: Json| {
        let mut outputs = outputs();
        outputs["events"] = said;
        outputs["events"]["bootstrap"] = json!("b1:9096,b2:9096");
        let found = description(&sources(&base, None, Some(&outputs), &rules)).unwrap();
        assert_eq!(Release::of(found.clone()).unwrap().ports("bus"), [9096]);
        found.engines.bus.unwrap()
    };
    let msk =
        json!({ "security": "sasl_tls", "mechanism": "SCRAM-SHA-512", "username": "rtc", "replication": 3 });
    assert_eq!(
        bus(msk),
        "kafka://b1:9096,b2:9096?security=sasl_tls&mechanism=SCRAM-SHA-512&user=rtc&replication=3"
    );
    let ec2 = json!({ "security": "sasl_plaintext", "mechanism": "SCRAM-SHA-512", "username": "rtc" });
    assert_eq!(bus(ec2), "kafka://b1:9096,b2:9096?security=sasl_plaintext&mechanism=SCRAM-SHA-512&user=rtc");
    // Nobody signs in to these, and rtcd refuses a user who would not be asked for.
    let open = json!({ "security": "tls", "mechanism": "SCRAM-SHA-512", "username": "rtc" });
    assert_eq!(bus(open), "kafka://b1:9096,b2:9096?security=tls");
    assert_eq!(bus(json!({})), "kafka://b1:9096,b2:9096");
}

#[test]
fn the_cache_is_spoken_to_in_the_open_only_where_terraform_says_so() {
    let (rules, base) = (BTreeMap::new(), by_hand());
    let with = |cache: Json| {
        let mut outputs = outputs();
        outputs["cache"] = cache;
        description(&sources(&base, None, Some(&outputs), &rules)).unwrap()
    };
    let address = |cache: Json, port: u16| {
        let found = with(cache);
        assert_eq!(Release::of(found.clone()).unwrap().ports("cache"), [port]);
        found.engines.cache.unwrap()
    };
    let tls = json!({ "host": "c", "reader_host": "r", "port": 6390, "tls": true });
    assert_eq!(address(tls, 6390), "rediss://c:6390");
    assert_eq!(address(json!({ "host": "c", "port": 6390, "tls": false }), 6390), "redis://c:6390");
    assert_eq!(address(json!({ "host": "c", "port": 6390 }), 6390), "rediss://c:6390");
    assert_eq!(address(json!({ "host": "c" }), 6379), "rediss://c");
    // Who needs one that Terraform does not know is told so.
    for none in [Json::Null, json!({ "host": "", "port": 6379, "tls": true })] {
        let found = with(none);
        assert_eq!(found.engines.cache, None);
        let faults = Release::of(found).unwrap_err();
        let embedded = |fault: &Fault| matches!(fault, Fault::Embedded { engine: "cache", .. });
        assert!(!faults.is_empty() && faults.iter().all(embedded), "{faults:?}");
    }
}

#[test]
fn passwords_of_engines_are_where_terraform_put_them_for_a_store_alone() {
    let (rules, outputs) = (BTreeMap::new(), outputs());
    let mut base = by_hand();
    let written = base.get_mut("secrets").unwrap()["values"].as_table_mut().unwrap();
    ["database-orders", "cache"].iter().for_each(|name| {
        written.remove(*name);
    });
    let found = description(&sources(&base, None, Some(&outputs), &rules)).unwrap();
    let Secrets::External { values, .. } = found.secrets else { panic!("a store") };
    assert_eq!(values["database-orders"].key, outputs["database"]["secret_arns"]["orders"].as_str().unwrap());
    assert_eq!(values["database-orders"].property.as_deref(), Some("password"));
    assert_eq!(values["cache"].key, outputs["cache"]["secret_arn"].as_str().unwrap());
    assert_eq!(values["cache"].property.as_deref(), Some("password"));
    // This one was written.
    assert_eq!(values["bus"].key, "rtc/rtc-prod/events");

    let existing: Table =
        toml::from_str("[secrets]\nkind = \"existing\"\nname = \"rtc-{target}\"\nkeys = [\"bus\"]\n")
            .unwrap();
    let found = description(&sources(&base, Some(&existing), Some(&outputs), &rules)).unwrap();
    assert_eq!(
        found.secrets,
        Secrets::Existing { name: "rtc-{target}".to_owned(), keys: vec!["bus".to_owned()] }
    );
}

#[test]
fn the_way_in_takes_what_its_kind_needs() {
    let (rules, outputs, base) = (BTreeMap::new(), outputs(), by_hand());
    let entry = |text: &str| {
        let over: Table = toml::from_str(text).unwrap();
        description(&sources(&base, Some(&over), Some(&outputs), &rules)).unwrap().entry
    };
    let Entry::Alb { hosts, certificate_arn, .. } = entry("[entry]\nkind = \"alb\"\ntarget = \"gateway\"\n")
    else {
        panic!("a load balancer")
    };
    assert_eq!(hosts, ["shop.example.com", "api.example.com"]);
    assert_eq!(certificate_arn, outputs["edge"]["certificate_arn"].as_str().unwrap());
    let own = entry(
        "[entry]\nkind = \"gateway-api\"\ntarget = \"gateway\"\nclass = \"istio\"\nhosts = [\"a.b\"]\ncertificate = { secret = \"tls\" }\n",
    );
    let Entry::GatewayApi { hosts, certificate, .. } = own else { panic!("a gateway") };
    assert_eq!(hosts, ["a.b"]);
    assert_eq!(certificate, manifests::description::Certificate::Secret("tls".to_owned()));
}

#[test]
fn an_environment_over_the_whole_says_how_many_in_its_own_way() {
    let mut base: Table =
        toml::from_str("[targets.a]\nreplicas = 2\n[targets.b]\nscaling = { min = 1 }\n").unwrap();
    let over: Table =
        toml::from_str("[targets.a]\nscaling = { min = 3, max = 5 }\n[targets.b]\nreplicas = 1\n").unwrap();
    lay_over(&mut base, &over);
    let (one, two) = (&base["targets"]["a"], &base["targets"]["b"]);
    assert!(one.get("replicas").is_none() && one["scaling"]["min"].as_integer() == Some(3));
    assert!(two.get("scaling").is_none() && two["replicas"].as_integer() == Some(1));
}

#[test]
fn outputs_are_read_from_whatever_shows_them() {
    let rtc = outputs();
    let terraform = json!({ "rtc": { "sensitive": false, "value": rtc } });
    let rtcctl = json!({ "schema": "rtcctl/infra/outputs/v1", "data": { "rtc": { "sensitive": false, "value": rtc } } });
    let one = json!({ "schema": "rtcctl/infra/outputs/v1", "data": { "rtc": rtc } });
    for document in [&rtc, &terraform, &rtcctl, &one] {
        assert_eq!(rtc_output(document), Some(&rtc));
    }
    assert_eq!(rtc_output(&json!({ "other": { "value": 1 } })), None);
}

#[test]
fn outputs_of_another_environment_or_of_tomorrow_are_refused() {
    let (rules, base) = (BTreeMap::new(), by_hand());
    let refused = |key: &str, value: Json| {
        let mut outputs = outputs();
        outputs[key] = value;
        description(&sources(&base, None, Some(&outputs), &rules)).unwrap_err()
    };
    assert!(
        matches!(refused("environment", json!("dev")), Problem::OtherEnvironment { found, .. } if found == "dev")
    );
    assert!(matches!(refused("schema", json!(2)), Problem::OtherSchema(_)));
}

#[test]
fn services_that_nobody_has_and_descriptions_that_cannot_be_meant_are_refused() {
    let (rules, outputs, base) = (BTreeMap::new(), outputs(), by_hand());
    let mut known = sources(&base, None, Some(&outputs), &rules);
    known.services = &["gateway"];
    assert!(matches!(release(&known), Err(Problem::NoService { .. })));
    let over: Table = toml::from_str("[drain]\nnotice_s = 9000\n[networks]\nengines = [\"x\"]\n").unwrap();
    let Err(Problem::Faults(faults)) = release(&sources(&base, Some(&over), Some(&outputs), &rules)) else {
        panic!("faults")
    };
    assert_eq!(faults.len(), 2);
    let nothing = Sources { base: None, ..sources(&base, None, None, &rules) };
    assert!(matches!(release(&nothing), Err(Problem::NotDescribed(_))));
    let odd: Table = toml::from_str("targets = 3\n").unwrap();
    assert!(matches!(release(&sources(&odd, None, None, &rules)), Err(Problem::Shape(_))));
}
