//! Plans that somebody agreed to, and environments whose name has to be typed.

use serde_json::json;

use super::{Ground, change, one_created, plan};

#[tokio::test]
async fn a_protected_environment_is_changed_by_its_name_alone() {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &apply);
    let apply = async |words: &[&str]| {
        let words = [&["--env", "prod", "--no-input", "-o", "json", "infra", "apply"], words].concat();
        ground.typed.run(&words).await
    };
    for words in [&["--yes"] as &[&str], &["--yes", "--confirm", "dev"]] {
        let came = apply(words).await;
        assert_eq!((came.exit, &came.error()["code"]), (7, &json!("INF016")), "{words:?}");
    }
    assert!(!ground.called().lines().any(|line| line.starts_with("apply ")));
    assert_eq!(apply(&["--confirm", "prod"]).await.exit, 0);
}

#[tokio::test]
async fn a_plan_that_is_not_the_one_that_was_agreed_to_is_not_applied() {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &apply);
    let told = ground.run(&["plan", "--digest-to", "kept/plan.digest"]).await;
    let digest = told.json()["data"]["digest"].as_str().unwrap().to_owned();
    let named = ground.typed.run(&["--env", "dev", "-o", "name", "infra", "plan"]).await.stdout;
    assert_eq!(named.trim(), digest);
    assert!(ground.typed.run(&["--env", "dev", "infra", "plan"]).await.stdout.contains(&digest));
    let by_file = ["apply", "--yes", "--expect", "@kept/plan.digest"];
    let by_word = ["apply", "--yes", "--expect", &digest];
    // Somebody changes what the configuration wants, in nothing but a value.
    let mut other = change("aws_vpc.main", "aws_vpc", &["create"]);
    other["change"]["after"]["size"] = json!(3);
    ground.typed.write("shown.json", plan(&[other]).to_string().as_bytes());
    for words in [by_file, by_word] {
        let came = ground.run(&words).await;
        assert_eq!((came.exit, &came.error()["code"]), (8, &json!("INF023")), "{}", came.stderr);
        assert!(
            came.error()["hints"][0].as_str().unwrap().contains("infra plan --env dev"),
            "{}",
            came.stderr
        );
    }
    assert!(!ground.called().lines().any(|line| line.starts_with("apply ")));
    ground.typed.write("shown.json", shown.to_string().as_bytes());
    for words in [by_file, by_word] {
        assert_eq!(ground.run(&words).await.exit, 0);
    }
    // What was agreed to is done already.
    ground.typed.write("shown.json", plan(&[]).to_string().as_bytes());
    assert_eq!(ground.run(&by_file).await.exit, 0);
    for wrong in ["@none", "@rtc.toml"] {
        let came = ground.run(&["apply", "--yes", "--expect", wrong]).await;
        assert_eq!((came.exit, &came.error()["code"]), (2, &json!("INF024")), "{}", came.stderr);
    }
    assert_eq!(ground.run(&["apply", "--yes", "--expect", "sha256:1"]).await.exit, 2);
}
