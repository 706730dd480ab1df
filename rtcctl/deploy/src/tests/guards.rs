//! What a run does not do: beside another one, over a newer one, elsewhere, to what is not ours, without end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kernel::Clock;
use kubernetes::access::NoToken;
use kubernetes::read::{LogEnd, LogRequest};
use kubernetes::testing::What;
use kubernetes::{Access, Cluster, Tokens};
use rollout::canary::analysis::Measurement;
use serde_json::json;

use super::eye::tracked;
use super::ground::{Ground, Moment, Mortal, NAMESPACE, Scaled, Told, image, manifest, plan};
use super::killed_beside::{scaled, switch};
use crate::manifest::Id;
use crate::port::Port;
use crate::revision::{Heard, Others};
use crate::run::{Book, Driver, End, Error, News, Plan, Removal, Word};

const TWO: Scaled = Scaled::Fixed(2);

/// A cluster on which the run of the second version died after it had begun its revision.
async fn died() -> (Ground, String) {
    for at in 1.. {
        let ground = Ground::new();
        assert_eq!(ground.roll(plan(1, manifest(1, TWO))).await.exit(), 0);
        let mortal = Mortal::new(ground.api.cluster(), at, Moment::After);
        let mut book = ground.begin(plan(2, manifest(2, TWO)));
        let id = book.id();
        tokio::select! {
            end = ground.drive(&mut book, &mortal, None, Word::GoOn) => panic!("{end:?}"),
            () = mortal.died.notified() => {}
        }
        drop(book);
        if ground.revisions().contains(&(2, "pending".to_owned())) {
            ground.api.advance(Duration::from_secs(1));
            return (ground, id);
        }
    }
    unreachable!()
}

async fn driven(ground: &Ground, plan: Plan) -> crate::run::Result<End> {
    let mut book = ground.begin(plan);
    ground.drive(&mut book, &ground.api.cluster(), None, Word::GoOn).await
}

#[tokio::test(start_paused = true)]
async fn nothing_is_rolled_out_beside_a_run_that_seems_to_be_under_way() {
    let (ground, id) = died().await;
    let before = ground.deployment("web");
    let Err(Error::UnderWay(other)) = driven(&ground, plan(3, manifest(3, TWO))).await else { panic!() };
    assert_eq!(
        (other.head.run.as_str(), other.head.by.as_str(), other.head.number),
        (id.as_str(), "somebody", 2)
    );
    assert_eq!(ground.deployment("web")["spec"], before["spec"]);
    assert!(ground.api.object("Job", NAMESPACE, "migrate-3").is_none());
    // Whoever has been silent for so long is dead.
    ground.api.advance(Duration::from_secs(31 * 60));
    let end = driven(&ground, plan(4, manifest(4, TWO))).await.unwrap();
    assert_eq!(end, End::Over { state: rollout::lifecycle::State::Done, exit: 0 });
}

/// The second version of something tracked, everything at once, that has to stand for so many minutes.
fn long(version: u8, minutes: u64) -> Plan {
    Plan { bake: Duration::from_secs(minutes * 60), gate: None, ..switch(version) }
}

