//! The whole shop in one process on MariaDB, a broker, Redis and S3.

use serde_json::Value;
use suites::platform::Platform;

use crate::faults::shop::administer;
use crate::support::{Engine, Engines, Shopper};

async fn the_whole_shop_works_with(broker: Engine) {
    let engines = Engines::start(&[Engine::MariaDb, broker, Engine::Redis, Engine::S3]).await;
    let directory = crate::faults::shop::seeded(&engines).await;
    let data = directory.path().join("data");
    let platform = Platform::spawn(engines.rtcd(&data, &[]), &data).await;
    // What is configured is what is used: no file of an embedded database or log is beside it. A search index is each
    // process's own, and made again from the products.
    for entry in std::fs::read_dir(&data).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let embedded = name.ends_with(".db") && name != "catalog_search.db";
        assert!(!embedded, "{name}: an embedded database on a platform with MariaDB");
    }

    let shopper = Shopper::demo(&platform).await;
    let products = shopper.get("/api/v1/products?limit=2").await.expect(200);
    let product = products["data"][0]["id"].as_str().expect("a product");
    let order = shopper.order_to_its_end(product, "first").await;
    assert_eq!(order["state"], "confirmed", "{order}");
    let again = shopper.order(product, 1, "first").await;
    assert!(again.replayed, "{}", again.body);
    assert_eq!(again.body["id"], order["id"]);

    let load = ["load", "--scenario", "shop", "--orders-only", "--rate", "25", "--duration", "8s"];
    let more = ["--shoppers", "10", "--products", "5", "--restock", "10000", "--settle-timeout", "60s"];
    let rest = ["--progress", "none", "-o", "json"];
    let report = engines.rtcctl(&data, &[&load[..], &more, &rest].concat()).await.json();
    let orders = &report["data"]["orders"];
    let accepted = orders["accepted"].as_u64().unwrap_or(0);
    assert!(accepted >= 150, "{}", report["data"]);
    let count = |state: &str| orders["by_state"][state].as_u64().unwrap_or(0);
    assert_eq!(count("confirmed") + count("rejected") + count("cancelled"), accepted, "{orders}");
    assert!(count("confirmed") >= accepted * 9 / 10, "{orders}");
    platform.invariants_hold().await;

    // Nothing of it was in the memory of the process. Broker A waits for a killed member for good (docs/ENGINES.md).
    match broker {
        Engine::KafkaA => assert_eq!(platform.stop().await, 0),
        _ => platform.kill().await,
    }
    let platform = Platform::spawn(engines.rtcd(&data, &[]), &data).await;
    let shopper = Shopper::demo(&platform).await;
    let id = order["id"].as_str().unwrap();
    let kept: Value = shopper.get(&format!("/api/v1/orders/{id}")).await.expect(200);
    assert_eq!(kept["state"], "confirmed", "{kept}");
    let another = shopper.order_to_its_end(product, "after-the-restart").await;
    assert_eq!(another["state"], "confirmed", "{another}");
    platform.invariants_hold().await;
    assert_eq!(platform.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_shop_works_on_mariadb_redis_s3_and_broker_a() {
    the_whole_shop_works_with(Engine::KafkaA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_shop_works_on_mariadb_redis_s3_and_broker_b() {
    the_whole_shop_works_with(Engine::KafkaB).await;
}

/// Holds that were captured, of as many orders, in rows that agree.
fn captured(orders: u32) -> [String; 3] {
    let many = format!("FROM rtc_payments.seq_1_to_{orders}");
    let actions = "(SELECT 'hold' action, 'merchant:KRW' giver, 'hold:KRW' taker UNION ALL \
                   SELECT 'capture', 'hold:KRW', 'merchant:KRW') actions";
    let posting = |account: &str, amount: &str| {
        format!(
            "SELECT CONCAT('many', seq, ':', action), {account}, 'KRW', {amount}, action, CONCAT('many', seq), 0 {many}, {actions}"
        )
    };
    [
        format!(
            "INSERT INTO rtc_payments.bank_holds (hold_key, id, account, currency, amount, captured, refunded, state, expires_at, \
             created_at) SELECT CONCAT('many', seq), CONCAT('many', seq), 'merchant:KRW', 'KRW', 10, 10, 0, 'captured', 1, 0 {many}"
        ),
        format!(
            "INSERT INTO rtc_payments.bank_operations (op_key, action, hold_key, outcome, amount, hold_id, at) \
             SELECT CONCAT('many', seq, ':', action), action, CONCAT('many', seq), 'done', 10, CONCAT('many', seq), 0 {many}, {actions}"
        ),
        format!(
            "INSERT INTO rtc_payments.bank_postings (op_key, account, currency, amount, action, hold_key, at) {} UNION ALL {}",
            posting("giver", "-10"),
            posting("taker", "10")
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_of_very_many_orders_comes_to_its_end() {
    let engines = Engines::start(&[Engine::MariaDb, Engine::KafkaB, Engine::Redis, Engine::S3]).await;
    let directory = crate::faults::shop::seeded(&engines).await;
    let data = directory.path().join("data");
    let platform = Platform::spawn(engines.rtcd(&data, &[]), &data).await;
    // A look at every pair of them would be eight hundred million looks, and no answer from the server in time.
    administer(engines.mysql(), &captured(20_000)).await;
    let words = ["status", "--invariants", "-o", "json"];
    let report = engines.rtcctl(&data, &words).await.expect(0).json();
    let audited = report["data"]["invariants"].as_array().expect("invariants").iter();
    let checked =
        audited.filter(|one| one["id"] == "I7").filter_map(|one| one["checked"].as_u64()).sum::<u64>();
    assert!(checked >= 160_000, "{report}");
    assert_eq!(platform.stop().await, 0);
}
