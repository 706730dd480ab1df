//! Every kind of fault of the bank, on a hostile bus, by many seeds; then the oracle.

use std::time::Duration;

use contracts::payments::*;
use contracts::{OrderId, UserId, topics};
use serde_json::{Value, json};
use testkit::{Faults, House};

use super::*;

const SEEDS: u64 = 50;
const ORDERS: u128 = 6;

/// What the orders service wants of the n-th order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Capture,
    Release,
    ReleaseAtOnce,
    ReleaseFirst,
    Refund,
}

const PLANS: [Plan; 6] =
    [Plan::Capture, Plan::Release, Plan::ReleaseAtOnce, Plan::ReleaseFirst, Plan::Refund, Plan::Capture];

/// What the orders service has heard of one order.
#[derive(Default)]
struct Heard {
    held: bool,
    declined: bool,
    captured: bool,
    capture_refused: bool,
    released: bool,
    refunded: bool,
}

fn heard(house: &House, wanted: OrderId) -> Heard {
    let topic = topics::PAYMENTS;
    let any = |ids: Vec<OrderId>| ids.contains(&wanted);
    Heard {
        held: any(house.published::<PaymentHeld>(topic).iter().map(|event| event.order_id).collect()),
        declined: any(house.published::<PaymentDeclined>(topic).iter().map(|event| event.order_id).collect()),
        captured: any(house.published::<PaymentCaptured>(topic).iter().map(|event| event.order_id).collect()),
        capture_refused: any(house
            .published::<PaymentCaptureRefused>(topic)
            .iter()
            .map(|event| event.order_id)
            .collect()),
        released: any(house.published::<PaymentReleased>(topic).iter().map(|event| event.order_id).collect()),
        refunded: any(house.published::<PaymentRefunded>(topic).iter().map(|event| event.order_id).collect()),
    }
}

/// Sends what comes next; `true` once the plan has ended.
async fn go_on(house: &House, plan: Plan, id: OrderId) -> bool {
    let heard = heard(house, id);
    if heard.declined || heard.capture_refused {
        return true;
    }
    match plan {
        Plan::ReleaseAtOnce | Plan::ReleaseFirst => heard.released,
        Plan::Release => {
            if heard.held && !heard.released {
                release(house, id).await;
            }
            heard.released
        }
        Plan::Capture => {
            if heard.held && !heard.captured {
                capture(house, id).await;
            }
            heard.captured
        }
        Plan::Refund => {
            if heard.captured && !heard.refunded {
                refund(house, id).await;
            } else if heard.held && !heard.captured {
                capture(house, id).await;
            }
            heard.refunded
        }
    }
}

async fn storm(seed: u64, mut faults: Value) {
    faults["seed"] = json!(seed);
    let hostile = Faults { duplicate: 20, delay: 30, lose_commit: 10, lose_answer: 10 };
    let sections = [("services.payments.faults", faults)];
    let house = House::build_with(seed, hostile, &sections, async |context| {
        Ok::<_, StartError>(vec![crate::service(context).await?])
    })
    .await;
    let users: Vec<UserId> = (1..=3).map(House::user).collect();
    // The third can pay for one of his two orders.
    fund(&house, &users[..2], 10_000).await;
    fund(&house, &users[2..], 1_500).await;
    for n in 0..ORDERS {
        let (plan, user) = (PLANS[n as usize], users[n as usize % 3]);
        if plan == Plan::ReleaseFirst {
            release(&house, order(n)).await;
        }
        hold(&house, order(n), user, 1_000).await;
    }
    // The driver may have asked for the hold by now, and may not have heard.
    for _ in 0..house.random(12) {
        house.step_any().await;
    }
    for n in 0..ORDERS {
        if PLANS[n as usize] == Plan::ReleaseAtOnce {
            release(&house, order(n)).await;
        }
    }
    let mut ended = false;
    for _ in 0..200 {
        for _ in 0..house.random(8) {
            house.step_any().await;
        }
        house.advance(Duration::from_millis(house.random(20_000))).await;
        ended = true;
        for n in 0..ORDERS {
            ended &= go_on(&house, PLANS[n as usize], order(n)).await;
        }
        if ended {
            break;
        }
    }
    assert!(ended, "seed {seed}: some orders never end");
    house.bus.calm();
    // What is late arrives within an hour; a void that it causes has its own unknown outcomes.
    for _ in 0..40 {
        house.advance(Duration::from_secs(200)).await;
    }
    assert_sound(&house).await;
    let facts = oracle::payments(&house.service("payments").db).await.unwrap();
    for n in 0..ORDERS {
        let (facts, heard) = (&facts[&order(n)], heard(&house, order(n)));
        let wanted: &[&str] = match PLANS[n as usize] {
            _ if heard.declined => &["declined", "released", "voided"],
            Plan::Capture => &["captured"],
            Plan::Refund => &["refunded"],
            Plan::Release | Plan::ReleaseAtOnce | Plan::ReleaseFirst => &["released", "voided"],
        };
        assert!(wanted.contains(&facts.state.as_str()), "seed {seed}, order {n}: {facts:?}");
    }
    let held: i64 = {
        let mut held = 0;
        for user in &users {
            held += balances(&house, *user).await[1];
        }
        held
    };
    assert_eq!(held, 0, "seed {seed}: money is still held for orders that have ended");
}

async fn storms(faults: Value) {
    for seed in 0..SEEDS {
        storm(seed, faults.clone()).await;
    }
}

#[tokio::test]
async fn declines_are_final_and_the_books_stay_straight() {
    storms(json!({ "declines": 30 })).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_bank_changes_nothing_but_the_time() {
    storms(json!({ "slow": 50, "latency_ms": 9_000 })).await;
}

#[tokio::test]
async fn an_answer_lost_after_the_effect_is_asked_for_and_has_one_effect() {
    storms(json!({ "timeouts_after": 40 })).await;
}

#[tokio::test]
async fn a_call_that_never_arrived_is_made_again() {
    storms(json!({ "timeouts_before": 40 })).await;
}

#[tokio::test]
async fn a_call_that_arrives_an_hour_late_has_no_second_effect() {
    storms(json!({ "late_arrivals": 30, "callbacks": 50 })).await;
}

#[tokio::test]
async fn server_errors_and_resets_leave_the_outcome_open_until_asked() {
    storms(json!({ "server_errors": 25, "resets": 25 })).await;
}

#[tokio::test]
async fn call_backs_late_twice_and_out_of_order_apply_each_transition_once() {
    storms(
        json!({ "callbacks": 100, "duplicate_callbacks": 60, "late_callbacks": 60, "timeouts_after": 20 }),
    )
    .await;
}

#[tokio::test]
async fn a_bank_whose_clock_is_wrong_by_minutes_is_no_trouble() {
    storms(json!({ "clock_skew": true, "callbacks": 30 })).await;
}

#[tokio::test]
async fn all_faults_together() {
    storms(json!({
        "declines": 10, "timeouts_after": 10, "timeouts_before": 10, "late_arrivals": 10, "server_errors": 10,
        "resets": 10, "callbacks": 60, "duplicate_callbacks": 40, "late_callbacks": 40, "clock_skew": true,
    }))
    .await;
}
