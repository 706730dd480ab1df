//! Batches: limits, bad items among good ones, overflow, roles.

use contracts::Role;
use serde_json::{Value, json};
use testkit::House;

use super::books::{assert_balanced, kept};
use super::{analyst, get, house, item, send};

fn with(mut item: Value, field: &str, value: Value) -> Value {
    item[field] = value;
    item
}

fn codes(answer: &Value) -> Vec<(i64, String)> {
    let rejected = answer["rejected"].as_array().unwrap();
    rejected
        .iter()
        .map(|one| (one["index"].as_i64().unwrap(), one["code"].as_str().unwrap().to_owned()))
        .collect()
}

#[tokio::test]
async fn good_items_are_stored_although_others_are_bad() {
    let house = house().await;
    let bad = [
        (json!(7), "invalid_value"),
        (json!({}), "invalid_value"),
        (with(item(1), "amount", json!(1.5)), "invalid_value"),
        (with(item(1), "amount", json!("15")), "invalid_value"),
        (with(item(1), "currency", json!("won")), "invalid_value"),
        (with(item(1), "occurred_at", json!("2026-03-01T09:00:00")), "invalid_value"),
        (with(item(1), "occurred_at", json!("1969-12-31T23:59:59Z")), "out_of_range"),
        (with(item(1), "external_id", json!("")), "out_of_range"),
        (with(item(1), "external_id", json!("x".repeat(129))), "out_of_range"),
        (with(item(1), "category", json!("a\u{7}")), "invalid_value"),
        (with(item(1), "description", json!("차".repeat(501))), "out_of_range"),
        (with(item(1), "description", json!("a\0")), "invalid_value"),
        (with(item(1), "role", json!("admin")), "unknown_field"),
        (with(item(1), "amount", json!(9_223_372_036_854_775_808_u64)), "invalid_value"),
    ];
    let mut items = vec![item(1)];
    items.extend(bad.iter().map(|(item, _)| item.clone()));
    items.push(with(item(2), "description", json!("차".repeat(500))));
    let answer = send(&house, "shop", &items).await.expect(200);
    let wanted: Vec<_> = (1..).zip(bad).map(|(index, (_, code))| (index, code.to_owned())).collect();
    assert_eq!(codes(&answer), wanted);
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(2), &json!(0)));
    assert_eq!(get(&house, "analytics/totals?source=shop").await["lines"], 2);
    assert_balanced(&house.service("analytics").db);
    let summary = get(&house, "analytics/summary?window=1m").await;
    assert_eq!(summary["current"]["external_transactions"], 2);
    let rejected = json!([
        { "reason": "invalid_value", "count": 9 }, { "reason": "out_of_range", "count": 4 },
        { "reason": "unknown_field", "count": 1 },
    ]);
    assert_eq!(summary["current"]["external_rejected"], rejected);
}

#[tokio::test]
async fn a_line_that_comes_again_with_another_content_changes_nothing() {
    let house = house().await;
    let db = house.service("analytics").db.clone();
    send(&house, "shop", &[item(1), item(2)]).await.expect(200);
    let before = kept(&db);
    let changed = [
        ("occurred_at", json!("2026-03-01T09:00:00.001Z")),
        ("amount", json!(1_002)),
        ("currency", json!("USD")),
        ("description", json!("")),
        ("category", json!("other")),
        ("customer_ref", Value::Null),
        ("sku", Value::Null),
        ("quantity", json!(3)),
        ("invoice", json!("C1")),
    ];
    let items: Vec<_> = changed.into_iter().map(|(field, value)| with(item(1), field, value)).collect();
    let answer = send(&house, "shop", &items).await.expect(200);
    let wanted: Vec<_> = (0..9).map(|index| (index, "content_differs".to_owned())).collect();
    assert_eq!(codes(&answer), wanted);
    // The same instant in another spelling is the same content.
    let same = with(item(2), "occurred_at", json!("2026-03-01T18:00:00+09:00"));
    let answer = send(&house, "shop", &[item(1), same, item(1)]).await.expect(200);
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(0), &json!(3)));
    assert_eq!(kept(&db), before);
    // Another source has ids of its own.
    let answer =
        send(&house, "till-2", &[item(1), item(1), with(item(1), "amount", json!(5))]).await.expect(200);
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!(codes(&answer), [(2, "content_differs".to_owned())]);
    let summary = get(&house, "analytics/summary?window=1h").await;
    assert_eq!(
        summary["current"]["external_rejected"],
        json!([{ "reason": "content_differs", "count": 10 }])
    );
    assert_eq!(summary["current"]["external_duplicates"], 4);
    assert_balanced(&db);
}

