//! The operator's routes for read models and dead letters.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use contracts::catalog::{ProductCreated, ProductSnapshot, ProductStatus};
use contracts::{ProductId, topics};
use kernel::{Currency, Money};
use messaging::{Progress, Pump};
use serde_json::{Value, json};
use testkit::{Answer, Call, House};

use crate::admin;

/// Orders and inventory, as an operator reaches them.
struct Desk {
    house: House,
    router: Router,
    token: String,
}

impl Desk {
    async fn open() -> Self {
        let house = House::build(&[], async |context| {
            let orders = orders::service(context).await?;
            Ok::<_, host::StartError>(vec![orders, inventory::service(context).await?])
        })
        .await;
        house.settle().await;
        let address = "127.0.0.1:1".parse().unwrap();
        let (context, ready) = (&house.context, Arc::default());
        let router =
            admin::router(context, &house.services, None, address, context.clock.now(), ready, None).unwrap();
        let token = house.context.secrets.get("admin_token").unwrap();
        Self { house, router, token }
    }

    fn ask(&self, method: Method, path: &str) -> Call {
        Call::new(self.router.clone(), method, path).token(&self.token)
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path).send().await.expect(200)["data"].clone()
    }

    async fn rebuild(&self, method: Method, group: &str) -> Answer {
        self.ask(method, &format!("/admin/consumers/{group}/rebuild")).send().await
    }

    async fn publish(&self, n: u128, version: i64, won: i64) {
        let product = ProductSnapshot {
            product_id: ProductId::from(House::user(n).uuid()),
            sku: format!("SKU-{n}"),
            name: "녹차".to_owned(),
            category: "tea".to_owned(),
            price: Money::new(won, Currency::KRW),
            status: ProductStatus::Active,
            version,
        };
        let subject = product.product_id.to_string();
        self.house.publish(topics::CATALOG, "catalog", &subject, &ProductCreated { product }).await;
    }

    /// A message of a known type whose data fits nothing, and a good one behind it.
    async fn poison(&self) {
        let key = ProductId::from(House::user(9).uuid()).to_string();
        let poison = json!({
            "id": "evt_0199b4a0000070008000000000000099", "type": "rtc.catalog.product_created.v1", "source": "x",
            "subject": key, "time": "2026-03-01T09:00:00.000Z", "data": { "product": 7 },
        });
        let message =
            bus::Message { topic: topics::CATALOG.name.into(), key, payload: poison.to_string().into() };
        bus::Bus::publish(&self.house.bus, vec![message]).await.unwrap();
        self.publish(9, 1, 900).await;
        self.house.allow_dead_letters();
        self.house.settle().await;
    }

    fn pump(&self, name: &str) -> Arc<dyn Pump> {
        let pumps = self.house.services.iter().flat_map(|service| &service.pumps);
        pumps.into_iter().find(|pump| pump.name() == name).expect("a pump of this name").clone()
    }
}

#[tokio::test]
async fn read_models_are_listed_and_rebuilt() {
    let desk = Desk::open().await;
    desk.publish(1, 1, 900).await;
    desk.house.settle().await;
    let listed = desk.get("/admin/consumers").await;
    let of = |group: &str| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .find(|view| view["consumer"] == group)
            .cloned()
            .expect("a read model")
    };
    let products = of("orders.products");
    assert_eq!((&products["service"], &products["stage"]), (&json!("orders"), &json!("live")));
    assert_eq!(
        (&products["topics"], &products["can_be_abandoned"]),
        (&json!(["rtc.catalog"]), &json!(false))
    );

    let spoil = "UPDATE products SET price = 1";
    desk.house.service("orders").db.write(|tx| tx.execute(spoil, &[])).await.unwrap();
    let asked = desk.rebuild(Method::POST, "orders.products").await.expect(202);
    assert_eq!(
        (&asked["data"]["stage"], &asked["data"]["can_be_abandoned"]),
        (&json!("requested"), &json!(true))
    );
    desk.rebuild(Method::POST, "orders.products").await.expect_problem(409, "rebuild_under_way");
    desk.house.settle().await;
    assert_eq!(desk.get("/admin/consumers").await, listed_after(&listed, &asked["data"]));
    let price = "SELECT price FROM products";
    let db = &desk.house.service("orders").db;
    let price: i64 = db
        .read_now(|tx| tx.query_one(price, &[], |row| row.get(0)))
        .map_err(|error: db::Error| error)
        .unwrap();
    assert_eq!(price, 900);
}

