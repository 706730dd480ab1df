//! Terraform that works on without its rtcctl, and those who wait for it.

use super::*;

/// A run whose rtcctl is gone and whose Terraform works on: it ends when what it reads does.
struct Left {
    process: std::process::Child,
}

impl Left {
    /// The only run of the ground becomes one.
    fn on(ground: &Ground) -> Self {
        let process = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let identity = terraform::process::Identity::of(process.id()).unwrap();
        let child = json!({"at": "2026-11-21T09:00:00.000Z", "entry": "child", "step": "apply",
            "child": {"pid": identity.pid, "born": identity.born}});
        let begun: String =
            ground.steps_of_only_run().lines().take(2).map(|line| format!("{line}\n")).collect();
        let run = &ground.runs()[0];
        std::fs::write(run.join("steps.ndjson"), format!("{begun}{child}\n")).unwrap();
        std::fs::write(run.join("apply.ndjson"), "").unwrap();
        std::fs::write(run.join("apply.stderr"), "").unwrap();
        Self { process }
    }

    fn ends(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn applied() -> Ground {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &apply);
    assert_eq!(ground.run(&["apply", "--yes"]).await.exit, 0);
    ground
}

const WAITS: &str = "waiting for terraform";

#[tokio::test]
async fn whoever_waits_for_a_lost_run_is_told_when_his_time_is_up_and_goes_on_when_it_ends() {
    let ground = applied().await;
    let mut left = Left::on(&ground);
    let late = ground.run(&["apply", "--yes", "--lock-timeout", "50ms"]).await;
    assert_eq!((late.exit, &late.error()["code"]), (8, &json!("INF014")), "{}", late.stderr);
    let words =
        ["--env", "dev", "--no-input", "-o", "json", "infra", "apply", "--yes", "--lock-timeout", "10m"];
    let came = ground.typed.run_and_once_told(&words, WAITS, || left.ends()).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(came.json()["findings"][0]["code"], "INF031");
    // What was waited is not there for the lock any more.
    let called = ground.called();
    let plan = called.lines().rfind(|line| line.starts_with("plan ")).unwrap();
    assert!(plan.contains("-lock-timeout=") && !plan.contains("-lock-timeout=600s"), "{plan}");
}

#[tokio::test]
async fn of_two_who_wait_for_the_same_terraform_one_tells_of_it_and_both_go_on() {
    let ground = applied().await;
    let mut left = Left::on(&ground);
    let words = ["--env", "dev", "--no-input", "-o", "json", "infra", "plan", "--lock-timeout", "10m"];
    let (first, waits) = (std::cell::Cell::new(false), std::cell::Cell::new(false));
    // It ends when both have said that they wait.
    let one = ground.typed.run_and_once_told(&words, WAITS, || first.set(true));
    let other = ground.typed.run_and_once_told(&words, WAITS, || waits.set(true));
    let both = async {
        while !(first.get() && waits.get()) {
            tokio::task::yield_now().await;
        }
        left.ends();
    };
    let (one, other, ()) = tokio::join!(one, other, both);
    assert_eq!((one.exit, other.exit), (0, 0), "{}{}", one.stderr, other.stderr);
    let told: usize = [one, other].iter().map(|came| came.json()["findings"].as_array().unwrap().len()).sum();
    assert_eq!(told, 1, "a run is told of once");
}

#[tokio::test]
async fn a_run_that_could_not_be_followed_to_its_end_is_left_open_for_whoever_comes_next() {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &format!("rm ../runs/*/apply.stderr\n{apply}"));
    let lost = ground.run(&["apply", "--yes"]).await;
    assert_eq!(lost.exit, 1, "{}", lost.stderr);
    let steps = ground.steps_of_only_run();
    assert!(!steps.contains("\"ended\"") && steps.contains("cannot follow terraform"), "{steps}");
    let next = ground.run(&["plan"]).await;
    let finding = next.json()["findings"][0].clone();
    assert_eq!(finding["code"], "INF031", "{}", next.stdout);
    assert!(
        finding["message"].as_str().unwrap().contains("finished by itself, 1 of 1 resources done"),
        "{finding}"
    );
}

#[tokio::test]
async fn a_run_that_died_after_terraform_had_finished_is_not_told_as_one_that_never_began() {
    let ground = applied().await;
    let steps = ground.steps_of_only_run();
    let cut: String = steps
        .lines()
        .take_while(|line| !line.contains("\"ended\""))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(ground.runs()[0].join("steps.ndjson"), cut).unwrap();
    let finding = ground.run(&["plan"]).await.json()["findings"][0].clone();
    assert!(finding["message"].as_str().unwrap().ends_with("terraform had finished"), "{finding}");
    assert!(ground.steps_of_only_run().contains("\"exit\":0"));
}