#[tokio::test]
async fn a_batch_has_one_to_a_thousand_items_and_a_single_one_is_a_batch_of_one() {
    let house = house().await;
    let items: Vec<_> = (0..1_001).map(item).collect();
    send(&house, "shop", &items).await.expect_problem(422, "validation_failed");
    send(&house, "shop", &[]).await.expect_problem(422, "validation_failed");
    assert_eq!(get(&house, "analytics/totals?source=shop").await["lines"], 0);
    assert_eq!(send(&house, "shop", &items[..1_000]).await.expect(200)["accepted"], 1_000);
    let post = |body: Value| {
        house.post("/api/v1/transactions?source=shop").token(&analyst(&house)).json(&body).send()
    };
    let one = post(items[1_000].clone()).await.expect(200);
    assert_eq!(one, json!({ "accepted": 1, "duplicates": 0, "rejected": [] }));
    let bad = post(with(items[0].clone(), "amount", json!(null))).await.expect(200);
    assert_eq!(codes(&bad), [(0, "invalid_value".to_owned())]);
    let mixed = json!({ "transactions": [items[0]], "source": "other" });
    post(mixed).await.expect_problem(400, "unknown_field");
    post(json!([items[0]])).await.expect_problem(422, "validation_failed");
    post(json!({ "transactions": items[0] })).await.expect_problem(422, "validation_failed");
    assert_eq!(get(&house, "analytics/totals?source=shop").await["lines"], 1_001);
    assert_balanced(&house.service("analytics").db);
}

#[tokio::test]
async fn what_a_total_cannot_hold_is_refused_and_the_rest_goes_on() {
    let house = house().await;
    let db = house.service("analytics").db.clone();
    let amount = |n: i64, amount: i64| with(item(n), "amount", json!(amount));
    let items = [
        amount(1, i64::MAX - 10),
        amount(2, 11),
        amount(3, -11),
        amount(4, 10),
        with(amount(5, i64::MAX), "currency", json!("USD")),
        amount(6, i64::MIN),
        amount(7, 0),
        amount(1, 5),
        amount(1, i64::MAX - 10),
    ];
    let answer = send(&house, "shop", &items).await.expect(200);
    let overflow = |index| (index, "total_overflow".to_owned());
    assert_eq!(codes(&answer), [overflow(1), overflow(2), overflow(5), (7, "content_differs".to_owned())]);
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(4), &json!(1)));
    // The same in the next batch, where the sums come from the tables; and for quantities.
    let again = [
        amount(8, 1),
        with(amount(9, 0), "quantity", json!(i64::MAX)),
        with(amount(10, 0), "quantity", json!(i64::MIN)),
        with(amount(11, 0), "quantity", json!(-5)),
    ];
    let answer = send(&house, "shop", &again).await.expect(200);
    assert_eq!(codes(&answer), [overflow(0), overflow(1), overflow(2)]);
    let totals = get(&house, "analytics/totals?source=shop").await;
    let wanted = json!([
        { "amount": i64::MAX, "currency": "KRW" }, { "amount": i64::MAX, "currency": "USD" },
    ]);
    assert_eq!(totals["totals"], wanted);
    assert_balanced(&db);
    assert_eq!(send(&house, "shop-2", &[amount(8, 1)]).await.expect(200)["accepted"], 1);
}

