//! One command after another, without a bus.

use std::time::Duration;

use db::Db;
use kernel::Clock;
use serde_json::json;

use super::{Bench, TEN_MINUTES};
use crate::Config;
use crate::domain::{Mode, State, Trigger};

#[tokio::test]
async fn an_order_reserves_commits_and_is_returned() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 10).await.unwrap();
    let order = bench.order();
    let (said, data) = bench.reserve(order, &[("TEA", 3)]).await;
    assert_eq!((said.as_str(), &data["expires_at"]), ("stock_reserved", &json!("2026-03-01T12:10:00.000Z")));
    assert_eq!(bench.stock("TEA").await, (10, 3));
    assert_eq!(bench.send(order, Trigger::Commit).await.0, "stock_committed");
    assert_eq!(bench.stock("TEA").await, (7, 0));
    bench.assert_sound().await;
    assert_eq!(bench.send(order, Trigger::Return).await.0, "stock_returned");
    assert_eq!(bench.stock("TEA").await, (10, 0));
    assert_eq!(bench.state(order).await, Some(State::Returned));
    bench.assert_sound().await;
}

#[tokio::test]
async fn two_lines_of_one_sku_are_checked_together() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    let (said, data) = bench.reserve(order, &[("TEA", 3), ("TEA", 3)]).await;
    assert_eq!(said, "stock_refused");
    assert_eq!(data["shortages"], json!([{ "sku": "TEA", "requested": 6, "available": 5 }]));
    assert_eq!(bench.stock("TEA").await, (5, 0));
    assert_eq!(bench.reserve(bench.order(), &[("TEA", 3), ("TEA", 2)]).await.0, "stock_reserved");
    assert_eq!(bench.stock("TEA").await, (5, 5));
    bench.assert_sound().await;
}

#[tokio::test]
async fn one_short_line_refuses_the_whole_order_and_every_short_line_is_named() {
    let bench = Bench::in_memory().await;
    bench.adjust("A", 5).await.unwrap();
    bench.adjust("C", 1).await.unwrap();
    let (said, data) = bench.reserve(bench.order(), &[("C", 2), ("B", 1), ("A", 2)]).await;
    assert_eq!(said, "stock_refused");
    let shortages = json!([
        { "sku": "B", "requested": 1, "available": 0 },
        { "sku": "C", "requested": 2, "available": 1 },
    ]);
    assert_eq!(data["shortages"], shortages);
    assert_eq!((bench.stock("A").await, bench.stock("C").await), ((5, 0), (1, 0)));
    bench.assert_sound().await;
}

#[tokio::test]
async fn a_repeated_command_gets_the_answer_that_it_got_before() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let (order, late) = (bench.order(), bench.order());
    let reserved = bench.reserve(order, &[("TEA", 5)]).await;
    let refused = bench.reserve(late, &[("TEA", 1)]).await;
    assert_eq!(bench.reserve(order, &[("TEA", 5)]).await, reserved);
    let committed = bench.send(order, Trigger::Commit).await;
    assert_eq!(bench.reserve(order, &[("TEA", 5)]).await, reserved);
    bench.adjust("TEA", 5).await.unwrap();
    // There is stock now, and still the saga that asks again must not hear something else.
    assert_eq!(bench.reserve(late, &[("TEA", 1)]).await, refused);
    assert_eq!(bench.send(order, Trigger::Commit).await, committed);
    assert_eq!(bench.stock("TEA").await, (5, 0));
    let returned = bench.send(order, Trigger::Return).await;
    assert_eq!(bench.send(order, Trigger::Return).await, returned);
    assert_eq!(bench.send(order, Trigger::Commit).await, committed);
    assert_eq!(bench.stock("TEA").await, (10, 0));
    bench.assert_sound().await;
}

#[tokio::test]
async fn whatever_moves_stock_tells_what_is_left_of_it() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    bench.adjust("CUP", 9).await.unwrap();
    let (order, late) = (bench.order(), bench.order());
    bench.reserve(order, &[("TEA", 2), ("CUP", 1)]).await;
    bench.send(order, Trigger::Commit).await;
    bench.send(order, Trigger::Commit).await;
    bench.send(order, Trigger::Return).await;
    let of = |cup: (i64, i64), tea: (i64, i64)| {
        vec![("CUP".to_owned(), cup.0, cup.1), ("TEA".to_owned(), tea.0, tea.1)]
    };
    assert_eq!(
        bench.levels(&order.to_string()).await,
        [
            ("stock_reserved".to_owned(), of((9, 1), (5, 2))),
            ("stock_committed".to_owned(), of((8, 0), (3, 0))),
            ("stock_returned".to_owned(), of((9, 0), (5, 0))),
        ]
    );
    bench.reserve(late, &[("TEA", 4)]).await;
    bench.clock.advance(TEN_MINUTES);
    assert_eq!(bench.expire_due().await, 1);
    let expired = ("stock_expired".to_owned(), vec![("TEA".to_owned(), 5, 0)]);
    assert_eq!(bench.levels(&late.to_string()).await.last(), Some(&expired));
}

