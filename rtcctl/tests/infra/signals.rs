//! An apply that is interrupted, terminated, or loses its rtcctl, with the real Terraform and no provider.

use std::path::Path;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::ground::{Came, Ground, PATIENCE, came, now, wait_for, wait_until};

/// A resource that takes as long as a file is not there. An interrupt ends its command.
const SLOW: &str = r#"
resource "terraform_data" "quick" {}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.quick]
  provisioner "local-exec" {
    command = "touch ../begun; while [ ! -f ../go ]; do sleep 0.1; done"
  }
}
resource "terraform_data" "after" { depends_on = [terraform_data.slow] }
"#;

fn begun(ground: &Ground) -> Child {
    let child = ground.begin("dev", &["apply", "--yes"]);
    wait_for(&ground.path("begun"));
    child
}

fn wait_for_text(file: &Path, text: &str) {
    wait_until(|| std::fs::read_to_string(file).is_ok_and(|found| found == text), text);
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn last_run(ground: &Ground) -> serde_json::Value {
    ground.rtcctl(&["-o", "json", "runs", "show"]).ended_with(0).data()
}

#[test]
fn ctrl_c_ends_cleanly_releases_the_lock_and_says_what_was_done() {
    let ground = Ground::plain(SLOW);
    let child = begun(&ground);
    signal(&child, Signal::INT);
    let ended = came(child).ended_with(130);
    assert_eq!(ended.error()["code"], "SIG001");
    let message = ended.error()["message"].to_string();
    assert!(message.contains("terraform ended cleanly, 1 of 3 resources done, 1 failed"), "{message}");
    assert_eq!(ground.infra("dev", &["locks"]).ended_with(0).data()["locks"], serde_json::json!([]));
    let run = last_run(&ground);
    assert_eq!((&run["exit"], &run["state"]), (&130.into(), &"failed".into()));
    let left = ground.infra("dev", &["plan"]).ended_with(0).data();
    assert_eq!((&left["counts"]["create"], &left["counts"]["replace"]), (&1.into(), &1.into()));
}

#[test]
fn sigterm_as_ci_sends_it_does_the_same_with_its_own_code() {
    let ground = Ground::plain(SLOW);
    let child = begun(&ground);
    signal(&child, Signal::TERM);
    std::fs::write(ground.path("go"), "").unwrap();
    assert_eq!(came(child).ended_with(143).error()["code"], "SIG002");
    ground.infra("dev", &["apply", "--yes"]).ended_with(0);
}

/// Terraform, but for an apply that does not end at one interrupt and counts them.
const STUBBORN: &str = r#"#!/bin/sh
[ "$1" = apply ] || exec terraform "$@"
count=0
trap 'count=$((count+1)); echo $count > ../interrupts; [ $count -ge 2 ] && exit 1' INT
touch ../begun
while true; do sleep 0.05; done
"#;

#[test]
fn a_second_ctrl_c_is_passed_on_and_says_what_that_costs() {
    let ground = Ground::plain(SLOW);
    ground.program("terraform", STUBBORN);
    let child = begun(&ground);
    signal(&child, Signal::INT);
    wait_for(&ground.path("interrupts"));
    signal(&child, Signal::INT);
    let ended = came(child).ended_with(130);
    let cost = "leaving now: terraform was told to end at once: what it was creating may exist without being in the state";
    assert!(ended.stderr.contains(cost), "{ended:?}");
    wait_for_text(&ground.path("interrupts"), "2\n");
    let next = first_plan_that_is_let(&ground);
    assert!(next.stdout.contains("terraform did not finish, 0 of 0 resources done"), "{next:?}");
}

#[test]
fn a_killed_rtcctl_leaves_terraform_to_finish_and_the_next_run_says_so() {
    let ground = Ground::plain(SLOW);
    let mut child = begun(&ground);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    let meanwhile = ground.infra("dev", &["apply", "--yes"]).ended_with(8);
    assert_eq!(meanwhile.error()["code"], "INF014");
    let held = ground.infra("dev", &["locks"]).ended_with(0).data();
    assert_eq!(held["locks"][0]["operation"], "OperationTypeApply");
    std::fs::write(ground.path("go"), "").unwrap();
    let next = first_plan_that_is_let(&ground);
    assert!(next.stdout.contains("terraform finished by itself, 3 of 3 resources done"), "{next:?}");
    assert_eq!(next.data()["counts"]["create"], 0);
    assert_eq!(last_run(&ground)["exit"], 0);
}

fn first_plan_that_is_let(ground: &Ground) -> Came {
    let deadline = now() + PATIENCE;
    loop {
        let plan = ground.infra("dev", &["plan"]);
        if plan.exit == 0 {
            return plan;
        }
        assert!(now() < deadline, "{plan:?}");
    }
}
