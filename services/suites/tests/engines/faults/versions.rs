//! F16: readers that are older than what they read, a migration and a second process during traffic.

use std::time::Duration;

use contracts::topics;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use suites::platform::run;
use tokio::time::Instant;

use crate::faults::crowd::Crowd;
use crate::faults::each_seed;
use crate::faults::shop::{Shop, ask};
use crate::support::{CONVERGES_WITHIN, Engine};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_readers_understand_new_writers_and_a_second_process_may_come_and_migrate_at_any_time() {
    each_seed(async |mut random| {
        let mut shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB], 1).await;
        let crowd = Crowd::gather(&shop, 4, &mut random);
        crowd.orders_again(10).await;

        // What a later version would write: the same event with more in it, at every level, and a version beyond it.
        let path = format!("/admin/topics/{}/messages?limit=1000", topics::ORDERS.name);
        let log = shop.operator(0).get_patiently(&path).await.expect("an answer").body;
        let log = log.as_str().expect("lines").to_owned();
        let confirmed = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a message")["envelope"].clone())
            .find(|envelope| envelope["type"] == "rtc.orders.order_confirmed.v1")
            .expect("a confirmed order");
        let mut later = confirmed.clone();
        later["id"] = json!(format!("evt_0199{:012x}{:016x}", random.next() >> 16, random.next()));
        later["sequence"] = json!(0);
        later["source"] = json!("elsewhere");
        later["dataschema"] = json!("https://example.com/v7");
        later["data"]["gift"] = json!({ "wrapped": true });
        later["data"]["order"]["channel"] = json!("app");
        later["data"]["order"]["lines"][0]["warranty_years"] = json!(2);
        let mut beyond = confirmed.clone();
        beyond["id"] = json!(format!("evt_0199{:012x}{:016x}", random.next() >> 16, random.next()));
        beyond["sequence"] = json!(0);
        beyond["source"] = json!("elsewhere");
        beyond["type"] = json!("rtc.orders.order_confirmed.v2");
        beyond["data"] = json!({ "something": "else" });
        let servers = shop.engines.kafka(Engine::KafkaB).trim_start_matches("kafka://").to_owned();
        let producer: FutureProducer =
            ClientConfig::new().set("bootstrap.servers", servers).create().expect("a producer");
        for envelope in [&later, &beyond] {
            let (key, value) = (confirmed["subject"].as_str().expect("a key"), envelope.to_string());
            let record = FutureRecord::to(topics::ORDERS.name).key(key).payload(&value);
            producer.send(record, Duration::from_secs(10)).await.expect("a message that is taken");
        }
        let handled = format!(
            "SELECT consumer FROM rtc_analytics.inbox WHERE event_id = '{0}' \
             UNION SELECT consumer FROM rtc_notifications.inbox WHERE event_id = '{0}'",
            later["id"].as_str().expect("an id")
        );
        let begun = Instant::now();
        let readers = loop {
            let readers: Vec<String> = ask(shop.engines.mysql(), &handled).await;
            if readers.len() >= 2 {
                break readers;
            }
            assert!(begun.elapsed() < CONVERGES_WITHIN, "handled by {readers:?} alone: {later}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };

        // A second process looks at the schemas, then comes for good, and the first one goes.
        let data = shop.data(1);
        shop.enroll(1);
        let mut migrate = shop.engines.program("rtcd");
        migrate.args(["migrate", "--data"]).arg(&data);
        let migrated = run(migrate).await.expect(0);
        assert!(migrated.stdout.contains("orders\tup to date"), "{}", migrated.stdout);
        let second = shop.start(1).await;
        shop.replicas.push(second);
        let records = crowd.leave().await;
        assert_eq!(records.unknown_count(), 0, "{:?}", records.unknown);
        let crowd = Crowd::gather(&shop, 4, &mut random);
        let both = crowd.orders_again(20).await;
        let mut all = crowd.leave().await;
        assert_eq!(all.unknown_count(), 0, "{:?}", all.unknown);
        all.accepted.extend(records.accepted);
        let (converged_after, states) = shop.converges(&all).await;
        let letters = shop.operator(0).get("/admin/dead-letters").await.expect("an answer").body;
        assert_eq!(letters["data"], json!([]), "what is new is passed by, not parked");
        println!(
            "a later writer's event was handled by {readers:?}; 20 orders in {both:?} at two processes, converged after \
             {converged_after:?}: {states:?}"
        );
        shop.stop().await;
    })
    .await;
}
