//! A process that is killed at each of its requests, and another one that takes the run up.

use kubernetes::testing::behaviour::Behaviour;
use rollout::lifecycle::State;

use super::ground::{Ground, Moment, Mortal, NAMESPACE, Scaled, deployment, image, manifest, plan};
use crate::run::{Book, End, Plan, Word};

const TWO: Scaled = Scaled::Fixed(2);

/// Drives until the process dies; gives the end where it lived on.
async fn until_death(ground: &Ground, plan: Plan, mortal: &Mortal) -> (String, Option<End>) {
    let mut book = ground.begin(plan);
    let id = book.id();
    let end = tokio::select! {
        end = ground.drive(&mut book, mortal, None, Word::GoOn) => Some(end.unwrap()),
        () = mortal.died.notified() => None,
    };
    (id, end)
}

/// Kills at the n-th request for every n, until there are no more requests to die at.
async fn everywhere(
    plan_of: impl Fn() -> Plan,
    prepare: impl AsyncFn(&Ground),
    judge: impl Fn(&Ground, End, &str),
) -> usize {
    let mut deaths = 0;
    for moment in [Moment::Before, Moment::After] {
        for at in 1.. {
            let ground = Ground::new();
            prepare(&ground).await;
            let mortal = Mortal::new(ground.api.cluster(), at, moment);
            let (id, end) = until_death(&ground, plan_of(), &mortal).await;
            let place = format!("killed {moment:?} request {at}");
            if let Some(end) = end {
                judge(&ground, end, "not killed");
                break;
            }
            deaths += 1;
            let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
            let end = ground.drive(&mut book, &ground.api.cluster(), None, Word::GoOn).await;
            let end = end.unwrap_or_else(|error| panic!("{place}: {error}"));
            judge(&ground, end, &place);
        }
    }
    deaths
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_anywhere_goes_on_and_does_nothing_twice() {
    let first = async |ground: &Ground| {
        assert_eq!(ground.roll(plan(1, manifest(1, TWO))).await.exit(), 0);
    };
    let deaths = everywhere(
        || plan(2, manifest(2, TWO)),
        first,
        |ground, end, place| {
            assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{place}");
            let web = ground.deployment("web");
            assert_eq!(web["metadata"]["generation"], 2, "{place}: the template was changed once");
            assert_eq!(web["status"]["availableReplicas"], 2, "{place}");
            let jobs = ground
                .api
                .asked()
                .iter()
                .filter(|asked| {
                    asked.method == "PATCH"
                        && asked.path.contains("/jobs/migrate-2")
                        && !asked.path.contains("dryRun")
                })
                .count();
            assert!(jobs <= 2, "{place}: {jobs}");
            let job = ground.api.object("Job", NAMESPACE, "migrate-2").unwrap();
            assert_eq!(job["metadata"]["generation"], 1, "{place}");
            assert_eq!(
                ground.revisions(),
                [(1, "superseded".to_owned()), (2, "deployed".to_owned())],
                "{place}"
            );
        },
    )
    .await;
    assert!(deaths >= 30, "{deaths}");
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_anywhere_on_its_way_back_comes_back() {
    let first = async |ground: &Ground| {
        let mut whole = manifest(1, TWO);
        deployment(&mut whole)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 60.into();
        assert_eq!(ground.roll(plan(1, whole)).await.exit(), 0);
        ground.api.behave(&image(2), Behaviour::ImageMissing);
    };
    let second = || {
        let mut second = manifest(2, TWO);
        second.items.retain(|item| item.body["kind"] != "Job");
        let mut added = second.items[1].clone();
        added.body["metadata"]["name"] = "more".into();
        second.items.push(added);
        plan(2, second)
    };
    let deaths = everywhere(second, first, |ground, end, place| {
        let End::Over { state: State::RolledBack { .. }, exit: 24 } = end else { panic!("{place}: {end:?}") };
        let web = ground.deployment("web");
        let pod = &web["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], 60, "{place}");
        assert_eq!(pod["containers"][0]["image"], image(1), "{place}");
        assert_eq!(web["metadata"]["generation"], 3, "{place}: there and back once");
        assert_eq!(web["status"]["availableReplicas"], 2, "{place}");
        assert!(ground.api.object("ConfigMap", NAMESPACE, "more").is_none(), "{place}");
        let wanted = [(1, "deployed".to_owned()), (2, "rolled-back".to_owned())];
        assert_eq!(ground.revisions(), wanted, "{place}");
    })
    .await;
    assert!(deaths >= 30, "{deaths}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_is_not_taken_up() {
    let ground = Ground::new();
    let id = ground.roll(plan(1, manifest(1, TWO))).await.book.id();
    let refused = Book::resume(&ground.journal(), &id, "another").unwrap_err();
    assert!(matches!(refused, crate::run::Error::Journal(journal::Error::Ended(_))), "{refused}");
}
