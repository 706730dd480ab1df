//! The client against a Jenkins that keeps to the facts.

mod jobs_as_code;
mod trees;
mod watching;

use std::time::Duration;

use serde_json::json;

use crate::testing::{
    Guard, Location, Script, Standin, Step, Wish, World, choice_parameter, flag_parameter, stage,
    text_parameter,
};
use crate::{
    Beside, BuildResult, Client, Error, Item, JobKind, JobName, Log, Login, ParameterKind, Problem,
    StageStatus,
};

fn name(text: &str) -> JobName {
    text.parse().unwrap()
}

fn login(token: &str) -> Option<Login> {
    Some(Login { user: "ann".to_owned(), token: token.to_owned() })
}

async fn with(login: Option<Login>, arrange: impl FnOnce(&mut World)) -> (Standin, Client) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let standin = Standin::start(arrange).await;
    let client = Client::new(&standin.url, login, Duration::from_secs(5)).unwrap();
    (standin, client)
}

fn shop(world: &mut World) {
    let parameters = vec![
        text_parameter("VERSION", "1"),
        choice_parameter("TARGET", &["dev", "prod"]),
        flag_parameter("DRY", false),
    ];
    world.pipeline("shop", parameters, Script::default());
}

fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Looks at an item until it has left.
async fn number_of(client: &Client, item: u64) -> u64 {
    loop {
        if let Item::Left { number } = client.item(item).await.unwrap() {
            return number;
        }
    }
}

async fn whole_log(client: &Client, job: &JobName, number: u64) -> String {
    let (mut log, mut text) = (Log::default(), String::new());
    loop {
        let chunk = client.log(job, number, &mut log).await.unwrap();
        text.push_str(&chunk.text);
        if !chunk.has_more {
            return text;
        }
    }
}

#[tokio::test]
async fn a_wish_goes_through_the_queue_and_becomes_a_build_with_its_parameters() {
    let (_standin, client) = with(None, shop).await;
    let queued = client.run(&name("shop"), &given(&[("VERSION", "2 & 3"), ("DRY", "true")])).await.unwrap();
    assert!(!queued.joined);
    let mut seen = Vec::new();
    loop {
        match client.item(queued.item).await.unwrap() {
            Item::Left { number } => {
                let build = client.build(&name("shop"), number).await.unwrap();
                assert_eq!(build.parameters, given(&[("VERSION", "2 & 3"), ("DRY", "true")]));
                assert_eq!(
                    (build.is_running, build.result, build.causes[0].user.as_deref()),
                    (true, None, Some("ann"))
                );
                break;
            }
            other => seen.push(other),
        }
    }
    assert!(matches!(
        seen.as_slice(),
        [Item::Waiting { .. }, Item::Blocked { why }, Item::Buildable { .. }] if why.contains("already in progress")
    ));
}

#[tokio::test]
async fn wherever_jenkins_believes_to_be_the_item_is_found() {
    for location in [Location::Absolute, Location::Relative, Location::WrongHost] {
        let (_standin, client) = with(None, |world| {
            shop(world);
            world.location = location;
        })
        .await;
        let queued = client.run(&name("shop"), &[]).await.unwrap();
        assert_eq!(number_of(&client, queued.item).await, 1);
    }
}

#[tokio::test]
async fn each_answer_to_a_wish_is_an_outcome_of_its_own() {
    let (standin, client) = with(None, shop).await;
    client.run(&name("shop"), &[]).await.unwrap();
    standin.world().jobs.get_mut("shop").unwrap().wish = Wish::Joins;
    assert!(client.run(&name("shop"), &[]).await.unwrap().joined);
    standin.world().jobs.get_mut("shop").unwrap().wish = Wish::Refused;
    assert!(matches!(client.run(&name("shop"), &[]).await, Err(Error::Refused { .. })));
    // 409 also where it was still enabled when we looked.
    standin.world().jobs.get_mut("shop").unwrap().wish = Wish::JustDisabled;
    assert!(matches!(client.run(&name("shop"), &[]).await, Err(Error::NotBuildable { .. })));
    standin.world().jobs.get_mut("shop").unwrap().is_disabled = true;
    assert!(matches!(client.run(&name("shop"), &[]).await, Err(Error::NotBuildable { .. })));
    assert!(
        matches!(client.run(&name("shpo"), &[]).await, Err(Error::NotFound { what }) if what == "job shpo")
    );
}

