//! What is only looked at.

use jenkins::testing::{Script, stage};
use serde_json::json;

use super::{code, question, scripted, shop, with};

#[tokio::test]
async fn jobs_are_listed_with_their_folders_and_what_became_of_them() {
    let (standin, typed) = with(|world| {
        world.folder("team");
        world.folder("team/inner");
        world.pipeline("team/inner/feature%2Fcart", Vec::new(), Script::default());
        shop(world);
        world.pipeline("old", Vec::new(), Script::default());
        world.jobs.get_mut("old").unwrap().is_disabled = true;
    })
    .await;
    typed.run(&["pipeline", "run", "shop"]).await;
    let listed = typed.run(&["pipeline", "list", "-o", "json"]).await.json();
    let jobs = listed["data"]["jobs"].as_array().unwrap().clone();
    let names: Vec<&str> = jobs.iter().map(|job| job["job"].as_str().unwrap()).collect();
    assert_eq!(names, ["old", "shop", "team", "team/inner", "team/inner/feature%2Fcart"]);
    assert_eq!(
        (&jobs[0]["disabled"], &jobs[1]["last_result"], &jobs[1]["name"]),
        (&json!(true), &json!("SUCCESS"), &json!("shop"))
    );
    let table = typed.run(&["pipeline", "list"]).await.stdout;
    assert!(table.contains("disabled") && table.contains("never built"), "{table}");
    let inside = typed.run(&["pipeline", "list", "team", "-o", "name"]).await.stdout;
    assert_eq!(inside, "team/inner\nteam/inner/feature%2Fcart\n");
    assert_eq!(typed.run(&["pipeline", "list", "--flat", "-o", "name"]).await.stdout, "old\nshop\nteam\n");
    code(&typed.run(&["pipeline", "list", "taem", "-o", "json"]).await, 5, "PIP005");
    standin.world().jobs.clear();
    assert!(typed.run(&["pipeline", "list"]).await.stdout.contains("there are no jobs"));
}

#[tokio::test]
async fn what_a_job_takes_is_shown_and_no_password() {
    let (_standin, typed) = with(|world| {
        shop(world);
        let job = world.jobs.get_mut("shop").unwrap();
        job.parameters.push(json!({"type": "PasswordParameterDefinition", "name": "KEY",
            "defaultParameterValue": {"value": "hunter2"}}));
    })
    .await;
    let came = typed.run(&["pipeline", "params", "shop"]).await;
    assert!(came.stdout.contains("dev | prod") && came.stdout.contains("prod (rtc.toml)"), "{}", came.stdout);
    let document = typed.run(&["pipeline", "params", "shop", "-o", "json"]).await;
    assert_eq!(document.json()["data"]["parameters"][1]["preset"], "prod");
    assert!(!came.stdout.contains("hunter2") && !document.stdout.contains("hunter2"));
    let names = typed.run(&["pipeline", "params", "shop", "-o", "name"]).await.stdout;
    assert_eq!(names, "VERSION\nTARGET\nDRY\nKEY\n");
}

#[tokio::test]
async fn stages_are_a_tree_where_jenkins_tells_one() {
    let tree = json!({"stages": [{"name": "Test", "state": "success", "type": "STAGE", "totalDurationMillis": 3_000, "children": [
        {"name": "unit", "state": "failure", "type": "PARALLEL"},
        {"name": "li\x1b[2Jnt", "state": "success", "type": "PARALLEL"},
    ]}]});
    let unit = json!({"name": "unit", "status": "FAILED", "durationMillis": 2_000, "error": {"message": "exit code 7"}});
    let stages = vec![vec![stage("Test", "SUCCESS", 3_000), unit]];
    let (_standin, typed) = with(scripted(Script { stages, tree: Some(tree), ..Script::default() })).await;
    assert_eq!(typed.run(&["pipeline", "run", "shop"]).await.exit, 0);
    let shown = typed.run(&["pipeline", "stages", "shop"]).await.stdout;
    let unit = shown.lines().find(|line| line.contains(" ╠ unit")).unwrap();
    assert!(
        unit.contains("failed")
            && unit.contains("exit code 7")
            && shown.contains(" ╚ li")
            && !shown.contains('\x1b'),
        "{shown}"
    );
    let data = typed.run(&["pipeline", "stages", "shop", "-o", "json"]).await.json()["data"].clone();
    assert_eq!(
        (&data["tree"][0]["children"][0]["parallel"], &data["stages"][0]["name"]),
        (&json!(true), &json!("Test"))
    );
}

