//! Jobs as code.

use jenkins::testing::Standin;
use serde_json::json;

use super::{code, posts, with};
use crate::commands::testing::Typed;

const FOLDER: &str = "kind = \"folder\"\nname = \"rtc\"\ndescription = \"all of it\"\n";
const DEVELOP: &str = "kind = \"pipeline\"\nname = \"rtc/develop\"\ndescription = \"builds develop\"\n\
                       script = \"Jenkinsfile\"\nbranches = [\"develop\"]\n";

async fn ground() -> (Standin, Typed) {
    let (standin, typed) = with(|_| {}).await;
    std::fs::create_dir_all(typed.path("pipelines/jenkins/jobs")).unwrap();
    typed.write("pipelines/jenkins/jobs/a.toml", DEVELOP.as_bytes());
    typed.write("pipelines/jenkins/jobs/b.toml", FOLDER.as_bytes());
    typed.write("pipelines/jenkins/jobs/README.md", b"not a job");
    (standin, typed)
}

#[tokio::test]
async fn what_would_change_is_shown_then_made_and_then_there_is_nothing_left() {
    let (standin, typed) = ground().await;
    let dry = typed.run(&["pipeline", "sync", "--dry-run", "--exit-code", "-o", "json"]).await;
    let document = dry.json();
    assert_eq!(
        (dry.exit, &document["status"], &document["data"]["changed"]),
        (10, &json!("changes"), &json!(0))
    );
    assert_eq!(
        typed.run(&["pipeline", "sync", "--dry-run"]).await.stdout,
        "+ rtc (folder)\n+ rtc/develop (pipeline)\n2 jobs: 2 would be created, 0 would be updated, 0 would be deleted\n"
    );
    code(&typed.run(&["pipeline", "sync", "-o", "json"]).await, 7, "CNF001");
    assert!(posts(&standin).is_empty());
    let came = typed.run(&["pipeline", "sync", "--yes"]).await;
    assert_eq!(
        (came.exit, came.stdout.as_str()),
        (0, "2 jobs: 2 created, 0 updated, 0 deleted\n"),
        "{}",
        came.stderr
    );
    assert_eq!(posts(&standin), ["POST /createItem", "POST /job/rtc/createItem"]);
    let again = typed.run(&["pipeline", "sync", "--dry-run", "--exit-code"]).await;
    assert_eq!((again.exit, again.stdout.as_str()), (0, "2 jobs are as they are described\n"));

    typed.write("pipelines/jenkins/jobs/a.toml", DEVELOP.replace("builds develop", "more").as_bytes());
    let changed = typed.run(&["pipeline", "sync", "--yes", "-o", "json"]).await;
    let difference = &changed.json()["data"]["jobs"][1]["differences"][0];
    assert_eq!((&difference["at"], changed.exit), (&json!("description"), 0));
    assert!(
        changed.stderr.contains("~ rtc/develop") && changed.stderr.contains("more"),
        "{}",
        changed.stderr
    );
    let journal = typed.run(&["runs", "show", "last", "-o", "json"]).await.stdout;
    assert!(journal.contains("update rtc/develop"), "{journal}");
}

#[tokio::test]
async fn only_what_we_made_is_deleted_and_only_where_it_is_asked_for() {
    let (standin, typed) = ground().await;
    assert_eq!(typed.run(&["pipeline", "sync", "--yes"]).await.exit, 0);
    standin.world().pipeline("theirs", Vec::new(), jenkins::testing::Script::default());
    std::fs::remove_file(typed.path("pipelines/jenkins/jobs/a.toml")).unwrap();
    let kept = typed.run(&["pipeline", "sync", "--yes", "-o", "json"]).await.json();
    assert_eq!(
        (&kept["data"]["strays"], &kept["findings"][0]["code"]),
        (&json!(["rtc/develop"]), &json!("PIP032"))
    );
    let protected = ["pipeline", "sync", "--prune", "--yes", "--env", "prod"];
    assert_eq!(typed.run(&protected).await.exit, 7);
    let came = typed.run(&[&protected[..], &["--confirm", "prod"]].concat()).await;
    assert_eq!(
        (came.exit, came.stdout.as_str()),
        (0, "1 job: 0 created, 0 updated, 1 deleted\n"),
        "{}",
        came.stderr
    );
    assert_eq!(standin.world().jobs.keys().collect::<Vec<_>>(), ["rtc", "theirs"]);
}

