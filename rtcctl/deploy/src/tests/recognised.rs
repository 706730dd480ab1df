//! Every failure that a cluster can show: told with its code within seconds of being shown, and what the rollout comes to.
//!
//! What is shown is looked for in the objects of the API, by its own words; what is told is what the driver says. Between
//! the two lies time of the test's clock, which stands still while anything is computed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kubernetes::testing::Api;
use kubernetes::testing::behaviour::Behaviour;
use rollout::code::Code;
use rollout::lifecycle::OnFailure;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::ground::{Ground, NAMESPACE, Scaled, image, manifest, plan};
use crate::run::{Driver, End, News, Plan, Word};

/// From being shown to being told.
const WITHIN: Duration = Duration::from_secs(5);
/// From being told to what helps: before the next turn of the cluster.
const HEALS_AFTER: Duration = Duration::from_millis(500);
/// How often the objects are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// So long nothing has to move before that ends a rollout here.
const NO_ACTIVITY: Duration = Duration::from_secs(60);

/// When a rollout that has this failure ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// As soon as it is told: it does not pass.
    AtOnce,
    /// When it is shown once more: it may pass once.
    AtTheSecond,
    /// It may pass, and does not: when nothing has moved for too long.
    Idle,
    /// It passes: the rollout is done.
    Passes,
}

struct Case {
    name: &'static str,
    code: Code,
    /// What makes the new version fail so.
    make: fn(&Api),
    /// Whether the API shows it.
    shows: fn(&Api) -> bool,
    ends: Ends,
    /// What helps, some time after it was told.
    heal: Option<fn(&Api)>,
    /// Words of the message.
    says: &'static str,
}

fn behave(api: &Api, behaviour: Behaviour) {
    api.behave(&image(2), behaviour);
}

fn pods(api: &Api) -> Vec<Json> {
    let pods = api.objects("Pod", NAMESPACE).into_iter();
    pods.filter(|pod| pod["spec"]["containers"][0]["image"] == image(2)).collect()
}

/// Whether a container of the new version says so of itself.
fn container(api: &Api, is: impl Fn(&Json) -> bool) -> bool {
    pods(api).iter().any(|pod| pod["status"]["containerStatuses"].as_array().into_iter().flatten().any(&is))
}

fn waits(api: &Api, reasons: &[&str]) -> bool {
    container(api, |one| {
        one["state"]["waiting"]["reason"].as_str().is_some_and(|reason| reasons.contains(&reason))
    })
}

fn pull_fails(api: &Api) -> bool {
    waits(api, &["ErrImagePull", "ImagePullBackOff"])
}

fn has_ended(api: &Api) -> bool {
    container(api, |one| one["state"]["terminated"].is_object() || one["lastState"]["terminated"].is_object())
}

fn event(api: &Api, reason: &str) -> bool {
    api.objects("Event", NAMESPACE).iter().any(|event| event["reason"] == reason)
}

fn condition(object: &Json, kind: &str, status: &str) -> bool {
    let all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.into_iter().any(|one| one["type"] == kind && one["status"] == status)
}

fn has_no_node(api: &Api) -> bool {
    pods(api).iter().any(|pod| condition(pod, "PodScheduled", "False"))
}

fn makes_no_pods(api: &Api) -> bool {
    api.objects("ReplicaSet", NAMESPACE).iter().any(|set| condition(set, "ReplicaFailure", "True"))
}

/// The node of a pod of the new version.
fn node(api: &Api) -> Option<String> {
    pods(api).iter().find_map(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned))
}

fn case(
    name: &'static str,
    code: Code,
    make: fn(&Api),
    shows: fn(&Api) -> bool,
    ends: Ends,
    says: &'static str,
) -> Case {
    Case { name, code, make, shows, ends, heal: None, says }
}

fn crash(api: &Api) {
    behave(api, Behaviour::Crash { exit_code: 3, log: vec!["connecting".into(), "no such table".into()] });
}

/// No pod more than there are.
fn quota(api: &Api) {
    api.given(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "compute", "namespace": NAMESPACE },
        "spec": { "hard": { "pods": "3" } },
    }));
}