#[tokio::test]
async fn a_job_whose_parameters_were_just_taken_away_is_built_without_them_or_refused() {
    let (standin, client) = with(None, shop).await;
    standin.world().jobs.get_mut("shop").unwrap().wish = Wish::Unparameterized;
    client.run(&name("shop"), &[]).await.unwrap();
    let requests = standin.world().requests.clone();
    assert_eq!(requests[1..], ["POST /job/shop/buildWithParameters", "POST /job/shop/build"]);

    let (standin, client) = with(None, shop).await;
    standin.world().jobs.get_mut("shop").unwrap().wish = Wish::Unparameterized;
    let refused = client.run(&name("shop"), &given(&[("VERSION", "2")])).await;
    assert!(matches!(refused, Err(Error::Answer { status: 400, .. })), "{refused:?}");
}

#[tokio::test]
async fn whoever_does_not_say_who_they_are_is_told_so_and_not_that_they_lack_a_permission() {
    let strangers = |world: &mut World| {
        shop(world);
        world.guard = Guard::Strangers;
    };
    let (_standin, client) = with(None, strangers).await;
    assert!(matches!(client.job(&name("shop")).await, Err(Error::Unauthenticated { .. })));
    let (_standin, client) = with(login("token"), strangers).await;
    client.job(&name("shop")).await.unwrap();
}

#[tokio::test]
async fn what_must_be_given_is_missed_where_it_is_not_or_is_empty() {
    let (_standin, client) = with(None, |world| {
        let mut version = text_parameter("VERSION", "");
        version["description"] = "which one (required)".into();
        world.pipeline("shop", vec![version, text_parameter("NOTE", "")], Script::default());
    })
    .await;
    for wrong in [&[][..], &[("VERSION", "")], &[("NOTE", "x")]] {
        let Err(Error::Parameters { problems, .. }) = client.run(&name("shop"), &given(wrong)).await else {
            panic!("{wrong:?} passed")
        };
        assert_eq!(problems, [Problem::Missing { name: "VERSION".to_owned() }]);
    }
    client.run(&name("shop"), &given(&[("VERSION", "7")])).await.unwrap();
}

#[tokio::test]
async fn an_item_tells_its_job_wherever_jenkins_believes_to_be() {
    let (_standin, client) = with(None, |world| {
        world.folder("team a");
        world.pipeline("team a/feature%2Fcart", vec![text_parameter("V", "")], Script::default());
    })
    .await;
    let job = name("team a").branch("feature/cart");
    let queued = client.run(&job, &[]).await.unwrap();
    assert_eq!(client.job(&job).await.unwrap().queued.unwrap().0, queued.item);
    assert_eq!(client.job_of_item(queued.item).await.unwrap(), Some(job));
    assert_eq!(client.job_of_item(999).await.unwrap(), None);
}

#[tokio::test]
async fn a_job_without_parameters_is_built_without_them() {
    let (standin, client) = with(None, |world| world.pipeline("plain", Vec::new(), Script::default())).await;
    client.run(&name("plain"), &[]).await.unwrap();
    assert!(standin.world().requests.iter().any(|request| request == "POST /job/plain/build"));
}

#[tokio::test]
async fn parameters_are_checked_before_anything_is_asked_for() {
    let (standin, client) = with(None, shop).await;
    let wrong =
        given(&[("VERSOIN", "2"), ("TARGET", "moon"), ("DRY", "yes"), ("VERSION", "1"), ("VERSION", "2")]);
    let Err(Error::Parameters { problems, .. }) = client.run(&name("shop"), &wrong).await else {
        panic!("it passed")
    };
    assert!(matches!(
        problems.as_slice(),
        [
            Problem::Unknown { .. },
            Problem::NotAChoice { .. },
            Problem::NotAFlag { .. },
            Problem::Twice { .. }
        ]
    ));
    assert!(!standin.world().requests.iter().any(|request| request.starts_with("POST")));
}

