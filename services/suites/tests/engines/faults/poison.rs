//! F5: messages that nobody can read, on every topic and beside those of the shop.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contracts::topics;
use kernel::id::SplitMix;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::faults::crowd::Crowd;
use crate::faults::each_seed;
use crate::faults::shop::Shop;
use crate::support::{CONVERGES_WITHIN, Engine};

/// Larger than any message of ours, and than what librdkafka fetches ahead.
const HUGE: usize = 10 * 1024 * 1024;

/// A type of each topic that somebody there handles.
fn handled_on(topic: &str) -> Option<&'static str> {
    Some(match topic {
        "rtc.catalog" => "rtc.catalog.product_created.v1",
        "rtc.inventory" => "rtc.inventory.stock_reserved.v1",
        "rtc.inventory.commands" => "rtc.inventory.reserve_stock.v1",
        "rtc.orders" => "rtc.orders.order_confirmed.v1",
        "rtc.payments" => "rtc.payments.payment_captured.v1",
        "rtc.payments.commands" => "rtc.payments.hold_payment.v1",
        _ => return None,
    })
}

fn envelope(random: &mut SplitMix, event_type: &str, subject: &str, data: &Value) -> Value {
    let id = format!("evt_{:016x}{:016x}", random.next(), random.next());
    json!({ "id": id, "type": event_type, "source": "elsewhere", "subject": subject, "sequence": 0,
            "time": "2026-03-01T09:00:00.000Z", "data": data })
}

/// What lies on a topic: a key, a value, and whether consumers can do nothing but park it.
type Poison = (Option<String>, Option<Vec<u8>>, bool);

fn poisons(random: &mut SplitMix, topic: &str) -> Vec<Poison> {
    let key = |n: u32| Some(format!("poison-{n}"));
    let text = |value: Value| Some(value.to_string().into_bytes());
    let mut all: Vec<Poison> = vec![
        (key(1), Some(b"{\"id\": \"evt_".to_vec()), true),
        (key(2), Some(Vec::new()), true),
        (key(3), None, true),
        (None, Some(b"not even json".to_vec()), true),
        (key(4), Some(vec![0xff, 0xfe, 0x00, 0x80]), true),
        (key(5), Some(b"[1, 2, 3]".to_vec()), true),
        (key(6), Some("[".repeat(100_000).into_bytes()), true),
        // A later version, and something that nobody has heard of, pass by.
        (key(7), text(envelope(random, "rtc.orders.order_confirmed.v99", "poison-7", &json!({}))), false),
        (key(8), text(envelope(random, "com.example.else.v1", "poison-8", &json!({ "x": [null] }))), false),
    ];
    if let Some(handled) = handled_on(topic) {
        // A subject for each topic: behind a parked message the later ones of its subject wait.
        let (ninth, tenth) = (format!("poison-9 {topic}"), format!("poison-10 {topic}"));
        let long = "x".repeat(5_000);
        all.extend([
            (key(9), text(envelope(random, handled, &ninth, &json!({ "order": 17 }))), true),
            (key(10), text(envelope(random, handled, &tenth, &json!(long))), true),
            // Longer than any key of ours.
            (key(11), text(envelope(random, handled, &long, &json!({}))), true),
            (key(12), text(envelope(random, handled, &format!("독이든-🐍 {topic}"), &json!(null))), true),
        ]);
    }
    all
}

/// Publishes as a stranger would; `false` where the broker refuses it.
async fn publish(producer: &FutureProducer, topic: &str, key: Option<&str>, value: Option<&[u8]>) -> bool {
    let mut record: FutureRecord<'_, str, [u8]> = FutureRecord::to(topic);
    record.key = key;
    record.payload = value;
    producer.send(record, Duration::from_secs(10)).await.is_ok()
}

async fn letters(shop: &Shop) -> Vec<Value> {
    let said = shop.operator(0).get("/admin/dead-letters?limit=10000").await.expect("an answer");
    said.body["data"].as_array().expect("letters").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_read_is_parked_and_everything_else_flows() {
    each_seed(async |mut random| {
        let shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB], 1).await;
        let servers = shop.engines.kafka(Engine::KafkaB).trim_start_matches("kafka://").to_owned();
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("message.max.bytes", (2 * HUGE).to_string())
            .set("message.timeout.ms", "10000")
            .create()
            .expect("a producer");
        let crowd = Crowd::gather(&shop, 4, &mut random);
        crowd.orders_again(10).await;
        let lag = shop.operator(0).get("/admin/lag").await.expect("an answer").body;
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for lag in lag["data"].as_array().expect("groups") {
            let text = |name: &str| lag[name].as_str().expect("a text").to_owned();
            groups.entry(text("topic")).or_default().insert(text("group"));
        }
        let mut wanted: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut huge_taken = 0;
        for topic in topics::ALL {
            for (key, value, parked) in poisons(&mut random, topic.name) {
                let key = key.as_deref();
                assert!(publish(&producer, topic.name, key, value.as_deref()).await, "{}: {key:?}", topic.name);
                let unread = value.as_deref().is_none_or(|value| !value.starts_with(b"{\"data\""));
                for group in groups.get(topic.name).into_iter().flatten().filter(|_| parked && unread) {
                    *wanted.entry((topic.name.to_owned(), group.clone())).or_default() += 1;
                }
            }
            let huge = vec![b'x'; HUGE];
            if publish(&producer, topic.name, Some("poison-huge"), Some(&huge)).await {
                huge_taken += 1;
                for group in groups.get(topic.name).into_iter().flatten() {
                    *wanted.entry((topic.name.to_owned(), group.clone())).or_default() += 1;
                }
            }
        }
        let flows = crowd.orders_again(20).await;
        let records = crowd.leave().await;
        let (converged_after, states) = shop.converges(&records).await;
        assert!(states["confirmed"] > 0 && records.unknown_count() == 0, "{states:?} {:?}", records.unknown);

        let begun = Instant::now();
        let parked = loop {
            let parked = letters(&shop).await;
            let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
            for letter in &parked {
                assert_eq!(letter["state"], "dead", "{letter}");
                let text = |name: &str| letter[name].as_str().expect("a text").to_owned();
                *found.entry((text("topic"), text("consumer"))).or_default() += 1;
            }
            if wanted.iter().all(|(place, count)| found.get(place).is_some_and(|found| found >= count)) {
                break parked;
            }
            assert!(begun.elapsed() < CONVERGES_WITHIN, "wanted {wanted:?}, found {found:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let typed = parked.iter().filter(|letter| letter["event_type"] != "").count();
        assert!(typed >= 10, "{typed} envelopes of the wrong shape were parked");

        // Handled again they are no better, and in nobody's way.
        let said = shop.operator(0).post("/admin/dead-letters/replay", None, &json!({})).await.expect("an answer");
        assert_eq!(said.body["replayed"], parked.len(), "{}", said.body);
        let begun = Instant::now();
        while letters(&shop).await.iter().any(|letter| letter["state"] != "dead") {
            assert!(begun.elapsed() < CONVERGES_WITHIN, "letters that are handled for ever");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(letters(&shop).await.len(), parked.len());
        let crowd = Crowd::gather(&shop, 4, &mut random);
        crowd.orders_again(10).await;
        let mut all = crowd.leave().await;
        all.accepted.extend(records.accepted);
        shop.converges(&all).await;
        println!(
            "{} letters of {} topics ({typed} of the wrong shape, {huge_taken} topics took 10 MiB); 20 orders in {flows:?} \
             beside them, converged after {converged_after:?}: {states:?}",
            parked.len(),
            topics::ALL.len(),
        );
        shop.stop().await;
    })
    .await;
}