fn table() -> Vec<Case> {
    vec![
        case(
            "a tag that is missing",
            Code::ImageMissing,
            |api| behave(api, Behaviour::ImageMissing),
            pull_fails,
            Ends::AtOnce,
            "not found",
        ),
        case(
            "a platform that is missing",
            Code::PlatformMissing,
            |api| behave(api, Behaviour::PlatformMissing),
            pull_fails,
            Ends::AtOnce,
            "no match for platform",
        ),
        case(
            "a registry that does not let us",
            Code::PullDenied,
            |api| behave(api, Behaviour::PullDenied),
            pull_fails,
            Ends::AtOnce,
            "403 Forbidden",
        ),
        case(
            "a crash, with its last words",
            Code::Crashed,
            crash,
            has_ended,
            Ends::AtTheSecond,
            "no such table",
        ),
        Case {
            heal: Some(|api| behave(api, Behaviour::well())),
            ..case(
                "a crash that does not come again",
                Code::Crashed,
                crash,
                has_ended,
                Ends::Passes,
                "exit code 3",
            )
        },
        case(
            "memory that is used up",
            Code::OutOfMemory,
            |api| behave(api, Behaviour::OutOfMemory),
            has_ended,
            Ends::AtTheSecond,
            "more memory than its limit",
        ),
        case(
            "configuration that is missing",
            Code::ConfigMissing,
            |api| behave(api, Behaviour::ConfigMissing { name: "web-settings".into() }),
            |api| waits(api, &["CreateContainerConfigError"]),
            Ends::AtOnce,
            "web-settings",
        ),
        case(
            "a program for another machine",
            Code::WrongFormat,
            |api| behave(api, Behaviour::WrongFormat),
            has_ended,
            Ends::AtOnce,
            "cannot be executed",
        ),
        case(
            "a probe that never succeeds",
            Code::NeverReady,
            |api| behave(api, Behaviour::NeverReady),
            |api| event(api, "Unhealthy"),
            Ends::Idle,
            "statuscode: 503",
        ),
        case(
            "no room",
            Code::NoRoom,
            |api| behave(api, Behaviour::Unschedulable { node_coming: false }),
            has_no_node,
            Ends::Idle,
            "Insufficient cpu",
        ),
        Case {
            heal: Some(|api| behave(api, Behaviour::well())),
            ..case(
                "no room, and a node is coming",
                Code::NodeComing,
                |api| behave(api, Behaviour::Unschedulable { node_coming: true }),
                |api| event(api, "TriggeredScaleUp"),
                Ends::Passes,
                "triggered scale-up",
            )
        },
        case(
            "a quota that is used up",
            Code::QuotaExceeded,
            quota,
            makes_no_pods,
            Ends::Idle,
            "exceeded quota: compute",
        ),
        Case {
            heal: Some(|api| api.remove("ResourceQuota", NAMESPACE, "compute")),
            ..case(
                "a quota that has room again",
                Code::QuotaExceeded,
                quota,
                makes_no_pods,
                Ends::Passes,
                "exceeded quota: compute",
            )
        },
        case(
            "admission that refuses",
            Code::Refused,
            |api| api.deny("Pod", "web-", "no owner"),
            makes_no_pods,
            Ends::AtOnce,
            "no owner",
        ),
        case(
            "a budget that never lets go",
            Code::BudgetDeadlock,
            |api| {
                api.given(&json!({
                    "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                    "metadata": { "name": "web", "namespace": NAMESPACE },
                    "spec": { "minAvailable": "100%", "selector": { "matchLabels": { "app": "web" } } },
                }));
                let drained = api.objects("Pod", NAMESPACE).iter().find_map(|pod| {
                    let is_web = pod["metadata"]["labels"]["app"] == "web";
                    is_web.then(|| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned())
                });
                api.edit("Node", "", &drained.unwrap_or_default(), |node| {
                    node["spec"]["unschedulable"] = true.into()
                });
                // The new pods do not come up, so the old ones stay.
                behave(api, Behaviour::NeverCreated);
            },
            |api| {
                api.objects("PodDisruptionBudget", NAMESPACE).iter().any(|budget| {
                    budget["status"]["expectedPods"].as_u64() > Some(0)
                        && budget["status"]["disruptionsAllowed"] == 0
                })
            },
            Ends::Idle,
            "wants",
        ),
    ]
}

/// When it was first shown, told and over.
#[derive(Debug, Default)]
struct Moments {
    shown: Option<Instant>,
    told: BTreeMap<Code, (Instant, String)>,
    /// When the watching failed, before anything is collected.
    failed: Option<Instant>,
}