#[tokio::test]
async fn where_one_job_must_not_be_changed_none_is() {
    let (standin, typed) = ground().await;
    standin.world().folder("rtc");
    standin.world().jobs.get_mut("rtc").unwrap().xml =
        "<com.cloudbees.hudson.plugins.folder.Folder><description>by hand</description></com.cloudbees.hudson.plugins.folder.Folder>".to_owned();
    let error = code(&typed.run(&["pipeline", "sync", "--yes", "-o", "json"]).await, 8, "PIP019");
    assert!(error["causes"][0].as_str().unwrap().contains("--adopt"), "{error}");
    assert!(posts(&standin).is_empty());
    assert_eq!(typed.run(&["pipeline", "sync", "--yes", "--adopt"]).await.exit, 0);
    typed.write("pipelines/jenkins/jobs/c.toml", DEVELOP.replace("rtc/", "nowhere/").as_bytes());
    let error = code(&typed.run(&["pipeline", "sync", "--yes", "-o", "json"]).await, 8, "PIP019");
    assert!(error["causes"][0].as_str().unwrap().contains("no folder nowhere"), "{error}");
}

#[tokio::test]
async fn a_description_that_is_wrong_is_told_with_its_file_and_its_line() {
    let (_standin, typed) = ground().await;
    for (text, word) in [
        (DEVELOP.replace("script =", "scirpt ="), "a.toml: line 4: unknown field `scirpt`"),
        (format!("{DEVELOP}repository = \"https://ann:hunter2@git/x\"\n"), "name credentials by their id"),
        ("not toml".to_owned(), "a.toml: line 1"),
        (FOLDER.to_owned(), "is described by"),
    ] {
        typed.write("pipelines/jenkins/jobs/a.toml", text.as_bytes());
        let error = code(&typed.run(&["pipeline", "sync", "--dry-run", "-o", "json"]).await, 3, "PIP018");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(word) && !message.contains("hunter2"), "{word}: {message}");
    }
    std::fs::create_dir(typed.path("empty")).unwrap();
    for folder in ["nowhere", "empty"] {
        code(&typed.run(&["pipeline", "sync", "--jobs", folder, "--prune", "-o", "json"]).await, 3, "PIP018");
    }
}

#[tokio::test]
async fn a_plug_in_that_is_missing_and_somebody_who_was_faster_are_told() {
    let (standin, typed) = ground().await;
    standin.world().lacks_classes = vec!["GitHubPushTrigger"];
    typed.write(
        "pipelines/jenkins/jobs/a.toml",
        format!("{DEVELOP}triggers = {{ push = true }}\n").as_bytes(),
    );
    let error = code(&typed.run(&["pipeline", "sync", "--yes", "-o", "json"]).await, 3, "PIP021");
    assert!(error["message"].as_str().unwrap().contains("GitHubPushTrigger"), "{error}");
    assert!(error["causes"].to_string().contains("1 of 2 jobs were changed before"), "{error}");
}

#[tokio::test]
async fn the_jobs_of_this_repository_are_described_rightly() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Folders with what is theirs are made by casc/jenkins.yaml.
    let (standin, typed) = with(|world| {
        world.folder("rtc-dev");
        world.folder("rtc-prod");
    })
    .await;
    let jobs = root.join("pipelines/jenkins/jobs").display().to_string();
    let came = typed.run(&["pipeline", "sync", "--jobs", &jobs, "--yes", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let again = typed.run(&["pipeline", "sync", "--jobs", &jobs, "--dry-run", "--exit-code"]).await;
    assert_eq!(again.exit, 0, "{}", again.stdout);
    // Each names a script that there is.
    for text in standin.world().jobs.values().map(|job| job.xml.clone()) {
        if let Some((_, rest)) = text.split_once("<scriptPath>") {
            let path = rest.split('<').next().unwrap();
            assert!(root.join(path).is_file(), "{path}");
        }
    }
}