#[tokio::test]
async fn an_item_that_is_cancelled_or_forgotten_is_told_so() {
    let (standin, client) = with(None, |world| {
        shop(world);
        world.jobs.get_mut("shop").unwrap().script.queue = vec![Step::Waiting, Step::Cancelled];
    })
    .await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    assert!(matches!(client.item(queued.item).await.unwrap(), Item::Waiting { .. }));
    assert_eq!(client.item(queued.item).await.unwrap(), Item::Cancelled);
    // The next one leaves, and is asked for too late; its build is found by the item's number.
    standin.world().jobs.get_mut("shop").unwrap().script.queue = vec![Step::Expired];
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    assert_eq!(client.item(queued.item).await.unwrap(), Item::Gone);
    assert_eq!(client.build_of_item(&name("shop"), queued.item).await.unwrap(), Some(1));
    assert_eq!(client.build_of_item(&name("shop"), 999).await.unwrap(), None);
}

#[tokio::test]
async fn an_item_can_be_taken_out() {
    let (_standin, client) = with(None, shop).await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    client.cancel(queued.item).await.unwrap();
    assert_eq!(client.item(queued.item).await.unwrap(), Item::Cancelled);
}

#[tokio::test]
async fn a_log_comes_whole_with_notes_taken_out_and_characters_cut_between_pieces() {
    let text = "Gebaut für 한국 🛒\n";
    let (before, after) = text.as_bytes().split_at(8);
    let note = b"\x1b[8mha:////4AAA=\x1b[0m".to_vec();
    let (_standin, client) = with(None, |world| {
        let log = vec![note.clone(), before.to_vec(), after.to_vec(), note.clone(), b"end\n".to_vec()];
        world.pipeline("shop", Vec::new(), Script { log, ..Script::default() });
    })
    .await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    let number = number_of(&client, queued.item).await;
    assert_eq!(whole_log(&client, &name("shop"), number).await, format!("{text}end\n"));
    let build = client.build(&name("shop"), number).await.unwrap();
    assert_eq!((build.is_running, build.result), (false, Some(BuildResult::Success)));
}

#[tokio::test]
async fn a_reader_that_was_away_goes_on_where_it_was_and_one_that_knows_too_much_begins_again() {
    let (standin, client) = with(None, |world| {
        let log = vec!["aé".as_bytes()[..2].to_vec(), "é".as_bytes()[1..].to_vec(), b"b".to_vec()];
        world.pipeline("shop", Vec::new(), Script { log, ..Script::default() });
    })
    .await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    let number = number_of(&client, queued.item).await;
    let mut log = Log::default();
    assert_eq!(client.log(&name("shop"), number, &mut log).await.unwrap().text, "a");
    // The reader dies within a character; the next one begins before it.
    let mut next = Log::from(log.offset());
    standin.world().outages = 1;
    let away = client.log(&name("shop"), number, &mut next).await;
    assert!(away.as_ref().is_err_and(Error::is_transient), "{away:?}");
    assert_eq!(client.log(&name("shop"), number, &mut next).await.unwrap().text, "é");
    standin.world().jobs.get_mut("shop").unwrap().builds[0].written = b"x".to_vec();
    standin.world().jobs.get_mut("shop").unwrap().builds[0].pending.clear();
    let chunk = client.log(&name("shop"), number, &mut next).await.unwrap();
    assert!(chunk.began_again);
    assert_eq!(chunk.text, "x");
}

#[tokio::test]
async fn stages_are_told_and_missed_where_the_plug_in_is_not_there() {
    let (standin, client) = with(None, |world| {
        let stages = vec![vec![stage("Test", "SUCCESS", 3_000), stage("Deploy", "PAUSED_PENDING_INPUT", 10)]];
        world.pipeline("shop", Vec::new(), Script { stages, ..Script::default() });
    })
    .await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    let number = number_of(&client, queued.item).await;
    let stages = client.stages(&name("shop"), number).await.unwrap().unwrap();
    let seen: Vec<_> = stages.iter().map(|stage| (stage.name.as_str(), stage.status)).collect();
    assert_eq!(seen, [("Test", StageStatus::Success), ("Deploy", StageStatus::Paused)]);
    standin.world().lacks_stages = true;
    assert_eq!(client.stages(&name("shop"), number).await.unwrap(), None);
    assert_eq!(client.inputs(&name("shop"), number).await.unwrap(), []);
}