#[tokio::test]
async fn a_late_reserve_after_its_release_is_refused_without_a_shortage() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    assert_eq!(bench.send(order, Trigger::Release).await.0, "stock_released");
    let (said, data) = bench.reserve(order, &[("TEA", 1)]).await;
    assert_eq!((said.as_str(), &data["shortages"]), ("stock_refused", &json!([])));
    assert_eq!(bench.stock("TEA").await, (5, 0));
    assert_eq!(bench.send(order, Trigger::Commit).await.0, "stock_commit_refused");
    assert_eq!(bench.send(order, Trigger::Release).await.0, "stock_released");
    bench.assert_sound().await;
}

#[tokio::test]
async fn what_is_committed_is_not_released() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    bench.reserve(order, &[("TEA", 2)]).await;
    bench.send(order, Trigger::Commit).await;
    assert_eq!(bench.send(order, Trigger::Release).await.0, "stock_committed");
    assert_eq!((bench.stock("TEA").await, bench.state(order).await), ((3, 0), Some(State::Committed)));
}

#[tokio::test]
async fn a_commit_one_millisecond_before_the_expiry_needs_no_stock_and_one_at_it_takes_it_anew() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let (early, late) = (bench.order(), bench.order());
    bench.reserve(early, &[("TEA", 2)]).await;
    bench.reserve(late, &[("TEA", 3)]).await;
    bench.clock.advance(TEN_MINUTES - Duration::from_millis(1));
    assert_eq!(bench.send(early, Trigger::Commit).await.0, "stock_committed");
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.send(late, Trigger::Commit).await.0, "stock_committed");
    assert_eq!(bench.stock("TEA").await, (0, 0));
    bench.assert_sound().await;
}

#[tokio::test]
async fn a_commit_after_the_expiry_is_refused_where_another_order_has_the_stock() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let (slow, quick) = (bench.order(), bench.order());
    bench.reserve(slow, &[("TEA", 4)]).await;
    bench.clock.advance(TEN_MINUTES);
    // Nobody has expired it yet: the reserve that finds too little does.
    assert_eq!(bench.reserve(quick, &[("TEA", 5)]).await.0, "stock_reserved");
    assert_eq!(bench.state(slow).await, Some(State::Expired));
    let (said, data) = bench.send(slow, Trigger::Commit).await;
    assert_eq!(said, "stock_commit_refused");
    assert_eq!(data["shortages"], json!([{ "sku": "TEA", "requested": 4, "available": 0 }]));
    // The stock comes back, and still the money of the slow order is on its way back: the answer stays.
    bench.send(quick, Trigger::Release).await;
    assert_eq!(bench.send(slow, Trigger::Commit).await, (said, data));
    assert_eq!((bench.stock("TEA").await, bench.state(slow).await), ((5, 0), Some(State::Lapsed)));
    bench.assert_sound().await;
}

#[tokio::test]
async fn what_expired_and_was_released_is_not_taken_anew() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    bench.reserve(order, &[("TEA", 4)]).await;
    bench.clock.advance(TEN_MINUTES);
    assert_eq!(bench.send(order, Trigger::Release).await.0, "stock_released");
    assert_eq!(bench.send(order, Trigger::Commit).await.0, "stock_commit_refused");
    assert_eq!(bench.stock("TEA").await, (5, 0));
    bench.assert_sound().await;
}

#[tokio::test]
async fn a_reservation_is_extended_by_asking_again_and_never_beyond_its_longest_time() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    bench.reserve(order, &[("TEA", 1)]).await;
    bench.clock.advance(Duration::from_secs(300));
    let (_, data) = bench.reserve(order, &[("TEA", 1)]).await;
    assert_eq!(data["expires_at"], "2026-03-01T12:15:00.000Z");
    let (_, data) = bench.reserve_for(order, &[("TEA", 1)], Duration::from_secs(7_200)).await;
    assert_eq!(data["expires_at"], "2026-03-01T13:00:00.000Z");
    let (_, data) = bench.reserve_for(order, &[("TEA", 1)], Duration::from_secs(1)).await;
    assert_eq!(data["expires_at"], "2026-03-01T13:00:00.000Z");
    assert_eq!(bench.stock("TEA").await, (5, 1));
}

