//! Passwords that change while clients have them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::door::Door;
use super::{Joined, PATIENCE, answered, messages, number, publish_until_taken, within};
use crate::Password;
use crate::client::{Watch, lock};
use crate::sign_in::{Shown, SignIn};

/// What a secret says, and how often it was read.
#[derive(Default)]
struct Secret {
    text: Mutex<String>,
    read: AtomicUsize,
}

impl Secret {
    fn new(text: &str) -> Arc<Self> {
        Arc::new(Self { text: Mutex::new(text.to_owned()), read: AtomicUsize::new(0) })
    }

    fn set(&self, text: &str) {
        text.clone_into(&mut lock(&self.text));
    }

    fn password(self: &Arc<Self>) -> Password {
        let secret = self.clone();
        Arc::new(move || {
            secret.read.fetch_add(1, Ordering::Relaxed);
            Ok(lock(&secret.text).clone())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_is_used_by_all_whom_brokers_refuse() {
    let (door, secret) = (Door::new("old").await, Secret::new("old"));
    let bus = door.open(secret.password()).await;
    let mut joined = Joined::new(bus.as_ref(), "g").await;
    bus.publish(messages(0, 20)).await.unwrap();
    joined.take(20).await;
    let sum = async || {
        let mut found = 0;
        for partition in 0..4 {
            found += bus.read("rtc.orders", partition, 0, 100).await?.len();
        }
        Ok(found)
    };
    assert_eq!(sum().await.unwrap(), 20);

    door.change("new");
    door.refuses().await;
    secret.set("new");

    within(PATIENCE, publish_until_taken(bus.as_ref(), messages(20, 20))).await;
    let mut fresh = BTreeSet::new();
    let taking = async {
        while fresh.len() < 20 {
            let taken = joined.take(1).await;
            fresh.extend(taken.iter().map(|one| number(one).1).filter(|n| *n >= 20));
        }
    };
    within(PATIENCE, taking).await;
    assert!(answered(sum).await >= 40, "readers and the desk are let in again");
    let lags = answered(async || bus.lag().await).await;
    assert!(lags.iter().all(|lag| lag.group == "g") && !lags.is_empty(), "{lags:?}");
}

#[test]
fn whoever_was_refused_gives_way_once_there_is_another_password_and_nobody_else_does() {
    let secret = Secret::new("old");
    let sign_in = SignIn::new(Some(secret.password()));
    let made = || Watch::new(Shown::new(&sign_in, sign_in.ask().ok()));
    let looks = || {
        let before = secret.read.load(Ordering::Relaxed);
        sign_in.look();
        secret.read.load(Ordering::Relaxed) > before
    };
    let (refused, other) = (made(), made());
    refused.note(&KafkaError::Global(Code::BrokerTransportFailure), "a cut wire");
    assert!(!looks(), "nobody was refused");

    refused.note(&KafkaError::Global(Code::Authentication), "a wrong password");
    refused.recovered();
    assert!(looks());
    assert!(!refused.gives_way(), "another client would be refused like it");
    assert!(looks(), "until there is another password");

    secret.set("new");
    assert!(looks());
    assert!(refused.gives_way());
    assert!(other.is_old() && !other.gives_way(), "its connections are good");
    assert!(!looks(), "nobody was refused with the new one");

    other.note(&KafkaError::Global(Code::Authentication), "a wrong password");
    assert!(other.gives_way() && !looks());
    assert!(!made().is_old());
}
