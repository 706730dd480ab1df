//! The adapter against librdkafka's mock cluster: what every bus does, and what happens when brokers fail.

mod door;
mod faults;
mod lag;
mod moved;
mod rest;
mod settled;
mod sign_in;
mod suite;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Delivery, Error, Message, Subscription};
use contracts::topics::{self, Topic};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::Options;

const PATIENCE: Duration = Duration::from_secs(40);

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    fn new() -> Self {
        let mock = MockCluster::new(3).unwrap();
        for topic in topics::ALL {
            mock.create_topic(topic.name, i32::try_from(topic.partitions).unwrap(), 3).unwrap();
        }
        Self { mock }
    }

    fn url(&self) -> String {
        format!("kafka://{}", self.mock.bootstrap_servers())
    }

    async fn open(&self) -> Arc<dyn Bus> {
        self.open_with(Options::default()).await
    }

    async fn open_with(&self, options: Options) -> Arc<dyn Bus> {
        crate::open(&self.url(), options).await.unwrap()
    }
}

fn message(topic: Topic, key: &str, n: usize) -> Message {
    Message { topic: Arc::from(topic.name), key: key.to_owned(), payload: format!("{key}|{n}").into() }
}

fn messages(from: usize, count: usize) -> Vec<Message> {
    (from..from + count).map(|n| message(topics::ORDERS, &format!("k{}", n % 5), n)).collect()
}

fn number(delivery: &Delivery) -> (String, usize) {
    let (key, n) = delivery.payload.split_once('|').unwrap();
    (key.to_owned(), n.parse().unwrap())
}

struct Joined {
    member: Box<dyn Subscription>,
    wake: Arc<Notify>,
}

impl Joined {
    async fn new(bus: &dyn Bus, group: &str) -> Self {
        let wake = Arc::new(Notify::new());
        let member = bus.subscribe(group, &[topics::ORDERS], wake.clone()).await.unwrap();
        Self { member, wake }
    }

    /// What comes until `count` different messages were there, in the order in which it came. A bus that is away for a
    /// while is asked again.
    async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let deadline = Instant::now() + PATIENCE;
        let (mut seen, mut taken) = (BTreeSet::new(), Vec::new());
        while seen.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} came", seen.len());
            let batch = self.member.poll(100).await.unwrap_or_default();
            self.member.commit(&batch).await.unwrap();
            seen.extend(batch.iter().map(number));
            if batch.is_empty() {
                let _ = timeout(Duration::from_millis(100), self.wake.notified()).await;
            }
            taken.extend(batch);
        }
        taken
    }
}

/// Asserts that each message of a key comes for the first time after all before it.
#[track_caller]
fn first_deliveries_are_in_order(taken: &[Delivery]) {
    let mut seen = BTreeSet::new();
    let mut last = std::collections::BTreeMap::new();
    for one in taken {
        let (key, n) = number(one);
        if seen.insert((key.clone(), n))
            && let Some(before) = last.insert(key.clone(), n)
        {
            assert!(before < n, "{n} of {key} first came after {before}");
        }
    }
}

/// As the relay does: the same messages again until they are taken.
async fn publish_until_taken(bus: &dyn Bus, messages: Vec<Message>) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut tries = 1;
    while let Err(error) = bus.publish(messages.clone()).await {
        assert!(Instant::now() < deadline, "not published after {tries} tries: {error}");
        tries += 1;
    }
    tries
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    timeout(limit, work).await.expect("it takes no longer")
}

/// Asks until it is answered. What fails may be asked again.
async fn answered<T>(ask: impl AsyncFn() -> Result<T, Error>) -> T {
    let asking = async {
        loop {
            if let Ok(answer) = ask().await {
                return answer;
            }
        }
    };
    within(PATIENCE, asking).await
}