/// Rolls the second version out over the first, and notes when what was shown and told.
async fn watched(case: &Case, ground: &Ground) -> (Moments, End) {
    assert_eq!(ground.roll(plan(1, manifest(1, Scaled::Fixed(3)))).await.exit(), 0);
    (case.make)(&ground.api);
    let mut second = manifest(2, Scaled::Fixed(3));
    second.items.retain(|item| item.body["kind"] != "Job");
    let mut plan = Plan { on_failure: OnFailure::Leave, ..plan(2, second) };
    plan.rules.no_activity = NO_ACTIVITY;
    let moments = Arc::new(Mutex::new(Moments::default()));
    let noted = |moments: &Mutex<Moments>, note: &dyn Fn(&mut Moments)| {
        note(&mut moments.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let looking = async {
        let mut healed_at = None;
        loop {
            if (case.shows)(&ground.api) {
                noted(&moments, &|moments| {
                    moments.shown.get_or_insert_with(Instant::now);
                });
            }
            let was_told = moments.lock().unwrap().told.contains_key(&case.code);
            if let (true, Some(heal)) = (was_told, case.heal) {
                let at = *healed_at.get_or_insert(Instant::now() + HEALS_AFTER);
                if Instant::now() >= at {
                    heal(&ground.api);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let tell = |news: &News<'_>| match news {
        News::Pods(whole) => noted(&moments, &|moments| {
            // It may be over before the next look.
            if (case.shows)(&ground.api) {
                moments.shown.get_or_insert_with(Instant::now);
            }
            for cause in whole.verdict.causes() {
                moments.told.entry(cause.code).or_insert_with(|| (Instant::now(), cause.why.clone()));
            }
        }),
        News::Failed { .. } => noted(&moments, &|moments| {
            moments.failed.get_or_insert_with(Instant::now);
        }),
        _ => {}
    };
    let clock = ground.api.clock();
    let cluster = ground.api.cluster();
    let driver = Driver { port: &cluster, clock: clock.as_ref(), gauge: None, tell: &tell };
    let mut book = ground.begin(plan);
    let end = tokio::select! {
        end = driver.drive(&mut book, Word::GoOn) => end.unwrap(),
        () = looking => unreachable!("it looks until the end"),
    };
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    (moments, end)
}

#[tokio::test(start_paused = true)]
async fn each_failure_is_told_within_five_seconds_of_being_shown_and_ends_as_it_should() {
    for case in table() {
        let name = case.name;
        let ground = Ground::new();
        let (moments, end) = watched(&case, &ground).await;
        let shown = moments.shown.unwrap_or_else(|| panic!("{name}: never shown, {moments:?}"));
        let Some((told, why)) = moments.told.get(&case.code) else {
            panic!("{name}: never told, {moments:?}")
        };
        let waited = told.saturating_duration_since(shown);
        assert!(waited <= WITHIN, "{name}: told {waited:?} after it was shown");
        assert!(why.contains(case.says), "{name}: {:?} not in {why:?}", case.says);
        let End::Over { exit, .. } = end else { panic!("{name}: {end:?}") };
        let until_failed = moments.failed.map(|failed| failed.saturating_duration_since(shown));
        match (case.ends, until_failed) {
            (Ends::AtOnce, Some(after)) => {
                assert!(after <= WITHIN, "{name}: over {after:?} after it was shown");
                assert_eq!(exit, 23, "{name}");
            }
            // A container runs, ends, and is held back before it is started again.
            (Ends::AtTheSecond, Some(after)) => {
                assert!(after > Duration::ZERO && after <= 3 * WITHIN, "{name}: over after {after:?}");
                assert_eq!(exit, 23, "{name}");
            }
            (Ends::Idle, Some(after)) => {
                let due = NO_ACTIVITY + Duration::from_secs(10);
                assert!(after >= NO_ACTIVITY / 2 && after <= due, "{name}: over after {after:?}");
                assert_eq!(exit, 23, "{name}");
            }
            (Ends::Passes, None) => assert_eq!(exit, 0, "{name}"),
            (ends, after) => panic!("{name}: {ends:?}, and it was over after {after:?}: {moments:?}"),
        }
    }
}

/// A node is lost under new pods that have just come up, while the others still come.
#[tokio::test(start_paused = true)]
async fn a_lost_node_is_told_at_once_and_its_pods_are_waited_for_elsewhere() {
    let ground = Ground::new();
    assert_eq!(ground.roll(plan(1, manifest(1, Scaled::Fixed(3)))).await.exit(), 0);
    behave(&ground.api, Behaviour::Ready { after: 8 });
    let mut second = manifest(2, Scaled::Fixed(3));
    second.items.retain(|item| item.body["kind"] != "Job");
    let told: Mutex<Vec<(Instant, Code)>> = Mutex::default();
    let lost = Mutex::new(None);
    let tell = |news: &News<'_>| {
        if let News::Pods(whole) = news {
            let codes = whole.verdict.causes().map(|cause| (Instant::now(), cause.code));
            told.lock().unwrap().extend(codes);
        }
    };
    let losing = async {
        let name = loop {
            if let Some(name) = node(&ground.api) {
                break name;
            }
            tokio::time::sleep(LOOK).await;
        };
        ground.api.lose_node(&name);
        *lost.lock().unwrap() = Some(Instant::now());
        std::future::pending::<()>().await;
    };
    let (clock, cluster) = (ground.api.clock(), ground.api.cluster());
    let driver = Driver { port: &cluster, clock: clock.as_ref(), gauge: None, tell: &tell };
    let mut book = ground.begin(plan(2, second));
    let end = tokio::select! {
        end = driver.drive(&mut book, Word::GoOn) => end.unwrap(),
        () = losing => unreachable!("it is lost for good"),
    };
    let lost = lost.lock().unwrap().expect("a node was lost");
    let told = told.into_inner().unwrap();
    let first = told.iter().find(|(_, code)| *code == Code::NodeLost);
    let (at, _) = first.unwrap_or_else(|| panic!("never told: {told:?}"));
    assert!(at.saturating_duration_since(lost) <= WITHIN, "told {:?} later", *at - lost);
    assert!(matches!(end, End::Over { exit: 0, .. }), "{end:?} {:?}", book.causes());
}
