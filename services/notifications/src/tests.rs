//! The service in a house of its own, and what the tests of its parts share.

mod letters;
mod mailbox;
mod sending;
mod smtp;

use contracts::orders::{OrderConfirmed, OrderSummary, OrderedLine};
use contracts::topics;
use contracts::users::UserRegistered;
use contracts::{OrderId, ProductId, Role, UserId};
use kernel::{Currency, Money};
use serde_json::Value;
use testkit::{House, NOON};

pub(super) fn order(n: u128, user: UserId) -> OrderSummary {
    OrderSummary {
        order_id: OrderId::from(House::user(n).uuid()),
        user_id: user,
        lines: vec![OrderedLine {
            product_id: ProductId::from(House::user(7).uuid()),
            sku: "TEA-1".to_owned(),
            name: "우전 녹차".to_owned(),
            category: "tea".to_owned(),
            quantity: 3,
            unit_price: Money::new(43_000, Currency::KRW),
        }],
        total: Money::new(129_000, Currency::KRW),
        placed_at: NOON,
    }
}

pub(super) async fn register(house: &House, n: u128, locale: &str) -> UserId {
    let user = House::user(n);
    let vault = &house.context.vault;
    let event = UserRegistered {
        user_id: user,
        role: Role::Customer,
        email: vault.seal(&format!("Kim{n}@example.kr")).unwrap(),
        name: vault.seal("김하늘").unwrap(),
        locale: locale.to_owned(),
    };
    house.publish(topics::USERS, "users", &user.to_string(), &event).await;
    user
}

pub(super) async fn confirm(house: &House, n: u128, user: UserId) -> OrderSummary {
    let order = order(n, user);
    let event = OrderConfirmed { order: order.clone() };
    house.publish(topics::ORDERS, "orders", &order.order_id.to_string(), &event).await;
    order
}

pub(super) async fn letters_to(house: &House, to: &str) -> Vec<Value> {
    let admin = house.token(House::user(99), Role::Admin);
    let answer = house.get(&format!("/api/v1/mailbox?to={to}")).token(&admin).send().await.expect(200);
    answer["data"].as_array().unwrap().clone()
}
