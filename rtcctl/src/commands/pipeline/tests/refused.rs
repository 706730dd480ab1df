//! What goes wrong, each with its code, its cause and a hint; and secrets, which are nowhere.

use jenkins::testing::{Guard, Script, World, text_parameter};
use serde_json::json;

use super::{code, posts, shop, with};
use crate::commands::testing::Typed;

#[tokio::test]
async fn parameters_are_compared_with_the_job_before_anything_is_asked_for() {
    let (standin, typed) = with(|world| {
        shop(world);
        let mut note = text_parameter("NOTE", "");
        note["description"] = "why (required)".into();
        world.jobs.get_mut("shop").unwrap().parameters.push(note);
    })
    .await;
    let words = ["pipeline", "run", "shop", "-o", "json"];
    let wrong =
        ["-p", "VERSOIN=2", "-p", "TARGET=prd", "-p", "DRY=yes", "-p", "VERSION=1", "-p", "VERSION=2"];
    let error = code(&typed.run(&[&words[..], &wrong].concat()).await, 2, "PIP008");
    assert_eq!(error["causes"].as_array().unwrap().len(), 5, "{error}");
    let hints = error["hints"].to_string();
    for word in
        ["VERSOIN: did you mean VERSION?", "TARGET: did you mean prod?", "rtcctl pipeline params shop"]
    {
        assert!(hints.contains(word), "{word}: {hints}");
    }
    assert!(error["causes"].to_string().contains("NOTE is missing"), "{error}");
    assert!(posts(&standin).is_empty());
    for pair in ["VERSION", "=x"] {
        assert_eq!(typed.run(&["pipeline", "run", "shop", "-p", pair]).await.exit, 2);
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_built_is_told_so() {
    use jenkins::testing::Wish;
    for (wish, exit, word) in [
        (Wish::Refused, 8, "PIP009"),
        (Wish::JustDisabled, 8, "PIP009"),
        (Wish::Unparameterized, 1, "PIP023"),
    ] {
        let (standin, typed) = with(shop).await;
        standin.world().jobs.get_mut("shop").unwrap().wish = wish;
        code(&typed.run(&["pipeline", "run", "shop", "-o", "json"]).await, exit, word);
    }
    let (standin, typed) = with(shop).await;
    standin.world().jobs.get_mut("shop").unwrap().is_disabled = true;
    code(&typed.run(&["pipeline", "run", "shop", "-o", "json"]).await, 8, "PIP009");
    let journal = typed.run(&["runs", "show", "last", "-o", "json"]).await.stdout;
    assert!(journal.contains("PIP009"), "{journal}");
}

#[tokio::test]
async fn an_answer_that_leaves_open_whether_a_build_was_asked_for_does_not_say_try_again() {
    use jenkins::testing::Wish;
    for status in [201, 408, 500, 502, 503, 504] {
        let (standin, typed) = with(shop).await;
        standin.world().jobs.get_mut("shop").unwrap().wish = Wish::Lost(status);
        let error = code(&typed.run(&["pipeline", "run", "shop", "-o", "json"]).await, 9, "PIP024");
        assert!(error["hints"][0].as_str().unwrap().contains("before you repeat"), "{error}");
        assert_eq!((posts(&standin).len(), standin.world().queue.len()), (1, 1), "{status}");
    }
    // Too many requests are refused before anything is done.
    let (standin, typed) = with(shop).await;
    standin.world().jobs.get_mut("shop").unwrap().wish = Wish::Lost(429);
    code(&typed.run(&["pipeline", "run", "shop", "-o", "json"]).await, 9, "PIP006");
}

#[tokio::test]
async fn names_that_are_none_or_are_mistyped_are_helped() {
    let (_standin, typed) = with(|world| {
        shop(world);
        world.folder("team");
        world.pipeline("team/deploy", Vec::new(), Script::default());
    })
    .await;
    for (name, exit, word, hint) in [
        ("shpo", 5, "PIP005", "did you mean shop?"),
        ("team/delpoy", 5, "PIP005", "did you mean team/deploy?"),
        ("nothing/like/it", 5, "PIP005", "rtcctl pipeline list"),
        ("a//b", 2, "PIP015", "rtcctl pipeline list"),
        ("a/../b", 2, "PIP015", "rtcctl pipeline list"),
        ("https://ci/view/all", 2, "PIP015", "rtcctl pipeline list"),
    ] {
        for verb in ["run", "params", "status", "stop"] {
            let error = code(&typed.run(&["pipeline", verb, name, "--yes", "-o", "json"]).await, exit, word);
            assert!(error["hints"][0].as_str().unwrap().contains(hint), "{name}: {error}");
        }
    }
    code(
        &typed.run(&["pipeline", "run", "--follow", "https://ci/view/all", "-o", "json"]).await,
        2,
        "PIP015",
    );
    let error =
        code(&typed.run(&["pipeline", "status", "shop", "--build", "7", "-o", "json"]).await, 5, "PIP005");
    assert!(error["message"].as_str().unwrap().contains("build 7 of shop"), "{error}");
}

#[tokio::test]
async fn every_way_of_not_being_let_in_has_its_code_and_a_hint() {
    let refused = async |guard: Guard, login: Option<&str>| {
        let (_standin, mut typed) = with(|world| {
            shop(world);
            world.guard = guard;
        })
        .await;
        if let Some(word) = login {
            typed.set("RTCCTL_JENKINS_USER", "ann");
            typed.set("RTCCTL_JENKINS_TOKEN", "env:WORD");
            typed.set("WORD", word);
        }
        typed.run(&["pipeline", "run", "shop", "-o", "json"]).await
    };
    code(&refused(Guard::Token, None).await, 4, "PIP003");
    code(&refused(Guard::Token, Some("wrong-hunter2")).await, 4, "PIP003");
    code(&refused(Guard::Strangers, None).await, 4, "PIP003");
    code(&refused(Guard::LoginPage, Some("token")).await, 4, "PIP003");
    let error = code(&refused(Guard::Forbidden, Some("token")).await, 4, "PIP004");
    assert!(error["hints"][0].as_str().unwrap().contains("ask for Job/Build for ann"), "{error}");
    let error = code(&refused(Guard::Https, Some("token")).await, 3, "PIP007");
    assert!(error["hints"][0].as_str().unwrap().contains("https://127.0.0.1/jenkins"), "{error}");
    for (guard, word) in [(Guard::Token, "token"), (Guard::Password, "password")] {
        let came = refused(guard, Some(word)).await;
        assert_eq!(came.exit, 0, "{}", came.stderr);
        assert!(!came.stderr.contains("YW5uO") && !came.stdout.contains("YW5uO"));
    }
}

#[tokio::test]
async fn settings_that_do_not_go_together_are_refused_without_their_secret() {
    for (toml, exit, word) in [
        ("[environments.local]\nkind = \"embedded\"\n", 3, "PIP001"),
        ("[jenkins]\nurl = \"http://ann:hunter2@ci.example\"\n", 3, "PIP002"),
        ("[jenkins]\nurl = \"http://ci.example\"\nuser = \"ann\"\n", 3, "PIP002"),
        ("[jenkins]\nurl = \"http://ci.example\"\ntoken = \"env:HOME_\"\n", 3, "CFG008"),
        ("[jenkins]\nurl = \"http://ci.example\"\ntoken = \"hunter2\"\n", 3, "CFG007"),
        ("[jenkins]\nurl = \"ci.example\"\n", 3, "CFG004"),
        ("[jenkins]\nurls = \"http://ci.example\"\n", 3, "CFG003"),
        ("[jenkins]\non_interrupt = \"never\"\n", 3, "CFG004"),
        ("[pipelines.x]\nabout = \"a\"\n", 3, "CFG004"),
        ("[pipelines.x]\njob = \"a//b\"\n", 3, "CFG004"),
        ("[pipelines.x]\njobs = \"a\"\n", 3, "CFG003"),
        ("[pipelines.x]\njob = \"a\"\nparameters = { A = [1] }\n", 3, "CFG004"),
        ("[pipelines.\"a b\"]\njob = \"a\"\n", 3, "CFG004"),
    ] {
        let typed = Typed::alone();
        typed.write("rtc.toml", toml.as_bytes());
        let came = typed.run(&["pipeline", "list", "-o", "json"]).await;
        assert_eq!((came.exit, came.error()["code"].as_str()), (exit, Some(word)), "{toml}: {}", came.stderr);
        assert!(!came.stderr.contains("hunter2"), "{}", came.stderr);
    }
}

#[tokio::test]
async fn each_environment_has_its_own_jenkins_over_the_one_of_all() {
    let (standin, _) = with(shop).await;
    let typed = Typed::alone();
    let toml = format!(
        "[jenkins]\nurl = \"http://127.0.0.1:9\"\n\n[environments.dev]\nkind = \"remote\"\njenkins = \"{}\"\n",
        standin.url
    );
    typed.write("rtc.toml", toml.as_bytes());
    assert_eq!(typed.run(&["pipeline", "list", "--env", "dev"]).await.exit, 0);
    code(&typed.run(&["pipeline", "list", "-o", "json"]).await, 9, "PIP006");
    let shown = typed.run(&["config", "show", "--env", "dev", "-o", "json"]).await.json();
    let jenkins = shown["data"]["settings"].as_array().unwrap().iter().find(|one| one["key"] == "jenkins");
    assert_eq!(jenkins.unwrap()["value"], standin.url.as_str());
}

#[tokio::test]
async fn a_password_is_given_by_reference_alone_and_is_seen_by_nobody() {
    let secret = |world: &mut World| {
        shop(world);
        world
            .jobs
            .get_mut("shop")
            .unwrap()
            .parameters
            .push(json!({"type": "PasswordParameterDefinition", "name": "KEY"}));
    };
    let (standin, mut typed) = with(secret).await;
    let refused = typed.run(&["pipeline", "run", "shop", "-p", "KEY=hunter2", "-o", "json"]).await;
    code(&refused, 2, "PIP022");
    assert!(!refused.stderr.contains("hunter2") && posts(&standin).is_empty());
    typed.set("THE_KEY", "hunter2");
    let came = typed.run(&["pipeline", "run", "shop", "-p", "KEY=env:THE_KEY", "-o", "json", "-v"]).await;
    assert_eq!((came.exit, &came.json()["data"]["parameters"]["KEY"]), (0, &json!("[hidden]")));
    let sent = standin.world().jobs["shop"].builds[0].parameters.clone();
    assert!(sent.contains(&("KEY".to_owned(), "hunter2".to_owned())), "{sent:?}");
    let journal = typed.run(&["runs", "show", "last", "-o", "json"]).await.stdout;
    assert!(journal.contains("[hidden]"), "{journal}");
    for text in [came.stdout, came.stderr, journal] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_jenkins_and_what_does_not_answer_are_told_apart() {
    let proxy = axum::Router::new()
        .fallback(async || axum::response::Html("<!DOCTYPE html>\n<title>Sign in</title>"));
    let typed = Typed::against(proxy).await;
    let url = typed.api_url().to_owned();
    let ask = async |url: &str| {
        let mut typed = Typed::alone();
        typed.set("RTCCTL_JENKINS", url);
        typed.run(&["pipeline", "list", "-o", "json"]).await
    };
    let error = code(&ask(&url).await, 3, "PIP007");
    assert!(error["message"].as_str().unwrap().contains("<!DOCTYPE html>"), "{error}");
    code(&ask("http://127.0.0.1:9/").await, 9, "PIP006");
    let (standin, typed) = with(shop).await;
    standin.world().outages = 1;
    code(&typed.run(&["pipeline", "list", "-o", "json"]).await, 9, "PIP006");
}
