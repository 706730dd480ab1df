//! The whole shop in one process on MariaDB, a broker, Redis and S3.

use serde_json::Value;
use suites::platform::Platform;

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