#[tokio::test]
async fn a_tree_without_stages_hides_no_list() {
    let stages = vec![vec![stage("Test", "SUCCESS", 3_000)]];
    let tree = Some(json!({"stages": []}));
    let (_standin, typed) = with(scripted(Script { stages, tree, ..Script::default() })).await;
    assert_eq!(typed.run(&["pipeline", "run", "shop"]).await.exit, 0);
    let shown = typed.run(&["pipeline", "stages", "shop"]).await.stdout;
    assert!(shown.contains("Test"), "{shown}");
}

#[tokio::test]
async fn a_build_is_shown_as_it_stands_with_what_it_asks() {
    let stages =
        vec![vec![stage("Test", "SUCCESS", 3_000), stage("De\x1b[2Jploy", "PAUSED_PENDING_INPUT", 10)]];
    let inputs = vec![question("go", &json!([])), question("also", &json!([]))];
    let (standin, typed) = with(scripted(Script { stages, inputs, ..Script::default() })).await;
    let never = typed.run(&["pipeline", "status", "shop"]).await.stdout;
    assert_eq!(never, "shop was never built\n");
    code(&typed.run(&["pipeline", "logs", "shop", "-o", "json"]).await, 5, "PIP005");
    typed.run(&["pipeline", "run", "shop", "--no-wait"]).await;
    let waits = typed.run(&["pipeline", "status", "shop"]).await.stdout;
    assert!(waits.contains("item 18 waits: Waiting for next available executor"), "{waits}");
    let asked = standin.asked("pendingInputActions");
    let left = typed.run_until(&["pipeline", "run", "--follow", "18"], async {
        asked.await;
        crate::signals::Signal::Interrupt
    });
    assert_eq!(left.await.exit, 130);

    let came = typed.run(&["pipeline", "status", "shop", "-o", "json"]).await.json();
    assert_eq!((&came["status"], &came["data"]["running"]), (&json!("running"), &json!(true)));
    assert_eq!(came["data"]["causes"][0], "Started by user Ann");
    assert_eq!(came["findings"].as_array().unwrap().len(), 2);
    let text = typed.run(&["pipeline", "status", "shop"]).await;
    assert!(
        text.stdout.contains("running for") && text.stdout.contains("waits for an answer"),
        "{}",
        text.stdout
    );
    assert!(text.stderr.contains("rtcctl pipeline input shop --build 1 approve --id go"), "{}", text.stderr);
    assert!(!text.stdout.contains('\x1b'));
    let table = typed.run(&["pipeline", "stages", "shop"]).await.stdout;
    assert!(table.contains("Test") && table.contains("3 s"), "{table}");

    let several = typed.run(&["pipeline", "input", "shop", "approve", "-o", "json"]).await;
    code(&several, 2, "PIP017");
    let mistyped = typed.run(&["pipeline", "input", "shop", "approve", "--id", "als", "-o", "json"]).await;
    assert_eq!(code(&mistyped, 5, "PIP016")["hints"][0], "did you mean also?");
    assert_eq!(typed.run(&["pipeline", "input", "shop", "approve", "--id", "also"]).await.exit, 0);
    code(&typed.run(&["pipeline", "input", "shop", "abort", "-o", "json"]).await, 7, "CNF001");
    assert_eq!(typed.run(&["pipeline", "input", "shop", "abort", "--yes"]).await.exit, 0);
    code(&typed.run(&["pipeline", "input", "shop", "approve", "-o", "json"]).await, 5, "PIP016");
}

#[tokio::test]
async fn a_log_is_followed_to_its_end_through_what_breaks_off() {
    let log = vec![b"one\n".to_vec(), b"two\n".to_vec(), b"three\n".to_vec()];
    let (standin, typed) = with(scripted(Script { log, ..Script::default() })).await;
    typed.run(&["pipeline", "run", "shop", "--no-wait"]).await;
    // The queue is left behind.
    let asked = standin.asked("progressiveText");
    let left = typed.run_until(&["pipeline", "run", "--follow", "18"], async {
        asked.await;
        crate::signals::Signal::Interrupt
    });
    left.await;
    standin.world().cuts = 1;
    let came = typed.run(&["pipeline", "logs", "shop", "-f"]).await;
    assert_eq!((came.exit, came.stdout.as_str()), (0, "one\ntwo\nthree\n"), "{}", came.stderr);
    let both = typed.run(&["pipeline", "logs", "shop", "-f", "-o", "json"]).await;
    assert_eq!((both.exit, both.error()["code"].as_str()), (2, Some("USE001")));
}