#[tokio::test]
async fn a_reservation_whose_time_is_over_is_not_extended() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    let reserved = bench.reserve(order, &[("TEA", 1)]).await;
    bench.clock.advance(TEN_MINUTES);
    assert_eq!(bench.reserve(order, &[("TEA", 1)]).await, reserved);
    assert_eq!((bench.stock("TEA").await, bench.state(order).await), ((5, 0), Some(State::Expired)));
}

#[tokio::test]
async fn other_lines_for_a_held_order_are_refused_and_the_hold_stays() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    bench.reserve(order, &[("TEA", 1)]).await;
    assert_eq!(bench.reserve(order, &[("TEA", 2)]).await.0, "stock_refused");
    assert_eq!((bench.stock("TEA").await, bench.state(order).await), ((5, 1), Some(State::Held)));
}

#[tokio::test]
async fn a_reserve_that_arrives_after_its_own_time_takes_nothing() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    let (said, data) = bench.reserve_for(order, &[("TEA", 1)], Duration::ZERO).await;
    assert_eq!((said.as_str(), &data["shortages"]), ("stock_refused", &json!([])));
    assert_eq!(bench.stock("TEA").await, (5, 0));
    assert_eq!(bench.reserve(bench.order(), &[]).await.0, "stock_refused");
}

#[tokio::test]
async fn more_of_a_sku_than_one_order_may_have_is_refused() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 1_000).await.unwrap();
    let (said, data) = bench.reserve(bench.order(), &[("TEA", 30), ("TEA", 21)]).await;
    assert_eq!(said, "stock_refused");
    assert_eq!(data["shortages"], json!([{ "sku": "TEA", "requested": 51, "available": 50 }]));
    for quantity in [0, -1, i64::MIN] {
        assert_eq!(bench.reserve(bench.order(), &[("TEA", quantity)]).await.0, "stock_refused");
    }
    assert_eq!(bench.reserve(bench.order(), &[("TEA", 50)]).await.0, "stock_reserved");
    assert_eq!(bench.stock("TEA").await, (1_000, 50));
}

#[tokio::test]
async fn an_untracked_sku_is_always_accepted_and_nothing_moves() {
    let bench = Bench::in_memory().await;
    bench.adjust("GIFT", 1).await.unwrap();
    bench.configure("GIFT", 0, Mode::None).await;
    let order = bench.order();
    assert_eq!(bench.reserve(order, &[("GIFT", 9)]).await.0, "stock_reserved");
    assert_eq!(bench.send(order, Trigger::Commit).await.0, "stock_committed");
    bench.send(order, Trigger::Return).await;
    assert_eq!(bench.stock("GIFT").await, (1, 0));
    bench.assert_sound().await;
}

#[tokio::test]
async fn a_tracked_sku_is_always_accepted_and_its_stock_ends_at_zero() {
    let bench = Bench::in_memory().await;
    bench.adjust("EBOOK", 7).await.unwrap();
    bench.configure("EBOOK", 2, Mode::TrackOnly).await;
    let (one, two) = (bench.order(), bench.order());
    for order in [one, two] {
        assert_eq!(bench.reserve(order, &[("EBOOK", 5)]).await.0, "stock_reserved");
        assert_eq!(bench.stock("EBOOK").await.1, 0);
    }
    bench.send(one, Trigger::Commit).await;
    assert_eq!(bench.stock("EBOOK").await, (2, 0));
    bench.send(two, Trigger::Commit).await;
    assert_eq!(bench.stock("EBOOK").await, (0, 0));
    // Two came from the shelf, so two go back.
    bench.send(two, Trigger::Return).await;
    assert_eq!(bench.stock("EBOOK").await, (2, 0));
    assert_eq!(bench.said("EBOOK").await.iter().filter(|(said, _)| said == "stock_low").count(), 1);
    bench.assert_sound().await;
}

#[tokio::test]
async fn a_change_of_mode_leaves_held_stock_with_its_order() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    let order = bench.order();
    bench.reserve(order, &[("TEA", 2)]).await;
    bench.configure("TEA", 0, Mode::None).await;
    bench.assert_sound().await;
    bench.send(order, Trigger::Commit).await;
    assert_eq!(bench.stock("TEA").await, (3, 0));
    bench.assert_sound().await;
}

