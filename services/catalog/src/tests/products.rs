//! Products: who may do what, what is refused, what is told to others.

use std::collections::BTreeMap;

use contracts::catalog::{PriceChanged, ProductArchived, ProductCreated, ProductUpdated};
use contracts::topics;
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_product_is_created_shown_and_listed() {
    let house = house().await;
    let answer = try_create(&house, &tea("TEA-1")).await;
    let location = answer.header("location").expect("a location").to_owned();
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let view = answer.expect(201);
    assert_eq!(location, format!("/api/v1/products/{}", view["id"].as_str().unwrap()));
    let shown = house.get(&location).send().await;
    assert_eq!(shown.header("etag"), Some("\"1\""));
    assert_eq!(shown.expect(200), view);
    let list = house.get("/api/v1/products?category=tea").send().await.expect(200);
    assert_eq!(list["data"], json!([view]));
    let other = house.get("/api/v1/products?category=coffee").send().await.expect(200);
    assert_eq!(other["data"], json!([]));
    house.settle().await;
    let created = house.published::<ProductCreated>(topics::CATALOG);
    assert_eq!((created.len(), created[0].product.sku.as_str()), (1, "TEA-1"));
}

#[tokio::test]
async fn only_sellers_and_admins_change_the_catalogue() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    let path = format!("/api/v1/products/{id}");
    for (method, path) in [
        ("POST", "/api/v1/products"),
        ("PUT", path.as_str()),
        ("PATCH", path.as_str()),
        ("DELETE", path.as_str()),
    ] {
        let call = || house.call(method, path).if_match(1).json(&tea("TEA-2"));
        call().send().await.expect_problem(401, "token_missing");
        call().token(&customer(&house)).send().await.expect_problem(403, "role_required");
    }
    let admin = house.token(House::user(3), Role::Admin);
    house.call("DELETE", &path).token(&admin).if_match(1).send().await.expect(204);
    house.settle().await;
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let house = house().await;
    let many: BTreeMap<String, String> = (0..51).map(|n| (format!("a{n}"), String::new())).collect();
    let wrong = [
        ("/sku", json!({"sku": ""})),
        ("/sku", json!({"sku": "A B"})),
        ("/sku", json!({"sku": "x".repeat(65)})),
        ("/name", json!({"name": ""})),
        ("/name", json!({"name": "a\nb"})),
        ("/name", json!({"name": "가".repeat(201)})),
        ("/category", json!({"category": " "})),
        ("/description", json!({"description": "x".repeat(10_001)})),
        ("/attributes", json!({"attributes": many})),
        ("/attributes/", json!({"attributes": {"": "x"}})),
        ("/price/amount", json!({"price": {"amount": -1, "currency": "KRW"}})),
        ("/price/currency", json!({"price": {"amount": 1, "currency": "XQZ"}})),
        ("/status", json!({"status": "archived"})),
    ];
    for (pointer, fields) in wrong {
        let answer = try_create(&house, &with(tea("TEA-1"), &fields)).await;
        let problem = answer.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{fields}");
    }
    for fields in [json!({"price": {"amount": 1.5, "currency": "KRW"}}), json!({"status": "sold"})] {
        assert_eq!(try_create(&house, &with(tea("TEA-1"), &fields)).await.status, 422);
    }
    assert_eq!(try_create(&house, &with(tea("TEA-1"), &json!({"version": 9}))).await.status, 400);
    let edge = with(
        tea(&"x".repeat(64)),
        &json!({"name": "가".repeat(200), "price": {"amount": 0, "currency": "USD"}}),
    );
    try_create(&house, &edge).await.expect(201);
    house.settle().await;
}

#[tokio::test]
async fn a_sku_is_given_once() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    try_create(&house, &tea("TEA-1")).await.expect_problem(409, "sku_taken");
    archive(&house, &id, 1).await.expect(204);
    try_create(&house, &tea("TEA-1")).await.expect_problem(409, "sku_taken");
    let path = format!("/api/v1/products/{}", create(&house, &tea("TEA-2")).await);
    let renamed =
        house.call("PUT", &path).token(&seller(&house)).if_match(1).json(&tea("TEA-3")).send().await;
    assert_eq!(renamed.expect_problem(422, "validation_failed")["errors"][0]["code"], "sku_immutable");
    house.settle().await;
}

