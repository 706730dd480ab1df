//! When a rollout is done, and when it only looks so.

use super::*;
use crate::code::Code;
use crate::failure::Finality;
use crate::verdict::judge_all;

macro_rules! streams {
    ($($sentence:ident = $file:literal;)*) => {
        $(#[test]
        fn $sentence() {
            play(include_str!(concat!("data/", $file, ".ndjson")));
        })*
    };
}

streams! {
    a_rolling_update_is_done_when_every_new_pod_is_available_and_no_old_one_counts = "rolling";
    an_old_condition_that_is_still_true_after_a_patch_ends_nothing = "generation_behind";
    a_deadline_that_passed_before_the_patch_accuses_nobody = "old_deadline";
    a_deadline_of_the_controller_that_passes_now_is_a_failure = "deadline";
    a_paused_deployment_waits_and_says_so = "paused";
    a_recreated_object_is_not_the_one_that_was_applied = "recreated";
    a_recreated_object_is_known_after_a_relist_that_hid_the_deletion = "recreated_unseen";
    an_object_that_is_being_deleted_will_not_be_done = "deleting";
    an_autoscaler_that_scales_in_the_middle_moves_the_goal_and_breaks_nothing = "scaled_meanwhile";
    a_surge_is_not_the_end = "surge";
    a_watch_that_is_gone_goes_on_after_a_new_list = "gone_410";
    a_broken_connection_neither_ends_nor_fails_a_rollout = "disconnected";
    a_bookmark_changes_nothing = "bookmarks";
    a_rollout_that_is_complete_already_is_done_at_once = "complete_already";
    a_deployment_of_no_replicas_is_done_without_a_pod = "no_replicas";
    a_pod_with_another_digest_is_a_failure = "wrong_digest";
    the_digest_of_the_platform_is_as_good_as_that_of_the_index = "platform_digest";
    a_pod_that_does_not_say_its_digest_is_waited_for = "digest_not_said";
    an_image_that_a_webhook_rewrote_is_a_failure = "rewritten_image";
    a_template_that_somebody_else_changed_is_a_failure = "superseded";
    a_pod_has_to_stay_ready_for_the_least_time_without_counting_as_idle = "min_ready";
    nothing_moving_for_four_minutes_is_a_failure = "no_activity";
    a_stateful_set_is_done_by_its_update_revision = "stateful";
    a_partition_is_not_waited_for = "partition";
    a_stateful_set_that_waits_for_deletions_says_so = "on_delete";
    a_stateful_set_that_a_broken_old_pod_holds_up_says_which = "stuck";
    a_daemon_set_is_done_by_its_updated_and_available_pods = "daemon";
    a_migration_is_done_when_its_job_is = "job";
    a_job_that_failed_is_a_failure = "job_failed";
}

#[test]
fn the_deadline_of_the_whole_ends_it_with_what_is_open() {
    let mut played = base();
    played.rules.deadline = Some(std::time::Duration::from_secs(60));
    assert_eq!(said(&played.verdict(at(59))), "progress");
    let verdict = played.verdict(at(60));
    assert_eq!(said(&verdict), "failed ROL062");
    assert!(words(&verdict).contains("1 of 3"), "{verdict:?}");
}

#[test]
fn a_done_rollout_stays_done_after_every_deadline() {
    let mut played = play(include_str!("data/complete_already.ndjson"));
    played.rules.deadline = Some(std::time::Duration::from_secs(60));
    assert_eq!(said(&played.verdict(at(9000))), "done");
}

#[test]
fn what_was_applied_comes_back_from_the_journal() {
    let played = base();
    let text = serde_json::to_string(&played.applied).unwrap();
    let applied: Applied = serde_json::from_str(&text).unwrap();
    assert_eq!(applied, played.applied);
    assert_eq!(judge(&applied, &played.rules, &played.world, at(3)), played.verdict(at(3)));
}

#[test]
fn nothing_is_judged_before_the_pods_were_listed() {
    let lines = lines(include_str!("data/complete_already.ndjson"));
    let mut played = Played::begin(&lines[0]);
    for line in lines[1..].iter().filter(|line| line.list != Some(Kind::Pod)) {
        played.hear(line);
    }
    assert_eq!(said(&played.verdict(at(1))), "progress");
}

/// Two Deployments, of which the name of one begins with that of the other.
fn two() -> (World, Vec<Applied>, Vec<Line>) {
    let lines = lines(include_str!("data/complete_already.ndjson"));
    let one = Applied::answered(lines[0].applied.as_ref().unwrap(), lines[0].wanted.clone(), at(0)).unwrap();
    let rename = |text: &Json| -> Json {
        let text = text
            .to_string()
            .replace("-0000-4000-8000-", "-0000-4000-8888-")
            .replace("-0000-4000-9000-", "-0000-4000-9888-");
        let text = text.replace("\"orders", "\"orders-admin");
        serde_json::from_str(&text).unwrap()
    };
    let other = Applied::answered(
        &rename(lines[0].applied.as_ref().unwrap()),
        vec![Wanted { container: "orders-admin".to_owned(), digests: lines[0].wanted[0].digests.clone() }],
        at(0),
    )
    .unwrap();
    let world = World::new([one.target.clone(), other.target.clone()]);
    let both = lines[1..]
        .iter()
        .map(|line| {
            let mut line = line.clone();
            let others: Vec<Json> = line.items.iter().map(rename).collect();
            line.items.extend(others);
            line
        })
        .collect();
    (world, vec![one, other], both)
}

#[test]
fn several_deployments_are_one_rollout_that_is_done_when_all_are() {
    let (mut world, applied, lines) = two();
    for line in &lines {
        let errors = world.listed(line.list.unwrap(), &line.items, line.at);
        assert!(errors.is_empty());
    }
    let whole = judge_all(&applied, &Rules::default(), &world, at(1));
    assert_eq!(said(&whole.verdict), "done", "{whole:#?}");
    assert_eq!(whole.verdict.progress().desired, 6);
    assert_eq!(whole.each.len(), 2);
}

#[test]
fn one_deployment_that_fails_fails_the_rollout() {
    let (mut world, applied, lines) = two();
    for line in &lines {
        world.listed(line.list.unwrap(), &line.items, line.at);
    }
    let gone = world.workload(&applied[1].target).unwrap().clone();
    world.take(crate::world::Change::Deleted, gone, at(2)).unwrap();
    let whole = judge_all(&applied, &Rules::default(), &world, at(2));
    assert_eq!(said(&whole.verdict), "failed ROL063");
    assert_eq!(whole.verdict.cause().unwrap().finality, Finality::Final);
    assert!(whole.each[0].1.is_done());
    assert_eq!(whole.verdict.code(), Some(Code::Deleted));
}
