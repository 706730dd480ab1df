//! The service as its callers see it, and its totals against sums made another way.

mod batches;
mod books;
mod kept;
mod live;
mod orders;
mod pages;
mod replay;
mod replay_orders;
mod sales;
mod shop;
mod streams;

use contracts::Role;
use host::StartError;
use serde_json::{Value, json};
use testkit::{Answer, House};

async fn house() -> House {
    house_with(json!({})).await
}

async fn house_with(section: Value) -> House {
    House::build(&[("services.analytics", section)], async |context| {
        Ok::<_, StartError>(vec![crate::service(context).await?])
    })
    .await
}

fn analyst(house: &House) -> String {
    house.token(House::user(1), Role::Analyst)
}

/// A line that differs by `n` alone.
fn item(n: i64) -> Value {
    json!({
        "external_id": format!("line-{n}"), "occurred_at": "2026-03-01T09:00:00.000Z", "amount": 1_000 + n,
        "currency": "KRW", "description": format!("차 {n}"), "category": "tea", "customer_ref": "c-1",
        "sku": format!("TEA-{}", n % 7), "quantity": 2, "invoice": format!("INV-{}", n / 3),
    })
}

async fn send(house: &House, source: &str, items: &[Value]) -> Answer {
    house
        .post(&format!("/api/v1/transactions?source={source}"))
        .token(&analyst(house))
        .json(&json!({ "transactions": items }))
        .send()
        .await
}

async fn get(house: &House, path: &str) -> Value {
    house.get(&format!("/api/v1/{path}")).token(&analyst(house)).send().await.expect(200)
}