#[tokio::test]
async fn a_repeated_request_makes_one_product() {
    let house = house().await;
    let post =
        |body: Value| house.post("/api/v1/products").token(&seller(&house)).key("k1").json(&body).send();
    let first = post(tea("TEA-1")).await.expect(201);
    let again = post(tea("TEA-1")).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201), first);
    post(tea("TEA-2")).await.expect_problem(422, "idempotency_key_reused");
    house.settle().await;
    assert_eq!(house.published::<ProductCreated>(topics::CATALOG).len(), 1);
}

#[tokio::test]
async fn drafts_and_archived_products_exist_for_sellers_only() {
    let house = house().await;
    let id = create(&house, &with(tea("TEA-1"), &json!({"status": "draft"}))).await;
    let path = format!("/api/v1/products/{id}");
    let shoppers_see = async |status: u16| {
        assert_eq!(show(&house, &id).await.status, status);
        assert_eq!(house.get(&path).token(&customer(&house)).send().await.status, status);
        house.settle().await;
        let found = usize::from(status == 200);
        for list in ["/api/v1/products", "/api/v1/products?q=tea", "/api/v1/products?q=jeju"] {
            let page = house.get(list).send().await.expect(200);
            let expected = if list.ends_with("q=tea") { 0 } else { found };
            assert_eq!(skus(&page).len(), expected, "{list}");
            let page = house.get(list).token(&seller(&house)).send().await.expect(200);
            assert_eq!(skus(&page).len(), usize::from(!list.ends_with("q=tea")), "{list} for sellers");
        }
        let categories = house.get("/api/v1/categories").send().await.expect(200);
        assert_eq!(categories["data"].as_array().unwrap().len(), found);
        let prices = house.get(&format!("{path}/prices")).send().await;
        assert_eq!(prices.status, status);
    };
    shoppers_see(404).await;
    patch(&house, &id, 1, &json!({"status": "active"})).await.expect(200);
    shoppers_see(200).await;
    archive(&house, &id, 2).await.expect(204);
    shoppers_see(404).await;
    let seen = house.get(&path).token(&seller(&house)).send().await.expect(200);
    assert_eq!((&seen["status"], &seen["version"]), (&json!("archived"), &json!(3)));
    patch(&house, &id, 3, &json!({"name": "x"})).await.expect_problem(409, "product_archived");
    archive(&house, &id, 3).await.expect(204);
    house.settle().await;
    assert_eq!(house.published::<ProductArchived>(topics::CATALOG).len(), 1);
}

