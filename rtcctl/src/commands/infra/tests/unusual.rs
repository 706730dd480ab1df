//! What is not as it should be round a Terraform: another program, an old version, files that are missing, noise.

use super::*;

#[tokio::test]
async fn a_plan_says_which_terraform_made_it_and_no_other_run_is_asked() {
    let (shown, apply) = one_created();
    let ground = Ground::new(&shown, &apply);
    let says =
        |version: &str| format!("echo '{}'", json!({"type": "version", "terraform": version, "ui": "1.2"}));
    ground.typed.write("plan.sh", says("1.11.4").as_bytes());
    assert_eq!(ground.run(&["apply", "--yes"]).await.exit, 0);
    let words: Vec<String> =
        ground.called().lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(words, ["init", "plan", "show", "apply"]);
    ground.typed.write("plan.sh", says("1.10.5").as_bytes());
    let came = ground.run(&["apply", "--yes"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (3, &json!("INF003")), "{}", came.stderr);
    assert_eq!(ground.called().matches("apply ").count(), 1);
}

#[tokio::test]
async fn what_is_no_terraform_or_an_old_one_is_named_when_it_fails() {
    let ground = Ground::new(&plan(&[]), "");
    let script = |text: &str| ground.typed.write("terraform", format!("#!/bin/sh\n{text}\n").as_bytes());
    let old = "[ \"$1\" = version ] && echo '{\"terraform_version\":\"0.14.11\"}' && exit 0\nexit 1";
    for words in [&["plan"] as &[&str], &["outputs"], &["locks"]] {
        script("exit 1");
        let came = ground.run(words).await;
        assert_eq!((came.exit, &came.error()["code"]), (3, &json!("INF002")), "{}", came.stderr);
        script(old);
        let came = ground.run(words).await;
        assert_eq!((came.exit, &came.error()["code"]), (3, &json!("INF003")), "{}", came.stderr);
    }
    script("exit 0");
    std::fs::create_dir(ground.typed.path("dev/.terraform")).unwrap();
    assert_eq!(ground.run(&["plan"]).await.error()["code"], "INF002");
    std::fs::remove_file(ground.typed.path("terraform")).unwrap();
    let came = ground.run(&["plan"]).await;
    assert!(came.stderr.contains("cannot start") && came.stderr.contains("/terraform"), "{}", came.stderr);
}

/// A recorded apply between whatever a terminal, a wrapper and a later Terraform may say.
#[tokio::test]
async fn noise_unknown_events_and_endless_lines_change_nothing_of_an_apply() {
    let (shown, apply) = one_created();
    let noise = "echo 'Acquiring state lock. This may take a few moments...'\n\
                 printf '\\377\\376\\000 broken\\n{\"half\": \\n'\n\
                 echo '{\"type\":\"action_start\",\"@message\":\"an action\",\"hook\":{\"action\":{\"addr\":\"a.b\"}}}'\n\
                 echo '{\"type\":\"apply_start\",\"@message\":\"of no shape\",\"hook\":7}'\n\
                 head -c 40000000 /dev/zero | tr '\\000' x; echo\n\
                 echo 'panic: beside it all' >&2";
    let ground = Ground::new(&shown, &format!("{noise}\n{apply}\n{noise}"));
    let came = ground.run(&["apply", "--yes", "--verbose"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(came.json()["data"]["steps"].as_array().map(Vec::len), Some(1));
    for told in ["Acquiring state lock", "an action", "of no shape", "a line of 40000000 bytes was passed by"]
    {
        assert!(came.stderr.contains(told), "{told}: {}", came.stderr);
    }
}

#[tokio::test]
async fn a_file_of_variables_that_is_not_there_is_named_before_anything_is_started() {
    let ground = Ground::new(&plan(&[]), "");
    let text = std::fs::read_to_string(ground.typed.path("rtc.toml")).unwrap();
    let named = text.replacen(
        "terraform = \"dev\"\n",
        "terraform = \"dev\"\nterraform_variables = \"dev/dev.tfvars\"\n",
        1,
    );
    ground.typed.write("rtc.toml", named.as_bytes());
    ground.typed.write("dev/dev.tfvars.example", b"");
    let came = ground.run(&["plan"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (3, &json!("INF012")), "{}", came.stderr);
    assert!(came.error()["message"].as_str().unwrap().contains("terraform_variables of the environment dev"));
    assert!(came.error()["hints"][0].as_str().unwrap().contains("dev.tfvars.example"), "{}", came.stderr);
    assert_eq!(ground.called(), "");
}
