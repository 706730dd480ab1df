//! The catalogue in a house of its own.

mod cache;
mod favourites;
mod images;
mod outages;
mod products;
mod search;
mod strays;
mod visits;

use std::sync::Arc;

use contracts::Role;
use host::{Config, Databases, EmbeddedOnly};
use serde_json::{Value, json};
use testkit::{Answer, Faults, House};

async fn house() -> House {
    House::build(&[], async |context| Ok::<_, host::StartError>(vec![crate::service(context).await?])).await
}

async fn hostile_house(seed: u64) -> House {
    let faults = Faults { duplicate: 20, delay: 30, lose_commit: 10, lose_answer: 10 };
    House::build_with(seed, faults, &[], async |context| {
        Ok::<_, host::StartError>(vec![crate::service(context).await?])
    })
    .await
}

fn seller(house: &House) -> String {
    house.token(House::user(1), Role::Seller)
}

fn customer(house: &House) -> String {
    house.token(House::user(2), Role::Customer)
}

fn tea(sku: &str) -> Value {
    json!({
        "sku": sku, "name": "제주 녹차", "description": "첫물 잎차 100 g", "category": "tea",
        "attributes": {"origin": "Jeju", "색상": "초록"}, "price": {"amount": 9_000, "currency": "KRW"},
        "status": "active"
    })
}

/// `base` with some fields replaced.
fn with(mut base: Value, fields: &Value) -> Value {
    for (name, value) in fields.as_object().into_iter().flatten() {
        base[name] = value.clone();
    }
    base
}

async fn try_create(house: &House, body: &Value) -> Answer {
    house.post("/api/v1/products").token(&seller(house)).json(body).send().await
}

/// Creates a product and gives its id.
async fn create(house: &House, body: &Value) -> String {
    let view = try_create(house, body).await.expect(201);
    view["id"].as_str().expect("an id").to_owned()
}

async fn patch(house: &House, id: &str, version: i64, body: &Value) -> Answer {
    let path = format!("/api/v1/products/{id}");
    house.call("PATCH", &path).token(&seller(house)).if_match(version).json(body).send().await
}

async fn archive(house: &House, id: &str, version: i64) -> Answer {
    let path = format!("/api/v1/products/{id}");
    house.call("DELETE", &path).token(&seller(house)).if_match(version).send().await
}

async fn show(house: &House, id: &str) -> Answer {
    house.get(&format!("/api/v1/products/{id}")).send().await
}

fn skus(page: &Value) -> Vec<String> {
    let data = page["data"].as_array().expect("a page");
    data.iter().map(|product| product["sku"].as_str().expect("a sku").to_owned()).collect()
}

/// Database files in a directory.
fn files_in(directory: &std::path::Path) -> Databases {
    let config = Config::for_tests(directory, &[]).expect("a good configuration");
    Databases::of(&config, Arc::new(EmbeddedOnly))
}

/// A house with database files of its own.
async fn house_in(directory: &std::path::Path) -> House {
    let files = files_in(directory);
    House::build(&[], async |context| {
        let mut context = context.clone();
        context.databases = files;
        Ok::<_, host::StartError>(vec![crate::service(&context).await?])
    })
    .await
}

/// Settles; what the relay leaves to the next commit goes with one.
async fn settle_files(house: &House) {
    house.settle().await;
    house.service("catalog").db.write(|_| Ok::<_, db::Error>(())).await.unwrap();
}
