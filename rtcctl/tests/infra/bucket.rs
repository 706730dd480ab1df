//! States in a bucket: who holds them, what becomes of a lock whose holder is gone, and of a state that cannot be saved.

use serde_json::json;

use crate::ground::{Ground, STATE, came, wait_for};

/// A resource that takes as long as a file is not there.
const SLOW: &str = r#"
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "touch ../begun; while [ ! -f ../go ]; do sleep 0.1; done"
  }
}
"#;

fn locks(ground: &Ground) -> serde_json::Value {
    ground.infra("dev", &["locks"]).ended_with(0).data()["locks"].clone()
}

#[test]
fn a_state_that_somebody_holds_is_refused_with_who_and_since_when() {
    let ground = Ground::in_a_bucket(SLOW);
    assert_eq!(locks(&ground), json!([]), "nobody holds a state that does not exist yet");
    let first = ground.begin("dev", &["apply", "--yes"]);
    wait_for(&ground.path("begun"));
    for words in [&["apply", "--yes"] as &[&str], &["plan"]] {
        let refused = ground.infra_of_another("dev", words).ended_with(8);
        assert_eq!(refused.error()["code"], "INF007");
        let message = refused.error()["message"].to_string();
        assert!(
            message.contains("the state is locked by ") && message.contains(" for apply since 20"),
            "{message}"
        );
    }
    assert_eq!(locks(&ground)[0]["operation"], "OperationTypeApply");
    std::fs::write(ground.path("go"), "").unwrap();
    came(first).ended_with(0);
    assert_eq!(locks(&ground), json!([]));
}

#[test]
fn a_lock_whose_holder_is_gone_is_removed_by_its_id() {
    let ground = Ground::in_a_bucket(SLOW);
    let mut first = ground.begin("dev", &["apply", "--yes"]);
    wait_for(&ground.path("begun"));
    first.kill().unwrap();
    first.wait().unwrap();
    ground.kill_programs("terraform");
    std::fs::write(ground.path("go"), "").unwrap();
    let held = locks(&ground);
    let id = held[0]["id"].as_str().unwrap_or_else(|| panic!("{held}"));
    assert_eq!(ground.infra("dev", &["unlock", "another", "--yes"]).ended_with(5).error()["code"], "INF019");
    ground.infra("dev", &["unlock", id]).ended_with(7);
    ground.infra("dev", &["unlock", id, "--yes"]).ended_with(0);
    assert_eq!(locks(&ground), json!([]));
    ground.infra("dev", &["plan"]).ended_with(0);
}

#[test]
fn a_state_whose_bucket_is_gone_is_kept_here() {
    let ground = Ground::in_a_bucket(SLOW);
    let first = ground.begin("dev", &["apply", "--yes"]);
    wait_for(&ground.path("begun"));
    ground
        .python(&format!(
            "import boto3\nb = boto3.resource('s3').Bucket('{STATE}')\nb.objects.all().delete()\nb.delete()"
        ))
        .ended_with(0);
    std::fs::write(ground.path("go"), "").unwrap();
    let ended = came(first).ended_with(20);
    assert_eq!(ended.error()["code"], "INF009");
    assert!(ended.stderr.contains("THE STATE WAS NOT SAVED"), "{ended:?}");
    let run = ground.rtcctl(&["-o", "json", "runs", "show"]).ended_with(0).data();
    let kept = ground.path("runs").join(run["run"].as_str().unwrap()).join("evidence/errored.tfstate");
    let state = std::fs::read_to_string(&kept).unwrap_or_else(|error| panic!("{error}: {kept:?}"));
    assert!(state.contains("terraform_data"), "{state}");
    assert_eq!(ground.infra("dev", &["plan"]).ended_with(8).error()["code"], "INF018");
}
