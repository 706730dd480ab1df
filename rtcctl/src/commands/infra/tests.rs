//! Commands as they are typed, against a script in Terraform's place that answers as Terraform 1.11 does.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::commands::testing::{Came, Typed};
use crate::signals::Signal;

mod agreed;
mod alone;
mod unusual;

/// A folder with an environment and a made-up Terraform.
struct Ground {
    typed: Typed,
}

const DATABASE: &str = "module.rds.aws_db_instance.primary";

fn change(address: &str, kind: &str, actions: &[&str]) -> Value {
    json!({"address": address, "type": kind, "change": {
        "actions": actions,
        "before": {"size": 1, "password": "old-secret"}, "after": {"size": 2, "password": "new-secret"},
        "before_sensitive": {"password": true}, "after_sensitive": {"password": true},
        "replace_paths": if actions.len() > 1 { json!([["engine"]]) } else { json!([]) },
    }})
}

fn plan(changes: &[Value]) -> Value {
    json!({
        "format_version": "1.2", "terraform_version": "1.11.4",
        "resource_changes": changes, "applyable": !changes.is_empty(), "complete": true, "errored": false,
    })
}

fn hook(kind: &str, address: &str, action: &str) -> String {
    json!({"@message": "m", "type": kind, "hook": {
        "resource": {"addr": address, "resource_type": "aws_vpc"}, "action": action, "elapsed_seconds": 2,
        "id_key": "id", "id_value": "vpc-1",
    }})
    .to_string()
}

fn diagnostic(summary: &str, detail: &str) -> String {
    json!({"@message": "m", "type": "diagnostic",
        "diagnostic": {"severity": "error", "summary": summary, "detail": detail}})
    .to_string()
}

const SUMMARY: &str = r#"{"@message":"m","type":"change_summary","changes":{"add":1,"operation":"apply"}}"#;

impl Ground {
    /// `apply` is the script of that one command; plans are what `shown` says.
    fn new(shown: &Value, apply: &str) -> Self {
        let typed = Typed::alone();
        let folder = typed.path("dev");
        std::fs::create_dir(&folder).unwrap();
        typed.write(
            "rtc.toml",
            b"[environments.dev]\nkind = \"remote\"\nterraform = \"dev\"\nterraform_binary = \"./terraform\"\n\
              [environments.prod]\nkind = \"remote\"\nterraform = \"dev\"\nterraform_binary = \"./terraform\"\n\
              protected = \"yes\"\n[environments.bare]\nkind = \"remote\"\n\
              [defaults]\njournal = \"runs\"\n",
        );
        typed.write("shown.json", shown.to_string().as_bytes());
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {here}/called\ncase \"$1\" in\n\
             version) echo '{{\"terraform_version\":\"1.11.4\"}}';;\n\
             init) mkdir -p .terraform;;\n\
             plan) for word; do case $word in -out=*) touch ${{word#-out=}};; esac; done\n{plan}\n;;\n\
             show) cat {here}/shown.json;;\n\
             output) cat {here}/outputs.json;;\n\
             force-unlock) [ \"$4\" = held ] && exit 0; cat {here}/lock >&2; exit 1;;\n\
             apply) for file; do :; done; [ -f \"$file\" ] || exit 9\n{apply}\n;;\nesac\n",
            here = typed.path("").display(),
            plan = "if [ -f ../plan.sh ]; then . ../plan.sh; fi",
        );
        typed.write("terraform", script.as_bytes());
        std::fs::set_permissions(typed.path("terraform"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { typed }
    }

    async fn run(&self, words: &[&str]) -> Came {
        self.typed.run(&[&["--env", "dev", "--no-input", "-o", "json", "infra"], words].concat()).await
    }

    fn called(&self) -> String {
        std::fs::read_to_string(self.typed.path("called")).unwrap_or_default()
    }

    fn runs(&self) -> Vec<std::path::PathBuf> {
        let runs = std::fs::read_dir(self.typed.path("runs")).into_iter().flatten().flatten();
        runs.map(|entry| entry.path()).collect()
    }

    fn steps_of_only_run(&self) -> String {
        let runs = self.runs();
        assert_eq!(runs.len(), 1);
        std::fs::read_to_string(runs[0].join("steps.ndjson")).unwrap()
    }
}

fn prints(lines: &[String]) -> String {
    lines.iter().map(|line| format!("echo '{line}'\n")).collect()
}

fn one_created() -> (Value, String) {
    let lines = [
        hook("apply_start", "aws_vpc.main", "create"),
        hook("apply_complete", "aws_vpc.main", "create"),
        SUMMARY.to_owned(),
    ];
    (plan(&[change("aws_vpc.main", "aws_vpc", &["create"])]), prints(&lines))
}

#[tokio::test]
async fn a_plan_shows_what_changes_and_no_secret() {
    let ground = Ground::new(&plan(&[change(DATABASE, "aws_db_instance", &["delete", "create"])]), "");
    let came = ground.run(&["plan", "--exit-code"]).await;
    assert_eq!(came.exit, 10, "{}", came.stderr);
    let data = &came.json()["data"];
    assert_eq!(data["counts"]["replace"], 1);
    assert_eq!(data["changes"][0]["forced_by"][0], "engine");
    assert_eq!(data["refused"][0], DATABASE);
    assert!(!came.stdout.contains("secret") && !came.stderr.contains("secret"));
    assert!(ground.runs().is_empty(), "a plan changes nothing and is in no journal");
}

#[tokio::test]
async fn a_plan_file_is_gone_after_its_command() {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &apply);
    assert_eq!(ground.run(&["plan"]).await.exit, 0);
    assert_eq!(ground.run(&["apply", "--yes"]).await.exit, 0);
    let called = ground.called();
    let files: Vec<&str> = called.split_whitespace().filter_map(|word| word.strip_prefix("-out=")).collect();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| !std::path::Path::new(file).exists()));
}

