//! Both environments of the repository, planned, applied, found unchanged, drifted, guarded and destroyed.

use serde_json::Value;

use crate::exceptions::is_ignored;
use crate::ground::{BACKEND, Ground, STATE};

/// moto is one process that does one thing at a time: with more at once they wait for each other.
const GENTLY: &str = "--parallelism";
const FOUR: &str = "4";
const DATABASE: &str = "module.platform.module.rds.aws_db_instance.primary";

/// An environment of the repository, on moto.
pub fn prepared(env: &str) -> Ground {
    let ground = Ground::of_the_repository();
    ground.write("backend.hcl", &format!("bucket = \"{STATE}\"\n{BACKEND}"));
    let protected = if env == "prod" { "yes" } else { "no" };
    ground.write(
        "rtc.toml",
        &format!(
            "[environments.{env}]\nkind = \"remote\"\nterraform = \"terraform/envs/{env}\"\n\
             terraform_backend = \"backend.hcl\"\nterraform_variables = \"terraform/tests/moto/{env}.tfvars\"\n\
             protected = \"{protected}\"\n[defaults]\njournal = \"runs\"\n"
        ),
    );
    ground
}

#[test]
fn dev_is_applied_found_unchanged_drifts_and_is_destroyed() {
    whole_life("dev", &prepared("dev"));
}

#[test]
fn prod_is_applied_found_unchanged_drifts_and_is_destroyed() {
    whole_life("prod", &prepared("prod"));
}

fn whole_life(env: &str, ground: &Ground) {
    let first = ground.infra(env, &["plan", "--exit-code", "--cost"]).ended_with(10).data();
    let created = first["counts"]["create"].as_u64().unwrap();
    assert!(created > 100, "{created}");
    costs(&first["cost"]);
    ground.infra(env, &["apply", "--yes", "--confirm", env, GENTLY, FOUR]).ended_with(0);

    let again = ground.infra(env, &["plan", "--exit-code", "--cost"]);
    assert_eq!((again.exit, &again.data()["changes"]), (0, &Value::Array(Vec::new())), "{}", again.stderr);
    assert_eq!(again.data()["cost"]["change"], "0.000000");
    // What was known before it existed is what it costs now that it does.
    assert_eq!(again.data()["cost"]["after"], first["cost"]["after"], "{:#}", again.data()["cost"]);

    let outputs = ground.infra(env, &["outputs", "rtc", "--reveal"]).ended_with(0).data();
    assert_eq!((&outputs["rtc"]["schema"], &outputs["rtc"]["environment"]), (&1.into(), &env.into()));

    refuses_another_database(env, ground);
    drifts(env, ground);

    if env == "prod" {
        let refused = ground.infra(env, &["destroy", "--yes"]).ended_with(7);
        assert_eq!(refused.error()["code"], "INF016");
        // AWS itself does not let it go as long as it is protected.
        let kept = ground.infra(env, &["destroy", "--confirm", env, "--target", DATABASE]).ended_with(20);
        assert!(kept.stderr.contains("DeletionProtection") || kept.stderr.contains("deletion protection"));
        ground.unprotect();
        ground.infra(env, &["apply", "--yes", "--confirm", env, GENTLY, FOUR]).ended_with(0);
    }
    ground.infra(env, &["destroy", "--yes", "--confirm", env, GENTLY, FOUR]).ended_with(0);
    let left = ground.terraform(&format!("terraform/envs/{env}"), &["state", "list"]).ended_with(0);
    assert_eq!(left.stdout, "");
}

/// Every type that an environment uses has a price, and every kind of resource is priced, by use, or free.
fn costs(cost: &Value) {
    let unpriced: Vec<&Value> = cost["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|left| !left["why"].as_str().unwrap().starts_with("by use"))
        .collect();
    assert_eq!(unpriced, [&Value::Null; 0]);
    assert_eq!(cost["before"], "0.000000");
    assert!(cost["after"].as_str().unwrap().parse::<f64>().unwrap() > 100.0, "{}", cost["after"]);
}

/// A user name cannot be changed in place: the database would be another one.
fn refuses_another_database(env: &str, ground: &Ground) {
    let file = "terraform/modules/rds/main.tf";
    let text = std::fs::read_to_string(ground.path(file)).unwrap();
    let changed = text.replace("\"rtc_admin\"", "\"somebody_else\"");
    assert_ne!(text, changed);
    ground.write(file, &changed);
    let refused = ground.infra(env, &["apply", "--yes", "--confirm", env]).ended_with(7).error();
    ground.write(file, &text);
    assert_eq!(refused["code"], "INF005");
    let causes = refused["causes"].to_string();
    assert!(causes.contains(DATABASE) && causes.contains("forced by username"), "{causes}");
}

/// A rule by hand and a queue that is gone: drift names both, and says what became of them.
fn drifts(env: &str, ground: &Ground) {
    ground.infra(env, &["drift", "--accept", "--yes", "--confirm", env]).ended_with(0);
    assert_eq!(drifted(&ground.infra(env, &["drift"]).ended_with(0).data()), [&Value::Null; 0]);
    ground
        .python(&format!(
            "import boto3\n\
             ec2 = boto3.client('ec2')\n\
             group = [g for g in ec2.describe_security_groups()['SecurityGroups'] if g['GroupName'].startswith('rtc-{env}')][0]\n\
             ec2.authorize_security_group_ingress(GroupId=group['GroupId'], IpPermissions=[{{'IpProtocol': 'tcp', \
             'FromPort': 22, 'ToPort': 22, 'IpRanges': [{{'CidrIp': '0.0.0.0/0'}}]}}])\n\
             sqs = boto3.client('sqs')\n\
             sqs.delete_queue(QueueUrl=sqs.list_queues()['QueueUrls'][0])\n"
        ))
        .ended_with(0);
    let drift = ground.infra(env, &["drift", "--exit-code"]).ended_with(10).data();
    let found = drifted(&drift);
    let mut kinds: Vec<&str> = found.iter().filter_map(|one| one["type"].as_str()).collect();
    kinds.sort_unstable();
    // With a queue its policy goes.
    assert_eq!(kinds, ["aws_security_group", "aws_sqs_queue", "aws_sqs_queue_policy"], "{found:#?}");
    let of =
        |kind: &str| found.iter().find(|one| one["type"] == kind).unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(of("aws_sqs_queue")["action"], "delete");
    assert!(of("aws_security_group")["differences"].to_string().contains("0.0.0.0/0"), "{found:#?}");
}

/// What has drifted, but for what moto answers differently each time.
fn drifted(drift: &Value) -> Vec<&Value> {
    let all = drift["drift"].as_array().unwrap().iter();
    all.filter(|one| one["action"] != "update" || !is_ignored(one["address"].as_str().unwrap())).collect()
}
