//! What is true on every cluster: that of the tests, by virtual time, and unchanged the one that is named.

use std::time::Duration;

use kubernetes::testing::behaviour::Behaviour;
use kubernetes::write::{Apply, Force};
use rollout::lifecycle::{Failure, OnFailure, State};
use serde_json::{Value as Json, json};

use super::ground::{
    Ground, Scaled, anywhere, deployment, environment, image, manifest, namespace, plan, seconds,
};
use crate::apply::{Leftover, What, leftovers, preview};
use crate::manifest::Manifest;
use crate::run::{Action, End, Migration, Plan, Removal};

const THREE: Scaled = Scaled::Fixed(3);
const TWO: Scaled = Scaled::Fixed(2);

/// Without the job, so that the workloads are what fails.
fn without_job(mut manifest: Manifest) -> Manifest {
    manifest.items.retain(|item| item.body["kind"] != "Job");
    manifest
}

fn first_image(deployment: &Json) -> &Json {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

#[test]
fn a_rollout_is_done_when_every_pod_runs_the_digest() {
    anywhere(async |ground| {
        let rolled = ground.roll(plan(1, manifest(1, THREE))).await;
        assert_eq!(rolled.end, End::Over { state: State::Done, exit: 0 }, "{:?}", rolled.book.causes());
        let status = &ground.web().await["status"];
        assert_eq!((&status["availableReplicas"], &status["updatedReplicas"]), (&json!(3), &json!(3)));
        assert_eq!(ground.history().await, [(1, "deployed".to_owned())]);
        let rolled = ground.roll(plan(2, manifest(2, THREE))).await;
        assert_eq!(rolled.exit(), 0, "{:?}", rolled.book.causes());
        assert_eq!(ground.history().await, [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
        let pods = ground.pods().await;
        assert!(
            pods.len() == 3 && pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == image(2)),
            "{pods:#?}"
        );
    });
}

#[test]
fn what_fails_is_taken_back_with_the_fields_that_were_removed() {
    anywhere(async |ground| {
        let mut first = manifest(1, THREE);
        deployment(&mut first)["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{ "name": "VERSION", "value": "1" }, { "name": "KEPT", "value": "yes" }]);
        deployment(&mut first)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(60);
        assert_eq!(ground.roll(plan(1, first)).await.exit(), 0);
        let before = ground.web().await["spec"].clone();

        ground
            .site
            .behave(&image(2), Behaviour::Crash { exit_code: 3, log: vec!["no such table".to_owned()] });
        let mut second = without_job(manifest(2, THREE));
        let mut added = second.items[1].clone();
        added.body["metadata"]["name"] = "more".into();
        second.items.push(added);
        let rolled = ground.roll(plan(2, second)).await;
        assert_eq!((rolled.exit(), rolled.code()), (24, "ROL010"), "{:?}", rolled.book.causes());
        assert!(rolled.book.causes()[0].why.contains("no such table"), "{:?}", rolled.book.causes());
        assert_eq!(ground.web().await["spec"], before);
        assert_eq!(ground.web().await["status"]["availableReplicas"], 3);
        assert!(ground.object("ConfigMap", "more").await.is_none(), "what it brought is gone");
        assert_eq!(ground.history().await, [(1, "deployed".to_owned()), (2, "rolled-back".to_owned())]);

        let record = ground.journal().read(&rolled.book.id()).unwrap();
        let steps: Vec<String> = record.steps().iter().map(|step| step.name.clone()).collect();
        assert_eq!(steps, ["record", "migrate", "apply", "watch", "collect", "roll-back"]);
        let evidence: Vec<String> = record
            .evidence()
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        let has = |begin: &str| evidence.iter().any(|name| name.starts_with(begin));
        assert!(
            has("failure.json")
                && has("deployment-web")
                && has("events-")
                && (has("log-web-") || !ground.site.has_logs()),
            "{evidence:?}"
        );
    });
}

#[test]
fn the_autoscalers_count_survives_every_apply() {
    anywhere(async |ground| {
        let replicas = async || ground.web().await["spec"]["replicas"].clone();
        let scale = async |number| ground.site.autoscale(&namespace(), "web", number).await;
        assert_eq!(ground.roll(plan(1, manifest(1, Scaled::Fixed(4)))).await.exit(), 0);
        // The number was ours; it stays when it becomes the autoscaler's.
        assert_eq!(ground.roll(plan(2, manifest(2, Scaled::ByAutoscaler))).await.exit(), 0);
        assert_eq!(replicas().await, 4);
        scale(7).await;
        assert_eq!(ground.roll(plan(3, manifest(3, Scaled::ByAutoscaler))).await.exit(), 0);
        assert_eq!(replicas().await, 7);
        assert_eq!(ground.web().await["status"]["availableReplicas"], 7);
        scale(5).await;
        ground.site.behave(&image(4), Behaviour::ImageMissing);
        let bad = without_job(manifest(4, Scaled::ByAutoscaler));
        assert_eq!(ground.roll(plan(4, bad)).await.exit(), 24);
        assert_eq!(replicas().await, 5);
    });
}

/// Rolls out an image that behaves so: which code is told, and within how many seconds at most.
async fn fails(ground: &Ground, behaviour: Behaviour, code: &str, most_s: u64) {
    assert_eq!(ground.roll(plan(1, manifest(1, THREE))).await.exit(), 0);
    ground.site.behave(&image(2), behaviour.clone());
    let began = ground.site.clock().now();
    let mut plan = Plan { on_failure: OnFailure::Leave, ..plan(2, without_job(manifest(2, THREE))) };
    plan.rules.no_activity = Duration::from_secs(90);
    let rolled = ground.roll(plan).await;
    assert_eq!((rolled.exit(), rolled.code()), (23, code), "{behaviour:?} {:?}", rolled.book.causes());
    let took = seconds(ground, began);
    assert!(took <= most_s, "{behaviour:?} took {took} s");
    // What served goes on serving.
    assert!(ground.web().await["status"]["availableReplicas"].as_u64() >= Some(3));
}

macro_rules! failures {
    ($($name:ident: $behaviour:expr, $code:literal, $most_s:literal;)*) => {$(
        #[test]
        fn $name() {
            anywhere(async |ground| fails(ground, $behaviour, $code, $most_s).await);
        }
    )*};
}

failures! {
    an_image_that_is_missing_is_told: Behaviour::ImageMissing, "ROL001", 15;
    an_image_of_another_machine_is_told: Behaviour::PlatformMissing, "ROL002", 15;
    an_image_that_is_withheld_is_told: Behaviour::PullDenied, "ROL003", 15;
    a_crash_is_told: Behaviour::Crash { exit_code: 1, log: vec!["oh".to_owned()] }, "ROL010", 60;
    too_little_memory_is_told: Behaviour::OutOfMemory, "ROL011", 60;
    a_configuration_that_is_missing_is_told: Behaviour::ConfigMissing { name: "x".to_owned() }, "ROL012", 15;
    a_program_of_another_machine_is_told: Behaviour::WrongFormat, "ROL013", 60;
    a_probe_that_never_succeeds_is_told: Behaviour::NeverReady, "ROL015", 120;
    a_pod_without_a_place_is_told: Behaviour::Unschedulable { node_coming: false }, "ROL020", 120;
}

#[test]
fn a_migration_that_fails_leaves_what_runs_and_is_made_anew_by_the_next_release() {
    anywhere(async |ground| {
        assert_eq!(ground.roll(plan(1, manifest(1, THREE))).await.exit(), 0);
        ground
            .site
            .behave(&image(2), Behaviour::Crash { exit_code: 3, log: vec!["no such column".to_owned()] });
        let rolled = ground.roll(plan(2, manifest(2, THREE))).await;
        assert!(
            matches!(
                rolled.end,
                End::Over { state: State::Left { why: Failure::Migration { .. } }, exit: 23 }
            ),
            "{:?} {:?}",
            rolled.end,
            rolled.book.causes()
        );
        assert_eq!(first_image(&ground.web().await), &json!(image(1)));
        let first = ground.object("Job", "migrate-2").await.unwrap()["metadata"]["uid"].clone();
        // Mended: another image under the name of the same job.
        let mut again = manifest(2, THREE);
        for item in again.items.iter_mut().filter(|item| item.body["kind"] == "Job") {
            item.body["spec"]["template"]["spec"]["containers"][0]["image"] = image(9).into();
        }
        deployment(&mut again)["spec"]["template"]["spec"]["containers"][0]["image"] = image(9).into();
        let rolled = ground.roll(plan(9, again)).await;
        assert_eq!(rolled.exit(), 0, "{:?}", rolled.book.causes());
        assert_ne!(ground.object("Job", "migrate-2").await.unwrap()["metadata"]["uid"], first);
    });
}

#[test]
fn pods_are_made_anew_and_the_next_apply_leaves_them() {
    anywhere(async |ground| {
        assert_eq!(ground.roll(plan(1, manifest(1, THREE))).await.exit(), 0);
        let names = async || -> Vec<String> {
            ground.pods().await.iter().map(|pod| pod["metadata"]["name"].to_string()).collect()
        };
        let before = names().await;
        let restart = Plan {
            command: "restart".to_owned(),
            action: Action::Restart { targets: manifest(1, THREE).targets(), at: ground.site.clock().now() },
            on_failure: OnFailure::Leave,
            migration: Migration::Skip,
            ..plan(1, manifest(1, THREE))
        };
        assert_eq!(ground.roll(restart).await.exit(), 0);
        let after = names().await;
        assert!(after.len() == 3 && after.iter().all(|name| !before.contains(name)), "{before:?} {after:?}");
        assert_eq!(ground.roll(plan(1, manifest(1, THREE))).await.exit(), 0);
        assert_eq!(names().await, after);
        assert_eq!(ground.history().await.len(), 2, "a restart is no revision");
    });
}

#[test]
fn a_preview_names_every_field_that_changes_and_changes_none() {
    anywhere(async |ground| {
        let port = ground.site.cluster();
        let all_new = preview(&port, &manifest(1, TWO), Force::Never).await.unwrap();
        assert_eq!(all_new[0].what, What::Created);
        assert!(all_new[1..].iter().all(|one| one.what == What::CreatedLater), "{all_new:?}");
        assert_eq!(ground.roll(plan(1, manifest(1, TWO))).await.exit(), 0);
        let same = preview(&port, &manifest(1, TWO), Force::Never).await.unwrap();
        assert!(same.iter().all(|one| one.what == What::Unchanged), "{same:?}");
        let mut second = manifest(1, TWO);
        deployment(&mut second)["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "2".into();
        let before = ground.web().await["spec"].clone();
        let planned = preview(&port, &second, Force::Never).await.unwrap();
        let changed: Vec<_> = planned.iter().filter(|one| one.is_change()).collect();
        let What::Changed { fields } = &changed[0].what else { panic!("{changed:?}") };
        assert_eq!((changed.len(), fields.len()), (1, 1));
        assert_eq!(fields[0].field, ".spec.template.spec.containers[rtcd].env[VERSION].value");
        assert_eq!(
            (fields[0].before.as_ref(), fields[0].after.as_ref()),
            (Some(&json!("1")), Some(&json!("2")))
        );
        assert_eq!(ground.web().await["spec"], before);
    });
}

#[test]
fn who_owns_a_field_is_named_before_anything_is_changed() {
    anywhere(async |ground| {
        let port = ground.site.cluster();
        assert_eq!(ground.roll(plan(1, manifest(1, TWO))).await.exit(), 0);
        let edit = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "namespace": namespace() }, "spec": { "replicas": 6 },
        });
        let how = Apply { manager: "somebody-else".to_owned(), force: Force::Take, ..Apply::default() };
        port.apply(&edit, &how).await.unwrap();
        let planned = preview(&port, &manifest(2, TWO), Force::Never).await.unwrap();
        let owned = planned.iter().find_map(|one| match &one.what {
            What::Owned { owners } => Some(owners.clone()),
            _ => None,
        });
        let owner = &owned.unwrap()[0];
        assert_eq!((owner.manager.as_str(), owner.field.as_str()), ("somebody-else", ".spec.replicas"));
        let rolled = ground.roll(plan(2, manifest(2, TWO))).await;
        assert_eq!(rolled.code(), "ROL032", "{:?}", rolled.book.causes());
        let mut forced = plan(2, manifest(2, TWO));
        forced.takes_fields = true;
        assert_eq!(ground.roll(forced).await.exit(), 0);
        assert_eq!(ground.web().await["spec"]["replicas"], 2);
    });
}

#[test]
fn what_is_left_over_is_found_and_what_keeps_data_stays() {
    anywhere(async |ground| {
        let port = ground.site.cluster();
        assert_eq!(ground.roll(plan(1, manifest(1, Scaled::ByAutoscaler))).await.exit(), 0);
        let mut smaller = manifest(1, TWO);
        smaller.items.retain(|item| !matches!(item.body["kind"].as_str(), Some("Namespace" | "Service")));
        let (found, unseen) = leftovers(&port, &smaller, &environment()).await.unwrap();
        let names: Vec<String> = found.iter().map(|one| format!("{} {}", one.id, one.is_kept)).collect();
        let own = namespace();
        let wanted = [
            format!("Namespace/{own} true"),
            format!("Service/{own}/web false"),
            format!("HorizontalPodAutoscaler/{own}/web false"),
        ];
        assert_eq!(names, wanted);
        assert!(unseen.is_empty(), "{unseen:?}");
        let removal = |one: &Leftover| Removal { id: one.id.clone(), uid: Some(one.uid.clone()) };
        let removes = found.iter().map(removal).collect();
        assert_eq!(ground.roll(Plan { removes, ..plan(2, smaller) }).await.exit(), 0);
        assert!(ground.object("Service", "web").await.is_none());
        assert!(ground.site.object("Namespace", "", &own).await.is_some());
        assert!(ground.object("Deployment", "web").await.is_some());
    });
}
