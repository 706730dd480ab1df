//! The whole service on a bus that delivers twice, late, in another order, and loses commits and answers.

use std::collections::HashMap;
use std::time::Duration;

use contracts::inventory::{
    CommitStock, ReleaseStock, ReserveStock, ReturnStock, StockCommitRefused, StockCommitted, StockLine,
    StockRefused, StockReleased, StockReserved, StockReturned,
};
use contracts::{OrderId, Role, topics};
use kernel::Clock;
use kernel::envelope::Event;
use serde_json::json;
use testkit::{Faults, House};

use super::assert_sound;
use crate::domain::State;
use crate::oracle;

const FAULTS: Faults = Faults { duplicate: 20, delay: 30, lose_commit: 10, lose_answer: 10 };
const SKUS: [&str; 3] = ["A", "B", "C"];

async fn house(seed: u64) -> House {
    let house = House::build_with(seed, FAULTS, &[], async |context| {
        Ok::<_, host::StartError>(vec![crate::service(context).await?])
    })
    .await;
    let token = house.token(House::user(1), Role::Seller);
    for sku in SKUS {
        let path = format!("/api/v1/stock/{sku}/adjustments");
        let body = json!({ "delta": 12, "reason": "received" });
        house.post(&path).token(&token).key(sku).json(&body).send().await.expect(201);
    }
    house
}

async fn say<E: Event>(house: &House, order: OrderId, command: &E) {
    house.publish(topics::INVENTORY_COMMANDS, "orders", &order.to_string(), command).await;
}

/// Sends one command of the seed's choice, sometimes twice with different event ids; answers how many were sent.
async fn send_any(house: &House, order_id: OrderId, lines: &[StockLine]) -> usize {
    let times = if house.random(4) == 0 { 2 } else { 1 };
    let choice = house.random(8);
    for _ in 0..times {
        match choice {
            0..=3 => {
                let expires_at = house.clock.now().plus(Duration::from_secs(600));
                say(house, order_id, &ReserveStock { order_id, lines: lines.to_vec(), expires_at }).await;
            }
            4 | 5 => say(house, order_id, &CommitStock { order_id }).await,
            6 => say(house, order_id, &ReleaseStock { order_id }).await,
            _ => say(house, order_id, &ReturnStock { order_id }).await,
        }
    }
    times
}

fn answers(house: &House) -> HashMap<OrderId, usize> {
    let mut count = HashMap::new();
    let topic = topics::INVENTORY;
    let said = (house.published::<StockReserved>(topic).into_iter().map(|event| event.order_id))
        .chain(house.published::<StockRefused>(topic).into_iter().map(|event| event.order_id))
        .chain(house.published::<StockCommitted>(topic).into_iter().map(|event| event.order_id))
        .chain(house.published::<StockCommitRefused>(topic).into_iter().map(|event| event.order_id))
        .chain(house.published::<StockReleased>(topic).into_iter().map(|event| event.order_id))
        .chain(house.published::<StockReturned>(topic).into_iter().map(|event| event.order_id));
    for order in said {
        *count.entry(order).or_insert(0) += 1;
    }
    count
}

#[tokio::test]
async fn commands_in_any_order_and_number_keep_the_invariants_and_have_one_answer_each() {
    for seed in 0..50 {
        let mut house = house(seed).await;
        let mut sent: HashMap<OrderId, usize> = HashMap::new();
        let orders: Vec<(OrderId, Vec<StockLine>)> = (0..12)
            .map(|_| {
                let line = |_| StockLine {
                    sku: SKUS[usize::try_from(house.random(3)).unwrap()].to_owned(),
                    quantity: 1 + i64::try_from(house.random(3)).unwrap(),
                };
                (house.context.ids.next(), (0..=house.random(2)).map(line).collect())
            })
            .collect();
        for _ in 0..80 {
            let (order, lines) = &orders[usize::try_from(house.random(12)).unwrap()];
            *sent.entry(*order).or_insert(0) += send_any(&house, *order, lines).await;
            for _ in 0..house.random(4) {
                house.step_any().await;
            }
            if house.random(30) == 0 {
                house
                    .restart(async |context| Ok::<_, host::StartError>(vec![crate::service(context).await?]))
                    .await;
            }
            if house.random(10) == 0 {
                house.clock.advance(Duration::from_secs(60 * house.random(8)));
            }
        }
        house.settle().await;
        assert_eq!(answers(&house), sent, "seed {seed}");
        assert_sound(&house.service("inventory").db).await;
        house.advance(Duration::from_secs(3_600)).await;
        assert_sound(&house.service("inventory").db).await;
        let states = oracle::reservations(&house.service("inventory").db).await.unwrap();
        assert!(
            states.values().all(|state| *state != State::Held),
            "seed {seed}: something is held for ever"
        );
    }
}

#[tokio::test]
async fn answers_are_keyed_by_order_and_name_the_command_that_caused_them() {
    let house = house(7).await;
    let order_id: OrderId = house.context.ids.next();
    let lines = vec![StockLine { sku: "A".to_owned(), quantity: 1 }];
    let expires_at = house.clock.now().plus(Duration::from_secs(600));
    say(&house, order_id, &ReserveStock { order_id, lines, expires_at }).await;
    house.settle().await;
    let read = |topic: &str| -> Vec<kernel::Envelope> {
        house.bus.log(topic).iter().map(|delivery| delivery.envelope().unwrap()).collect()
    };
    let command = read(topics::INVENTORY_COMMANDS.name).remove(0);
    let said = read(topics::INVENTORY.name);
    let answer = said.iter().find(|envelope| envelope.event_type == StockReserved::TYPE).unwrap();
    assert_eq!(answer.subject, order_id.to_string());
    assert_eq!((answer.causation_id, answer.source.as_str()), (Some(command.id), "inventory"));
}