#[tokio::test]
async fn a_duplicate_takes_no_room_from_the_lines_behind_it() {
    let house = house().await;
    let half = |n: i64| with(item(n), "amount", json!(i64::MAX / 2));
    let answer = send(&house, "shop", &[half(1), half(1), half(2), half(3)]).await.expect(200);
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(2), &json!(1)));
    assert_eq!(codes(&answer), [(3, "total_overflow".to_owned())]);
    assert_balanced(&house.service("analytics").db);
}

#[tokio::test]
async fn only_analysts_and_admins_come_in_and_a_source_has_a_name() {
    let house = house().await;
    let gets = [
        "transactions",
        "analytics/totals?source=shop",
        "analytics/monthly-total?source=shop",
        "analytics/categories?source=shop",
        "analytics/top-products?source=shop",
        "analytics/summary",
    ];
    for role in Role::ALL {
        let token = house.token(House::user(2), role);
        let allowed = [Role::Analyst, Role::Admin].contains(&role);
        let status = if allowed { 200 } else { 403 };
        for path in gets {
            house.get(&format!("/api/v1/{path}")).token(&token).send().await.expect(status);
        }
        for path in ["transactions", "transactions:stream"] {
            let media = if path == "transactions" { "application/json" } else { "application/x-ndjson" };
            let call = house.post(&format!("/api/v1/{path}?source=shop")).token(&token);
            call.bytes(media, item(1).to_string()).send().await.expect(status);
        }
    }
    for path in gets {
        house.get(&format!("/api/v1/{path}")).send().await.expect_problem(401, "token_missing");
    }
    let token = analyst(&house);
    for (path, status, code) in [
        ("analytics/totals", 400, "query_invalid"),
        ("analytics/totals?source=", 422, "validation_failed"),
        ("analytics/totals?source=a%20b", 422, "validation_failed"),
        ("analytics/monthly-total?source=shop&year=1969", 422, "validation_failed"),
        ("analytics/top-products?source=shop&limit=251", 422, "validation_failed"),
        ("analytics/top-products?source=shop&by=luck", 400, "query_invalid"),
        ("analytics/summary?window=2h", 400, "query_invalid"),
        ("transactions?limit=0", 422, "validation_failed"),
        ("transactions?from=yesterday", 400, "query_invalid"),
        ("transactions?cursor=AAAA", 422, "validation_failed"),
    ] {
        let answer = house.get(&format!("/api/v1/{path}")).token(&token).send().await;
        answer.expect_problem(status, code);
    }
    send(&house, &"s".repeat(65), &[item(1)]).await.expect_problem(422, "validation_failed");
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_again() {
    let house = house().await;
    let post = |items: Value| {
        let call = house.post("/api/v1/transactions?source=shop").token(&analyst(&house)).key("batch-1");
        call.json(&json!({ "transactions": items })).send()
    };
    let first = post(json!([item(1), item(2)])).await;
    assert_eq!((first.json["accepted"].as_i64(), first.header("idempotent-replayed")), (Some(2), None));
    let second = post(json!([item(1), item(2)])).await;
    assert_eq!(
        (second.json["accepted"].as_i64(), second.header("idempotent-replayed")),
        (Some(2), Some("true"))
    );
    post(json!([item(3)])).await.expect_problem(422, "idempotency_key_reused");
    assert_eq!(get(&house, "analytics/totals?source=shop").await["lines"], 2);
}

#[tokio::test]
async fn each_route_is_documented_with_its_roles_and_both_forms_of_a_batch() {
    let house = house().await;
    let document = web::document(&house.service("analytics").routes, "1");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 11);
    for operation in paths.values().flat_map(|path| path.as_object().unwrap().values()) {
        assert_eq!(operation["x-roles"], json!(["analyst", "admin"]));
    }
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["SubmissionSchema"]["anyOf"].as_array().unwrap().len(), 2);
    assert_eq!(schemas["TransactionInput"]["properties"]["amount"]["type"], "integer");
    assert!(!document.to_string().contains("\"number\""), "no number that could be a float");
}
