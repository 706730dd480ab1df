//! The oracle finds what it is there to find.

use db::params;

use super::Bench;
use crate::domain::{State, Trigger};
use crate::oracle;

/// A bench with an order in each of the states that matter.
async fn busy() -> Bench {
    let bench = Bench::in_memory().await;
    bench.adjust("TEA", 20).await.unwrap();
    let [held, committed, returned] = [bench.order(), bench.order(), bench.order()];
    for order in [held, committed, returned] {
        bench.reserve(order, &[("TEA", 2)]).await;
    }
    bench.send(committed, Trigger::Commit).await;
    bench.send(returned, Trigger::Commit).await;
    bench.send(returned, Trigger::Return).await;
    bench.assert_sound().await;
    bench
}

/// Which invariants are broken after `sql`.
async fn broken_by(sql: &'static str) -> Vec<&'static str> {
    let bench = busy().await;
    let changed = bench.db.write(move |tx| tx.execute(sql, params![])).await.unwrap();
    assert!(changed > 0, "{sql} changes something");
    let verdicts = oracle::verdicts(&bench.db).await.unwrap();
    verdicts.iter().filter(|verdict| !verdict.holds()).map(|verdict| verdict.id).collect()
}

#[tokio::test]
async fn a_changed_figure_breaks_the_invariant_that_it_belongs_to() {
    assert_eq!(broken_by("UPDATE stock_items SET on_hand = on_hand + 1").await, ["I2"]);
    assert_eq!(broken_by("UPDATE stock_items SET reserved = 0").await, ["I2"]);
    assert_eq!(broken_by("DELETE FROM stock_movements WHERE kind = 'returned'").await, ["I2", "I3"]);
    assert_eq!(broken_by("DELETE FROM stock_movements WHERE kind = 'adjusted'").await, ["I1", "I2"]);
    assert_eq!(broken_by("DELETE FROM reservations WHERE state = 'committed'").await, ["I3"]);
    assert_eq!(broken_by("UPDATE reservations SET state = 'released' WHERE state = 'held'").await, ["I2"]);
    assert_eq!(
        broken_by("UPDATE reservations SET state = 'committed' WHERE state = 'held'").await,
        ["I2", "I3"]
    );
    let oversold = "UPDATE stock_movements SET delta = 1 WHERE kind = 'adjusted'";
    assert_eq!(broken_by(oversold).await, ["I1", "I2"]);
}

#[tokio::test]
async fn the_states_of_all_orders_are_told() {
    let bench = busy().await;
    let mut states: Vec<State> = oracle::reservations(&bench.db).await.unwrap().into_values().collect();
    states.sort_by_key(|state| state.as_str());
    assert_eq!(states, [State::Committed, State::Held, State::Returned]);
}
