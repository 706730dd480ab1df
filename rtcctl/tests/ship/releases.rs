//! Releases that go well, that are refused, and that are taken back.

use std::path::Path;

use kubernetes::testing::behaviour::Behaviour;
use serde_json::Value;

use crate::ground::{Budgets, Came, Cluster, Ground};

#[track_caller]
fn step<'a>(document: &'a Value, name: &str) -> &'a Value {
    let steps = document["data"]["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name}: {document}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_release_would_change_is_shown_and_then_changed_and_then_nothing_is_left_to_change() {
    let ground = Ground::new("whole").await;
    let shown = ground.rtcctl(&["ship", "--plan-only"]).ended_with(0).document();
    let data = &shown["data"];
    assert_eq!(data["plan"]["counts"]["create"], 2, "{data}");
    assert!(data["image"]["upload"]["missing"].as_u64().unwrap() > 0, "{data}");
    assert!(data["deploy"]["new"].as_u64().unwrap() > 5, "{data}");
    assert!(data["budget"]["budgets"].as_array().unwrap().iter().any(|one| one["objective"] == "served"));
    assert_eq!((ground.applied(), ground.notices().len(), ground.runs("ship").len()), (0, 0, 0));

    let released = ground.ship(&[]).ended_with(0).document();
    let digest = data["image"]["digest"].as_str().unwrap();
    assert_eq!(released["data"]["image"]["digest"], digest, "what was shown is what was released");
    assert_eq!(step(&released, "prove")["given"]["running"], serde_json::json!([digest]));
    assert_eq!(step(&released, "deploy")["given"]["image"], digest);
    let told = ground.notices();
    assert_eq!(
        (told.len(), &told[0]["outcome"], &told[0]["digest"]),
        (1, &"released".into(), &digest.into())
    );

    // The same again finds everything as it is.
    let again = ground.rtcctl(&["ship", "--plan-only"]).ended_with(0).document();
    assert_eq!(again["data"]["image"]["upload"]["missing"], 0, "{again}");
    assert_eq!(again["data"]["plan"]["counts"]["create"], 0, "{again}");
    assert_eq!(again["data"]["deploy"]["new"].as_u64(), Some(0), "{}", again["data"]["deploy"]);
    let second = ground.ship(&[]).ended_with(0).document();
    assert_eq!(step(&second, "push")["given"]["bytes_sent"], 0);
    assert_eq!(ground.applied(), 1);
    if let Some((_, generation)) = ground.deployed("users") {
        assert_eq!(generation, 1);
    }
    // What is there is released without a build.
    let reference = released["data"]["image"]["reference"].as_str().unwrap();
    let given = ground.ship(&["--image", reference, "--skip", "plan,apply"]).ended_with(0).document();
    assert_eq!(given["data"]["image"]["digest"], digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_used_up_refuses_and_one_that_nobody_knows_says_so() {
    let ground = Ground::new("budgets").await;
    for (budgets, exit, code, outcome) in
        [(Budgets::Spent, 7, "SHP003", "refused"), (Budgets::Unknown, 31, "SHP005", "inconclusive")]
    {
        ground.describe(budgets, "min = 1");
        let shown =
            ground.rtcctl(&["ship", "--plan-only", "--skip", "plan,apply"]).ended_with(exit).document();
        assert!(shown["findings"].as_array().unwrap().iter().any(|one| one["code"] == code), "{shown}");
        let refused = ground.ship(&[]).ended_with(exit).document();
        assert_eq!(refused["findings"][0]["code"], code, "{refused}");
        assert_eq!(ground.notices().last().unwrap()["outcome"], outcome);
        assert_eq!(ground.applied(), 0);
        assert_eq!(ground.deployed("users"), None);
    }
    // The release that mends it goes all the same, and says what was not looked at.
    ground.describe(Budgets::Spent, "min = 1");
    let mended = ground.ship(&["--skip", "budget"]).ended_with(0).document();
    assert!(mended["findings"].as_array().unwrap().iter().any(|one| one["code"] == "SHP021"), "{mended}");
    // Nor is it blamed for a budget that was gone before, where nothing else is measured.
    ground.describe_gate(Budgets::Spent, "");
    let blameless = ground.ship(&["--skip", "budget"]).ended_with(0).document();
    let said = step(&blameless, "gate")["says"].as_str().unwrap();
    assert!(said.contains("served: the budget") && said.contains("before the release 100"), "{said}");
    assert!(
        blameless["findings"].as_array().unwrap().iter().any(|one| one["code"] == "SHP024"),
        "{blameless}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_cannot_run_is_taken_back_with_its_evidence_and_the_notice_says_why() {
    let ground = Ground::new("broken").await;
    if matches!(ground.cluster, Cluster::Given) {
        // Any program at all would be restarted for ever there, and nothing would differ.
        return;
    }
    ground.ship(&[]).ended_with(0);
    let (good, _) = ground.deployed("users").unwrap();
    // Nothing of it runs that could be taken back: schemas only go forward.
    let digest = ground.change_program("migrates nothing");
    ground.behave(&digest, Behaviour::WrongFormat);
    let stopped = ground.ship(&[]).ended_with(23).document();
    assert_eq!(stopped["data"]["failure"]["step"], "deploy", "{stopped}");
    assert_eq!(ground.deployed("users").unwrap().0, good);

    let digest = ground.change_program("runs nowhere");
    let back = ground
        .ship_that_breaks_after_its_migration(&digest, Behaviour::WrongFormat)
        .ended_with(24)
        .document();
    assert_eq!(back["status"], "rolled_back");
    assert_eq!(back["data"]["failure"]["step"], "deploy", "{back}");
    assert_eq!(ground.deployed("users").unwrap().0, good, "what ran before runs again");
    let evidence = back["data"]["evidence"].as_array().unwrap();
    assert!(!evidence.is_empty(), "{back}");
    assert!(evidence.iter().all(|path| Path::new(path.as_str().unwrap()).is_file()));
    let told = ground.notices();
    let last = told.last().unwrap();
    assert_eq!(last["outcome"], "rolled_back");
    let why = last["why"].as_str().unwrap();
    assert!(why.contains("DEP021"), "{why}");
}

/// A release by a gate whose value is bad before it, and jumps between its budget step and its gate.
fn ship_while_it_gets_worse(ground: &Ground, words: &[&str]) -> Came {
    ground.describe_gate(Budgets::Full, "[ship.gate.looked_at]\nexpr = \"count(up)\"\nmax = 0\n");
    let goes_on = ground.hold_apply();
    let under_way = ground.begin_ship(words);
    tokio::task::block_in_place(|| {
        ground.wait_for_apply(&goes_on);
        ground.look_at_one_more();
        std::fs::write(goes_on, "").unwrap();
        Came::of(&under_way.wait_with_output().unwrap())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_measure_that_is_breached_afterwards_takes_the_release_back_or_leaves_it_as_asked() {
    let ground = Ground::new("gate").await;
    if matches!(ground.cluster, Cluster::Given) {
        return;
    }
    ground.ship(&[]).ended_with(0);
    let digest = ground.change_program("slow");
    // What was bad before and is no worse is not held against it; what gets worse while it is released is.
    ground.describe(Budgets::Full, "min = 2");
    let as_before = ground.ship(&[]).ended_with(0).document();
    assert!(
        as_before["findings"].as_array().unwrap().iter().any(|one| one["code"] == "SHP024"),
        "{as_before}"
    );
    let (good, _) = ground.deployed("users").unwrap();
    assert!(good.ends_with(&digest), "{good}");
    let digest = ground.change_program("slower");
    let back = ship_while_it_gets_worse(&ground, &[]).ended_with(24).document();
    assert_eq!(back["data"]["failure"]["code"], "SHP007", "{back}");
    let why = back["data"]["failure"]["message"].as_str().unwrap();
    assert!(why.contains("value ") && why.contains(", before the release "), "{why}");
    assert_eq!(ground.deployed("users").unwrap().0, good);
    let evidence = back["data"]["evidence"].to_string();
    assert!(evidence.contains("gate.json") && evidence.contains("pods.json"), "{evidence}");
    assert!(ground.notices().last().unwrap()["why"].as_str().unwrap().contains("SHP007"));

    let left = ship_while_it_gets_worse(&ground, &["--on-failure", "leave"]).ended_with(30).document();
    assert_eq!(left["status"], "failed");
    assert!(ground.deployed("users").unwrap().0.ends_with(&digest));

    // Nothing to measure: it stands, nobody knows, and another look decides.
    ground.describe(Budgets::Full, "min = 1\nfor = \"1h\"\nmin_samples = 11000");
    let open = ground.ship(&[]).ended_with(31).document();
    assert_eq!((&open["status"], &open["data"]["resumable"]), (&"stopped".into(), &true.into()));
    ground.describe(Budgets::Full, "min = 1");
    let run = open["data"]["run"].as_str().unwrap();
    ground.ship(&["--resume", run]).ended_with(0);
    let outcomes: Vec<String> =
        ground.notices().iter().filter_map(|one| one["outcome"].as_str().map(str::to_owned)).collect();
    assert_eq!(outcomes, ["released", "released", "rolled_back", "failed", "inconclusive", "released"]);
}
