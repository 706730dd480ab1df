//! A process that is killed at each of its requests, and another one that takes the run up.
//!
//! On a real cluster, where a rollout takes its time, it is killed at some of them.

use kubernetes::testing::behaviour::Behaviour;
use kubernetes::testing::site::{Site, named};
use rollout::lifecycle::State;

use super::ground::{Ground, Moment, Mortal, Scaled, anywhere, deployment, image, manifest, plan};
use crate::run::{Book, End, Plan, Word};

const TWO: Scaled = Scaled::Fixed(2);

/// Requests from one death to the next on a real cluster.
const STRIDE: usize = 3;

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
fn everywhere(
    plan_of: impl Fn() -> Plan,
    prepare: impl AsyncFn(&Ground),
    judge: impl AsyncFn(&Ground, End, &str),
) {
    let (stride, least) = if named().is_some() { (STRIDE, 4) } else { (1, 30) };
    let mut deaths = 0;
    for (moment, first) in [(Moment::Before, 1), (Moment::After, 1 + stride / 2)] {
        for at in (first..).step_by(stride) {
            let mut has_died = false;
            anywhere(async |ground| {
                prepare(ground).await;
                let mortal = Mortal::new(ground.site.cluster(), at, moment);
                let (id, end) = until_death(ground, plan_of(), &mortal).await;
                let place = format!("killed {moment:?} request {at}");
                if let Some(end) = end {
                    judge(ground, end, "not killed").await;
                    return;
                }
                has_died = true;
                let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
                let end = ground.drive(&mut book, &ground.site.cluster(), None, Word::GoOn).await;
                let end = end.unwrap_or_else(|error| panic!("{place}: {error}"));
                judge(ground, end, &place).await;
            });
            if !has_died {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths >= least, "{deaths}");
}

#[test]
fn a_run_killed_anywhere_goes_on_and_does_nothing_twice() {
    let first = async |ground: &Ground| {
        assert_eq!(ground.roll(plan(1, manifest(1, TWO))).await.exit(), 0);
    };
    everywhere(
        || plan(2, manifest(2, TWO)),
        first,
        async |ground, end, place| {
            assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{place}");
            let web = ground.web().await;
            assert_eq!(web["metadata"]["generation"], 2, "{place}: the template was changed once");
            assert_eq!(web["status"]["availableReplicas"], 2, "{place}");
            if let Site::Played(api) = &ground.site {
                let jobs = api
                    .asked()
                    .iter()
                    .filter(|asked| {
                        asked.method == "PATCH"
                            && asked.path.contains("/jobs/migrate-2")
                            && !asked.path.contains("dryRun")
                    })
                    .count();
                assert!(jobs <= 2, "{place}: {jobs}");
                // A job of a server before 1.21 has no generation.
                let job = ground.object("Job", "migrate-2").await.unwrap();
                assert_eq!(job["metadata"]["generation"], 1, "{place}");
            }
            assert_eq!(
                ground.history().await,
                [(1, "superseded".to_owned()), (2, "deployed".to_owned())],
                "{place}"
            );
        },
    );
}

#[test]
fn a_run_killed_anywhere_on_its_way_back_comes_back() {
    let first = async |ground: &Ground| {
        let mut whole = manifest(1, TWO);
        deployment(&mut whole)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 60.into();
        assert_eq!(ground.roll(plan(1, whole)).await.exit(), 0);
        ground.site.behave(&image(2), Behaviour::ImageMissing);
    };
    let second = || {
        let mut second = manifest(2, TWO);
        second.items.retain(|item| item.body["kind"] != "Job");
        let mut added = second.items[1].clone();
        added.body["metadata"]["name"] = "more".into();
        second.items.push(added);
        plan(2, second)
    };
    everywhere(second, first, async |ground, end, place| {
        let End::Over { state: State::RolledBack { .. }, exit: 24 } = end else { panic!("{place}: {end:?}") };
        let web = ground.web().await;
        let pod = &web["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], 60, "{place}");
        assert_eq!(pod["containers"][0]["image"], image(1), "{place}");
        assert_eq!(web["metadata"]["generation"], 3, "{place}: there and back once");
        assert_eq!(web["status"]["availableReplicas"], 2, "{place}");
        assert!(ground.object("ConfigMap", "more").await.is_none(), "{place}");
        let wanted = [(1, "deployed".to_owned()), (2, "rolled-back".to_owned())];
        assert_eq!(ground.history().await, wanted, "{place}");
    });
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_is_not_taken_up() {
    let ground = Ground::new();
    let id = ground.roll(plan(1, manifest(1, TWO))).await.book.id();
    let refused = Book::resume(&ground.journal(), &id, "another").unwrap_err();
    assert!(matches!(refused, crate::run::Error::Journal(journal::Error::Ended(_))), "{refused}");
}
