//! A provider that dies in the middle of an apply.

use crate::ground::{Ground, came, wait_until};

const QUEUE: &str = r#"
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }
}
provider "aws" {}
resource "aws_sqs_queue" "slow" { name = "slow" }
"#;

#[test]
fn a_provider_that_is_killed_is_a_crash_and_what_is_in_the_state_stays() {
    let ground = Ground::in_a_bucket(QUEUE);
    ground.take_from_the_repository("terraform/envs/dev/.terraform.lock.hcl", "dev/.terraform.lock.hcl");
    let child = ground.begin("dev", &["apply", "--yes"]);
    // The provider waits half a minute until a queue is what was asked for.
    let begun = || ground.lines_of_the_apply().contains("\"apply_start\"");
    wait_until(begun, "the queue");
    ground.kill_programs("terraform-provider-aws");
    let ended = came(child).ended_with(20);
    assert_eq!(ended.error()["code"], "INF013", "{ended:?}");
    assert_eq!(ground.infra("dev", &["locks"]).ended_with(0).data()["locks"], serde_json::json!([]));
}
