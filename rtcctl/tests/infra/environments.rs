//! Both environments of the repository, planned, applied, found unchanged, drifted, guarded and destroyed.

use serde_json::Value;

use crate::ground::Ground;

/// Environments of the repository, on moto, each in an account of its own.
fn ground(env: &str, account: &str) -> Ground {
    let ground = Ground::of_the_repository(account);
    let backend = format!(
        "bucket = \"rtc-state-{account}\"\nregion = \"ap-northeast-2\"\nuse_path_style = true\n\
         skip_credentials_validation = true\nskip_requesting_account_id = true\nskip_metadata_api_check = true\n"
    );
    ground.write("backend.hcl", &backend);
    let variables =
        std::fs::read_to_string(ground.path(&format!("terraform/tests/moto/{env}.tfvars"))).unwrap();
    ground.write("variables.tfvars", &variables.replace("123456789012", account));
    let protected = if env == "prod" { "yes" } else { "no" };
    ground.write(
        "rtc.toml",
        &format!(
            "[environments.{env}]\nkind = \"remote\"\nterraform = \"terraform/envs/{env}\"\n\
             terraform_backend = \"backend.hcl\"\nterraform_variables = \"variables.tfvars\"\nprotected = \"{protected}\"\n\
             [defaults]\njournal = \"runs\"\n"
        ),
    );
    let bucket = format!(
        "import boto3; boto3.client('s3').create_bucket(Bucket='rtc-state-{account}', \
         CreateBucketConfiguration={{'LocationConstraint': 'ap-northeast-2'}})"
    );
    ground.python(&bucket).ended_with(0);
    ground
}

#[test]
fn dev_is_applied_found_unchanged_drifts_and_is_destroyed() {
    let ground = ground("dev", "111111111111");
    whole_life("dev", &ground);
}

#[test]
fn prod_is_applied_found_unchanged_drifts_and_is_destroyed() {
    let ground = ground("prod", "222222222222");
    whole_life("prod", &ground);
}

fn whole_life(env: &str, ground: &Ground) {
    let first = ground.infra(env, &["plan", "--exit-code"]).ended_with(10).data();
    let created = first["counts"]["create"].as_u64().unwrap();
    assert!(created > 100, "{created}");
    ground.infra(env, &["apply", "--yes"]).ended_with(0);

    let again = ground.infra(env, &["plan", "--exit-code"]);
    assert_eq!((again.exit, &again.data()["changes"]), (0, &Value::Array(Vec::new())), "{}", again.stderr);

    let outputs = ground.infra(env, &["outputs", "rtc", "--reveal"]).ended_with(0).data();
    assert!(outputs["rtc"].is_object(), "{outputs}");

    drifts(env, ground);

    if env == "prod" {
        let refused = ground.infra(env, &["destroy", "--yes"]).ended_with(7);
        assert_eq!(refused.error()["code"], "INF016");
    }
    ground.infra(env, &["destroy", "--yes", "--confirm", env]).ended_with(0);
    let left = ground.terraform(&format!("terraform/envs/{env}"), &["state", "list"]).ended_with(0);
    assert_eq!(left.stdout, "");
}

/// A rule by hand and a queue that is gone: drift names both, and says what became of them.
fn drifts(env: &str, ground: &Ground) {
    ground
        .python(
            "import boto3\n\
             ec2 = boto3.client('ec2')\n\
             group = [g for g in ec2.describe_security_groups()['SecurityGroups'] if g['GroupName'] != 'default'][0]\n\
             ec2.authorize_security_group_ingress(GroupId=group['GroupId'], IpPermissions=[{'IpProtocol': 'tcp', \
             'FromPort': 22, 'ToPort': 22, 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]}])\n\
             sqs = boto3.client('sqs')\n\
             sqs.delete_queue(QueueUrl=sqs.list_queues()['QueueUrls'][0])\n",
        )
        .ended_with(0);
    let drift = ground.infra(env, &["drift", "--exit-code"]).ended_with(10).data();
    let addresses: Vec<&str> =
        drift["drift"].as_array().unwrap().iter().filter_map(|one| one["address"].as_str()).collect();
    assert!(addresses.iter().any(|address| address.contains("aws_sqs_queue.")), "{addresses:?}");
    assert!(addresses.iter().any(|address| address.contains("security_group")), "{addresses:?}");
}