#[tokio::test(start_paused = true)]
async fn a_living_run_of_forty_minutes_is_respected() {
    let ground = Ground::new();
    let _looking = scaled(&ground).await;
    let mut book = ground.begin(long(2, 60));
    let api = ground.api.clone();
    let cluster = ground.api.cluster();
    let first = ground.drive(&mut book, &cluster, None, Word::GoOn);
    let second = async {
        tokio::time::sleep(Duration::from_secs(40 * 60)).await;
        let refused = driven(&ground, plan(3, tracked(3, Scaled::ByAutoscaler))).await;
        let Err(Error::UnderWay(other)) = refused else { panic!("{refused:?}") };
        let Heard::At(heard) = other.heard else { panic!("{other:?}") };
        assert!(api.now().since(heard) <= Duration::from_secs(2 * 60), "{other}");
        let told = format!("under way since {}, and was heard of at {heard}", other.head.at);
        assert!(other.to_string().contains(&told), "{other}");
        assert!(api.object("Deployment", NAMESPACE, "web-green").is_some());
    };
    let (end, ()) = tokio::join!(first, second);
    assert!(matches!(end, Ok(End::Over { exit: 0, .. })), "{end:?}");
    assert_eq!(ground.revisions(), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_taken_over_while_it_lived_changes_nothing_any_more() {
    let ground = Ground::new();
    let _looking = scaled(&ground).await;
    let mut book = ground.begin(long(2, 60));
    let cluster = ground.api.cluster();
    let first = ground.drive(&mut book, &cluster, None, Word::GoOn);
    let second = async {
        tokio::time::sleep(Duration::from_secs(5 * 60)).await;
        let third = plan(3, tracked(3, Scaled::ByAutoscaler));
        driven(&ground, Plan { others: Others::TakenOver, ..third }).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(matches!(second, Ok(End::Over { exit: 0, .. })), "{second:?}");
    let Err(Error::Overtaken { newer, .. }) = first else { panic!("{first:?}") };
    assert_eq!(newer.number, 3);
    let web = ground.deployment("web");
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], image(3));
    let wanted = [(1, "superseded"), (2, "pending"), (3, "deployed")];
    assert_eq!(ground.revisions(), wanted.map(|(number, state)| (number, state.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_a_word_is_respected_for_as_long_as_it_waits() {
    let ground = Ground::new();
    let _looking = scaled(&ground).await;
    let paused = ground.gated(switch(2), &Told::new(&[Measurement::Unknown])).await;
    assert!(matches!(paused.end, End::Paused { .. }), "{:?}", paused.end);
    let waits_from = ground.api.now();
    ground.api.advance(Duration::from_secs(24 * 60 * 60));
    let refused = driven(&ground, plan(3, tracked(3, Scaled::ByAutoscaler))).await;
    let Err(Error::UnderWay(other)) = refused else { panic!("{refused:?}") };
    let Heard::Waits { since: Some(since) } = other.heard else { panic!("{other:?}") };
    assert!(since <= waits_from && waits_from.since(since) <= Duration::from_secs(2), "{other}");
    assert!(other.to_string().contains(&format!("waits for a word since {since}")), "{other}");
    let mut book = paused.book;
    let end = ground.drive(&mut book, &ground.api.cluster(), None, Word::Approve).await.unwrap();
    assert!(matches!(end, End::Over { exit: 0, .. }), "{end:?}");
    let revision = ground.api.object("ConfigMap", NAMESPACE, "rtc-revision-2").unwrap();
    assert!(revision["metadata"]["labels"]["rtc.io/revision-waits-since"].is_null(), "{revision}");
}

#[tokio::test(start_paused = true)]
async fn a_run_is_not_taken_up_over_a_newer_revision() {
    let (ground, id) = died().await;
    let third = Plan { others: Others::TakenOver, ..plan(3, manifest(3, TWO)) };
    assert!(matches!(driven(&ground, third).await, Ok(End::Over { exit: 0, .. })));
    let before = ground.deployment("web");
    for word in [Word::GoOn, Word::Abort] {
        let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
        let refused = ground.drive(&mut book, &ground.api.cluster(), None, word).await;
        let Err(Error::Overtaken { newer, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(newer.number, 3);
    }
    assert_eq!(ground.deployment("web")["metadata"]["generation"], before["metadata"]["generation"]);
}

struct Fixed;

#[async_trait::async_trait]
impl Tokens for Fixed {
    async fn token(&self) -> Result<String, NoToken> {
        Ok("t".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_not_taken_up_on_another_cluster() {
    let (ground, id) = died().await;
    let url = "https://b.example.com".to_owned();
    let access = Access::Endpoint { url, ca_pem: None, tokens: Arc::new(Fixed) };
    let other = Cluster::connect(access).await.unwrap();
    let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
    let refused = ground.drive(&mut book, &other, None, Word::GoOn).await;
    let Err(Error::Elsewhere { began_on, is_on, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((began_on.as_str(), is_on.as_str()), ("api.test", "b.example.com"));
    assert!(ground.drive(&mut book, &ground.api.cluster(), None, Word::GoOn).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_looked_at_is_not_written_to() {
    let (ground, id) = died().await;
    let entries = || ground.journal().read(&id).unwrap().entries.len();
    let before = entries();
    let book = Book::find(&ground.journal(), &id).unwrap();
    assert_eq!((book.id(), entries()), (id.clone(), before));
    drop(book);
    drop(Book::resume(&ground.journal(), &id, "another").unwrap());
    assert_eq!(entries(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_ours_and_was_looked_at_is_deleted() {
    let ground = Ground::new();
    ground.roll(plan(1, manifest(1, TWO))).await;
    let labels = json!({ "app.kubernetes.io/managed-by": "rtcctl", "rtc.io/environment": "test" });
    let given = |name: &str, labels: &serde_json::Value| {
        ground.api.given(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels },
        }));
    };
    given("foreign", &json!({}));
    given(
        "other-environment",
        &json!({ "app.kubernetes.io/managed-by": "rtcctl", "rtc.io/environment": "prod" }),
    );
    given("made-again", &labels);
    given("ours", &labels);
    let removal = |name: &str, uid: Option<&str>| Removal {
        id: Id {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
        },
        uid: uid.map(str::to_owned),
    };
    let removes = vec![
        removal("foreign", None),
        removal("other-environment", None),
        removal("made-again", Some("the one before")),
        removal("ours", None),
    ];
    let told = Mutex::new(Vec::new());
    let tell = |news: &News<'_>| match news {
        News::Spared(id) => told.lock().unwrap().push(format!("kept {}", id.name)),
        News::Deleted(id) => told.lock().unwrap().push(format!("deleted {}", id.name)),
        _ => {}
    };
    let (cluster, clock) = (ground.api.cluster(), ground.api.clock());
    let driver = Driver { port: &cluster, clock: clock.as_ref(), gauge: None, tell: &tell };
    let mut book = ground.begin(Plan { removes, ..plan(2, manifest(2, TWO)) });
    driver.drive(&mut book, Word::GoOn).await.unwrap();
    let wanted = ["kept foreign", "kept other-environment", "kept made-again", "deleted ours"];
    assert_eq!(*told.lock().unwrap(), wanted);
    for name in ["foreign", "other-environment", "made-again"] {
        assert!(ground.api.object("ConfigMap", NAMESPACE, name).is_some(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_revision_cannot_be_marked_stays_open_until_it_is() {
    let ground = Ground::new();
    ground.roll(plan(1, manifest(1, TWO))).await;
    ground.api.fault("PATCH", "rtc-revision-2", What::Status(403, "no".to_owned()), 1);
    let mut book = ground.begin(plan(2, manifest(2, TWO)));
    let id = book.id();
    let stopped = ground.drive(&mut book, &ground.api.cluster(), None, Word::GoOn).await;
    assert!(matches!(stopped, Err(Error::Cluster(_))), "{stopped:?}");
    drop(book);
    let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
    let end = ground.drive(&mut book, &ground.api.cluster(), None, Word::GoOn).await.unwrap();
    assert!(matches!(end, End::Over { exit: 0, .. }), "{end:?}");
    assert_eq!(ground.revisions(), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_never_ends_is_what_has_come_of_it() {
    let ground = Ground::new();
    ground.roll(plan(1, manifest(1, TWO))).await;
    let pod =
        ground.api.objects("Pod", NAMESPACE).into_iter().find(|pod| pod["status"]["phase"] == "Running");
    let request = LogRequest {
        namespace: NAMESPACE.to_owned(),
        pod: pod.unwrap()["metadata"]["name"].as_str().unwrap().to_owned(),
        end: LogEnd::Follow,
        ..LogRequest::default()
    };
    let cluster = ground.api.cluster();
    let began = ground.api.clock().now();
    Port::log(&cluster, &request).await.unwrap();
    ground.api.fault("GET", "/log", What::Silence, 9);
    Port::log(&cluster, &request).await.unwrap();
    assert!(ground.api.clock().now().since(began) <= Duration::from_secs(22));
}
