//! Many at once on a real file, where commands share commits.

use db::Db;
use tokio::task::JoinSet;

use super::{Bench, TEN_MINUTES};
use crate::commands::Ask;
use crate::domain::{State, Trigger};
use crate::{oracle, queries, store};
use contracts::OrderId;
use contracts::inventory::StockLine;
use kernel::Clock;

fn lines(sku: &str, quantity: i64) -> Vec<StockLine> {
    vec![StockLine { sku: sku.to_owned(), quantity }]
}

/// Hands over a command without waiting for anything else.
async fn hand_over(bench: Bench, order: OrderId, trigger: Trigger, lines: Vec<StockLine>) {
    let desk = bench.desk.clone();
    let expires_at = bench.clock.now().plus(TEN_MINUTES);
    let ask = Ask { lines, expires_at };
    bench.db.write(move |tx| desk.handle(tx, order, trigger, &ask, None)).await.unwrap();
}

async fn count(db: &Db, wanted: State) -> usize {
    oracle::reservations(db).await.unwrap().values().filter(|state| **state == wanted).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_buyers_of_a_hundred_pieces_get_exactly_a_hundred() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::in_file(directory.path()).await;
    bench.adjust("HOT", 100).await.unwrap();
    let mut buyers = JoinSet::new();
    for _ in 0..500 {
        buyers.spawn(hand_over(bench.clone(), bench.order(), Trigger::Reserve, lines("HOT", 1)));
    }
    buyers.join_all().await;
    assert_eq!(bench.stock("HOT").await, (100, 100));
    assert_eq!((count(&bench.db, State::Held).await, count(&bench.db, State::Refused).await), (100, 400));
    bench.assert_sound().await;
    let held = oracle::reservations(&bench.db).await.unwrap();
    let mut commits = JoinSet::new();
    for (order, _) in held.iter().filter(|(_, state)| **state == State::Held) {
        commits.spawn(hand_over(bench.clone(), *order, Trigger::Commit, Vec::new()));
        commits.spawn(hand_over(bench.clone(), *order, Trigger::Commit, Vec::new()));
    }
    commits.join_all().await;
    assert_eq!(bench.stock("HOT").await, (0, 0));
    bench.assert_sound().await;
    for (order, state) in held {
        let said: Vec<String> = bench.said_of(order).await.into_iter().map(|(said, _)| said).collect();
        match state {
            State::Held => assert_eq!(said, ["stock_reserved", "stock_committed", "stock_committed"]),
            _ => assert_eq!(said, ["stock_refused"]),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn expiry_commit_and_a_new_buyer_at_the_same_time_have_one_winner() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::in_file(directory.path()).await;
    bench.adjust("HOT", 40).await.unwrap();
    let slow: Vec<OrderId> = (0..40).map(|_| bench.order()).collect();
    for order in &slow {
        hand_over(bench.clone(), *order, Trigger::Reserve, lines("HOT", 1)).await;
    }
    bench.clock.advance(TEN_MINUTES);
    let mut all = JoinSet::new();
    for order in slow.clone() {
        all.spawn(hand_over(bench.clone(), order, Trigger::Commit, Vec::new()));
        all.spawn(hand_over(bench.clone(), bench.order(), Trigger::Reserve, lines("HOT", 1)));
        let expiring = bench.clone();
        all.spawn(async move {
            expiring.expire_due().await;
        });
        let reading = bench.clone();
        all.spawn(async move {
            let (item, _) = queries::stock(&reading.db, &reading.desk, "HOT".to_owned()).await.unwrap();
            assert!(item.available() >= 0);
        });
    }
    all.join_all().await;
    bench.assert_sound().await;
    let (on_hand, reserved) = bench.stock("HOT").await;
    let states = oracle::reservations(&bench.db).await.unwrap();
    let (mut committed, mut lapsed) = (0, 0);
    for order in &slow {
        let last = bench.said_of(*order).await.pop().unwrap().0;
        match states[order] {
            State::Committed => {
                committed += 1;
                assert_eq!(last, "stock_committed");
            }
            State::Lapsed => {
                lapsed += 1;
                assert_eq!(last, "stock_commit_refused");
            }
            other => panic!("{order} is {other}"),
        }
    }
    assert_eq!(committed + lapsed, 40);
    assert_eq!(on_hand, 40 - committed);
    // Whoever was refused was refused because a new buyer holds the piece.
    assert_eq!(reserved, lapsed);
    let mut due =
        bench.db.read(|tx| store::due(tx, kernel::Timestamp::from_millis(i64::MAX), 100)).await.unwrap();
    due.retain(|reservation| slow.contains(&reservation.order_id));
    assert!(due.is_empty());
}
