//! A release that is killed after each of its steps, and goes on.

use crate::ground::Ground;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_is_killed_after_every_step_has_every_effect_once() {
    let ground = Ground::new("kills").await;
    for (place, step) in
        ["budget", "plan", "apply", "build", "push", "deploy", "prove", "gate"].into_iter().enumerate()
    {
        let words: &[&str] = if place == 0 { &[] } else { &["--resume", "last"] };
        ground.ship_killed_after(words, step);
    }
    let mut ended = ground.ship(&["--resume", "last"]);
    // Terraform may have been left to itself for a moment.
    while ended.exit == 8 {
        ended = ground.ship(&["--resume", "last"]);
    }
    let document = ended.ended_with(0).document();
    assert_eq!(document["status"], "ok");

    assert_eq!(ground.applied(), 1, "the infrastructure was changed once");
    assert_eq!(ground.runs("ship").len(), 1);
    assert_eq!(ground.runs("deploy rollout").len(), 1, "one rollout, however often it was gone on with");
    let digest = document["data"]["image"]["digest"].as_str().unwrap();
    if let Some((image, generation)) = ground.deployed("users") {
        assert!(image.ends_with(digest), "{image} {digest}");
        assert_eq!(generation, 1, "the workload was changed once");
    }
    let pushes: Vec<_> = ground.runs("image push").into_iter().filter(|run| run["exit"] == 0).collect();
    assert!(!pushes.is_empty());
    // While the Terraform of somebody who was killed goes on by itself, whoever goes on is told of it, or meets its lock.
    let (stopped, mut released): (Vec<_>, Vec<_>) =
        ground.notices().into_iter().partition(|notice| notice["outcome"] == "stopped");
    let says_why = |notice: &serde_json::Value| {
        notice["why"].as_str().is_some_and(|why| ["INF007", "INF014"].iter().any(|code| why.contains(code)))
    };
    assert!(stopped.iter().all(says_why), "{stopped:?}");
    assert!(released.iter().all(|notice| notice["outcome"] == "released"), "{released:?}");
    released.dedup_by_key(|notice| notice["run"].to_string());
    assert_eq!(released.len(), 1);
    let again = ground.ship(&["--resume", document["data"]["run"].as_str().unwrap()]);
    assert_eq!(again.exit, 8, "it has ended");
}