#[tokio::test]
async fn a_change_needs_the_version_it_is_based_on() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    let path = format!("/api/v1/products/{id}");
    let body = json!({"name": "홍차"});
    let without = house.call("PATCH", &path).token(&seller(&house)).json(&body).send().await;
    without.expect_problem(428, "if_match_required");
    let answer = patch(&house, &id, 1, &body).await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
    patch(&house, &id, 1, &json!({"name": "백차"})).await.expect_problem(412, "stale_version");
    archive(&house, &id, 1).await.expect_problem(412, "stale_version");
    assert_eq!(show(&house, &id).await.expect(200)["name"], "홍차");
    let known = |tag: &'static str| house.get(&path).header("if-none-match", tag).send();
    let same = known("\"2\"").await;
    assert_eq!((same.status, same.bytes.len(), same.header("etag")), (304, 0, Some("\"2\"")));
    assert_eq!(known("\"1\"").await.status, 200);
    house.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_changes_to_one_version_exactly_one_wins() {
    let house = std::sync::Arc::new(house().await);
    let id = create(&house, &tea("TEA-1")).await;
    for version in 1..=5 {
        let tries: Vec<_> = (0..8)
            .map(|n| {
                let (house, id) = (house.clone(), id.clone());
                tokio::spawn(async move {
                    patch(&house, &id, version, &json!({"name": format!("차 {version} {n}")})).await.status
                })
            })
            .collect();
        let mut statuses = Vec::new();
        for one in tries {
            statuses.push(one.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
        assert_eq!(show(&house, &id).await.expect(200)["version"], version + 1);
    }
    house.settle().await;
    let updated = house.published::<ProductUpdated>(topics::CATALOG);
    let versions: Vec<i64> = updated.iter().map(|event| event.product.version).collect();
    assert_eq!(versions, [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn price_changed_is_said_only_of_another_price_and_in_order() {
    let house = hostile_house(7).await;
    let id = create(&house, &tea("TEA-1")).await;
    let price = |amount: i64| json!({"price": {"amount": amount, "currency": "KRW"}});
    patch(&house, &id, 1, &price(9_500)).await.expect(200);
    patch(&house, &id, 2, &json!({"name": "우전 녹차"})).await.expect(200);
    // Nothing new: no version, no message.
    let same = patch(&house, &id, 3, &price(9_500)).await.expect(200);
    assert_eq!(same["version"], 3);
    patch(&house, &id, 3, &price(8_000)).await.expect(200);
    let full = with(tea("TEA-1"), &json!({"price": {"amount": 800, "currency": "USD"}}));
    let path = format!("/api/v1/products/{id}");
    house.call("PUT", &path).token(&seller(&house)).if_match(4).json(&full).send().await.expect(200);
    house.settle().await;
    let changes = house.published::<PriceChanged>(topics::CATALOG);
    let told: Vec<_> =
        changes.iter().map(|event| (event.old.minor, event.new.minor, event.version)).collect();
    assert_eq!(told, [(9_000, 9_500, 2), (9_500, 8_000, 4), (8_000, 800, 5)]);
    assert_eq!(house.published::<ProductUpdated>(topics::CATALOG).len(), 4);
    let history = house.get(&format!("{path}/prices")).send().await.expect(200);
    let rows = history["data"].as_array().unwrap();
    let prices: Vec<_> =
        rows.iter().map(|row| (row["version"].as_i64(), row["price"]["amount"].as_i64())).collect();
    assert_eq!(
        prices,
        [(Some(5), Some(800)), (Some(4), Some(8_000)), (Some(2), Some(9_500)), (Some(1), Some(9_000))]
    );
}

#[tokio::test]
async fn a_patch_takes_single_attributes_away() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    let changed = patch(&house, &id, 1, &json!({"attributes": {"origin": null, "weight": "100 g"}})).await;
    assert_eq!(changed.expect(200)["attributes"], json!({"weight": "100 g", "색상": "초록"}));
    house.settle().await;
}

#[tokio::test]
async fn pages_show_each_product_once_while_others_arrive() {
    let house = house().await;
    for n in 0..25 {
        create(&house, &tea(&format!("OLD-{n}"))).await;
    }
    let (mut seen, mut cursor, mut new) = (Vec::new(), None::<String>, 0);
    loop {
        let after = cursor.as_ref().map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let path = format!("/api/v1/products?category=tea&limit=4{after}");
        let page = house.get(&path).send().await.expect(200);
        seen.extend(skus(&page));
        create(&house, &tea(&format!("NEW-{new}"))).await;
        new += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    let mut old: Vec<_> = seen.iter().filter(|sku| sku.starts_with("OLD")).cloned().collect();
    old.sort();
    let mut expected: Vec<_> = (0..25).map(|n| format!("OLD-{n}")).collect();
    expected.sort();
    assert_eq!(old, expected);
    // A cursor works for its own list only.
    let cursor = cursor.expect("several pages");
    let path = format!("/api/v1/products?category=coffee&cursor={cursor}");
    house.get(&path).send().await.expect_problem(422, "validation_failed");
    house.get("/api/v1/products?limit=251").send().await.expect_problem(422, "validation_failed");
    house.settle().await;
}

#[tokio::test]
async fn categories_count_what_can_be_bought() {
    let house = house().await;
    for (sku, category) in [("A", "tea"), ("B", "tea"), ("C", "커피")] {
        create(&house, &with(tea(sku), &json!({"category": category}))).await;
    }
    create(&house, &with(tea("D"), &json!({"status": "draft", "category": "cups"}))).await;
    let all = house.get("/api/v1/categories").send().await.expect(200);
    assert_eq!(all["data"], json!([{"name": "tea", "products": 2}, {"name": "커피", "products": 1}]));
    let first = house.get("/api/v1/categories?limit=1").send().await.expect(200);
    let path = format!("/api/v1/categories?limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = house.get(&path).send().await.expect(200);
    assert_eq!((&second["data"][0]["name"], &second["next_cursor"]), (&json!("커피"), &Value::Null));
    house.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_on_after_the_last_change_misses_none() {
    let house = house().await;
    let db = house.service("catalog").db.clone();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=60_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            db.write(move |tx| crate::store::note_change(tx, number)).await.unwrap();
        });
    }
    let (mut last, mut seen) = (0, std::collections::BTreeSet::new());
    loop {
        // Asked before the look, so that the look after the last command sees everything.
        let is_over = tasks.is_empty();
        let after = last;
        let changes: Result<Vec<(i64, i64)>, db::Error> =
            db.read(move |tx| crate::store::changes_after(tx, after, 1_000)).await;
        for (seq, number) in changes.unwrap() {
            last = seq;
            seen.insert(number);
        }
        if is_over {
            break;
        }
        tasks.try_join_next();
    }
    assert_eq!(seen, (1..=60).collect());
}
