//! Of whom lag is asked.

use std::sync::Arc;

use bus::{Bus, Error, GroupLag};

use super::door::{Door, FIND_COORDINATOR};
use super::{Joined, PATIENCE, answered, messages, within};

/// How far the groups are, once it is known of some.
async fn told(ask: impl AsyncFn() -> Result<Vec<GroupLag>, Error>) -> Vec<GroupLag> {
    let known = async || match ask().await {
        Ok(lags) if lags.is_empty() => Err(Error::Unavailable("nothing is committed yet".to_owned())),
        other => other,
    };
    answered(known).await
}

async fn open(door: &Door) -> Arc<dyn Bus> {
    door.open(Arc::new(|| Ok("secret".to_owned()))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_asks_for_its_own_groups_alone() {
    let door = Door::new("secret").await;
    let bus = open(&door).await;
    bus.publish(messages(0, 20)).await.unwrap();
    let mut gone = Joined::new(bus.as_ref(), "gone").await;
    let mut ours = Joined::new(bus.as_ref(), "ours").await;
    gone.take(20).await;
    ours.take(20).await;
    drop(gone);

    door.asked();
    let own = told(async || bus.lag_of(&["ours".to_owned()].into()).await).await;
    assert!(!door.asked().contains(&FIND_COORDINATOR), "another group was looked for");
    assert!(own.iter().all(|one| one.group == "ours"), "{own:?}");

    // An operator hears of all: once its member has left, somebody else asks for that group.
    let all = async {
        loop {
            let all = told(async || bus.lag().await).await;
            if door.asked().contains(&FIND_COORDINATOR) {
                return all;
            }
        }
    };
    let all = within(PATIENCE, all).await;
    assert!(["gone", "ours"].iter().all(|group| all.iter().any(|one| one.group == *group)), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_groups_hears_whether_brokers_answer() {
    let door = Door::new("secret").await;
    let bus = open(&door).await;
    assert_eq!(bus.lag_of(&[].into()).await.unwrap(), []);
    door.change("another");
    let refused = within(PATIENCE, bus.lag_of(&[].into())).await;
    assert!(matches!(&refused, Err(Error::Misconfigured(_))), "{refused:?}");
}
