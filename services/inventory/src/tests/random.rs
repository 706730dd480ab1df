//! Random sequences of commands, adjustments, changes of mode and jumps of the clock keep I1 to I3, and every command
//! has exactly one answer.

use std::time::Duration;

use contracts::OrderId;
use proptest::prelude::*;

use super::Bench;
use crate::domain::{Mode, State, Trigger};

const SKUS: [&str; 3] = ["A", "B", "C"];
const ORDERS: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    Reserve { order: usize, lines: Vec<(usize, i64)>, minutes: u64 },
    Send { order: usize, trigger: Trigger },
    Adjust { sku: usize, delta: i64 },
    Configure { sku: usize, mode: Mode },
    Advance { minutes: i64 },
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let (order, sku) = (0..ORDERS, 0..SKUS.len());
    let lines = prop::collection::vec((sku.clone(), -1_i64..7), 0..4);
    let trigger = prop::sample::select(vec![Trigger::Commit, Trigger::Release, Trigger::Return]);
    let mode =
        prop::sample::select(vec![Mode::None, Mode::TrackOnly, Mode::ReserveOnOrder, Mode::ReserveOnOrder]);
    prop_oneof![
        4 => (order.clone(), lines, 0_u64..20)
            .prop_map(|(order, lines, minutes)| Step::Reserve { order, lines, minutes }),
        4 => (order, trigger).prop_map(|(order, trigger)| Step::Send { order, trigger }),
        2 => (sku.clone(), -6_i64..9).prop_map(|(sku, delta)| Step::Adjust { sku, delta }),
        1 => (sku, mode).prop_map(|(sku, mode)| Step::Configure { sku, mode }),
        1 => (-3_i64..15).prop_map(|minutes| Step::Advance { minutes }),
        1 => Just(Step::Expire),
    ]
}

/// The answers that each state allows after a command that led to it.
fn may_follow(state: Option<State>, said: &str) -> bool {
    match said {
        "stock_reserved" => {
            matches!(state, Some(State::Held | State::Committed | State::Expired | State::Returned))
        }
        // Other lines than those that are held are refused, too.
        "stock_refused" => {
            matches!(state, Some(State::Refused | State::Released | State::Lapsed | State::Held))
        }
        "stock_committed" => matches!(state, Some(State::Committed | State::Returned)),
        "stock_commit_refused" => {
            matches!(state, None | Some(State::Lapsed | State::Released | State::Refused))
        }
        "stock_released" | "stock_returned" => {
            matches!(state, Some(State::Released | State::Lapsed | State::Returned | State::Refused))
        }
        _ => false,
    }
}

async fn take(bench: &Bench, orders: &[OrderId], step: &Step) {
    match step {
        Step::Reserve { order, lines, minutes } => {
            let lines: Vec<(&str, i64)> =
                lines.iter().map(|(sku, quantity)| (SKUS[*sku], *quantity)).collect();
            let time = Duration::from_secs(minutes * 60);
            let (said, _) = bench.reserve_for(orders[*order], &lines, time).await;
            assert!(may_follow(bench.state(orders[*order]).await, &said), "{said}");
        }
        Step::Send { order, trigger } => {
            let answer = bench.send(orders[*order], *trigger).await;
            assert!(may_follow(bench.state(orders[*order]).await, &answer.0), "{}", answer.0);
            assert_eq!(bench.send(orders[*order], *trigger).await, answer, "asked again");
        }
        Step::Adjust { sku, delta } if *delta != 0 => {
            if let Err(error) = bench.adjust(SKUS[*sku], *delta).await {
                assert!(["stock_reserved", "stock_not_found"].contains(&error.code()), "{error:?}");
            }
        }
        Step::Adjust { .. } => {}
        Step::Configure { sku, mode } => bench.configure(SKUS[*sku], 2, *mode).await,
        Step::Advance { minutes } => {
            let now = kernel::Clock::now(&*bench.clock).as_millis();
            bench.clock.set(kernel::Timestamp::from_millis(now + minutes * 60_000));
        }
        Step::Expire => {
            bench.expire_due().await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_sequences_keep_the_invariants(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::in_memory().await;
            for sku in SKUS {
                bench.adjust(sku, 10).await.unwrap();
            }
            let orders: Vec<OrderId> = (0..ORDERS).map(|_| bench.order()).collect();
            bench.reserve(bench.order(), &[("A", 1)]).await;
            for step in &steps {
                take(&bench, &orders, step).await;
                bench.assert_sound().await;
            }
        });
    }
}
