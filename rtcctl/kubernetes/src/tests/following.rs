//! Watches over everything that breaks them.

use std::time::Duration;

use rollout::objects::Kind;
use rollout::world::{Target, World};
use serde_json::Value as Json;

use super::deployment;
use crate::testing::{Api, Control, What};
use crate::watch::{Feed, News};
use crate::write::Apply;

fn target() -> Target {
    Target::new(Kind::Deployment, "default", "web")
}

async fn started(replicas: u32) -> Api {
    let api = Api::new();
    api.node("n1", 100, 4, 8);
    api.cluster().apply(&deployment("default", "web", "web:1", replicas), &Apply::default()).await.unwrap();
    api.settle(30);
    api
}

/// Tells a world until something is so.
async fn until(feed: &mut Feed, world: &mut World, api: &Api, is_so: impl Fn(&World) -> bool) -> Vec<News> {
    let mut told = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(600), async {
        while !is_so(world) {
            let news = feed.next().await.expect("the feed goes on");
            news.tell(world, api.now());
            told.push(news);
        }
    });
    ended.await.unwrap_or_else(|_| panic!("it never came to be; told {told:#?}"));
    told
}

/// Tells a world the list of each of the seven kinds.
async fn listed(feed: &mut Feed, world: &mut World, api: &Api) {
    let mut lists = 0;
    while lists < 7 {
        let news = feed.next().await.expect("the feed goes on");
        news.tell(world, api.now());
        lists += usize::from(matches!(news, News::Listed { .. }));
    }
    assert!(is_listed(world));
}

fn pods(world: &World) -> usize {
    world.objects().filter(|object| object.kind() == Kind::Pod).count()
}

fn is_listed(world: &World) -> bool {
    world.is_listed(&target())
}