#[tokio::test]
async fn a_tree_of_stages_is_told_where_a_plug_in_knows_it() {
    let tree = json!({"complete": false, "stages": [
        {"id": "6", "name": "Prepare", "state": "success", "type": "STAGE", "totalDurationMillis": 1_200, "children": []},
        {"id": "9", "name": "Release", "state": "running", "type": "STAGE", "totalDurationMillis": "a while", "children": [
            {"id": "12", "name": "unit", "state": "failure", "type": "PARALLEL", "children": []},
            {"id": "13", "name": "lint", "state": "NOT_BUILT", "type": "PARALLEL", "other": 1},
        ]},
    ]});
    let (standin, client) = with(None, |world| {
        world.pipeline("shop", Vec::new(), Script { tree: Some(tree), ..Script::default() });
        world.pipeline("old", Vec::new(), Script::default());
    })
    .await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    let number = number_of(&client, queued.item).await;
    let tree = client.stage_tree(&name("shop"), number).await.unwrap().unwrap();
    let seen: Vec<_> =
        tree.iter().map(|one| (one.stage.name.as_str(), one.stage.status, one.children.len())).collect();
    assert_eq!(seen, [("Prepare", StageStatus::Success, 0), ("Release", StageStatus::Running, 2)]);
    assert_eq!(tree[0].stage.took, Duration::from_millis(1_200));
    let within: Vec<_> = tree[1].children.iter().map(|one| (one.beside, one.stage.status)).collect();
    assert_eq!(
        within,
        [(Beside::Parallel, StageStatus::Failed), (Beside::Parallel, StageStatus::NotExecuted)]
    );
    let queued = client.run(&name("old"), &[]).await.unwrap();
    let number = number_of(&client, queued.item).await;
    assert_eq!(client.stage_tree(&name("old"), number).await.unwrap(), None);
    let asked = standin.world().requests.iter().filter(|request| request.contains("/tree")).count();
    assert_eq!(asked, 3, "the newer place is asked where the older one is not there");
}