/// As before, but that it was asked for once.
fn listed_after(before: &Value, asked: &Value) -> Value {
    let mut after = before.clone();
    for view in after.as_array_mut().unwrap() {
        if view["consumer"] == asked["consumer"] {
            view["requested_at"] = asked["requested_at"].clone();
        }
    }
    after
}

#[tokio::test]
async fn a_rebuild_is_called_back_while_there_is_a_model_to_go_back_to() {
    let desk = Desk::open().await;
    desk.publish(1, 1, 900).await;
    desk.house.settle().await;
    desk.rebuild(Method::DELETE, "orders.products").await.expect_problem(409, "no_rebuild_under_way");
    desk.rebuild(Method::POST, "orders.products").await.expect(202);
    let pump = desk.pump("orders.products");
    assert_eq!(pump.step().await.unwrap(), Progress::Worked);
    let back = desk.rebuild(Method::DELETE, "orders.products").await.expect(200);
    assert_eq!((&back["data"]["stage"], &back["data"]["trouble"]), (&json!("live"), &json!("abandoned")));

    desk.rebuild(Method::POST, "orders.products").await.expect(202);
    for _ in 0..20 {
        let products = desk.get("/admin/consumers").await;
        let products = products.as_array().unwrap().iter().find(|view| view["consumer"] == "orders.products");
        if products.unwrap()["stage"] == "swapping" {
            break;
        }
        pump.step().await.unwrap();
    }
    desk.rebuild(Method::DELETE, "orders.products").await.expect_problem(409, "rebuild_too_far");
    desk.house.settle().await;
}

#[tokio::test]
async fn what_nobody_fills_is_not_found_and_the_others_are_named() {
    let desk = Desk::open().await;
    for method in [Method::POST, Method::DELETE] {
        let problem = desk.rebuild(method, "orders.nothing").await.expect_problem(404, "no_such_projection");
        assert!(problem["detail"].as_str().unwrap().contains("orders.products"), "{problem}");
    }
    desk.house.settle().await;
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_what_it_holds_and_given_up() {
    let desk = Desk::open().await;
    desk.poison().await;
    let letters = desk.get("/admin/dead-letters?service=orders").await;
    let states: Vec<&str> =
        letters.as_array().unwrap().iter().map(|letter| letter["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["dead", "waiting"], "{letters}");
    assert_eq!(letters[0]["payload"], Value::Null);
    let id = letters[0]["id"].as_i64().unwrap();
    let shown = desk.get(&format!("/admin/dead-letters/orders/{id}")).await;
    assert_eq!((&shown["id"], &shown["service"]), (&json!(id), &json!("orders")));
    let payload: Value = serde_json::from_str(shown["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["data"]["product"], 7);

    let discard = |body: Value| {
        let call = desk.ask(Method::POST, "/admin/dead-letters/drop").json(&body);
        async move { call.send().await }
    };
    discard(json!({ "service": "orders", "ids": [] })).await.expect_problem(422, "validation_failed");
    discard(json!({ "service": "nobody", "ids": [id] })).await.expect_problem(404, "unknown_service");
    let answer = discard(json!({ "service": "orders", "ids": [id, 4_711] })).await.expect(200);
    assert_eq!(answer, json!({ "dropped": 1, "remaining": 1 }));
    desk.house.settle().await;
    assert_eq!(desk.get("/admin/dead-letters?service=orders").await, json!([]));
    let known = "SELECT COUNT(*) FROM products";
    let db = &desk.house.service("orders").db;
    let known: i64 = db
        .read_now(|tx| tx.query_one(known, &[], |row| row.get(0)))
        .map_err(|error: db::Error| error)
        .unwrap();
    assert_eq!(known, 1, "the one behind it was handled");
    let gone = desk.ask(Method::GET, &format!("/admin/dead-letters/orders/{id}")).send().await;
    gone.expect_problem(404, "no_such_dead_letter");
}

#[tokio::test]
async fn nobody_but_the_operator_gets_at_them() {
    let desk = Desk::open().await;
    for (method, path) in [
        (Method::GET, "/admin/consumers"),
        (Method::POST, "/admin/consumers/orders.products/rebuild"),
        (Method::DELETE, "/admin/consumers/orders.products/rebuild"),
        (Method::GET, "/admin/dead-letters"),
        (Method::GET, "/admin/dead-letters/orders/1"),
        (Method::POST, "/admin/dead-letters/replay"),
        (Method::POST, "/admin/dead-letters/drop"),
    ] {
        let call = || Call::new(desk.router.clone(), method.clone(), path);
        for call in [call(), call().token("wrong")] {
            call.send().await.expect_problem(401, "operator_token");
        }
    }
    desk.house.settle().await;
}