#[tokio::test]
async fn low_stock_is_said_once_for_each_crossing() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 8).await.unwrap();
    let lows = async || {
        let said = bench.said("TEA").await;
        said.into_iter().filter(|(said, _)| said == "stock_low").map(|(_, data)| data).collect::<Vec<_>>()
    };
    let (one, two, three) = (bench.order(), bench.order(), bench.order());
    bench.reserve(one, &[("TEA", 2)]).await;
    assert!(lows().await.is_empty());
    bench.reserve(two, &[("TEA", 1)]).await;
    assert_eq!(lows().await, [json!({ "sku": "TEA", "available": 5, "threshold": 5 })]);
    // Committing takes nothing that was available.
    bench.send(two, Trigger::Commit).await;
    bench.reserve(three, &[("TEA", 2)]).await;
    bench.adjust("TEA", -1).await.unwrap();
    assert_eq!(lows().await.len(), 1);
    bench.send(one, Trigger::Release).await;
    bench.send(three, Trigger::Release).await;
    bench.adjust("TEA", -2).await.unwrap();
    assert_eq!(lows().await.len(), 2);
    bench.adjust("TEA", 5).await.unwrap();
    bench.configure("TEA", 9, Mode::ReserveOnOrder).await;
    assert_eq!(lows().await.last(), Some(&json!({ "sku": "TEA", "available": 9, "threshold": 9 })));
    assert_eq!(lows().await.len(), 3);
}

#[tokio::test]
async fn an_order_that_is_refused_does_not_make_stock_low() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 8).await.unwrap();
    bench.reserve(bench.order(), &[("TEA", 7), ("ZZZ", 1)]).await;
    assert!(bench.said("TEA").await.iter().all(|(said, _)| said != "stock_low"));
}

#[tokio::test]
async fn expiry_ends_a_bounded_batch_and_only_what_is_due() {
    let bench = Bench::over(Db::in_memory().unwrap(), Config { expiry_batch: 3, ..Config::default() }).await;
    bench.adjust("TEA", 20).await.unwrap();
    for _ in 0..7 {
        bench.reserve(bench.order(), &[("TEA", 1)]).await;
    }
    bench.clock.advance(Duration::from_millis(1));
    let later = bench.order();
    bench.reserve(later, &[("TEA", 2)]).await;
    bench.clock.set(testkit::NOON.plus(TEN_MINUTES));
    let mut batches = Vec::new();
    for _ in 0..4 {
        batches.push(bench.expire_due().await);
    }
    assert_eq!(batches, [3, 3, 1, 0]);
    assert_eq!((bench.stock("TEA").await, bench.state(later).await), ((20, 2), Some(State::Held)));
    bench.assert_sound().await;
}

#[tokio::test]
async fn one_transaction_that_ends_batch_after_batch_finds_each_reservation_once() {
    let bench = Bench::over(Db::in_memory().unwrap(), Config { expiry_batch: 3, ..Config::default() }).await;
    bench.adjust("TEA", 20).await.unwrap();
    for _ in 0..8 {
        bench.reserve(bench.order(), &[("TEA", 1)]).await;
    }
    bench.clock.advance(TEN_MINUTES);
    let desk = bench.desk.clone();
    let batches = bench
        .db
        .write(move |tx| -> kernel::Result<Vec<usize>> {
            let mut batches = vec![desk.expire_due(tx, desk.now())?];
            // What is undone is found again.
            let undone = tx.savepoint(|tx| -> kernel::Result<()> {
                assert_eq!(desk.expire_due(tx, desk.now())?, 3);
                Err(kernel::Error::conflict("no", "no"))
            });
            assert!(undone.is_err());
            for _ in 0..3 {
                batches.push(desk.expire_due(tx, desk.now())?);
            }
            Ok(batches)
        })
        .await
        .unwrap();
    assert_eq!(batches, [3, 3, 2, 0]);
    assert_eq!(bench.stock("TEA").await, (20, 0));
    bench.assert_sound().await;
}

#[tokio::test]
async fn an_adjustment_that_needs_expired_stock_ends_the_expired_hold_first() {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 5).await.unwrap();
    bench.reserve(bench.order(), &[("TEA", 4)]).await;
    assert_eq!(bench.adjust("TEA", -2).await.unwrap_err().code(), "stock_reserved");
    bench.clock.advance(TEN_MINUTES);
    assert_eq!(bench.adjust("TEA", -2).await.unwrap().on_hand, 3);
    assert!(bench.clock.now() > testkit::NOON);
    bench.assert_sound().await;
}
