//! What a canary that nobody has ended leaves to the next run: pods that are sent nothing, and Services that find none of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kubernetes::testing::Api;
use manifests::examples;
use rollout::canary::analysis::Measurement::{Bad, Good};
use rollout::canary::{Approval, Pause};
use serde_json::Value as Json;

use super::canaries::{beside, image_of, stable, track, whole};
use super::eye::{Looking, Shown};
use super::ground::{Ground, Told, image};
use crate::gate::{Check, Gauge, Seen, View};
use crate::revision::Others;
use crate::run::{Book, End, Plan, Strategy, Word};

/// Bad from its third look on: something that is to come back then is not let in.
struct Barring {
    api: Api,
    looks: AtomicUsize,
}

#[async_trait]
impl Gauge for Barring {
    async fn measure(&self, _check: &Check, _view: &View) -> Seen {
        let look = self.looks.fetch_add(1, Ordering::SeqCst);
        if look == 2 {
            self.api.remove("Service", "rtc", "shop");
            self.api.deny("Service", "shop", "not now");
        }
        let measurement = if look < 2 { Good } else { Bad };
        Seen { measurement, is_silent: false, says: format!("{measurement:?}") }
    }
}

/// A canary was called back, and the way back failed before it was gone.
async fn called_back() -> Ground {
    let ground = stable().await;
    let gauge = Barring { api: ground.api.clone(), looks: AtomicUsize::new(0) };
    let rolled = ground.gated(beside(Approval::Analysis), &gauge).await;
    assert_eq!(rolled.exit(), 25, "{:?}", rolled.book.causes());
    assert_eq!(track(&ground, "gateway"), "stable");
    assert_eq!(image_of(&ground, "gateway-canary"), Some(examples::OTHER_IMAGE.into()));
    ground.api.deny_nothing();
    ground
}

/// A canary of another image, which waits for a word.
fn another() -> Plan {
    let Plan { strategy, gate, .. } = beside(Approval::Operator);
    Plan { strategy, gate, others: Others::TakenOver, ..whole(Some(&image(3))) }
}

#[tokio::test(start_paused = true)]
async fn a_canary_after_one_that_was_left_is_sent_its_share() {
    let ground = called_back().await;
    let rolled = ground.gated(another(), &Told::new(&[Good])).await;
    assert_eq!(rolled.end, End::Paused { step: 0, why: Pause::Approval });
    assert_eq!(image_of(&ground, "gateway-canary"), Some(image(3).into()));
    assert_eq!(track(&ground, "gateway"), Json::Null);
}

#[tokio::test(start_paused = true)]
async fn a_canary_after_a_switch_that_was_left_is_sent_its_share() {
    let ground = stable().await;
    let strategy = Strategy::BlueGreen {
        targets: vec!["gateway".to_owned()],
        hold: Duration::from_secs(2),
        approval: Approval::Operator,
    };
    let switch = Plan { strategy, ..whole(Some(examples::OTHER_IMAGE)) };
    assert_eq!(ground.roll(switch).await.end, End::Paused { step: 0, why: Pause::Approval });
    assert_eq!(track(&ground, "gateway"), "stable");
    let rolled = ground.gated(another(), &Told::new(&[Good])).await;
    assert_eq!(rolled.end, End::Paused { step: 0, why: Pause::Approval });
    assert_eq!(image_of(&ground, "gateway-green"), None);
    assert_eq!(track(&ground, "gateway"), Json::Null);
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_was_left_is_sent_nothing_by_whatever_comes_next() {
    let ground = called_back().await;
    let looking = Looking::at(&ground, "rtc", "gateway");
    let shown = Shown { port: &ground.api.cluster(), eye: &looking.eye };
    let mut book = ground.begin(whole(Some(&image(3))));
    let end = ground.drive(&mut book, &shown, None, Word::GoOn).await.unwrap();
    assert!(matches!(end, End::Over { exit: 0, .. }), "{end:?} {:?}", book.causes());
    assert_eq!(looking.eye.way(), ["stable", "*"]);
    assert_eq!(looking.eye.seen.lock().unwrap().two_tracks, Vec::<String>::new());
    assert_eq!(image_of(&ground, "gateway-canary"), None);
}

#[tokio::test(start_paused = true)]
async fn who_takes_up_a_run_that_died_while_a_canary_went_waits_until_it_is_gone() {
    let ground = called_back().await;
    let looking = Looking::at(&ground, "rtc", "gateway");
    let shown = Shown { port: &ground.api.cluster(), eye: &looking.eye };
    let mut book = ground.begin(whole(Some(&image(3))));
    let id = book.id();
    let gone = async {
        while image_of(&ground, "gateway-canary").is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        end = ground.drive(&mut book, &shown, None, Word::GoOn) => panic!("{end:?}"),
        () = gone => {}
    }
    drop(book);
    let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
    let end = ground.drive(&mut book, &shown, None, Word::GoOn).await.unwrap();
    assert!(matches!(end, End::Over { exit: 0, .. }), "{end:?} {:?}", book.causes());
    assert_eq!(looking.eye.seen.lock().unwrap().two_tracks, Vec::<String>::new());
    assert_eq!(track(&ground, "gateway"), Json::Null);
}