#[tokio::test(start_paused = true)]
async fn what_is_there_comes_first_and_what_changes_after_it() {
    let api = started(3).await;
    let mut world = World::new([target()]);
    let mut feed = api.cluster().watch(&[target()]);
    listed(&mut feed, &mut world, &api).await;
    assert_eq!(pods(&world), 3);
    api.autoscale("default", "web", 5);
    api.settle(30);
    until(&mut feed, &mut world, &api, |world| pods(world) == 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_said_and_what_was_missed_comes_after_it() {
    let api = started(2).await;
    let mut world = World::new([target()]);
    let mut feed = api.cluster().watch(&[target()]);
    listed(&mut feed, &mut world, &api).await;
    for control in [Control::Cut, Control::CutInLine] {
        while api.watches() < 7 {
            tokio::task::yield_now().await;
        }
        api.fault("GET", "watch=true", What::Cut, 7);
        api.control(control);
        until(&mut feed, &mut world, &api, |world| world.broken_since(&target()).is_some()).await;
        let wanted = pods(&world) as u32 + 1;
        api.autoscale("default", "web", wanted);
        api.settle(30);
        let is_whole =
            |world: &World| world.broken_since(&target()).is_none() && pods(world) == wanted as usize;
        let told = until(&mut feed, &mut world, &api, is_whole).await;
        assert!(!told.iter().any(|news| matches!(news, News::Listed { .. })), "it went on from its place");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_too_old_leads_to_a_new_list() {
    let api = started(2).await;
    let mut world = World::new([target()]);
    let mut feed = api.cluster().watch(&[target()]);
    listed(&mut feed, &mut world, &api).await;
    while api.watches() < 7 {
        tokio::task::yield_now().await;
    }
    // While nobody listens a pod goes, and then nobody remembers it.
    api.fault("GET", "watch=true", What::Cut, 7);
    api.control(Control::Cut);
    until(&mut feed, &mut world, &api, |world| world.broken_since(&target()).is_some()).await;
    api.autoscale("default", "web", 1);
    api.settle(30);
    api.compact();
    let told = until(&mut feed, &mut world, &api, |world| pods(world) == 1).await;
    assert!(told.iter().any(|news| matches!(news, News::Listed { kind: Kind::Pod, .. })));
    until(&mut feed, &mut world, &api, |world| world.broken_since(&target()).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_of_410_in_a_watch_leads_to_a_new_list() {
    let api = started(1).await;
    let mut world = World::new([target()]);
    let mut feed = api.cluster().watch(&[target()]);
    listed(&mut feed, &mut world, &api).await;
    while api.watches() < 7 {
        tokio::task::yield_now().await;
    }
    api.control(Control::Gone);
    let mut lists = 0;
    while lists < 3 {
        let news = feed.next().await.unwrap();
        news.tell(&mut world, api.now());
        lists += usize::from(matches!(news, News::Listed { kind, .. } if target().kinds().contains(&kind)));
    }
    assert!(world.broken_since(&target()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_in_good_order_is_no_break() {
    let api = started(1).await;
    let mut world = World::new([target()]);
    let mut feed = api.cluster().watch(&[target()]);
    listed(&mut feed, &mut world, &api).await;
    // Longer than any watch lasts, several times.
    tokio::time::sleep(Duration::from_secs(200)).await;
    api.autoscale("default", "web", 2);
    api.settle(30);
    let told = until(&mut feed, &mut world, &api, |world| pods(world) == 2).await;
    assert!(
        !told.iter().any(|news| matches!(news, News::Disconnected { .. } | News::Listed { .. })),
        "{told:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_a_break() {
    let api = started(1).await;
    let mut world = World::new([target()]);
    let mut feed = api.cluster().watch(&[target()]);
    listed(&mut feed, &mut world, &api).await;
    api.fault("GET", "watch=true", What::Silence, 999);
    let told = until(&mut feed, &mut world, &api, |world| world.broken_since(&target()).is_some()).await;
    assert!(told.iter().any(|news| matches!(news, News::Disconnected { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_around_may_be_forbidden_and_what_is_judged_may_not() {
    let api = started(1).await;
    api.forbid("list", "nodes");
    let mut world = World::new([target()]);
    let mut feed = api.cluster().watch(&[target()]);
    let mut unavailable = Vec::new();
    while !is_listed(&world) || unavailable.is_empty() {
        let news = feed.next().await.unwrap();
        news.tell(&mut world, api.now());
        if let News::Unavailable { kind, .. } = news {
            unavailable.push(kind);
        }
    }
    assert_eq!(unavailable, [Kind::Node]);
    let snapshot = api.cluster().look(&[target()], api.now()).await.unwrap();
    assert_eq!(snapshot.missing.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Node]);
    api.forbid("list", "pods");
    assert!(api.cluster().look(&[target()], api.now()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_in_the_middle_breaks_nothing_for_good() {
    let api = started(1).await;
    let mut world = World::new([target()]);
    let mut feed = api.cluster().watch(&[target()]);
    listed(&mut feed, &mut world, &api).await;
    while api.watches() < 7 {
        tokio::task::yield_now().await;
    }
    api.fault("GET", "watch=true", What::Status(401, "Unauthorized".to_owned()), 14);
    api.control(Control::Cut);
    api.autoscale("default", "web", 2);
    api.settle(30);
    until(&mut feed, &mut world, &api, |world| pods(world) == 2 && world.broken_since(&target()).is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn several_namespaces_are_one_world() {
    let api = started(2).await;
    api.namespace("other");
    api.cluster().apply(&deployment("other", "web", "web:1", 3), &Apply::default()).await.unwrap();
    api.settle(30);
    let targets = [target(), Target::new(Kind::Deployment, "other", "web")];
    let mut world = World::new(targets.clone());
    let mut feed = api.cluster().watch(&targets);
    until(&mut feed, &mut world, &api, |world| targets.iter().all(|one| world.is_listed(one))).await;
    assert_eq!(pods(&world), 5);
    api.autoscale("other", "web", 4);
    api.settle(30);
    until(&mut feed, &mut world, &api, |world| pods(world) == 6).await;
}

#[tokio::test(start_paused = true)]
async fn owners_of_fields_are_not_carried_along() {
    let api = started(1).await;
    let mut feed = api.cluster().watch(&[target()]);
    let is_lean = |object: &Json| object["metadata"]["managedFields"].is_null();
    let mut seen = 0;
    api.autoscale("default", "web", 2);
    while seen < 3 {
        match feed.next().await.unwrap() {
            // Objects that were read have no such field.
            News::Listed { .. } => seen += 1,
            News::Line { line, .. } => assert!(is_lean(&line["object"])),
            _ => {}
        }
    }
    assert!(api.object("Deployment", "default", "web").unwrap()["metadata"]["managedFields"].is_array());
}

#[tokio::test(start_paused = true)]
async fn without_a_target_nothing_is_followed() {
    let api = started(1).await;
    let before = api.asked().len();
    assert!(api.cluster().watch(&[]).next().await.is_none());
    assert_eq!(api.asked().len(), before);
}
