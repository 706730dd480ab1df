//! Builds that are started and followed.

use jenkins::testing::{Location, Script, Step, Wish, stage, text_parameter};
use serde_json::json;

use super::{code, posts, question, scripted, shop, with};
use crate::commands::testing::Key;

fn answer(prompt: &'static str, typed: &'static str) -> Key {
    Key::Answer { prompt, typed }
}

#[tokio::test]
async fn a_build_is_started_followed_and_told_with_its_stages_and_its_log() {
    let stages = vec![
        vec![stage("Test", "IN_PROGRESS", 10)],
        vec![stage("Test", "SUCCESS", 2_000), stage("Deploy", "IN_PROGRESS", 5)],
        vec![stage("Test", "SUCCESS", 2_000), stage("Deploy", "SUCCESS", 9_000)],
    ];
    let (standin, typed) = with(scripted(Script { stages, ..Script::default() })).await;
    let came = typed.run(&["pipeline", "run", "shop", "-p", "VERSION=2 & 3", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let document = came.json();
    assert_eq!((&document["schema"], &document["status"]), (&json!("rtcctl/pipeline/run/v1"), &json!("ok")));
    let data = &document["data"];
    assert_eq!((&data["build"], &data["result"]), (&json!(1), &json!("SUCCESS")));
    // What rtc.toml says is sent with what was typed.
    assert_eq!(data["parameters"], json!({"TARGET": "prod", "VERSION": "2 & 3"}));
    assert_eq!(standin.world().jobs["shop"].builds[0].parameters.len(), 2);
    assert_eq!(
        data["stages"][1],
        json!({"name": "Deploy", "status": "success", "error": null, "took_ms": 9_000})
    );
    for words in [
        "blocked: Build #16",
        "waits for an executor",
        "stage: Test: running",
        "stage: Deploy: success, 9 s",
        "Finished: SUCCESS",
    ] {
        assert!(came.stderr.contains(words), "{words}: {}", came.stderr);
    }
    let shown = typed.run(&["runs", "show", "last", "-o", "json"]).await.stdout;
    assert!(shown.contains("pipeline run") && shown.contains("2 & 3"), "{shown}");
}

#[tokio::test]
async fn the_exit_code_is_the_result() {
    for (result, exit, status, word) in [
        ("FAILURE", 26, "failed", "PIP010"),
        ("UNSTABLE", 27, "unstable", "PIP011"),
        ("ABORTED", 28, "aborted", "PIP012"),
        ("NOT_BUILT", 28, "aborted", "PIP012"),
        ("EXPLODED", 26, "failed", "PIP010"),
    ] {
        let (_standin, typed) = with(scripted(Script { result, ..Script::default() })).await;
        let came = typed.run(&["pipeline", "run", "shop", "--no-log", "-o", "json"]).await;
        let document = came.json();
        assert_eq!((came.exit, document["status"].as_str()), (exit, Some(status)), "{}", came.stderr);
        assert_eq!(document["findings"][0]["code"], word);
        assert!(!came.stderr.contains("Finished"), "{}", came.stderr);
        let journal = typed.run(&["runs", "show", "last", "-o", "json"]).await.stdout;
        assert!(journal.contains(word), "{journal}");
        let text = typed.run(&["pipeline", "status", "shop", "--exit-code"]).await;
        assert_eq!(text.exit, exit);
        // Of a log that was not shown the end is.
        let text = typed.run(&["pipeline", "run", "shop", "--no-log"]).await;
        assert!(text.stdout.contains("the end of its log:\nStarted\n"), "{}", text.stdout);
    }
}

#[tokio::test]
async fn wherever_jenkins_believes_to_be_and_whoever_asked_first_it_is_followed() {
    for location in [Location::Absolute, Location::Relative, Location::WrongHost] {
        let (standin, typed) = with(|world| {
            shop(world);
            world.location = location;
        })
        .await;
        assert_eq!(typed.run(&["pipeline", "run", "shop"]).await.exit, 0);
        // 303: the same wish is in the queue already.
        assert_eq!(typed.run(&["pipeline", "run", "shop", "--no-wait"]).await.exit, 0);
        standin.world().jobs.get_mut("shop").unwrap().wish = Wish::Joins;
        let came = typed.run(&["pipeline", "run", "shop", "-o", "json"]).await;
        assert_eq!((came.exit, &came.json()["data"]["joined"]), (0, &json!(true)));
    }
}

#[tokio::test]
async fn an_item_that_is_cancelled_or_expired_is_exit_29_and_one_whose_build_is_found_is_followed() {
    let (_standin, typed) =
        with(scripted(Script { queue: vec![Step::Waiting, Step::Cancelled], ..Script::default() })).await;
    code(&typed.run(&["pipeline", "run", "shop", "-o", "json"]).await, 29, "PIP013");
    let (standin, typed) = with(scripted(Script { queue: vec![Step::Expired], ..Script::default() })).await;
    assert_eq!(typed.run(&["pipeline", "run", "shop"]).await.exit, 0);
    let gone = format!("{}/queue/item/999/", standin.url);
    code(&typed.run(&["pipeline", "run", "shop", "--follow", &gone, "-o", "json"]).await, 29, "PIP013");
    let error = code(&typed.run(&["pipeline", "run", "--follow", &gone, "-o", "json"]).await, 29, "PIP013");
    assert!(error["hints"][0].as_str().unwrap().contains("name the job too"), "{error}");
}

#[tokio::test]
async fn a_log_comes_whole_without_notes_and_moves_no_cursor() {
    let text = "Gebaut für 한국 🛒\n";
    let (before, after) = text.as_bytes().split_at(8);
    let note = b"\x1b[8mha:////4AAA=\x1b[0m".to_vec();
    let log = vec![
        note.clone(),
        before.to_vec(),
        after.to_vec(),
        b"\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\rover\n".to_vec(),
        note,
        b"no line's end".to_vec(),
    ];
    for sends_notes in [false, true] {
        let (_standin, typed) = with(|world| {
            scripted(Script { log: log.clone(), ..Script::default() })(world);
            world.sends_notes = sends_notes;
        })
        .await;
        let came = typed.run(&["pipeline", "run", "shop"]).await;
        assert!(
            came.stderr.contains("Gebaut für 한국 🛒\n") && came.stderr.contains("red\nover\n"),
            "{}",
            came.stderr
        );
        let logs = typed.run(&["pipeline", "logs", "shop"]).await;
        assert_eq!(logs.stdout, format!("{text}red\nover\nno line's end"));
        assert!(!came.stderr.contains('\x1b'));
        let tail = typed.run(&["pipeline", "logs", "shop", "--tail", "2", "-o", "json"]).await.json();
        assert_eq!(tail["data"]["log"], "over\nno line's end\n");
    }
}

#[tokio::test]
async fn a_jenkins_that_is_started_again_in_the_middle_is_waited_for() {
    let log: Vec<Vec<u8>> = "eins\nzwei\n한국\n".as_bytes().chunks(4).map(<[u8]>::to_vec).collect();
    let (standin, typed) = with(scripted(Script { log, ..Script::default() })).await;
    let restarting = async {
        standin.asked("progressiveText").await;
        standin.world().outages = 4;
        standin.world().cuts = 1;
        std::future::pending().await
    };
    let came = typed.run_until(&["pipeline", "run", "shop"], restarting).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert!(came.stderr.contains("it is asked again") && came.stderr.contains("Jenkins answers again"));
    for line in ["eins\n", "zwei\n", "한국\n"] {
        assert_eq!(came.stderr.matches(line).count(), 1, "{line}: {}", came.stderr);
    }
}

#[tokio::test]
async fn one_that_stays_away_is_exit_9_and_the_build_is_taken_up_again_by_its_address() {
    let (standin, mut typed) = with(shop).await;
    typed.set("RTCCTL_JENKINS_PATIENCE", "0s");
    let failing = async {
        standin.asked("progressiveText").await;
        standin.world().outages = 1;
        std::future::pending().await
    };
    let came = typed.run_until(&["pipeline", "run", "shop", "-o", "json"], failing).await;
    let error = code(&came, 9, "PIP006");
    let hint = error["hints"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|hint| hint.as_str()?.split_once("rtcctl pipeline run --follow http"));
    let address = format!("http{}", hint.unwrap().1);
    assert_eq!(address, format!("{}/job/shop/1/", standin.url));
    let again = typed.run(&["pipeline", "run", "--follow", &address, "-o", "json"]).await;
    assert_eq!((again.exit, &again.json()["data"]["build"]), (0, &json!(1)));
    assert_eq!(posts(&standin).len(), 1);
}

#[tokio::test]
async fn whoever_does_not_wait_is_given_the_address_to_follow() {
    let (standin, typed) = with(shop).await;
    let came = typed.run(&["pipeline", "run", "shop", "--no-wait", "-o", "name"]).await;
    let address = came.stdout.trim().to_owned();
    assert_eq!(address, format!("{}/queue/item/18/", standin.url));
    // Also without the name of the job, which the item tells.
    let came = typed.run(&["pipeline", "run", "--follow", &address, "-o", "json"]).await;
    assert_eq!((came.exit, &came.json()["data"]["build"]), (0, &json!(1)), "{}", came.stderr);
    let by_job = format!("{}/job/shop/", standin.url);
    assert_eq!(typed.run(&["pipeline", "run", "--follow", &by_job]).await.exit, 0);
}

#[tokio::test]
async fn without_the_plug_in_of_stages_everything_else_goes_on() {
    let (_standin, typed) = with(|world| {
        shop(world);
        world.lacks_stages = true;
    })
    .await;
    let came = typed.run(&["pipeline", "run", "shop", "-o", "json"]).await;
    assert_eq!((came.exit, &came.json()["data"]["stages"]), (0, &json!(null)));
    assert_eq!(came.json()["findings"][0]["code"], "PIP030");
    assert!(came.stderr.contains("Finished: SUCCESS"));
    for command in ["stages", "status"] {
        let came = typed.run(&["pipeline", command, "shop", "-o", "json"]).await;
        assert_eq!((came.exit, &came.json()["findings"][0]["code"]), (0, &json!("PIP030")));
    }
}

#[tokio::test]
async fn what_a_build_asks_is_told_and_answered_from_another_terminal() {
    let parameters = json!([{"name": "ENV", "type": "ChoiceParameterDefinition",
        "definition": {"choices": ["dev", "prod"], "defaultVal": "dev"}}]);
    let inputs = vec![question("ef95", &parameters)];
    let (standin, typed) = with(scripted(Script { inputs, ..Script::default() })).await;
    let answering = async {
        standin.asked("pendingInputActions").await;
        let shown = typed.run(&["pipeline", "input", "shop", "-o", "json"]).await.json();
        assert_eq!(shown["data"]["inputs"][0]["parameters"][0]["choices"], json!(["dev", "prod"]));
        let wrong = typed.run(&["pipeline", "input", "shop", "approve", "-p", "ENV=prd", "-o", "json"]).await;
        let error = code(&wrong, 2, "PIP008");
        assert!(error["hints"][0].as_str().unwrap().contains("did you mean prod?"), "{error}");
        let came = typed.run(&["pipeline", "input", "shop", "approve", "-p", "ENV=prod"]).await;
        assert_eq!(came.exit, 0, "{}", came.stderr);
    };
    let (came, ()) = tokio::join!(typed.run(&["pipeline", "run", "shop"]), answering);
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert!(came.stderr.contains("it asks: Deploy?; rtcctl pipeline input shop approve"), "{}", came.stderr);
    let answers = standin.world().jobs["shop"].builds[0].answers.clone();
    assert!(answers[0].2.contains(r#"{"name":"ENV","value":"prod"}"#), "{answers:?}");
}

#[tokio::test]
async fn a_question_is_answered_where_it_is_asked() {
    let parameters = json!([{"name": "ENV", "definition": {"choices": ["dev", "prod"], "defaultVal": "dev"}},
        {"name": "NOTE", "definition": {"defaultVal": "none"}}]);
    let inputs = vec![question("first", &json!([])), question("second", &parameters)];
    let (standin, typed) = with(scripted(Script { inputs, ..Script::default() })).await;
    let keys = [
        answer("Deploy? [approve", "what?\n"),
        answer("abort or later?", "y\n"),
        answer("Deploy? [approve", "approve\n"),
        answer("ENV (dev, prod)", "moon\n"),
        answer("ENV (dev, prod)", "prod\n"),
        answer("NOTE [none]", "\n"),
    ];
    let came = typed.run_asking(&["pipeline", "run", "shop"], &keys, std::future::pending()).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert!(came.stderr.contains("is not one of dev, prod"), "{}", came.stderr);
    let answers = standin.world().jobs["shop"].builds[0].answers.clone();
    assert_eq!((answers[0].0.as_str(), answers[0].1.as_str()), ("First", "proceedEmpty"));
    assert!(
        answers[1].2.contains(r#"[{"name":"ENV","value":"prod"},{"name":"NOTE","value":"none"}]"#),
        "{answers:?}"
    );

    let inputs = vec![question("first", &json!([]))];
    let (_standin, typed) = with(scripted(Script { inputs, ..Script::default() })).await;
    let keys = [answer("Deploy?", "no\n")];
    let came = typed.run_asking(&["pipeline", "run", "shop"], &keys, std::future::pending()).await;
    assert_eq!(came.exit, 28, "{}", came.stderr);
}

#[tokio::test]
async fn what_was_typed_before_a_question_does_not_answer_it() {
    let inputs = vec![question("first", &json!([])), question("second", &json!([]))];
    let (standin, typed) = with(scripted(Script { inputs, ..Script::default() })).await;
    let keys = [
        answer("Deploy? [approve", "what?\n"),
        // The second line comes too early, and is no answer to what is asked next.
        Key::Ahead { prompt: "abort or later?", typed: "approve\ny\n" },
        answer("Deploy? [approve", "abort\n"),
    ];
    let came = typed.run_asking(&["pipeline", "run", "shop"], &keys, std::future::pending()).await;
    assert_eq!(came.exit, 28, "{}", came.stderr);
    let answers = standin.world().jobs["shop"].builds[0].answers.clone();
    let verbs: Vec<&str> = answers.iter().map(|(_, verb, _)| verb.as_str()).collect();
    assert_eq!(verbs, ["proceedEmpty", "abort"]);
}

#[tokio::test]
async fn an_answer_that_is_given_while_a_build_is_followed_is_in_the_journal() {
    let (standin, typed) =
        with(scripted(Script { inputs: vec![question("go", &json!([]))], ..Script::default() })).await;
    let keys = [answer("Deploy?", "approve\n")];
    let came = typed.run_asking(&["pipeline", "run", "shop"], &keys, std::future::pending()).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let shown = typed.run(&["runs", "show", "-o", "json"]).await.json();
    let noted = shown["data"]["entries"].as_array().unwrap().iter().find(|entry| entry["kind"] == "answer");
    let data = &noted.unwrap()["data"];
    assert_eq!((&data["question"], &data["answer"]), (&json!("go"), &json!("approved")), "{shown}");

    // Of a build that was only taken up again it is a run of its own.
    let waiting = typed.run(&["pipeline", "run", "shop", "--no-wait", "-o", "name"]).await;
    let follow = ["pipeline", "run", "--follow", waiting.stdout.trim()];
    let came = typed.run_asking(&follow, &keys, std::future::pending()).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let shown = typed.run(&["runs", "show", "-o", "json"]).await.json();
    assert_eq!(
        (&shown["data"]["command"], &shown["data"]["state"]),
        (&json!("pipeline input"), &json!("done"))
    );
    assert!(shown["data"]["entries"].to_string().contains("approved"), "{shown}");
    assert_eq!(standin.world().jobs["shop"].builds.len(), 2);
}

#[tokio::test]
async fn what_a_protected_environment_asks_is_approved_by_its_name() {
    for (name, timeout, exit, verb) in [("prod\n", "1h", 0, Some("proceedEmpty")), ("y\n", "1s", 6, None)] {
        let (standin, typed) =
            with(scripted(Script { inputs: vec![question("go", &json!([]))], ..Script::default() })).await;
        let keys = [answer("Deploy?", "y\n"), answer("Type prod to go on", name)];
        let words = ["pipeline", "run", "shop", "--env", "prod", "--confirm", "prod", "--timeout", timeout];
        let came = typed.run_asking(&words, &keys, std::future::pending()).await;
        assert_eq!(came.exit, exit, "{}", came.stderr);
        let answers = standin.world().jobs["shop"].builds[0].answers.clone();
        assert_eq!(answers.first().map(|(_, verb, _)| verb.as_str()), verb, "{answers:?}");
    }
}

#[tokio::test]
async fn folders_and_branches_with_slashes_are_reached() {
    let (standin, typed) = with(|world| {
        world.folder("team a");
        world.pipeline("team a/feature%2Fcart", vec![text_parameter("V", "")], Script::default());
    })
    .await;
    let came = typed.run(&["pipeline", "run", "team a", "--branch", "feature/cart", "-p", "V=1"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(posts(&standin), ["POST /job/team%20a/job/feature%252Fcart/buildWithParameters"]);
    let by_address = format!("{}/job/team%20a/job/feature%252Fcart/", standin.url);
    assert_eq!(typed.run(&["pipeline", "status", &by_address]).await.exit, 0);
    assert_eq!(typed.run(&["pipeline", "logs", "team a/feature%2Fcart"]).await.exit, 0);
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_starts_nothing() {
    let (standin, typed) = with(shop).await;
    let came = typed.run(&["pipeline", "run", "shop", "--dry-run"]).await;
    assert_eq!((came.exit, came.stdout.as_str()), (0, "shop would be started with TARGET=prod\n"));
    code(&typed.run(&["pipeline", "run", "shop", "-p", "X=1", "--dry-run", "-o", "json"]).await, 2, "PIP008");
    standin.world().jobs.get_mut("shop").unwrap().is_disabled = true;
    code(&typed.run(&["pipeline", "run", "shop", "--dry-run", "-o", "json"]).await, 8, "PIP009");
    assert!(posts(&standin).is_empty());
}
