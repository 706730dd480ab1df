//! Whether groups have settled: who restarts processes one after the other waits for it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Cluster, Joined, PATIENCE};

/// Polls all, for rebalances are served in polls, until `has_come`.
async fn turned(members: &mut [&mut Joined], has_come: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !has_come() {
        assert!(Instant::now() < deadline, "it does not come");
        for joined in &mut *members {
            joined.member.poll(100).await.unwrap_or_default();
            let _ = timeout(Duration::from_millis(20), joined.wake.notified()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_has_settled_once_nothing_of_it_is_divided_any_more() {
    let cluster = Cluster::new();
    let (bus, other) = (cluster.open().await, cluster.open().await);
    let groups = BTreeSet::from(["settling".to_owned()]);
    assert!(bus.has_settled(&BTreeSet::new()) && !bus.has_settled(&groups), "nobody here is in it");
    let mut first = Joined::new(&*bus, "settling").await;
    assert!(!bus.has_settled(&groups), "it has only begun to join");
    turned(&mut [&mut first], || bus.has_settled(&groups)).await;
    assert!(!other.has_settled(&groups), "nobody of the other process is in it");
    // Another one comes, and what was divided is divided anew.
    let mut second = Joined::new(&*other, "settling").await;
    turned(&mut [&mut first, &mut second], || !bus.has_settled(&groups)).await;
    turned(&mut [&mut first, &mut second], || bus.has_settled(&groups) && other.has_settled(&groups)).await;
}
