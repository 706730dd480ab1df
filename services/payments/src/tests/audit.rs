//! The oracle finds what it is there to find.

use db::params;
use testkit::House;

use super::{balances, capture, fund, hold, house, order, refund, release};
use crate::oracle;

/// Money that is held, captured, refunded and released.
async fn busy() -> House {
    let house = house(&[]).await;
    let user = House::user(1);
    fund(&house, &[user], 100_000).await;
    for n in 1..=4 {
        hold(&house, order(n), user, 1_000).await;
    }
    house.settle().await;
    for n in [2, 3] {
        capture(&house, order(n)).await;
    }
    release(&house, order(4)).await;
    house.settle().await;
    refund(&house, order(3)).await;
    house.settle().await;
    assert_eq!(balances(&house, user).await, [98_000, 1_000]);
    super::assert_sound(&house).await;
    house
}

/// What an invariant says is wrong after `sql`.
async fn said_after(sql: &'static str, id: &str) -> String {
    let house = busy().await;
    let db = &house.service("payments").db;
    let changed = db.write(move |tx| tx.execute(sql, params![])).await.unwrap();
    assert!(changed > 0, "{sql} changes something");
    let verdicts = oracle::verdicts(db).await.unwrap();
    let verdict = verdicts.iter().find(|verdict| verdict.id == id).unwrap();
    format!("{:?}", verdict.violations)
}

#[tokio::test]
async fn a_changed_row_breaks_what_it_belongs_to() {
    for (sql, id, told) in [
        ("UPDATE bank_accounts SET available = available + 1", "I5", "available by the postings"),
        ("UPDATE bank_accounts SET held = held + 1 WHERE held > 0", "I5", "held by the holds"),
        ("UPDATE bank_holds SET account = NULL WHERE state = 'pending'", "I5", "held by the holds is 0"),
        (
            "UPDATE bank_holds SET captured = 0 WHERE state = 'captured' AND refunded = 0",
            "I5",
            "captured by the log",
        ),
        ("UPDATE bank_holds SET refunded = 0", "I5", "refunded by the log"),
        (
            "UPDATE bank_operations SET amount = amount - 1 WHERE action = 'capture'",
            "I5",
            "captured by the log",
        ),
        ("DELETE FROM bank_operations WHERE action = 'capture'", "I7", "operations behind the postings is 0"),
        ("DELETE FROM bank_operations WHERE action = 'release'", "I7", "ends of the hold is 0"),
        ("DELETE FROM bank_postings WHERE action = 'refund'", "I7", "postings behind the operation is 0"),
        ("UPDATE bank_postings SET amount = amount + 1 WHERE amount > 0", "I5", "the sum of the set"),
        ("UPDATE payments SET captured = 7 WHERE state = 'captured'", "I7", "payment captured 7/0"),
    ] {
        let said = said_after(sql, id).await;
        assert!(said.contains(told), "{sql}: {said}");
    }
}
