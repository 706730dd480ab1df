//! The event bus on real brokers: what every bus does, and what groups with several members do.

use std::sync::Arc;

use bus::{Bus, Message};
use bus_kafka::Options;
use contracts::topics;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::Instant;

use crate::support::{Engine, Engines};

async fn open(engines: &Engines, broker: Engine) -> Arc<dyn Bus> {
    bus_kafka::open(engines.kafka(broker), Options::default()).await.unwrap()
}

/// Who publishes into a broker has it alone: others ask it where its partitions end.
async fn alone(broker: Engine) -> MutexGuard<'static, ()> {
    static BROKER_A: Mutex<()> = Mutex::const_new(());
    static BROKER_B: Mutex<()> = Mutex::const_new(());
    if broker == Engine::KafkaA { BROKER_A.lock().await } else { BROKER_B.lock().await }
}

async fn does_all_that_a_bus_does(broker: Engine) {
    let _alone = alone(broker).await;
    let engines = Engines::shared();
    let name = format!("suite{}", std::process::id());
    conformance::bus::all(async || open(&engines, broker).await, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_a_does_all_that_a_bus_does() {
    does_all_that_a_bus_does(Engine::KafkaA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_b_does_all_that_a_bus_does() {
    does_all_that_a_bus_does(Engine::KafkaB).await;
}

/// Broker B is not asked: a group there stands still for good when its leader leaves while another member joins
/// (services/platform/bus-kafka/README.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_group_come_and_go_on_broker_a() {
    let _alone = alone(Engine::KafkaA).await;
    let engines = Engines::shared();
    let name = format!("shared{}", std::process::id());
    conformance::bus::shared(&open(&engines, Engine::KafkaA).await, &name).await;
}

/// Prints what a broker carries; the floor is low enough for a busy machine.
async fn carries_a_crowd(broker: Engine) {
    const COUNT: usize = 40_000;
    let _alone = alone(broker).await;
    let engines = Engines::shared();
    let bus = open(&engines, broker).await;
    let run = format!("crowd{}", std::process::id());
    let mut member = {
        let wake = Arc::new(Notify::new());
        (bus.subscribe(&run, &[topics::PAYMENTS], wake.clone()).await.unwrap(), wake)
    };
    let body = "x".repeat(600);
    let started = Instant::now();
    for from in (0..COUNT).step_by(500) {
        let batch = (from..from + 500).map(|n| Message {
            topic: Arc::from(topics::PAYMENTS.name),
            key: format!("{run}-{}", n % 97),
            payload: format!("{run}|{n}|{body}").into(),
        });
        bus.publish(batch.collect()).await.unwrap();
    }
    let produced = started.elapsed();
    let started = Instant::now();
    let mut seen = 0;
    while seen < COUNT {
        assert!(started.elapsed().as_secs() < 60, "{seen} of {COUNT} came");
        let batch = member.0.poll(256).await.unwrap();
        seen += batch.iter().filter(|delivery| delivery.payload.starts_with(&run)).count();
        if batch.is_empty() {
            let _ = tokio::time::timeout(std::time::Duration::from_millis(100), member.1.notified()).await;
        }
        member.0.commit(&batch).await.unwrap();
    }
    let rate = |elapsed: std::time::Duration| COUNT as f64 / elapsed.as_secs_f64();
    println!(
        "{broker:?}: {:.0} messages/s published, {:.0} messages/s taken",
        rate(produced),
        rate(started.elapsed())
    );
    assert!(rate(produced) > 200.0 && rate(started.elapsed()) > 500.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_a_carries_a_crowd() {
    carries_a_crowd(Engine::KafkaA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_b_carries_a_crowd() {
    carries_a_crowd(Engine::KafkaB).await;
}