#[tokio::test]
async fn an_apply_carries_out_its_own_plan_and_keeps_its_timings() {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &apply);
    let came = ground.run(&["apply", "--yes"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let data = &came.json()["data"];
    assert_eq!(data["steps"][0]["seconds"], 2);
    let called = ground.called();
    let planned = called.split_whitespace().find_map(|word| word.strip_prefix("-out=")).unwrap();
    assert!(called.lines().any(|line| line == format!("apply -json {planned}")), "{called}");
    let steps = ground.steps_of_only_run();
    for part in ["\"begun\"", "\"child\"", "\"timings\"", "\"finished\"", "\"ended\"", "\"exit\":0"] {
        assert!(steps.contains(part), "{part} in {steps}");
    }
    assert!(!steps.contains("secret"));
    assert!(!ground.runs()[0].join("apply.ndjson").exists());
}

#[tokio::test]
async fn nobody_is_asked_about_an_empty_plan() {
    let ground = Ground::new(&plan(&[]), "exit 9");
    let came = ground.run(&["apply"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert!(ground.runs().is_empty());
}

#[tokio::test]
async fn an_apply_that_nobody_confirmed_does_nothing() {
    let (shown, _) = one_created();
    let ground = Ground::new(&shown, "exit 9");
    let came = ground.run(&["apply"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (7, &json!("CNF001")));
    assert!(!ground.called().contains("apply"));
}

#[tokio::test]
async fn what_destroys_a_database_is_refused_until_it_is_named() {
    let lines = [hook("apply_complete", DATABASE, "delete"), SUMMARY.to_owned()];
    let ground =
        Ground::new(&plan(&[change(DATABASE, "aws_db_instance", &["delete", "create"])]), &prints(&lines));
    let came = ground.run(&["apply", "--yes"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (7, &json!("INF005")));
    assert!(came.error()["causes"][0].as_str().unwrap().contains("forced by engine"), "{}", came.stderr);
    assert!(!ground.called().contains("apply"));
    let came = ground.run(&["apply", "--yes", "--allow-destroy", "module.rds.aws_db_instance.other"]).await;
    assert_eq!(came.exit, 7);
    assert_eq!(ground.run(&["apply", "--yes", "--allow-destroy", DATABASE]).await.exit, 0);
}

#[tokio::test]
async fn a_protected_environment_is_destroyed_by_its_name_alone() {
    let lines = [hook("apply_complete", DATABASE, "delete"), SUMMARY.to_owned()];
    let ground = Ground::new(&plan(&[change(DATABASE, "aws_db_instance", &["delete"])]), &prints(&lines));
    let destroy = async |words: &[&str]| {
        let words = [&["--env", "prod", "--no-input", "-o", "json", "infra", "destroy"], words].concat();
        ground.typed.run(&words).await
    };
    for (words, exit) in
        [(&["--yes"] as &[&str], 7), (&["--yes", "--confirm", "dev"], 7), (&["--confirm", "prod"], 0)]
    {
        let came = destroy(words).await;
        assert_eq!(came.exit, exit, "{words:?}: {}", came.stderr);
        assert!(exit == 0 || came.error()["code"] == "INF016");
    }
    assert_eq!(ground.run(&["destroy", "--yes"]).await.exit, 0, "dev is not protected");
}

#[tokio::test]
async fn each_failure_of_terraform_has_its_code() {
    let lock = "Error message: conflict\\nLock Info:\\n  ID:        held\\n  Path:      p\\n  \
                Operation: OperationTypeApply\\n  Who:       kim@laptop\\n  Created:   2026-11-21 09:00:00.5 +0000 UTC\\n";
    let raw = |summary: &str, detail: &str| diagnostic(summary, "DETAIL").replace("DETAIL", detail);
    for (line, exit, code) in [
        (raw("Error acquiring the state lock", lock), 8, "INF007"),
        (raw("Saved plan is stale", ""), 8, "INF008"),
        (raw("No valid credential sources found", ""), 4, "INF010"),
        (raw("creating EC2 VPC", "UnauthorizedOperation"), 4, "INF011"),
        (raw("Plugin did not respond", ""), 20, "INF013"),
        (raw("Instance cannot be destroyed", "Resource a.b has lifecycle.prevent_destroy set"), 7, "INF015"),
        (raw("creating EC2 VPC", "VpcLimitExceeded"), 20, "INF004"),
    ] {
        let (shown, _) = one_created();
        let script = format!("printf '%s\\n' '{line}'\nexit 1");
        let ground = Ground::new(&shown, &script);
        let came = ground.run(&["apply", "--yes"]).await;
        assert_eq!((came.exit, came.error()["code"].as_str()), (exit, Some(code)), "{}", came.stderr);
        assert!(ground.steps_of_only_run().contains(&format!("\"exit\":{exit}")));
    }
}

#[tokio::test]
async fn who_holds_the_lock_is_in_the_message() {
    let (shown, _) = one_created();
    let lock = "Lock Info:\n  ID:        held\n  Operation: OperationTypeApply\n  Who:       kim@laptop\n  \
                Created:   2026-11-21 09:00:00.5 +0000 UTC\n";
    let line = diagnostic("Error acquiring the state lock", lock);
    let ground = Ground::new(&shown, &format!("printf '%s\\n' '{line}'\nexit 1"));
    let message = ground.run(&["apply", "--yes"]).await.error()["message"].to_string();
    assert!(message.contains("locked by kim@laptop for apply since 2026-11-21 09:00:00 UTC"), "{message}");
}

#[tokio::test]
async fn a_state_that_was_not_saved_is_kept_and_shouted_about() {
    let (shown, _) = one_created();
    let line = diagnostic("Failed to save state", "no route to host");
    let ground = Ground::new(&shown, &format!("echo state > errored.tfstate\necho '{line}'\nexit 1"));
    let came = ground.run(&["apply", "--yes"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (20, &json!("INF009")));
    assert!(came.stderr.contains("THE STATE WAS NOT SAVED"));
    assert_eq!(
        std::fs::read_to_string(ground.runs()[0].join("evidence/errored.tfstate")).unwrap(),
        "state\n"
    );
    let again = ground.run(&["plan"]).await;
    assert_eq!((again.exit, &again.error()["code"]), (8, &json!("INF018")));
}

#[tokio::test]
async fn ctrl_c_lets_terraform_end_and_says_how_far_it_got() {
    let (shown, _) = one_created();
    let script = format!(
        "trap 'touch stopped' INT\necho '{}'\ntouch begun\nwhile [ ! -f stopped ]; do sleep 0.05; done\necho '{}'\nexit 1",
        hook("apply_start", "aws_vpc.main", "create"),
        diagnostic("execution halted", ""),
    );
    let ground = Ground::new(&shown, &script);
    let begun = ground.typed.path("dev/begun");
    let signal = async {
        while !begun.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Signal::Interrupt
    };
    let words = ["--env", "dev", "-o", "json", "infra", "apply", "--yes"];
    let came = ground.typed.run_until(&words, signal).await;
    assert_eq!(came.exit, 130, "{}", came.stderr);
    let message = came.error()["message"].to_string();
    assert!(message.contains("terraform ended cleanly, 0 of 1 resources done"), "{message}");
    assert!(message.contains("begun and not ended: aws_vpc.main"), "{message}");
    assert!(ground.steps_of_only_run().contains("\"exit\":130"));
}

#[tokio::test]
async fn a_run_that_lost_its_rtcctl_is_told_of_once() {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &apply);
    let came = ground.run(&["apply", "--yes"]).await;
    assert_eq!(came.exit, 0);
    // As if rtcctl had been killed after Terraform began: no end, and Terraform's lines are there.
    let run = &ground.runs()[0];
    let steps = ground.steps_of_only_run();
    let cut: String =
        steps.lines().take_while(|line| !line.contains("timings")).map(|line| format!("{line}\n")).collect();
    std::fs::write(run.join("steps.ndjson"), cut).unwrap();
    let lines = [
        hook("apply_start", "aws_vpc.main", "create"),
        hook("apply_complete", "aws_vpc.main", "create"),
        SUMMARY.to_owned(),
    ];
    std::fs::write(run.join("apply.ndjson"), lines.join("\n")).unwrap();
    let first = ground.run(&["plan"]).await;
    let finding = first.json()["findings"][0].clone();
    assert_eq!(finding["code"], "INF031");
    assert!(
        finding["message"].as_str().unwrap().contains("finished by itself, 1 of 1 resources done"),
        "{finding}"
    );
    assert_eq!(ground.run(&["plan"]).await.json()["findings"], json!([]));
}

#[tokio::test]
async fn nothing_is_planned_while_a_lost_run_is_still_at_work() {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &apply);
    assert_eq!(ground.run(&["apply", "--yes"]).await.exit, 0);
    let steps = ground.steps_of_only_run();
    let mut left = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let identity = terraform::process::Identity::of(left.id()).unwrap();
    let child = json!({"at": "2026-11-21T09:00:00.000Z", "entry": "child", "step": "apply",
        "child": {"pid": identity.pid, "born": identity.born}});
    let mut cut: String = steps.lines().take(2).map(|line| format!("{line}\n")).collect();
    cut.push_str(&format!("{child}\n"));
    std::fs::write(ground.runs()[0].join("steps.ndjson"), cut).unwrap();
    let came = ground.run(&["apply", "--yes"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (8, &json!("INF014")), "{}", came.stderr);
    let message = came.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("process {}", left.id())), "{message}");
    let run = ground.runs()[0].clone();
    std::fs::write(run.join("apply.ndjson"), "").unwrap();
    std::fs::write(run.join("apply.stderr"), "").unwrap();
    // Whoever waits is done as soon as it has ended; whoever stops waiting stops nothing else.
    let waiting = ["apply", "--yes", "--lock-timeout", "10m"];
    let words = [&["--env", "dev", "--no-input", "-o", "json", "infra"], &waiting as &[&str]].concat();
    let stopped = ground.typed.run_until(&words, std::future::ready(Signal::Interrupt)).await;
    assert_eq!(stopped.exit, 130, "{}", stopped.stderr);
    assert!(left.try_wait().unwrap().is_none(), "it goes on");
    assert!(stopped.stderr.contains("terraform goes on"), "{}", stopped.stderr);
    left.kill().unwrap();
    left.wait().unwrap();
    let came = ground.run(&waiting).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(came.json()["findings"][0]["code"], "INF031");
    assert!(ground.called().contains("-lock-timeout=600s"), "{}", ground.called());
}

#[tokio::test]
async fn what_passes_by_itself_is_planned_again_and_an_apply_is_not_repeated() {
    let (shown, _) = one_created();
    let throttled = diagnostic("reading EC2 VPC", "RequestLimitExceeded");
    let ground = Ground::new(&shown, &format!("echo '{throttled}'\nexit 1"));
    ground
        .typed
        .write("plan.sh", format!("[ -f once ] || {{ touch once; echo '{throttled}'; exit 1; }}").as_bytes());
    let came = ground.run(&["apply", "--yes"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (9, &json!("INF020")), "{}", came.stderr);
    let called = ground.called();
    assert_eq!(called.lines().filter(|line| line.starts_with("plan ")).count(), 2);
    assert_eq!(called.lines().filter(|line| line.starts_with("apply ")).count(), 1);
}

#[tokio::test]
async fn a_folder_that_was_prepared_for_something_else_is_prepared_again() {
    let (shown, _) = one_created();
    let ground = Ground::new(&shown, "");
    let line = diagnostic("Backend initialization required, please run \"terraform init\"", "");
    ground
        .typed
        .write("plan.sh", format!("[ -f once ] || {{ touch once; echo '{line}'; exit 1; }}").as_bytes());
    assert_eq!(ground.run(&["plan"]).await.exit, 0);
    assert_eq!(ground.called().lines().filter(|line| line.starts_with("init ")).count(), 2);
}

#[tokio::test]
async fn outputs_are_masked_until_one_is_revealed() {
    let ground = Ground::new(&plan(&[]), "");
    ground.typed.write(
        "outputs.json",
        br#"{"cluster":{"sensitive":false,"type":"string","value":"rtc-dev"},
             "token":{"sensitive":true,"type":"string","value":"hunter2"}}"#,
    );
    let all = ground.run(&["outputs"]).await;
    assert_eq!(all.json()["data"]["cluster"]["value"], "rtc-dev");
    assert!(!all.stdout.contains("hunter2"));
    let secret = ground.run(&["outputs", "token"]).await;
    assert_eq!((secret.exit, &secret.error()["code"]), (7, &json!("INF022")));
    assert_eq!(ground.run(&["outputs", "token", "--reveal"]).await.json()["data"]["token"], "hunter2");
    let mistyped = ground.run(&["outputs", "clustr"]).await;
    assert_eq!(mistyped.exit, 5);
    assert_eq!(mistyped.error()["hints"][0], "did you mean cluster?");
}

#[tokio::test]
async fn drift_shows_each_attribute() {
    let mut shown = plan(&[]);
    shown["resource_drift"] = json!([
        change("aws_security_group.web", "aws_security_group", &["update"]),
        change("aws_sqs_queue.notify", "aws_sqs_queue", &["delete"])
    ]);
    let ground = Ground::new(&shown, "");
    let came = ground.run(&["drift", "--exit-code"]).await;
    assert_eq!(came.exit, 10, "{}", came.stderr);
    assert_eq!(came.json()["data"]["drift"][0]["differences"][0]["path"], "size");
    assert!(
        !ground.called().contains("-refresh-only"),
        "a plan of the state alone fails when something is gone"
    );
    let table = ground.typed.run(&["--env", "dev", "infra", "drift"]).await.stdout;
    assert!(table.contains("size: 1 -> 2") && table.contains("aws_sqs_queue.notify"), "{table}");
    assert!(!table.contains("secret"));
}

#[tokio::test]
async fn a_lock_is_shown_and_removed_by_its_id_alone() {
    let ground = Ground::new(&plan(&[]), "");
    ground
        .typed
        .write("lock", b"Failed to unlock state: \nLock Info:\n  ID:        held\n  Who:       kim@laptop\n");
    assert_eq!(ground.run(&["locks"]).await.json()["data"]["locks"][0]["who"], "kim@laptop");
    assert_eq!(ground.run(&["unlock", "other", "--yes"]).await.exit, 5);
    assert_eq!(ground.run(&["unlock", "held"]).await.exit, 7);
    assert_eq!(ground.run(&["unlock", "held", "--yes"]).await.exit, 0);
    ground.typed.write("lock", b"Failed to unlock state: LocalState not locked\n");
    assert_eq!(ground.run(&["locks"]).await.json()["data"]["locks"], json!([]));
}

#[tokio::test]
async fn an_environment_without_infrastructure_is_said() {
    let ground = Ground::new(&plan(&[]), "");
    let came = ground.typed.run(&["--env", "bare", "-o", "json", "infra", "plan"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (3, &json!("INF001")));
    assert!(came.error()["hints"][0].as_str().unwrap().contains("dev, local, prod"), "{}", came.stderr);
}

#[tokio::test]
async fn a_dry_run_shows_and_does_nothing() {
    let (shown, _) = one_created();
    let ground = Ground::new(&shown, "exit 9");
    let came = ground.run(&["apply", "--dry-run"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert!(!ground.called().lines().any(|line| line.starts_with("apply ")));
    assert!(ground.runs().is_empty());
}

#[tokio::test]
async fn the_cost_of_a_month_is_beside_the_plan_and_says_what_it_leaves_out() {
    let gateway = json!({"address": "module.platform.module.network.aws_nat_gateway.this[\"a\"]",
        "type": "aws_nat_gateway", "change": {"actions": ["create"], "before": null, "after": {}}});
    let bucket = json!({"address": "aws_s3_bucket.images", "type": "aws_s3_bucket",
        "change": {"actions": ["no-op"], "before": {}, "after": {}}});
    let mut shown = plan(&[gateway, bucket]);
    shown["configuration"] = json!({"provider_config": {"aws": {"expressions": {"region": {"constant_value": "ap-northeast-2"}}}}});
    let ground = Ground::new(&shown, "");
    let cost = ground.run(&["plan", "--cost"]).await.json()["data"]["cost"].clone();
    assert_eq!((&cost["before"], &cost["after"]), (&json!("0.000000"), &json!("43.070000")));
    assert_eq!(cost["left_out"][1]["what"], "aws_s3_bucket");
    assert_eq!(cost["unverified"], json!([]));
    let text = ground.typed.run(&["--env", "dev", "infra", "plan", "--cost"]).await.stdout;
    assert!(text.contains("network.aws_nat_gateway.this[\"a\"]") && text.contains("+43.07"), "{text}");
    assert!(ground.run(&["plan"]).await.json()["data"].get("cost").is_none());
    // A price that was not compared with AWS's is marked, and where it comes from is said.
    let cache = json!({"address": "aws_elasticache_replication_group.this", "type": "aws_elasticache_replication_group",
        "change": {"actions": ["create"], "before": null, "after": {"engine": "redis", "node_type": "cache.m7g.large",
            "num_cache_clusters": 1}}});
    let mut shown = plan(&[cache]);
    shown["configuration"] = json!({"provider_config": {"aws": {"expressions": {"region": {"constant_value": "ap-northeast-2"}}}}});
    let came = Ground::new(&shown, "").run(&["plan", "--cost"]).await.json();
    assert_eq!(came["data"]["cost"]["unverified"], json!(["elasticache/redis/cache.m7g.large"]));
    assert_eq!(came["findings"][0]["code"], "INF033");
    assert!(
        came["findings"][0]["hints"][0].as_str().unwrap().contains("us-east-1 by 1.196"),
        "{}",
        came["findings"]
    );
}

#[tokio::test]
async fn what_has_drifted_is_accepted_into_the_state_and_nothing_else_is_changed() {
    let mut shown = plan(&[]);
    shown["resource_drift"] = json!([change("aws_sqs_queue.notify", "aws_sqs_queue", &["update"])]);
    shown["applyable"] = json!(true);
    let ground = Ground::new(&shown, &prints(&[SUMMARY.to_owned()]));
    assert_eq!(ground.run(&["drift", "--accept"]).await.exit, 7);
    let came = ground.run(&["drift", "--accept", "--yes"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert!(!came.stderr.contains("secret"));
    let called = ground.called();
    let plans: Vec<&str> = called.lines().filter(|line| line.starts_with("plan ")).collect();
    assert!(plans.iter().all(|line| line.contains("-refresh-only")), "{called}");
    assert!(called.contains("apply -json"));
    assert!(ground.steps_of_only_run().contains("\"exit\":0"));
}