#[tokio::test]
async fn questions_are_answered_with_and_without_parameters_or_end_the_build() {
    let plain = serde_json::json!({"id": "go", "message": "Deploy?", "proceedText": "Deploy", "inputs": []});
    let full = serde_json::json!({"id": "ef95", "message": "Which?", "proceedText": "Go",
        "inputs": [{"name": "ENV", "definition": {"choices": ["dev", "prod"], "defaultVal": "dev"}}]});
    let last = serde_json::json!({"id": "last", "message": "Sure?", "proceedText": "Yes", "inputs": []});
    let (standin, client) = with(None, |world| {
        let inputs = vec![plain, full, last];
        world.pipeline("shop", Vec::new(), Script { inputs, ..Script::default() });
    })
    .await;
    let shop = name("shop");
    let queued = client.run(&shop, &[]).await.unwrap();
    let number = number_of(&client, queued.item).await;
    let inputs = client.inputs(&shop, number).await.unwrap();
    let asked = &inputs[1].as_parameters()[0];
    assert_eq!(asked.kind, ParameterKind::Choice(vec!["dev".to_owned(), "prod".to_owned()]));
    assert_eq!(asked.default.as_deref(), Some("dev"));
    client.proceed(&shop, number, &inputs[0], &[]).await.unwrap();
    client.proceed(&shop, number, &inputs[1], &given(&[("ENV", "prod")])).await.unwrap();
    client.abort(&shop, number, &inputs[2]).await.unwrap();
    let answers = standin.world().jobs["shop"].builds[0].answers.clone();
    assert_eq!(
        (answers[0].0.as_str(), answers[0].1.as_str(), answers[0].2.as_str()),
        ("Go", "proceedEmpty", "")
    );
    assert_eq!((answers[1].0.as_str(), answers[1].1.as_str()), ("Ef95", "proceed"));
    assert!(
        answers[1].2.contains(r#"json={"parameter":[{"name":"ENV","value":"prod"}]}"#),
        "{}",
        answers[1].2
    );
    assert_eq!(answers[2].1, "abort");
    assert_eq!(whole_log(&client, &shop, number).await, "");
    assert_eq!(client.build(&shop, number).await.unwrap().result, Some(BuildResult::Aborted));
}

#[tokio::test]
async fn a_build_is_stopped() {
    let (_standin, client) = with(None, shop).await;
    let queued = client.run(&name("shop"), &[]).await.unwrap();
    let number = number_of(&client, queued.item).await;
    client.stop(&name("shop"), number).await.unwrap();
    assert!(whole_log(&client, &name("shop"), number).await.ends_with("Aborted by ann\n"));
    assert_eq!(client.last_build(&name("shop")).await.unwrap().result, Some(BuildResult::Aborted));
}

#[tokio::test]
async fn folders_and_branches_with_slashes_are_reached() {
    let (standin, client) = with(None, |world| {
        world.folder("team a");
        world.pipeline("team a/feature%2Fcart", vec![text_parameter("V", "")], Script::default());
    })
    .await;
    let jobs = client.jobs(None).await.unwrap();
    assert_eq!((jobs[0].name.to_string().as_str(), jobs[0].kind), ("team a", JobKind::Folder));
    let jobs = client.jobs(Some(&jobs[0].name)).await.unwrap();
    assert_eq!(jobs[0].name, name("team a/feature%2Fcart"));
    client.run(&jobs[0].name, &[]).await.unwrap();
    let requests = standin.world().requests.clone();
    assert!(
        requests
            .iter()
            .any(|request| request == "POST /job/team%20a/job/feature%252Fcart/buildWithParameters")
    );
}

#[tokio::test]
async fn a_token_needs_no_crumb_and_a_password_has_one_fetched_with_its_session() {
    let (standin, client) = with(login("token"), |world| {
        shop(world);
        world.guard = Guard::Token;
    })
    .await;
    client.run(&name("shop"), &[]).await.unwrap();
    assert!(!standin.world().requests.iter().any(|request| request.contains("crumb")));

    let (standin, client) = with(login("password"), |world| {
        shop(world);
        world.guard = Guard::Password;
    })
    .await;
    client.run(&name("shop"), &[]).await.unwrap();
    client.run(&name("shop"), &[]).await.unwrap();
    let crumbs = standin.world().requests.iter().filter(|request| request.contains("crumb")).count();
    assert_eq!(crumbs, 1);
}

#[tokio::test]
async fn every_way_of_not_being_let_in_is_told_apart() {
    let refused = async |token: &str, guard: Guard| {
        let (_standin, client) = with(login(token), |world| {
            shop(world);
            world.guard = guard;
        })
        .await;
        client.run(&name("shop"), &[]).await.unwrap_err()
    };
    assert!(matches!(refused("wrong", Guard::Token).await, Error::Unauthenticated { .. }));
    assert!(matches!(refused("token", Guard::LoginPage).await, Error::Unauthenticated { .. }));
    let moved = refused("token", Guard::Https).await;
    assert!(
        matches!(&moved, Error::Moved { to, .. } if to.starts_with("https://127.0.0.1/jenkins/job/shop"))
    );
    let denied = refused("token", Guard::Forbidden).await;
    assert!(
        matches!(&denied, Error::Denied { reason, .. } if reason == "ann is missing the Job/Build permission")
    );
    assert!(!format!("{denied:?}").contains("token"));
}

#[tokio::test]
async fn a_jenkins_that_is_not_there_or_is_something_else_is_told_so() {
    let (standin, client) = with(None, shop).await;
    standin.world().outages = 1;
    assert!(client.job(&name("shop")).await.unwrap_err().is_transient());
    let nobody = Client::new("http://127.0.0.1:9/", None, Duration::from_secs(1)).unwrap();
    assert!(matches!(nobody.job(&name("shop")).await, Err(Error::Unreachable { .. })));
    let proxy = axum::Router::new()
        .fallback(async || axum::response::Html("<!DOCTYPE html>\n<title>Sign in</title>"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, proxy).await.unwrap() });
    let client = Client::new(&url, None, Duration::from_secs(5)).unwrap();
    assert!(matches!(
        client.job(&name("shop")).await,
        Err(Error::NotJenkins { first_line, .. }) if first_line == "<!DOCTYPE html>"
    ));
}

#[tokio::test]
async fn parameters_are_described_and_passwords_are_not() {
    let (_standin, client) = with(None, |world| {
        let secret = serde_json::json!({"type": "PasswordParameterDefinition", "name": "KEY",
            "defaultParameterValue": {"value": "hunter2"}});
        world.pipeline("shop", vec![choice_parameter("TARGET", &["dev", "prod"]), secret], Script::default());
    })
    .await;
    let job = client.job(&name("shop")).await.unwrap();
    assert_eq!(job.parameters[0].default.as_deref(), Some("dev"));
    assert_eq!((&job.parameters[1].kind, &job.parameters[1].default), (&ParameterKind::Password, &None));
    assert!(!format!("{job:?}").contains("hunter2"));
}
