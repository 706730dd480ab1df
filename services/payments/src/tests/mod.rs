//! The service as a whole: in memory on a hostile bus, and the bank alone on a real file.

mod api;
mod audit;
mod bank;
mod driver;
mod flow;

mod storm;
mod table;

use std::time::Duration;

use contracts::payments::{CapturePayment, HoldPayment, RefundPayment, ReleasePayment};
use contracts::{OrderId, Role, UserId, topics};
use host::StartError;
use kernel::{Currency, Money};
use serde_json::{Value, json};
use testkit::House;

use crate::oracle;

pub(crate) fn krw(minor: i64) -> Money {
    Money::new(minor, Currency::KRW)
}

pub(crate) fn order(n: u128) -> OrderId {
    OrderId::from(House::user(1_000 + n).uuid())
}

pub(crate) async fn house(sections: &[(&str, Value)]) -> House {
    House::build(sections, async |context| Ok::<_, StartError>(vec![crate::service(context).await?])).await
}

/// Sends a command on behalf of the orders service.
pub(crate) async fn send<E: kernel::envelope::Event>(house: &House, order: OrderId, command: &E) {
    house.publish(topics::PAYMENTS_COMMANDS, "orders", &order.to_string(), command).await;
}

pub(crate) async fn hold(house: &House, order_id: OrderId, user_id: UserId, minor: i64) {
    send(house, order_id, &HoldPayment { order_id, user_id, amount: krw(minor), account: None }).await;
}

pub(crate) async fn capture(house: &House, order_id: OrderId) {
    send(house, order_id, &CapturePayment { order_id }).await;
}

pub(crate) async fn release(house: &House, order_id: OrderId) {
    send(house, order_id, &ReleasePayment { order_id }).await;
}

pub(crate) async fn refund(house: &House, order_id: OrderId) {
    send(house, order_id, &RefundPayment { order_id }).await;
}

/// Funds users as an operator does.
pub(crate) async fn fund(house: &House, users: &[UserId], minor: i64) {
    let router = house.service("payments").admin.clone();
    let body = json!({ "user_ids": users, "amount": krw(minor) });
    let call = testkit::Call::new(router, axum::http::Method::POST, "/shoppers/fund");
    let answer = call.json(&body).send().await;
    assert_eq!(answer.expect(200)["funded"], users.len());
}

/// The user's first account, as the API shows it.
pub(crate) async fn account(house: &House, user: UserId) -> Value {
    let token = house.token(user, Role::Customer);
    house.get("/api/v1/accounts").token(&token).send().await.expect(200)["data"][0].clone()
}

/// `[available, held]` of the user's first account.
pub(crate) async fn balances(house: &House, user: UserId) -> [i64; 2] {
    let account = account(house, user).await;
    ["available", "held"].map(|field| account[field]["amount"].as_i64().unwrap())
}

/// Every invariant that can be read from the rows holds.
pub(crate) async fn assert_sound(house: &House) {
    for verdict in oracle::verdicts(&house.service("payments").db).await.unwrap() {
        assert!(verdict.holds(), "{}: {:#?}", verdict.id, verdict.violations);
    }
}

pub(crate) const WEEK: Duration = Duration::from_secs(7 * 86_400 + 400);
