//! Descriptions made into jobs of the stand-in, which fills in and drops what Jenkins fills in and drops.

use super::{name, with};
use crate::testing::{Standin, World};
use crate::{Adopting, Change, Client, Description, Error, Filled, Planned, Refusal, Sync};

fn ours() -> Sync {
    Sync { owner: "rtc".to_owned(), adopting: Adopting::Refused }
}

fn described(files: &[&str]) -> Vec<(String, Description)> {
    let filled = Filled { repository: Some("https://git.example/rtc.git".to_owned()), credentials: None };
    let read = |(number, text): (usize, &&str)| {
        let file = format!("{number}.toml");
        let description = Description::parse(&file, text, &filled).unwrap();
        (file, description)
    };
    files.iter().enumerate().map(read).collect()
}

const FOLDER: &str = "kind = \"folder\"\nname = \"rtc\"\ndescription = \"all of it\"\n";
const DEVELOP: &str = r#"
kind = "pipeline"
name = "rtc/develop"
description = "builds develop"
script = "Jenkinsfile"
branches = ["develop"]
triggers = { poll = "H/15 * * * *" }
[[parameters]]
name = "ENV"
kind = "choice"
choices = ["dev", "prod"]
"#;
const BRANCHES: &str = r#"
kind = "multibranch"
name = "rtc/branches"
description = "builds all"
script = "Jenkinsfile"
branches = ["feature/*"]
triggers = { scan_minutes = 60 }
"#;

fn changes(planned: &[Planned]) -> Vec<(String, Change)> {
    planned.iter().map(|one| (one.name.to_string(), one.change.clone())).collect()
}

async fn made(files: &[&str], arrange: impl FnOnce(&mut World)) -> (Standin, Client) {
    let (standin, client) = with(None, arrange).await;
    for one in ours().plan(&client, &described(files)).await.unwrap() {
        ours().apply(&client, &one).await.unwrap();
    }
    (standin, client)
}

#[tokio::test]
async fn jobs_are_made_folders_first_and_then_there_is_nothing_to_do() {
    let files = [DEVELOP, BRANCHES, FOLDER];
    let (standin, client) = with(None, |_| {}).await;
    let planned = ours().plan(&client, &described(&files)).await.unwrap();
    assert_eq!(
        changes(&planned),
        ["rtc", "rtc/branches", "rtc/develop"].map(|name| (name.to_owned(), Change::Create))
    );
    for one in &planned {
        ours().apply(&client, one).await.unwrap();
    }
    // What Jenkins has filled in is no difference.
    assert!(standin.world().jobs["rtc/develop"].xml.contains("abortPrevious"));
    let again = ours().plan(&client, &described(&files)).await.unwrap();
    assert!(again.iter().all(|one| one.change == Change::Nothing), "{again:?}");
    assert!(ours().strays(&client, &described(&files)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_change_is_shown_and_made_and_what_others_added_stays() {
    let (standin, client) = made(&[FOLDER, DEVELOP], |_| {}).await;
    let secret = "<com.example.Credentials><secret>{AQAAABAAAAAQhunter2}</secret></com.example.Credentials>";
    {
        let mut world = standin.world();
        let folder = world.jobs.get_mut("rtc").unwrap();
        folder.xml = folder.xml.replace("<properties/>", &format!("<properties>{secret}</properties>"));
        let job = world.jobs.get_mut("rtc/develop").unwrap();
        job.xml = job.xml.replace("<string>prod</string>", "<string>moon</string>");
    }
    let files = [&FOLDER.replace("all of it", "everything"), DEVELOP];
    let planned = ours().plan(&client, &described(&files)).await.unwrap();
    assert!(planned.iter().all(|one| one.change == Change::Update));
    let shown = serde_json::to_string(&[&planned[0].differences, &planned[1].differences]).unwrap();
    assert!(
        shown.contains("dev, moon") && shown.contains("dev, prod") && !shown.contains("hunter2"),
        "{shown}"
    );
    for one in &planned {
        ours().apply(&client, one).await.unwrap();
    }
    let world = standin.world();
    assert!(world.jobs["rtc"].xml.contains("{AQAAABAAAAAQhunter2}"), "{}", world.jobs["rtc"].xml);
    assert!(world.jobs["rtc/develop"].xml.contains("<string>prod</string>"));
}

#[tokio::test]
async fn a_job_of_somebody_else_is_neither_changed_nor_deleted_unless_it_is_adopted() {
    let theirs =
        "<flow-definition><description>by hand</description><disabled>false</disabled></flow-definition>";
    let (standin, client) = made(&[FOLDER], |_| {}).await;
    standin.world().pipeline("rtc/develop", Vec::new(), crate::testing::Script::default());
    standin.world().jobs.get_mut("rtc/develop").unwrap().xml = theirs.to_owned();
    let wanted = described(&[FOLDER, DEVELOP]);
    let planned = ours().plan(&client, &wanted).await.unwrap();
    assert_eq!(planned[1].change, Change::Refused(Refusal::NotOurs));
    // Nothing describes them any more: ours would go, but holds theirs.
    let strays = ours().strays(&client, &[]).await.unwrap();
    assert_eq!(
        changes(&strays),
        [("rtc".to_owned(), Change::Refused(Refusal::Holds { others: vec![name("rtc/develop")] }))]
    );
    let adopting = Sync { adopting: Adopting::Allowed, ..ours() };
    let planned = adopting.plan(&client, &wanted).await.unwrap();
    assert_eq!(planned[1].change, Change::Update);
    adopting.apply(&client, &planned[1]).await.unwrap();
    assert!(ours().plan(&client, &wanted).await.unwrap().iter().all(|one| one.change == Change::Nothing));
    // Another repository's jobs are not ours either.
    let other = Sync { owner: "rtc2".to_owned(), ..ours() };
    assert!(other.strays(&client, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_described_no_more_is_deleted_the_deepest_first() {
    let (standin, client) = made(&[FOLDER, DEVELOP, BRANCHES], |_| {}).await;
    standin.world().pipeline("rtc/branches/feature%2Fx", Vec::new(), crate::testing::Script::default());
    let strays = ours().strays(&client, &described(&[FOLDER, DEVELOP])).await.unwrap();
    assert_eq!(changes(&strays), [("rtc/branches".to_owned(), Change::Delete)]);
    let strays = ours().strays(&client, &[]).await.unwrap();
    assert_eq!(strays.last().unwrap().name, name("rtc"));
    for stray in &strays {
        ours().apply(&client, stray).await.unwrap();
    }
    assert!(standin.world().jobs.is_empty());
}

#[tokio::test]
async fn a_folder_called_login_is_no_login_page() {
    let folder = FOLDER.replace("\"rtc\"", "\"login\"");
    let job = DEVELOP.replace("rtc/develop", "login/develop");
    let (standin, client) = made(&[&folder, &job], |_| {}).await;
    let strays = ours().strays(&client, &described(&[&folder])).await.unwrap();
    ours().apply(&client, &strays[0]).await.unwrap();
    assert_eq!(standin.world().jobs.keys().collect::<Vec<_>>(), ["login"]);
}

#[tokio::test]
async fn each_reason_not_to_touch_a_job_is_told() {
    let (standin, client) = made(&[FOLDER, DEVELOP], |_| {}).await;
    // A job where a folder is wanted.
    let as_folder = DEVELOP.replace("rtc/develop", "rtc");
    let planned = ours().plan(&client, &described(&[&as_folder])).await.unwrap();
    assert_eq!(planned[0].change, Change::Refused(Refusal::OtherKind { has: "folder".to_owned() }));
    let planned = ours().plan(&client, &described(&[&DEVELOP.replace("rtc/", "nowhere/")])).await.unwrap();
    assert_eq!(planned[0].change, Change::Refused(Refusal::NoFolder { folder: name("nowhere") }));
    // Whoever may not see secrets would lose them.
    {
        let mut world = standin.world();
        let job = world.jobs.get_mut("rtc/develop").unwrap();
        job.xml = job.xml.replace("<actions/>", "<actions><x><secret-redacted/></x></actions>");
    }
    let changed = described(&[&DEVELOP.replace("builds develop", "more")]);
    let planned = ours().plan(&client, &changed).await.unwrap();
    assert_eq!(planned[0].change, Change::Refused(Refusal::Redacted));
    let twice = ours().plan(&client, &described(&[FOLDER, FOLDER])).await;
    assert!(matches!(twice, Err(Error::Described { reason, .. }) if reason.contains("0.toml too")));
}

#[tokio::test]
async fn somebody_who_was_faster_and_a_plug_in_that_is_not_there_are_told() {
    let (standin, client) = made(&[FOLDER, DEVELOP], |_| {}).await;
    let planned =
        ours().plan(&client, &described(&[&DEVELOP.replace("builds develop", "more")])).await.unwrap();
    {
        let mut world = standin.world();
        let job = world.jobs.get_mut("rtc/develop").unwrap();
        job.xml = job.xml.replace("H/15", "H/20");
    }
    let faster = ours().apply(&client, &planned[0]).await;
    assert!(matches!(faster, Err(Error::ChangedMeanwhile { job }) if job == "rtc/develop"));
    standin.world().lacks_classes = vec!["GitHubPushTrigger"];
    let pushed = DEVELOP.replace("poll = \"H/15 * * * *\"", "push = true");
    let planned = ours().plan(&client, &described(&[&pushed])).await.unwrap();
    let lost = ours().apply(&client, &planned[0]).await;
    assert!(
        matches!(&lost, Err(Error::NotTaken { at, .. }) if at == "triggers/GitHubPushTrigger"),
        "{lost:?}"
    );
}
